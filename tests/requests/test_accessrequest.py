"""What becomes of one request: each step, and the steps that there are not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from awsgate.policy.accessrequest import (
    AccessRequest,
    NotNow,
    Review,
    State,
    asked,
    closed,
    reviewed,
    revoked,
)
from awsgate.policy.grants import Grant
from awsgate.policy.requests import Terms

NOW = 1_000_000
DAY = 24 * 3600


def one(*thresholds: tuple[int, int], duration_s: int = 600) -> AccessRequest:
    terms = Terms(thresholds or ((1, 1),), 7200, reason_required=False)
    return asked(
        "ar-1", "Alice", "local", "dba", terms=terms, reason=" why ", duration_s=duration_s, now=NOW
    )


def say(request: AccessRequest, words: str, at: int = NOW + 10) -> AccessRequest:
    """``b+ c-``: b says yes, then c no."""
    for word in words.split():
        request = reviewed(request, Review(word[:-1], "local", word[-1] == "+", "", at))
    return request


VERDICTS = {
    "nobody": (((1, 1),), "", State.PENDING),
    "one yes is enough": (((1, 1),), "b+", State.APPROVED),
    "one no is enough": (((1, 1),), "b-", State.DENIED),
    "two are needed": (((2, 1),), "b+", State.PENDING),
    "two are there": (((2, 1),), "b+ c+", State.APPROVED),
    "a no among them": (((2, 1),), "b+ c-", State.DENIED),
    "a no of two": (((2, 2),), "b+ c-", State.PENDING),
    "the easier threshold decides": (((3, 3), (1, 3)), "b+", State.APPROVED),
}


@pytest.mark.parametrize("row", VERDICTS.values(), ids=VERDICTS)
def test_verdicts(row: tuple[tuple[tuple[int, int], ...], str, State]) -> None:
    thresholds, words, state = row

    assert say(one(*thresholds), words).state is state


def test_it_lasts_from_the_decision_on() -> None:
    request = say(one(), "b+", at=NOW + 1000)

    assert (request.until, request.decided_at) == (NOW + 1600, NOW + 1000)
    assert request.grant() == Grant("ar-1", "Alice", "local", "dba", NOW + 1600)
    assert [request.state_at(NOW + s) for s in (1599, 1600)] == [State.APPROVED, State.ENDED]
    assert one().grant() is None


LATE = {
    "by oneself": (one(), "Alice+", NOW, "of their own"),
    "by oneself, written otherwise": (one(), "aLICE+", NOW, "of their own"),
    "by oneself, in another form": (one(), "Ａlice+", NOW, "of their own"),
    "twice": (one((2, 1)), "b+ b+", NOW, "b has reviewed"),
    "twice, written otherwise": (one((2, 1)), "b+ B+", NOW, "B has reviewed"),
    "after a yes": (say(one(), "b+"), "c+", NOW + 20, "approved already"),
    "after a no": (say(one(), "b-"), "c+", NOW + 20, "denied already"),
    "after a day": (one(), "b+", NOW + DAY, "expired already"),
    "after its time": (say(one(), "b+"), "c-", NOW + 700, "ended already"),
    "of what was taken back": (revoked(one(), by="x", now=NOW), "b+", NOW, "revoked already"),
}


@pytest.mark.parametrize("row", LATE.values(), ids=LATE)
def test_no_answer(row: tuple[AccessRequest, str, int, str]) -> None:
    request, words, at, why = row

    with pytest.raises(NotNow, match=why):
        say(request, words, at)


ASKED = {
    "an hour, if nothing is said": (7200, 0, 3600),
    "less, where the terms are shorter": (900, 0, 900),
    "as long as it is asked for": (7200, 7200, 7200),
}


@pytest.mark.parametrize("row", ASKED.values(), ids=ASKED)
def test_how_long(row: tuple[int, int, int]) -> None:
    most, wanted, expected = row
    terms = Terms(((1, 1),), most, reason_required=False)

    found = asked("x", "a", "local", "r", terms=terms, reason="", duration_s=wanted, now=NOW)
    assert found.duration_s == expected


def test_the_terms_are_kept_to() -> None:
    terms = Terms(((1, 1),), 60, reason_required=True, prompt="which ticket")
    for reason, duration_s, why in (("x", 61, "1m at most"), (" ", 60, "which ticket")):
        with pytest.raises(NotNow, match=why):
            asked(
                *("x", "a", "local", "r"),
                terms=terms, reason=reason, duration_s=duration_s, now=NOW,
            )  # fmt: skip


def test_what_is_taken_back_is_over_at_once() -> None:
    request = revoked(say(one(), "b+"), by="c", now=NOW + 20)

    assert (request.state, request.until, request.revoked_by) == (State.REVOKED, NOW + 20, "c")
    assert request.grant() is None
    assert closed(request, NOW + DAY) == request
    for over in (request, say(one(), "b-"), closed(say(one(), "b+"), NOW + 700)):
        with pytest.raises(NotNow):
            revoked(over, by="c", now=NOW + 800)


def test_an_end_is_noted_once_it_has_come() -> None:
    granted = say(one(), "b+")

    assert closed(granted, granted.until - 1) == granted
    ended = closed(granted, granted.until)
    assert (ended.state, ended.closed_at) == (State.ENDED, granted.until)
    assert closed(ended, granted.until + 5) == ended
    assert closed(one(), NOW + DAY).state is State.EXPIRED
    assert [replace(r, reviews=()).deadline for r in (one(), granted, ended)] == [
        NOW + DAY,
        granted.until,
        0,
    ]
