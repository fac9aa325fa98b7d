"""A role called by its name, by whoever asks for credentials: which IAM role is meant. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from awsgate.aws.catalogue import similar
from awsgate.policy.decide import may_be
from awsgate.policy.fields import ACCOUNT_LABEL, account_and_partition
from awsgate.policy.grantable import Grantable
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


def role_meant(
    policy: Policy, user: str, app: str, role: str, granted: Grantable | None = None
) -> tuple[str, str]:
    """Give the ARN that ``role`` stands for, or ``role`` itself and why it stands for none.

    An ARN is itself. A name, with or without its path, is looked for among the roles
    that the user may have in the app, then among all that the policy names in the
    account of the app: so the answer for a name is the answer for its ARN. ``granted``
    is what the user may have, where that is known already.
    """
    if role.startswith("arn:"):
        return role, ""
    return _meant(policy, granted or Grantable(policy, user), app, role, _called(policy, role))


def _meant(
    policy: Policy, granted: Grantable, app: str, role: str, called: list[str]
) -> tuple[str, str]:
    """``called`` are all that the policy names and that are called so, sorted."""
    may_have = [arn for arn in granted.arns(app) if _is_called(arn, role)]
    if len(may_have) > 1:
        return role, f"{len(may_have)} roles have this name, give the arn: {', '.join(may_have)}"
    account = _account(policy, app)
    here = [arn for arn in called if account in ("", arn.split(":")[4])]
    if may_have or here:
        return (may_have or here)[0], ""
    where = f" in account {account}" if account else ""
    return role, f"the policy names no iam role {role!r}{where}"


def pairs_meant(
    policy: Policy, user: str, app: str, role: str, granted: Grantable | None = None
) -> tuple[list[tuple[str, str]], str]:
    """Give the (app, role ARN) pairs that are meant, and why there is none, or not that role.

    What is left out stands for all that the user may have; what is named stands for
    itself, allowed or not. Of several either all are allowed or none is.
    """
    if app and role:
        role_arn, unclear = role_meant(policy, user, app, role, granted)
        return [(app, role_arn)], unclear
    granted = granted or Grantable(policy, user)
    if not role:
        return list(granted.pairs(app)), ""
    listed = [(name, arn) for name, arn in granted.pairs() if arn == role or _is_called(arn, role)]
    # A pattern may allow it, or nothing: ask for each app.
    arns = [(name, role) for name in policy.apps]
    if not role.startswith("arn:"):
        called = _called(policy, role)
        meant = [(name, _meant(policy, granted, name, role, called)[0]) for name in policy.apps]
        arns = [(name, arn) for name, arn in meant if arn.startswith("arn:")]
    allowed = [pair for pair in arns if may_be(policy, user, *pair, granted)]
    return sorted({*listed, *allowed}) or arns, ""


def short_roles(arns: Iterable[str]) -> dict[str, str]:
    """Give for each role its name, if no other of them has it, else its ARN."""
    names = {arn: arn.rpartition("/")[2] for arn in arns}
    count = Counter(names.values())
    return {arn: name if count[name] == 1 else arn for arn, name in names.items()}


def _called(policy: Policy, role: str) -> list[str]:
    """Give every role ARN of the policy that is called so, sorted."""
    return sorted({arn for arn in _named(policy) if _is_called(arn, role)})


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
