"""The one place where a request is signed and pointed at its server: AWS, or the gateway ahead."""

from __future__ import annotations

from datetime import datetime

from mitmproxy import http

from awsgate import onward, outgoing
from awsgate.addon import flows, tripwire
from awsgate.addon.record import Trace
from awsgate.addon.tripwire import Tripwire
from awsgate.aws.sigv4 import SigningKeys
from awsgate.wiring import Gateway


def send(
    gateway: Gateway,
    wire: Tripwire,
    flow: http.HTTPFlow,
    trace: Trace,
    keys: SigningKeys | None,
    now: datetime,
) -> None:
    """Sign a planned request, let it go to its server, and stamp it."""
    plan, review = trace.planned, trace.review
    onward.check_keys(plan, keys)
    out = outgoing.sign(
        plan,
        review.facts,
        review.claim if plan.form is not None else None,
        client_secret=review.secret,
        keys=keys,
        now=now,
    )
    upstream = gateway.upstream_for(plan.target_host, plan.port)
    flows.send_to(flow, out, scheme=upstream.scheme, host=upstream.host, port=upstream.port)
    trace.resigner = out.resigner
    if keys is not None:
        trace.access_key_id, trace.token = keys.access_key_id, keys.session_token
    if plan.issues:
        flow.metadata[tripwire.ISSUES] = True
    name = plan.target_host if plan.hop is None else upstream.host
    wire.approve(flow.client_conn, (upstream.host, upstream.port), name)
    tripwire.stamp(flow.request)
