"""What the server bears: slow clients, many of them, and what is no HTTP."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from awsgate.web import server
from web.served import Served


@contextmanager
def connected(served: Served) -> Iterator[ssl.SSLSocket]:
    host, _, port = served.stage.address.rpartition(":")
    raw = socket.create_connection((host, int(port)), 5)
    with served.stage.trust.wrap_socket(raw, server_hostname="localhost") as wrapped:
        wrapped.settimeout(5)
        yield wrapped


def closed_within(wrapped: ssl.SSLSocket, seconds: float) -> bool:
    began = time.monotonic()
    try:
        while wrapped.recv(4096):
            pass
    except OSError as exc:
        if isinstance(exc, TimeoutError):
            return False
    return time.monotonic() - began < seconds


SLOW = {
    "who says nothing": b"",
    "who begins a head": b"GET /v1/ping HTTP/1.1\r\nHost: x",
}


@pytest.mark.parametrize("sent", SLOW.values(), ids=SLOW)
@pytest.mark.parametrize("answered", [False, True])
def test_who_is_slow_is_cut(
    shared: Served, monkeypatch: pytest.MonkeyPatch, sent: bytes, answered: bool
) -> None:
    monkeypatch.setattr(server, "HEAD_TIMEOUT_S", 0.2)
    with connected(shared) as wrapped:
        if answered:
            if not sent:
                return  # who idles between requests has uvicorn's time for it
            wrapped.sendall(b"GET /v1/nothing HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"404" in wrapped.recv(4096)
        wrapped.sendall(sent)
        assert closed_within(wrapped, 4)


def test_a_head_without_end_is_refused(shared: Served) -> None:
    with connected(shared) as wrapped:
        try:
            wrapped.sendall(b"GET /v1/ping HTTP/1.1\r\nX: " + b"x" * 100_000)
            answer = wrapped.recv(100)
        except TimeoutError:
            pytest.fail("it waits for more")
        except OSError:
            return
    assert answer.startswith(b"HTTP/1.1 400") or answer == b""


def test_who_does_not_read_the_answers_is_cut(
    shared: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "WRITE_TIMEOUT_S", 0.2)
    asked, answered = 200, 0  # of answers with all roots of the system: more than buffers take
    with connected(shared) as wrapped:
        wrapped.sendall(b"GET /v1/ca HTTP/1.1\r\nHost: x\r\n\r\n" * asked)
        time.sleep(2)
        with suppress(OSError):
            while piece := wrapped.recv(1 << 20):
                answered += piece.count(b"HTTP/1.1 200")

    assert 0 < answered < asked


@pytest.mark.parametrize("bound", ["MAX_OF_OWN_ADDRESSES", "MAX_CONNECTIONS"])
def test_the_number_of_connections_is_bounded_of_one_address_and_in_all(
    shared: Served, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    monkeypatch.setattr(server, bound, 2)
    with connected(shared) as first, connected(shared):
        with pytest.raises(OSError), connected(shared):  # noqa: PT011 - a reset, or an end
            pass
        first.sendall(b"GET /v1/ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert first.recv(100).startswith(b"HTTP/1.1 200")
    assert lets_in_again(shared)


def test_who_never_begins_with_tls_counts_as_well(
    shared: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MAX_OF_OWN_ADDRESSES", 5)
    host, _, port = shared.stage.address.rpartition(":")
    silent = [socket.create_connection((host, int(port)), 5) for _ in range(20)]
    try:
        for one in silent[8:]:  # some places may have been taken by tests before
            one.settimeout(5)
            with suppress(ConnectionResetError):
                assert one.recv(1) == b"", "it was let in"
    finally:
        for one in silent:
            one.close()
    assert lets_in_again(shared)


def test_no_answer_waits_for_the_acknowledgement_of_another(
    shared: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    before = server._Connection.connection_made

    def made(self: Any, transport: Any) -> None:
        sock = transport.get_extra_info("socket")
        seen.append(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        before(self, transport)

    monkeypatch.setattr(server._Connection, "connection_made", made)
    with connected(shared) as wrapped:
        wrapped.sendall(b"GET /v1/ping HTTP/1.1\r\nHost: x\r\n\r\n")
        assert wrapped.recv(100).startswith(b"HTTP/1.1 200")

    assert set(seen) == {1}  # others may come by


def lets_in_again(served: Served) -> bool:
    """True once those who left are not counted any more."""
    for _ in range(50):
        try:
            with connected(served):
                return True
        except OSError:
            time.sleep(0.1)
    return False


def test_it_speaks_nothing_older_than_tls_1_2(shared: Served) -> None:
    host, _, port = shared.stage.address.rpartition(":")
    context = ssl.create_default_context(cafile=str(shared.stage.root))
    with socket.create_connection((host, int(port)), 5) as raw:
        raw.sendall(b"GET /v1/ping HTTP/1.1\r\nHost: x\r\n\r\n")
        raw.settimeout(5)
        assert not raw.recv(100).startswith(b"HTTP")
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError), socket.create_connection((host, int(port)), 5) as raw:
        context.wrap_socket(raw, server_hostname="localhost").close()


def test_a_protocol_upgrade_is_ignored(shared: Served) -> None:
    with connected(shared) as wrapped:
        wrapped.sendall(
            b"GET /v1/ping HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
        assert wrapped.recv(100).startswith(b"HTTP/1.1 200")
