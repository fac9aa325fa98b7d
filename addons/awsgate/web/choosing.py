"""What a caller of the API means by an app and a role, and what there is to choose from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from awsgate.errors import Code
from awsgate.login import Login
from awsgate.policy import Policy, decide, ttl_limit
from awsgate.policy.fields import ACCOUNT_LABEL
from awsgate.policy.grantable import Grantable
from awsgate.policy.meant import pairs_meant, short_roles, unknown_name
from awsgate.session import Bounds
from awsgate.timestamps import duration_of
from awsgate.web.granted import Granted
from awsgate.web.problems import AMBIGUOUS, Problem

MAX_CHOICES = 100


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, and the policy as it is for them."""

    login: Login
    policy: Policy
    known: Granted = field(default_factory=Granted, compare=False, repr=False)
    """What was found for others, and for earlier calls."""

    @property
    def granted(self) -> Grantable:
        """Give all that the caller may ask for, as far as the policy lists it."""
        return self.known.of(self.policy, self.login.user)

    @property
    def roles(self) -> tuple[str, ...]:
        """Give the names of the roles that the caller has."""
        who = self.policy.users.get(self.login.user)
        return who.spec.roles if who is not None else ()


@dataclass(frozen=True, slots=True)
class Asked:
    """What credentials somebody wants. Empty: what is clear; 0: the policy's."""

    app: str = ""
    role: str = ""
    ttl_s: int = 0
    bounds: Bounds = field(default_factory=Bounds)


def pair_meant(caller: Caller, asked: Asked) -> tuple[str, str, str]:
    """Give app, role ARN and rule of what is meant. Raises ``Problem``.

    The one pair is decided anew, whatever is remembered of all that the caller may have.
    """
    policy, user = caller.policy, caller.login.user
    if asked.app and asked.app not in policy.apps:
        raise _denied(caller, unknown_name(policy, "", asked.app))
    pairs, count, unclear = _meant(caller, asked)
    told = f" in {asked.app}" if asked.app else ""
    told += f" as {asked.role}" if asked.role else ""
    why = unclear
    for app, role_arn in pairs[:1]:  # of several, either all are allowed or none is
        verdict = decide(
            policy,
            user=user,
            app=app,
            role_arn=role_arn,
            endpoint_service="sts",
            tenant_controlled=False,
        )
        if verdict.allowed and count == 1:
            return app, role_arn, verdict.rule
        if verdict.allowed:
            raise Problem(
                409,
                AMBIGUOUS,
                f"{user} may have {count} roles{told}: say which with app and role",
                choices=choices_of(policy, pairs),
            )
        why = why or verdict.reason
    raise _denied(caller, f"{user} may have no role{told}" + (f": {why}" if why else ""))


def _meant(caller: Caller, asked: Asked) -> tuple[list[tuple[str, str]], int, str]:
    """Give the pairs that are meant, or the first of many; how many; and why not that role."""
    if not asked.role:
        granted = caller.granted
        some = list(islice(granted.pairs(asked.app), MAX_CHOICES))
        return some, granted.count(asked.app), ""
    pairs, unclear = pairs_meant(
        caller.policy, caller.login.user, asked.app, asked.role, caller.granted
    )
    return pairs, len(pairs), unclear


def _denied(caller: Caller, message: str) -> Problem:
    choices = choices_of(caller.policy, caller.granted.pairs())
    return Problem(
        403,
        Code.DENIED.value,
        message,
        hint="ask for one of the choices" if choices else "the policy gives this user no role",
        choices=choices,
    )


def choices_of(policy: Policy, pairs: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    """Give what there is to choose from, as the API shows it. Bounded."""
    return list(_described(policy, list(islice(pairs, MAX_CHOICES))))


def _described(policy: Policy, pairs: list[tuple[str, str]]) -> Iterator[dict[str, str]]:
    arns: defaultdict[str, list[str]] = defaultdict(list)
    for app, arn in pairs:
        arns[app].append(arn)
    short = {app: short_roles(some) for app, some in arns.items()}
    for app, arn in pairs:
        account = policy.apps[app].labels.get(ACCOUNT_LABEL) or arn.split(":")[4]
        yield {"app": app, "account": account, "role_arn": arn, "role": short[app][arn]}


def life_of(caller: Caller, app: str, role_arn: str, ttl_s: int, now: int) -> int:
    """Give how long the session lasts. Raises ``Problem`` if that is less than is asked for."""
    policy, login = caller.policy, caller.login
    limit = ttl_limit(policy, login.user, app, role_arn, login_ends_in_s=login.expires_at - now)
    if ttl_s > limit.seconds or limit.seconds <= 0:
        raise Problem(
            403,
            Code.DENIED.value,
            f"{login.user} may have this role for {duration_of(limit.seconds) or '0s'} at most",
            hint=limit.because,
        )
    return ttl_s or min(policy.gateway.session.default_ttl_s, limit.seconds)
