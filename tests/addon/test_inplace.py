"""Connections of ``mitmdump -s`` whose hooks are called in place: as mitmproxy calls them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from mitmproxy import exceptions, http
from mitmproxy.addons import next_layer, proxyserver
from mitmproxy.proxy import mode_servers, mode_specs
from mitmproxy.test import taddons

from awsgate.addon.dispatch import Hooks
from awsgate.addon.inplace import Chain, InPlace, ScriptConnection

FLOW_HOOKS = ("requestheaders", "request", "responseheaders", "response")


class Says:
    """Writes down which hooks are called; ``does`` is what one of them does."""

    def __init__(self, name: str, said: list[str], **does: Any) -> None:
        self.name, self.said, self.does = name, said, does

    def __getattr__(self, hook: str) -> Any:
        if hook not in FLOW_HOOKS:
            raise AttributeError(hook)

        def call(flow: http.HTTPFlow) -> Any:
            self.said.append(f"{self.name} {hook}")
            what = self.does.get(hook)
            return what(flow) if what is not None else None

        return call


class Updated:
    """Wants to hear of changes."""

    def __init__(self, said: list[str]) -> None:
        self.said = said

    def update(self, flows: list[http.HTTPFlow]) -> None:
        self.said.append(f"update {len(flows)}")


@asynccontextmanager
async def proxy(monkeypatch: pytest.MonkeyPatch, *addons: Any) -> AsyncIterator[Any]:
    """Run mitmproxy's own server with such connections; give a way to fetch through it."""
    monkeypatch.setattr(mode_servers, "ProxyConnectionHandler", ScriptConnection)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await writer.drain()
        writer.close()

    upstream = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = upstream.sockets[0].getsockname()[1]
    server = proxyserver.Proxyserver()
    with taddons.context(server, next_layer.NextLayer(), *addons) as context:
        context.configure(
            server, listen_host="127.0.0.1", listen_port=0, connection_strategy="lazy"
        )
        assert await server.setup_servers()
        server.running()

        async def fetch() -> bytes:
            reader, writer = await asyncio.open_connection(*server.listen_addrs()[0][:2])
            writer.write(
                b"GET http://127.0.0.1:%d/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % port
            )
            data = await asyncio.wait_for(reader.read(), 5)
            writer.close()
            return data

        try:
            yield SimpleNamespace(fetch=fetch, master=context.master)
        finally:
            await server.servers.update([])
            upstream.close()


async def test_hooks_are_called_in_order_and_who_wants_it_hears_of_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []
    addons = (Says("a", said), Says("b", said), Updated(said))
    async with proxy(monkeypatch, *addons) as running:
        assert (await running.fetch()).endswith(b"\r\n\r\nok")

    assert said == [line for hook in FLOW_HOOKS for line in (f"a {hook}", f"b {hook}", "update 1")]


async def test_a_hook_that_halts_the_chain_halts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def halt(_: http.HTTPFlow) -> None:
        raise exceptions.AddonHalt

    said: list[str] = []
    addons = (Says("a", said, request=halt), Says("b", said))
    async with proxy(monkeypatch, *addons) as running:
        assert (await running.fetch()).endswith(b"\r\n\r\nok")

    assert "b requestheaders" in said
    assert "b request" not in said
    assert "b response" in said


@pytest.mark.parametrize("kind", ["waits", "stops the flow"])
async def test_a_hook_that_waits_is_waited_for(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    gone_on = asyncio.Event()

    def wait(flow: http.HTTPFlow) -> Any:
        if kind == "waits":
            return gone_on.wait()
        flow.intercept()
        flows.append(flow)
        return None

    said: list[str] = []
    flows: list[http.HTTPFlow] = []
    async with proxy(monkeypatch, Says("a", said, request=wait), Says("b", said)) as running:
        fetching = asyncio.ensure_future(running.fetch())
        await asyncio.sleep(0.2)
        assert not fetching.done()
        assert "a request" in said
        assert ("b request" in said) == (kind != "waits")
        gone_on.set()
        for flow in flows:
            flow.resume()
        assert (await fetching).endswith(b"\r\n\r\nok")
    assert said[-1] == "b response"


async def test_an_addon_that_is_gone_is_called_no_more_and_a_new_one_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As when a script is loaded again, or cannot be."""
    said: list[str] = []
    script = SimpleNamespace(name="script", addons=[Says("old", said)])
    async with proxy(monkeypatch, script) as running:
        await running.fetch()
        script.addons = [Says("new", said)]
        await running.fetch()
        script.addons.clear()
        await running.fetch()

    assert said == [f"{name} {hook}" for name in ("old", "new") for hook in FLOW_HOOKS]


def test_a_chain_that_has_not_changed_is_not_read_again() -> None:
    inner = SimpleNamespace(addons=[object()])
    addons: Any = SimpleNamespace(chain=[object(), inner])
    chain = Chain(addons)
    found = chain.hooks()

    assert chain.hooks() is found
    inner.addons.append(object())
    assert chain.hooks() is not found
    found = chain.hooks()
    addons.chain = [*addons.chain]
    assert chain.hooks() is found
    addons.chain.append(object())
    assert chain.hooks() is not found


def test_what_is_closed_is_ending_until_it_is_gone() -> None:
    """So nobody else gives way for the place that it leaves."""
    with taddons.context(proxyserver.Proxyserver()) as context:
        mode = mode_specs.ProxyMode.parse("regular")
        writer = Mock(get_extra_info=lambda *_: ("127.0.0.1", 1))
        held = InPlace(Hooks([]), Mock(), Mock(), writer, context.options, mode)
    task = held.transports[held.client].handler = Mock()
    assert not held.ending

    held.end()

    assert held.ending
    task.cancel.assert_called_once()
