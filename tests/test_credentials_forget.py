"""Credentials that are dropped because somebody is locked: STS is asked again."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from awsgate.credentials import AwsCredentials, CredentialCache, RoleRequest

READER = RoleRequest(
    role_arn="arn:aws:iam::111122223333:role/reader",
    session_name="ada",
    external_id="",
    region="eu-west-1",
    partition="aws",
    duration_s=3600,
    account="111122223333",
)
WRITER = replace(READER, role_arn="arn:aws:iam::111122223333:role/writer")
EVES = replace(READER, session_name="eve")
ELSEWHERE = replace(READER, region="us-east-1")
ALL = (READER, WRITER, EVES, ELSEWHERE)


class FakeSts:
    """Gives numbered credentials, once ``open`` is set."""

    def __init__(self) -> None:
        self.calls: list[RoleRequest] = []
        self.open = threading.Event()
        self.open.set()

    def assume(self, request: RoleRequest) -> AwsCredentials:
        self.calls.append(request)
        number = len(self.calls)
        assert self.open.wait(5)
        return AwsCredentials(f"ASIA{number}", "s3cr3t", "t0k3n", 4e9)


@pytest.fixture
def sts() -> FakeSts:
    return FakeSts()


@pytest.fixture
def cache(sts: FakeSts) -> Iterator[CredentialCache]:
    made = CredentialCache(sts)
    yield made
    sts.open.set()
    made.close()


@pytest.mark.parametrize(
    ("role_arn", "session_name", "gone"),
    [
        (None, "ada", {READER, WRITER, ELSEWHERE}),
        (READER.role_arn, None, {READER, EVES, ELSEWHERE}),
        (READER.role_arn, "ada", {READER, ELSEWHERE}),
        (None, None, set(ALL)),
        (None, "nobody", set()),
    ],
)
async def test_what_fits_is_dropped_and_nothing_else(
    cache: CredentialCache,
    role_arn: str | None,
    session_name: str | None,
    gone: set[RoleRequest],
) -> None:
    for request in ALL:
        await cache.get(request)

    assert cache.forget(role_arn=role_arn, session_name=session_name) == len(gone)

    assert {request for request in ALL if cache.peek(request) is None} == gone


async def test_what_a_call_under_way_brings_is_not_kept(
    cache: CredentialCache, sts: FakeSts
) -> None:
    sts.open.clear()
    waiting = asyncio.ensure_future(cache.get(READER))
    others = asyncio.ensure_future(cache.get(EVES))
    await asyncio.sleep(0.05)

    assert cache.forget(role_arn=None, session_name="ada") == 0
    sts.open.set()

    assert (await waiting).access_key_id, "whoever waits for it gets it"
    kept = await others
    assert cache.peek(EVES) is kept
    assert cache.peek(READER) is None
    await cache.get(READER)
    assert [request.session_name for request in sts.calls].count("ada") == 2


async def test_whoever_asks_after_it_does_not_share_the_call_from_before(
    cache: CredentialCache, sts: FakeSts
) -> None:
    sts.open.clear()
    before = asyncio.ensure_future(cache.get(READER))
    await asyncio.sleep(0.05)
    cache.forget(role_arn=READER.role_arn, session_name=None)
    after = asyncio.ensure_future(cache.get(READER))
    await asyncio.sleep(0.05)
    sts.open.set()

    first, second = await asyncio.gather(before, after)

    assert first is not second
    assert cache.peek(READER) is second, "whichever of them landed last"
    assert len(sts.calls) == 2
