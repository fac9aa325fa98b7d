"""TLS on both sides of the own core, and bytes that are relayed."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest

from awsgate.server.core.relay import FULL
from corewire import HOST, OK, CoreWire, Peer, always, core_wire
from e2e.recording import throwaway_certificate

GET = b"GET /k HTTP/1.1\r\nHost: h\r\n\r\n"
NAME = "sts.us-east-1.amazonaws.com"
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
SWITCHED = b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


# --- to the client -------------------------------------------------------------------------


async def secure(
    wire: CoreWire, name: str | None = HOST, *, session: ssl.SSLSession | None = None
) -> tuple[ssl.SSLObject, Peer]:
    """Open a CONNECT with TLS in it by hand, so that sessions can be taken along."""
    context = ssl.create_default_context(cafile=str(wire.ca))
    context.check_hostname = name is not None
    if session is not None:
        context = secure.context  # type: ignore[attr-defined]
    secure.context = context  # type: ignore[attr-defined]
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=name, session=session)
    peer = await wire.client()
    peer.incoming, peer.outgoing = incoming, outgoing  # type: ignore[attr-defined]
    await step(peer, tls.do_handshake)
    return tls, peer


async def step(peer: Peer, work: object) -> object:
    """Do something over TLS."""
    while True:
        try:
            result = work()  # type: ignore[operator]
        except ssl.SSLWantReadError:
            peer.send(peer.outgoing.read())  # type: ignore[attr-defined]
            async with asyncio.timeout(5):
                data = await peer.reader.read(65536)
            assert data, "it was closed"
            peer.incoming.write(data)  # type: ignore[attr-defined]
            continue
        peer.send(peer.outgoing.read())  # type: ignore[attr-defined]
        return result


async def exchange(tls: ssl.SSLObject, peer: Peer) -> bytes:
    tls.write(GET)
    peer.send(peer.outgoing.read())  # type: ignore[attr-defined]
    got = b""
    while not got.endswith(b"ok"):
        got += await step(peer, lambda: tls.read(65536))  # type: ignore[operator]
    return got


async def test_a_client_sees_a_leaf_of_its_own_host(tmp_path: Path) -> None:
    async with core_wire(tmp_path) as wire:
        tls, peer = await secure(wire)

        assert (await exchange(tls, peer)).startswith(b"HTTP/1.1 200 OK")
        names = tls.getpeercert()["subjectAltName"]  # type: ignore[index]
        assert names == (("DNS", "*.s3.amazonaws.com"),)
        assert wire.gate.flows[0].client_conn.sni == HOST


async def test_a_client_that_asks_for_another_name_sees_that_and_the_gate_too(
    tmp_path: Path,
) -> None:
    async with core_wire(tmp_path) as wire:
        tls, peer = await secure(wire, NAME)
        await exchange(tls, peer)

        assert tls.getpeercert()["subjectAltName"] == (("DNS", NAME),)  # type: ignore[index]
        assert wire.gate.flows[0].client_conn.sni == NAME


async def test_a_client_without_a_name_is_seen_to_have_none(tmp_path: Path) -> None:
    async with core_wire(tmp_path) as wire:
        await exchange(*await secure(wire, None))

        assert wire.gate.flows[0].client_conn.sni is None
        assert wire.gate.flows[0].client_conn.tls_established


async def test_a_session_is_resumed(tmp_path: Path) -> None:
    async with core_wire(tmp_path) as wire:
        tls, peer = await secure(wire)
        await exchange(tls, peer)
        again, peer = await secure(wire, session=tls.session)
        await exchange(again, peer)

        assert (tls.session_reused, again.session_reused) == (False, True)
        assert wire.gate.flows[1].client_conn.sni == HOST, "also then it is known"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_both_versions_of_tls_are_spoken(tmp_path: Path, version: ssl.TLSVersion) -> None:
    async with core_wire(tmp_path) as wire:
        context = ssl.create_default_context(cafile=str(wire.ca))
        context.minimum_version = context.maximum_version = version
        peer = await wire.client()
        await peer.writer.start_tls(context, server_hostname=HOST)
        peer.send(GET)

        assert await peer.answer() == (200, b"ok")


async def test_what_is_no_client_hello_closes(tmp_path: Path) -> None:
    async with core_wire(tmp_path) as wire:
        peer = await wire.client()
        peer.send(b"\x16\x03\x01" + b"\x00" * 40)

        assert not (await peer.rest()).startswith(b"HTTP")
        assert wire.gate.fired == ["client_disconnected"]


# --- to the server -----------------------------------------------------------------------


async def test_a_server_proves_the_name_and_its_sessions_are_resumed(tmp_path: Path) -> None:
    context, trusted = throwaway_certificate(tmp_path, [NAME])
    resumed: list[bool] = []

    async def serve(peer: Peer) -> None:
        resumed.append(peer.writer.get_extra_info("ssl_object").session_reused)
        await peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")

    async with core_wire(tmp_path, serve, tls=context, trusted=trusted, name=NAME) as wire:
        client = await wire.client()
        for _ in range(3):
            client.send(GET)
            assert await client.answer() == (200, b"ok")

    assert resumed == [False, True, True]


@pytest.mark.parametrize(
    ("trusts", "name"), [(True, "iam.amazonaws.com"), (False, NAME)], ids=["name", "root"]
)
async def test_a_server_that_proves_nothing_gets_nothing(
    tmp_path: Path, trusts: bool, name: str
) -> None:
    context, trusted = throwaway_certificate(tmp_path, [NAME])
    got: list[bytes] = []

    async def serve(peer: Peer) -> None:
        got.append(await peer.rest())

    async with core_wire(
        tmp_path, serve, tls=context, trusted=trusted if trusts else None, name=name
    ) as wire:
        client = await wire.client()
        client.send(GET)

        assert await client.answer() == (502, b"in AWS's words")
        assert "certificate" in wire.says.failures[0]
        await asyncio.sleep(0.05)
    assert b"".join(got) == b""


async def test_names_do_not_share_connections(tmp_path: Path) -> None:
    """One address may stand for all of AWS: what was proved is for one name."""
    context, trusted = throwaway_certificate(tmp_path, [NAME, "iam.amazonaws.com"])
    async with core_wire(tmp_path, always, tls=context, trusted=trusted, name=NAME) as wire:
        client = await wire.client()
        scheme, host, port, _ = wire.gate.server
        for name, connections in ((NAME, 1), ("iam.amazonaws.com", 2), (NAME, 2)):
            wire.gate.server = (scheme, host, port, name)
            client.send(GET)
            assert await client.answer() == (200, b"ok")
            assert len(wire.servers) == connections


async def test_an_answer_to_the_end_is_not_whole_without_tlss_word(tmp_path: Path) -> None:
    context, trusted = throwaway_certificate(tmp_path, [NAME])

    async def serve(peer: Peer) -> None:
        await peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\nhalf of it")
        await asyncio.sleep(0.05)
        peer.writer.transport.get_extra_info("socket").shutdown(1)
        await asyncio.sleep(0.2)

    async with core_wire(tmp_path, serve, tls=context, trusted=trusted, name=NAME) as wire:
        client = await wire.client()
        client.send(GET)
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(client.reader.read(), 5)

        assert wire.gate.fired[-2:] == ["error", "client_disconnected"]


# --- relayed --------------------------------------------------------------------------------


async def echo(peer: Peer) -> None:
    while data := await peer.reader.read(65536):
        peer.send(data)
    peer.send(b"the end")
    peer.writer.write_eof()


async def test_a_tunnel_passes_everything_and_each_end_ends_by_itself(tmp_path: Path) -> None:
    async with core_wire(tmp_path, echo) as wire:
        wire.gate.tunnels = True
        client = await wire.client()
        big = bytes(range(256)) * 4096
        client.send(big)
        assert await client.exactly(len(big)) == big

        client.writer.write_eof()

        assert await client.rest() == b"the end", "after the client's own end"
        await asyncio.sleep(0.05)
        assert wire.site.connections == {}
        assert wire.gate.fired == ["client_disconnected"]


async def test_a_server_that_ends_first_may_still_be_told(tmp_path: Path) -> None:
    got: list[bytes] = []

    async def serve(peer: Peer) -> None:
        peer.send(b"hello")
        peer.writer.write_eof()
        got.append(await peer.rest())

    async with core_wire(tmp_path, serve) as wire:
        wire.gate.tunnels = True
        client = await wire.client()
        assert await client.rest() == b"hello"
        client.send(b"thanks")
        client.writer.write_eof()
        await asyncio.sleep(0.1)

        assert got == [b"thanks"]
        assert wire.site.connections == {}


async def test_a_tunnel_that_leads_nowhere_ends(tmp_path: Path) -> None:
    async with core_wire(tmp_path) as wire:
        wire.gate.tunnels = True
        wire.gate.server = (b"", "127.0.0.1", 1, "")
        client = await wire.client()

        assert await client.rest() == b""


async def switching(peer: Peer) -> None:
    await peer.request()
    peer.send(SWITCHED + b"first")
    await echo(peer)


async def test_a_websocket_is_relayed_and_counted(tmp_path: Path) -> None:
    async with core_wire(tmp_path, switching) as wire:
        client = await wire.client()
        client.send(UPGRADE + b"early")
        head = await client.until(b"\r\n\r\n")
        assert head == SWITCHED
        got = await client.exactly(10)
        client.send(b"later")
        got += await client.exactly(5)

        assert got == b"firstearlylater"
        assert sum(n for n, out in wire.says.relayed_bytes if out) == 15
        assert sum(n for n, out in wire.says.relayed_bytes if not out) == 10
        (held,) = wire.site.connections.values()
        assert held.relayed
        assert not held.asked


async def test_a_switch_that_the_gate_does_not_relay_is_answered_for(tmp_path: Path) -> None:
    async with core_wire(tmp_path, switching) as wire:
        wire.says.relays = lambda _: False  # type: ignore[method-assign,assignment]
        client = await wire.client()
        client.send(UPGRADE)

        assert await client.answer() == (502, b"in AWS's words")


async def test_reading_goes_on_when_no_reason_is_left(tmp_path: Path) -> None:
    async with core_wire(tmp_path) as wire:
        client = await wire.client()
        (held,) = wire.site.connections.values()
        held.pause(FULL)  # type: ignore[attr-defined]
        held.pause(2)  # type: ignore[attr-defined]
        held.resume(FULL)  # type: ignore[attr-defined]
        client.send(GET)
        await asyncio.sleep(0.05)
        assert wire.gate.fired == []

        held.resume(2)  # type: ignore[attr-defined]
        assert await client.answer() == (200, b"ok")
    assert OK.endswith(b"ok")


async def test_a_client_that_says_goodbye_after_we_did_troubles_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with core_wire(tmp_path) as wire:
        tls, peer = await secure(wire)
        tls.write(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        peer.send(peer.outgoing.read())  # type: ignore[attr-defined]
        got = b""
        while not got.endswith(b"ok"):
            got += await step(peer, lambda: tls.read(65536))  # type: ignore[operator]
        await step(peer, tls.unwrap)

        assert await peer.rest() == b""
        assert caplog.text == ""
