"""Nobody has the whole of an answer that is not recorded: what a SIGKILL must not undo."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from pathlib import Path

import pytest

from corewire import OK, Peer, core_wire

GET = b"GET /k HTTP/1.1\r\nHost: h\r\n\r\n"


async def test_an_answer_is_whole_only_once_it_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    had: list[bytes] = []

    async def serve(peer: Peer) -> None:
        await peer.request()
        peer.send(OK[:-1])
        await asyncio.sleep(0.05)
        peer.send(OK[-1:])

    async with core_wire(tmp_path, serve) as wire:
        with socket.create_connection(("127.0.0.1", wire.port)) as client:
            client.setblocking(False)

            def response(*_: object) -> None:
                with suppress(BlockingIOError):
                    had.append(client.recv(1000))

            monkeypatch.setattr(type(wire.gate), "response", response)
            await loop.sock_sendall(client, b"CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n")
            await loop.sock_recv(client, 1000)
            await loop.sock_sendall(client, GET)

            first = await loop.sock_recv(client, 1000)
            assert first.endswith(b"\r\n\r\no"), "what came before is not held up"
            await asyncio.sleep(0.1)
            assert (had, client.recv(1000)) == ([], b"k")
