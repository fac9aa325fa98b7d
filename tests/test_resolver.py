"""What is dialled is what was checked: the address, never the name."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from awsgate.resolver import GuardedDialer

HOST = "s3.eu-central-1.amazonaws.com"
PUBLIC, SECOND, THIRD = "52.219.0.1", "52.219.0.2", "2600:1f18::1"
PRIVATE, METADATA, LOOPBACK = "10.1.2.3", "169.254.169.254", "127.0.0.1"


@dataclass
class FakeNet:
    """A resolver with one answer a look-up, and a network where some addresses fail."""

    answers: list[list[str]]
    failing: dict[str, BaseException] = field(default_factory=dict)
    silent: Sequence[str] = ()
    looked_up: list[tuple[str, int]] = field(default_factory=list)
    dialled: list[tuple[str, int]] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)

    async def resolve(self, host: str, port: int) -> list[tuple[int, str]]:
        self.looked_up.append((host, port))
        addresses = self.answers.pop(0)
        return [(socket.AF_INET6 if ":" in a else socket.AF_INET, a) for a in addresses]

    async def stock(
        self, factory: Callable[[], asyncio.BaseProtocol], host: str, port: int, **options: Any
    ) -> str:
        self.dialled.append((host, port))
        self.options = options
        if host in self.silent:
            await asyncio.Event().wait()
        if host in self.failing:
            raise self.failing[host]
        factory()
        return f"connected to {host}"


async def dial(
    net: FakeNet, dialer: GuardedDialer | None = None, port: int = 443, **options: Any
) -> Any:
    dialer = dialer or GuardedDialer(connect_timeout_s=5)
    return await dialer.dial(net.stock, net.resolve, asyncio.Protocol, HOST, port, **options)


async def test_the_checked_address_is_dialled_and_options_go_along() -> None:
    net = FakeNet([[PUBLIC]])

    assert await dial(net, local_addr=("0.0.0.0", 0)) == f"connected to {PUBLIC}"
    assert net.dialled == [(PUBLIC, 443)]
    assert net.options == {"local_addr": ("0.0.0.0", 0)}


async def test_a_name_that_changes_after_the_check_changes_nothing() -> None:
    """Rebinding: the second look-up would give the metadata service. There is none."""
    net = FakeNet([[PUBLIC], [METADATA]])

    await dial(net)

    assert net.looked_up == [(HOST, 443)]
    assert net.dialled == [(PUBLIC, 443)]


async def test_a_name_that_has_changed_by_the_next_request_is_refused_then() -> None:
    net = FakeNet([[PUBLIC], [METADATA]])
    dialer = GuardedDialer(connect_timeout_s=5)
    await dial(net, dialer)

    with pytest.raises(OSError, match="link-local"):
        await dial(net, dialer)

    assert net.dialled == [(PUBLIC, 443)]


@pytest.mark.parametrize(
    ("host", "port", "guarded"), [(HOST, 443, True), (None, None, False),
                               (HOST, None, False), (None, 443, False)],
    ids=["a name", "a socket that is open", "no port", "no name"],
)  # fmt: skip
async def test_what_is_no_dialling_is_left_to_the_loop(
    host: str | None, port: int | None, guarded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[object, ...]] = []

    async def stock(*given: object, **_: object) -> str:
        asked.append(given)
        return "done"

    async def dial(*_: object, **__: object) -> str:
        return "guarded"

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "create_connection", stock)
    dialer = GuardedDialer(connect_timeout_s=5)
    monkeypatch.setattr(dialer, "dial", dial)
    dialer.install(loop)

    found = await loop.create_connection(asyncio.Protocol, host, port)

    assert found == ("guarded" if guarded else "done")
    assert asked == ([] if guarded else [(asyncio.Protocol, host, port)])


REFUSED = {
    "metadata service": ([METADATA], "link-local"),
    "metadata service in ipv6": (["fd00:ec2::254"], "metadata"),
    "metadata service inside ipv6": (["::ffff:169.254.169.254"], "link-local"),
    "loopback": ([LOOPBACK], "loopback"),
    "private": ([PRIVATE], "private"),
    "what is no address": (["localhost"], "malformed"),
    "the first reason of several": ([LOOPBACK, METADATA], "loopback"),
}


@pytest.mark.parametrize(("addresses", "word"), REFUSED.values(), ids=REFUSED)
async def test_a_name_with_no_address_that_may_be_dialled_is_refused(
    addresses: list[str], word: str
) -> None:
    net = FakeNet([addresses])

    with pytest.raises(OSError, match="does not dial") as caught:
        await dial(net)

    assert str(caught.value) == f"{HOST} resolves to a {word} address, which awsgate does not dial"
    assert net.dialled == []


async def test_a_name_without_addresses_says_so() -> None:
    with pytest.raises(OSError, match=f"^{HOST} has no address$"):
        await dial(FakeNet([[]]))


async def test_refused_addresses_are_skipped_and_the_order_is_kept() -> None:
    net = FakeNet(
        [[METADATA, PUBLIC, LOOPBACK, THIRD, SECOND]],
        failing={PUBLIC: ConnectionRefusedError(111, "Connection refused"), THIRD: OSError()},
    )

    assert await dial(net) == f"connected to {SECOND}"
    assert net.dialled == [(PUBLIC, 443), (THIRD, 443), (SECOND, 443)]


FAILURES = {
    "the reason of the system, without address": (
        ConnectionRefusedError(111, "Connection refused"),
        "Connection refused",
    ),
    "a failure without words": (OSError(), "connection failed"),
    "the system's own timeout": (TimeoutError(110, "x"), "no connection within 5 seconds"),
}


@pytest.mark.parametrize(("failure", "expected"), FAILURES.values(), ids=FAILURES)
async def test_the_last_failure_is_raised_if_none_answers(failure: OSError, expected: str) -> None:
    net = FakeNet([[METADATA, SECOND, PUBLIC]], failing={SECOND: OSError("y"), PUBLIC: failure})

    with pytest.raises(OSError, match=f"^{expected}$"):
        await dial(net)


async def test_an_address_that_is_silent_costs_the_timeout_and_the_next_is_tried() -> None:
    net = FakeNet([[PUBLIC, SECOND]], silent=[PUBLIC])

    assert await dial(net, GuardedDialer(connect_timeout_s=0.01)) == f"connected to {SECOND}"

    net = FakeNet([[PUBLIC]], silent=[PUBLIC])
    with pytest.raises(OSError, match=r"^no connection within 0\.01 seconds$"):
        await dial(net, GuardedDialer(connect_timeout_s=0.01))


async def test_a_cancelled_request_stops_dialling() -> None:
    net = FakeNet([[PUBLIC, SECOND]], silent=[PUBLIC])
    task = asyncio.ensure_future(dial(net))
    await asyncio.sleep(0.01)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task

    assert net.dialled == [(PUBLIC, 443)]


async def test_private_addresses_are_for_permitted_names_and_metadata_for_none() -> None:
    dialer = GuardedDialer(connect_timeout_s=5)
    dialer.permit_private(HOST)
    net = FakeNet([[METADATA, LOOPBACK, "fd00:ec2::254", PRIVATE]])

    assert await dial(net, dialer) == f"connected to {PRIVATE}"
    assert net.dialled == [(PRIVATE, 443)]

    other = GuardedDialer(connect_timeout_s=5)
    other.permit_private("sts.eu-central-1.amazonaws.com")
    with pytest.raises(OSError, match="private"):
        await dial(FakeNet([[PRIVATE]]), other)


async def test_an_explicit_upstream_may_be_anywhere_on_its_own_port_alone() -> None:
    dialer = GuardedDialer(connect_timeout_s=5)
    dialer.permit_explicit(HOST, 4566)

    assert await dial(FakeNet([[LOOPBACK]]), dialer, 4566) == f"connected to {LOOPBACK}"
    with pytest.raises(OSError, match="loopback"):
        await dial(FakeNet([[LOOPBACK]]), dialer, 443)


async def test_permitted_private_names_are_bounded() -> None:
    dialer = GuardedDialer(connect_timeout_s=5)
    dialer.permit_private(HOST)
    for n in range(8192):
        dialer.permit_private(f"vpce-{n}.example")

    with pytest.raises(OSError, match="private"):
        await dial(FakeNet([[PRIVATE]]), dialer)


# --- a real loop --------------------------------------------------------------------


async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"hello")
    writer.close()
    await writer.wait_closed()


async def read_from(host: str, port: int) -> bytes:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


# All that the system's own resolver takes for this machine: it reads numbers as inet_aton does.
LOOPBACK_NAMES = (
    "127.0.0.1", "localhost", "localhost.", "::ffff:127.0.0.1", "127.1", "2130706433",
    "0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001",
)  # fmt: skip


async def test_on_a_real_loop_every_stream_goes_through_the_check() -> None:
    dialer = GuardedDialer(connect_timeout_s=5)
    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    dialer.install(asyncio.get_running_loop())

    async with server:
        for host in LOOPBACK_NAMES:
            # Some resolvers take fewer of them for an address.
            with pytest.raises(OSError, match=r"does not dial|not known"):
                await read_from(host, port)
        dialer.permit_explicit("127.0.0.1", port)

        assert await read_from("127.0.0.1", port) == b"hello"
        with pytest.raises(OSError, match="loopback"):
            await read_from("localhost", port)


async def test_on_a_real_loop_a_connected_socket_is_taken_as_it_is() -> None:
    """No name, nothing to check: asyncio's own use of create_connection stays whole."""
    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    loop = asyncio.get_running_loop()
    sock = socket.socket()
    sock.setblocking(False)
    await loop.sock_connect(sock, server.sockets[0].getsockname())
    GuardedDialer(connect_timeout_s=5).install(loop)

    async with server:
        reader, writer = await asyncio.open_connection(sock=sock)
        assert await reader.read() == b"hello"
        writer.close()
        await writer.wait_closed()


async def test_on_a_real_loop_a_name_is_looked_up_once_and_its_alias_is_not_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A chain of CNAMEs is the resolver's: what counts is the addresses at its end."""
    loop, asked = asyncio.get_running_loop(), []
    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    async def getaddrinfo(host: object, *_: object, **__: object) -> list[Any]:
        asked.append(host)
        end = (METADATA, port) if len(asked) == 1 else (LOOPBACK, port)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "internal.evil.example", end)]

    dialer = GuardedDialer(connect_timeout_s=5)
    monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
    dialer.install(loop)

    async with server:
        with pytest.raises(OSError, match=f"{HOST} resolves to a link-local address"):
            await read_from(HOST, port)
        with pytest.raises(OSError, match=f"{HOST} resolves to a loopback address"):
            await read_from(HOST, port)

    assert asked == [HOST, HOST]
