"""What the gateway says instead: of an answer, of a body, of a call that another policy decides."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from mitmproxy import http
from mitmproxy.test import taddons

from awsgate.addon import patches, tripwire
from awsgate.addon.entry import AwsGate
from awsgate.addon.record import TRACE, Trace
from awsgate.addon.tripwire import is_stamped
from awsgate.addon.tunnels import Route, Way
from awsgate.errors import Code, Refusal, SetupError
from awsgate.nextgateway import NextGateway
from awsgate.wiring import Settings
from calls import POLICY
from hooking import INVOKE, PUT, Rig, refusal_of
from hopping import SPEC

CREDENTIALS = json.dumps(
    {"Credentials": {"AccessKeyId": "ASIAREALREALREALREAL", "SecretAccessKey": "canary" * 7,
                     "SessionToken": "canary" * 20, "Expiration": 1_795_490_000}}
).encode()  # fmt: skip


async def answered(rig: Rig, status: int, body: bytes) -> http.HTTPFlow:
    """Give a flow whose answer may hold credentials, and has just come."""
    flow = rig.flow(INVOKE)
    await rig.pass_through(flow)
    trace: Trace = flow.metadata[TRACE]
    trace.plan = replace(trace.planned, issues=True)
    flow.metadata[tripwire.ISSUES] = True
    flow.response = http.Response.make(status, body)
    return flow


@pytest.mark.parametrize("status", [300, 400, 403, 404, 500])
async def test_an_error_that_holds_credentials_is_withheld(rig: Rig, status: int) -> None:
    flow = await answered(rig, status, CREDENTIALS)

    rig.hooks.answers.rewrite(flow, flow.metadata[TRACE])

    assert refusal_of(flow)[1] == "gateway-fault"
    assert flow.response is not None
    assert b"canary" not in flow.response.content


async def test_an_error_that_holds_none_goes_on(rig: Rig) -> None:
    flow = await answered(rig, 403, b'{"message": "no"}')

    rig.hooks.answers.rewrite(flow, flow.metadata[TRACE])

    assert flow.response is not None
    assert (flow.response.status_code, flow.response.content) == (403, b'{"message": "no"}')
    assert flow.metadata[tripwire.REWRITTEN] is True


async def test_credentials_that_cannot_be_read_are_withheld_and_it_is_said(rig: Rig) -> None:
    flow = await answered(rig, 200, CREDENTIALS.replace(b"Expiration", b"Expires"))

    rig.hooks.answers.rewrite(flow, flow.metadata[TRACE])

    assert refusal_of(flow)[0] >= 500
    assert flow.response is not None
    assert b"canary" not in flow.response.content
    assert flow.metadata[TRACE].refusal is not None


async def test_a_body_that_broke_its_promise_is_answered_for(rig: Rig) -> None:
    flow = rig.flow(PUT)
    await rig.pass_through(flow)
    broke = Refusal(Code.BAD_SIGNATURE, "the signature of a chunk does not match")

    assert rig.hooks.answers.body_refused(flow, broke)

    assert refusal_of(flow) == (403, "bad-signature")
    assert flow.metadata[TRACE].refusal is broke


async def test_a_role_is_not_used_as_a_policy_asked_that_is_not_in_force_any_more(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was assumed with the external id of the policy before."""
    assume = rig.sts.assume
    app = POLICY.apps["console"]
    aws = app.spec.aws.model_copy(update={"external_id": "ext-2"})
    spec = app.spec.model_copy(update={"aws": aws})
    later = replace(POLICY, apps={"console": app.model_copy(update={"spec": spec})})

    def slow(request: Any) -> Any:
        rig.gateway.policy = later
        rig.gateway.gate = replace(rig.gateway.gate, policy=later)
        return assume(request)

    monkeypatch.setattr(rig.sts, "assume", slow)
    flow = rig.flow(PUT)

    await rig.pass_through(flow)

    assert refusal_of(flow) == (503, "role-unavailable")
    assert not is_stamped(flow.request)


# --- before anybody has logged in ahead ------------------------------------------------


def test_nothing_goes_to_a_gateway_ahead_that_cannot_prove_itself(rig: Rig) -> None:
    rig.gateway.ahead = NextGateway(SPEC, rig.gateway.settings.state)

    with pytest.raises(Refusal, match="nobody is logged in at the gateway") as caught:
        rig.gateway.upstream_for(PUT.host)
    assert caught.value.code is Code.UPSTREAM_FAILED


def test_nor_does_a_tunnel(rig: Rig) -> None:
    rig.gateway.ahead = NextGateway(SPEC, rig.gateway.settings.state)
    flow = rig.flow(PUT)
    route = Route(Way.TUNNEL, "www.example.com", 443, "non-aws")
    rig.hooks.tunnelling._through = lambda _: rig.gateway.ahead

    with pytest.raises(Refusal, match="nobody is logged in at the gateway"):
        rig.hooks.tunnelling._let(flow, route, None)
    assert rig.wire.sni_for(flow.client_conn, ("jump.example.com", 8443)) == ""
    assert tripwire.ROUTED not in flow.metadata


# --- another mitmproxy -------------------------------------------------------------------


async def test_in_a_mitmproxy_that_nobody_knows_nothing_is_built(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    built: list[Settings] = []

    class Stop(Exception):
        pass

    def assembled(settings: Settings) -> None:
        built.append(settings)
        raise Stop

    gate = AwsGate()
    monkeypatch.setattr(gate, "assembled", assembled, raising=False)
    monkeypatch.setattr(patches, "unknown", lambda _: {"Http1Client.send"})
    with taddons.context() as context:
        for name in ("policy", "state", "certs", "metrics", "upstream"):
            context.options.add_option(f"awsgate_{name}", str, "", "")
        with pytest.raises(SetupError, match=r"Http1Client\.send has changed"):
            gate._build()
        gate.layers_of_mitmproxy = False
        with pytest.raises(Stop):
            gate._build()

    assert len(built) == 1
