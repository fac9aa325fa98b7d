"""The server that stands for AWS: it answers everything at once. In a process of its own.

    GET /<number>       1 KiB
    GET /mib/<number>   so many MiB
    GET /events         EVENTS pieces of 1 KiB, one every 10 ms, each with the time it left at
    PUT                 nothing, once the body is there
    POST                AssumeRole: credentials for ``life_s`` seconds, after ``delay_s``

One port is plain HTTP, for the gateways; the other TLS, for clients that go direct.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import re
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

MIB = 1 << 20
BLOCK = bytes(range(256)) * (MIB // 256)
EVENTS = 200
EVENT_BYTES = 1024
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
_SMALL = _OK % 1024 + b"x" * 1024
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")

STS = """<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>
<Credentials><AccessKeyId>ASIAIOSFODNN7EXAMPLE</AccessKeyId><SecretAccessKey>bench</SecretAccessKey>
<SessionToken>bench</SessionToken><Expiration>{until}</Expiration></Credentials>
</AssumeRoleResult></AssumeRoleResponse>"""


@dataclass(frozen=True)
class World:
    """Where it listens, and what it knows."""

    port: int
    tls_port: int
    pid: int
    _asked: Connection
    _process: multiprocessing.process.BaseProcess

    def roles_assumed(self) -> int:
        """Give how many times a role was assumed."""
        self._asked.send(None)
        count: int = self._asked.recv()
        return count

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.join()


class _Answering(asyncio.Protocol):
    """One connection."""

    def __init__(self, assume: Callable[[], tuple[bytes, float]]) -> None:
        self._assume = assume
        self._buffer = bytearray()
        self._left = 0
        self._transport: asyncio.Transport | None = None
        self._room = asyncio.Event()
        self._room.set()
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's
        for task in self._tasks:
            task.cancel()

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    def data_received(self, data: bytes) -> None:
        if self._left:  # of a body that is not kept
            taken = min(self._left, len(data))
            self._left -= taken
            if not self._left:
                self._write(_OK % 0)
            data = data[taken:]
        self._buffer += data
        while not self._left and (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            if not self._request(end):
                return

    def _request(self, end: int) -> bool:
        """Answer a request; False: its body has not come yet."""
        head = bytes(self._buffer[:end])
        found = _LENGTH.search(head)
        length, rest = int(found[1]) if found else 0, len(self._buffer) - end - 4
        method, _, target = head[: head.index(b"\r\n")].rpartition(b" ")[0].partition(b" ")
        if method == b"PUT" and rest < length:
            self._left = length - rest
            self._buffer.clear()
            return True
        if rest < length:
            return False
        del self._buffer[: end + 4 + length]
        self._answer(method, target)
        return True

    def _answer(self, method: bytes, target: bytes) -> None:
        if method == b"POST":
            body, delay_s = self._assume()
            asyncio.get_running_loop().call_later(delay_s, self._write, _OK % len(body) + body)
        elif method == b"PUT":
            self._write(_OK % 0)
        elif target == b"/events":
            self._later(self._events())
        elif target.startswith(b"/mib/"):
            self._later(self._large(int(target[5:])))
        else:
            self._write(_SMALL)

    def _later(self, work: object) -> None:
        task = asyncio.ensure_future(work)  # type: ignore[call-overload]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _large(self, mib: int) -> None:
        self._write(_OK % (mib * MIB))
        for _ in range(mib):
            await self._room.wait()
            self._write(BLOCK)

    async def _events(self) -> None:
        self._write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(EVENTS):
            await asyncio.sleep(0.01)
            stamp = b"%020d" % time.monotonic_ns()
            self._write(b"%x\r\n%s\r\n" % (EVENT_BYTES, stamp.ljust(EVENT_BYTES)))
        self._write(b"0\r\n\r\n")

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)


async def _serve(told: Connection, pair: Path, life_s: float, delay_s: float) -> None:
    assumed = 0

    def assume() -> tuple[bytes, float]:
        nonlocal assumed
        assumed += 1
        until = datetime.now(UTC) + timedelta(seconds=life_s)
        return STS.format(until=f"{until:%Y-%m-%dT%H:%M:%SZ}").encode(), delay_s

    over = asyncio.Event()

    def tell() -> None:
        try:
            told.recv()
        except EOFError:  # whoever measured was killed
            over.set()
        else:
            told.send(assumed)

    loop = asyncio.get_running_loop()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair)
    new = partial(_Answering, assume)
    servers = [
        await loop.create_server(new, "127.0.0.1", 0, ssl=ssl_context, backlog=1024)
        for ssl_context in (None, context)
    ]
    told.send([server.sockets[0].getsockname()[1] for server in servers])
    loop.add_reader(told.fileno(), tell)
    await over.wait()


def _run(told: Connection, pair: Path, life_s: float, delay_s: float) -> None:
    asyncio.run(_serve(told, pair, life_s, delay_s))


def start_world(pair: Path, *, life_s: float = 3600.0, delay_s: float = 0.0) -> World:
    """Start it; ``pair`` holds its certificate and key."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_run, args=(theirs, pair, life_s, delay_s), daemon=True)
    process.start()
    port, tls_port = ours.recv()
    return World(port, tls_port, process.pid or 0, ours, process)
