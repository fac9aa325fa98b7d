"""Streams: MB/s, CPU, memory and delay.

PUT, GET      one object, as UNSIGNED-PAYLOAD
chunk-signed  the same PUT as STREAMING-AWS4-HMAC-SHA256-PAYLOAD, chunks of 1 MiB
peak          memory over that of the idle process, in MiB
event delay   from the server's write to the client's read, 1 KiB every 10 ms
"""

from __future__ import annotations

import hashlib
import re
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from awsgate.aws.chunked import ChunkSigner
from awsgate.aws.sigv4 import signing_key
from benchmarks.client import Wire
from benchmarks.contenders import BARE, DIRECT, GATEWAYS, PEER, Contender, Peer, field
from benchmarks.processes import cpu_s, forget_peak, rss_mib
from benchmarks.requests import Figures
from benchmarks.world import BLOCK, MIB

UNSIGNED, CHUNKS = "UNSIGNED-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
DIGEST = hashlib.sha256(BLOCK).hexdigest()
GIB = 1 << 30


def streams(scratch: Path, peer: Peer | None, *, mib: int, rounds: int) -> Figures:
    """Measure all of it."""
    seen: dict[str, dict[str, list[float]]] = {}
    with field(scratch, peer) as compared:
        everyone = compared.start((DIRECT, BARE, *GATEWAYS, PEER), stream=True)
        for number in range(rounds):
            for one in everyone:
                _measure(one, seen.setdefault(one.name, {}), mib=mib, first=number == 0)
    return {
        name: {what: round(statistics.median(all_of), 3) for what, all_of in found.items()}
        for name, found in seen.items()
    }


def _measure(one: Contender, found: dict[str, list[float]], *, mib: int, first: bool) -> None:
    works: dict[str, Callable[[int], float]] = {
        "put": lambda size: put(one, size),
        "get": lambda size: get(one, size),
    }
    if one.name in GATEWAYS:
        works["signed"] = lambda size: put_signed(one, size)
    for name, work in works.items():
        if first:
            work(16)
        idle, before = rss_mib(one.pid), cpu_s(one.pid)
        forget_peak(one.pid)
        speed = work(mib)
        spent = cpu_s(one.pid) - before
        found.setdefault(f"{name}_mb_s", []).append(speed)
        found.setdefault(f"{name}_cpu_s_gib", []).append(spent / (mib * MIB / GIB))
        if one.name != DIRECT:  # what the world holds is nobody's
            peak = rss_mib(one.pid, "VmHWM") - idle
            found.setdefault(f"{name}_peak_mib", []).append(peak)
    found.setdefault("event_ms", []).append(statistics.median(delays(one)))


def put(one: Contender, mib: int) -> float:
    """Upload; give MB/s."""
    head = one.keys.sign("PUT", "/x", payload=UNSIGNED, length=mib * MIB)
    return _upload(one, head, [BLOCK] * mib, mib)


def put_signed(one: Contender, mib: int) -> float:
    """Upload in signed chunks; give MB/s."""
    each = len(f"{MIB:x};chunk-signature={'0' * 64}\r\n\r\n") + MIB
    last = len(f"0;chunk-signature={'0' * 64}\r\n\r\n")
    head = one.keys.sign("PUT", "/x", payload=CHUNKS, length=each * mib + last)
    return _upload(one, head, list(_chunks(one, head, mib)), mib)


def _chunks(one: Contender, head: bytes, mib: int) -> Iterator[bytes]:
    text = head.decode()
    stamp = re.search(r"X-Amz-Date: (\S+)", text)
    seed = re.search(r"Signature=([0-9a-f]{64})", text)
    if stamp is None or seed is None:
        raise SystemExit("not signed")
    day = stamp[1][:8]
    signer = ChunkSigner(
        signing_key(one.keys.secret_access_key, day, "us-east-1", "s3"),
        stamp[1],
        f"{day}/us-east-1/s3/aws4_request",
        seed[1],
    )
    previous = seed[1]
    for block, digest in [(BLOCK, DIGEST)] * mib + [(b"", hashlib.sha256().hexdigest())]:
        previous = signer.chunk(previous, digest)
        # In pieces, so that no gigabyte is copied before the clock starts.
        yield f"{len(block):x};chunk-signature={previous}\r\n".encode()
        if block:
            yield block
        yield b"\r\n"


def _upload(one: Contender, head: bytes, pieces: list[bytes], mib: int) -> float:
    with one.way.connect() as wire:
        began = time.perf_counter()
        wire.sock.sendall(head)
        for piece in pieces:
            wire.sock.sendall(piece)
        wire.head()
        return mib * MIB / 1e6 / (time.perf_counter() - began)


def get(one: Contender, mib: int) -> float:
    """Download; give MB/s."""
    room = bytearray(MIB)
    with one.way.connect() as wire:
        began = time.perf_counter()
        wire.sock.sendall(one.keys.sign("GET", f"/mib/{mib}", payload=UNSIGNED))
        left = mib * MIB - len(wire.head())
        while left > 0:
            got = wire.sock.recv_into(room)
            if not got:
                raise SystemExit("the download broke off")
            left -= got
        return mib * MIB / 1e6 / (time.perf_counter() - began)


def delays(one: Contender) -> list[float]:
    """Give the milliseconds that each event was on its way."""
    with one.way.connect() as wire:
        wire.sock.sendall(one.keys.sign("GET", "/events", payload=UNSIGNED))
        return list(_arrivals(wire))


def _arrivals(wire: Wire) -> Iterator[float]:
    end = wire.head()
    while not end.endswith(b"0\r\n\r\n"):
        piece = wire.sock.recv(65536)
        if not piece:
            return
        now = time.monotonic_ns()
        for stamp in re.findall(rb"(?<!\d)(\d{20}) ", piece):
            yield (now - int(stamp)) / 1e6
        end = (end + piece)[-16:]
