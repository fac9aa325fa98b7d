"""A client connection of the lean host: mitmproxy's own handler, with less around it.

mitmproxy makes a task of every hook and walks the chain of addons twice in it. Here the
hooks of a kind are looked up once, and called in place; only a hook that has to wait (for
STS) becomes a task. Order, arguments and meaning are mitmproxy's.

A hook that raises is logged, and the next is called: also after ``AddonHalt``, which in
mitmproxy skips the rest of the chain. The tripwire is the rest of the chain.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic
from typing import Any

from mitmproxy.addonmanager import traverse
from mitmproxy.connection import ConnectionState
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.mode_servers import ProxyConnectionHandler
from mitmproxy.proxy.server import ConnectionIO
from mitmproxy.utils import asyncio_utils

from awsgate.addon.answers import place_of
from awsgate.addon.tunnels import TUNNELLED

log = logging.getLogger("awsgate.server")

Hook = Callable[..., Any]


class Hooks:
    """The hooks of a chain of addons, by name. The chain must not change any more."""

    def __init__(self, chain: Sequence[object]) -> None:
        self._chain = chain
        self._found: dict[str, tuple[Hook, ...]] = {}

    def of(self, name: str) -> tuple[Hook, ...]:
        """Give the hooks of a name, in the order of the chain."""
        found = self._found.get(name)
        if found is None:
            hooks = (getattr(addon, name, None) for addon in traverse(self._chain))
            found = self._found[name] = tuple(hook for hook in hooks if callable(hook))
        return found


def call(hooks: tuple[Hook, ...], data: object) -> tuple[Awaitable[None], int] | None:
    """Call hooks until one has to wait: then give what it waits for, and how many are done."""
    for number, hook in enumerate(hooks, 1):
        try:
            pending = hook(data)
        except Exception as exc:  # noqa: BLE001 - what it was is said, without what it held
            log.error("a hook failed: %s", place_of(exc))  # noqa: TRY400
            continue
        if pending is not None:
            return pending, number
    return None


async def call_on(hooks: tuple[Hook, ...], data: object, waiting: Awaitable[None]) -> None:
    """Wait, then call the rest of the hooks."""
    while True:
        try:
            await waiting
        except Exception as exc:  # noqa: BLE001 - as above
            log.error("a hook failed: %s", place_of(exc))  # noqa: TRY400
        rest = call(hooks, data)
        if rest is None:
            return
        waiting, done = rest
        hooks = hooks[done:]


class Connection(ProxyConnectionHandler):
    """One client connection, and the server connections that it leads to."""

    def __init__(self, hooks: Hooks, *args: Any) -> None:
        super().__init__(*args)  # type: ignore[no-untyped-call]
        self.hooks = hooks
        self.asked = False
        """A request is under way."""
        self.relayed = False
        """It is a tunnel or a WebSocket by now: nothing of it is read here."""
        self.heard = self.since = monotonic()
        """When the client last sent something; since when it owes a head, or 0."""
        self._unsent: dict[Any, list[bytes]] = {}

    def end(self) -> None:
        """Close the client connection, after what is written, and all that it leads to."""
        held = self.transports.get(self.client)
        if held is not None and held.handler is not None:
            held.handler.cancel("awsgate: closed")

    async def handle_hook(self, hook: commands.StartHook) -> None:
        """Run the hooks of an event that is not part of a layer's work."""
        hooks, (data,) = self.hooks.of(hook.name), hook.args()
        waiting = call(hooks, data)
        if waiting is not None:
            with self.timeout_watchdog.disarm():
                await call_on(hooks[waiting[1] :], data, waiting[0])

    async def server_event(self, event: events.Event) -> None:
        """Give an event to the layers, and do what they ask for."""
        async with self._server_event_lock:
            # No await from here on.
            self.timeout_watchdog.register_activity()
            if isinstance(event, events.DataReceived) and event.connection is self.client:
                self.heard = monotonic()
                self.since = self.since or self.heard
            elif isinstance(event, events.ConnectionClosed) and not self._halves(event.connection):
                event.connection.state = ConnectionState.CLOSED
            due: deque[events.Event] = deque((event,))
            while due:
                try:
                    for command in self.layer.handle_event(due.popleft()):
                        self._do(command, due)
                except Exception as exc:  # noqa: BLE001 - one connection's fault is not all others'
                    # mitmproxy would leave it open, and the client waiting.
                    log.error("a connection failed: %s", place_of(exc))  # noqa: TRY400
                    self.end()
            if self._unsent:
                self._flush()

    def _do(self, command: commands.Command, due: deque[events.Event]) -> None:
        transports = self.transports
        if isinstance(command, commands.StartHook):
            self._start_hook(command, due)
        elif isinstance(command, commands.OpenConnection):
            task = self._task(self.open_connection(command), f"server {command.connection.address}")
            transports[command.connection] = ConnectionIO(handler=task)
        elif isinstance(command, commands.RequestWakeup):
            self.wakeup_timer.add(self._task(self.wakeup(command), "wakeup timer"))
        elif isinstance(command, commands.Log):
            self.log(command.message, command.level)
        elif not isinstance(command, commands.ConnectionCommand):
            raise TypeError(f"unexpected command: {command}")
        elif command.connection not in transports:
            pass  # it has been closed already
        elif isinstance(command, commands.SendData):
            self._unsent.setdefault(command.connection, []).append(command.data)
        elif isinstance(command, commands.CloseTcpConnection):
            self._flush()
            half = command.half_close and self._halves(command.connection)
            self.close_connection(command.connection, half)
        elif isinstance(command, commands.CloseConnection):
            self._flush()
            self.close_connection(command.connection, half_close=False)
        else:
            raise TypeError(f"unexpected command: {command}")

    def _halves(self, of: Any) -> bool:
        """True if one direction can end before the other: not in TLS below mitmproxy's layers."""
        held = self.transports.get(of)
        writer = held.writer if held is not None else None
        return not isinstance(writer, asyncio.StreamWriter) or writer.can_write_eof()

    def _flush(self) -> None:
        """Write what an event gave rise to: a system call a connection, not one a piece."""
        for connection, pieces in self._unsent.items():
            held = self.transports.get(connection)
            if held is not None and held.writer is not None and not held.writer.is_closing():
                held.writer.write(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        self._unsent.clear()

    def _note(self, name: str, data: Any) -> None:
        """Keep what the time-outs go by."""
        if name == "requestheaders":
            self.asked, self.since = True, 0.0
        elif name in ("response", "error"):
            # Of the body, too, something was heard: no head is owed for that.
            self.asked, self.heard, self.since = False, monotonic(), 0.0
            if name == "response" and data.response is not None:
                self.relayed = data.response.status_code == 101
        elif name in ("http_connect", "tls_established_client"):
            self.since = 0.0

    def _start_hook(self, command: commands.StartHook, due: deque[events.Event]) -> None:
        hooks, (data,) = self.hooks.of(command.name), command.args()
        self._note(command.name, data)
        waiting = call(hooks, data)
        if waiting is not None:
            rest = self._finish_hook(command, hooks[waiting[1] :], data, waiting[0])
            self._task(rest, command.name, keep=True)
        elif command.blocking:
            due.append(events.HookCompleted(command))
        self._note_tunnel(command.name, data)

    def _note_tunnel(self, name: str, data: Any) -> None:
        if name == "http_connect" and data.metadata.get(TUNNELLED):
            self.relayed = True  # it may be silent

    async def _finish_hook(
        self,
        command: commands.StartHook,
        hooks: tuple[Hook, ...],
        data: object,
        waiting: Awaitable[None],
    ) -> None:
        with self.timeout_watchdog.disarm():
            await call_on(hooks, data, waiting)
        self._note_tunnel(command.name, data)
        if command.blocking:
            await self.server_event(events.HookCompleted(command))

    def _task(self, work: Any, name: str, *, keep: bool = False) -> asyncio.Task[None]:
        return asyncio_utils.create_task(
            work, name=name, keep_ref=keep, client=self.client.peername
        )

    def log(self, message: str, level: int = logging.INFO, exc_info: Any = None) -> None:
        """Log what an operator is to see: a record of every event costs more than the event."""
        if level >= logging.WARNING:
            super().log(message, level, exc_info)
