"""What a caller of the API means by an app and a role, and what there is to choose from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from awsgate.errors import Code
from awsgate.login import Login
from awsgate.policy import Policy, decide, grantable_roles, ttl_limit
from awsgate.policy.decide import ALLOWED
from awsgate.policy.fields import ACCOUNT_LABEL
from awsgate.policy.meant import pairs_meant, short_role, unknown_name
from awsgate.session import Bounds
from awsgate.timestamps import duration_of
from awsgate.web.problems import AMBIGUOUS, Problem

MAX_CHOICES = 100


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, and the policy as it is for them."""

    login: Login
    policy: Policy

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
    """Give app, role ARN and rule of what is meant. Raises ``Problem``."""
    policy, user = caller.policy, caller.login.user
    if asked.app and asked.app not in policy.apps:
        raise _denied(caller, unknown_name(policy, "", asked.app))
    pairs, unclear = pairs_meant(policy, user, asked.app, asked.role)
    verdicts = [
        decide(
            policy,
            user=user,
            app=app,
            role_arn=arn,
            endpoint_service="sts",
            tenant_controlled=False,
        )
        for app, arn in pairs
    ]
    found = [
        (pair, verdict) for pair, verdict in zip(pairs, verdicts, strict=True) if verdict.allowed
    ]
    if len(found) == 1:
        (app, role_arn), verdict = found[0]
        return app, role_arn, verdict.rule
    told = f" in {asked.app}" if asked.app else ""
    told += f" as {asked.role}" if asked.role else ""
    if found:
        raise Problem(
            409,
            AMBIGUOUS,
            f"{user} may have {len(found)} roles{told}: say which with app and role",
            choices=choices_of(policy, [pair for pair, _ in found]),
        )
    why = unclear or next((v.reason for v in verdicts if v.reason != ALLOWED), "")
    raise _denied(caller, f"{user} may have no role{told}" + (f": {why}" if why else ""))


def _denied(caller: Caller, message: str) -> Problem:
    granted = grantable_roles(caller.policy, caller.login.user)
    return Problem(
        403,
        Code.DENIED.value,
        message,
        hint="ask for one of the choices" if granted else "the policy gives this user no role",
        choices=choices_of(caller.policy, granted),
    )


def choices_of(policy: Policy, pairs: list[tuple[str, str]]) -> list[dict[str, str]]:
    """Give what there is to choose from, as the API shows it. Bounded."""
    return list(_described(policy, pairs[:MAX_CHOICES]))


def _described(policy: Policy, pairs: list[tuple[str, str]]) -> Iterator[dict[str, str]]:
    arns: Mapping[str, list[str]] = {
        name: [arn for app, arn in pairs if app == name] for name, _ in pairs
    }
    for app, arn in pairs:
        account = policy.apps[app].labels.get(ACCOUNT_LABEL) or arn.split(":")[4]
        yield {
            "app": app,
            "account": account,
            "role_arn": arn,
            "role": short_role(arn, arns[app]),
        }


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
