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
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType

from cachetools import LRUCache

from awsgate.aws.call import Call
from awsgate.errors import Code, Refusal
from awsgate.login import CERTIFICATE, LOCAL, LoginFacts
from awsgate.policy import Decision, Policy, User
from awsgate.policy.grants import NO_GRANTS, GrantBook, with_roles
from awsgate.policy.resources import Metadata, UserSpec
from awsgate.session import Bounds, Session

READ_ONLY = "session/read-only"
MAX_REQUESTS = "session/max-requests"
_READING = frozenset({"Read", "List"})


def policy_with(policy: Policy, user: str, login: LoginFacts) -> Policy:
    """Give the policy in which ``user`` is who the login says.

    Nobody, if the policy has its connector no more: whoever takes a connector out does not
    trust what it said.
    """
    if login.of_policy:
        return policy
    users = dict(policy.users)
    users.pop(user, None)
    if login.connector in policy.connectors or login.connector == CERTIFICATE:
        users[user] = user_of(user, login)
    return replace(policy, users=MappingProxyType(users))


def policy_of(
    policy: Policy, session: Session, now: datetime, grants: GrantBook = NO_GRANTS
) -> Policy:
    """Give the policy that decides on a session: with its user as login and grants have it."""
    return Standings(policy, grants)(session, now)


class Standings:
    """``policy_of`` with a bounded memory, for one policy and what is granted beside it."""

    def __init__(self, policy: Policy, grants: GrantBook = NO_GRANTS) -> None:
        self._policy, self._grants = policy, grants
        self._known: LRUCache[tuple[str, LoginFacts | None, tuple[str, ...]], Policy]
        self._known = LRUCache(4096)

    def __call__(self, session: Session, now: datetime) -> Policy:
        """Give the policy that decides on a session at this moment."""
        login = session.login if session.login is not None and not session.login.of_policy else None
        connector = login.connector if login is not None else LOCAL
        more = self._grants.roles(session.user, connector, now.timestamp())
        if login is None and not more:
            return self._policy
        about = (session.user, login, more)
        if about not in self._known:
            mine = self._policy
            if login is not None:
                mine = policy_with(mine, session.user, login)
            self._known[about] = with_roles(mine, session.user, more)
        return self._known[about]


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
    if bounds.read_only and not _READING.issuperset(call.access_levels):
        return READ_ONLY
    return ""


def denied(decision: Decision, call: Call | None) -> Refusal:
    """Give the refusal of a call that the policy does not allow."""
    _, hint = WORDS.get(decision.rule, ("", "awsgate env shows the roles you may ask for"))
    what = ""
    if call is not None and decision.about_call:
        what = call.actions[0] if call.actions else call.name
    if what:
        hint = f"awsgate explain --user {decision.user} --action {what} shows the rules"
    return Refusal(
        Code.DENIED,
        f"{decision.user or 'this identity'} may not do this: {decision.reason}"
        + (f" ({what})" if what else ""),
        hint=hint,
        detail=decision.rule,
    )


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
