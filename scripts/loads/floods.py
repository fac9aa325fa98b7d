"""Connections that want nothing: floods, silence, and what comes a byte at a time."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from e2e.faulty import Bench, bench_with
from e2e.held import until
from e2e.serving import serving
from loads.report import CALL, Report, files_of, watched
from rawclient import Call, Wire, head, secure

PLACES = 2000
TIMEOUT_S = 2.0
LIMITS = f"limits: {{max_connections: {PLACES}, head_timeout_s: {TIMEOUT_S}}}"


def _address(bench: Bench) -> tuple[str, int]:
    return "127.0.0.1", bench.gateway.port


def flood(folder: Path, report: Report, share: float) -> None:
    """Open and close as fast as can be."""
    count = int(20_000 * share)
    with bench_with(folder, workers=2) as bench, watched(bench, report, room_mib=60):
        before = sum(map(files_of, serving(bench.gateway)))
        began = time.monotonic()
        for _ in range(count):
            with suppress(OSError):
                socket.create_connection(_address(bench), 10).close()
        report.note(f"{count} connections, {count / (time.monotonic() - began):.0f} a second")
        closed = until(lambda: sum(map(files_of, serving(bench.gateway))) < before + 50, within=60)
        report.need(closed, "connections that stay open")


def silent(folder: Path, report: Report, share: float) -> None:
    """Take every place, and more."""
    count = int(3 * PLACES * share)
    with (
        bench_with(folder, workers=2, spec=LIMITS.replace(str(TIMEOUT_S), "600.0")) as bench,
        watched(bench, report, room_mib=100),
        ExitStack() as opened,
    ):
        for _ in range(count):
            with suppress(OSError):
                opened.enter_context(socket.create_connection(_address(bench), 10))
        time.sleep(5)
        report.note(f"{count} silent connections for {2 * PLACES} places")


@contextmanager
def _drip(wires: Sequence[Wire], raw: bytes) -> Iterator[None]:
    """Send a byte of it on each, again and again."""
    stop = threading.Event()

    def run() -> None:
        for place in range(len(raw)):
            for wire in wires:
                with suppress(OSError):
                    wire.send(raw[place : place + 1])
            if stop.wait(0.2):
                return

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(60)


def _all_end(wires: Sequence[Wire], report: Report, within_s: float) -> None:
    began = time.monotonic()

    def ended(wire: Wire) -> bool:
        wire.sock.settimeout(0.01)
        try:
            while wire.sock.recv(65536):
                pass
        except (TimeoutError, ssl.SSLWantReadError):
            return False
        except OSError:
            return True
        return True

    left = list(wires)

    def none_left() -> bool:
        left[:] = [wire for wire in left if not ended(wire)]
        return not left

    report.need(until(none_left, within=within_s), f"{len(left)} connections that stay open")
    report.note(f"{len(wires)} closed after {time.monotonic() - began:.0f} s")


def _plain(bench: Bench, opened: ExitStack, _: Call) -> Wire:
    return Wire(opened.enter_context(socket.create_connection(_address(bench), 10)))


def _secure(bench: Bench, opened: ExitStack, call: Call) -> Wire:
    return opened.enter_context(secure(bench.gateway, call.host))


def _slow(
    bench: Bench,
    report: Report,
    count: int,
    connect: Callable[[Bench, ExitStack, Call], Wire],
    firsts: Sequence[bytes],
    rest: bytes,
) -> None:
    with ExitStack() as opened:
        wires = [connect(bench, opened, CALL) for _ in range(count)]
        for number, wire in enumerate(wires):
            wire.send(firsts[number % len(firsts)])
        with _drip(wires, rest):
            _all_end(wires, report, 20 * TIMEOUT_S)


def slow_heads(folder: Path, report: Report, share: float) -> None:
    """Send heads a byte at a time."""
    raw = head("GET", "/" + "k" * 2000, [(b"Host", CALL.host.encode())])
    with (
        bench_with(folder, workers=2, spec=LIMITS) as bench,
        watched(bench, report, room_mib=60),
    ):
        _slow(bench, report, int(1000 * share), _plain, [b"G"], raw[1:])


def slow_bodies(folder: Path, report: Report, share: float) -> None:
    """Send bodies a byte at a time: of a refused request, and of one that waits for its body."""
    with (
        bench_with(folder, workers=2, spec=LIMITS) as bench,
        watched(bench, report, room_mib=60),
    ):
        host = (b"Host", CALL.host.encode())
        refused = head("PUT", "/k", [host, (b"Content-Length", b"100000")])
        call = Call("sqs", CALL.host, "POST", "/", body=b"x" * 100_000, sign_body=True)
        fields = [f for f in call.signed(bench.keys()) if f[0].lower() != b"x-amz-content-sha256"]
        waits = head("POST", "/", fields)
        _slow(bench, report, int(400 * share), _secure, [refused, waits], b"x" * 2000)
