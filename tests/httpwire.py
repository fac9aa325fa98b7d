"""mitmproxy's HTTP layer driven by hand: bytes in, bytes out, no socket.

What ``mitmproxy.proxy.server`` does for a layer, in one class: hooks are answered at
once, connections open or fail as told, and what is sent is kept by connection.
"""

from __future__ import annotations

from collections.abc import Callable

from mitmproxy import connection, http, options
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.proxy import commands, context, events
from mitmproxy.proxy.layers.http import HttpLayer, HTTPMode
from mitmproxy.test import taddons, tflow

SERVER = ("sts.eu-west-1.amazonaws.com", 80)

Hook = Callable[[http.HTTPFlow], None]


class HttpWire:
    """One client connection through mitmproxy, to one server."""

    def __init__(self, *, connect_error: str | None = None, **hooks: Hook) -> None:
        self.hooks = hooks
        self.connect_error = connect_error
        self.fired: list[str] = []
        self.flows: list[http.HTTPFlow] = []
        self.to_client = b""
        self.to_server = b""
        self.closed: set[str] = set()
        self.dialled = 0
        self.client = tflow.tclient_conn()
        self.client.state = connection.ConnectionState.OPEN
        self.client.alpn = None
        with taddons.context(Proxyserver()) as addons:
            known: options.Options = addons.options
        made = context.Context(self.client, known)
        made.server.address = SERVER
        self.layer = HttpLayer(made, HTTPMode.transparent)
        self.server: connection.Connection | None = None
        self._run(events.Start())

    def send(self, data: bytes) -> None:
        """Receive ``data`` from the client."""
        self._run(events.DataReceived(self.client, data))

    def answer(self, data: bytes) -> None:
        """Receive ``data`` from the server."""
        assert self.server is not None, "no connection to a server was opened"
        self._run(events.DataReceived(self.server, data))

    @property
    def client_is_closed(self) -> bool:
        """True if the gateway closed the client connection."""
        return "client" in self.closed

    def _run(self, event: events.Event) -> None:
        queue = [event]
        while queue:
            for command in self.layer.handle_event(queue.pop(0)):
                reply = self._reply(command)
                if reply is not None:
                    queue.append(reply)

    def _reply(self, command: commands.Command) -> events.Event | None:
        if isinstance(command, commands.StartHook):
            return self._hook(command)
        if isinstance(command, commands.OpenConnection):
            self.dialled += 1
            if self.connect_error is None:
                command.connection.state = connection.ConnectionState.OPEN
                self.server = command.connection
            return events.OpenConnectionCompleted(command, self.connect_error)
        if isinstance(command, commands.SendData):
            if command.connection is self.client:
                self.to_client += command.data
            else:
                self.to_server += command.data
        elif isinstance(command, commands.CloseConnection):
            command.connection.state = connection.ConnectionState.CLOSED
            self.closed.add("client" if command.connection is self.client else "server")
        return None

    def _hook(self, command: commands.StartHook) -> events.Event:
        self.fired.append(command.name)
        (flow, *_) = command.args()
        if isinstance(flow, http.HTTPFlow):
            if flow not in self.flows:
                self.flows.append(flow)
            if command.name in self.hooks:
                self.hooks[command.name](flow)
        return events.HookCompleted(command)
