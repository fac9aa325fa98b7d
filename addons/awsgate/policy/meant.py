"""A role called by its name, by whoever asks for credentials: which IAM role is meant. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from awsgate.aws.catalogue import similar
from awsgate.policy.decide import grantable_roles, may_be
from awsgate.policy.fields import ACCOUNT_LABEL, account_and_partition
from awsgate.policy.resources import Policy

MOST_NAMES = 10


def unknown_name(policy: Policy, user: str, app: str) -> str:
    """Say which of the two the policy does not have, and what it has; empty: it has both."""
    for kind, name, known in (("user", user, policy.users), ("app", app, policy.apps)):
        if name and name not in known:
            there = sorted(known)
            more = [f"and {len(there) - MOST_NAMES} more"] if len(there) > MOST_NAMES else []
            listed = ", ".join([*there[:MOST_NAMES], *more]) or "it has none"
            near = similar(name, known)
            meant = f": did you mean {near!r}" if near else ""
            return f"the policy has no {kind} {name!r} ({listed}){meant}"
    return ""


def role_meant(policy: Policy, user: str, app: str, role: str) -> tuple[str, str]:
    """Give the ARN that ``role`` stands for, or ``role`` itself and why it stands for none.

    An ARN is itself. A name, with or without its path, is looked for among the roles
    that the user may have in the app, then among all that the policy names in the
    account of the app: so the answer for a name is the answer for its ARN.
    """
    if role.startswith("arn:"):
        return role, ""
    granted = [arn for _, arn in grantable_roles(policy, user, app) if _is_called(arn, role)]
    if len(granted) > 1:
        return role, f"{len(granted)} roles have this name, give the arn: {', '.join(granted)}"
    account = _account(policy, app)
    named = {arn for arn in _named(policy) if _is_called(arn, role)}
    here = sorted(arn for arn in named if account in ("", arn.split(":")[4]))
    if granted or here:
        return (granted or here)[0], ""
    where = f" in account {account}" if account else ""
    return role, f"the policy names no iam role {role!r}{where}"


def pairs_meant(
    policy: Policy, user: str, app: str, role: str
) -> tuple[list[tuple[str, str]], str]:
    """Give the (app, role ARN) pairs that are meant, and why there is none, or not that role.

    What is left out stands for all that the user may have; what is named stands for
    itself, allowed or not.
    """
    if app and role:
        role_arn, unclear = role_meant(policy, user, app, role)
        return [(app, role_arn)], unclear
    granted = grantable_roles(policy, user, app or None)
    if not role:
        return granted, ""
    listed = [(name, arn) for name, arn in granted if arn == role or _is_called(arn, role)]
    # A pattern may allow it, or nothing: ask for each app.
    meant = [(name, role_meant(policy, user, name, role)[0]) for name in policy.apps]
    arns = [(name, arn) for name, arn in meant if arn.startswith("arn:")]
    return sorted({*listed, *(p for p in arns if may_be(policy, user, *p))}) or arns, ""


def short_role(arn: str, others: Sequence[str]) -> str:
    """Give the name of a role if no other of ``others`` has it, else its ARN."""
    name = arn.rpartition("/")[2]
    twins = {other for other in others if other.rpartition("/")[2] == name}
    return name if len(twins | {arn}) == 1 else arn


def _is_called(arn: str, name: str) -> bool:
    return arn.endswith(f"/{name}")


def _account(policy: Policy, app: str) -> str:
    """Give the account of an app; empty: any."""
    found = policy.apps.get(app)
    return found.labels.get(ACCOUNT_LABEL, "") if found else ""


def _named(policy: Policy) -> Iterator[str]:
    """Give every role ARN that stands in the policy, allowed or denied, or in a trait."""
    for role in policy.roles.values():
        yield from role.spec.allow.aws_role_arns
        yield from role.spec.deny.aws_role_arns
    for user in policy.users.values():
        for values in user.spec.traits.values():
            yield from (value for value in values if account_and_partition(value))
