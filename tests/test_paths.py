"""Where files are, and what a private file must look like."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

import pytest

from awsgate import paths
from awsgate.errors import SetupError

ROOT = Path(__file__).resolve().parent.parent
PLACES = {
    "policy": (paths.default_policy_path, "XDG_CONFIG_HOME", ".config", "awsgate/policy"),
    "certs": (paths.default_certs_folder, "XDG_DATA_HOME", ".local/share", "awsgate/certs"),
    "state": (paths.default_state_folder, "XDG_STATE_HOME", ".local/state", "awsgate"),
}


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package as it lies in site-packages; gives the home folder."""
    monkeypatch.setattr(paths, "_PACKAGE", tmp_path / "lib/site-packages/awsgate")
    monkeypatch.setattr(paths, "SYSTEM_POLICY", tmp_path / "etc/awsgate/policy")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for _, variable, _, _ in PLACES.values():
        monkeypatch.delenv(variable, raising=False)
    return tmp_path / "home"


@pytest.mark.parametrize("name", PLACES)
def test_a_checkout_keeps_its_files_at_its_root(name: str) -> None:
    assert PLACES[name][0]() == ROOT / name


@pytest.mark.parametrize("name", PLACES)
def test_installed_the_files_are_in_the_home_of_the_user(name: str, installed: Path) -> None:
    place, _, fallback, rest = PLACES[name]

    assert place() == installed / fallback / rest


@pytest.mark.parametrize("name", PLACES)
def test_xdg_variables_are_honoured(
    name: str, installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, variable, _, rest = PLACES[name]
    monkeypatch.setenv(variable, str(installed / "elsewhere"))

    assert place() == installed / "elsewhere" / rest


@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize("value", ["relative/path", ""])
def test_a_relative_xdg_variable_is_ignored(
    name: str, value: str, installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, variable, fallback, rest = PLACES[name]
    monkeypatch.setenv(variable, value)

    assert place() == installed / fallback / rest


def test_the_policy_of_the_system_goes_before_that_of_the_user(installed: Path) -> None:
    paths.SYSTEM_POLICY.mkdir(parents=True)

    assert paths.default_policy_path() == paths.SYSTEM_POLICY
    assert paths.default_state_folder() == installed / ".local/state/awsgate"


def test_a_folder_named_addons_without_a_project_is_no_checkout(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "_PACKAGE", installed / "addons/awsgate")

    assert paths.default_certs_folder() == installed / ".local/share/awsgate/certs"


def test_a_private_folder_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    paths.private_folder(tmp_path / "a/b")

    assert (tmp_path / "a/b").stat().st_mode & 0o777 == 0o700


def test_an_open_folder_with_nothing_in_it_is_closed(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "README.md").touch()

    paths.private_folder(tmp_path, harmless={"README.md"})

    assert tmp_path.stat().st_mode & 0o777 == 0o700


def test_an_open_folder_with_files_of_others_is_refused_and_left_alone(tmp_path: Path) -> None:
    tmp_path.chmod(0o750)
    (tmp_path / "thesis.txt").touch()

    with pytest.raises(SetupError, match="open to other users") as caught:
        paths.private_folder(tmp_path)

    assert caught.value.hint == f"chmod 700 {tmp_path}"
    assert tmp_path.stat().st_mode & 0o777 == 0o750


def test_a_file_in_place_of_the_folder_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "state").touch()

    with pytest.raises(SetupError, match="cannot use folder"):
        paths.private_folder(tmp_path / "state")


def test_what_belongs_to_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths.write_file(tmp_path / "key", b"x", mode=0o600)
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)

    with pytest.raises(SetupError, match="belongs to uid"):
        paths.private_folder(tmp_path)
    with pytest.raises(SetupError, match="belongs to uid"):
        paths.read_private(tmp_path / "key")
    with pytest.raises(SetupError, match="belongs to uid"):
        paths.check_private(tmp_path / "key")


def test_a_private_file_is_written_and_read(tmp_path: Path) -> None:
    assert paths.read_private(tmp_path / "key") is None

    assert paths.write_file(tmp_path / "key", b"one", mode=0o600)

    assert paths.read_private(tmp_path / "key") == b"one"
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_there_is_replaced_only_on_demand(tmp_path: Path) -> None:
    paths.write_file(tmp_path / "key", b"one", mode=0o600)

    assert not paths.write_file(tmp_path / "key", b"two", mode=0o600, replace=False)
    assert paths.read_private(tmp_path / "key") == b"one"
    assert paths.write_file(tmp_path / "key", b"two", mode=0o600)
    assert paths.read_private(tmp_path / "key") == b"two"
    assert [entry.name for entry in tmp_path.iterdir()] == ["key"], "no temporary file is left"


@pytest.mark.parametrize("call", ["mkstemp", "fsync"])
def test_a_disk_that_is_full_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile if call == "mkstemp" else os, call, full)

    with pytest.raises(SetupError, match=r"cannot write .*key: No space left on device"):
        paths.write_file(tmp_path / "key", b"one", mode=0o600)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601])
def test_a_file_open_to_others_is_not_read(tmp_path: Path, mode: int) -> None:
    paths.write_file(tmp_path / "key", b"one", mode=mode)

    with pytest.raises(SetupError, match=f"mode {mode:04o}") as caught:
        paths.read_private(tmp_path / "key")

    assert caught.value.hint == f"chmod 600 {tmp_path / 'key'}"


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    paths.write_file(tmp_path / "other", b"one", mode=0o600)
    (tmp_path / "key").symlink_to(tmp_path / "other")

    with pytest.raises(SetupError, match="key is a symbolic link"):
        paths.read_private(tmp_path / "key")


@pytest.mark.parametrize("kind", ["fifo", "folder"])
def test_what_is_no_file_is_not_read(tmp_path: Path, kind: str) -> None:
    if kind == "fifo":
        os.mkfifo(tmp_path / "key", 0o600)
    else:
        (tmp_path / "key").mkdir(mode=0o700)

    with pytest.raises(SetupError, match="not a regular file"):
        paths.read_private(tmp_path / "key")


def test_a_private_file_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir(mode=0o700)
    os.mkfifo(tmp_path / "fifo", 0o600)
    (tmp_path / "file").touch(0o600)
    (tmp_path / "link").symlink_to(tmp_path / "file")

    paths.check_private(tmp_path / "file")
    for name in ("folder", "fifo", "link"):
        with pytest.raises(SetupError, match="not a regular file"):
            paths.check_private(tmp_path / name)
