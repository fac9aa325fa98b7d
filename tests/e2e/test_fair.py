"""Who does nothing, or next to nothing, holds no connection for long. The own core.

What keeps users apart besides is in ``test_requests_per_user`` and ``test_run``; in numbers
that hurt, ``scripts/load`` has it.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from e2e.faulty import Bench, bench_with, on_path
from e2e.held import until
from e2e.overtls import CORES, ask_connect, basic, password_of, with_core
from rawclient import Call, Wire, head, plain, secure

CALL = Call("s3", "bkt.s3.us-east-1.amazonaws.com", "GET", "/k")
HELD = Call("sqs", "sqs.us-east-1.amazonaws.com", "POST", "/slow", body=b"x" * 100_000)
TIMEOUT_S = 1.0


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    spec = f"limits: {{head_timeout_s: {TIMEOUT_S}}}"
    with bench_with(tmp_path_factory.mktemp("fair"), workers=1, spec=spec) as made:
        assert made.ask(CALL, made.keys()).status == 200
        yield made


def refused(_: Bench) -> bytes:
    """Not signed: answered at once, and its body thrown away as it comes."""
    host = (b"Host", HELD.host.encode())
    return head("POST", HELD.target, [host, (b"Content-Length", b"100000")])


def waits(bench: Bench) -> bytes:
    """Signed over its body, which has to be there before anything is decided."""
    fields = HELD.signed(bench.keys())
    unsigned = [field for field in fields if field[0].lower() != b"x-amz-content-sha256"]
    return head("POST", HELD.target, unsigned)


def trickled(wire: Wire, longest_s: float) -> float:
    """Send a byte at a time until the other side closes; give the seconds."""
    began = time.monotonic()
    wire.sock.settimeout(0.05)
    while (took := time.monotonic() - began) < longest_s:
        try:
            wire.send(b"x")
            if not wire.sock.recv(65536):
                return took
        except TimeoutError:
            continue
        except OSError:
            return took
    return longest_s


@pytest.mark.parametrize("raw", [refused, waits])
def test_a_body_that_comes_a_byte_at_a_time_ends(bench: Bench, raw: object) -> None:
    assert callable(raw)
    with secure(bench.gateway, HELD.host) as wire:
        wire.send(raw(bench))

        took = trickled(wire, 20)

    assert TIMEOUT_S <= took < 20
    assert bench.ask(CALL, bench.keys()).status == 200
    assert bench.lines(HELD.target)


def test_a_body_that_streams_may_take_its_time(bench: Bench) -> None:
    """It is proved by its head, and counts among what its user has under way."""
    call = on_path(Call("s3", CALL.host, "PUT", body=b"x" * 40), "takes its time")
    with secure(bench.gateway, call.host) as wire:
        wire.send(call.wire(call.signed(bench.keys()))[:-40])
        for _ in range(40):
            wire.send(b"x")
            time.sleep(0.1)
        answer = wire.read_answer()

    assert answer.status == 200
    assert until(lambda: bool(bench.lines(call.target)), within=5)


def leads_nowhere(socks: ExitStack, bench: Bench, host: str, *values: str) -> Wire:
    """Open a tunnel to who says nothing."""
    wire = socks.enter_context(plain(bench.gateway))
    assert ask_connect(wire, f"{host}:443", *values).status == 200
    wire.sock.settimeout(0.5)
    return wire


@pytest.mark.parametrize("core", CORES)
def test_tunnels_of_nobody_known_give_way_and_those_of_a_user_do_not(
    tmp_path: Path, core: str
) -> None:
    with with_core(core), socket.create_server(("127.0.0.1", 0)) as silent, ExitStack() as socks:
        host = "vault.corp.example"
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        spec = (
            f"limits: {{max_connections: 4}}, bypass: [{{hosts: ['{host}'], reason: mine}}], "
            f"upstreams: [{{hosts: ['{host}'], url: '{url}'}}]"
        )
        bench = socks.enter_context(bench_with(tmp_path, workers=1, spec=spec))
        keys = bench.keys()
        who = basic(keys.access_key_id, password_of(bench.gateway.state, keys))
        known = [leads_nowhere(socks, bench, host, who) for _ in range(2)]
        strangers = [leads_nowhere(socks, bench, host) for _ in range(2)]

        assert bench.ask(CALL, keys).status == 200
        assert strangers[0].at_end()
        for wire in (*known, strangers[1]):
            with pytest.raises(TimeoutError):
                wire.sock.recv(1)
