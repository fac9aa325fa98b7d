"""Connections to servers: idle ones, shared by all clients, and new ones.

A request may use one that another client's request opened, since what goes over it is
signed for the role anyway, request by request. But nobody uses any before the hooks
have let this client connection use that server: they are asked each time.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from time import monotonic
from typing import Any

from mitmproxy import connection, ctx, http, tls
from mitmproxy.proxy import context, server_hooks

from awsgate.addon.dispatch import Hooks, call
from awsgate.server.core.tls import Trust
from awsgate.server.core.upstream import Key, Upstream

MAX_IDLE = 512
MAX_IDLE_OF_ONE = 64
IDLE_S = 60.0
FRESH_S = 5.0
"""An idle connection may be closed by its server at any moment. A request that must not
be sent twice goes over one that was used a moment ago, or over a new one."""


class NotApproved(Exception):
    """The hooks do not let this client have that server."""


class Asker:
    """Asks the hooks, for one client connection, whether it may use a server."""

    def __init__(self, hooks: Hooks, client: connection.Client) -> None:
        self._connect = hooks.of("server_connect")
        self._name = hooks.of("tls_start_server")
        self._context = context.Context(client, ctx.options)
        self.server = self._context.server
        """Stands for a server while there is no connection to one."""
        self._asked = server_hooks.ServerConnectionHookData(server=self.server, client=client)
        self._begun = tls.TlsData(self.server, self._context, None)

    def ask(self, request: http.Request) -> Key:
        """Give the key of the server that a request is for. Raises ``NotApproved``."""
        data = request.data
        return self.ask_for(data.scheme.decode("ascii"), data.host, data.port)

    def ask_for(self, scheme: str, host: str, port: int) -> Key:
        """As ``ask``; ``tunnel`` is a scheme too."""
        server, address = self.server, (host, port)
        if server.address != address:  # to set an attribute of it is slow
            server.address = address
        if server.error is not None:
            server.error = None
        if call(self._connect, self._asked) is not None:
            raise NotApproved("a hook wants to wait where none may")
        if server.error:
            raise NotApproved(server.error)
        if scheme != "https":
            return scheme, host, port, ""
        server.sni = None
        if call(self._name, self._begun) is not None:
            raise NotApproved("a hook wants to wait where none may")
        return scheme, host, port, self._begun.conn.sni or host


class Pool:
    """Idle connections by server, and the way to new ones."""

    def __init__(self, hooks: Hooks, trust: Trust, connect_timeout_s: Callable[[], float]) -> None:
        self._hooks, self._trust = hooks, trust
        self._connect_timeout_s = connect_timeout_s
        self._idle: OrderedDict[Key, deque[Upstream]] = OrderedDict()
        self._count = 0

    def take(self, key: Key, *, repeatable: bool) -> Upstream | None:
        """Give the idle connection that was used last; None: there is none that will do."""
        held = self._idle.get(key)
        oldest = monotonic() - (IDLE_S if repeatable else FRESH_S)
        while held:
            if held[-1].idle_since < oldest and not repeatable:
                return None
            found = held.pop()
            self._count -= 1
            if found.usable and found.idle_since >= oldest:
                return found
            found.close()
        return None

    def _give_back(self, upstream: Upstream) -> None:
        held = self._idle.setdefault(upstream.key, deque())
        if len(held) >= MAX_IDLE_OF_ONE or self._count >= MAX_IDLE:
            upstream.close()
            return
        held.append(upstream)
        self._count += 1

    def sweep(self, now: float) -> None:
        """Close what was idle for too long, and forget what its servers closed."""
        for key, held in list(self._idle.items()):
            kept = deque(one for one in held if one.usable and now - one.idle_since < IDLE_S)
            for one in held:
                if one not in kept:
                    one.close()
            self._count -= len(held) - len(kept)
            if kept:
                self._idle[key] = kept
            else:
                del self._idle[key]

    async def dial(self, key: Key, client: connection.Client) -> Upstream:
        """Open a connection that the hooks have approved. Raises ``OSError``."""
        scheme, host, port, name = key
        server = connection.Server(address=(host, port), tls=scheme == "https", sni=name or None)
        server.timestamp_start = time.time()
        session_key = (host, port, name)
        ours = self._trust.begin(session_key) if scheme == "https" else None

        def answered() -> None:  # by then TLS has given us its tickets
            if ours is not None:
                self._trust.keep(session_key, ours)

        made = Upstream(key, server, ours, lambda: self._give_back(made), answered)
        loop = asyncio.get_running_loop()
        if ours is not None:
            made.ready = loop.create_future()
        try:
            # The guarded dialler: it bounds and checks each address itself.
            await loop.create_connection(lambda: made, host, port)
            server.timestamp_tcp_setup = time.time()
            if made.ready is not None:
                async with asyncio.timeout(self._connect_timeout_s()):
                    await made.ready
                server.timestamp_tls_setup = time.time()
        except BaseException as exc:
            made.abort()
            # Looked at, or the loop complains. What was cancelled, by the time-out, has none.
            if made.ready is not None and made.ready.done() and not made.ready.cancelled():
                made.ready.exception()
            if isinstance(exc, TimeoutError):
                raise OSError("no TLS handshake in time") from None
            raise
        self._tell("server_connected", client, server)
        return made

    def _tell(self, name: str, client: connection.Client, server: connection.Server) -> None:
        data: Any = server_hooks.ServerConnectionHookData(server=server, client=client)
        call(self._hooks.of(name), data)
