"""How long a session may last, and which of the limits says so. Pure and total.

Gateway credentials stand for AWS credentials that the gateway fetches anew each hour:
AWS gives a role that another role assumes no more (role chaining), and the client never
sees the seam. What ends a session is the strictest of

- ``options.max_session_ttl`` of the roles of the policy that allow it, and of the app;
- ``session.max_ttl`` of the gateway;
- the end of the login that it comes from;
- AWS's own: 12 hours, or one hour for keys that AWS itself must chain.
"""

from __future__ import annotations

from dataclasses import dataclass

from awsgate.aws.stsform import CHAINED_MAX_S
from awsgate.policy.decide import allowing_roles
from awsgate.policy.resources import Policy

AWS_MAX_S = 12 * 3600
"""MaxSessionDuration of an IAM role is at most this ("IAM and STS quotas")."""


@dataclass(frozen=True, slots=True)
class TtlLimit:
    """The longest that a session may last."""

    seconds: int
    """0: it is not allowed at all, or its time is over."""
    because: str
    """Whose limit it is, as a clause: ``max_session_ttl of role/data-reader``."""


def ttl_limit(
    policy: Policy,
    user: str,
    app: str,
    role_arn: str,
    *,
    login_ends_in_s: int | None = None,
    chained: bool = False,
) -> TtlLimit:
    """Give how long a session of ``user`` as ``role_arn`` in ``app`` may last, and why.

    ``login_ends_in_s`` is what is left of the login that asks; None: there is none.
    ``chained``: for keys of AWS's that cannot be renewed, fetched with a role's keys, as
    for the console.
    """
    roles = allowing_roles(policy, user, app, role_arn)
    if not roles:
        return TtlLimit(0, "the policy does not allow it")
    named = {f"role/{role.metadata.name}": role.spec.options.max_session_ttl_s for role in roles}
    named[f"app/{app}"] = policy.apps[app].spec.options.max_session_ttl_s
    limits = [TtlLimit(s, f"max_session_ttl of {who}") for who, s in named.items() if s is not None]
    limits.append(TtlLimit(policy.gateway.session.max_ttl_s, "session.max_ttl of the gateway"))
    if login_ends_in_s is not None:
        limits.append(TtlLimit(max(login_ends_in_s, 0), "the login ends then"))
    limits.append(TtlLimit(AWS_MAX_S, "AWS gives no role a longer session"))
    if chained:
        because = "AWS gives a role that another role assumes no longer session (role chaining)"
        limits.append(TtlLimit(CHAINED_MAX_S, because))
    return min(limits, key=lambda limit: limit.seconds)


def max_ttl_s(policy: Policy, user: str, app: str, role_arn: str) -> int:
    """Give the seconds of ``ttl_limit`` alone."""
    return ttl_limit(policy, user, app, role_arn).seconds
