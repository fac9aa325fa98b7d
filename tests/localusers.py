"""What the tests of the gateway's own users share: a clock, a phone, a user who has both."""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from argon2 import PasswordHasher
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from awsgate.connect.local import LocalUsers
from awsgate.connect.ways import LoginRefused

QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
PASSWORD = "correct horse battery"
START = 1_700_000_000.0


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


class Phone:
    """An authenticator app, by another library."""

    def __init__(self, uri: str, clock: Callable[[], float]) -> None:
        secret = parse_qs(urlsplit(uri).query)["secret"][0]
        key = base64.b32decode(secret + "=" * (-len(secret) % 8))
        self._totp = TOTP(key, 6, SHA1(), 30)  # noqa: S303 - HMAC
        self._clock = clock

    def code(self, off_s: int = 0) -> str:
        return self._totp.generate(int(self._clock()) + off_s).decode()

    def wrong(self) -> str:
        right = {self.code(off) for off in (-30, 0, 30)}
        return next(code for n in range(9) if (code := f"{n:06}") not in right)


async def enrolled(users: LocalUsers, clock: Clock, user: str = "alice") -> Phone:
    invitation = users.add(user)
    assert invitation is not None
    return Phone((await users.accept(invitation.token, PASSWORD)).totp_uri, clock)


async def refusal(trying: Awaitable[object]) -> LoginRefused:
    with pytest.raises(LoginRefused) as caught:
        await trying
    return caught.value


def kept(folder: Path, user: str = "alice") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / f"{user}.json").read_text())
    return found


def files_in(folder: Path) -> dict[str, str]:
    """Name -> content of all that stands in a folder."""
    return {path.name: path.read_text() for path in folder.iterdir()}


def fail_twice(folder: Path) -> None:
    """Be another process, which imports this."""
    users = LocalUsers(folder, lambda: START, hasher=QUICK)
    for _ in range(2):
        users._try("alice", "wrong", "")
