"""The rule of a role in IAM's words: a session policy, for AWS to enforce as well.

A session policy cuts down what the role may do, and never adds to it. So what IAM cannot
say of a rule is left out, and holds at the gateway alone (``left_to_the_gateway``):

- ``aws_access_levels``, but for those of a role that may only read: AWS's ReadOnlyAccess
  stands for it, which is AWS's own idea of reading: it lacks, for one,
  secretsmanager:GetSecretValue. Actions of these levels that the rule names in full are
  added to it;
- ``hours`` and ``source_networks``: AWS sees the gateway's address, and no calendar;
- patterns with a wildcard for the service (``*:Get*``), which IAM does not know;
- a deny with a condition that IAM does not know, or for some apps or role ARNs alone.

The allow part becomes denials of all that it does not name; where its templates stand for
nothing, of all there is. They hold for ReadOnlyAccess
too, though an action needs but one session policy to allow it; and for grants by the
policy of a resource, which may name the session itself.

What is said is AWS's reading, which goes further than the gateway's: AWS checks all
actions and resources that a call needs (iam:PassRole, both objects of a copy). Calls that
a service makes for the user (S3 to KMS) are not held to the allow part, since the gateway
does not see them; the deny part holds for them too. Services with one endpoint for all
regions are in the region that they sign for, as they are at the gateway.

The gateway itself needs no rights in the session. Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from typing import Any

from awsgate.aws.call import access_levels_of
from awsgate.policy.resources import Role
from awsgate.policy.rules import ABOUT_REQUESTS, Allow, Deny
from awsgate.policy.templates import Traits, expand

_READ_ONLY = frozenset({"read", "list"})
_CALL_CONDITIONS = frozenset({"aws_actions", "aws_resources", "aws_regions", "aws_services"})
_VIA, _REGION = "aws:ViaAWSService", "aws:RequestedRegion"

_ACTION = re.compile(r"\*|[a-z0-9-]+:[a-z0-9*?]+", re.IGNORECASE)
_SERVICE = re.compile(r"\*|[a-z0-9-]+")
_RESOURCE = re.compile(r"arn:([^:]*):([a-z0-9-]+):([^:]*):([^:]*):(.+)", re.DOTALL)
_TEMPLATE = re.compile(r"\{\{.*?\}\}")

# In a trait these are no wildcards and no variable; IAM quotes them so.
_HIDDEN = str.maketrans("*?$", "\ue000\ue001\ue002")
_QUOTED = str.maketrans({0xE000: "${*}", 0xE001: "${?}", 0xE002: "${$}"})

type Statement = dict[str, Any]


def session_policy(role: Role, traits: Traits, partition: str) -> tuple[str, tuple[str, ...]]:
    """Give the inline policy and the ARNs of managed ones; empty: IAM can say nothing.

    Either part of a rule is there whole, or not at all. Total.
    """
    allow = role.spec.allow
    limits = [*_limits(allow, traits, partition), *_denials(role.spec.deny, traits, partition)]
    if not _reads_only(allow):
        return (_document([_statement("Allow", Action="*"), *limits]) if limits else ""), ()
    allowed = [_statement("Allow", Action="*", Condition={"Bool": {_VIA: "true"}})]
    actions = _of_levels(_actions(allow.aws_actions)[0], allow)
    named = [action for action in actions if not _is_pattern(action)]
    if named:
        allowed.append(_statement("Allow", Action=named))
    return _document([*allowed, *limits]), (f"arn:{partition}:iam::aws:policy/ReadOnlyAccess",)


def rule_values(role: Role) -> list[str]:
    """Give all values of the rule that a session policy may be made of."""
    both = (role.spec.allow, role.spec.deny)
    return [
        value
        for rules in both
        for values in (
            rules.aws_actions,
            rules.aws_resources,
            rules.aws_regions,
            rules.aws_services,
        )
        for value in values
    ]


def left_to_the_gateway(role: Role, partition: str) -> Iterator[str]:
    """Say what of the rule AWS will not enforce, or will enforce otherwise."""
    allow, deny = role.spec.allow, role.spec.deny
    alone = "holds at the gateway alone"
    if _reads_only(allow):
        yield (
            "computed: AWS's ReadOnlyAccess lacks some reads that the gateway lets pass "
            "(secretsmanager:GetSecretValue): name them in allow.aws_actions beside '*'"
        )
    elif allow.aws_access_levels:
        yield f"computed: allow.aws_access_levels {alone}, IAM has no such condition"
    for name in ("hours", "source_networks", "approvals"):
        if getattr(allow, name):
            yield f"computed: allow.{name} {alone}, a session policy cannot say it"
    if not _actions(_shown(allow.aws_actions))[1]:
        yield f"computed: allow.aws_actions {alone}, IAM takes no wildcard in a service"
    if not _services(_shown(allow.aws_services))[1]:
        yield f"computed: allow.aws_services {alone}, IAM takes no wildcard in a service"
    if not _resources(_shown(allow.aws_resources), partition)[1]:
        yield f"computed: allow.aws_resources {alone}, IAM takes ARNs that name their service"
    if deny.about_calls and not _is_expressible(deny):
        yield f"computed: deny {alone}, IAM cannot say all of its conditions"


def _limits(allow: Allow, traits: Traits, partition: str) -> Iterator[Statement]:
    """Deny all that ``allow`` does not name, but for calls that a service makes."""
    direct = {"BoolIfExists": {_VIA: "false"}}
    nothing = _statement("Deny", Action="*", Condition=direct)
    services = _whole(allow.aws_services, _services(_fill(allow.aws_services, traits)))
    if services is not None:
        named = [f"{name}:*" for name in services]
        yield _statement("Deny", NotAction=named, Condition=direct) if named else nothing
    actions = _whole(allow.aws_actions, _actions(sorted(allow.aws_actions)))
    if actions is not None:
        named = _of_levels(actions, allow)
        yield _statement("Deny", NotAction=named, Condition=direct) if named else nothing
    filled = _fill(allow.aws_resources, traits)
    resources = _whole(allow.aws_resources, _resources(filled, partition))
    if resources is not None:
        parts = {"Action": "*", "NotResource": resources, "Condition": direct}
        yield _statement("Deny", **parts) if resources else nothing
    regions = _whole(allow.aws_regions, (_fill(allow.aws_regions, traits), True))
    if regions is not None:
        elsewhere = direct | {"StringNotLike": {_REGION: regions}}
        yield _statement("Deny", Action="*", Condition=elsewhere) if regions else nothing


def _denials(deny: Deny, traits: Traits, partition: str) -> Iterator[Statement]:
    """Deny what meets all conditions of ``deny``, if IAM knows them all.

    Also where a service makes the call. Of a list, what IAM cannot say is left out.
    """
    if not _is_expressible(deny):
        return
    parts: Statement = {"Action": _denied_actions(deny, traits)}
    if deny.aws_resources:
        parts["Resource"] = _resources(_fill(deny.aws_resources, traits), partition)[0]
    if deny.aws_regions:
        regions = _fill(deny.aws_regions, traits)
        parts["Condition"] = {"StringLike": {_REGION: regions}} if regions else {}
    if all(parts.values()):
        yield _statement("Deny", **parts)


def _is_expressible(deny: Deny) -> bool:
    everywhere = deny.app_labels.get("*") == ("*",)
    scope = {"app_labels", "aws_role_arns"} if everywhere else set()
    given = {name for name, value in deny if value} - ABOUT_REQUESTS
    return deny.about_calls and given - scope <= _CALL_CONDITIONS


def _denied_actions(deny: Deny, traits: Traits) -> list[str]:
    actions = _actions(_fill(deny.aws_actions, traits))[0] if deny.aws_actions else ["*"]
    services = _services(_fill(deny.aws_services, traits))[0] if deny.aws_services else ["*"]
    if "*" in services:
        return actions
    if "*" in actions:
        return [f"{name}:*" for name in services]
    return [action for action in actions if action.partition(":")[0].lower() in services]


def _reads_only(allow: Allow) -> bool:
    levels = {level.casefold() for level in allow.aws_access_levels}
    return bool(levels) and levels <= _READ_ONLY


def _actions(values: Iterable[str]) -> tuple[list[str], bool]:
    """Give what IAM has of the actions, and whether that is all of them."""
    found = ["*" if action == "*:*" else action for action in values]
    known = [action for action in found if _ACTION.fullmatch(action)]
    return known, known == found


def _services(values: Iterable[str]) -> tuple[list[str], bool]:
    """Give what IAM has of the services, and whether that is all of them."""
    found = list(values)
    known = [name for name in found if _SERVICE.fullmatch(name)]
    return known, known == found


def _resources(values: Iterable[str], partition: str) -> tuple[list[str], bool]:
    """Give the ARNs as IAM has them, and whether that is all of them.

    But for those of other partitions, which nothing here can be, and STS refuses.
    """
    found, whole = [], True
    for value in values:
        match = _RESOURCE.fullmatch(value)
        if value == "*":
            found.append(value)
        elif match is None:
            whole = False
        elif fnmatchcase(partition, match[1]):
            found.append(f"arn:{partition}:{value.split(':', 2)[2]}")
    return found, whole


def _whole(rule: tuple[str, ...], found: tuple[list[str], bool]) -> list[str] | None:
    """Give what of a rule limits something: whole, and not ``*``; None: nothing does.

    An empty list limits all: the rule has values, and they stand for nothing here.
    """
    values, whole = found
    return values if rule and whole and "*" not in values else None


def _of_levels(actions: list[str], allow: Allow) -> list[str]:
    """Leave out actions that the rule names and whose access level it does not allow."""
    levels = set(allow.aws_access_levels)
    return [
        action
        for action in actions
        if not levels or _is_pattern(action) or levels.issuperset(access_levels_of([action]))
    ]


def _is_pattern(action: str) -> bool:
    return "*" in action or "?" in action


def _fill(values: Iterable[str], traits: Traits) -> list[str]:
    """Fill in the templates. Wildcards in traits, and variables, become plain text."""
    hidden = {name: tuple(t.translate(_HIDDEN) for t in texts) for name, texts in traits.items()}
    found = {text for value in values for text in expand(value, hidden)}
    return sorted(text.replace("$", "${$}").translate(_QUOTED) for text in found)


def _shown(values: Iterable[str]) -> list[str]:
    """Give the values with something in place of each template."""
    return [_TEMPLATE.sub("x", value) for value in values]


def _statement(effect: str, **parts: Any) -> Statement:
    where = {} if "Resource" in parts or "NotResource" in parts else {"Resource": "*"}
    return {"Effect": effect, **where, **parts}


def _document(statements: list[Statement]) -> str:
    whole = {"Version": "2012-10-17", "Statement": statements}
    return json.dumps(whole, sort_keys=True, separators=(",", ":"))
