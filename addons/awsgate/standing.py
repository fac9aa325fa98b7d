"""The policy as it is for one session: who its user is, and what more the session is held to.

A user of a connector has no ``kind: user`` document: the session says the roles and traits
that the login gave. So such a session is decided by a policy in which it has one. A document
of the same name is then somebody else's, and counts for nothing.

Roles that somebody was granted for a while (``policy.grants``) are added, while they last.

A session may also have been asked for with less than its user may (``Bounds``): that holds
whatever the policy says, in report mode too. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType

from cachetools import LRUCache

from awsgate.aws.call import Call
from awsgate.login import CERTIFICATE, LoginFacts
from awsgate.policy import Policy, User
from awsgate.policy.grants import GrantBook, with_roles
from awsgate.policy.resources import Metadata, UserSpec
from awsgate.policy.standing import Standings
from awsgate.session import Bounds, Session

READ_ONLY = "session/read-only"
MAX_REQUESTS = "session/max-requests"
_READING = frozenset({"Read", "List"})
_PASSES = frozenset(
    {
        *("ecr:GetAuthorizationToken", "ecr-public:GetAuthorizationToken"),
        *("codeartifact:GetAuthorizationToken", "sts:GetServiceBearerToken"),
        *("connect:GetFederationToken", "quicksight:GetAuthCode"),
        *("quicksight:GetSessionEmbedUrl", "quicksight:GetDashboardEmbedUrl"),
        *("gamelift:GetComputeAuthToken", "gamelift:GetInstanceAccess"),
    }
)
"""Of the level Read, and answered by what lets in for hours and to write, where the gateway
sees nothing of it: with ECR's, images are pushed. IAM's "Actions, resources, and condition
keys" of these services."""


def policy_of(
    policy: Policy, user: str, login: LoginFacts | None, more: tuple[str, ...] = ()
) -> Policy:
    """Give the policy that decides on a session: with its user as the login has it.

    ``more`` are roles that are granted to that user now.
    """
    if login is not None:
        policy = policy_with(policy, user, login)
    return with_roles(policy, user, more)


def granted(grants: GrantBook, session: Session, now: datetime) -> tuple[str, ...]:
    """Give the roles that the user of a session has by grants at this moment."""
    return grants.roles(session.user, session.connector, now.timestamp())


def policy_with(policy: Policy, user: str, login: LoginFacts) -> Policy:
    """Give the policy in which ``user`` is who the login says.

    Nobody, if the policy has its connector no more (of certificates: ``client_ca``): whoever
    takes a connector out does not trust what it said.
    """
    if login.of_policy:
        return policy
    trusted = (
        bool(policy.gateway.control.client_ca)
        if login.connector == CERTIFICATE
        else login.connector in policy.connectors
    )
    # Nobody else stands in it: it is kept for each login, and a policy may have thousands.
    users = {user: user_of(user, login)} if trusted else {}
    return replace(policy, users=MappingProxyType(users))


@dataclass(frozen=True, slots=True)
class View:
    """A policy as it is for some sessions, and the standings that it gives."""

    policy: Policy
    standings: Standings


class Views:
    """``policy_of`` with a bounded memory, for one policy.

    Users of connectors have each a view of their own: what was found for one login says
    nothing of another, whatever its user is called.
    """

    def __init__(self, policy: Policy) -> None:
        self._common = View(policy, Standings(policy))
        self._known: LRUCache[tuple[str, LoginFacts | None, tuple[str, ...]], View]
        self._known = LRUCache(4096)

    def of(self, user: str, login: LoginFacts | None, more: tuple[str, ...] = ()) -> View:
        """Give the policy that decides on a session of a user who is granted ``more`` roles."""
        if login is not None and login.of_policy:
            login = None
        if login is None and not more:
            return self._common
        about = (user, login, more)
        found = self._known.get(about)
        if found is None:
            policy = policy_of(self._common.policy, user, login, more)
            found = self._known[about] = View(policy, Standings(policy))
        return found


def user_of(user: str, login: LoginFacts) -> User:
    """Give the user that a login stands for.

    Not validated: a provider's values are what they are, and are compared as they stand.
    """
    spec = UserSpec.model_construct(roles=login.roles, traits=MappingProxyType(dict(login.traits)))
    return User.model_construct(
        kind="user", version="v2", metadata=Metadata.model_construct(name=user), spec=spec
    )


def beyond(bounds: Bounds, call: Call, requests: int) -> str:
    """Give the bound that a call of a session goes past, or nothing."""
    if bounds.max_requests and requests > bounds.max_requests:
        return MAX_REQUESTS
    # What a call is may not be known; its level is then that of a write.
    if bounds.read_only and not (
        _READING.issuperset(call.access_levels) and _PASSES.isdisjoint(call.actions)
    ):
        return READ_ONLY
    return ""


WORDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        READ_ONLY: (
            "these credentials are for reading alone",
            "ask for others without --read-only",
        ),
        MAX_REQUESTS: (
            "these credentials have made as many requests as they were issued for",
            "ask for others, or for more with --max-requests",
        ),
    }
)
"""Bound -> why, and what to do."""
