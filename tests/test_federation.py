"""The sign-in endpoint over a real socket: what is asked, and what is told when it fails."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import parse_qs

import httpx
import pytest

from awsgate.aws.sigv4 import SigningKeys
from awsgate.errors import Code, Refusal
from awsgate.federation import Federation
from httpserving import QuietHandler, http_server

KEYS = SigningKeys("ASIACANARYID", "canary-secret", "canary-token")
HOST = "signin.aws.amazon.com"
TOKEN = "t" * 64


class Server:
    """A sign-in endpoint that records what it is asked."""

    def __init__(self) -> None:
        self.status, self.body, self.location = 200, json.dumps({"SigninToken": TOKEN}), ""
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []
        outer = self

        class Handler(QuietHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                fields = {name.lower(): value for name, value in self.headers.items()}
                outer.seen.append((self.command, self.path, fields, self.rfile.read(length)))
                content = outer.body.encode()
                self.send_response(outer.status)
                if outer.location:
                    self.send_header("Location", outer.location)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        self.handler, self.url = Handler, ""


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    with http_server(made.handler) as made.url:
        yield made


@pytest.fixture
def federation(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Federation]:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")  # nobody is there
    made = Federation(lambda _host: server.url)
    yield made
    made.close()


def test_a_token_for_keys_that_stand_in_no_url(federation: Federation, server: Server) -> None:
    assert federation.token(HOST, KEYS, 3600) == TOKEN

    ((method, path, headers, body),) = server.seen
    assert (method, path, headers["host"]) == ("POST", "/federation", HOST)
    fields = parse_qs(body.decode())
    assert fields["SessionDuration"] == ["3600"]
    assert json.loads(fields["Session"][0])["sessionKey"] == "canary-secret"


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (400, "canary-token is bad", "answered 400"),
        (302, "", "answered 302"),
        (500, "x" * 100_000, "answered 500"),
        (200, "<html>", "holds no token"),
        (200, "x" * 100_000, "holds no token"),
    ],
)
def test_a_failure_is_told_without_a_word_of_the_answer(
    status: int, body: str, said: str, federation: Federation, server: Server
) -> None:
    server.status, server.body = status, body
    server.location = f"{server.url}/elsewhere" if status == 302 else ""

    with pytest.raises(Refusal, match=said) as caught:
        federation.token(HOST, KEYS, None)

    assert caught.value.code is Code.UPSTREAM_FAILED
    assert ("try again" in caught.value.hint) == (status in {200, 500})
    assert "canary" not in f"{caught.value.message} {caught.value.hint} {caught.value!r}"
    assert len(server.seen) == 1


def test_an_answer_without_end_is_read_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[bytes] = []

    def endless() -> Iterator[bytes]:
        while len(read) < 1000:
            read.append(b"x" * 1024)
            yield read[-1]

    federation = Federation()
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=endless()))
    monkeypatch.setattr(federation, "_http", httpx.Client(transport=transport))

    with pytest.raises(Refusal, match="holds no token"):
        federation.token(HOST, KEYS, None)

    assert len(read) < 100
    federation.close()


def test_a_server_that_is_gone_is_told() -> None:
    federation = Federation(lambda _host: "http://127.0.0.1:1")

    with pytest.raises(Refusal, match="cannot be reached"):
        federation.token(HOST, KEYS, None)
    federation.close()
