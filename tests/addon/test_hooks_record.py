"""What the hooks answer and record: the end of a request, CONNECT, failures of a server."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
from mitmproxy import flow as mflow
from mitmproxy import http
from mitmproxy.test import tflow

from awsgate.addon import tripwire
from awsgate.addon.hooks import Hooks
from awsgate.addon.record import TRACE
from awsgate.addon.tripwire import is_stamped
from awsgate.addon.tunnels import Way
from awsgate.audit import AuditUnavailable
from awsgate.errors import Code, Refusal
from calls import READER, S3
from hooking import INVOKE, PUT, SECRETS, STREAMED, Rig, refusal_of


async def test_an_answer_streams_and_one_line_is_written(rig: Rig) -> None:
    flow = rig.flow(STREAMED)
    await rig.pass_through(flow)
    flow.request.stream(b"hello")  # type: ignore[operator]
    flow.response = http.Response.make(200, b"", {"x-amz-request-id": "REQ1"})
    rig.hooks.responseheaders(flow)
    assert callable(flow.response.stream)
    flow.response.stream(b"four")

    rig.hooks.response(flow)
    rig.hooks.response(flow)
    rig.hooks.error(flow)

    (record,) = rig.records()
    expected = {
        "event": "request",
        "user": "alice",
        "app": "console",
        "role_arn": READER,
        "service": "s3",
        "host": S3,
        "decision": "allowed",
        "status": 200,
        "code": "",
        "bytes_in": 5,
        "bytes_out": 4,
        "aws_request_id": "REQ1",
        "access_key_id": "ASIAROLE",
        "path": STREAMED.target.partition("?")[0],
    }
    assert {name: record[name] for name in expected} == expected
    assert not any(secret in rig.gateway.audit_path.read_text() for secret in SECRETS)


async def test_a_request_cut_short_is_recorded_too(rig: Rig) -> None:
    flow = rig.flow(PUT)
    await rig.pass_through(flow)
    flow.error = mflow.Error("client went away")

    rig.hooks.error(flow)

    assert [record["decision"] for record in rig.records()] == ["allowed"]
    assert rig.records()[0]["reason"]


async def test_without_an_audit_nothing_more_is_forwarded(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise AuditUnavailable("no space left")

    first, second, third = (rig.flow(PUT) for _ in range(3))
    await rig.pass_through(first)
    with monkeypatch.context() as patch:
        patch.setattr(type(rig.gateway.audit), "write", full)
        rig.hooks.response(first)
        await rig.pass_through(second)
    await rig.pass_through(third)

    assert refusal_of(second) == (503, Code.GATEWAY_FAULT)
    assert is_stamped(third.request), "and as soon as it can be written, it goes on"
    assert len(rig.records()) == 1, "what could not be written then is written now"


# --- CONNECT --------------------------------------------------------------------


def connect(host: str, port: int = 443) -> http.HTTPFlow:
    flow = tflow.tflow()
    data = flow.request.data
    data.method, data.host, data.port = b"CONNECT", host, port
    data.authority = f"{host}:{port}".encode()
    return flow


def test_an_aws_host_is_intercepted_and_not_yet_dialled(rig: Rig) -> None:
    flow = connect("STS.eu-west-1.amazonaws.com.")

    rig.hooks.http_connect(flow)

    assert flow.response is None
    assert flow.metadata[tripwire.ROUTED] is True
    route = rig.hooks.routes.get(flow.client_conn.id)
    assert route is not None
    assert (route.way, route.host) == (Way.INTERCEPT, "sts.eu-west-1.amazonaws.com")
    assert not rig.wire._approved


def test_a_tunnel_is_approved_counted_and_recorded_to_its_end(rig: Rig) -> None:
    host = "ssmmessages.eu-west-1.amazonaws.com"
    flow = connect(host)

    rig.hooks.http_connect(flow)
    rig.hooks.http_connected(flow)
    rig.hooks.client_disconnected(flow.client_conn)
    rig.hooks.client_disconnected(flow.client_conn)

    assert flow.response is None
    assert rig.wire._approved == {flow.client_conn.id: {(host, 443): ""}}
    records = rig.records()
    assert {record["host"] for record in records} == {f"{host}:443"}
    assert [record["event"] for record in records] == ["tunnel.open", "tunnel.close"]
    assert rig.hooks.routes.get(flow.client_conn.id) is None


@pytest.mark.parametrize("host", ["example.com", "169.254.169.254", "a@b"])
def test_any_other_host_is_refused_by_name_of_the_rule(rig: Rig, host: str) -> None:
    flow = connect(host)

    rig.hooks.http_connect(flow)

    assert refusal_of(flow) == (403, Code.NOT_AN_AWS_ENDPOINT)
    assert tripwire.ROUTED not in flow.metadata
    assert [record["event"] for record in rig.records()] == ["tunnel.refuse"]


# --- for the patches ------------------------------------------------------------


async def test_a_failed_server_is_answered_for_in_the_calls_protocol(rig: Rig) -> None:
    flow = rig.flow(PUT)
    await rig.pass_through(flow)

    assert rig.hooks.answers.upstream_failed(flow, "Connection refused: b'canary'")

    assert refusal_of(flow)[1] == Code.UPSTREAM_FAILED
    assert flow.response is not None
    assert b"<Error>" in (flow.response.raw_content or b"")
    assert b"canary" not in (flow.response.raw_content or b"")


def test_flows_that_the_gate_did_not_see_are_not_its_to_answer(rig: Rig) -> None:
    flow = tflow.tflow()

    assert not rig.hooks.answers.upstream_failed(flow, "x")
    assert not rig.hooks.answers.body_exceeds(flow, 10**12)
    assert not rig.hooks.answers.owes_continue(flow)
    assert not rig.hooks.answers.may_send(flow.request)
    assert flow.response is None


def test_bodies_are_bounded_each_and_together(rig: Rig) -> None:
    limits = rig.gateway.policy.gateway.limits
    half = limits.max_body_bytes
    flows = [rig.flow(INVOKE) for _ in range(limits.max_buffered_bytes // half + 1)]
    for number, flow in enumerate(flows):
        flow.id = str(number)
        rig.hooks.requestheaders(flow)
    *fitting, last = flows

    assert not [flow for flow in fitting if rig.hooks.answers.body_exceeds(flow, half)]
    assert rig.hooks.answers.body_exceeds(last, half)
    assert refusal_of(last) == (503, Code.BODY_TOO_LARGE)
    assert rig.hooks.answers.body_exceeds(fitting[0], half + 1)
    assert refusal_of(fitting[0]) == (413, Code.BODY_TOO_LARGE)

    for flow in flows:
        rig.hooks.response(flow)
    another = rig.flow(INVOKE)
    rig.hooks.requestheaders(another)
    assert not rig.hooks.answers.body_exceeds(another, half), "what was answered is held no more"


def test_bodies_without_our_credentials_leave_room_for_the_others(rig: Rig) -> None:
    """Nobody has to prove anything to have one held: a POST form, a call to STS."""
    limits, answers = rig.gateway.policy.gateway.limits, rig.hooks.answers
    each = limits.max_body_bytes
    flows = [rig.flow(INVOKE) for _ in range(limits.max_buffered_bytes // each // 2 + 1)]
    for number, flow in enumerate(flows):
        flow.id = str(number)
        rig.hooks.requestheaders(flow)
        flow.metadata[TRACE].review.session = None
    *fitting, last = flows

    assert not [flow for flow in fitting if answers.body_exceeds(flow, each)]
    assert answers.body_exceeds(last, each)
    assert refusal_of(last) == (503, Code.BODY_TOO_LARGE)
    rig.hooks.response(last)
    known = rig.flow(INVOKE)
    rig.hooks.requestheaders(known)
    assert not answers.body_exceeds(known, each)


async def test_chunks_that_are_not_proved_yet_count_as_bodies_that_are_held(rig: Rig) -> None:
    limits, taken = rig.gateway.policy.gateway.limits, []
    for number in range(3):
        flow = rig.flow(PUT)
        flow.id = str(number)
        await rig.pass_through(flow)
        trace = flow.metadata[TRACE]
        trace.plan = replace(trace.plan, payload="STREAMING-AWS4-HMAC-SHA256-PAYLOAD")
        trace.resigner = SimpleNamespace(held=limits.max_buffered_bytes // 2, feed=lambda d: d)
        taken.append((trace, rig.hooks.answers.taker(flow, trace)))
    (first, take_first), (_, take_second), (_, take_third) = taken

    assert take_first(b"x") == take_second(b"x") == [b"x"]
    with pytest.raises(Refusal) as caught:
        take_third(b"x")
    assert (caught.value.code, caught.value.status) == (Code.BODY_TOO_LARGE, 503)
    rig.hooks.answers.forget(flow)
    first.resigner.held = 0  # its chunk is proved
    take_first(b"x")
    assert take_third(b"x") == [b"x"]


async def test_a_request_that_ended_without_a_word_is_recorded_before_the_next(rig: Rig) -> None:
    first, second = rig.flow(PUT), rig.flow(PUT)
    second.client_conn = first.client_conn
    await rig.pass_through(first)

    await rig.pass_through(second)

    assert [record["id"] for record in rig.records()] == [first.id]
    assert rig.hooks.recorder.in_flight.total() == 1
    rig.hooks.response(second)
    assert rig.hooks.recorder.in_flight.total() == 0


async def test_an_instance_that_is_loaded_again_goes_on_counting(rig: Rig) -> None:
    flow = rig.flow(PUT)
    await rig.pass_through(flow)
    following = Hooks(rig.gateway, rig.wire, clock=rig.hooks.clock)

    following.inherit(rig.hooks.leave())

    assert following.recorder.in_flight.total() == 1
    following.response(flow)
    assert following.recorder.in_flight.total() == 0
