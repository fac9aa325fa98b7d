"""Nothing leaves without the gate's stamp, whatever goes wrong: the fail-open table.

mitmproxy forwards what a failing hook leaves behind. Here hooks fail, other addons
interfere, and clients send what no gate reviews, at a real mitmdump with a recording
upstream. Each row says which nets of the tripwire hold it, and is run with all of
them (nothing may arrive), with each alone, and with none: then the bytes do arrive,
or the row would prove nothing.

    connect  Tripwire.server_connect
    hooks    Tripwire.http_connect, requestheaders, request, tcp_start
    head     patches.guard_upstream_head
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from awsgate.aws.sigv4 import SigningKeys
from awsgate.demo.processes import GatewayProcess
from e2e.recording import (
    ASSUMED,
    BASE_KEYS,
    HERE,
    OK,
    Recorder,
    bob_of,
    http_answer,
    throwaway_certificate,
    wait_until,
    write_policy,
)
from rawclient import Answer, Call, Wire, plain, secure, tunnel

STS_HOST = "sts.us-east-1.amazonaws.com"
FORM = ("Content-Type", "application/x-www-form-urlencoded")
QUERY = Call("sts", STS_HOST, headers=(FORM,), body=b"Action=GetCallerIdentity&Version=2011-06-15")
UPLOAD = Call("s3", "s3.us-east-1.amazonaws.com", "PUT", "/bucket/key", body=b"x" * 100)
UNSIGNED = f"GET /unstamped HTTP/1.1\r\nHost: {STS_HOST}\r\n\r\n".encode()
METADATA = b"GET http://169.254.169.254/latest/ HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n"
UPGRADE = (
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
)
NETS = ("connect", "hooks", "head")


@dataclass
class Bench:
    """A sabotaged gateway, and the world behind it."""

    gateway: GatewayProcess
    world: Recorder
    keys: SigningKeys
    control: Path
    does: tuple[str, ...] = ()
    off: tuple[str, ...] = ()
    before: bytes = b""

    def set(self, *does: str, off: tuple[str, ...] = ()) -> None:
        new = self.control.with_suffix(".new")
        new.write_text(json.dumps({"does": does, "off": off}), "utf-8")
        new.replace(self.control)

    def begin(self) -> None:
        """Start the sabotage: from here on nothing may arrive."""
        self.before = self.world.received()
        self.set(*self.does, off=self.off)

    def arrived(self) -> bytes:
        return self.world.received().removeprefix(self.before)

    def signed(self, call: Call) -> bytes:
        return call.wire(call.signed(self.keys))


Traffic = Callable[[Bench], Answer | None]


def reply(wire: Wire) -> Answer | None:
    """Give the answer; None if there is none."""
    wire.sock.settimeout(2)
    with suppress(OSError):
        return wire.read_answer()
    return None


def once(host: str, make: Callable[[Bench], bytes]) -> Traffic:
    """One request, sabotaged from its CONNECT on."""

    def traffic(bench: Bench) -> Answer | None:
        bench.begin()
        # AssertionError: the CONNECT itself was refused.
        with suppress(AssertionError, OSError), secure(bench.gateway, host) as wire:
            wire.send(make(bench))
            return reply(wire)
        return None

    return traffic


def after_a_good_one(make: Callable[[Bench], bytes]) -> Traffic:
    """A good request first, so that the connection upstream is approved and open."""

    def traffic(bench: Bench) -> Answer | None:
        with secure(bench.gateway, STS_HOST) as wire:
            wire.send(bench.signed(QUERY))
            assert wire.read_answer().status == 200
            bench.begin()
            wire.send(make(bench))
            return reply(wire)

    return traffic


def in_the_open(raw: bytes) -> Traffic:
    """Bytes to the proxy port, without CONNECT."""

    def traffic(bench: Bench) -> Answer | None:
        bench.begin()
        with plain(bench.gateway) as wire:
            wire.send(raw)
            return reply(wire)

    return traffic


def in_a_tunnel(raw: bytes) -> Traffic:
    """Bytes after CONNECT to an AWS host, without TLS."""

    def traffic(bench: Bench) -> Answer | None:
        bench.begin()
        with suppress(AssertionError), tunnel(bench.gateway, STS_HOST) as wire:
            wire.send(raw)
            if bench.off == NETS:
                wait_until(lambda: bool(bench.arrived()), within_s=2)
                return None
            return reply(wire)
        return None

    return traffic


signed_query = once(STS_HOST, lambda bench: bench.signed(QUERY))
signed_upload = once(UPLOAD.host, lambda bench: bench.signed(UPLOAD))
unsigned = once(STS_HOST, lambda _: UNSIGNED)
upgrade = once(STS_HOST, lambda b: b.signed(Call("sts", STS_HOST, "GET", "/ws", headers=UPGRADE)))
second_signed = after_a_good_one(lambda bench: bench.signed(QUERY))
second_unsigned = after_a_good_one(lambda _: UNSIGNED)

EVERY_HOOK = ("raise in http_connect", "raise in requestheaders", "raise in request")
HALTS = ("halt in requestheaders", "halt in request")
HALTS_ALL = (*HALTS, "halt in http_connect", "halt in server_connect")
CLEARED = ("clear answer in requestheaders", "clear answer in request")

# sabotage, traffic, the nets of which each alone is enough
ROWS: dict[str, tuple[tuple[str, ...], Traffic, str]] = {
    "every hook raises, signed request": (EVERY_HOOK, signed_query, "connect hooks head"),
    "every hook raises, unsigned request": (EVERY_HOOK, unsigned, "connect hooks head"),
    "every hook raises, upload": (EVERY_HOOK, signed_upload, "connect hooks head"),
    "every hook raises, WebSocket upgrade": (EVERY_HOOK, upgrade, "connect hooks head"),
    "every hook raises, plain HTTP to the metadata service": (
        EVERY_HOOK, in_the_open(METADATA), "connect hooks head",
    ),
    "every hook raises, plain HTTP to an AWS host": (
        EVERY_HOOK,
        in_the_open(f"GET http://{STS_HOST}/ HTTP/1.1\r\nHost: {STS_HOST}\r\n\r\n".encode()),
        "connect hooks head",
    ),
    "every hook raises, plain HTTP in the tunnel": (
        EVERY_HOOK, in_a_tunnel(UNSIGNED), "connect hooks head",
    ),
    "requestheaders raises": (("raise in requestheaders",), signed_query, "connect hooks head"),
    "requestheaders raises on an upload": (
        ("raise in requestheaders",), signed_upload, "connect hooks head",
    ),
    "request raises": (("raise in request",), signed_query, "connect hooks head"),
    "requestheaders raises on a connection in use": (
        ("raise in requestheaders",), second_signed, "hooks head",
    ),
    "request raises on a connection in use": (("raise in request",), second_signed, "hooks head"),
    "the gate misses an unsigned request on a connection in use": (
        ("raise in requestheaders if unsigned",), second_unsigned, "hooks head",
    ),
    "an addon clears the gate's refusal": (CLEARED, unsigned, "connect hooks head"),
    "an addon clears the gate's refusal on a connection in use": (
        CLEARED, second_unsigned, "hooks head",
    ),
    "an addon streams a body that the gate waits for": (
        ("stream in requestheaders",), signed_query, "connect hooks head",
    ),
    "an addon adds a header": (("header in request",), signed_query, "hooks head"),
    "an addon changes the body": (("body in request",), signed_query, "hooks head"),
    "an addon adds a header on a connection in use": (
        ("header in request",), second_signed, "hooks head",
    ),
    "an addon adds a header to an upload": (
        ("header in requestheaders",), signed_upload, "hooks head",
    ),
    "an addon changes the path": (("path in request",), signed_query, "hooks head"),
    "an addon changes the path of an upload": (
        ("path in requestheaders",), signed_upload, "hooks head",
    ),
    "an addon changes the method": (("method in request",), signed_query, "hooks head"),
    "an addon sets an absolute form": (("authority in request",), signed_query, "hooks head"),
    "an addon changes the server": (("host in request",), signed_query, "connect hooks head"),
    "an addon takes TLS off": (("scheme in request",), signed_query, "hooks head"),
    # No hook comes after the connection is open: the last net is the only one.
    "an addon adds a header when the connection opens": (
        ("header in server_connected",), signed_query, "head",
    ),
    "an addon changes the path when the connection opens": (
        ("path in server_connected",), signed_upload, "head",
    ),
    "an addon halts the chain": (HALTS, unsigned, "connect head"),
    "an addon halts the chain on a connection in use": (HALTS, second_unsigned, "head"),
    "an addon halts the chain everywhere": (HALTS_ALL, unsigned, "head"),
    "an addon relays the tunnel as raw TCP": (
        ("relay raw",), in_a_tunnel(b"SSH-2.0-x\r\n"), "connect hooks",
    ),
    "an addon relays the tunnel with no hooks": (
        ("relay raw without hooks",), in_a_tunnel(b"SSH-2.0-x\r\n"), "connect",
    ),
}  # fmt: skip


@contextmanager
def sabotaged(
    folder: Path,
    started: Callable[[Path], dict[str, Any]],
    *,
    hosts: Sequence[str] = ("*.us-east-1.amazonaws.com", "*.example.com"),
    answer: bytes = OK,
    **env: str,
) -> Iterator[Bench]:
    """Run a gateway with a saboteur, in a world where every address is the recorder.

    ``started`` gives how to start it, given the certificate that it is to trust upstream;
    that is for ``hosts``, and ``answer`` is what the world says to everything.
    """
    tls, trusted = throwaway_certificate(folder, hosts)
    world, sts = Recorder(tls=tls, answer=answer), Recorder(answer=http_answer(ASSUMED))
    control = folder / "control.json"
    control.write_text('{"does": [], "off": []}', "utf-8")
    gateway = GatewayProcess(
        folder,
        policy=write_policy(folder / "policy.yaml", sts={"endpoint_url": sts.url}),
        keys={
            **BASE_KEYS,
            "SABOTEUR_CONTROL": str(control),
            "SABOTEUR_WORLD": str(world.port),
            "SABOTEUR_TRUSTED": str(trusted),
            **env,
        },
        **started(trusted),
    )
    try:
        yield Bench(gateway, world, bob_of(gateway), control)
    finally:
        gateway.stop()
        world.close()
        sts.close()


@contextmanager
def sabotaged_worker(folder: Path, *, core: str, saboteur: str) -> Iterator[Bench]:
    """Run ``awsgate run`` with this core, and a module of ``e2e`` in its worker."""
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(
        f'import sys\nif "awsgate.server.worker" in sys.orig_argv:\n    import e2e.{saboteur}\n',
        "utf-8",
    )
    how = {"workers": 1, "extra": ("--core", core)}
    path = f"{folder / 'site'}:{HERE.parent}"
    with sabotaged(folder, lambda _: how, PYTHONPATH=path) as running:
        yield running


def by_mitmdump(trusted: Path) -> dict[str, Any]:
    trust = f"ssl_verify_upstream_trusted_ca={trusted}"
    return {"script": HERE / "saboteur.py", "options": ("--set", trust)}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with sabotaged(tmp_path_factory.mktemp("sabotage"), by_mitmdump) as running:
        yield running


def run(bench: Bench, row: str, off: tuple[str, ...]) -> Answer | None:
    does, traffic, _ = ROWS[row]
    bench.set()
    bench.world.reset()
    bench.does, bench.off, bench.before = does, off, b""
    answer = traffic(bench)
    time.sleep(0.03)  # for what the proxy may still be sending after it answered
    return answer


def assert_a_signed_request_arrives(bench: Bench) -> None:
    bench.set()
    bench.world.reset()

    with secure(bench.gateway, STS_HOST) as wire:
        wire.send(bench.signed(QUERY))
        answer = wire.read_answer()

    assert (answer.status, answer.body) == (200, b"ok")
    assert bench.world.heads() == [b"POST / HTTP/1.1"]
    assert b"Credential=ASIAIOSFODNN7EXAMPLE/" in bench.world.received()
    assert bench.keys.access_key_id.encode() not in bench.world.received()


def assert_nothing_rides_along(bench: Bench, off: tuple[str, ...], arrived: int) -> None:
    """Pipeline a request that the gate misses; ``arrived`` counts what is to reach AWS."""
    bench.set("raise in requestheaders if unsigned", off=off)
    bench.world.reset()

    with secure(bench.gateway, STS_HOST) as wire:
        wire.send(bench.signed(QUERY) + UNSIGNED)
        first, second = wire.read_answer(), reply(wire)

    assert first.status == 200
    assert second is not None
    assert second.status == (500 if arrived == 1 else 200)
    assert bench.world.heads() == [b"POST / HTTP/1.1", b"GET /unstamped HTTP/1.1"][:arrived]


def assert_nothing_arrives(bench: Bench, row: str) -> None:
    answer = run(bench, row, off=())

    assert bench.arrived() == b""
    assert answer is None or answer.status >= 400


def assert_held_as_said(bench: Bench, row: str) -> None:
    held = []
    for net in NETS:
        run(bench, row, off=tuple(other for other in NETS if other != net))
        if bench.arrived() == b"":
            held.append(net)

    assert held == ROWS[row][2].split()


def test_without_sabotage_a_signed_request_arrives(bench: Bench) -> None:
    assert_a_signed_request_arrives(bench)


@pytest.mark.parametrize("row", ROWS)
def test_nothing_arrives_without_a_stamp(bench: Bench, row: str) -> None:
    assert_nothing_arrives(bench, row)


@pytest.mark.parametrize("row", ROWS)
def test_each_net_holds_what_it_is_said_to_hold(bench: Bench, row: str) -> None:
    assert_held_as_said(bench, row)


@pytest.mark.parametrize("row", ROWS)
def test_with_the_tripwire_removed_the_bytes_arrive(bench: Bench, row: str) -> None:
    """The twin: without it, a row could be held by something else, or by nothing."""
    run(bench, row, off=NETS)

    assert bench.arrived() != b""


def test_a_fault_after_the_decision_still_forwards_nothing_unsigned(bench: Bench) -> None:
    bench.does, bench.off = ("raise after http_connect",), ()
    bench.world.reset()

    answer = unsigned(bench)

    assert answer is not None
    assert answer.status == 403
    assert bench.world.received() == b""


@pytest.mark.parametrize(
    ("off", "arrived"), [((), 1), (NETS, 2)], ids=["tripwire", "tripwire removed"]
)
def test_a_pipelined_request_that_the_gate_missed_does_not_ride_along(
    bench: Bench, off: tuple[str, ...], arrived: int
) -> None:
    assert_nothing_rides_along(bench, off, arrived)
