"""Failed authentication is answered later, by address; what is proved never is."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from time import perf_counter

import pytest
from mitmproxy.test import tflow

from awsgate.addon.slowing import FAILED, MAX_HELD_BYTES, SLOW_S, Slowing
from awsgate.errors import Code, Refusal
from calls import GOOD, Call, minted
from hooking import PUT, Rig, refusal_of
from tunnelrig import KNOWN, SSM, TunnelRig, asked, basic, connect, session, set_spec

HERE, THERE, SAME_64, OTHER_64 = "192.0.2.1", "192.0.2.2", "2001:db8::9", "2001:db8:0:1::9"


class Bench:
    """A ``Slowing`` with a clock that stands still, and waits that end at once."""

    def __init__(self, per_minute: int = 3) -> None:
        self.now, self.per_minute = 0.0, per_minute
        self.waits: list[float] = []
        self.slowing = Slowing(lambda: self.per_minute, clock=lambda: self.now, sleep=self.sleep)

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)

    async def fail(
        self,
        address: str = HERE,
        code: Code = Code.BAD_SIGNATURE,
        headers: dict[str, str] | None = None,
    ) -> bool:
        """True if the answer has to wait."""
        flow = tflow.tflow(resp=True)
        flow.client_conn.peername = (address, 50000)
        flow.request.data.content = None
        flow.request.headers.clear()
        flow.request.headers.update(headers or {})
        held = self.slowing.hold(flow, Refusal(code, "no"))
        self.closes = flow.response.headers.get("connection") == "close"  # type: ignore[union-attr]
        if held is None:
            return False
        await held
        return True


async def test_so_many_are_answered_at_once_and_the_next_a_second_later() -> None:
    bench = Bench()

    assert [await bench.fail() for _ in range(5)] == [False] * 3 + [True] * 2
    assert bench.waits == [SLOW_S] * 2
    bench.now += 20
    assert [await bench.fail() for _ in range(2)] == [False, True]


async def test_each_address_has_its_own_count_and_a_network_of_64_bits_one() -> None:
    bench = Bench()
    for address in (HERE, SAME_64):
        assert [await bench.fail(address) for _ in range(4)][-1]

    assert not await bench.fail(THERE)
    assert not await bench.fail(OTHER_64)
    assert await bench.fail("2001:db8::ffff:1")
    assert await bench.fail("::ffff:192.0.2.1")


@pytest.mark.parametrize("code", list(Code))
async def test_only_what_is_said_to_somebody_unproved_counts(code: Code) -> None:
    bench = Bench(1)

    assert [await bench.fail(code=code) for _ in range(2)] == [False, code in FAILED]


def test_what_is_said_once_a_signature_holds_is_not_slowed() -> None:
    assert not FAILED & {Code.DENIED, Code.LOCKED, Code.THROTTLED, Code.ROLE_UNAVAILABLE}
    assert {Code.BAD_SIGNATURE, Code.UNKNOWN_KEY} <= FAILED


async def test_a_fault_of_the_gateways_is_no_guess() -> None:
    bench = Bench(1)
    flow = tflow.tflow(resp=True)

    assert [bench.slowing.hold(flow, RuntimeError("x")) for _ in range(3)] == [None] * 3


BODIES = {
    "none": ({}, True),
    "small": ({"Content-Length": str(MAX_HELD_BYTES)}, True),
    "large": ({"Content-Length": str(MAX_HELD_BYTES + 1)}, False),
    "of no length": ({"Transfer-Encoding": "chunked"}, False),
    "of a length that is none": ({"Content-Length": "+5"}, False),
}


@pytest.mark.parametrize(("headers", "waits"), BODIES.values(), ids=BODIES)
async def test_a_body_that_still_comes_is_not_waited_for_and_ends_the_connection(
    headers: dict[str, str], waits: bool
) -> None:
    bench = Bench(1)
    await bench.fail(headers=headers)
    assert not bench.closes

    assert await bench.fail(headers=headers) is waits
    assert bench.closes is not waits


async def test_a_changed_limit_counts_anew_and_none_slows_nobody() -> None:
    bench = Bench(1)
    assert [await bench.fail() for _ in range(2)] == [False, True]
    bench.per_minute = 2
    assert [await bench.fail() for _ in range(3)] == [False, False, True]
    bench.per_minute = 0
    assert not any([await bench.fail() for _ in range(100)])


async def test_memory_is_bounded_however_many_addresses_fail() -> None:
    bench = Bench()
    for n in range(25_000):
        await bench.fail(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}")

    assert bench.slowing._attempts is not None
    assert len(bench.slowing._attempts._buckets) <= 20_000


# --- through the hooks -----------------------------------------------------------------

WRONG = {
    "a wrong secret": (replace(PUT, secret="wrong"), Code.BAD_SIGNATURE),
    "an unknown key": (
        replace(PUT, keys=replace(minted(), session_token="A" * 200)), Code.UNKNOWN_KEY),
    "an old signature": (replace(PUT, age=timedelta(minutes=6)), Code.CLOCK_SKEW),
    "an ended session": (replace(PUT, keys=minted(age_s=3600)), Code.SESSION_EXPIRED),
}  # fmt: skip


def slowed(rig: Rig, per_minute: int) -> list[float]:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        await asyncio.sleep(0)

    rig.hooks.answers.slowing = Slowing(lambda: per_minute, clock=lambda: 0.0, sleep=sleep)
    return waits


@pytest.mark.parametrize(("call", "code"), WRONG.values(), ids=WRONG)
async def test_a_guess_gets_its_own_refusal_and_others_of_the_address_are_served(
    rig: Rig, call: Call, code: Code
) -> None:
    waits = slowed(rig, 1)  # ten of this machine's own
    for n in range(15):
        flow = rig.flow(call)
        await rig.pass_through(flow)
        assert refusal_of(flow) == (403, code.value)
        assert len(waits) == max(0, n - 9)

    good = rig.flow(PUT)
    await rig.pass_through(good)

    assert good.response is None
    assert len(waits) == 5


async def test_a_refusal_stands_before_it_waits(rig: Rig) -> None:
    """Whatever ends the wait, the request has its answer and goes nowhere."""
    slowed(rig, 1)
    for _ in range(10):
        await rig.pass_through(rig.flow(replace(GOOD, secret="wrong")))
    flow = rig.flow(replace(GOOD, secret="wrong", body=b""))

    waiting = rig.hooks.requestheaders(flow) or rig.hooks.request(flow)
    assert waiting is not None
    task = asyncio.ensure_future(waiting)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert refusal_of(flow) == (403, "bad-signature")


async def test_guesses_at_a_tunnels_password_wait_too_and_the_right_one_does_not(
    tmp_path: Path,
) -> None:
    rig = TunnelRig(tmp_path)
    set_spec(rig, tunnels={"callers": KNOWN}, limits={"failures_per_minute": 1})
    before = perf_counter()
    for n in range(3):
        wrong = await asked(rig, connect(SSM, "Basic QTpC"))
        assert refusal_of(wrong) == (407, "unknown-key")
        assert (perf_counter() - before >= SLOW_S) == (n > 0)

    right = connect(SSM, basic(session()))

    assert rig.hooks.http_connect(right) is None  # at once
    assert right.response is None
