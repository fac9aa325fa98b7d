"""Parts of a rule that are well written and that no call can meet. Pure.

A deny of this kind is the worst of rules: it reads like safety and denies nothing. What
AWS does not have at all is in ``misnamed``; here is what the gateway cannot see, because
it derives actions and ARNs from requests (``aws.call``, ``aws.resource``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

from awsgate.aws.call import ONE_ACTION
from awsgate.aws.catalogue import actions_of, iam_prefixes, operation_actions, operations_of
from awsgate.policy.globs import glob_matches
from awsgate.policy.misnamed import action_problem
from awsgate.policy.resources import Role, User
from awsgate.policy.rules import Deny
from awsgate.policy.templates import Template, expand, parse_template
from awsgate.policy.unreachable import Problem

SHOWN_USERS = 3

ACCOMPANYING = frozenset(
    f"s3:{name}".lower()
    for name in (
        "BypassGovernanceRetention", "DeleteObjectVersion", "DeleteObjectVersionTagging",
        "GetObjectVersion", "GetObjectVersionAcl", "GetObjectVersionAttributes",
        "GetObjectVersionTagging", "PutBucketAcl", "PutBucketObjectLockConfiguration",
        "PutBucketOwnershipControls", "PutBucketVersioning", "PutObjectAcl",
        "PutObjectLegalHold", "PutObjectRetention", "PutObjectTagging", "PutObjectVersionAcl",
        "PutObjectVersionTagging",
    )
)  # fmt: skip
"""What headers and the query add to a call of S3 (``aws.call``)."""
ORDERED = frozenset(
    {"codecommit:gitpull", "codecommit:gitpush", "eks:accesskubernetesapi", "rds-db:connect"}
)
"""What the gateway makes itself, or with a URL of its own (``orders``)."""
_BEHIND = frozenset({"iam:passrole"})
"""What AWS asks for behind hundreds of calls, and the table has for one of them."""

FORMS: Mapping[str, tuple[str, ...]] = {
    "dynamodb": ("table/",),
    "ecr": ("repository/",),
    "firehose": ("deliverystream/",),
    "kinesis": ("stream/",),
    "kms": ("key/",),
    "lambda": ("function:",),
    "logs": ("log-group:",),
    "secretsmanager": ("secret:",),
    "ssm": ("parameter/",),
    "states": ("activity:", "execution:", "stateMachine:"),
}
"""How what follows the account begins in the ARNs that the gateway derives."""
_WITHOUT_SLASH = frozenset({"sns", "sqs"})


def never_met(role: Role, users: Sequence[User]) -> Iterator[Problem]:
    """Give what no call can meet. ``users`` are those who have the role."""
    deny = role.spec.deny
    behind = "AWS asks for it behind another action:"
    for path, what in _not_derived("spec.deny.aws_actions", deny.aws_actions):
        yield path, f"{what}, so this denies nothing", f"{behind} deny that one, or deny it at AWS"
    for number, mark in enumerate(role.spec.allow.approvals):
        for path, what in _not_derived(f"spec.allow.approvals[{number}].actions", mark.actions):
            yield path, f"{what}: nobody is ever asked", f"{behind} mark that one"
    for part, rules in (("allow", role.spec.allow), ("deny", deny)):
        for index, value in enumerate(rules.aws_resources):
            what, todo = _resource_problem(value)
            if what:
                yield f"spec.{part}.aws_resources[{index}]", f"{value!r} {what}", todo
    yield from _not_filled(deny, users)


def _not_derived(path: str, patterns: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Give the place of each action that no request is known by, and that in words."""
    for index, pattern in enumerate(patterns):
        if action_problem(pattern) is None and not _is_derived(pattern.lower()):
            yield f"{path}[{index}]", f"{pattern!r}: no request is known by this action alone"


def _is_derived(pattern: str) -> bool:
    if pattern == "*":
        return True
    service, _, name = pattern.partition(":")
    return any(
        glob_matches(name, action)
        for prefix in iam_prefixes()
        if glob_matches(service, prefix)
        for action in _derived(prefix)
    )


@lru_cache(maxsize=512)
def _derived(prefix: str) -> frozenset[str]:
    """Give the names, lower-case, of actions by which some request is known."""
    known = _by_prefix().get(prefix, frozenset())
    if prefix in ("es", "execute-api"):  # their endpoints have no models: any of them is called
        return known | {name.lower() for name in actions_of(prefix)}
    return known


@lru_cache(maxsize=1)
def _by_prefix() -> Mapping[str, frozenset[str]]:
    every = {*ACCOMPANYING, *ORDERED, *(action.lower() for action in ONE_ACTION.values())}
    for prefix in iam_prefixes():
        for operation in operations_of(prefix):
            found = operation_actions(prefix, operation)
            every.update(action.lower() for action in (found[1] if found else ()))
    names: dict[str, set[str]] = {}
    for action in every - _BEHIND:
        prefix, _, name = action.partition(":")
        names.setdefault(prefix, set()).add(name)
    return {prefix: frozenset(each) for prefix, each in names.items()}


def _resource_problem(value: str) -> tuple[str, str]:
    """Say why an ARN is that of no call, and what to do; empty: it may be one."""
    if value != value.strip():
        return "ends in white space, which belongs to it", "take it out"
    parts = value.split(":", 5)
    if len(parts) < 6:
        return "", ""
    _, _, service, region, account, rest = parts
    # The keys of S3 may hold any characters, the rest of AWS's names may not.
    plain = rest.partition("/")[0] if service == "s3" else rest
    if "{{" not in value and not plain.isascii():
        return "holds letters that no such ARN has: they only look alike", "write it anew"
    if service == "s3" and not (_may_be_empty(region) and _may_be_empty(account)):
        what = "has a region or an account, and the ARNs of buckets and objects have none"
        return what, "arn:aws:s3:::bucket/key; those of access points are not derived"
    literal = rest.replace("{{", "*").replace("?", "*").partition("*")[0]
    forms = FORMS.get(service)
    if forms and not any(form.startswith(literal) or literal.startswith(form) for form in forms):
        known = ", ".join(f"{form}..." for form in forms)
        return "matches no call whose resource is known", f"of {service} the gateway tells {known}"
    if service in _WITHOUT_SLASH and "/" in literal:
        return "matches no call", f"an ARN of {service} ends in the plain name"
    return "", ""


def _may_be_empty(pattern: str) -> bool:
    return not pattern.replace("*", "")


def _not_filled(deny: Deny, users: Sequence[User]) -> Iterator[Problem]:
    """Find templates that stand for nothing, so that they deny a user nothing."""
    lists = {
        f"spec.deny.{name}": getattr(deny, name)
        for name in ("aws_resources", "aws_regions", "aws_services", "aws_role_arns")
    }
    lists |= {f"spec.deny.app_labels.{key}": values for key, values in deny.app_labels.items()}
    for path, values in lists.items():
        for index, value in enumerate(values):
            if not isinstance(parse_template(value), Template):
                continue
            empty = [u.metadata.name for u in users if not expand(value, u.spec.traits)]
            if empty:
                shown = ", ".join(map(repr, sorted(empty)[:SHOWN_USERS]))
                more = f" and {len(empty) - SHOWN_USERS} more" if len(empty) > SHOWN_USERS else ""
                what = f"{value!r} stands for nothing for {shown}{more}, so it denies them nothing"
                yield f"{path}[{index}]", what, "give them the trait"
