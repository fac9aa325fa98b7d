"""What anybody can send, with or without credentials, costs the gateway little.

One gateway; while one client misbehaves another is served, and the memory stays.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import pytest

from awsgate.aws.sigv4 import SigningKeys
from awsgate.demo.processes import GatewayProcess
from e2e.recording import (
    ASSUMED,
    BASE_KEYS,
    Recorder,
    bob_of,
    http_answer,
    wait_until,
    write_policy,
)
from e2e.serving import rss_mib
from rawclient import Call, Wire, ask, head, secure, tunnel

HOST = "bkt.s3.us-east-1.amazonaws.com"
SLOW = "slow.s3.us-east-1.amazonaws.com"
GOOD = Call("s3", HOST, "GET", "/k")
MIB = 1 << 20
ROOM_MIB = 20


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("bounds")
    world, sts = Recorder(), Recorder(answer=http_answer(ASSUMED))
    never = Recorder(answer=b"")
    running = GatewayProcess(
        folder,
        policy=write_policy(
            folder / "policy.yaml",
            sts={"endpoint_url": sts.url},
            upstreams=[
                {"hosts": [SLOW], "url": never.url},
                {"hosts": ["*.amazonaws.com"], "url": world.url},
            ],
        ),
        keys=BASE_KEYS,
    )
    assert served_in_s(running, bob_of(running)) < 10  # boto3 is loaded for the first one
    yield running
    running.stop()
    for each in (world, sts, never):
        each.close()


@pytest.fixture
def keys(gateway: GatewayProcess) -> SigningKeys:
    return bob_of(gateway)


def served_in_s(gateway: GatewayProcess, keys: SigningKeys) -> float:
    """Give the seconds that another client waits for its answer."""
    began = time.monotonic()
    assert ask(gateway, HOST, GOOD.wire(GOOD.signed(keys))).status == 200
    return time.monotonic() - began


def flood(wire: Wire, data: bytes, mib: int) -> int:
    """Send until the other side has had enough; give the MiB that it took."""
    wire.sock.settimeout(5)
    sent = 0
    with suppress(OSError):
        for _ in range(mib):
            wire.send(data)
            sent += 1
    return sent


def ends(wire: Wire) -> bool:
    """True if the other side closes, perhaps after an alert of TLS's."""
    try:
        while wire.sock.recv(65536):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


def hello(size: int, record: int) -> bytes:
    """Give the start of a ClientHello that declares 16 MB, in records of a size."""
    message = b"\x01\xff\xff\xff" + b"\x00" * size
    return b"".join(
        b"\x16\x03\x01" + len(piece).to_bytes(2, "big") + piece
        for piece in (message[i : i + record] for i in range(0, len(message), record))
    )


@pytest.mark.parametrize(
    ("size", "record"), [(300_000, 1), (2_000_000, 16_000)], ids=["tiny records", "whole records"]
)
def test_a_client_hello_without_end_holds_nobody_up(
    gateway: GatewayProcess, keys: SigningKeys, size: int, record: int
) -> None:
    log = gateway.log.stat().st_size
    before = rss_mib(gateway)
    with tunnel(gateway, HOST) as wire:
        with suppress(OSError):
            wire.send(hello(size, record))
        waited = served_in_s(gateway, keys)
        assert ends(wire)

    assert waited < 1
    assert rss_mib(gateway) - before < ROOM_MIB
    assert gateway.log.stat().st_size - log < 4096, "it is not logged whole, in hex"


def test_a_client_hello_that_comes_slowly_is_read(gateway: GatewayProcess) -> None:
    """In packets of a few bytes: the bound is on records and length, not on packets."""
    context = ssl.create_default_context(cafile=str(gateway.certs / "ca-cert.pem"))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=HOST)
    with tunnel(gateway, HOST) as wire:
        with suppress(ssl.SSLWantReadError):
            client.do_handshake()
        first = outgoing.read()
        for i in range(0, len(first), 20):
            wire.send(first[i : i + 20])
            time.sleep(0.002)
        answer = wire.sock.recv(65536)

    assert answer[:1] == b"\x16", "a ServerHello"


def test_a_chunk_header_without_end_closes(gateway: GatewayProcess, keys: SigningKeys) -> None:
    before = rss_mib(gateway)
    unsigned = head("POST", "/", [(b"Host", HOST.encode()), (b"Transfer-Encoding", b"chunked")])
    with secure(gateway, HOST) as wire:
        wire.send(unsigned + b"1;")
        sent = flood(wire, b"a" * MIB, 100)

    assert sent < 20
    assert rss_mib(gateway) - before < ROOM_MIB
    assert served_in_s(gateway, keys) < 1


def test_a_signed_upload_with_a_chunk_header_without_end_closes_too(
    gateway: GatewayProcess, keys: SigningKeys
) -> None:
    call = Call("s3", HOST, "PUT", "/k", sign_body=False, chunked=True)
    before = rss_mib(gateway)
    with secure(gateway, HOST) as wire:
        wire.send(head("PUT", "/k", call.signed(keys)) + b"1;")
        sent = flood(wire, b"a" * MIB, 100)

    assert sent < 20
    assert rss_mib(gateway) - before < ROOM_MIB


def test_what_is_sent_ahead_of_an_answer_is_bounded(
    gateway: GatewayProcess, keys: SigningKeys
) -> None:
    call = replace(GOOD, host=SLOW)
    before, lines = rss_mib(gateway), len(gateway.audit())
    with secure(gateway, SLOW) as wire:
        wire.send(call.wire(call.signed(keys)))
        time.sleep(0.3)
        sent = flood(wire, b"a" * MIB, 100)

    assert sent < 20
    assert rss_mib(gateway) - before < ROOM_MIB
    assert wait_until(lambda: len(gateway.audit()) > lines), "the first one is recorded"


def test_a_request_of_a_usual_size_may_be_sent_ahead(
    gateway: GatewayProcess, keys: SigningKeys
) -> None:
    with secure(gateway, HOST) as wire:
        wire.send(GOOD.wire(GOOD.signed(keys)) * 3)
        answers = [wire.read_answer().status for _ in range(3)]

    assert answers == [200, 200, 200]


@pytest.mark.parametrize("version", ["HTTP/9.9", "HTTP/2.0", "HTTP/1.2"])
def test_another_version_of_http_is_refused(
    gateway: GatewayProcess, keys: SigningKeys, version: str
) -> None:
    raw = GOOD.wire(GOOD.signed(keys)).replace(b"HTTP/1.1", version.encode(), 1)

    answer = ask(gateway, HOST, raw)

    assert answer.status in (400, 505)
