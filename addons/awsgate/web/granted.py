"""What users may ask for, remembered while the policy that says so is in force.

Each page, and each keystroke in its search, asks for all of it. Known by all that decides:
the roles and apps of the policy, the very ones, and who the user is in it, with the roles
that they are granted at the moment. So nothing is told that another policy, login or grant
gave. It is for lists alone: what is given out is decided anew.
"""

from __future__ import annotations

import threading

from cachetools import LRUCache

from awsgate.policy import Policy
from awsgate.policy.grantable import Grantable

MAX_KEPT = 200_000
"""Names, in all that is remembered: some tens of megabytes."""

type _Who = tuple[str, tuple[str, ...], tuple[tuple[str, tuple[str, ...]], ...]]


class Granted:
    """What was found under one policy. Any thread may ask."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._policy = Policy()
        self._kept: LRUCache[_Who, Grantable] = LRUCache(MAX_KEPT, getsizeof=lambda one: one.size)

    def of(self, policy: Policy, user: str) -> Grantable:
        """Give what a user may ask for. ``policy`` is the one in force as it is for them."""
        who = policy.users.get(user)
        if who is None:
            return Grantable(policy, user)
        about = (user, who.spec.roles, tuple(sorted(who.spec.traits.items())))
        with self._turn:
            if not _same(policy, self._policy):
                self._kept.clear()
                self._policy = policy
            found = self._kept.get(about)
        if found is not None:
            return found
        found = Grantable(policy, user)  # others need not wait for it
        with self._turn:
            if _same(policy, self._policy) and found.size <= MAX_KEPT:
                self._kept[about] = found
        return found


def _same(one: Policy, other: Policy) -> bool:
    """True if both have the same roles and apps: that of a login is made of the one in force."""
    return one.roles is other.roles and one.apps is other.apps
