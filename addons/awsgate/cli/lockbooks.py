"""The locks that can be seen from here: those of the policy, and of the state folder."""

from __future__ import annotations

from pathlib import Path

from awsgate.errors import SetupError
from awsgate.locks import LockStore
from awsgate.policy import Policy
from awsgate.policy.locks import LockBook
from awsgate.state import LOCKS_NAME


def lock_books(policy: Policy | None, state: Path) -> tuple[list[LockBook], list[str]]:
    """Give the locks of the policy and of the state folder, and what of them cannot be read.

    No book at all: nothing is known of locks here.
    """
    books = [LockBook(policy.locks.values())] if policy is not None else []
    folder, notes = state / LOCKS_NAME, []
    try:
        if folder.is_dir():
            found = LockStore(folder).read()
            books.append(found.locks)
            notes += [f"a lock in {folder} cannot be read: {fault}" for fault in found.faults]
    except (OSError, SetupError):
        notes.append(f"the locks in {folder} cannot be read, and are left out")
    return books, notes
