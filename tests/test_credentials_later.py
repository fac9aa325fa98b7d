"""Credentials for who has some and renews them ahead: a worker, of its parent."""

from __future__ import annotations

import asyncio

from awsgate.credentials import AwsCredentials
from test_credentials import OUTAGE, READER, Rig


async def ask(rig: Rig, ends_s: float) -> AwsCredentials:
    return await asyncio.wait_for(rig.cache.later(READER, ends_s), 5)


async def test_later_ones_that_are_at_hand_are_given_at_once() -> None:
    rig = Rig()
    first = await ask(rig, 0.0)

    assert await ask(rig, first.expires_at - 1) == first
    assert len(rig.sts.calls) == 1


async def test_who_has_those_at_hand_gets_new_ones() -> None:
    rig = Rig()
    first = await ask(rig, 0.0)
    rig.clock.now += 60  # long before they are due for renewal here

    later = await asyncio.gather(*(ask(rig, first.expires_at) for _ in range(3)))

    assert {each.access_key_id for each in later} == {"ASIA2"}
    assert len(rig.sts.calls) == 2, "one call for all who ask"
    assert rig.cache.peek(READER) == later[0]


async def test_if_there_are_no_new_ones_those_at_hand_are_given() -> None:
    rig = Rig()
    first = await ask(rig, 0.0)
    rig.sts.failure = OUTAGE

    assert await ask(rig, first.expires_at) == first
    assert await ask(rig, first.expires_at) == first
    assert len(rig.sts.calls) == 2, "an outage is remembered for a moment"
