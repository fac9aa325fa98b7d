"""The answers of the gateway ahead: which are refusals of its own, and what follows."""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest
from mitmproxy import http
from mitmproxy.test import taddons, tflow

from awsgate.addon.ahead import Ahead, failed
from awsgate.addon.entry import AwsGate
from awsgate.addon.record import Trace
from awsgate.addon.tunnels import Route, Way
from awsgate.credentials import AwsCredentials
from awsgate.errors import Code
from awsgate.gate import Review
from awsgate.nextgateway import NextGateway
from awsgate.session import IssuedKeys
from calls import GOOD, ROLE_KEYS, run
from hooking import Rig
from hopping import SPEC, hop, near_keys

PLAN = hop(replace(GOOD, keys=near_keys())).plan


@dataclass
class Credentials:
    forgotten: list[tuple[str | None, str | None]] = field(default_factory=list)

    def forget(self, *, role_arn: str | None, session_name: str | None) -> int:
        self.forgotten.append((role_arn, session_name))
        return 1


def noted(code: str, *, status: int = 403, plan: Any = PLAN, times: int = 1) -> Any:
    credentials = Credentials()
    ahead = Ahead(SimpleNamespace(credentials=credentials))  # type: ignore[arg-type]
    for _ in range(times):
        flow = tflow.tflow(resp=True)
        flow.response = http.Response.make(status, b"", {"x-awsgate-code": code})
        trace = Trace(Review(GOOD.facts()), "id", 0.0, plan=plan)
        ahead.note(flow, trace)
    return SimpleNamespace(trace=trace, flow=flow, forgotten=credentials.forgotten)


@pytest.mark.parametrize("code", list(Code))
def test_a_refusal_of_the_gateway_ahead_is_known_by_its_code(code: Code) -> None:
    found = noted(code.value)

    assert found.trace.refused_ahead is code
    assert found.flow.response.headers["x-awsgate-code"] == code.value  # as it came


@pytest.mark.parametrize(
    ("code", "status"), [("made-up", 403), ("denied", 200), ("", 403)],
    ids=["no code of ours", "no error", "empty"],
)  # fmt: skip
def test_anything_else_is_an_answer_of_awss(code: str, status: int) -> None:
    assert noted(code, status=status).trace.refused_ahead is None


def test_aws_says_nothing_in_a_header_of_ours() -> None:
    """At the gateway that decides: or what customers own could pass for a refusal."""
    found = noted("denied", plan=run(GOOD)[1])

    assert found.trace.refused_ahead is None
    assert "x-awsgate-code" not in found.flow.response.headers


@pytest.mark.parametrize("code", ["session-expired", "unknown-key", "locked"])
def test_credentials_that_are_worthless_ahead_are_forgotten_once_in_a_while(code: str) -> None:
    assert noted(code, times=5).forgotten == [(PLAN.role_arn, "alice")]


def test_a_refusal_of_the_call_alone_forgets_nothing() -> None:
    issued = IssuedKeys(ROLE_KEYS, 1, "", "")

    assert noted("denied").forgotten == []
    assert noted("unknown-key", plan=replace(PLAN, issued=issued)).forgotten == []


def test_what_failed_is_told_by_name_and_a_certificate_with_the_way_to_mend_it() -> None:
    gateway: Any = SimpleNamespace(
        ahead=SimpleNamespace(name="jump.example.com:8443", login_hint=f"log in {SPEC.url}")
    )

    away = failed(gateway, "s3.amazonaws.com", "connection refused")
    other = failed(gateway, "s3.amazonaws.com", "Certificate verify failed: x")
    none = failed(SimpleNamespace(ahead=None), "s3.amazonaws.com", "x")  # type: ignore[arg-type]

    assert "jump.example.com:8443" in away.message
    assert SPEC.url in other.hint
    assert none.message.startswith("s3.amazonaws.com")
    assert {away.code, other.code, none.code} == {Code.UPSTREAM_FAILED}


# --- tunnels ----------------------------------------------------------------------------


def tunnels_of(*, ends: float = 100.0) -> Ahead:
    ahead = Ahead(SimpleNamespace(ahead=AHEAD))  # type: ignore[arg-type]
    ahead.used(AwsCredentials("GATEAAAAAAAAAAAAAAAA", "s", "t", ends, "canary"))
    return ahead


AHEAD = SimpleNamespace(host="jump.example.com", port=8443, scheme="https")


@pytest.mark.parametrize(
    ("host", "through"),
    [("ssmmessages.eu-west-1.amazonaws.com", True), ("db.eu-west-1.rds.amazonaws.com", True),
     ("pypi.org", False), ("amazonaws.com.evil.example", False)],
)  # fmt: skip
def test_tunnels_to_aws_go_by_the_gateway_ahead(host: str, through: bool) -> None:
    route = Route(Way.TUNNEL, host, 443, "any")

    assert tunnels_of().through(route) is (AHEAD if through else None)
    assert tunnels_of().through(None) is None


def test_a_tunnel_is_whose_call_was_the_last_while_that_lasts() -> None:
    ahead = tunnels_of()
    said = ahead.authorization(99.0).decode()

    assert base64.b64decode(said.removeprefix("Basic ")) == b"GATEAAAAAAAAAAAAAAAA:canary"
    assert ahead.authorization(100.0) == b""
    ahead.used(AwsCredentials("ASIA", "s", "t", 1e9))  # of STS: has none
    assert ahead.authorization(99.0).decode() == said
    assert Ahead(SimpleNamespace(ahead=AHEAD)).authorization(0.0) == b""  # type: ignore[arg-type]


async def test_public_roots_prove_it_at_no_time(rig: Rig) -> None:
    """Not before the first server is met either, nor if the look at the login fails then."""
    rig.gateway.ahead = NextGateway(SPEC, rig.gateway.settings.state)
    with taddons.context() as context:
        gate = AwsGate()
        gate._watch(rig.hooks)
        trusted = context.options.ssl_verify_upstream_trusted_ca
        assert gate.watch is not None
        gate.watch.close()

    assert trusted == os.devnull
