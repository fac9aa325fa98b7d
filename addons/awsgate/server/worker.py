"""One worker: mitmproxy's core, the addons that a gateway needs, and the gate.

    python -O -m awsgate.server.worker '{"policy": ...}'

Started by the parent, with its listening sockets and one end of a socket pair to the
broker as open files. It ends at SIGTERM, after what is under way, or with the parent.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from mitmproxy import ctx, options
from mitmproxy.addons import block, core, errorcheck
from mitmproxy.master import Master

from awsgate.addon import host, tripwire
from awsgate.addon.dispatch import Hooks
from awsgate.addon.entry import AwsGate
from awsgate.addon.hooks import Hooks as GateHooks
from awsgate.policy.settings import Limits
from awsgate.server.bounds import Bounds
from awsgate.server.broker import BrokerAssumer, WorkerCredentials
from awsgate.server.door import Door, handed_context
from awsgate.server.drain import Draining
from awsgate.server.front import Front, MitmproxyFront, OwnFront
from awsgate.server.mode import AwsgateMode, Listening
from awsgate.server.orders import OWN, Orders
from awsgate.undumped import forbid_dumps
from awsgate.wiring import Gateway, Settings, assemble

log = logging.getLogger("awsgate")


class WorkerGate(AwsGate):
    """The addon, in a worker: role credentials come from the parent."""

    def __init__(self, orders: Orders, broker: BrokerAssumer, front: Front) -> None:
        super().__init__()
        self._broker, self._front = broker, front
        self._control = orders.control
        self._fallback = Path(orders.fallback) if orders.fallback else None
        self.speaks = orders.number == 0
        self.layers_of_mitmproxy = orders.core != OWN
        self._secured = orders.tls >= 0

    def assembled(self, settings: Settings) -> Gateway:
        """Build the gateway."""
        settings = replace(settings, fallback=self._fallback)
        gateway = assemble(
            settings, assumer=self._broker, new_cache=WorkerCredentials, is_worker=True
        )
        gateway.control_address = self._control
        return gateway

    def _serve_control(self, gateway: Gateway) -> None:
        """The parent serves it."""

    def no_tls(self, why: str) -> None:
        """Count a connection that did not come to TLS."""
        if self.hooks is not None:
            self.hooks.gateway.metrics.tls_failed(why)

    def _watch(self, hooks: GateHooks) -> None:
        super()._watch(hooks)
        hooks.secured = self._secured
        hooks.tunnelling.tickets = hooks.tunnelling.clients = self._broker
        hooks.cut = self._front.cut

    async def _listen(self, hooks: GateHooks) -> None:
        hooks.answers.telling = None  # the parent, whose credentials they are
        await self._front.start(hooks, Hooks(ctx.master.addons.chain))
        host.settle()
        self._broker.ready()


class LeanMaster(Master):
    """A master with a short chain: the tripwire is its last."""

    def __init__(self, opts: options.Options, gate: WorkerGate, front: Front) -> None:
        super().__init__(opts, with_termlog=False)
        self._legacy_log_events.uninstall()
        self.gate, self.front, self.draining = gate, front, Draining()
        self.bounds = Bounds(front.connections, self.limits)
        self.addons.add(
            core.Core(),
            block.Block(),
            *front.before,
            gate,
            self.draining,
            self.bounds,
            *front.after,
            errorcheck.ErrorCheck(),
        )
        chain = self.addons.chain
        chain.sort(key=lambda addon: getattr(addon, "name", "") == tripwire.NAME)  # stable
        Listening.hooks = Hooks(chain)

    def limits(self) -> Limits:
        """Give the limits in force."""
        if self.gate.hooks is None:
            raise RuntimeError("the gate is not set up")
        return self.gate.hooks.gateway.policy.gateway.limits

    async def leave(self, deadline_s: float) -> None:
        """Take no more connections, let end what is under way, and stop."""
        await self.front.stop()
        held = self.front.connections.values()
        left = await self.draining.drain(held, deadline_s=deadline_s)
        if left:
            log.warning("stopped with %d connections open", left)
        self.shutdown()  # type: ignore[no-untyped-call]


def main() -> None:
    """Serve until the parent says otherwise."""
    forbid_dumps()  # exec has undone what the parent did
    orders = Orders.parse(sys.argv[1])
    logging.basicConfig(level=logging.WARNING, format="awsgate: %(levelname)s: %(message)s")
    asyncio.run(_serve(orders))


async def _serve(orders: Orders) -> None:
    loop = asyncio.get_running_loop()
    broker = BrokerAssumer(socket.socket(fileno=orders.broker))
    sockets = [socket.socket(fileno=fd) for fd in orders.sockets]
    context = handed_context(orders.tls) if orders.tls >= 0 else None

    def door(protocol: Callable[[], asyncio.BaseProtocol]) -> Door:
        if context is None:
            raise RuntimeError("there is no certificate")
        return Door(
            context,
            protocol,
            limits=master.limits,
            held=lambda: len(front.connections),
            make_room=master.bounds.make_room,
            on_failure=gate.no_tls,
        )

    make = door if context is not None else None
    front: Front = OwnFront(sockets, make) if orders.core == OWN else MitmproxyFront(sockets, make)
    opts = options.Options()
    gate = WorkerGate(orders, broker, front)
    master = LeanMaster(opts, gate, front)
    opts.update(
        mode=[AwsgateMode.type_name],
        awsgate_policy=orders.policy,
        awsgate_state=orders.state,
        awsgate_certs=orders.certs,
        awsgate_upstream=orders.upstream,
        awsgate_metrics="",
    )
    leaving: list[asyncio.Task[None]] = []

    def leave() -> None:
        if not leaving:
            leaving.append(asyncio.ensure_future(master.leave(orders.drain_s)))

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, leave)
    broker.on_parent_gone(lambda: loop.call_soon_threadsafe(leave))
    watching = asyncio.ensure_future(master.bounds.watch())
    try:
        await master.run()
    finally:
        watching.cancel()


if __name__ == "__main__":
    main()
