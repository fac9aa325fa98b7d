"""Who is locked out, whatever the roles say. Pure and total."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from datetime import datetime

from awsgate.policy.fields import same_name
from awsgate.policy.resources import Lock, LockTarget

type _Key = tuple[str, str | None]


class LockBook(tuple[Lock, ...]):
    """Locks in the order in which they count, and an index: thousands cost no more than one.

    Immutable. By name, so that it does not matter in which order they were read.
    """

    roles: frozenset[str | None]
    """Roles under which a lock is found: a session may have thousands, and most books none."""
    _index: dict[_Key, list[int]]

    def __new__(cls, locks: Iterable[Lock] = ()) -> LockBook:
        """Sort the locks and index each under the narrowest thing that it names."""
        book = super().__new__(cls, sorted(locks, key=lambda lock: lock.metadata.name))
        book._index = defaultdict(list)
        for number, lock in enumerate(book):
            book._index[_narrowest(lock.spec.target)].append(number)
        book.roles = frozenset(name for kind, name in book._index if kind == "role")
        return book

    def about(self, keys: Iterable[_Key]) -> Iterator[Lock]:
        """Give the locks under these keys, in order: all that can fit are among them."""
        index = self._index
        return (self[n] for n in sorted(n for key in keys if key in index for n in index[key]))


NO_LOCKS = LockBook()


def lock_on(
    book: LockBook,
    *,
    user: str,
    roles: Collection[str],
    app: str,
    session: str,
    role_arn: str,
    now: datetime,
    came_by: Collection[str] = (),
    login: str = "",
) -> Lock | None:
    """Give the first lock, by name, that fits and has not expired; None: there is none.

    All that a lock's target gives must fit; of users it does not matter whether letters are
    upper or lower case, or who is locked could come back as Alice. ``roles`` are the user's
    roles of the policy. ``came_by`` are the roles from which a session came to ``role_arn``:
    a lock on any of them holds it. ``login`` is the id of the login that the session came
    from: a lock on it holds all sessions of the login.
    """
    who = same_name(user)
    keys: list[_Key] = [
        *(("session", some_id) for some_id in {session, login} - {""}),
        ("user", who),
        ("app", app),
        *(("aws_role_arn", arn) for arn in {role_arn, *came_by}),
        *(("role", role) for role in (book.roles.intersection(roles) if book.roles else ())),
    ]
    for lock in book.about(keys):
        target = lock.spec.target
        if (
            in_force(lock, now)
            and (target.user is None or same_name(target.user) == who)
            and (target.role is None or target.role in roles)
            and target.app in (None, app)
            and target.session in (None, session, login)
            and target.aws_role_arn in (None, role_arn, *came_by)
        ):
            return lock
    return None


def in_force(lock: Lock, now: datetime) -> bool:
    """True until the lock expires."""
    return lock.spec.expires is None or now < lock.spec.expires


def _narrowest(target: LockTarget) -> _Key:
    """Give one thing that a target names: whoever it fits has that."""
    if target.session is not None:
        return "session", target.session
    if target.user is not None:
        return "user", same_name(target.user)
    if target.aws_role_arn is not None:
        return "aws_role_arn", target.aws_role_arn
    if target.app is not None:
        return "app", target.app
    return "role", target.role
