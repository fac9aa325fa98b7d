"""Answers and records that are not what they should be are believed in nothing."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from awsgate import controlanswers, gatewaycall, nextgateway
from awsgate.errors import Code, Refusal, SetupError
from awsgate.policy import UpstreamGateway


@pytest.mark.parametrize("value", [None, 1.5, True, [], {}])
def test_a_moment_is_a_number_or_a_text(value: object) -> None:
    with pytest.raises(ValueError, match="no moment"):
        controlanswers.moment_of(value)


@pytest.mark.parametrize("value", [None, [], "x", 1])
def test_an_answer_is_an_object(value: object) -> None:
    with pytest.raises(TypeError, match="no object"):
        controlanswers.object_of(value)


def answer(status: int, **headers: str) -> Any:
    known = {name.replace("_", "-"): value for name, value in headers.items()}
    return SimpleNamespace(
        status=status, getheader=lambda name, default="": known.get(name, default)
    )


def test_the_gateways_no_is_told_as_its_own() -> None:
    said = answer(403, x_awsgate_code="denied", x_awsgate_request_id="r")

    with pytest.raises(Refusal, match=r"^no rule$") as caught:
        gatewaycall._read(said, b'{"message": "awsgate denied: no rule"}')

    assert caught.value.code is Code.DENIED


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (200, {}, b"{}"),
        (200, {"x_awsgate_request_id": "r"}, b"<html>"),
        (403, {"x_awsgate_request_id": "r"}, b"{}"),
        (403, {"x_awsgate_request_id": "r", "x_awsgate_code": "made-up"}, b"{}"),
    ],
    ids=["of somebody else", "no JSON", "no code", "a code that is none"],
)
def test_what_is_no_gateways_answer_is_none(
    status: int, headers: dict[str, str], body: bytes
) -> None:
    with pytest.raises(SetupError, match="no gateway that makes artefacts"):
        gatewaycall._read(answer(status, **headers), body)


def test_calls_go_one_way_alone(tmp_path: Path) -> None:
    spec = UpstreamGateway(url="https://jump.example.com:8443")

    assert nextgateway.next_gateway(None, tmp_path, "http://127.0.0.1:1") is None
    with pytest.raises(SetupError, match="all calls are to go to http://127"):
        nextgateway.next_gateway(spec, tmp_path, "http://127.0.0.1:1")
