"""The door: TLS first, within its time, and everything else is turned away and counted."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import ssl
import time
from asyncio import sslproto
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from awsgate.policy.settings import Limits
from awsgate.server.door import Door, certificate_file, handed_context
from awsgate.servercert import ServerCertificate, ensure_server_certificate
from awsgate.tlsmemory import BUFFER_BYTES

NAME = "gate.example.com"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> ServerCertificate:
    folder = tmp_path_factory.mktemp("door") / "certs"
    return ensure_server_certificate(folder, [NAME], None, now=datetime.now(UTC))


class Echo(asyncio.Protocol):
    """The front: says back what comes, and notes from where."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.stage.peers.append(transport.get_extra_info("peername"))

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


@dataclass
class Stage:
    port: int
    trusted: bytes
    limits: dict[str, Any] = field(default_factory=dict)
    held: int = 0
    room: bool = False
    failures: list[str] = field(default_factory=list)
    peers: list[tuple[str, int]] = field(default_factory=list)
    door: Door | None = None

    async def failed(self, count: int = 1) -> list[str]:
        for _ in range(500):
            if len(self.failures) >= count:
                break
            await asyncio.sleep(0.01)
        return self.failures

    async def says(self, data: bytes, *, eof: bool = False) -> bytes:
        """Send what is no TLS; give all that is answered."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(data)
            if eof:
                writer.write_eof()
            return await asyncio.wait_for(reader.read(), 5)
        except ConnectionResetError:
            return b""
        finally:
            writer.close()

    async def echoed(self, data: bytes = b"hello") -> bytes:
        context = ssl.create_default_context(cadata=self.trusted.decode())
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=context, server_hostname=NAME
        )
        writer.write(data)
        said = await asyncio.wait_for(reader.readexactly(len(data)), 5)
        self.own: tuple[str, int] = writer.get_extra_info("sockname")
        writer.close()
        return said


@asynccontextmanager
async def stage_of(certificate: ServerCertificate, **limits: Any) -> AsyncIterator[Stage]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        stage = Stage(listening.getsockname()[1], certificate.root, limits)
        stage.door = Door(
            certificate.context(),
            lambda: Echo(stage),
            limits=lambda: Limits.model_validate({"head_timeout_s": 5.0, **stage.limits}),
            held=lambda: stage.held,
            make_room=lambda: stage.room,
            on_failure=stage.failures.append,
        )
        stage.door.open([listening])
        try:
            yield stage
        finally:
            stage.door.close()
            await asyncio.sleep(0.05)


async def test_what_speaks_tls_comes_through_from_its_own_address(
    certificate: ServerCertificate,
) -> None:
    async with stage_of(certificate) as stage:
        assert await stage.echoed() == b"hello"
        assert await stage.echoed(b"x" * 1_000_000) == b"x" * 1_000_000
        assert stage.own in stage.peers

    assert stage.failures == []


PLAIN = {
    "CONNECT": b"CONNECT sts.us-east-1.amazonaws.com:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    "origin form": b"GET / HTTP/1.1\r\nX-Forwarded-Host: sts.amazonaws.com\r\n\r\n",
    "a body that goes on": b"POST / HTTP/1.1\r\nContent-Length: 99999\r\n\r\n" + b"x" * 90_000,
    "one letter": b"G",
}


@pytest.mark.parametrize("data", PLAIN.values(), ids=PLAIN)
async def test_plain_http_is_told_so_and_goes_no_further(
    certificate: ServerCertificate, data: bytes
) -> None:
    async with stage_of(certificate) as stage:
        said = await stage.says(data)

        assert said.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert said.endswith(b"the proxy's URL begins with https://\n")
        assert await stage.failed() == ["plain-http"]
        assert stage.peers == []


RUBBISH = {
    "zeros": (b"\0" * 100, "not-tls"),
    "a record of rubbish": (b"\x16\x03\x01\x00\x20" + b"\xff" * 32, "handshake"),
    "HTTP behind a record's type": (b"\x16GET / HTTP/1.1\r\n\r\n", "handshake"),
    "SSL 2": (b"\x80\x2e\x01\x03\x01" + b"\0" * 41, "not-tls"),
    "the version of a proxy protocol": (b"\r\n\r\n\0\r\nQUIT\n", "not-tls"),
}


@pytest.mark.parametrize(("data", "cause"), RUBBISH.values(), ids=RUBBISH)
async def test_rubbish_is_closed_without_a_word(
    certificate: ServerCertificate, data: bytes, cause: str
) -> None:
    async with stage_of(certificate) as stage:
        assert b"HTTP" not in await stage.says(data)
        assert await stage.failed() == [cause]
        assert stage.peers == []


@pytest.mark.parametrize("data", [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01"])
async def test_who_says_too_little_is_closed_in_time(
    certificate: ServerCertificate, data: bytes
) -> None:
    async with stage_of(certificate, head_timeout_s=0.2) as stage:
        began = time.monotonic()

        assert await stage.says(data) == b""
        assert 0.1 < time.monotonic() - began < 2
        assert await stage.failed() == ["timeout"]


@pytest.mark.parametrize("data", [b"", b"\x16\x03\x01\x02\x00\x01"])
async def test_who_goes_again_is_no_fault_of_tls(
    certificate: ServerCertificate, data: bytes
) -> None:
    async with stage_of(certificate) as stage:
        await stage.says(data, eof=True)

        assert await stage.failed() in (["closed"], ["handshake"])


async def test_handshakes_count_as_connections(certificate: ServerCertificate) -> None:
    async with stage_of(certificate, max_connections=5) as stage:
        stage.held = 3
        waiting = [await asyncio.open_connection("127.0.0.1", stage.port) for _ in range(2)]
        await asyncio.sleep(0.1)

        with pytest.raises(OSError):  # noqa: PT011 - reset or closed, as it happens
            await stage.echoed()
        stage.room = True  # of those that the front holds, one does nothing
        assert await stage.echoed() == b"hello"
        stage.room = False

        for _, writer in waiting:
            writer.close()
        await stage.failed(2)
        assert await stage.echoed() == b"hello"


async def test_of_those_that_do_not_come_to_tls_the_oldest_gives_way(
    certificate: ServerCertificate,
) -> None:
    async with stage_of(certificate, max_connections=3) as stage:
        silent = [await asyncio.open_connection("127.0.0.1", stage.port) for _ in range(3)]
        await asyncio.sleep(0.1)

        assert await stage.echoed() == b"hello"

        reader, _ = silent[0]
        assert await asyncio.wait_for(reader.read(), 5) == b""
        assert not silent[2][0].at_eof()
        for _, writer in silent:
            writer.close()


async def test_the_silent_keep_nobody_waiting(certificate: ServerCertificate) -> None:
    async with stage_of(certificate) as stage:
        silent = [await asyncio.open_connection("127.0.0.1", stage.port) for _ in range(100)]

        assert await stage.echoed() == b"hello"

        for _, writer in silent:
            writer.close()
        await stage.failed(100)


async def test_old_tls_is_refused(certificate: ServerCertificate) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1 is deprecated"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1

    async with stage_of(certificate) as stage:
        with pytest.raises(OSError):  # noqa: PT011 - an alert, or the end
            await asyncio.open_connection("127.0.0.1", stage.port, ssl=context)
        assert await stage.failed() == ["handshake"]


async def test_once_closed_it_takes_none_and_keeps_those_it_has(
    certificate: ServerCertificate,
) -> None:
    async with stage_of(certificate) as stage:
        context = ssl.create_default_context(cadata=stage.trusted.decode())
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", stage.port, ssl=context, server_hostname=NAME
        )
        assert stage.door is not None
        stage.door.close()
        await asyncio.sleep(0.05)

        writer.write(b"still")
        assert await asyncio.wait_for(reader.readexactly(5), 5) == b"still"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(stage.echoed(), 0.3)
        writer.close()


async def test_without_files_it_waits_and_goes_on(
    certificate: ServerCertificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("awsgate.server.door._PAUSE_S", 0.05)
    async with stage_of(certificate) as stage:
        loop = asyncio.get_running_loop()
        accept, left = loop.sock_accept, [3]

        async def full(sock: socket.socket) -> Any:
            if left[0]:
                left[0] -= 1
                raise OSError(24, "Too many open files")
            return await accept(sock)

        monkeypatch.setattr(loop, "sock_accept", full)
        assert await stage.echoed() == b"hello"  # the accept under way
        assert await stage.echoed() == b"hello"

    assert left == [0]


# --- from the parent to its workers -------------------------------------------------------


def test_what_a_worker_is_handed_is_what_was_there_at_the_start(tmp_path: Path) -> None:
    own = ensure_server_certificate(tmp_path / "certs", [NAME], None, now=datetime.now(UTC))
    handle = certificate_file(own)
    own.cert.write_bytes(b"something else")
    own.key.unlink()

    for _ in range(2):  # a worker that takes the place of another reads it again
        context = handed_context(handle)
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert not os.get_inheritable(handle)
    os.close(handle)


# --- memory -------------------------------------------------------------------------------


def _held_by_asyncio() -> int:
    return sum(isinstance(each, sslproto.SSLProtocol) for each in gc.get_objects())


@pytest.mark.parametrize("end", ["silence", "the client's", "rubbish"])
async def test_a_handshake_that_fails_leaves_nothing_behind(
    certificate: ServerCertificate, end: str
) -> None:
    """Not even until the garbage collector looks: in a worker that is hardly ever."""
    gc.collect()
    gc.disable()
    try:
        before = _held_by_asyncio()
        async with stage_of(certificate, head_timeout_s=0.3) as stage:
            for _ in range(20):
                reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
                writer.write(b"\x16\x03\x01" + (b"\xff" * 40 if end == "rubbish" else b""))
                await writer.drain()
                if end == "the client's":
                    writer.close()
                else:
                    await asyncio.wait_for(reader.read(), 5)
                    writer.close()
            await stage.failed(20)
            await asyncio.sleep(0.05)
            del reader, writer

            assert len(stage.failures) == 20
            assert _held_by_asyncio() == before
    finally:
        gc.enable()


async def test_one_byte_sets_little_memory_aside(certificate: ServerCertificate) -> None:
    """Asyncio's own is 256 KiB a connection, for whoever connects."""
    async with stage_of(certificate) as stage:
        _, writer = await asyncio.open_connection("127.0.0.1", stage.port)
        writer.write(b"\x16")
        await writer.drain()
        await asyncio.sleep(0.2)
        begun = [each for each in gc.get_objects() if isinstance(each, sslproto.SSLProtocol)]
        writer.close()

    assert [len(each._ssl_buffer) for each in begun] == [BUFFER_BYTES]
    assert BUFFER_BYTES <= 32 * 1024


async def test_many_that_come_at_once_are_shared_with_other_workers(
    certificate: ServerCertificate,
) -> None:
    taken: list[list[str]] = [[], []]
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listening:
        waiting = [socket.create_connection(listening.getsockname()) for _ in range(40)]
        doors = [
            Door(
                certificate.context(), asyncio.Protocol, limits=Limits, held=lambda: 0,
                make_room=lambda: False, on_failure=failures.append,
            )
            for failures in taken
        ]  # fmt: skip
        for door in doors:
            door.open([listening])
        for sock in waiting:
            sock.sendall(b"\0")
        for _ in range(500):
            if sum(map(len, taken)) == len(waiting):
                break
            await asyncio.sleep(0.01)
        for door in doors:
            door.close()
        for sock in waiting:
            sock.close()
        await asyncio.sleep(0.05)

    assert sorted(map(len, taken)) == [20, 20]
