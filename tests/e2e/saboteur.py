"""awsgate with a saboteur in the same process: ``mitmdump -s`` of the fail-closed tests.

Everything that mitmproxy lets another addon, or a fault in ours, do to a request, on
demand. The file named by SABOTEUR_CONTROL is read at every turn:

    {"does": ["raise in request", "header in requestheaders", ...],
     "off": ["connect", "hooks", "head"]}

``does`` is the sabotage. ``off`` takes nets of the tripwire away, which is what makes
a test that expects nothing to arrive able to fail. And whatever is dialled is the
recorder: in this world a request that gets out always arrives.
"""

# mitmproxy passes by position; not all of it is of use here.
# ruff: noqa: ARG001, ARG002

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mitmproxy import exceptions, http
from mitmproxy.proxy import layer, layers, server_hooks

from awsgate.addon.answers import Answers
from awsgate.addon.entry import load_addons
from awsgate.addon.hooks import Hooks
from awsgate.addon.tripwire import Tripwire
from awsgate.resolver import GuardedDialer

CONTROL = Path(os.environ["SABOTEUR_CONTROL"])
WORLD = int(os.environ["SABOTEUR_WORLD"])


def _control() -> dict[str, list[str]]:
    found: dict[str, list[str]] = json.loads(CONTROL.read_text("utf-8"))
    return found


def does(what: str) -> bool:
    return what in _control()["does"]


def is_off(net: str) -> bool:
    return net in _control()["off"]


# --- the gate's own hooks, failing --------------------------------------------------


def _failing(name: str) -> Callable[..., Any]:
    real = getattr(Hooks, name)

    def hook(self: Hooks, flow: http.HTTPFlow) -> Any:
        if does(f"raise in {name}"):
            raise RuntimeError("sabotage")
        if does(f"raise in {name} if unsigned") and "authorization" not in flow.request.headers:
            raise RuntimeError("sabotage")
        result = real(self, flow)
        if does(f"raise after {name}"):
            raise RuntimeError("sabotage")
        return result

    return hook


for _name in ("http_connect", "requestheaders", "request", "responseheaders", "response"):
    setattr(Hooks, _name, _failing(_name))


# --- the nets, taken away --------------------------------------------------------------


def _net(net: str, name: str) -> None:
    real = getattr(Tripwire, name)

    def hook(self: Tripwire, data: Any) -> None:
        if not is_off(net):
            real(self, data)

    setattr(Tripwire, name, hook)


_net("connect", "server_connect")
for _name in ("http_connect", "requestheaders", "request", "tcp_start", "tcp_message"):
    _net("hooks", _name)
for _name in ("responseheaders", "response"):
    _net("answers", _name)

_may_send = Answers.may_send
Answers.may_send = lambda self, request: is_off("head") or _may_send(self, request)  # type: ignore[method-assign]


# --- the world -----------------------------------------------------------------------------


async def _dial(
    self: GuardedDialer, stock: Any, resolve: Any, factory: Any, host: str, port: int, **kwargs: Any
) -> Any:
    return await stock(factory, "127.0.0.1", WORLD, **kwargs)


GuardedDialer.dial = _dial  # type: ignore[method-assign,assignment]


# --- other addons in the chain --------------------------------------------------------------


class Halts:
    """Stands before the gate, and ends the chain there."""

    def http_connect(self, flow: http.HTTPFlow) -> None:
        self._halt("http_connect")

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        self._halt("requestheaders")

    def request(self, flow: http.HTTPFlow) -> None:
        self._halt("request")

    def server_connect(self, data: server_hooks.ServerConnectionHookData) -> None:
        self._halt("server_connect")

    def _halt(self, hook: str) -> None:
        if does(f"halt in {hook}"):
            raise exceptions.AddonHalt


def _header(flow: http.HTTPFlow) -> None:
    flow.request.headers["x-amz-added"] = "later"


def _path(flow: http.HTTPFlow) -> None:
    flow.request.path = "/another"


def _method(flow: http.HTTPFlow) -> None:
    flow.request.method = "DELETE"


def _host(flow: http.HTTPFlow) -> None:
    flow.request.data.host = "another.example.com"


def _authority(flow: http.HTTPFlow) -> None:
    flow.request.data.authority = b"another.example.com"


def _plain(flow: http.HTTPFlow) -> None:
    flow.request.data.scheme = b"http"


def _body(flow: http.HTTPFlow) -> None:
    if flow.request.data.content:
        flow.request.data.content = flow.request.data.content[::-1]


def _answer(flow: http.HTTPFlow) -> None:
    flow.response = None


def _stream(flow: http.HTTPFlow) -> None:
    flow.request.stream = True


CHANGES: dict[str, Callable[[http.HTTPFlow], None]] = {
    "header": _header,
    "path": _path,
    "method": _method,
    "host": _host,
    "authority": _authority,
    "scheme": _plain,
    "body": _body,
    "clear answer": _answer,
    "stream": _stream,
}


class Rewrites:
    """Stands after the gate, and changes what it left."""

    def __init__(self) -> None:
        self._latest: http.HTTPFlow | None = None

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        self._latest = flow
        self._change(flow, "requestheaders")

    def request(self, flow: http.HTTPFlow) -> None:
        self._change(flow, "request")

    def server_connected(self, data: server_hooks.ServerConnectionHookData) -> None:
        if self._latest is not None:
            self._change(self._latest, "server_connected")

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        if flow.response is not None and does("stream the answer"):
            flow.response.stream = True

    def next_layer(self, nextlayer: layer.NextLayer) -> None:
        inside_connect = nextlayer.context.server.address is not None
        if inside_connect and does("relay raw"):
            nextlayer.layer = layers.TCPLayer(nextlayer.context)
        if inside_connect and does("relay raw without hooks"):
            nextlayer.layer = layers.TCPLayer(nextlayer.context, ignore=True)

    def _change(self, flow: http.HTTPFlow, hook: str) -> None:
        for name, change in CHANGES.items():
            if does(f"{name} in {hook}"):
                change(flow)


addons = [Halts(), *load_addons(), Rewrites()]
