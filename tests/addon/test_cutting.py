"""Connections that are cut, and routes that are forgotten with them."""

from __future__ import annotations

import pytest

from awsgate.addon.tunnels import Route, Routes, Way, cut_client


class Thing:
    """An object with these attributes."""

    def __init__(self, **attributes: object) -> None:
        self.__dict__.update(attributes)


@pytest.fixture
def connections() -> tuple[Thing, list[str]]:
    """Mitmproxy's server with one connection, and what was done to it."""
    done: list[str] = []
    client = Thing(id="a")
    task = Thing(cancel=lambda _: done.append("cancelled"))
    transport = Thing(abort=lambda: done.append("aborted"))
    held = Thing(handler=task, writer=Thing(transport=transport))
    other = Thing(client=Thing(id="b"), transports={})
    return Thing(connections={1: other, 2: Thing(client=client, transports={client: held})}), done


def test_a_connection_is_cut_by_its_id(connections: tuple[Thing, list[str]]) -> None:
    server, done = connections

    cut_client(server, "b")
    cut_client(server, "nobody")
    cut_client(None, "a")
    assert done == []
    cut_client(server, "a")
    assert done == ["cancelled", "aborted"]


def test_routes_forget_what_is_closed() -> None:
    routes = Routes()
    routes.put("a", Route(Way.TUNNEL, "x.example", 443, "ours"))
    routes.drop("a")
    routes.drop("a")

    assert routes.get("a") is None
