"""A client connection with less around it: mitmproxy's own handler, hooks called in place.

mitmproxy makes a task of every hook, walks the chain of addons in it, and walks it again
to say that the flow has changed. Here only a hook that has to wait (for STS) becomes a
task, and what an event gives rise to is written at once. Order, arguments and meaning are
mitmproxy's.

``awsgate run`` has such connections (``server.connection``). Under ``mitmdump -s`` they are
put in the place of mitmproxy's as a patch: there the chain may change, an addon may halt
it or stop a flow, and may want to hear of ``update``.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from mitmproxy import flow, http
from mitmproxy.addonmanager import AddonManager, traverse
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.mode_servers import ProxyConnectionHandler
from mitmproxy.proxy.server import ConnectionIO
from mitmproxy.utils import asyncio_utils

from awsgate.addon.dispatch import Hook, Hooks, call, call_on, place_of
from awsgate.addon.speaker import as_patch

log = logging.getLogger("awsgate.server")


class InPlace(ProxyConnectionHandler):
    """One client connection, and the server connections that it leads to."""

    halts = False
    """An addon may keep a hook from those after it. The tripwire is after it."""

    def __init__(self, hooks: Hooks, *args: Any) -> None:
        super().__init__(*args)  # type: ignore[no-untyped-call]
        self.hooks = hooks
        self.ending = False
        """It has been closed, if not all of it has gone yet."""
        self._unsent: dict[Any, list[bytes]] = {}

    def end(self) -> None:
        """Close the client connection, after what is written, and all that it leads to."""
        held = self.transports.get(self.client)
        if held is not None and held.handler is not None:
            self.ending = True
            held.handler.cancel("awsgate: closed")

    async def handle_hook(self, hook: commands.StartHook) -> None:
        """Run the hooks of an event that is not part of a layer's work."""
        hooks, (data,) = self.hooks.of(hook.name), hook.args()
        waiting = call(hooks, data, halts=self.halts)
        if waiting is not None:
            with self.timeout_watchdog.disarm():
                await call_on(hooks[waiting[1] :], data, waiting[0], halts=self.halts)

    async def server_event(self, event: events.Event) -> None:
        """Give an event to the layers, and do what they ask for."""
        async with self._server_event_lock:
            # No await from here on.
            self.timeout_watchdog.register_activity()
            self._heard(event)
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

    def _heard(self, event: events.Event) -> None:
        """Take note of an event, before anything comes of it."""

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
        """True if one direction of a connection can end before the other."""
        return of is not None

    def _flush(self) -> None:
        """Write what an event gave rise to: a system call a connection, not one a piece."""
        for connection, pieces in self._unsent.items():
            held = self.transports.get(connection)
            if held is not None and held.writer is not None and not held.writer.is_closing():
                held.writer.write(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        self._unsent.clear()

    def _start_hook(self, command: commands.StartHook, due: deque[events.Event]) -> None:
        hooks, (data,) = self.hooks.of(command.name), command.args()
        waiting = call(hooks, data, halts=self.halts)
        if waiting is not None:
            rest = self._finish_hook(command, hooks[waiting[1] :], data, waiting[0])
            self._task(rest, command.name, keep=True)
        elif command.blocking:
            due.append(events.HookCompleted(command))

    async def _finish_hook(
        self,
        command: commands.StartHook,
        hooks: tuple[Hook, ...],
        data: object,
        waiting: Awaitable[None],
    ) -> None:
        with self.timeout_watchdog.disarm():
            await call_on(hooks, data, waiting, halts=self.halts)
        self._called(command.name, data)
        if command.blocking:
            await self.server_event(events.HookCompleted(command))

    def _called(self, name: str, data: Any) -> None:
        """Take note of hooks that had to wait, and are done."""

    def _task(self, work: Any, name: str, *, keep: bool = False) -> Any:
        return asyncio_utils.create_task(
            work, name=name, keep_ref=keep, client=self.client.peername
        )

    def log(self, message: str, level: int = logging.INFO, exc_info: Any = None) -> None:
        """Log what an operator is to see: a record of every event costs more than the event."""
        if level >= logging.WARNING:
            super().log(message, level, exc_info)


class Chain:
    """The hooks of mitmproxy's chain as it is now: a script that is loaded again is another."""

    def __init__(self, addons: AddonManager) -> None:
        self._addons = addons
        self._seen: list[object] = []
        self._groups: list[tuple[Any, list[object]]] = []
        """What has addons of its own, and which: the script loader, a script, its module."""
        self._hooks = Hooks(())

    def hooks(self) -> Hooks:
        """Give the hooks of all addons that are in the chain."""
        chain = self._addons.chain
        # By identity, nearly always: to go through all of them would cost as much as a hook.
        if chain != self._seen or any(group.addons != had for group, had in self._groups):
            self._seen = [*chain]
            self._groups = [
                (addon, list(addon.addons)) for addon in traverse(chain) if hasattr(addon, "addons")
            ]
            self._hooks = Hooks(self._seen)
        return self._hooks


class ScriptConnection(InPlace):
    """One under ``mitmdump -s``."""

    halts = True
    awsgate_patch = True
    _chains: ClassVar[dict[AddonManager, Chain]] = {}

    def __init__(self, *args: Any) -> None:
        addons: AddonManager = args[0].addons
        self._chain = self._chains.setdefault(addons, Chain(addons))
        super().__init__(self._chain.hooks(), *args)

    async def handle_hook(self, hook: commands.StartHook) -> None:
        """See ``InPlace``."""
        self.hooks = self._chain.hooks()
        await super().handle_hook(hook)

    def _start_hook(self, command: commands.StartHook, due: deque[events.Event]) -> None:
        self.hooks = self._chain.hooks()
        (data,) = command.args()
        if not isinstance(data, flow.Flow):
            super()._start_hook(command, due)
            return
        hooks = (*self.hooks.of(command.name), *_told_of(data, self.hooks))
        waiting = call(hooks, data, halts=True)
        if waiting is not None:
            rest = self._resumed(command, data, hooks[waiting[1] :], waiting[0])
            self._task(rest, command.name, keep=True)
        elif data.intercepted:
            self._task(self._resumed(command, data), command.name, keep=True)
        elif command.blocking:
            due.append(events.HookCompleted(command))

    async def _resumed(
        self,
        command: commands.StartHook,
        data: flow.Flow,
        hooks: tuple[Hook, ...] = (),
        waiting: Awaitable[None] | None = None,
    ) -> None:
        """Go on once the hooks are done, and whoever stopped the flow lets it go."""
        with self.timeout_watchdog.disarm():
            if waiting is not None:
                await call_on(hooks, data, waiting, halts=True)
            await data.wait_for_resume()
        if command.blocking:
            await self.server_event(events.HookCompleted(command))


def call_in_place(_: type[ProxyConnectionHandler]) -> type[ProxyConnectionHandler]:
    """Give what connections are under ``mitmdump -s``, in place of the stock class."""
    return ScriptConnection


def believe_types(_: Callable[[http.MessageData], None]) -> Callable[[http.MessageData], None]:
    """Look at no types: a debugging aid that costs a tenth of a request; python -O lacks it."""

    @as_patch
    def believe(self: http.MessageData) -> None:
        pass

    return believe


def _told_of(data: flow.Flow, hooks: Hooks) -> tuple[Hook, ...]:
    """Give ``update`` hooks as hooks of the flow: they take a list. The gateway has none."""
    return tuple(lambda _, told=told: told([data]) for told in hooks.of("update"))
