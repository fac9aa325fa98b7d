"""Who may have which server, and what is no CONNECT, no handshake and no body."""

from __future__ import annotations

import ssl
from types import SimpleNamespace
from typing import Any

import pytest
from mitmproxy import connection

from awsgate.server.core import pool as pools
from awsgate.server.core.exchange import _framed
from awsgate.server.core.flow import connect_flow
from awsgate.server.core.framing import CHUNKED
from awsgate.server.core.head import Unreadable, read_request
from awsgate.server.core.pool import Asker, NotApproved
from awsgate.server.core.tls import MAX_HANDSHAKE_BYTES, Tls

CLIENT = connection.Client(peername=("127.0.0.1", 1), sockname=("127.0.0.1", 2))


async def later() -> None:
    """What a hook gives that wants to wait."""


class Hooks:
    """One hook of those that are asked waits."""

    def __init__(self, waiting: str) -> None:
        self.waiting = waiting
        self.held: list[Any] = []

    def of(self, name: str) -> Any:
        def hook(_: object) -> Any:
            if name != self.waiting:
                return None
            self.held.append(later())
            return self.held[-1]

        return SimpleNamespace(name=name, hook=hook)


@pytest.mark.parametrize("waiting", ["server_connect", "tls_start_server"])
def test_a_hook_that_wants_to_wait_approves_nothing(
    waiting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hooks = Hooks(waiting)
    monkeypatch.setattr(pools, "call", lambda found, data: found.hook(data))
    monkeypatch.setattr(pools.ctx, "options", None, raising=False)
    asker = Asker(hooks, CLIENT)  # type: ignore[arg-type]

    with pytest.raises(NotApproved, match="wants to wait"):
        asker.ask_for("https", "sts.amazonaws.com", 443)

    for each in hooks.held:
        each.close()


@pytest.mark.parametrize(
    "head",
    [
        b"CONNECT sts.amazonaws.com HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT :443 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT sts.amazonaws.com:443 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n",
    ],
    ids=["no port", "no host", "a body"],
)
def test_a_connect_that_names_no_address_is_none(head: bytes) -> None:
    with pytest.raises(Unreadable):
        connect_flow(CLIENT, connection.Server(address=None), read_request(head[:-4]))


def test_a_handshake_without_end_ends() -> None:
    """Fragments of a message that says to be long: each is read, and none is the last."""
    tls = Tls(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), server_side=True)
    hello = b"\x01\x01\xff\xff" + bytes(MAX_HANDSHAKE_BYTES)
    begun = 0

    def send_on() -> None:
        nonlocal begun
        for begun in range(0, len(hello), 100):
            piece = hello[begun : begun + 100]
            tls.receive(b"\x16\x03\x01" + len(piece).to_bytes(2, "big") + piece)

    with pytest.raises(ssl.SSLError, match="too long"):
        send_on()


@pytest.mark.parametrize("length", [0, 4, 6])
def test_a_body_that_is_not_as_long_as_announced_is_not_sent(length: int) -> None:
    assert _framed(b"hello", 5) == b"hello"
    assert _framed(b"hello", CHUNKED) == b"5\r\nhello\r\n0\r\n\r\n"
    with pytest.raises(ValueError, match="not as long"):
        _framed(b"hello", length)
