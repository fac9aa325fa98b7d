"""The client of the control API: whom it trusts, what it sends, what it makes of answers."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from awsgate.controlanswers import issued_of
from awsgate.controlclient import (
    ControlClient,
    ControlError,
    GatewayAway,
    LoginAnswer,
    trusted_root,
)
from awsgate.errors import SetupError
from awsgate.login import Identity
from awsgate.pins import is_pin
from awsgate.servercert import ensure_server_certificate
from commandline import POWER, READ_ONLY
from controlserving import Serving, jwt_of, serving


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(tmp_path_factory.mktemp("gateway")) as found:
        yield found


@pytest.fixture
def gateway(served: Serving) -> Serving:
    served.reset()
    return served


def logged_in(gateway: Serving) -> tuple[ControlClient, LoginAnswer]:
    root = trusted_root(gateway.url, gateway.pin)
    answer = ControlClient(gateway.url, root).login_by_id_token(jwt_of())
    return ControlClient(gateway.url, root, login=answer.login), answer


def test_the_root_with_the_pin_is_trusted(gateway: Serving) -> None:
    root = trusted_root(gateway.url, gateway.pin)

    assert root.pin == gateway.pin
    assert ControlClient(gateway.url, root).ping()["proxy"] == "http://localhost:8443"


def test_without_a_pin_it_is_the_root_that_the_certificate_leads_to(gateway: Serving) -> None:
    # The other root that the gateway names is the CA of AWS's names.
    assert trusted_root(gateway.url).pin == gateway.pin


def test_another_pin_is_refused(gateway: Serving) -> None:
    with pytest.raises(SetupError, match="does not have the pin") as caught:
        trusted_root(gateway.url, "sha256:" + "0" * 64)

    assert "awsgate ca show" in caught.value.hint


class Imposter:
    """Answers as the gateway's ``/v1/ca`` does, with a certificate that may be another's."""

    def __init__(self, folder: Path, certs: Path, host: str = "127.0.0.1") -> None:
        own = ensure_server_certificate(folder, ["localhost"], None, now=datetime.now(UTC))
        root = (certs / "ca-cert.pem").read_text()
        self.seen: list[tuple[str, str, str]] = []
        seen = self.seen

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                seen.append((self.command, self.path, str(self.headers)))
                raw = json.dumps({"root": root, "bundle": root}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            do_POST = do_GET

            def log_message(self, *_: object) -> None: ...

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_: object) -> None: ...

        self.server = Server((host, 0), Handler)
        self.server.socket = own.context().wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://{host}:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def test_who_has_another_certificate_is_refused_and_is_sent_nothing(
    gateway: Serving, tmp_path: Path
) -> None:
    imposter = Imposter(tmp_path / "other", gateway.folder / "certs")

    with closing(imposter), pytest.raises(SetupError, match="leads to no root with the pin"):
        trusted_root(imposter.url, gateway.pin)

    ((method, path, headers),) = imposter.seen
    assert (method, path) == ("GET", "/v1/ca")
    assert "authorization" not in headers.lower()


def test_a_login_is_not_sent_to_who_has_another_certificate(
    gateway: Serving, tmp_path: Path
) -> None:
    root = trusted_root(gateway.url, gateway.pin)
    imposter = Imposter(tmp_path / "other", gateway.folder / "certs")

    with closing(imposter), pytest.raises(SetupError, match="is not what was trusted") as caught:
        ControlClient(imposter.url, root, login="gatelogin.secret").whoami()

    assert imposter.seen == []
    assert "gatelogin" not in caught.value.render()


def test_a_name_that_the_certificate_does_not_have_is_refused(gateway: Serving) -> None:
    # Its own certificate, at an address that is not in it.
    there = Imposter(gateway.folder / "certs", gateway.folder / "certs", "127.0.0.2")

    with closing(there), pytest.raises(SetupError, match="leads to no root") as caught:
        trusted_root(there.url, gateway.pin)

    assert "IP address mismatch" in caught.value.faults[0]


def test_where_nothing_answers_is_said(gateway: Serving) -> None:
    root = trusted_root(gateway.url, gateway.pin)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]

    with pytest.raises(GatewayAway, match="no answer from the gateway at https://localhost"):
        ControlClient(f"https://localhost:{port}", root).ping()
    with pytest.raises(GatewayAway):
        trusted_root(f"https://localhost:{port}", gateway.pin)


@pytest.mark.parametrize("content", [b"<html>", b"[]", b'{"root": 1}', b'{"root": "x"}', b""])
def test_what_is_no_gateway_is_said(content: bytes, tmp_path: Path, gateway: Serving) -> None:
    imposter = Imposter(tmp_path / "other", gateway.folder / "certs")
    handler: Any = imposter.server.RequestHandlerClass

    def answer(self: Any) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(content)

    handler.do_GET = answer
    with closing(imposter), pytest.raises(GatewayAway, match="is no awsgate of this version"):
        trusted_root(imposter.url)


@pytest.mark.parametrize("name", ["user", "session_token"])
def test_what_cannot_be_printed_as_it_is_is_no_gateways(name: str) -> None:
    names = ("access_key_id", "secret_access_key", "session_token", "user", "app", "role_arn")
    said = {**dict.fromkeys(names, "x"), "expires_at": 1}
    assert issued_of(said).expires_at == 1

    with pytest.raises(ValueError, match=f"^{name}$"):
        issued_of({**said, name: "canary\x1b[2J"})


def test_what_is_plain_http_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as plain:

        def answer() -> None:
            connection, _ = plain.accept()
            with connection:
                connection.recv(100)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        with pytest.raises(GatewayAway):
            trusted_root(f"https://127.0.0.1:{plain.getsockname()[1]}")


# --- calls ------------------------------------------------------------------------------


def test_a_login_is_good_for_credentials(gateway: Serving) -> None:
    client, answer = logged_in(gateway)

    given = client.credentials(app="", role="", ttl_s=600, read_only=True, max_requests=7)

    session = gateway.opened(given.access_key_id, given.session_token).session
    assert (session.user, session.app, session.role_arn) == ("alice", "test", READ_ONLY)
    assert session.expires_at - session.issued_at == 600
    assert session.expires_at == given.expires_at
    assert (session.bounds.read_only, session.bounds.max_requests) == (True, 7)
    assert session.login is not None
    assert session.login.id == answer.id
    assert client.whoami()["user"] == "alice"
    assert [role["role_arn"] for role in client.roles()] == [READ_ONLY]


def test_no_secret_is_in_a_repr(gateway: Serving) -> None:
    client, answer = logged_in(gateway)
    given = client.credentials(app="", role="", ttl_s=0, read_only=False, max_requests=0)
    secrets = (
        *(answer.login, given.secret_access_key),
        *(given.session_token, given.proxy_password),
    )
    shown = repr([client, answer, given, vars(client)])

    assert all(len(secret) > 20 for secret in secrets)
    assert [secret for secret in secrets if secret in shown] == []


def test_what_is_not_clear_comes_with_choices(gateway: Serving) -> None:
    gateway.provider.identity = Identity("alice", "oidc/okta", ("read", "power"))
    client, _ = logged_in(gateway)

    with pytest.raises(ControlError) as caught:
        client.credentials(app="", role="", ttl_s=0, read_only=False, max_requests=0)

    assert caught.value.code == "ambiguous"
    assert sorted(c["role_arn"] for c in caught.value.choices) == sorted([READ_ONLY, POWER])


def test_after_logout_the_login_is_no_good(gateway: Serving) -> None:
    client, _ = logged_in(gateway)
    client.logout()

    with pytest.raises(ControlError) as caught:
        client.whoami()

    assert caught.value.code == "locked"


PINS = {
    "a pin": ("sha256:" + "0a" * 32, True),
    "of another length": ("sha256:" + "0a" * 31, False),
    "of another hash": ("sha1:" + "0a" * 32, False),
    "no hash": ("0a" * 32, False),
    "capitals": ("sha256:" + "0A" * 32, False),
    "nothing": ("", False),
}


@pytest.mark.parametrize(("text", "is_one"), PINS.values(), ids=PINS)
def test_what_a_pin_is(text: str, is_one: bool) -> None:
    assert is_pin(text) is is_one
