"""Hooks that are called in place: their order, what a failing one does, and who waits for whom."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from mitmproxy import exceptions

from awsgate.addon.dispatch import Hooks, call, call_on


class Addon:
    """Writes down its name; raises, or waits, if it is told to."""

    def __init__(self, name: str, said: list[str], fails: Exception | None = None) -> None:
        self.name, self.said, self.fails = name, said, fails

    def request(self, data: object) -> None:
        self.said.append(f"{self.name} {data}")
        if self.fails is not None:
            raise self.fails


class Waiting(Addon):
    """Waits for a moment, and then says so."""

    def request(self, data: object) -> Any:
        async def later() -> None:
            await asyncio.sleep(0)
            self.said.append(f"{self.name} waited")

        self.said.append(f"{self.name} {data}")
        return later()


class Group:
    """An addon that consists of others, as mitmproxy's script loader does."""

    def __init__(self, *addons: object) -> None:
        self.addons = list(addons)


def test_hooks_run_in_the_order_of_the_chain_and_of_its_groups() -> None:
    said: list[str] = []
    chain = [Addon("a", said), Group(Addon("b", said), Addon("c", said)), object()]

    assert call(Hooks(chain).of("request"), "x") is None
    assert said == ["a x", "b x", "c x"]


def test_a_hook_that_nobody_has_does_nothing() -> None:
    assert Hooks([Addon("a", [])]).of("websocket_start") == ()


@pytest.mark.parametrize("failure", [ValueError("canary-secret"), exceptions.AddonHalt()])
def test_after_a_hook_that_fails_the_tripwire_still_runs(
    failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    said: list[str] = []
    chain = [Addon("gate", said, failure), Addon("tripwire", said)]

    with caplog.at_level(logging.ERROR):
        call(Hooks(chain).of("request"), "x")

    assert said == ["gate x", "tripwire x"]
    assert f"a hook failed: {type(failure).__name__}" in caplog.text
    assert "canary-secret" not in caplog.text


async def test_what_follows_a_hook_that_waits_comes_after_it() -> None:
    said: list[str] = []
    hooks = Hooks([Addon("a", said), Waiting("gate", said), Waiting("b", said), Addon("c", said)])

    waiting = call(hooks.of("request"), "x")

    assert said == ["a x", "gate x"]
    assert waiting is not None
    await call_on(hooks.of("request")[waiting[1] :], "x", waiting[0])
    assert said == ["a x", "gate x", "gate waited", "b x", "b waited", "c x"]
