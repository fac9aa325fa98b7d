"""Guards of files, addresses and answers that come up once in years, each by itself."""

from __future__ import annotations

import json
import os
import socket
import ssl
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from auditing import fill
from awsgate import controlclient, gatewaycall, loginstore, state
from awsgate.asking import NO_SUCH, Asker, Asking, NotDone
from awsgate.audit import AuditLog, Rotation
from awsgate.auditchain import verify_files
from awsgate.auditfile import opened_log, rotated_by_awsgate
from awsgate.aws.sigv4 import SigningKeys
from awsgate.errors import SetupError
from awsgate.gatewaycall import GatewayCaller
from awsgate.pins import Root
from awsgate.policy.fields import _optional_keys_url, provider_url
from awsgate.policy.settings import GatewaySpec, RequestsSpec
from awsgate.requestplace import RequestPlace
from awsgate.server import command
from calls import POLICY

# --- access requests --------------------------------------------------------------------

OLGA = Asker("olga", "oidc/okta", POLICY, is_admin=True)
ASKED: dict[str, Callable[[Asking, str], object]] = {
    "answered": lambda asking, name: asking.review(OLGA, name, approve=True, reason=""),
    "revoked": lambda asking, name: asking.revoke(OLGA, name),
    "read": lambda asking, name: asking.get(OLGA, name),
}


def asking_in(folder: Path) -> Asking:
    return Asking(
        RequestPlace(folder, RequestsSpec()),
        record=lambda _: None,
        count=lambda _: None,
        tell=lambda _: None,
    )


@pytest.mark.parametrize("ask", ASKED.values(), ids=ASKED)
def test_a_request_that_is_not_there_makes_no_database(
    tmp_path: Path, ask: Callable[[Asking, str], object]
) -> None:
    with pytest.raises(NotDone) as caught:
        ask(asking_in(tmp_path), "ar-0123456789")

    assert caught.value.code == NO_SUCH
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["ar-0123456789", "ab" * 10, "x' OR '1'='1", "", "AB" * 10])
@pytest.mark.parametrize("ask", ASKED.values(), ids=ASKED)
def test_nor_is_it_one_of_those_that_are(
    tmp_path: Path, ask: Callable[[Asking, str], object], name: str
) -> None:
    asking = asking_in(tmp_path)
    with ExitStack() as stack:
        asking.place.store()
        stack.callback(asking.place.forget)
        with pytest.raises(NotDone) as caught:
            ask(asking, name)

    assert caught.value.code == NO_SUCH


# --- files ----------------------------------------------------------------------------------


def test_a_file_of_the_audit_is_not_begun_with_half_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, write = tmp_path / "audit.jsonl", os.write

    def short(file: int, data: bytes) -> int:
        name = Path(f"/proc/self/fd/{file}").readlink().name
        return write(file, data[: len(data) // 2] if name.startswith(".") else data)

    log = AuditLog(path, Rotation(bytes=4000))
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", short)
        fill(log, 30)
    log.close()

    assert rotated_by_awsgate(path) == []
    assert [entry.name for entry in tmp_path.iterdir()] == ["audit.jsonl"]
    with opened_log(path) as files:
        assert verify_files(files).fault is None


@pytest.mark.parametrize(
    ("field", "value"),
    [("user", 1), ("login", ["x"]), ("expires_at", True), ("expires_at", "2000000000"),
     ("expires_at", 2e9), ("tunnel_auth", 1), ("pin", None)],
)  # fmt: skip
def test_a_login_whose_parts_are_of_another_kind_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, field: str, value: object
) -> None:
    monkeypatch.setenv("AWSGATE_LOGINS", str(tmp_path / "logins"))
    gate = "https://gate.example.com:3081"
    content: dict[str, Any] = {
        "gateway": gate, "proxy": "https://gate.example.com:8443", "user": "alice",
        "connector": "oidc/okta", "login": "gatelogin.x", "expires_at": 2_000_000_000,
        "pin": "sha256:" + "ab" * 32, "bundle_path": "", "root_path": "", "id": "0" * 20,
    }  # fmt: skip
    path = loginstore.record_of(gate)
    loginstore._check(loginstore.Stored(**content), path)

    with pytest.raises(TypeError, match=f"^{field}$"):
        loginstore._check(loginstore.Stored(**{**content, field: value}), path)


def test_a_key_that_vanishes_while_it_is_read_is_not_made_anew(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="vanished while it was read"):
        state._require_key(tmp_path / "session.key")


@pytest.mark.parametrize("url", ["file://etc/keys.json", "file://", "file:///etc/ke\nys.json"])
def test_keys_in_a_file_are_named_by_its_whole_path(url: str) -> None:
    assert _optional_keys_url("file:///etc/keys.json") == "file:///etc/keys.json"
    with pytest.raises(ValueError, match="a file is named by its whole path"):
        _optional_keys_url(url)


# --- where it listens ------------------------------------------------------------------------


def handed(host: str) -> socket.socket:
    return socket.create_server((host, 0))


@pytest.mark.parametrize("systemd", [False, True])
def test_clients_come_in_plain_from_this_machine_alone(
    systemd: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = GatewaySpec.model_validate({"listen": "0.0.0.0:0"})
    with ExitStack() as stack:
        given = [stack.enter_context(handed("0.0.0.0"))] if systemd else []
        monkeypatch.setattr(command, "handed_sockets", lambda _: given)
        with pytest.raises(SetupError):
            command._sockets(replace(POLICY, gateway=spec), "")

        here = [stack.enter_context(handed("127.0.0.1"))] if systemd else []
        monkeypatch.setattr(command, "handed_sockets", lambda _: here)
        found = command._sockets(replace(POLICY, gateway=spec), "127.0.0.1:0")
        assert [stack.enter_context(one).getsockname()[0] for one in found] == ["127.0.0.1"]


# --- answers ----------------------------------------------------------------------------------

URL = "https://gate.example.com:8444"


@pytest.mark.parametrize("said", [{"error": "no"}, {"error": None}, {}, [], "no"])
def test_a_no_without_its_words_is_of_no_gateway(said: object) -> None:
    calls = controlclient._Calls(URL, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), "")

    with pytest.raises(SetupError) as caught:
        calls._read(403, json.dumps(said).encode())
    assert caught.value.message == controlclient._no_gateway(URL).message


@pytest.mark.parametrize("fault", [KeyError("x"), TypeError(), ValueError(), AttributeError()])
def test_an_answer_that_lacks_a_part_is_of_no_gateway(fault: Exception) -> None:
    client = controlclient.ControlClient(
        URL, Root("", ""), context=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    )

    with pytest.raises(SetupError) as caught, client._reading():
        raise fault
    assert caught.value.message == controlclient._no_gateway(URL).message


@pytest.mark.parametrize("region", ["nowhere", "", "us-east-1.evil.example.com", "US-EAST-1"])
def test_an_order_goes_to_a_region_alone(region: str) -> None:
    keys = SigningKeys("GATEAAAAAAAAAAAAAAAA", "s", "t")
    caller = GatewayCaller(keys, urlsplit("http://127.0.0.1:1"), "")

    with pytest.raises(ValueError, match="is no region"):
        gatewaycall.send_order(caller, region, {"kind": "s3"}, now=datetime.now(UTC))


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("169.254.169.254", "no identity provider is at a link-local address"),
        ("[fd00:ec2::254]", "no identity provider is at a metadata address"),
        ("[::ffff:169.254.169.254]", "no identity provider is at a link-local address"),
        ("0.0.0.0", "no identity provider is at a unusable address"),
        ("192.0.0.192", "no identity provider is at a reserved address"),
        ("2852039166", "its host is a number"),
        ("0xa9fea9fe", "its host is a number"),
        ("169.0376.43518", "its host is a number"),
        ("127.1.", "its host is a number"),
    ],
)
def test_a_provider_is_at_a_name_or_at_an_address_that_is_one(host: str, words: str) -> None:
    for good in ("https://idp.example.com", "https://10.0.0.1:8443", "http://127.0.0.1:8080"):
        assert provider_url(good) == good
    with pytest.raises(ValueError, match=words):
        provider_url(f"https://{host}/realm")
