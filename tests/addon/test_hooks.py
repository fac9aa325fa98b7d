"""One request through the hooks, as mitmproxy calls them: signed or refused."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Awaitable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from mitmproxy import flow as mflow
from mitmproxy import http

from awsgate.addon import tripwire
from awsgate.addon.record import TRACE, Trace
from awsgate.addon.tripwire import is_stamped
from awsgate.errors import Code, Refusal
from awsgate.gate import Gate
from awsgate.outgoing import Hop
from calls import ADMIN, READER, Call, minted
from hooking import INVOKE, PUT, STREAMED, Rig, refusal_of
from signers import WHEN, value_of
from tunnelrig import lock


@pytest.mark.parametrize("call", [PUT, INVOKE], ids=["body streamed", "body read"])
async def test_an_allowed_call_is_signed_as_the_role_and_stamped(rig: Rig, call: Call) -> None:
    flow = rig.flow(call)

    await rig.pass_through(flow)

    assert flow.response is None
    assert is_stamped(flow.request)
    fields = flow.request.data.headers.fields
    assert b"Credential=ASIAROLE/" in value_of(fields, b"authorization")
    assert value_of(fields, b"x-amz-security-token") == b"canary-role-token"
    assert value_of(fields, b"host") == call.host.encode()
    assert flow.request.data.path == call.target.encode(), "the path is as it came"
    assert rig.wire.sni_for(flow.client_conn, (call.host, 443)) == call.host
    assert [request.role_arn for request in rig.sts.calls] == [READER]


@pytest.mark.parametrize("fails", ["tunnelling", "ahead"])
async def test_what_fails_at_the_head_of_an_answer_does_not_let_the_token_through(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    """A service that does not take our signature repeats what it was asked with."""

    def fail(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(getattr(rig.hooks, fails), "note", fail)
    flow = rig.flow(INVOKE)
    await rig.pass_through(flow)
    flow.response = http.Response.make(403, b"x-amz-security-token:canary-role-token")

    with pytest.raises(RuntimeError):  # the host logs it, and calls the next hook
        rig.hooks.responseheaders(flow)
    rig.wire.responseheaders(flow)
    rig.hooks.response(flow)
    rig.wire.response(flow)

    assert not flow.response.stream
    assert b"canary" not in (flow.response.content or b"")


async def test_a_body_that_is_hashed_in_its_head_streams_at_once(rig: Rig) -> None:
    flow = rig.flow(STREAMED)

    pending = rig.hooks.requestheaders(flow)
    assert pending is not None
    await pending

    assert callable(flow.request.stream)
    assert is_stamped(flow.request)
    assert flow.request.stream(b"hello") == [b"hello"]
    assert flow.metadata[TRACE].bytes_in == 5


async def test_a_body_that_is_not_is_waited_for(rig: Rig) -> None:
    flow = rig.flow(INVOKE)

    assert rig.hooks.requestheaders(flow) is None

    assert flow.metadata[tripwire.PENDING] is True
    assert not flow.request.stream
    assert not is_stamped(flow.request)


async def test_credentials_at_hand_are_signed_with_at_once(rig: Rig) -> None:
    await rig.pass_through(rig.flow(STREAMED))
    flow = rig.flow(STREAMED)

    assert rig.hooks.requestheaders(flow) is None

    assert is_stamped(flow.request)
    assert len(rig.sts.calls) == 1


def unsigned(fields: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return [pair for pair in fields if pair[0].lower() != b"authorization"]


REFUSED: dict[str, tuple[Call, int, Code]] = {
    "not signed": (replace(PUT, after=unsigned), 403, Code.NOT_SIGNED),
    "signed with another secret": (replace(PUT, secret="x" * 40), 403, Code.BAD_SIGNATURE),
    "signed with another secret, its body read": (
        replace(INVOKE, secret="x" * 40),
        403,
        Code.BAD_SIGNATURE,
    ),
    "a role that the user does not have": (
        replace(PUT, keys=minted(role_arn=ADMIN)),
        403,
        Code.DENIED,
    ),
    "a user that is nobody": (replace(PUT, keys=minted(user="mallory")), 403, Code.DENIED),
    "a session that ended": (replace(PUT, keys=minted(age_s=4000)), 403, Code.SESSION_EXPIRED),
    "not aws": (replace(PUT, host="example.com"), 400, Code.NOT_AN_AWS_ENDPOINT),
}


@pytest.mark.parametrize(("call", "status", "code"), REFUSED.values(), ids=REFUSED)
async def test_a_refused_call_is_answered_recorded_and_goes_nowhere(
    rig: Rig, call: Call, status: int, code: Code
) -> None:
    flow = rig.flow(call)

    await rig.pass_through(flow)
    rig.hooks.responseheaders(flow)
    rig.hooks.response(flow)

    assert refusal_of(flow) == (status, code)
    assert not is_stamped(flow.request)
    assert not flow.request.stream
    assert rig.sts.calls == []
    (record,) = rig.records()
    assert (record["decision"], record["code"], record["status"]) == ("refused", code, status)


async def test_a_body_that_is_not_the_signed_one_is_refused(rig: Rig) -> None:
    flow = rig.flow(INVOKE)
    flow.request.data.content = b"{ }"

    await rig.pass_through(flow)

    assert refusal_of(flow) == (403, Code.BAD_SIGNATURE)


async def test_another_port_of_an_aws_endpoint_is_refused_in_its_words(rig: Rig) -> None:
    flow = rig.flow(PUT, port=8443)

    await rig.pass_through(flow)

    assert refusal_of(flow) == (421, Code.UNSUPPORTED)


async def test_what_sts_refuses_is_told_to_the_caller(rig: Rig) -> None:
    rig.sts.refusal = Refusal(Code.ROLE_UNAVAILABLE, "not now", status=503, detail="why")
    flow = rig.flow(PUT)

    await rig.pass_through(flow)
    rig.hooks.response(flow)

    assert refusal_of(flow) == (503, Code.ROLE_UNAVAILABLE)
    assert flow.response is not None
    assert b"why" not in (flow.response.raw_content or b"")
    assert "[why]" in rig.records()[0]["reason"], "the detail is for the audit"


@pytest.mark.parametrize("place", ["receive", "authorise"])
async def test_a_fault_of_ours_refuses_and_quotes_nothing(
    rig: Rig, place: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise KeyError("canary")

    monkeypatch.setattr(Gate, place, fail)
    flow = rig.flow(INVOKE)

    await rig.pass_through(flow)
    rig.hooks.response(flow)

    assert refusal_of(flow) == (500, Code.GATEWAY_FAULT)
    assert not is_stamped(flow.request)
    assert "KeyError at " in caplog.text
    assert flow.response is not None
    shown = caplog.text + str(flow.response.raw_content) + str(rig.records())
    assert "canary" not in shown


async def test_a_request_that_mitmproxy_refused_is_recorded_and_not_reviewed(rig: Rig) -> None:
    flow = rig.flow(PUT)
    flow.error = mflow.Error("malformed")

    await rig.pass_through(flow)
    rig.hooks.error(flow)

    assert refusal_of(flow) == (400, Code.UNSUPPORTED)
    assert not is_stamped(flow.request)
    assert [(r["decision"], r["code"], r["user"]) for r in rig.records()] == [
        ("refused", Code.UNSUPPORTED, "")
    ]


async def test_a_connection_that_ends_leaves_no_request_unrecorded(rig: Rig) -> None:
    flow = rig.flow(PUT)
    await rig.pass_through(flow)

    rig.hooks.client_disconnected(flow.client_conn)
    rig.hooks.client_disconnected(flow.client_conn)

    assert [record["user"] for record in rig.records()] == ["alice"]


async def test_a_large_body_is_refused_by_its_head(rig: Rig) -> None:
    limit = rig.gateway.policy.gateway.limits.max_body_bytes
    flow = rig.flow(replace(INVOKE, headers=(("Content-Length", str(limit + 1)),)))

    assert rig.hooks.requestheaders(flow) is None

    assert refusal_of(flow) == (413, Code.BODY_TOO_LARGE)


async def test_calls_do_not_mix(rig: Rig) -> None:
    """Many at once, good and bad: each gets its own answer."""
    calls = [PUT if number % 2 else replace(PUT, secret="x" * 40) for number in range(20)]
    flows = [rig.flow(call) for call in calls]

    await asyncio.gather(*(rig.pass_through(flow) for flow in flows))

    assert [is_stamped(flow.request) for flow in flows] == [n % 2 == 1 for n in range(20)]
    assert len(rig.sts.calls) == 1
    assert all(isinstance(flow.metadata[TRACE], Trace) for flow in flows)


@pytest.mark.parametrize(
    ("address", "secured", "plain_public", "served"),
    [
        ("127.0.0.1", False, False, True),
        ("::1", False, False, True),
        ("192.0.2.7", False, False, False),
        ("2001:db8::7", False, False, False),
        ("192.0.2.7", True, False, True),
        ("192.0.2.7", False, True, True),
    ],
)
def test_who_comes_in_plain_from_elsewhere_is_not_served(
    rig: Rig, address: str, secured: bool, plain_public: bool, served: bool
) -> None:
    spec = rig.gateway.policy.gateway.model_copy(update={"plain_public": plain_public})
    rig.gateway.policy = replace(rig.gateway.policy, gateway=spec)
    rig.hooks.secured = secured
    client = rig.flow(PUT).client_conn
    client.peername = (address, 50000)

    rig.hooks.client_connected(client)

    assert (client.error is None) == served


async def asking_sts(rig: Rig) -> tuple[http.HTTPFlow, Awaitable[None]]:
    """Give a call that is decided and waits for its role's keys."""
    flow = rig.flow(INVOKE)
    assert rig.hooks.requestheaders(flow) is None
    pending = rig.hooks.request(flow)
    assert pending is not None
    return flow, pending


async def test_a_request_that_was_cut_while_sts_was_asked_goes_nowhere(rig: Rig) -> None:
    flow, pending = await asking_sts(rig)
    before = rig.gateway.gate
    rig.gateway.take_locks(lock(user="alice"))
    rig.hooks.cut_locked()
    rig.gateway.gate = before  # the lock is gone again, and with it what it decides

    await pending

    assert refusal_of(flow)[1] == Code.LOCKED
    assert not is_stamped(flow.request)


async def test_a_request_whose_session_ended_while_sts_was_asked_goes_nowhere(rig: Rig) -> None:
    flow, pending = await asking_sts(rig)
    rig.hooks.clock = lambda: WHEN + timedelta(hours=12)

    await pending

    assert refusal_of(flow)[1] == Code.SESSION_EXPIRED
    assert not is_stamped(flow.request)


@pytest.mark.parametrize("call", [PUT, INVOKE], ids=["body streamed", "body read"])
async def test_one_too_many_of_a_user_goes_nowhere(rig: Rig, call: Call) -> None:
    spec = rig.gateway.policy.gateway
    limits = spec.limits.model_copy(update={"max_requests_per_user": 1})
    spec = spec.model_copy(update={"limits": limits})
    rig.gateway.policy = replace(rig.gateway.policy, gateway=spec)
    first, second = rig.flow(call), rig.flow(call)

    await rig.pass_through(first)
    await rig.pass_through(second)

    assert is_stamped(first.request)
    assert refusal_of(second)[1] == Code.THROTTLED
    assert not is_stamped(second.request)


async def upgraded(rig: Rig, *, left: timedelta = timedelta(minutes=1)) -> http.HTTPFlow:
    """Give a WebSocket that was signed and is open, ``left`` before its session ends."""
    flow = rig.flow(PUT)
    await rig.pass_through(flow)
    trace = flow.metadata[TRACE]
    trace.plan = replace(trace.planned, upgrade=True)
    now = datetime.fromtimestamp(trace.review.session.expires_at, UTC) - left
    rig.hooks.clock = lambda: now
    flow.response = http.Response.make(101)
    rig.hooks.responseheaders(flow)
    rig.hooks.response(flow)
    return flow


async def test_a_websocket_is_cut_when_its_session_ends(rig: Rig) -> None:
    cut: list[str] = []
    rig.hooks.cut = cut.append
    flow = await upgraded(rig, left=timedelta(seconds=0.1))
    assert cut == []

    await asyncio.sleep(0.3)

    assert cut == [flow.client_conn.id]
    rig.hooks.client_disconnected(flow.client_conn)
    assert rig.records()[-1]["code"] == "session-expired"


async def test_a_websocket_that_has_ended_is_not_kept_until_its_session_ends(rig: Rig) -> None:
    flow = await upgraded(rig)
    rig.hooks.client_disconnected(flow.client_conn)
    kept = weakref.ref(flow)
    del flow
    gc.collect()

    assert kept() is None


async def test_a_websocket_is_cut_once_the_policy_takes_the_role_away(rig: Rig) -> None:
    cut: list[str] = []
    rig.hooks.cut = cut.append
    flow = await upgraded(rig)
    rig.hooks.cut_locked()
    assert cut == []
    nobody = replace(rig.gateway.gate.policy, users={})
    rig.gateway.gate = replace(rig.gateway.gate, policy=nobody)

    rig.hooks.cut_locked()

    assert cut == [flow.client_conn.id]
    assert flow.metadata[TRACE].refusal.code is Code.DENIED


async def test_what_comes_before_an_answer_ends_the_connection(rig: Rig) -> None:
    """It was taken for the answer: the answer would go to the next request."""
    flow = rig.flow(PUT)
    await rig.pass_through(flow)
    flow.live, flow.response = True, http.Response.make(103)

    rig.hooks.responseheaders(flow)

    assert flow.error is not None
    assert flow.error.msg == mflow.Error.KILLED_MESSAGE


async def test_credentials_of_awss_do_not_go_to_the_gateway_ahead(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    authorise = Gate.authorise

    def ahead(self: Gate, *args: Any) -> Any:
        return replace(authorise(self, *args), hop=Hop("gateway/far", "alice", "console", False))

    monkeypatch.setattr(Gate, "authorise", ahead)
    flow = rig.flow(PUT)

    await rig.pass_through(flow)  # STS answers, where the gateway ahead should have

    assert refusal_of(flow)[1] == Code.GATEWAY_FAULT
    assert not is_stamped(flow.request)
