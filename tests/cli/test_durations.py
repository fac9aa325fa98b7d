"""Lengths of time: one form for every option that takes one."""

from __future__ import annotations

import pytest
import typer

from awsgate.cli.durations import duration_of, seconds_in, seconds_of

GOOD = {
    "30m": 1800,
    "8h": 28800,
    "1h30m": 5400,
    "2d": 172_800,
    "1d2h3m4s": 93_784,
    "90s": 90,
}


@pytest.mark.parametrize(("text", "seconds"), GOOD.items())
def test_a_duration_is_read_and_written_so_that_it_is_read_again(text: str, seconds: int) -> None:
    assert seconds_of(text) == seconds
    assert seconds_of(duration_of(seconds)) == seconds


@pytest.mark.parametrize(
    "text", ["", "8", "1w", "-1h", "0s", "0d0h", "1h 30m", "1.5h", "h", "1m1h"]
)
def test_what_is_no_duration_of_some_time_is_said(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="is not a duration like 30m, 8h or 2d"):
        seconds_of(text)


def test_digits_of_other_scripts_are_none() -> None:
    assert seconds_in("\u0663h") is None


@pytest.mark.parametrize(("text", "seconds"), [("900", 900), ("15m", 900), ("1h30m", 5400)])
def test_a_number_alone_is_one_of_seconds_where_that_is_the_custom(text: str, seconds: int) -> None:
    assert seconds_of(text, bare=True) == seconds


@pytest.mark.parametrize("text", ["0", "-1", "1 hour", "", "123456789"])
def test_there_too_not_everything_is_one(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="is not a number of seconds, or a duration"):
        seconds_of(text, bare=True)


def test_no_time_at_all_is_a_time_ago() -> None:
    assert seconds_in("0h") == 0
