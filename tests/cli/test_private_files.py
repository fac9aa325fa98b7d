"""A key that others can read is used by no command: it says so, and how to mend it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from awsgate.state import rotate_session_key
from commandline import READ_ONLY, Run

WHO = ("--user", "alice", "--app", "test", "--role", READ_ONLY)
ISSUING = {
    "env": ("env", *WHO),
    "exec": ("exec", *WHO, "--", "true"),
    "aws": ("aws", "--user", "alice", "sts", "get-caller-identity"),
    "credentials": ("credentials", *WHO),
}
OF_THE_STATE = {
    **ISSUING,
    "console": ("console", *WHO, "--print"),
    "session-key rotate": ("session-key", "rotate"),
    "lock add": ("lock", "add", "--user", "alice"),
    "lock ls": ("lock", "ls"),
    "users add": ("users", "add", "carol"),
    "users ls": ("users", "ls"),
    "request ls": ("request", "ls"),
}
OF_THE_CA = {**ISSUING, "ca show": ("ca", "show"), "ca rotate": ("ca", "rotate")}

STATE, CERTS = "it's state", "it's certs"
CASES = [
    pytest.param(place, mode, words, id=f"{name}: {place.rpartition('/')[2]} {mode:o}")
    for places, commands in (
        ({f"{STATE}/session.key": (0o640, 0o604), f"{STATE}/session.key.previous": (0o640, 0o604),
          STATE: (0o750, 0o701)}, OF_THE_STATE),
        ({f"{CERTS}/mitmproxy-ca.pem": (0o640, 0o604), CERTS: (0o750, 0o701)}, OF_THE_CA),
    )
    for place, modes in places.items()
    for mode in modes
    for name, words in commands.items()
]  # fmt: skip


@pytest.fixture
def becomes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that is not refused must not replace this process."""

    def become(*_: object) -> None:
        raise AssertionError("it became its command")

    monkeypatch.setattr(os, "execvpe", become)


@pytest.fixture
def kept(home: Path, gateway_ca: Path) -> Callable[[str], Path]:
    """Both session keys and the CA, in order."""
    rotate_session_key(home / STATE)
    assert gateway_ca == home / CERTS
    return lambda place: home / place


@pytest.mark.usefixtures("becomes_nothing")
@pytest.mark.parametrize(("place", "mode", "words"), CASES)
def test_what_others_can_read_is_not_used(
    kept: Callable[[str], Path], run: Run, place: str, mode: int, words: tuple[str, ...]
) -> None:
    path = kept(place)
    keys = [kept(f"{STATE}/session.key").read_text().strip(), "PRIVATE KEY"]
    path.chmod(mode)

    result = run(*words)

    assert result.code == 2
    assert f"{path} is open to other users (mode {mode:04o})" in result.err
    assert f"chmod {'700' if path.is_dir() else '600'} " in result.err
    assert result.out == ""
    assert [key for key in keys if key in result.err] == []
    assert path.stat().st_mode & 0o777 == mode, "what is wrong is not mended in silence"


@pytest.mark.parametrize("place", [f"{STATE}/session.key", f"{CERTS}/mitmproxy-ca.pem"])
def test_doctor_finds_it(kept: Callable[[str], Path], run: Run, place: str) -> None:
    kept(place).chmod(0o640)

    result = run("doctor")

    assert result.code == 1
    assert f"{kept(place)} is open to other users" in result.out


@pytest.mark.parametrize(
    "words", [w for n, w in OF_THE_STATE.items() if n not in ISSUING], ids=" ".join
)
def test_with_keys_in_order_none_complains(
    kept: Callable[[str], Path], run: Run, words: tuple[str, ...]
) -> None:
    assert kept(STATE).is_dir()

    assert "open to other users" not in run(*words).err
