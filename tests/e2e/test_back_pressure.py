"""A slow side slows the other down; nothing piles up in the gateway between them."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from awsgate.aws.sigv4 import SigningKeys
from awsgate.demo.processes import GatewayProcess
from e2e.forms import Stage, stage_in
from e2e.recording import ASSUMED, BASE_KEYS, Recorder, bob_of, http_answer, write_policy
from e2e.serving import rss_mib
from rawclient import Call, Wire, head, secure

MIB = 1 << 20
HOST = "slow.s3.us-east-1.amazonaws.com"
ROOM_MIB = 24


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage_in(tmp_path_factory.mktemp("slow")) as made:
        yield made


def test_a_client_that_does_not_read_stops_the_answer(stage: Stage) -> None:
    size = 256 * MIB
    call = Call("s3", HOST, "GET", f"/generated/{size}")
    with secure(stage.gateway, HOST) as wire:
        wire.send(call.wire(call.signed(stage.keys)))
        first = wire.sock.recv(65536)
        before = rss_mib(stage.gateway)
        time.sleep(1.5)
        grown = rss_mib(stage.gateway) - before
        got = len(first.partition(b"\r\n\r\n")[2])
        while got < size and (data := wire.sock.recv(MIB)):
            got += len(data)

    assert got == size, "it goes on where it stopped"
    assert grown < ROOM_MIB


class NeverReads:
    """An AWS that takes a head and not a byte more."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._held: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for each in (*self._held, self._listener):
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.recv(1024)
            self._held.append(sock)


def sent_until_stuck(wire: Wire, piece: bytes) -> int:
    """Send pieces of a MiB until nobody takes them for a while; give the bytes."""
    wire.sock.settimeout(1.5)
    sent = 0
    with suppress(TimeoutError):
        while sent < 256 * MIB:
            wire.send(piece)
            sent += MIB
    return sent


@pytest.fixture
def stuck(tmp_path: Path) -> Iterator[tuple[GatewayProcess, SigningKeys]]:
    aws, sts = NeverReads(), Recorder(answer=http_answer(ASSUMED))
    gateway = GatewayProcess(
        tmp_path,
        policy=write_policy(
            tmp_path / "policy.yaml",
            sts={"endpoint_url": sts.url},
            upstreams=[{"hosts": [HOST], "url": aws.url}],
        ),
        keys=BASE_KEYS,
    )
    yield gateway, bob_of(gateway)
    gateway.stop()
    sts.close()
    aws.close()


def test_a_server_that_does_not_read_stops_the_upload(
    stuck: tuple[GatewayProcess, SigningKeys],
) -> None:
    gateway, keys = stuck
    call = Call("s3", HOST, "PUT", "/k", sign_body=False, chunked=True)
    piece = b"%x\r\n%s\r\n" % (MIB, b"x" * MIB)
    with secure(gateway, HOST) as wire:
        wire.send(head("PUT", "/k", call.signed(keys)))
        time.sleep(1.5)  # boto3 is loaded for the first STS call: that is not the body's
        before = rss_mib(gateway)
        sent = sent_until_stuck(wire, piece)

    assert sent < 64 * MIB, "the client is held up"
    assert rss_mib(gateway) - before < ROOM_MIB
