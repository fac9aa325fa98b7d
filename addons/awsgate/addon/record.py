"""What is kept of each request and tunnel: one audit line, and the metrics.

A line is written whatever became of the request: forwarded, refused, failed, cut
off. ``Trace`` collects while the request runs; ``Recorder`` writes once at its end.
"""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass, field
from datetime import datetime
from time import perf_counter

from mitmproxy import connection, http

from awsgate import gate as gates
from awsgate.addon.backlog import Backlog
from awsgate.addon.tunnels import Route, Way
from awsgate.audit import AuditRecord, AuditUnavailable
from awsgate.auditline import resource_text
from awsgate.aws.chunked import ChunkError
from awsgate.errors import Code, Refusal
from awsgate.outgoing import Plan, Resigner
from awsgate.session import IssuedKeys, session_name_for
from awsgate.timestamps import utc_millis
from awsgate.tunnelpass import TunnelCaller
from awsgate.usage import InFlight
from awsgate.wiring import Gateway

log = logging.getLogger("awsgate")

TRACE = "awsgate.trace"
"""Flow metadata: the ``Trace`` of the request."""

# AWS puts its request id under one of these, by protocol.
_REQUEST_IDS = (b"x-amzn-requestid", b"x-amz-request-id", b"x-amz-cf-id")


@dataclass(slots=True)
class Trace:
    """One request on its way through the gateway."""

    review: gates.Review
    request_id: str
    started: float
    """``perf_counter`` at the head of the request."""
    plan: Plan | None = None
    resigner: Resigner | None = None
    refusal: Refusal | None = None
    access_key_id: str = ""
    """The real one, as CloudTrail shows it."""
    bytes_in: int = 0
    bytes_out: int = 0
    overhead_s: float = 0.0
    """Time this process spent deciding and signing; waiting for STS is not in it."""
    recorded: bool = False
    stopped: bool = False
    """The gateway went down while the answer was awaited."""
    token: str = field(default="", repr=False)
    """The role's session token that the request was signed with."""
    note: str = ""
    """What the gateway itself gave out. For the audit."""
    refused_ahead: Code | None = None
    """Why the gateway ahead, to which it was handed, refused it."""
    counted: str = ""
    """Whose request under way it is; empty: nobody's, or it is over."""

    @property
    def planned(self) -> Plan:
        """Give the plan. Raises ``Refusal`` where the gate has not made one."""
        if self.plan is None:
            raise Refusal(Code.GATEWAY_FAULT, "no plan was made for this request")
        return self.plan

    def take_in(self, data: bytes) -> list[bytes]:
        """Count and pass on a piece of the request body; nothing: it ends here.

        Raises ``Refusal`` if signatures in the body do not hold.
        """
        self.bytes_in += len(data)
        if self.resigner is not None:
            try:
                data = self.resigner.feed(data) if data else self.resigner.finish()
            except ChunkError as exc:
                raise Refusal(Code.BAD_SIGNATURE, f"signed body: {exc}") from None
        # Not b"": mitmproxy would write a chunk of no bytes, which ends the body.
        return [data] if data else []

    def count_out(self, data: bytes) -> bytes:
        """Count and pass on a piece of the response body."""
        self.bytes_out += len(data)
        return data


class Recorder:
    """Writes the audit line and the metrics of requests and tunnels."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.backlog = Backlog()
        self.in_flight = InFlight()

    def check_writable(self) -> None:
        """Refuse new work while the audit cannot be written, if the operator wants it so."""
        if not self.backlog:
            return
        self.flush()
        if self.backlog and self.gateway.policy.gateway.audit.on_failure == "refuse":
            raise Refusal(
                Code.GATEWAY_FAULT,
                "the audit log cannot be written, so no request is forwarded",
                hint="tell the operator of the gateway",
                status=503,
            )

    def admit(self, trace: Trace) -> None:
        """Count a request as under way until it is recorded. Raises ``Refusal``.

        After its signature has been checked: or anybody could use up another's share.
        """
        session = trace.review.session
        if session is None or trace.counted:
            return
        who = session.user or session.id  # a web identity's has no user
        limit = self.gateway.policy.gateway.limits.max_requests_per_user
        if not self.in_flight.enter(who, limit=limit):
            raise Refusal(
                Code.THROTTLED,
                f"{limit} requests of {session.user or 'this session'} are under way already",
                hint="wait for some of them to end, and try again",
            )
        trace.counted = who

    def finished(self, flow: http.HTTPFlow, trace: Trace, now: datetime) -> None:
        """Record a request, once."""
        if trace.recorded:
            return
        trace.recorded = True
        if trace.counted:
            self.in_flight.leave(trace.counted)
            trace.counted = ""
        elapsed = perf_counter() - trace.started
        record = _request_record(flow, trace, now, elapsed)
        self._write(record)
        found, metrics = trace.review.endpoint, self.gateway.metrics
        session, decision = trace.review.session, trace.review.decision
        if session is not None and session.login is not None and not session.login.of_policy:
            metrics.know_login(session.user)
        metrics.request_done(
            user=record.user,
            role=decision.role_arn if decision is not None and decision.allowed else "",
            service=found.service if found is not None else "",
            region=_region(trace.review),
            decision=record.decision,
            code=record.code or str(record.status),
            # What was not proved can name any action: junk would fill the label.
            action=record.action.partition(" ")[0] if trace.plan is not None else "",
            seconds=elapsed,
            overhead_seconds=trace.overhead_s,
            bytes_in=record.bytes_in,
            bytes_out=record.bytes_out,
        )
        if session is not None:
            self.gateway.usage.moved(session.id, record.bytes_in + record.bytes_out)
        if record.code:
            metrics.refused(record.code)

    def opened_websocket(self, flow: http.HTTPFlow, trace: Trace, now: datetime) -> None:
        """Record a WebSocket that AWS opened; its ``request`` line follows at its end."""
        record = _request_record(flow, trace, now, perf_counter() - trace.started)
        record.event = "websocket.open"
        self._write(record)

    def refused_tunnel(
        self,
        flow: http.HTTPFlow,
        route: Route,
        now: datetime,
        refusal: Refusal | None = None,
        *,
        status: int = 403,
    ) -> None:
        """Record a CONNECT that was refused, by its route or for another cause."""
        record = _tunnel_record("tunnel.refuse", flow.client_conn, route, now)
        if refusal is not None:
            record.decision, record.code, record.status = "refused", refusal.code.value, status
            detail = f" [{refusal.detail}]" if refusal.detail else ""
            record.reason = f"{refusal.message}{detail}"[:MAX_REASON_CHARS]
        self._write(record)
        self.gateway.metrics.refused(record.code)

    def opened_tunnel(
        self, client: connection.Client, route: Route, now: datetime, caller: TunnelCaller | None
    ) -> None:
        """Record a tunnel that was opened."""
        self._write(_tunnel_record("tunnel.open", client, route, now, caller))

    def closed_tunnel(
        self,
        client: connection.Client,
        route: Route,
        now: datetime,
        caller: TunnelCaller | None,
        *,
        ms: float,
        refusal: Refusal | None,
    ) -> None:
        """Record the end of a tunnel; ``refusal`` is why it was cut."""
        record = _tunnel_record("tunnel.close", client, route, now, caller)
        record.ms = ms
        if refusal is not None:
            record.code, record.reason = refusal.code.value, refusal.message[:MAX_REASON_CHARS]
            record.rule = refusal.detail or record.rule
        self._write(record)

    def _write(self, record: AuditRecord) -> None:
        self.backlog.add(record)
        self.flush()

    def flush(self) -> None:
        """Write what is waiting, in order; what cannot be written waits on."""
        while (record := self.backlog.first()) is not None:
            try:
                self.gateway.audit.write(record)
            except AuditUnavailable as exc:
                log.error("audit log: %s", exc)  # noqa: TRY400 - the cause is in the text
                return
            self.backlog.pop()


def _request_record(
    flow: http.HTTPFlow, trace: Trace, now: datetime, elapsed_s: float
) -> AuditRecord:
    review, decision, session = trace.review, trace.review.decision, trace.review.session
    call = review.call
    plan, refusal = trace.plan, trace.refusal
    issued = session.issued if session is not None else None
    return AuditRecord(
        time=utc_millis(now),
        id=trace.request_id,
        event="artefact" if review.orders else "request",
        user=session.user if session is not None else "",
        session=session.id if session is not None else "",
        client=_peer(flow.client_conn),
        app=session.app if session is not None else "",
        role_arn=review.role_arn,
        account=decision.account if decision is not None else "",
        service=_service(review),
        region=_signed_region(review),
        host=review.host,
        action=_action(review),
        resource=resource_text(call.resources) if call is not None else "",
        access_level=call.access_level if call is not None and call.actions else "",
        method=review.facts.method.decode("latin-1")[:32],
        path=review.facts.target.partition(b"?")[0].decode("latin-1")[:2048],
        decision="allowed" if _passed(trace) else "refused",
        rule=decision.rule if decision is not None else "",
        code=_code(trace),
        reason=_reason(flow, trace)[:MAX_REASON_CHARS],
        status=_status(flow),
        bytes_in=trace.bytes_in,
        bytes_out=trace.bytes_out or _body_length(flow),
        ms=round(elapsed_s * 1000, 3),
        overhead_ms=round(trace.overhead_s * 1000, 3),
        aws_request_id=_aws_request_id(flow) if refusal is None else "",
        access_key_id=trace.access_key_id,
        session_name=_session_name(plan, issued),
        source_identity=plan.handoff.source_identity if plan is not None else "",
        granted_role_arn=session.role_arn if session is not None else "",
        approval=decision.approval if decision is not None else "",
    )


def _action(review: gates.Review) -> str:
    """Give the IAM actions, or the operation as the request names it."""
    call = review.call
    return " ".join(call.actions) if call is not None and call.actions else review.action


def _service(review: gates.Review) -> str:
    if review.orders and review.call is not None:
        return review.call.service
    return review.endpoint.service if review.endpoint is not None else ""


def _signed_region(review: gates.Review) -> str:
    """Give the region of the signature; of SigV4a, its region set."""
    claim = review.claim
    return (claim.region or claim.region_set)[:256] if claim is not None else ""


def _session_name(plan: Plan | None, issued: IssuedKeys | None) -> str:
    if issued is not None and issued.session_name:
        return issued.session_name
    return session_name_for(plan.user) if plan is not None and plan.user else ""


def _tunnel_record(
    event: str,
    client: connection.Client,
    route: Route,
    now: datetime,
    caller: TunnelCaller | None = None,
) -> AuditRecord:
    who = caller.proved if caller is not None else None
    return AuditRecord(
        time=utc_millis(now),
        id=str(uuid.uuid4()),
        event=event,
        user=who.user if who is not None else "",
        session=who.id if who is not None else "",
        app=who.app if who is not None else "",
        role_arn=caller.role_arns[-1] if caller is not None else "",
        client=_peer(client),
        host=f"{route.host}:{route.port}",
        method="CONNECT",
        decision="refused" if route.way is Way.REFUSE else "allowed",
        rule=route.reason,
        code=Code.NOT_AN_AWS_ENDPOINT.value if route.way is Way.REFUSE else "",
        status=403 if route.way is Way.REFUSE else 200,
    )


MAX_REASON_CHARS = 500


def _passed(trace: Trace) -> bool:
    """True if the request was let through: decided, and signed or let pass unsigned."""
    return trace.refusal is None and trace.plan is not None and trace.refused_ahead is None


def _code(trace: Trace) -> str:
    """Give the code of the refusal, ours or that of the gateway ahead; empty: none."""
    code = trace.refusal.code if trace.refusal is not None else trace.refused_ahead
    return code.value if code is not None else ""


def _reason(flow: http.HTTPFlow, trace: Trace) -> str:
    refusal, decision = trace.refusal, trace.review.decision
    if refusal is not None:
        return f"{refusal.message} [{refusal.detail}]" if refusal.detail else refusal.message
    if trace.refused_ahead is not None:
        return "refused by the gateway ahead"
    if trace.plan is None:
        return "broken off before its signature was checked"
    if trace.stopped:
        return "the gateway was stopped before the answer was complete"
    if flow.error is not None or flow.response is None:
        return "client or server closed the connection before the answer was complete"
    if decision is not None and decision.reported:
        return f"report mode: enforce would refuse: {decision.reported}"
    return trace.note


def _peer(client: connection.Client) -> str:
    return f"{client.peername[0]}:{client.peername[1]}"


def _status(flow: http.HTTPFlow) -> int:
    return flow.response.status_code if flow.response is not None else 0


def _body_length(flow: http.HTTPFlow) -> int:
    content = flow.response.raw_content if flow.response is not None else None
    return len(content) if content else 0


def _region(review: gates.Review) -> str:
    # The client's word counts as a label only where the endpoint model bore it out.
    if review.endpoint is None or review.decision is None:
        return ""
    return review.endpoint.region or (review.claim.region if review.claim is not None else "")


def _aws_request_id(flow: http.HTTPFlow) -> str:
    if flow.response is None:
        return ""
    # Of the raw fields: mitmproxy's lookup goes over all of them for each name.
    found = {name.lower(): value for name, value in reversed(flow.response.data.headers.fields)}
    for name in _REQUEST_IDS:
        value = found.get(name)
        if value:
            return value[:128].decode("utf-8", "surrogateescape")
    return ""
