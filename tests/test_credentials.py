"""The cache of real credentials."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import fields, replace

import pytest

from awsgate import credentials
from awsgate.credentials import AwsCredentials, CredentialCache, RoleRequest
from awsgate.errors import Code, Refusal
from awsgate.outgoing import Hop
from awsgate.policy.handoff import Handoff

ROLE = "arn:aws:iam::111122223333:role/reader"
READER = RoleRequest(
    role_arn=ROLE,
    session_name="ada@example.com",
    external_id="ext-1",
    region="eu-west-1",
    partition="aws",
    duration_s=3600,
    account="111122223333",
)
START = 1_000_000.0
DENIED = Refusal(Code.ROLE_UNAVAILABLE, "no", hint="h", status=403, detail="d")
OUTAGE = Refusal(Code.ROLE_UNAVAILABLE, "later", status=503)


class FakeClock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


class FakeAssumer:
    """Gives numbered credentials for an hour, or what ``failure`` says."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.calls: list[RoleRequest] = []
        self.threads: set[str] = set()
        self.failure: Exception | None = None
        self.open = threading.Event()
        self.open.set()

    def assume(self, request: RoleRequest) -> AwsCredentials:
        self.calls.append(request)
        self.threads.add(threading.current_thread().name)
        assert self.open.wait(5)
        if self.failure is not None:
            raise self.failure
        number = len(self.calls)
        return AwsCredentials(f"ASIA{number}", "s3cr3t", "t0k3n", self.clock.now + 3600)


class Rig:
    """A cache with everything around it faked; ``jitter`` in the middle."""

    def __init__(self, max_size: int = 1024, jitter: float = 0.5) -> None:
        self.clock = FakeClock()
        self.sts = FakeAssumer(self.clock)
        self.results: list[str] = []
        self.seconds: list[float] = []
        self.expiries: list[tuple[str, float]] = []
        self.cache = CredentialCache(
            self.sts,
            clock=self.clock,
            max_size=max_size,
            on_result=self.results.append,
            on_sts=self.seconds.append,
            on_expiry=lambda role, at: self.expiries.append((role, at)),
            jitter=lambda: jitter,
        )

    async def settle(self) -> None:
        """Wait until no call is under way."""
        async with asyncio.timeout(5):
            await asyncio.gather(*self.cache._flights.values())


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.sts.open.set()
    made.cache.close()


async def test_credentials_are_fetched_once_and_then_at_hand(rig: Rig) -> None:
    assert rig.cache.peek(READER) is None

    first = await rig.cache.get(READER)

    assert rig.cache.peek(READER) is first
    assert await rig.cache.get(READER) is first
    assert len(rig.sts.calls) == 1
    assert rig.results == ["miss", "hit", "hit"]
    assert len(rig.seconds) == 1
    assert rig.expiries == [(ROLE, START + 3600)]


CHANGES = {
    "role_arn": "arn:aws:iam::111122223333:role/writer",
    "session_name": "grace",
    "external_id": "ext-2",
    "region": "us-east-1",
    "partition": "aws-cn",
    "duration_s": 900,
    "account": "444455556666",
    "handoff": Handoff(source_identity="ada"),
    "hop": Hop("gateway/jump.example.com:443", "ada", "console"),
}
HANDOFFS = {
    "policy": "{}",
    "policy_arns": ("arn:aws:iam::aws:policy/ReadOnlyAccess",),
    "tags": (("team", "blue"),),
    "transitive_tag_keys": ("team",),
    "source_identity": "ada",
    "faults": ("no value",),
}


@pytest.mark.parametrize("name", [field.name for field in fields(RoleRequest)])
async def test_nobody_gets_credentials_of_a_request_that_differs(rig: Rig, name: str) -> None:
    await rig.cache.get(READER)
    other = replace(READER, **{name: CHANGES[name]})  # type: ignore[arg-type]

    assert rig.cache.peek(other) is None
    await rig.cache.get(other)

    assert rig.sts.calls == [READER, other]


@pytest.mark.parametrize("name", [field.name for field in fields(Handoff)])
async def test_nobody_gets_credentials_that_aws_holds_to_something_else(
    rig: Rig, name: str
) -> None:
    await rig.cache.get(READER)
    other = replace(READER, handoff=Handoff(**{name: HANDOFFS[name]}))  # type: ignore[arg-type]

    assert rig.cache.peek(other) is None
    await rig.cache.get(other)

    assert rig.sts.calls == [READER, other]


async def test_fifty_who_wait_share_one_call(rig: Rig) -> None:
    rig.sts.open.clear()
    waiters = [asyncio.ensure_future(rig.cache.get(READER)) for _ in range(50)]
    await asyncio.sleep(0.01)
    rig.sts.open.set()

    found = await asyncio.gather(*waiters)

    assert {credentials.access_key_id for credentials in found} == {"ASIA1"}
    assert rig.results == ["miss"] * 50
    assert len(rig.sts.calls) == 1


async def test_fifty_who_wait_are_all_told_of_a_refusal(rig: Rig) -> None:
    rig.sts.open.clear()
    rig.sts.failure = DENIED
    waiters = [asyncio.ensure_future(rig.cache.get(READER)) for _ in range(50)]
    await asyncio.sleep(0.01)
    rig.sts.open.set()

    found = await asyncio.gather(*waiters, return_exceptions=True)

    assert {str(refusal) for refusal in found} == {"no"}
    assert len({id(refusal) for refusal in found}) == 50, "each has its own traceback"
    assert len(rig.sts.calls) == 1


async def test_one_who_goes_away_takes_nothing_from_the_others(rig: Rig) -> None:
    rig.sts.open.clear()
    leaves, stays = (asyncio.ensure_future(rig.cache.get(READER)) for _ in range(2))
    await asyncio.sleep(0.01)
    leaves.cancel()
    await asyncio.sleep(0.01)
    rig.sts.open.set()

    assert (await stays).access_key_id == "ASIA1"
    assert leaves.cancelled()


@pytest.mark.parametrize("failure", [None, DENIED])
async def test_a_call_goes_on_when_all_who_wait_go_away(
    rig: Rig, failure: Exception | None
) -> None:
    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    rig.sts.open.clear()
    rig.sts.failure = failure
    waiter = asyncio.ensure_future(rig.cache.get(READER))
    await asyncio.sleep(0.01)
    waiter.cancel()
    await asyncio.sleep(0.01)
    rig.sts.open.set()
    await rig.settle()

    assert (rig.cache.peek(READER) is None) == (failure is not None)
    assert not faults


async def test_sts_never_holds_up_the_event_loop(rig: Rig) -> None:
    rig.sts.open.clear()
    waiter = asyncio.ensure_future(rig.cache.get(READER))

    for _ in range(20):
        await asyncio.sleep(0.001)
    rig.sts.open.set()
    await waiter

    assert all(name.startswith("awsgate-sts") for name in rig.sts.threads)


async def test_credentials_are_renewed_while_the_old_ones_serve(rig: Rig) -> None:
    old = await rig.cache.get(READER)
    rig.clock.now = START + 2700  # three quarters of the hour
    rig.sts.open.clear()

    assert rig.cache.peek(READER) is old
    assert rig.cache.peek(READER) is old, "one renewal at a time"
    rig.sts.open.set()
    await rig.settle()

    new = rig.cache.peek(READER)
    assert new is not None
    assert new.access_key_id == "ASIA2"
    assert rig.results == ["miss", "hit", "hit", "refresh", "hit"]
    assert rig.expiries[-1] == (ROLE, START + 2700 + 3600)


@pytest.mark.parametrize(("jitter", "starts"), [(0.0, 2880), (0.5, 2700), (1.0, 2520)])
async def test_renewal_starts_in_the_last_quarter_give_or_take(jitter: float, starts: int) -> None:
    rig = Rig(jitter=jitter)
    await rig.cache.get(READER)

    rig.clock.now = START + starts - 1
    rig.cache.peek(READER)
    await rig.settle()
    assert len(rig.sts.calls) == 1

    rig.clock.now = START + starts + 1
    rig.cache.peek(READER)
    await rig.settle()
    assert len(rig.sts.calls) == 2
    rig.cache.close()


def test_the_jitter_of_production_spreads_over_its_range() -> None:
    found = [credentials._random_share() for _ in range(200)]

    assert all(0 <= share < 1 for share in found)
    assert min(found) < 0.2 < 0.8 < max(found)


@pytest.mark.parametrize("failure", [DENIED, OUTAGE])
async def test_if_renewal_fails_the_old_ones_serve_until_they_end(
    rig: Rig, failure: Refusal, caplog: pytest.LogCaptureFixture
) -> None:
    old = await rig.cache.get(READER)
    rig.sts.failure = failure
    for second in (2700, 3000, 3569):
        rig.clock.now = START + second
        assert rig.cache.peek(READER) is old
        await rig.settle()

    rig.clock.now = START + 3570  # 30 seconds before the end

    assert rig.cache.peek(READER) is None
    with pytest.raises(Refusal, match=failure.message):
        await rig.cache.get(READER)
    assert f"renewal of {ROLE} failed" in caplog.text


async def test_a_failed_renewal_is_not_tried_again_at_once(rig: Rig) -> None:
    await rig.cache.get(READER)
    rig.sts.failure = OUTAGE
    rig.clock.now = START + 2800

    for second in (0, 0.5, 1.9, 2.1):
        rig.clock.now = START + 2800 + second
        rig.cache.peek(READER)
        await rig.settle()

    assert len(rig.sts.calls) == 3, "the first call, the renewal, and one more after 2 s"


@pytest.mark.parametrize(
    ("failure", "seconds", "result"), [(DENIED, 10, "denied"), (OUTAGE, 2, "failed")]
)
async def test_a_refusal_is_remembered_for_seconds(
    rig: Rig, failure: Refusal, seconds: int, result: str
) -> None:
    rig.sts.failure = failure
    caught = []
    for second in (0.0, 0.1, seconds - 0.1):
        rig.clock.now = START + second
        with pytest.raises(Refusal) as found:
            await rig.cache.get(READER)
        caught.append(found.value)

    assert len(rig.sts.calls) == 1
    assert {(r.code, r.message, r.hint, r.status, r.detail) for r in (*caught, failure)} == {
        (failure.code, failure.message, failure.hint, failure.status, failure.detail)
    }
    assert rig.results == ["miss", result]

    rig.clock.now = START + seconds + 0.1
    rig.sts.failure = None
    assert (await rig.cache.get(READER)).access_key_id == "ASIA2"


@pytest.mark.parametrize("failure", [DENIED, OUTAGE])
async def test_a_refusal_is_not_remembered_for_hours_when_the_clock_is_set_back(
    rig: Rig, failure: Refusal
) -> None:
    rig.sts.failure = failure
    with pytest.raises(Refusal):
        await rig.cache.get(READER)

    rig.clock.now = START - 3600
    rig.sts.failure = None

    assert (await rig.cache.get(READER)).access_key_id == "ASIA2"


async def test_credentials_that_have_ended_when_they_come_are_a_refusal(rig: Rig) -> None:
    """A clock that is hours ahead: AWS would tell the client that its session has ended."""
    rig.sts.clock = FakeClock()
    rig.clock.now = START + 7200

    for _ in range(3):
        with pytest.raises(Refusal) as caught:
            await rig.cache.get(READER)

    assert (caught.value.code, caught.value.status) == (Code.ROLE_UNAVAILABLE, 503)
    assert "have ended already" in caught.value.message
    assert "3600 seconds ago by the clock" in caught.value.detail
    assert len(rig.sts.calls) == 1, "STS is spared"
    rig.clock.now = START
    assert (await rig.cache.get(READER)).expires_at == START + 3600


async def test_a_fault_of_the_assumer_is_a_refusal_without_its_text(rig: Rig) -> None:
    rig.sts.failure = KeyError("s3cr3t")

    with pytest.raises(Refusal) as caught:
        await rig.cache.get(READER)

    assert (caught.value.status, caught.value.detail) == (503, "KeyError")
    assert "s3cr3t" not in caught.value.message


async def test_memory_is_bounded() -> None:
    rig = Rig(max_size=3)
    requests = [replace(READER, session_name=f"user{n}") for n in range(5)]
    for request in requests:
        await rig.cache.get(request)
    rig.sts.failure = DENIED
    for n in range(5):
        with pytest.raises(Refusal):
            await rig.cache.get(replace(READER, session_name=f"other{n}"))

    assert [rig.cache.peek(request) is not None for request in requests] == [False] * 2 + [True] * 3
    assert len(rig.cache._refused) == 3
    rig.cache.close()


async def test_after_close_nothing_new_starts_and_what_is_there_serves(rig: Rig) -> None:
    held = await rig.cache.get(READER)
    rig.cache.close()
    rig.clock.now = START + 2800

    assert rig.cache.peek(READER) is held
    with pytest.raises(Refusal, match="shutting down"):
        await rig.cache.get(replace(READER, duration_s=900))
    assert len(rig.sts.calls) == 1


async def test_close_tells_those_whose_call_had_not_started() -> None:
    clock = FakeClock()
    sts = FakeAssumer(clock)
    cache = CredentialCache(sts, clock=clock, workers=1)
    sts.open.clear()
    running = asyncio.ensure_future(cache.get(READER))
    queued = asyncio.ensure_future(cache.get(replace(READER, duration_s=900)))
    await asyncio.sleep(0.01)

    cache.close()
    sts.open.set()

    assert (await running).access_key_id == "ASIA1"
    with pytest.raises(Refusal, match="shutting down"):
        await queued


def test_repr_shows_no_secret() -> None:
    shown = repr(AwsCredentials("ASIA1", "s3cr3t", "t0k3n", 1.0))

    assert shown == "AwsCredentials(access_key_id='ASIA1', expires_at=1.0)"
