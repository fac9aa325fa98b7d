"""What an error of AssumeRole means, and what to do about it: words for people. Pure."""

from __future__ import annotations

import re

_HINTS = {
    "AccessDenied": "the role's trust policy must let awsgate's own identity call "
    "sts:AssumeRole (with the external id, if it asks for one), and so must that "
    "identity's own policy",
    "InvalidParameterValue": "the session tags of the gateway's role do not fit with those that "
    "awsgate's own session hands on (transitive tags): choose other keys",
    "MalformedPolicyDocument": "the gateway's role hands on a session policy that AWS does not "
    "take: see options.aws_session_policy",
    "PackedPolicyTooLarge": "cut down what the gateway's role hands on: shorter or fewer "
    "options.aws_session_tags, a shorter options.aws_session_policy (managed policies by ARN)",
    "RegionDisabledException": "activate STS for this region in awsgate's own account, or "
    "set sts.regional to false in kind: gateway",
    "ValidationError": "the session may last no longer than the role's maximum, and no longer "
    "than one hour if awsgate's own identity is a role",
}

# What AssumeRole needs beside itself, once there is something to hand on.
_NEEDED = {
    "sts:TagSession": "options.aws_session_tags",
    "sts:SetSourceIdentity": "options.aws_source_identity",
}
_NOT_AUTHORIZED = re.compile(r"not authorized to perform: (sts:\w+)")
_PACKED = re.compile(r"\bconsumes ([0-9]{1,6})% of")


def shown(code: str, message: str) -> str:
    """Give the code, and of the message what is no more than a number or an action."""
    denied = _NOT_AUTHORIZED.search(message) if code == "AccessDenied" else None
    packed = _PACKED.search(message) if code == "PackedPolicyTooLarge" else None
    if packed:
        return f"{code}: {packed[1]} % of the space for session policy and tags"
    return f"{code}: {denied[1]}" if denied and denied[1] in _NEEDED else code


def hint_for(code: str, message: str) -> str:
    """Give what to do about an error of AssumeRole."""
    denied = _NOT_AUTHORIZED.search(message) if code == "AccessDenied" else None
    option = _NEEDED.get(denied[1]) if denied else None
    if denied and option:
        return (
            f"the gateway's role hands on {option}: the role's trust policy, and that of "
            f"awsgate's own identity, must allow {denied[1]} beside sts:AssumeRole"
        )
    return _HINTS.get(code, "tell the operator of the gateway")
