"""Asking for an approval beside the loop: in words, bounded, and never a way through."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from awsgate.addon.approvals import MAX_WAITING, USERS_WAITING, Approvals
from awsgate.approving import Unapproved
from awsgate.asking import TOO_MANY, NotDone
from awsgate.audit import AuditUnavailable
from awsgate.errors import Code, Refusal, SetupError
from awsgate.policy.approvals import AskedCall, MarkedCall, Need
from awsgate.policy.requests import Terms

CALL = MarkedCall("dev", "arn:role", ("iam:DeleteUser",), ())
NO = Unapproved("alice", Need(CALL, Terms(((1, 1),), 600, reason_required=False)), "role/dev")


def asked(state: Any) -> AskedCall:
    return AskedCall("ar-0123456789", "alice", "local", CALL, state, 10)


class Desk:
    """Stands in for ``Asking``: gives, or raises, what it is told."""

    def __init__(self, becomes: Any) -> None:
        self.becomes, self.times = becomes, 0

    def ask_for_call(self, _asker: object, _need: Need) -> AskedCall:
        self.times += 1
        if isinstance(self.becomes, Exception):
            raise self.becomes
        assert isinstance(self.becomes, AskedCall)
        return self.becomes


def approvals(desk: Desk) -> Approvals:
    forgotten: list[int] = []
    gateway: Any = SimpleNamespace(requests=SimpleNamespace(forget=lambda: forgotten.append(1)))
    recorder: Any = SimpleNamespace(admit=lambda _trace: None)
    made = Approvals(gateway, recorder, lambda: datetime.now(UTC))
    made._asking = desk  # type: ignore[assignment]
    return made


def trace(user: str = "alice") -> Any:
    session = SimpleNamespace(user=user, connector="local", id="s")
    facts = SimpleNamespace(client="10.0.0.1")
    return SimpleNamespace(review=SimpleNamespace(session=session, facts=facts))


def refused(made: Approvals, user: str = "alice") -> Refusal:
    with pytest.raises(Refusal) as caught:
        asyncio.run(made.refuse(NO, trace(user)))
    return caught.value


ANSWERS = {
    "pending": (asked("pending"), Code.PENDING_APPROVAL, "ar-0123456789 asks for it", None),
    "denied meanwhile": (asked("denied"), Code.DENIED, "denied ar-0123456789", None),
    "approved meanwhile": (asked("approved"), Code.PENDING_APPROVAL, "just been approved", None),
    "too many": (
        NotDone(TOO_MANY, "alice has 20 requests open"),
        Code.PENDING_APPROVAL, "needs an approval, and alice has 20 requests open", None,
    ),
    "no database": (
        SetupError("it does not answer"), Code.GATEWAY_FAULT, "none can be asked for now", 503,
    ),
}  # fmt: skip


@pytest.mark.parametrize("row", ANSWERS.values(), ids=ANSWERS)
def test_whatever_becomes_of_it_the_call_is_refused(row: Any) -> None:
    becomes, code, said, status = row
    no = refused(approvals(Desk(becomes)))

    assert (no.code, no.status) == (code, status)
    assert said in no.message


def test_while_somebody_has_too_many_the_database_is_left_alone_and_others_are_served() -> None:
    desk = Desk(NotDone(TOO_MANY, "alice has 20 requests open"))
    made = approvals(desk)
    for _ in range(50):
        refused(made)
    assert desk.times == 1
    desk.becomes = asked("pending")

    assert refused(made, "carol").message.endswith("asks for it")
    assert desk.times == 2


def test_while_the_database_does_not_answer_nobody_waits_for_it() -> None:
    desk = Desk(SetupError("it does not answer"))
    made = approvals(desk)
    for user in ("alice", "carol", "alice"):
        assert refused(made, user).status == 503

    assert desk.times == 1


def test_what_fails_otherwise_lets_nothing_through() -> None:
    with pytest.raises(ZeroDivisionError):
        asyncio.run(approvals(Desk(ZeroDivisionError())).refuse(NO, trace()))


async def test_not_any_number_of_calls_wait_for_a_database_that_is_slow() -> None:
    desk, answered = Desk(asked("pending")), threading.Event()
    made = approvals(desk)
    made._thread.submit(answered.wait)
    waiting = [
        asyncio.ensure_future(made.refuse(NO, trace(f"user-{number % 10}")))
        for number in range(MAX_WAITING)
    ]
    await asyncio.sleep(0)
    try:
        with pytest.raises(Refusal) as caught:
            await made.refuse(NO, trace("carol"))
    finally:
        answered.set()

    assert (caught.value.code, caught.value.status) == (Code.GATEWAY_FAULT, 503)
    await asyncio.gather(*waiting, return_exceptions=True)
    with pytest.raises(Refusal, match="asks for it"):
        await made.refuse(NO, trace("carol"))
    assert desk.times == MAX_WAITING + 1


@pytest.mark.parametrize(
    "becomes", [NotDone(TOO_MANY, "alice has 20 requests open"), asked("pending")], ids=str
)
async def test_a_user_keeps_nobody_elses_from_being_asked_for(becomes: Any) -> None:
    """Alice sends all that ``limits.max_requests_per_user`` allows, and the database is slow."""
    desk, answered = Desk(becomes), threading.Event()
    made = approvals(desk)
    made._thread.submit(answered.wait)
    alices = [asyncio.ensure_future(made.refuse(NO, trace())) for _ in range(1000)]
    await asyncio.sleep(0)
    bobs = asyncio.ensure_future(made.refuse(NO, trace("bob")))
    await asyncio.sleep(0)
    answered.set()
    said = await asyncio.gather(*alices, bobs, return_exceptions=True)

    refusals = [no for no in said if isinstance(no, Refusal)]
    assert len(refusals) == 1001
    assert "being asked for already" not in refusals[-1].detail
    over = [no for no in refusals if "20 of alice are being asked for already" in no.detail]
    assert [(no.code, no.status) for no in over] == [(Code.GATEWAY_FAULT, 503)] * 980
    with pytest.raises(Refusal) as caught:
        await made.refuse(NO, trace())
    assert caught.value.status is None, "what waited is over"


async def test_for_who_has_too_many_the_database_is_asked_once_however_many_wait() -> None:
    desk, answered = Desk(NotDone(TOO_MANY, "alice has 20 requests open")), threading.Event()
    made = approvals(desk)
    made._thread.submit(answered.wait)
    waiting = [asyncio.ensure_future(made.refuse(NO, trace())) for _ in range(USERS_WAITING)]
    await asyncio.sleep(0)
    answered.set()
    said = await asyncio.gather(*waiting, return_exceptions=True)

    assert all("alice has 20 requests open" in str(no) for no in said)
    assert desk.times == 1


async def test_of_calls_that_wait_while_somebody_has_too_many_each_is_refused_as_itself() -> None:
    desk, answered = Desk(NotDone(TOO_MANY, "alice has 20 requests open")), threading.Event()
    made = approvals(desk)
    made._thread.submit(answered.wait)
    calls = [Unapproved(f"call {n} must be approved", NO.need, f"role/of-{n}") for n in range(3)]
    waiting = [asyncio.ensure_future(made.refuse(no, trace())) for no in calls]
    await asyncio.sleep(0)
    answered.set()
    said = await asyncio.gather(*waiting, return_exceptions=True)

    assert [(str(no)[:6], no.detail) for no in said if isinstance(no, Refusal)] == [
        (f"call {n}", f"role/of-{n}") for n in range(3)
    ]


async def test_a_database_that_does_not_answer_is_asked_once_however_many_wait() -> None:
    desk, answered = Desk(SetupError("it does not answer")), threading.Event()
    made = approvals(desk)
    made._thread.submit(answered.wait)
    users = [trace(f"user-{number}") for number in range(50)]
    waiting = [asyncio.ensure_future(made.refuse(NO, each)) for each in users]
    await asyncio.sleep(0)
    answered.set()
    said = await asyncio.gather(*waiting, return_exceptions=True)

    assert {no.status for no in said if isinstance(no, Refusal)} == {503}
    assert desk.times == 1


async def test_a_refusal_that_is_given_again_keeps_no_call_that_it_refused() -> None:
    made = approvals(Desk(SetupError("it does not answer")))
    for _ in range(20):
        with pytest.raises(Refusal) as caught:
            await made.refuse(NO, trace())
    frames = 0
    place = caught.value.__traceback__
    while place is not None:
        frames, place = frames + 1, place.tb_next

    assert frames < 5


def test_without_a_session_nobody_asks() -> None:
    """A call of no user of ours cannot be approved by anybody."""
    desk, about = Desk(asked("pending")), trace()
    about.review.session = None

    with pytest.raises(Unapproved) as caught:
        asyncio.run(approvals(desk).refuse(NO, about))

    assert caught.value is NO
    assert desk.times == 0


@pytest.mark.parametrize("on_failure", ["refuse", "continue"])
def test_what_cannot_be_recorded_is_not_asked_unless_the_operator_wants_it(on_failure: str) -> None:
    def write(_: object) -> None:
        raise AuditUnavailable("the disk is full")

    made = approvals(Desk(None))
    settings = SimpleNamespace(audit=SimpleNamespace(on_failure=on_failure))
    made._gateway = SimpleNamespace(  # type: ignore[assignment]
        audit=SimpleNamespace(write=write), policy=SimpleNamespace(gateway=settings)
    )
    record: Any = SimpleNamespace(reason="why")

    if on_failure == "continue":
        made._record(record)
        return
    with pytest.raises(Refusal, match="no approval is asked for") as caught:
        made._record(record)
    assert caught.value.status == 503
