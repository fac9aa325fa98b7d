"""The gateway's own users: a password (Argon2id), a code of an authenticator app (TOTP).

    add, reset   give an invitation, which is shown once and kept as a hash alone
    accept       whoever has it chooses a password, and gets the authenticator's secret
    prove        password and code -> an identity

Who fails five times in a row is shut out for 15 minutes, then for twice as long, and so
on up to four hours. A try counts as failed before it is looked at, so that many at once
are not more than five. A code is good once.

Whoever logs in cannot tell an unknown user from a wrong password, a wrong or used code,
or a user who is shut out: the words are the same, and so is what is done. In each case
one password is hashed and one file is written. The audit has the reason.

Hashing takes 64 MiB and some 50 ms on purpose. It is done in threads of its own, two at a
time, and who comes when too many wait is turned away at once.

Which roles a user has, and whether there is one of that name at all, the policy says
(``kind: user``). That is not asked here.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
import threading
import time
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from awsgate.connect.invitations import (
    SECRET_BYTES,
    Invitation,
    bad_invitation,
    hashed,
    parsed,
    token_of,
)
from awsgate.connect.totp import SECRET_BYTES as TOTP_SECRET_BYTES
from awsgate.connect.totp import secret_as_text, secret_of_text, step_of, uri_of
from awsgate.connect.userfiles import UserFiles, UserRecord
from awsgate.connect.ways import LoginRefused
from awsgate.errors import SetupError
from awsgate.login import LOCAL, Identity
from awsgate.policy.fields import is_name

INVITATION_TTL_S = 24 * 3600
MIN_PASSWORD_CHARS = 12
MAX_PASSWORD_CHARS = 1024
MAX_FAILURES = 5
FIRST_LOCKOUT_S = 15 * 60
LONGEST_LOCKOUT_S = 4 * 3600
HASHING_THREADS = 2
MAX_WAITING = 32
"""Logins that are hashed or wait for it: a second or two of work."""

_MIN_DISTINCT = 5


class Enrolled(NamedTuple):
    """Somebody has chosen a password."""

    user: str
    totp_uri: str
    """For the authenticator app; empty: this user has none."""

    def __repr__(self) -> str:
        return f"Enrolled({self.user!r})"


class LocalUsers:
    """The users in a folder (``State.users_folder``). Processes may share it."""

    def __init__(
        self,
        folder: Path,
        clock: Callable[[], float] = time.time,
        *,
        hasher: PasswordHasher | None = None,
    ) -> None:
        self.files = UserFiles(folder)
        self._clock = clock
        self._hasher = hasher or PasswordHasher()  # RFC 9106's second recommended option
        self._slots = threading.BoundedSemaphore(MAX_WAITING)
        self._pool = ThreadPoolExecutor(HASHING_THREADS, thread_name_prefix="awsgate-password")

    # --- whoever logs in ------------------------------------------------------------------

    async def prove(self, user: str, password: str, totp: str) -> Identity:
        """Give the identity of a user whose password and code (``totp``) are right.

        Raises ``LoginRefused``, always in the same words; ``reason`` is for the audit.
        """
        reason = await self._off_loop(lambda: self._try(user, password, totp))
        if reason:
            raise LoginRefused(
                reason,
                "user, password or code is wrong, or the user is shut out for a while",
                hint=f"each code counts once; after {MAX_FAILURES} wrong tries in a row a user is "
                f"shut out for {FIRST_LOCKOUT_S // 60} minutes or longer; whoever runs the gateway "
                "can help: awsgate users reset",
            )
        return Identity(user, LOCAL)

    async def accept(self, token: str, password: str, *, issuer: str = "awsgate") -> Enrolled:
        """Take a password by an invitation, which is used up by it. A bad one uses up none.

        ``issuer`` is what the authenticator app shows beside the user's name. Raises
        ``LoginRefused`` with bad-invitation or weak-password.
        """
        return await self._off_loop(lambda: self._enrol(token, password, issuer))

    # --- whoever runs the gateway ---------------------------------------------------------

    def add(
        self, user: str, *, ttl_s: int = INVITATION_TTL_S, wants_totp: bool = True
    ) -> Invitation | None:
        """Add a user, who is invited. None: there is one of that name already.

        Raises ``SetupError`` if that is no name.
        """
        if not is_name(user):
            raise SetupError(f"{user[:80]!r} cannot be the name of a user")
        with self.files.locked():
            if self.files.read(user) is not None:
                return None
            return self._invite(user, ttl_s, wants_totp)

    def reset(
        self, user: str, *, ttl_s: int = INVITATION_TTL_S, wants_totp: bool | None = None
    ) -> Invitation | None:
        """Invite a user anew; password, authenticator and invitation end now.

        ``wants_totp`` stays as it was, if it is not given. None: there is no such user.
        """
        with self.files.locked():
            before = self.files.read(user)
            if before is None:
                return None
            wants = before.wants_totp if wants_totp is None else wants_totp
            return self._invite(user, ttl_s, wants)

    def unlock(self, user: str) -> bool:
        """Forget a user's failures. False: there is no such user."""
        with self.files.locked():
            record = self.files.read(user)
            if record is not None:
                self.files.write(replace(record, failures=0, lockouts=0, locked_until=0))
        return record is not None

    def remove(self, user: str) -> bool:
        """Take a user away. False: there is no such user."""
        with self.files.locked():
            return self.files.remove(user)

    # --- inside ---------------------------------------------------------------------------

    async def _off_loop[T](self, work: Callable[[], T]) -> T:
        if not self._slots.acquire(blocking=False):
            raise LoginRefused("busy", "too many log in at once", hint="try again in some seconds")
        try:
            running = self._pool.submit(work)
        except BaseException:
            self._slots.release()
            raise
        # When it has ended, not when nobody waits for it any more: a client that hangs up
        # does not stop the hashing.
        running.add_done_callback(lambda _: self._slots.release())
        return await asyncio.wrap_future(running)

    def _try(self, user: str, password: str, code: str) -> str:
        """Give why not, or nothing."""
        now = int(self._clock())
        decoy = self._decoy_hash
        record, reason = self._begin(user, now)
        kept = record.password if record is not None and record.password else decoy
        right = self._is_right(kept, password)
        with self.files.locked():
            fresh = self._read(user)
            if reason or record is None or fresh is None:
                return reason or "unknown-user"
            if not right:
                return "wrong-password"
            if fresh.password != record.password:
                return "wrong-password"  # it was reset meanwhile
            step, why = _code_step(fresh, code, now)
            if why:
                return why
            self.files.write(
                replace(
                    fresh, failures=0, lockouts=0, locked_until=0, last_step=step, last_login_at=now
                )
            )
        if self._hasher.check_needs_rehash(kept):
            self._upgrade(user, kept, password)
        return ""

    def _begin(self, user: str, now: int) -> tuple[UserRecord | None, str]:
        """Count a try as failed. Gives the user as before, and why it will come to nothing."""
        with self.files.locked():
            record, reason = None, "unknown-user"
            try:
                record = self.files.read(user) if is_name(user) else None
            except SetupError:
                reason = "unreadable"  # awsgate users ls says what is wrong
            if record is None:
                self.files.write_decoy()
                return None, reason
            if now < record.locked_until:
                self.files.write(record)
                return record, "locked-out"
            if not record.password:
                self.files.write(record)
                return record, "not-enrolled"
            self.files.write(_failed(record, now))
            return record, ""

    def _read(self, user: str) -> UserRecord | None:
        try:
            return self.files.read(user) if is_name(user) else None
        except SetupError:
            return None

    def _upgrade(self, user: str, kept: str, password: str) -> None:
        """Keep the password as today's parameters hash it."""
        hashed = self._hasher.hash(_as_bytes(password))
        with self.files.locked():
            record = self._read(user)
            if record is not None and record.password == kept:
                self.files.write(replace(record, password=hashed))

    def _is_right(self, kept: str, password: str) -> bool:
        short = len(password) <= MAX_PASSWORD_CHARS
        try:
            self._hasher.verify(kept, _as_bytes(password if short else ""))
        except (VerificationError, InvalidHashError):
            return False
        return short

    @cached_property
    def _decoy_hash(self) -> str:
        return self._hasher.hash(secrets.token_bytes(SECRET_BYTES))

    def _invite(self, user: str, ttl_s: int, wants_totp: bool) -> Invitation:
        now = int(self._clock())
        secret = secrets.token_bytes(SECRET_BYTES)
        self.files.write(
            UserRecord(
                user=user,
                created_at=now,
                wants_totp=wants_totp,
                invitation=hashed(secret),
                invited_until=now + ttl_s,
            )
        )
        return Invitation(user, token_of(secret, user), now + ttl_s)

    def _enrol(self, token: str, password: str, issuer: str) -> Enrolled:
        user, wanted = parsed(token)
        with self.files.locked():
            self._invited(user, wanted)
        _check_password(password, user)
        kept = self._hasher.hash(_as_bytes(password))
        secret = secrets.token_bytes(TOTP_SECRET_BYTES)
        with self.files.locked():
            # Again: somebody else may have been quicker.
            record = self._invited(user, wanted)
            self.files.write(
                replace(
                    record,
                    password=kept,
                    totp=secret_as_text(secret) if record.wants_totp else "",
                    invitation="",
                    invited_until=0,
                )
            )
        uri = uri_of(secret, user=user, issuer=issuer) if record.wants_totp else ""
        return Enrolled(user, uri)

    def _invited(self, user: str, wanted: str) -> UserRecord:
        record = self._read(user)
        if (
            record is None
            or not hmac.compare_digest(record.invitation, wanted)
            or int(self._clock()) >= record.invited_until
        ):
            raise bad_invitation()
        return record


def lockout_s(lockouts: int) -> int:
    """Give how long the first, second, third lockout in a row lasts."""
    return min(FIRST_LOCKOUT_S << min(lockouts - 1, 30), LONGEST_LOCKOUT_S)


def _failed(record: UserRecord, now: int) -> UserRecord:
    if record.failures + 1 < MAX_FAILURES:
        return replace(record, failures=record.failures + 1)
    lockouts = record.lockouts + 1
    return replace(record, failures=0, lockouts=lockouts, locked_until=now + lockout_s(lockouts))


def _code_step(record: UserRecord, code: str, now: int) -> tuple[int, str]:
    """Give the step of the code, and why it does not count."""
    if not record.totp:
        # Whoever is to have an authenticator and has none must be invited again.
        return record.last_step, "not-enrolled" if record.wants_totp else ""
    try:
        secret = secret_of_text(record.totp)
    except ValueError:
        return record.last_step, "unreadable"
    step = step_of(secret, code.replace(" ", ""), now)
    if step is None:
        return record.last_step, "wrong-code"
    return step, "replayed" if step <= record.last_step else ""


def _check_password(password: str, user: str) -> None:
    """Refuse what is too easily guessed. No rules on kinds of characters (NIST SP 800-63B)."""
    if len(password) < MIN_PASSWORD_CHARS:
        raise _weak(f"it has {len(password)} characters, and needs {MIN_PASSWORD_CHARS}")
    if len(password) > MAX_PASSWORD_CHARS:
        raise _weak(f"it has over {MAX_PASSWORD_CHARS} characters")
    if len(set(password)) < _MIN_DISTINCT:
        raise _weak(f"it has fewer than {_MIN_DISTINCT} different characters")
    if password.lower().replace(user.lower(), "") == "":
        raise _weak("it is the user's name")


def _weak(why: str) -> LoginRefused:
    return LoginRefused(
        "weak-password",
        f"the password is not good enough: {why}",
        hint="take a longer one, as some words in a row; the invitation is still good",
    )


def _as_bytes(password: str) -> bytes:
    # The same password, however a keyboard composes its accents (NIST SP 800-63B, 5.1.1.2).
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")
