"""Where a name may lead: resolve once, check every address, dial what was checked.

An AWS name can resolve to a machine that is not AWS's: a poisoned cache, a search
domain, a rebinding tenant. The metadata service is the prize (it would hand out the
gateway's own role), so the check sits where the address is known and nothing can
change it between check and connect.

Installed as ``create_connection`` of the running loop: asyncio's own extension
point for every stream that mitmproxy opens, so nothing of mitmproxy is patched.
boto3 and the metrics server use their own sockets and are not affected.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from cachetools import LRUCache

from awsgate.aws.addresses import address_verdict

Dial = Callable[..., Awaitable[Any]]
Resolve = Callable[[str, int], Awaitable[list[tuple[int, str]]]]
"""Gives (address family, address) pairs in order of preference."""


class GuardedDialer:
    """Opens connections to addresses that the rules allow, and to no others.

    ``connect_timeout_s`` bounds one address; without it a black-holed one holds a
    request for the system's two minutes.
    """

    def __init__(self, *, connect_timeout_s: float) -> None:
        self._timeout_s = connect_timeout_s
        self._private_ok: LRUCache[str, bool] = LRUCache(maxsize=8192)
        self._explicit: set[tuple[str, int]] = set()

    def permit_private(self, host: str) -> None:
        """Let ``host`` resolve to private ranges: a VPC endpoint, a tunnel's target."""
        self._private_ok[host] = True

    def permit_explicit(self, host: str, port: int) -> None:
        """Let ``host:port`` be anywhere, loopback included: the operator named it."""
        self._explicit.add((host, port))

    def install(self, loop: asyncio.AbstractEventLoop) -> None:
        """Make this the way in which ``loop`` opens TCP connections."""
        stock: Dial = loop.create_connection

        async def resolve(host: str, port: int) -> list[tuple[int, str]]:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            return [(family, str(address[0])) for family, _, _, _, address in found]

        async def create_connection(
            protocol_factory: Callable[[], asyncio.BaseProtocol],
            host: str | None = None,
            port: int | None = None,
            **kwargs: Any,
        ) -> Any:
            if host is None or port is None:
                return await stock(protocol_factory, host, port, **kwargs)
            return await self.dial(stock, resolve, protocol_factory, host, port, **kwargs)

        loop.create_connection = create_connection  # type: ignore[method-assign]

    async def dial(
        self,
        stock: Dial,
        resolve: Resolve,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: str,
        port: int,
        **kwargs: Any,
    ) -> Any:
        """Resolve ``host``, drop what may not be dialled, and try the rest in order.

        Raises ``OSError`` with the reason; the text reaches the client.
        """
        refused: list[str] = []
        failure: OSError | None = None
        for _, address in await resolve(host, port):
            verdict = self._verdict(host, port, address)
            if verdict is not None:
                refused.append(verdict)
                continue
            try:
                async with asyncio.timeout(self._timeout_s):
                    return await stock(protocol_factory, address, port, **kwargs)
            except TimeoutError:
                failure = OSError(f"no connection within {self._timeout_s:g} seconds")
            except OSError as exc:
                failure = OSError(exc.strerror or "connection failed")
        if failure is not None:
            raise failure
        if refused:
            raise OSError(f"{host} resolves to a {refused[0]} address, which awsgate does not dial")
        raise OSError(f"{host} has no address")

    def _verdict(self, host: str, port: int, address: str) -> str | None:
        if (host, port) in self._explicit:
            return None
        return address_verdict(address, private_ok=bool(self._private_ok.get(host)))
