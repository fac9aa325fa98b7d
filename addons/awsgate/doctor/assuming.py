"""Whether awsgate can assume a role, and if not, who has to say what. Pure.

AWS gives one answer, AccessDenied, for a role that is not there, a trust policy that
names somebody else, another external id and a caller without sts:AssumeRole. Which of
them it is, the role's trust policy tells, where awsgate may read it.

Sources: "Troubleshoot IAM roles" and "Access denied error messages", IAM User Guide.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

from awsgate.doctor.accounts import REFUSED
from awsgate.doctor.finding import Finding, Group, fault, ok

_ACTION = re.compile(r"not authorized to perform: (sts:\w+)")
_EXTERNAL_ID = "sts:ExternalId"

TrustState = Literal["read", "no-role", "not-allowed"]


@dataclass(frozen=True, slots=True)
class RoleFacts:
    """What STS said to AssumeRole, and what the role itself says."""

    role_arn: str
    used_by: str
    """One way to it: ``alice in prod``."""
    app: str
    base_arn: str
    """Who asked."""
    external_id: str = ""
    tags: bool = False
    source_identity: bool = False
    code: str = ""
    """AWS's error code; empty: assumed."""
    message: str = ""
    trust: TrustState = "not-allowed"
    trust_policy: Mapping[str, Any] | None = None

    @property
    def name(self) -> str:
        """The role's name, without its path."""
        return self.role_arn.rpartition("/")[2]


def principal_of(arn: str) -> str:
    """Give what a trust policy calls the owner of an identity's ARN."""
    parts = arn.split(":")
    if len(parts) == 6 and parts[2] == "sts" and parts[5].startswith("assumed-role/"):
        return f"arn:{parts[1]}:iam::{parts[4]}:role/{parts[5].split('/')[1]}"
    return arn


def check_role(facts: RoleFacts) -> Finding:
    """Say whether the role can be assumed, and if not why."""
    if not facts.code:
        return ok(Group.AWS, "role", f"{facts.role_arn} can be assumed ({facts.used_by})")
    mine, theirs = partition_of(facts.base_arn), partition_of(facts.role_arn)
    if mine and mine != theirs:
        return _partition_fault(facts, mine, theirs)
    if facts.code == "AccessDenied":
        return _denied(facts)
    return _other(facts)


def lets_in(document: Mapping[str, Any], arn: str) -> bool:
    """True if a trust policy names this identity, whatever else it asks for."""
    return any(_names(statement, arn) for statement in _statements(document))


def trust_json(facts: RoleFacts) -> str:
    """Give a trust policy that lets awsgate in, beside whom it lets in already, if known."""
    actions = ["sts:AssumeRole"]
    actions += ["sts:TagSession"] * facts.tags + ["sts:SetSourceIdentity"] * facts.source_identity
    statement: dict[str, Any] = {
        "Effect": "Allow",
        "Principal": {"AWS": principal_of(facts.base_arn)},
        "Action": actions if len(actions) > 1 else actions[0],
    }
    if facts.external_id:
        statement["Condition"] = {"StringEquals": {_EXTERNAL_ID: facts.external_id}}
    before = _several((facts.trust_policy or {}).get("Statement"))
    return json.dumps({"Version": "2012-10-17", "Statement": [*before, statement]})


def _trust_fix(facts: RoleFacts) -> str:
    unknown = "" if facts.trust_policy else "   # replaces the policy: others in it go"
    return (
        f"aws iam update-assume-role-policy --role-name {shlex.quote(facts.name)} "
        f"--policy-document {shlex.quote(trust_json(facts))}{unknown}"
    )


def _own_fix(facts: RoleFacts, actions: list[str]) -> str:
    statement = {"Effect": "Allow", "Action": actions, "Resource": facts.role_arn}
    document = shlex.quote(json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    name = principal_of(facts.base_arn).rpartition("/")[2]
    kind = "user" if ":user/" in facts.base_arn else "role"
    return (
        f"aws iam put-{kind}-policy --{kind}-name {shlex.quote(name)} "
        f"--policy-name awsgate-{shlex.quote(facts.name)} --policy-document {document}"
    )


# --- AccessDenied -----------------------------------------------------------------


def _denied(facts: RoleFacts) -> Finding:
    action = _ACTION.search(facts.message)
    if action and action[1] in ("sts:TagSession", "sts:SetSourceIdentity"):
        return _handed_on(facts, action[1])
    if "explicit deny" in facts.message:
        return fault(
            Group.AWS,
            "role-explicit-deny",
            f"{facts.role_arn}: {facts.message}",
            "a deny beats every allow: a service control policy, a boundary or a policy of the "
            "identity has one",
            f"aws iam get-role --role-name {shlex.quote(facts.name)}   # and the policy AWS names",
        )
    if "no identity-based policy" in facts.message:
        return _no_own_right(facts)
    if "no resource-based policy" in facts.message:
        return _no_trust(facts)
    if facts.trust == "no-role":
        return fault(
            Group.AWS,
            "role-missing",
            f"{facts.role_arn} does not exist ({facts.used_by})",
            "AWS says AccessDenied for a role that is not there, too",
            f"aws iam create-role --role-name {shlex.quote(facts.name)} "
            f"--assume-role-policy-document {shlex.quote(trust_json(facts))}",
        )
    if facts.trust == "not-allowed" or facts.trust_policy is None:
        return _one_of_three(facts)
    return _by_trust(facts, facts.trust_policy)


def _by_trust(facts: RoleFacts, document: Mapping[str, Any]) -> Finding:
    ours = [s for s in _statements(document) if _names(s, facts.base_arn)]
    if not ours:
        return _no_trust(facts)
    if not any(_external_id_fits(statement, facts.external_id) for statement in ours):
        return _external_id(facts)
    return _no_own_right(facts)


def _no_trust(facts: RoleFacts) -> Finding:
    return fault(
        Group.AWS,
        "role-trust",
        f"the trust policy of {facts.role_arn} does not let {principal_of(facts.base_arn)} in",
        f"AWS: AccessDenied. Needed by {facts.used_by}",
        _trust_fix(facts),
    )


def _external_id(facts: RoleFacts) -> Finding:
    sent = "another one than" if facts.external_id else "one, and there is none in"
    return fault(
        Group.AWS,
        "role-external-id",
        f"the trust policy of {facts.role_arn} asks for an external id: {sent} "
        f"spec.aws.external_id of app {facts.app}",
        f"AWS: AccessDenied. Needed by {facts.used_by}",
        f"set spec.aws.external_id of app {facts.app} to what the trust policy says:\n"
        f"aws iam get-role --role-name {shlex.quote(facts.name)} "
        "--query Role.AssumeRolePolicyDocument",
    )


def _no_own_right(facts: RoleFacts) -> Finding:
    return fault(
        Group.AWS,
        "role-own-policy",
        f"{principal_of(facts.base_arn)} may not call sts:AssumeRole on {facts.role_arn}",
        f"AWS: AccessDenied. Needed by {facts.used_by}",
        _own_fix(facts, ["sts:AssumeRole"]),
    )


def _one_of_three(facts: RoleFacts) -> Finding:
    external = (
        f"the external id is not that of app {facts.app}"
        if facts.external_id
        else f"the trust policy asks for an external id, and app {facts.app} has none"
    )
    return fault(
        Group.AWS,
        "role-not-assumable",
        f"AWS does not let {principal_of(facts.base_arn)} assume {facts.role_arn} (AccessDenied)",
        f"needed by {facts.used_by}. Either the trust policy does not name it, or {external}, or "
        "it lacks sts:AssumeRole, or there is no such role; with iam:GetRole on the role awsgate "
        "doctor could say which",
        f"{_trust_fix(facts)}\n{_own_fix(facts, ['sts:AssumeRole'])}",
    )


def _handed_on(facts: RoleFacts, action: str) -> Finding:
    tags = action == "sts:TagSession"
    option = "aws_session_tags" if tags else "aws_source_identity"
    return fault(
        Group.AWS,
        "role-tag-session" if tags else "role-source-identity",
        f"{facts.role_arn}: {action} is not allowed",
        f"the gateway's role hands on options.{option}: both the trust policy and the policy of "
        f"{principal_of(facts.base_arn)} must allow it",
        f"{_trust_fix(facts)}\n{_own_fix(facts, ['sts:AssumeRole', action])}",
    )


# --- the trust policy -------------------------------------------------------------


def _statements(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    found = document.get("Statement", [])
    for statement in [found] if isinstance(found, dict) else found:
        actions = _several(statement.get("Action"))
        if statement.get("Effect") == "Allow" and any(
            fnmatchcase("sts:assumerole", str(action).lower()) for action in actions
        ):
            yield statement


def _names(statement: Mapping[str, Any], arn: str) -> bool:
    principal = statement.get("Principal", {})
    if principal == "*":
        return True
    account = (arn.split(":") + [""] * 5)[4]
    mine = principal_of(arn)
    good = {"*", arn, mine, account, f"arn:{partition_of(arn)}:iam::{account}:root"}
    listed = [str(p) for p in _several(principal.get("AWS") if principal else None)]
    # STS does not show a role's path, and a trust policy does.
    paths = [p for p in listed if ":role/" in p and p.split("/")[-1] == mine.split("/")[-1]]
    return bool(good & set(listed)) or any(p.split(":")[4] == account for p in paths)


def _external_id_fits(statement: Mapping[str, Any], external_id: str) -> bool:
    for operator, tests in statement.get("Condition", {}).items():
        for key, values in tests.items():
            if key.lower() != _EXTERNAL_ID.lower():
                continue
            if operator in ("StringEquals", "StringEqualsIgnoreCase") and external_id not in (
                _several(values)
            ):
                return False
            if operator == "StringLike" and not any(
                fnmatchcase(external_id, str(value)) for value in _several(values)
            ):
                return False
    return True


def _several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


# --- other answers ----------------------------------------------------------------


def partition_of(arn: str) -> str:
    """Give the partition that an ARN names; empty: it is none."""
    return (arn.split(":") + [""] * 2)[1]


def _partition_fault(facts: RoleFacts, mine: str, theirs: str) -> Finding:
    account = (facts.role_arn.split(":") + [""] * 5)[4]
    return fault(
        Group.AWS,
        "role-other-partition",
        f"{facts.role_arn} is in partition {theirs}, and awsgate's credentials are of {mine}",
        "no identity crosses partitions: AWS and AWS GovCloud or China share nothing",
        f'base_credentials:\n  "{account}":\n    profile: PROFILE   '
        "# in kind: gateway, a profile with keys of that partition",
    )


_OTHER: Mapping[str, tuple[str, str, str]] = {
    "ValidationError": (
        "role-duration",
        "the session may last no longer than the role's maximum, and no longer than an hour if "
        "awsgate's own identity is a role",
        "aws iam update-role --role-name {name} --max-session-duration 3600",
    ),
    "RegionDisabledException": (
        "sts-region-disabled",
        "STS is not active in this region in awsgate's own account",
        "aws account enable-region --region-name REGION   # or sts.regional: false in "
        "kind: gateway",
    ),
    "MalformedPolicyDocument": (
        "role-session-policy",
        "the gateway's role hands on a session policy that AWS does not take",
        "awsgate check   # and options.aws_session_policy",
    ),
    "PackedPolicyTooLarge": (
        "role-session-policy",
        "session policy and tags are too large together",
        "fewer or shorter options.aws_session_tags, or managed policies by ARN in "
        "options.aws_session_policy",
    ),
}


def _other(facts: RoleFacts) -> Finding:
    id_, why, fix = _OTHER.get(
        facts.code,
        (
            "role-unanswered",
            "its own credentials are not accepted: see there"
            if facts.code in REFUSED
            else "STS gave no usable answer",
            "awsgate doctor   # again; if it lasts, aws sts get-caller-identity",
        ),
    )
    return fault(
        Group.AWS,
        id_,
        f"{facts.role_arn} cannot be assumed ({facts.code}), needed by {facts.used_by}",
        why,
        fix.format(name=shlex.quote(facts.name)),
    )
