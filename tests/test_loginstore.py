"""Where a client keeps its logins: what is read, what is refused, what is left at the end."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.backends.fail import Keyring as NoKeyring

from awsgate.errors import SetupError
from awsgate.loginstore import (
    Stored,
    folder_of,
    forget,
    gateway_url,
    load,
    record_of,
    save,
    stored_gateways,
)

TOKEN = "gatelogin.c2VjcmV0"
GATE = "https://gate.example.com:3081"


def stored(**changes: Any) -> Stored:
    plain = Stored(
        gateway=GATE,
        proxy="https://gate.example.com:8443",
        user="alice",
        connector="oidc/okta",
        login=TOKEN,
        expires_at=2_000_000_000,
        pin="sha256:" + "ab" * 32,
        bundle_path="",
        root_path="",
        id="0" * 20,
    )
    return replace(plain, **changes)


class DesktopKeyring(KeyringBackend):
    priority = 5  # type: ignore[assignment]

    def __init__(self) -> None:
        self.held: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.held.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.held[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.held[service, username]


@pytest.fixture(autouse=True)
def logins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AWSGATE_LOGINS", str(tmp_path / "logins"))
    monkeypatch.setattr(keyring, "get_keyring", NoKeyring)
    return tmp_path / "logins"


def kept(**changes: Any) -> Stored:
    return save(stored(**changes), bundle=b"BUNDLE", root=b"ROOT")


def test_there_is_no_login_where_there_is_no_folder(logins: Path) -> None:
    assert load() is None
    assert load(GATE) is None
    assert not logins.exists()


def test_what_was_saved_is_loaded_again() -> None:
    saved = kept()

    assert load(GATE) == load() == saved
    assert Path(saved.bundle_path).read_bytes() == b"BUNDLE"
    assert Path(saved.root_path).read_bytes() == b"ROOT"


def test_files_are_their_owners_alone(logins: Path) -> None:
    kept()
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in [logins, *logins.rglob("*")]}

    assert len(modes) == 5
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}


def test_a_login_that_others_may_read_is_refused() -> None:
    kept()
    record_of(GATE).chmod(0o640)

    for gateway in (GATE, ""):
        with pytest.raises(SetupError, match="is open to other users"):
            load(gateway)


def test_a_link_is_refused(tmp_path: Path) -> None:
    kept()
    record_of(GATE).rename(tmp_path / "elsewhere")
    record_of(GATE).symlink_to(tmp_path / "elsewhere")

    with pytest.raises(SetupError, match="symbolic link"):
        load(GATE)


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"login": "' + TOKEN + '"}', TOKEN],
    ids=["nothing", "a list", "an empty object", "half of it", "no json"],
)
def test_what_is_no_login_is_refused_and_not_shown(content: str) -> None:
    kept()
    record_of(GATE).write_text(content)

    with pytest.raises(SetupError, match="is no login") as caught:
        load(GATE)

    assert TOKEN not in caught.value.render()


def test_a_login_under_the_name_of_another_gateway_is_refused() -> None:
    kept()
    record_of(GATE).rename(record_of("https://other.example.com:3081"))

    with pytest.raises(SetupError, match="is no login"):
        load("https://other.example.com:3081")


def test_the_newest_that_has_not_ended_is_meant_where_none_is_named() -> None:
    for name, ends, at in (("a", 500, 1), ("b", 500, 2), ("c", 90, 3)):
        kept(gateway=f"https://{name}.example.com:443", expires_at=ends, stored_at=at)

    found = load(now=100)
    all_ended = load(now=1000)

    assert found is not None
    assert all_ended is not None
    assert (found.gateway, all_ended.gateway) == (
        "https://b.example.com:443",
        "https://c.example.com:443",
    )
    assert len(stored_gateways()) == 3


def test_nothing_is_left_of_a_login_that_was_forgotten(logins: Path) -> None:
    kept()
    other = kept(gateway="https://other.example.com:3081")
    (folder_of(GATE) / "reuse").mkdir()
    (folder_of(GATE) / "reuse" / "x.json").write_text(TOKEN)

    assert forget(GATE)
    assert not forget(GATE)
    assert load() == other
    assert forget(other.gateway)
    left = {file.name: file.read_bytes() for file in logins.rglob("*") if file.is_file()}
    # A program that runs on verifies the gateway with these, and reads what that says.
    assert left == {"bundle.pem": b"BUNDLE", "root.pem": b"ROOT"}


def test_the_token_is_in_no_repr() -> None:
    assert TOKEN not in repr(kept())


def test_with_a_keyring_no_file_holds_the_login(
    logins: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desktop = DesktopKeyring()
    monkeypatch.setattr(keyring, "get_keyring", lambda: desktop)

    saved = kept()

    assert saved.login == TOKEN
    assert load(GATE) == saved
    assert desktop.held == {("awsgate", GATE): TOKEN}
    assert [p for p in logins.rglob("*") if p.is_file() and TOKEN in p.read_text()] == []
    forget(GATE)
    assert desktop.held == {}


def test_the_keyring_is_not_asked_for_what_is_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring, "get_keyring", DesktopKeyring)  # a new one holds nothing
    desktop = DesktopKeyring()
    monkeypatch.setattr(keyring, "get_keyring", lambda: desktop)
    kept()
    monkeypatch.setattr(keyring, "get_keyring", DesktopKeyring)

    found = load(GATE, with_login=False)

    assert found is not None
    assert (found.user, found.login) == ("alice", "")
    with pytest.raises(SetupError, match="not in the keyring any more"):
        load(GATE)


def test_a_keyring_that_fails_leaves_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    class Locked(DesktopKeyring):
        def set_password(self, *_: str) -> None:
            raise RuntimeError("locked")

    monkeypatch.setattr(keyring, "get_keyring", Locked)

    kept()

    assert TOKEN in record_of(GATE).read_text()


URLS = {
    "a host alone": ("gate.example.com", "https://gate.example.com:443"),
    "with a port": ("https://Gate.Example.com:3081/", GATE),
    "an address": ("https://[::1]:3081", "https://[::1]:3081"),
}
NO_URLS = {
    "not TLS": "http://gate.example.com:3081",
    "a path": "https://gate.example.com:3081/v1",
    "a password": "https://u:p@gate.example.com:3081",
    "no host": "https://:3081",
    "no port": "https://gate:port",
    "a line": "https://gate\nx:3081",
    "a slash in the host": "https://../x:1",
}


@pytest.mark.parametrize(("text", "url"), URLS.values(), ids=URLS)
def test_a_gateway_has_one_url(text: str, url: str) -> None:
    assert gateway_url(text) == url
    assert gateway_url(url) == url


@pytest.mark.parametrize("text", NO_URLS.values(), ids=NO_URLS)
def test_what_is_no_url_of_a_gateway(text: str) -> None:
    if "\n" in text:  # urlsplit takes the line end away, as browsers do
        assert "\n" not in gateway_url(text)
        return
    with pytest.raises(ValueError, match=r".+"):
        gateway_url(text)
