"""The session key: made once, agreed on, kept to its owner."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from awsgate.errors import Refusal, SetupError
from awsgate.session import SessionKeys, mint, open_session
from awsgate.state import open_state, rotate_session_key

NOW = 1_760_000_000


def opens(keys: SessionKeys, minted_by: SessionKeys) -> bool:
    """True if a session of one gateway is one of the other."""
    made = mint(
        minted_by, user="ada", app="a", role_arn="r", ttl_s=60, now=NOW, entropy=bytes(range(32))
    )
    try:
        open_session(
            keys, access_key_id=made.access_key_id, session_token=made.session_token, now=NOW
        )
    except Refusal:
        return False
    return True


def test_a_new_state_folder_has_a_random_key_that_only_its_owner_may_read(tmp_path: Path) -> None:
    open_state(tmp_path / "a")
    open_state(tmp_path / "b")

    key = tmp_path / "a/session.key"
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o700
    assert key.stat().st_mode & 0o777 == 0o600
    assert len(bytes.fromhex(key.read_text())) == 32
    assert key.read_text() != (tmp_path / "b/session.key").read_text()


def test_the_same_folder_gives_the_same_keys(tmp_path: Path) -> None:
    first, second = open_state(tmp_path / "s"), open_state(tmp_path / "s")

    assert opens(second.session_keys, first.session_keys)
    assert second.audit_path == tmp_path / "s/audit.jsonl"
    assert not opens(open_state(tmp_path / "other").session_keys, first.session_keys)


def test_paths_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert open_state(Path("s")).audit_path == tmp_path / "s/audit.jsonl"


def test_processes_that_start_at_once_agree_on_one_key(tmp_path: Path) -> None:
    # All wait for the same file, so that they reach the folder together.
    program = (
        "import sys, pathlib\n"
        "from awsgate.state import open_state\n"
        "print(flush=True)\n"
        "sys.stdin.readline()\n"
        f"state = open_state(pathlib.Path({str(tmp_path / 's')!r}))\n"
        "print(state.session_keys.current.fingerprint.hex())\n"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for _ in range(4)
    ]
    for process in started:
        assert process.stdout is not None
        process.stdout.readline()

    for process in started:
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
    found = {process.communicate()[0] for process in started}

    assert [process.returncode for process in started] == [0] * 4
    assert found == {
        open_state(tmp_path / "s").session_keys.current.fingerprint.hex().encode() + b"\n"
    }


def test_after_a_rotation_the_sessions_of_the_key_before_still_open(tmp_path: Path) -> None:
    first = open_state(tmp_path / "s").session_keys
    second = rotate_session_key(tmp_path / "s").session_keys
    third = rotate_session_key(tmp_path / "s").session_keys

    assert opens(second, first)
    assert not opens(first, second)
    assert opens(third, second)
    assert not opens(third, first)


def test_a_rotation_of_a_new_folder_works(tmp_path: Path) -> None:
    keys = rotate_session_key(tmp_path / "s").session_keys

    assert opens(keys, keys)


FAULTS = {
    "key open to the group": (0o640, "ab" * 32, "open to other users"),
    "key open to all": (0o604, "ab" * 32, "open to other users"),
    "key too short": (0o600, "ab" * 31, "holds 31 bytes, expected 32"),
    "key too long": (0o600, "ab" * 33, "holds 33 bytes, expected 32"),
    "key empty": (0o600, "", "holds 0 bytes"),
    "key not hex": (0o600, "xy" * 32, "is not hex"),
    "key not ascii": (0o600, "é" * 64, "is not hex"),
}


@pytest.mark.parametrize("name", ["session.key", "session.key.previous"])
@pytest.mark.parametrize(("mode", "text", "what"), FAULTS.values(), ids=FAULTS)
def test_a_bad_key_ends_the_start_and_is_not_shown(
    tmp_path: Path, name: str, mode: int, text: str, what: str
) -> None:
    tmp_path.chmod(0o700)
    open_state(tmp_path)
    key = tmp_path / name
    key.write_text(text)
    key.chmod(mode)

    with pytest.raises(SetupError, match=what) as caught:
        open_state(tmp_path)

    assert str(key) in caught.value.message
    assert caught.value.hint
    assert not text or text not in caught.value.render()
    assert key.read_text() == text, "a damaged key is never overwritten"


def test_a_key_that_is_a_link_ends_the_start(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    open_state(folder)
    (folder / "session.key").rename(tmp_path / "elsewhere")
    (folder / "session.key").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(SetupError, match="symbolic link"):
        open_state(folder)


def test_an_open_folder_ends_the_start(tmp_path: Path) -> None:
    open_state(tmp_path / "s")
    (tmp_path / "s").chmod(0o755)

    with pytest.raises(SetupError, match="open to other users") as caught:
        open_state(tmp_path / "s")

    assert caught.value.hint == f"chmod 700 {tmp_path / 's'}"


def test_no_repr_shows_a_key(tmp_path: Path) -> None:
    state = open_state(tmp_path)

    raw = bytes.fromhex((tmp_path / "session.key").read_text())
    assert raw.hex() not in repr(state)
    assert repr(raw)[2:-1] not in repr(state)
