"""What somebody may for a while, since they asked and others agreed: roles, and calls. Pure.

A grant is for the user of one connector: somebody of the same name whom another connector
vouches for has nothing of it. It is worth what the policy in force says of a role of that
name, and it ends by itself, to the second.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from types import MappingProxyType

from awsgate.policy.approvals import AskedCall, MarkedCall
from awsgate.policy.resources import Policy


@dataclass(frozen=True, slots=True)
class Grant:
    """One role of one user, until a moment."""

    request: str
    """Id of the access request, for the audit."""
    user: str
    connector: str
    """``local`` for users of the policy."""
    role: str
    until: int
    """Epoch seconds; at that second it is over."""


class GrantBook:
    """Grants, by whose they are, and what has become of calls that were asked for. Immutable.

    Its length and its items are the roles.
    """

    def __init__(self, grants: Iterable[Grant] = (), asked: Iterable[AskedCall] = ()) -> None:
        found: dict[tuple[str, str], list[Grant]] = defaultdict(list)
        for grant in sorted(grants, key=lambda one: (one.role, one.until, one.request)):
            found[grant.user, grant.connector].append(grant)
        self._of = {whose: tuple(some) for whose, some in found.items()}
        calls: dict[tuple[str, str, MarkedCall], list[AskedCall]] = defaultdict(list)
        for one in sorted(asked, key=lambda one: (one.state, -one.until, one.request)):
            calls[one.user, one.connector, one.call].append(one)
        self._asked = {about: tuple(some) for about, some in calls.items()}

    def __iter__(self) -> Iterator[Grant]:
        return (grant for some in self._of.values() for grant in some)

    def __len__(self) -> int:
        return sum(map(len, self._of.values()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GrantBook) and (self._of, self._asked) == (
            other._of,
            other._asked,
        )

    def __hash__(self) -> int:
        return hash((frozenset(self._of.items()), frozenset(self._asked.items())))

    def roles(self, user: str, connector: str, now: float) -> tuple[str, ...]:
        """Give the roles that this user has by grants now, each once."""
        some = self._of.get((user, connector))
        if some is None:
            return ()
        return tuple(dict.fromkeys(grant.role for grant in some if now < grant.until))

    def asked(self, user: str, connector: str, call: MarkedCall, now: float) -> AskedCall | None:
        """Give what has become of a call that this user asked for; None: nothing holds now.

        Of several an approval, then a denial: the newer request is told of only when that
        is over.
        """
        some = self._asked.get((user, connector, call), ())
        return next((one for one in some if now < one.until), None)


NO_GRANTS = GrantBook()


def with_roles(policy: Policy, user: str, roles: tuple[str, ...]) -> Policy:
    """Give the policy in which ``user`` has these roles too; the same, if that adds nothing.

    Nobody else stands in it then: it is kept for each user, and a policy may have thousands.
    """
    who = policy.users.get(user)
    more = tuple(role for role in roles if who is not None and role not in who.spec.roles)
    if who is None or not more:
        return policy
    # Not validated, as the user of a login is not.
    spec = who.spec.model_copy(update={"roles": (*who.spec.roles, *more)})
    changed = who.model_copy(update={"spec": spec})
    return replace(policy, users=MappingProxyType({user: changed}))
