"""Who is locked out, whatever the roles say. Pure and total."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime

from awsgate.policy.resources import Lock


def lock_on(
    locks: Iterable[Lock],
    *,
    user: str,
    roles: Collection[str],
    app: str,
    session: str,
    role_arn: str,
    now: datetime,
) -> Lock | None:
    """Give the first lock, by name, that fits and has not expired; None: there is none.

    All that a lock's target gives must fit. ``roles`` are the user's roles of the policy.
    """
    for lock in sorted(locks, key=lambda lock: lock.metadata.name):
        target, expires = lock.spec.target, lock.spec.expires
        if (
            (expires is None or now < expires)
            and target.user in (None, user)
            and (target.role is None or target.role in roles)
            and target.app in (None, app)
            and target.session in (None, session)
            and target.aws_role_arn in (None, role_arn)
        ):
            return lock
    return None
