"""Whatever AWS does to a connection, the client is told, and the next request works.

Each row breaks the connection to one host in its own way. What the client sees is an
error of its protocol that SDKs repeat or, once a status has gone out, an answer that is
seen to be cut; the audit has one line of it.
"""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest

from awsgate.demo.processes import free_port
from e2e.faulty import RETRYABLE, WAYS, Bench, Fault, bench_with, on_path, reset
from e2e.recording import wait_until
from e2e.serving import Memory, workers_of
from rawclient import Answer, Call, secure
from refused import error_of

DEAD, HOLE, MUTE = (f"{name}.s3.us-east-1.amazonaws.com" for name in ("dead", "hole", "mute"))
CONNECT_S = 1.0
MIB = 1 << 20
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"


def _reset_at_once(sock: socket.socket) -> None:
    reset(sock)


def _reset_after(said: bytes) -> Fault:
    def fault(sock: socket.socket) -> None:
        sock.sendall(said)
        time.sleep(0.2)  # a RST makes the other side forget what it has not read
        reset(sock)

    return fault


def _close_after(said: bytes) -> Fault:
    def fault(sock: socket.socket) -> None:
        sock.sendall(said)
        sock.shutdown(socket.SHUT_RDWR)

    return fault


def _headers_without_end(sock: socket.socket) -> None:
    """Send 100 MB of them, if they are taken."""
    line = b"X-Amz-Meta-More: " + b"x" * 65_000 + b"\r\n"
    with suppress(OSError):
        sock.sendall(b"HTTP/1.1 200 OK\r\n")
        for _ in range(100 * MIB // len(line)):
            sock.sendall(line)
        sock.sendall(b"Content-Length: 2\r\n\r\nok")


NO_ANSWER: dict[str, Fault] = {
    "reset before the head": _reset_at_once,
    "reset within the head": _reset_after(b"HTTP/1.1 200 OK\r\nContent-Le"),
    "closed before the head": _close_after(b""),
    "closed within the head": _close_after(b"HTTP/1.1 200 OK\r\nContent-Le"),
    "garbage": _close_after(bytes(range(256)) * 64 + b"\r\n\r\n"),
    "a head without end": _headers_without_end,
    "two lengths": _close_after(
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok"
    ),
}
CUT: dict[str, Fault] = {
    "reset after the head": _reset_after(HEAD),
    "reset within the body": _reset_after(HEAD + b"only this"),
    "closed within the body": _close_after(HEAD + b"only this"),
    "closed within a chunk": _close_after(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n400\r\nonly this"
    ),
}


def host_of(name: str) -> str:
    return f"{name.replace(' ', '-')}.s3.us-east-1.amazonaws.com"


def call_of(name: str) -> Call:
    return on_path(Call("s3", host_of(name), "GET"), name)


@pytest.fixture(scope="module", params=WAYS)
def bench(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp(request.param)
    with ExitStack() as opened:
        urls = {
            DEAD: f"http://127.0.0.1:{free_port()}",
            HOLE: f"http://127.0.0.1:{opened.enter_context(_hole())}",
            MUTE: f"https://127.0.0.1:{opened.enter_context(_mute())}",
        }
        listed = ", ".join(f"{{hosts: ['{host}'], url: '{url}'}}" for host, url in urls.items())
        spec = f"upstreams: [{listed}], limits: {{connect_timeout_s: {CONNECT_S}}}"
        made = opened.enter_context(bench_with(folder, workers=WAYS[request.param], spec=spec))
        assert made.ask(call_of("first"), made.keys()).status == 200
        yield made


@contextmanager
def _hole() -> Iterator[int]:
    """Listen, and take nobody: once its queue is full, no SYN is answered. Gives the port."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, ExitStack() as opened:
        for _ in range(4):
            waiting = opened.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@contextmanager
def _mute() -> Iterator[int]:
    """Take connections, and say nothing on them: no TLS begins. Gives the port."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield listener.getsockname()[1]


def _told(bench: Bench, call: Call, answer: Answer) -> None:
    """Check an answer of ours about a failed upstream, and its line."""
    assert (answer.status, answer.code, answer.complete) == (502, "upstream-failed", True)
    assert answer.status in RETRYABLE
    error = error_of(answer, "s3")
    assert error["Code"] == "ServiceUnavailable"
    assert error["Message"].startswith("awsgate upstream-failed: ")
    (line,) = bench.lines(call.target)
    assert (line["decision"], line["code"], line["status"]) == ("refused", "upstream-failed", 502)
    assert line["id"] == answer.headers["x-awsgate-request-id"]


def _next_one_works(bench: Bench, name: str) -> None:
    bench.faulty.hosts.clear()
    assert bench.ask(call_of(name), bench.keys()).status == 200


@pytest.mark.parametrize("name", NO_ANSWER)
def test_without_an_answer_the_client_is_told_in_its_protocol(bench: Bench, name: str) -> None:
    call = call_of(name)
    bench.faulty.hosts[call.host] = NO_ANSWER[name]
    memory = Memory(bench.gateway)

    answer = bench.ask(call, bench.keys())

    if name == "two lengths" and not answer.code:  # mitmproxy says so in its own words
        assert answer.status == 502
        assert [line["code"] for line in bench.lines(call.target)] == ["upstream-failed"]
    else:
        _told(bench, call, answer)
    assert memory.growth() < 40 * MIB
    _next_one_works(bench, name)


def test_a_server_that_refuses_the_connection(bench: Bench) -> None:
    call = Call("s3", DEAD, "GET", "/refused")

    _told(bench, call, bench.ask(call, bench.keys()))
    _next_one_works(bench, "refused")


@pytest.mark.parametrize("host", [HOLE, MUTE], ids=["no connection", "no TLS"])
def test_a_server_that_takes_no_connection_is_not_waited_for(bench: Bench, host: str) -> None:
    if host == MUTE and not workers_of(bench.gateway):
        pytest.skip("mitmproxy waits for TLS as for an answer")
    call = Call("s3", host, "GET", f"/{host}")
    began = time.monotonic()

    answer = bench.ask(call, bench.keys())

    assert CONNECT_S * 0.9 <= time.monotonic() - began < CONNECT_S + 8
    _told(bench, call, answer)
    _next_one_works(bench, "refused")


@pytest.mark.parametrize("name", CUT)
def test_an_answer_that_breaks_off_is_seen_to_be_cut(bench: Bench, name: str) -> None:
    call = call_of(name)
    bench.faulty.hosts[call.host] = CUT[name]

    answer = bench.ask(call, bench.keys())

    assert (answer.status, answer.complete) == (200, False)
    (line,) = bench.lines(call.target)
    assert (line["decision"], line["code"], line["status"]) == ("allowed", "", 200)
    assert "closed the connection before the answer was complete" in line["reason"]
    _next_one_works(bench, name)


def test_a_server_that_stalls_holds_up_nobody_else(bench: Bench) -> None:
    """A Lambda call may be silent for 15 minutes: the client's patience is what ends it."""
    call, ended = call_of("stalls"), threading.Event()

    def stall(_: socket.socket) -> None:
        ended.wait(30)

    bench.faulty.hosts[call.host] = stall
    keys = bench.keys()

    with secure(bench.gateway, call.host) as wire:
        wire.send(call.wire(call.signed(keys)))
        meanwhile = [bench.ask(call_of("meanwhile"), bench.keys()).status for _ in range(5)]
    lines = bench.lines(call.target)  # the client has gone
    ended.set()

    assert meanwhile == [200] * 5
    assert [(x["decision"], x["status"]) for x in lines] == [("allowed", 0)]
    assert "closed the connection before" in lines[0]["reason"]
    _next_one_works(bench, "stalls")


def test_what_is_compressed_passes_untouched(bench: Bench) -> None:
    """256 MiB of zeros, packed twice: nobody here unpacks it."""
    call = call_of("bomb")
    bomb = gzip.compress(gzip.compress(bytes(256 * MIB), 9), 9)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Type: application/xml\r\n"
    bench.faulty.hosts[call.host] = lambda _: (
        head + b"Content-Length: %d\r\n\r\n%b" % (len(bomb), bomb)
    )
    memory = Memory(bench.gateway)

    answer = bench.ask(call, bench.keys())

    assert (answer.headers["content-encoding"], answer.body) == ("gzip", bomb)
    assert memory.growth() < 40 * MIB
    _next_one_works(bench, "bomb")


def test_a_bomb_that_a_client_sends_passes_untouched_too(bench: Bench) -> None:
    bomb = gzip.compress(bytes(64 * MIB), 9)
    headers = (
        ("Content-Encoding", "gzip"),
        ("Content-Type", "application/x-amz-json-1.0"),
        ("X-Amz-Target", "DynamoDB_20120810.ListTables"),
    )
    call = Call("dynamodb", "dynamodb.us-east-1.amazonaws.com", headers=headers, body=bomb)
    memory = Memory(bench.gateway)

    assert bench.ask(call, bench.keys()).status == 200
    assert memory.growth() < 40 * MIB
    assert wait_until(lambda: bool(bench.lines("/")))
