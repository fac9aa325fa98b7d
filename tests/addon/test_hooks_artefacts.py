"""An order through the hooks: answered by the gateway, recorded, and never stamped."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from awsgate.addon.record import TRACE
from awsgate.addon.tripwire import is_stamped
from awsgate.errors import Code, Refusal
from calls import READER, ROLE_KEYS, Call, minted
from hooking import Rig, refusal_of
from ordering import ACCOUNT, ALL_ORDERS, EKS_ORDER, S3_ORDER, order_call, their_url
from signers import WHEN

NEVER_KEPT = (
    "Signature",
    "canary",
    "k8s-aws-v1",
    minted().secret_access_key,
    minted().session_token,
)


async def answered(rig: Rig, call: Call) -> Any:
    flow = rig.flow(call)
    await rig.pass_through(flow)
    rig.hooks.responseheaders(flow)
    assert flow.response is not None
    assert not flow.response.stream
    rig.hooks.response(flow)
    assert not is_stamped(flow.request)
    return flow


@pytest.mark.parametrize("kind", ALL_ORDERS)
async def test_an_order_is_answered_and_nothing_is_stamped(rig: Rig, kind: str) -> None:
    flow = await answered(rig, order_call(ALL_ORDERS[kind]))

    assert flow.response.status_code == 200
    assert flow.response.headers["cache-control"] == "no-store"
    assert json.loads(flow.response.content)["kind"] == kind
    assert ROLE_KEYS.secret_access_key.encode() not in flow.response.content
    assert flow.request.data.host == order_call(S3_ORDER).host, "it points nowhere else"
    assert rig.wire._approved == {}
    assert [request.role_arn for request in rig.sts.calls] == [READER]


async def test_what_is_handed_out_is_made_with_the_roles_keys(rig: Rig) -> None:
    flow = await answered(rig, order_call({**S3_ORDER, "expires_in": 600}))

    assert json.loads(flow.response.content)["url"] == their_url(
        ROLE_KEYS, WHEN, method="GET", bucket="reports", key="a/b.txt", expires_s=600
    )


async def test_the_audit_says_what_was_handed_out_and_holds_none_of_it(rig: Rig) -> None:
    await answered(rig, order_call(EKS_ORDER))

    (line,) = rig.records()
    wanted = {
        "event": "artefact",
        "user": "alice",
        "role_arn": READER,
        "service": "eks",
        "region": "eu-central-1",
        "host": "sts.eu-central-1.amazonaws.com",
        "action": "eks:AccessKubernetesApi",
        "resource": f"arn:aws:eks:eu-central-1:{ACCOUNT}:cluster/dev",
        "access_level": "Write",
        "path": "/.awsgate/v1/artefact",
        "decision": "allowed",
        "rule": "role/read",
        "reason": "artefact eks, good until 2026-11-23T10:29:30Z",
        "status": 200,
        "access_key_id": ROLE_KEYS.access_key_id,
        "session_name": "alice",
    }
    assert {name: line[name] for name in wanted} == wanted
    assert not [secret for secret in NEVER_KEPT if secret in json.dumps(line)]


async def test_the_operators_limit_reaches_the_url(rig: Rig) -> None:
    flow = await answered(rig, order_call({**S3_ORDER, "expires_in": 86400}))

    said = json.loads(flow.response.content)
    assert (said["expires_in"], said["limited_by"]) == (900, "presign_max_ttl")


async def test_a_refusal_is_json_and_recorded_as_an_order(rig: Rig) -> None:
    flow = await answered(rig, order_call({**S3_ORDER, "key": "a/../b"}))

    assert refusal_of(flow) == (400, Code.UNSUPPORTED)
    said = json.loads(flow.response.content)
    assert said["message"].startswith("awsgate unsupported: key holds")
    (line,) = rig.records()
    assert (line["event"], line["decision"], line["code"]) == ("artefact", "refused", "unsupported")
    assert rig.sts.calls == []


async def test_without_the_roles_keys_there_is_no_artefact(rig: Rig) -> None:
    rig.sts.refusal = Refusal(Code.ROLE_UNAVAILABLE, "no", status=503)

    flow = await answered(rig, order_call(S3_ORDER))

    assert refusal_of(flow) == (503, Code.ROLE_UNAVAILABLE)


async def test_an_order_that_a_lock_cuts_off_while_it_waits_gets_nothing(rig: Rig) -> None:
    flow = rig.flow(order_call(S3_ORDER))
    rig.hooks.requestheaders(flow)
    pending = rig.hooks.request(flow)
    assert pending is not None
    waiting = asyncio.ensure_future(pending)
    await asyncio.sleep(0)

    flow.metadata[TRACE].refusal = Refusal(Code.LOCKED, "cut off")
    await waiting

    assert refusal_of(flow) == (403, Code.LOCKED)
    assert "X-Amz-Signature" not in flow.response.get_text()
