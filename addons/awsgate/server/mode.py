"""The proxy mode of a worker: mitmproxy's regular one, on sockets that the parent opened.

All workers share one listening socket, and whoever is free takes the next connection. So
a worker that dies takes only its own connections along: what waits in the socket's queue
is taken by another. With SO_REUSEPORT the kernel would have given those to the dead one.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import Any

from mitmproxy import ctx
from mitmproxy.proxy import layers, mode_servers, mode_specs
from mitmproxy.proxy.context import Context

from awsgate.addon.dispatch import Hooks
from awsgate.server.connection import Connection
from awsgate.server.door import BACKLOG, Door


class AwsgateMode(mode_specs.RegularMode):
    """``--mode awsgate``: known as soon as this module is imported."""

    description = "awsgate"


class Listening:
    """What the instance of the mode serves. Set before the master runs."""

    sockets: Sequence[socket.socket] = ()
    hooks: Hooks | None = None
    door: Callable[[Callable[[], asyncio.BaseProtocol]], Door] | None = None
    """Makes what lets TLS begin before a protocol sees anything; None: clients speak plain."""


class AwsgateInstance(mode_servers.AsyncioServerInstance[AwsgateMode]):
    """Serves the sockets of ``Listening``."""

    def make_top_layer(self, context: Context) -> layers.modes.HttpProxy:
        """Give the first layer of a connection."""
        return layers.modes.HttpProxy(context)

    async def listen(self, host: str, port: int) -> list[Any]:  # noqa: ARG002 - the parent chose
        """Take connections of the sockets."""
        if Listening.door is not None:
            door = Listening.door(self._protocol)
            door.open(Listening.sockets)
            return [door]
        servers = []
        for sock in Listening.sockets:
            # asyncio takes as many as the backlog at a time, and would leave the other
            # workers none: one at a time, and the queue long all the same.
            servers.append(await asyncio.start_server(self.handle_stream, sock=sock, backlog=1))
            sock.listen(BACKLOG)
        return servers

    def _protocol(self) -> asyncio.StreamReaderProtocol:
        """Give what asyncio.start_server makes for each connection."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(loop=loop)
        return asyncio.StreamReaderProtocol(reader, self.handle_stream, loop=loop)

    async def handle_stream(self, reader: Any, writer: Any = None) -> None:
        """Serve one client connection."""
        hooks = Listening.hooks or Hooks(ctx.master.addons.chain)
        handler = Connection(hooks, ctx.master, reader, writer, ctx.options, self.mode)
        handler.layer = self.make_top_layer(handler.layer.context)
        with self.manager.register_connection(handler.layer.context.client.id, handler):
            await handler.handle_client()
