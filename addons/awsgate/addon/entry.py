"""What `mitmdump -s addons/awsgate.py` loads: options in, a running gate out.

mitmproxy loads the script again whenever its file changes, so everything here can
happen twice in one process. The tripwire is made once and stays in the master's
own chain: a script that cannot be loaded again takes its addon out of the chain,
and from then on the tripwire refuses everything.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Awaitable, Iterable
from contextlib import suppress
from difflib import get_close_matches
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mitmproxy import connection, ctx, exceptions, http, tls
from mitmproxy.addonmanager import Loader
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.proxy import layer, mode_specs, server_hooks

from awsgate.addon import host, patches, tripwire
from awsgate.addon.hooks import Hooks
from awsgate.addon.host import trust
from awsgate.addon.reloading import Reloader
from awsgate.addon.speaker import seat
from awsgate.addon.tunnels import cut_client
from awsgate.announcement import announcement, say, warned_of
from awsgate.errors import SetupError
from awsgate.paths import default_certs_folder, default_policy_path, default_state_folder
from awsgate.policywatch import Watch
from awsgate.undumped import forbid_dumps
from awsgate.wiring import Gateway, Settings, assemble

if TYPE_CHECKING:
    from awsgate.web.server import ControlServer

log = logging.getLogger("awsgate")

OPTIONS = {
    "awsgate_policy": ("", "Policy file or folder. Default: policy/ beside the script."),
    "awsgate_state": ("", "Folder of the session key and the audit log."),
    "awsgate_certs": ("", "Folder of the gateway's CA. Default: certs/ beside the script."),
    "awsgate_metrics": ("default", "host:port of /metrics; empty: off. Default: as in the policy."),
    "awsgate_upstream": ("", "Send AWS traffic to this URL, Host kept (emulators, VPC endpoints)."),
}


def load_addons() -> list[object]:
    """Give the addons of the entry script, in a process that leaves no core dump."""
    forbid_dumps()
    return [AwsGate()]


class AwsGate:
    """The addon: set-up here, everything else in ``Hooks``."""

    name = "awsgate"

    def __init__(self) -> None:
        self.hooks: Hooks | None = None
        self.control: ControlServer | None = None
        self.watch: Watch | None = None
        self.speaks = True
        """Of reloads. False: another process does."""
        self.layers_of_mitmproxy = True
        """They carry the requests. False: a core of our own does."""
        self._configuring = False
        self._reloaded = False

    def load(self, loader: Loader) -> None:
        """Lay the tripwire, register the options, make the host safe."""
        # First of all: from here on, a start that fails half-way forwards nothing.
        self._reloaded = ctx.master.addons.get(tripwire.NAME) is not None
        if not self._reloaded:
            ctx.master.addons.add(tripwire.Tripwire())
        for name, (default, text) in OPTIONS.items():
            loader.add_option(name, str, default, text)
        try:
            # mitmproxy does this after load, and goes on without us if it raises.
            ctx.options.process_deferred()
            _refuse_unknown(ctx.options.deferred)
            host.apply(ctx.options)
        except exceptions.OptionsError as exc:
            _give_up(SetupError(f"bad mitmproxy option: {exc}", hint="give each option once"))
        except SetupError as exc:
            _give_up(exc)

    def configure(self, updated: set[str]) -> None:
        """Build the gateway from the options; check that the host is still safe."""
        host.verify(ctx.options)
        if self._configuring or not updated & OPTIONS.keys():
            return
        self._configuring = True
        try:
            self._build()
        except SetupError as exc:
            _give_up(exc)
        finally:
            self._configuring = False

    def _build(self) -> None:
        options = ctx.options
        if self.layers_of_mitmproxy:
            _check_needed()
        if self.hooks is not None:  # its port and its files must be free for the next one
            self._close(self.hooks)
        gateway = self.assembled(
            Settings(
                policy=_path(options.awsgate_policy) or default_policy_path(),
                state=_path(options.awsgate_state) or default_state_folder(),
                certs=_path(options.awsgate_certs) or default_certs_folder(),
                metrics=None if options.awsgate_metrics == "default" else options.awsgate_metrics,
                upstream=options.awsgate_upstream,
            )
        )
        gateway.dialer.install(asyncio.get_running_loop())
        # Only now: TlsConfig makes an unconstrained CA of its own in an empty folder.
        options.update(confdir=str(gateway.ca.folder))
        hooks = Hooks(gateway, ctx.master.addons.get(tripwire.NAME))
        if seat.legacy is not None:
            hooks.inherit(seat.legacy)
            seat.legacy = None
        for name in patches.install(hooks.answers):
            log.warning("mitmproxy's %s is not the one awsgate knows: left as it is", name)
        self.hooks = hooks
        self._serve_control(gateway)
        self._watch(hooks)

    def _serve_control(self, gateway: Gateway) -> None:
        """Serve the control API, if the policy says where."""
        if not gateway.policy.gateway.control.listen:
            return
        from awsgate.web.start import gateway_parts, start_control  # heavy, and mostly off

        master = ctx.master
        self.control = start_control(
            gateway_parts(gateway, lambda: _port_of(master.addons.get("proxyserver")))
        )
        gateway.control_address = self.control.address

    def assembled(self, settings: Settings) -> Gateway:
        """Build the gateway. Raises ``SetupError``, also if this host cannot serve it."""
        gateway = assemble(settings)
        try:
            host.check_listening(ctx.options, gateway.policy.gateway)
        except SetupError:
            gateway.close()
            raise
        return gateway

    def _watch(self, hooks: Hooks) -> None:
        """Follow the files of the policy and the locks; SIGHUP reads them at once."""
        master, loop = ctx.master, asyncio.get_running_loop()
        hooks.cut = lambda client_id: cut_client(master.addons.get("proxyserver"), client_id)
        hooks.ahead.trust = partial(trust, ctx.options)
        hooks.ahead.prove()  # not only when a server is met: public roots never count there
        reloader = Reloader(hooks, speaks=self.speaks)
        self.watch = Watch(reloader.sources(), reloader.take, loop)
        self.watch.start()
        # Not everywhere is there such a signal, or a loop that takes it.
        with suppress(AttributeError, NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(signal.SIGHUP, self.watch.ask)

    def running(self) -> Awaitable[None] | None:
        """Listen where the policy says, drop addons that are not needed, say so."""
        if self.hooks is None:
            return None
        if self._reloaded:  # mitmproxy listens already; here it would refuse a coroutine
            _announce(self.hooks.gateway, ctx.master.addons.get("proxyserver"))
            return None
        return self._listen(self.hooks)

    async def _listen(self, hooks: Hooks) -> None:
        server = ctx.master.addons.get("proxyserver")
        mode = host.listen_mode(ctx.options, hooks.gateway.policy.gateway.listen)
        if isinstance(server, Proxyserver) and mode is not None:
            ctx.options.update(mode=[mode])
            if not await server.servers.update([mode_specs.ProxyMode.parse(mode)]):
                _give_up(SetupError(f"cannot listen on {mode.partition('@')[2]}"))
        host.slim(ctx.master)
        host.settle()
        _announce(hooks.gateway, server)
        # In a thread: an instance role is asked for over the network.
        say(*warned_of(await asyncio.to_thread(hooks.gateway.assumer.missing)))

    def done(self) -> None:
        """Close what this instance opened."""
        if self.hooks is not None:
            self._close(self.hooks)

    def _close(self, hooks: Hooks) -> None:
        if self.watch is not None:
            self.watch.close()
            self.watch = None
        if self.control is not None:
            self.control.close()
            self.control = None
        if ctx.master.should_exit.is_set():
            hooks.close()
        else:  # a reload: another instance follows
            seat.legacy = hooks.leave()
        hooks.gateway.close()

    # --- events, handed on ------------------------------------------------------

    def http_connect(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """See ``Hooks``."""
        return self._live().http_connect(flow)

    def http_connected(self, flow: http.HTTPFlow) -> None:
        """See ``Hooks``."""
        self._live().http_connected(flow)

    def server_connected(self, data: server_hooks.ServerConnectionHookData) -> None:
        """See ``Tunnelling``."""
        self._live().tunnelling.server_connected(data)

    def next_layer(self, nextlayer: layer.NextLayer) -> None:
        """See ``Hooks``."""
        self._live().next_layer(nextlayer)

    def tls_start_server(self, data: tls.TlsData) -> None:
        """See ``Hooks``."""
        self._live().tls_start_server(data)

    def http_connect_upstream(self, flow: http.HTTPFlow) -> None:
        """See ``Hooks``."""
        self._live().http_connect_upstream(flow)

    def requestheaders(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """See ``Hooks``."""
        return self._live().requestheaders(flow)

    def request(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """See ``Hooks``."""
        return self._live().request(flow)

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """See ``Hooks``."""
        self._live().responseheaders(flow)

    def response(self, flow: http.HTTPFlow) -> None:
        """See ``Hooks``."""
        self._live().response(flow)

    def error(self, flow: http.HTTPFlow) -> None:
        """See ``Hooks``."""
        self._live().error(flow)

    def client_connected(self, client: connection.Client) -> None:
        """See ``Hooks``."""
        self._live().client_connected(client)

    def client_disconnected(self, client: connection.Client) -> None:
        """See ``Hooks``."""
        self._live().client_disconnected(client)

    def _live(self) -> Hooks:
        if self.hooks is None:
            raise RuntimeError("awsgate is not configured")
        return self.hooks


def _path(value: str) -> Path | None:
    return Path(value).expanduser().resolve() if value else None


def _refuse_unknown(deferred: Iterable[str]) -> None:
    """Refuse a misspelt ``--set``: mitmproxy ignores names that it does not know."""
    for name in deferred:
        if name.startswith("awsgate"):
            near = get_close_matches(name, OPTIONS, n=1)
            hint = f"did you mean {near[0]}" if near else f"there are {', '.join(OPTIONS)}"
            raise SetupError(f"there is no option {name}", hint=hint)


def _announce(gateway: Gateway, server: Any) -> None:
    addresses = [f"{a[0]}:{a[1]}" for a in server.listen_addrs()] if server is not None else []
    lines = announcement(
        ", ".join(sorted(set(addresses))),
        gateway.policy,
        at=gateway.settings.policy,
        ca=gateway.ca,
        audit=gateway.audit_path,
        metrics=gateway.metrics_address,
        control=gateway.control_address,
        warnings=gateway.warnings,
    )
    say(*lines)


def _port_of(server: Any) -> int:
    """Give the port that mitmproxy listens on; 0: none yet."""
    found = [address[1] for address in server.listen_addrs()] if server is not None else []
    return next(iter(found), 0)


def _give_up(exc: SetupError) -> None:
    """End the process. ``SystemExit`` is the one thing that mitmproxy does not swallow."""
    sys.stderr.write(f"{exc.render()}\n")
    sys.stderr.flush()
    raise SystemExit(2)


def _check_needed() -> None:
    """Refuse a mitmproxy that would not do what awsgate promises. Raises ``SetupError``."""
    missing = sorted(patches.unknown(patches.NEEDED))
    if missing:
        raise SetupError(
            f"this mitmproxy ({version('mitmproxy')}) is not one that awsgate knows: "
            f"{', '.join(missing)} has changed",
            hint="install the mitmproxy that this awsgate was tested with, or a newer awsgate; or "
            "start it with awsgate run, whose own core does not need them",
        )
