"""What clients may send to provoke an unreviewed byte, at an unmodified gateway.

The twins of these rows, with the tripwire removed, are in ``test_fail_closed``. Here
the gate works, so that most are held before the tripwire is asked.
"""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import pytest

from awsgate.aws.sigv4 import SigningKeys
from awsgate.demo.processes import HOST_VARIABLE, GatewayProcess
from e2e.recording import ASSUMED, BASE_KEYS, Recorder, bob_of, http_answer, write_policy
from rawclient import Call, Wire, plain, secure, tunnel

STS_HOST = "sts.us-east-1.amazonaws.com"
FORM = ("Content-Type", "application/x-www-form-urlencoded")
QUERY = Call("sts", STS_HOST, headers=(FORM,), body=b"Action=GetCallerIdentity&Version=2011-06-15")
UNSIGNED = f"GET /unstamped HTTP/1.1\r\nHost: {STS_HOST}\r\n\r\n".encode()
UPGRADE = (
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
)

# mitmproxy cannot tell a default from the same value on the command line, so these
# start, and are set right.
UNSAFE_DEFAULTS = (
    "--set", "connection_strategy=eager",
    "--set", "http2=true",
    "--set", "rawtcp=true",
    "--set", "websocket=true",
)  # fmt: skip


@dataclass
class Bench:
    """A gateway as users run it, with a recorder for AWS."""

    gateway: GatewayProcess
    world: Recorder
    keys: SigningKeys

    def signed(self, call: Call) -> bytes:
        return call.wire(call.signed(self.keys))


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("wire")
    world, sts = Recorder(), Recorder(answer=http_answer(ASSUMED))
    gateway = GatewayProcess(
        folder,
        policy=write_policy(
            folder / "policy.yaml", sts={"endpoint_url": sts.url}, non_aws="refuse"
        ),
        keys=BASE_KEYS,
        upstream=world.url,
        # ``awsgate run`` has no such options.
        options=() if os.environ.get(HOST_VARIABLE) == "run" else UNSAFE_DEFAULTS,
    )
    yield Bench(gateway, world, bob_of(gateway))
    gateway.stop()
    world.close()
    sts.close()


@pytest.fixture
def bench(running: Bench) -> Bench:
    running.world.reset()
    return running


def rest(wire: Wire) -> bytes:
    """Say that no more comes, and give all that is answered."""
    found = b""
    with suppress(OSError):
        if not isinstance(wire.sock, ssl.SSLSocket):
            wire.sock.shutdown(1)
        wire.sock.settimeout(1)
        while data := wire.sock.recv(65536):
            found += data
    return found


def is_refused(answer: bytes) -> bool:
    """True for an error, and for a connection that ended or fell silent with no answer."""
    return answer == b"" or answer.split(b" ", 2)[1][:1] in (b"4", b"5")


def nothing_arrived(bench: Bench) -> bool:
    time.sleep(0.03)  # for what the proxy may still be sending after it answered
    return bench.world.received() == b"" and bench.world.connections == 0


TLS_HELLO = bytes.fromhex("16030100f4010000f003030000") + bytes(200)

ON_THE_PROXY_PORT = {
    "raw bytes": b"\x00\x01\x02raw bytes\r\n\r\n",
    "an SSH banner": b"SSH-2.0-x\r\n",
    "TLS without CONNECT": TLS_HELLO,
    "the HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
    "SOCKS 5": b"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x50",
    "a leading line break, then an absolute form": (
        b"\r\nGET http://127.0.0.1:%PORT%/ HTTP/1.1\r\nHost: 127.0.0.1:%PORT%\r\n\r\n"
    ),
    "the metadata service through HTTP_PROXY": (
        b"GET http://169.254.169.254/latest/ HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n"
    ),
    # The upstream's own address: whatever is forwarded there does arrive.
    "the upstream itself through HTTP_PROXY": (
        b"GET http://127.0.0.1:%PORT%/ HTTP/1.1\r\nHost: 127.0.0.1:%PORT%\r\n\r\n"
    ),
    "the upstream itself in the Host header": (b"GET / HTTP/1.1\r\nHost: 127.0.0.1:%PORT%\r\n\r\n"),
    "the upstream itself through CONNECT": (
        b"CONNECT 127.0.0.1:%PORT% HTTP/1.1\r\nHost: 127.0.0.1:%PORT%\r\n\r\n"
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1:%PORT%\r\n\r\n"
    ),
    "an AWS host through HTTP_PROXY": (
        b"GET http://sts.amazonaws.com/ HTTP/1.1\r\nHost: sts.amazonaws.com\r\n\r\n"
    ),
    "an AWS host in the Host header": b"GET / HTTP/1.1\r\nHost: sts.amazonaws.com\r\n\r\n",
    "an AWS host in X-Forwarded-Host": (
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-Host: sts.amazonaws.com\r\n\r\n"
    ),
    "another proxy's CONNECT in the Host header": (
        b"CONNECT example.com:443 HTTP/1.1\r\nHost: sts.us-east-1.amazonaws.com\r\n\r\n" + TLS_HELLO
    ),
}


@pytest.mark.parametrize("raw", ON_THE_PROXY_PORT.values(), ids=ON_THE_PROXY_PORT)
def test_nothing_leaves_that_came_without_connect(bench: Bench, raw: bytes) -> None:
    with plain(bench.gateway) as wire:
        wire.send(raw.replace(b"%PORT%", str(bench.world.port).encode()))
        answer = rest(wire)

    assert is_refused(answer), answer
    assert nothing_arrived(bench)


IN_A_TUNNEL = {
    "raw bytes": b"\x00\x01\x02raw bytes\r\n\r\n",
    "an SSH banner": b"SSH-2.0-x\r\n",
    "plain HTTP": UNSIGNED,
    "a line break, then plain HTTP": b"\r\n" + UNSIGNED,
    "a second CONNECT": b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n",
    "the HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
    "an absolute form": b"GET http://169.254.169.254/ HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n",
}


@pytest.mark.parametrize("raw", IN_A_TUNNEL.values(), ids=IN_A_TUNNEL)
def test_nothing_leaves_of_a_tunnel_without_tls(bench: Bench, raw: bytes) -> None:
    with tunnel(bench.gateway, STS_HOST) as wire:
        wire.send(raw)
        answer = rest(wire)

    assert is_refused(answer), answer
    assert nothing_arrived(bench)


@pytest.mark.parametrize("raw", IN_A_TUNNEL.values(), ids=IN_A_TUNNEL)
def test_nothing_leaves_of_tls_that_is_not_a_signed_request(bench: Bench, raw: bytes) -> None:
    with secure(bench.gateway, STS_HOST) as wire:
        wire.send(raw)
        answer = rest(wire)

    assert is_refused(answer), answer
    assert nothing_arrived(bench)


def test_http2_is_not_offered_whatever_the_command_line_says(bench: Bench) -> None:
    context = ssl.create_default_context(cafile=str(bench.gateway.certs / "ca-cert.pem"))
    context.set_alpn_protocols(["h2", "http/1.1"])

    with (
        tunnel(bench.gateway, STS_HOST) as outer,
        context.wrap_socket(outer.sock, server_hostname=STS_HOST) as sock,
    ):
        assert sock.selected_alpn_protocol() == "http/1.1"
    assert nothing_arrived(bench)


def test_a_signed_request_does_not_leave_a_tunnel_without_tls(bench: Bench) -> None:
    with tunnel(bench.gateway, STS_HOST) as wire:
        wire.send(bench.signed(QUERY))
        answer = wire.read_answer()

    assert answer.status == 421
    assert nothing_arrived(bench)


def test_a_signed_websocket_upgrade_is_refused(bench: Bench) -> None:
    with secure(bench.gateway, STS_HOST) as wire:
        wire.send(bench.signed(Call("sts", STS_HOST, "GET", "/ws", headers=UPGRADE)))
        answer = wire.read_answer()

    assert (answer.status, answer.code) == (400, "unsupported")
    assert nothing_arrived(bench)


@pytest.mark.parametrize("expect", [b"Expect: 100-continue\r\n", b""], ids=["expect", "no expect"])
def test_a_request_in_the_body_of_a_refused_upload_is_a_body(bench: Bench, expect: bytes) -> None:
    """The gateway answers early; what follows may not become a request of its own."""
    inner = bench.signed(QUERY)
    head = b"PUT /k HTTP/1.1\r\nHost: %b\r\n%bContent-Length: %d\r\n\r\n"

    with secure(bench.gateway, STS_HOST) as wire:
        wire.send(head % (STS_HOST.encode(), expect, len(inner)) + inner)
        answer = wire.read_answer()
        after = rest(wire)

    assert answer.status == 403
    assert after == b""
    assert nothing_arrived(bench)


def test_a_good_request_after_a_refused_upload_is_a_request_again(bench: Bench) -> None:
    """The twin: the same bytes, where they are not part of a body, do arrive."""
    upload = f"PUT /k HTTP/1.1\r\nHost: {STS_HOST}\r\nContent-Length: 3\r\n\r\na~b".encode()

    with secure(bench.gateway, STS_HOST) as wire:
        wire.send(upload + bench.signed(QUERY))
        answers = [wire.read_answer().status, wire.read_answer().status]

    assert answers == [403, 200]
    assert bench.world.heads() == [b"POST / HTTP/1.1"]
    # Of letters and digits alone it could stand in a token or a signature.
    assert b"a~b" not in bench.world.received()


def test_an_unsigned_request_pipelined_behind_a_good_one_is_not_forwarded(bench: Bench) -> None:
    with secure(bench.gateway, STS_HOST) as wire:
        wire.send(bench.signed(QUERY) + UNSIGNED + bench.signed(QUERY))
        answers = [wire.read_answer().status for _ in range(3)]

    assert answers == [200, 403, 200]
    assert bench.world.heads() == [b"POST / HTTP/1.1"] * 2
    assert b"unstamped" not in bench.world.received()


def test_a_request_in_the_body_of_a_good_one_is_a_body(bench: Bench) -> None:
    call = Call("sts", STS_HOST, headers=(FORM,), body=QUERY.body + b"&X=" + UNSIGNED)

    with secure(bench.gateway, STS_HOST) as wire:
        wire.send(bench.signed(call))
        answer = wire.read_answer()

    # Form bodies are read for their action; a stray one may be refused, never split.
    assert answer.status in (200, 400, 403)
    assert rest(wire) == b""
    assert bench.world.received().count(b"POST / HTTP/1.1") <= 1
    assert bench.world.connections <= 1


def test_the_recorder_sees_what_is_forwarded(bench: Bench) -> None:
    """Every test here that expects nothing could fail: a good request arrives."""
    with secure(bench.gateway, STS_HOST) as wire:
        wire.send(bench.signed(QUERY))
        answer = wire.read_answer()

    assert (answer.status, answer.body) == (200, b"ok")
    assert bench.world.heads() == [b"POST / HTTP/1.1"]
