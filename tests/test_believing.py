"""Answers and records that are not what they should be are believed in nothing."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.requests import ClientDisconnect

from awsgate import asking, controlanswers, gatewaycall, listening, nextgateway
from awsgate.connect import idtoken
from awsgate.connect.ways import LoginRefused
from awsgate.errors import Code, Refusal, SetupError
from awsgate.policy import UpstreamGateway, rolemapping
from awsgate.web import receiving
from awsgate.web.page import apps, overview
from awsgate.web.problems import Problem


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


# --- what is asked for ----------------------------------------------------------------------


@pytest.mark.parametrize("address", ["127.0.0.1", "8080", "127.0.0.1:", "a:65536", "a:1x", ""])
def test_an_address_to_listen_on_has_a_port(address: str) -> None:
    with pytest.raises(SetupError, match="is not host:port"):
        listening.bind(address)


def test_a_reason_has_an_end() -> None:
    assert asking._bounded("why " * 10) == "why " * 10
    with pytest.raises(asking.NotDone, match="characters at most"):
        asking._bounded("x" * (asking.MAX_TEXT_CHARS + 1))


def test_teams_give_no_more_roles_than_a_login_holds() -> None:
    rows = [
        SimpleNamespace(organization="Acme", team="all", roles=(f"role-{n}",))
        for n in range(rolemapping.MAX_ROLES + 1)
    ]

    assert len(rolemapping.roles_by_teams(rows[:-1], [("acme", "ALL")])) == rolemapping.MAX_ROLES
    with pytest.raises(rolemapping.TooMany):
        rolemapping.roles_by_teams(rows, [("acme", "ALL")])


@pytest.mark.parametrize("payload", [b"{", b"\xff", b"[" * 3000], ids=["cut", "no text", "deep"])
def test_a_token_whose_claims_cannot_be_read_is_none(payload: bytes) -> None:
    def packed(raw: bytes) -> str:
        return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

    token = f"{packed(json.dumps({'alg': 'RS256'}).encode())}.{packed(payload)}.{packed(b's')}"

    with pytest.raises(LoginRefused) as caught:
        idtoken.parse_token(token)

    assert caught.value.reason == "malformed"


# --- forms of the page ------------------------------------------------------------------------


def form(**fields: str) -> Any:
    return SimpleNamespace(fields=fields, call=None)


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "everybody", "value": "x"},
        {"kind": "user", "value": "  "},
        {"kind": "user", "value": "alice", "ttl_s": "soon"},
        {"kind": "user", "value": "alice", "message": "x" * 100_000},
    ],
    ids=["no kind", "nobody", "no time", "a message without end"],
)
async def test_what_is_no_lock_locks_nobody(fields: dict[str, str]) -> None:
    with pytest.raises(Problem) as caught:
        await overview.add_lock(None, form(**fields))  # type: ignore[arg-type]

    assert caught.value.status == 400


async def test_a_destination_without_end_opens_no_console() -> None:
    with pytest.raises(Problem) as caught:
        await apps.launch(None, form(app="a", destination="x" * 100_000))  # type: ignore[arg-type]

    assert caught.value.status == 400


async def test_a_body_that_does_not_come_or_breaks_off_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"{"
        raise ClientDisconnect

    async def slow() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    monkeypatch.setattr(receiving, "BODY_TIMEOUT_S", 0.01)
    for stream, status in ((broken, 400), (slow, 408)):
        with pytest.raises(Problem) as caught:
            await receiving.body_of(SimpleNamespace(stream=stream), 100)  # type: ignore[arg-type]
        assert caught.value.status == status
