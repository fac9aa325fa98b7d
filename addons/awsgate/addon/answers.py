"""What the gateway itself says to a client, and its word to the patches of mitmproxy.

Refusals in the protocol of the call; failures of the upstream, of a body that is too
large or broke its promise; AWS's answers that hold credentials, rewritten.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial

from mitmproxy import http

from awsgate import chaining
from awsgate.addon import flows, tripwire
from awsgate.addon.ahead import failed
from awsgate.addon.dispatch import place_of
from awsgate.addon.record import TRACE, Trace
from awsgate.addon.slowing import Slowing
from awsgate.artefacts import make_artefact
from awsgate.aws.echoes import MAX_BYTES, STATUSES, echoes
from awsgate.aws.faults import answer_json, protocol_of, render_fault, wants_query_errors
from awsgate.aws.issued import find_issued
from awsgate.aws.readable import AnswerForm, is_readable
from awsgate.aws.sigv4 import SigningKeys
from awsgate.errors import Code, Refusal
from awsgate.outgoing import RESIGNED_PAYLOADS
from awsgate.session import ENTROPY_BYTES
from awsgate.telling import Telling
from awsgate.wiring import Gateway

log = logging.getLogger("awsgate")

Clock = Callable[[], datetime]

NOBODYS_SHARE = 2
"""One in so many bytes of ``limits.max_buffered_bytes`` is for bodies without our credentials."""
HELD_FREE = 128 * 1024
"""Of a chunk that is not proved: SDKs sign chunks of 64 KiB."""


def wall_clock() -> datetime:
    """Give the time, in UTC."""
    return datetime.now(UTC)


def trace_of(flow: http.HTTPFlow) -> Trace | None:
    """Give what is kept of a request of ours, or None."""
    trace = flow.metadata.get(TRACE)
    return trace if isinstance(trace, Trace) else None


class Answers:
    """Speaks for the gateway. Also the patches' ``Speaker``."""

    def __init__(self, gateway: Gateway, clock: Clock) -> None:
        self.gateway = gateway
        self.clock = clock
        self.max_header_bytes: int = gateway.policy.gateway.limits.max_header_bytes
        self._buffered: dict[str, int] = {}
        """Bytes of bodies that are held, by the id of the flow."""
        self._nobodys: dict[str, int] = {}
        """Those of them that came without credentials of ours."""
        self.telling: Telling | None = Telling()
        """None: somebody else tells the operator."""
        self.slowing = Slowing(
            lambda: self.gateway.policy.gateway.limits.failures_per_minute,
            lambda: self.gateway.policy.gateway.limits.max_connections,
        )

    def forget(self, flow: http.HTTPFlow) -> None:
        """Count the body of a request that is over no more."""
        self._buffered.pop(flow.id, None)
        self._nobodys.pop(flow.id, None)

    def turn_away(
        self, flow: http.HTTPFlow, trace: Trace, exc: Exception
    ) -> Awaitable[None] | None:
        """Answer with a refusal, and give what to wait for before it goes, if anything."""
        self.refuse(flow, trace, exc)
        return self.slowing.hold(flow, exc)

    def refuse(self, flow: http.HTTPFlow, trace: Trace, exc: Exception) -> None:
        """Answer with a refusal; whatever is none becomes a fault of the gateway's."""
        if isinstance(exc, Refusal):
            refusal = exc
        else:
            # The type and place alone: a message may quote what was being handled.
            log.error("gateway fault in request %s: %s", trace.request_id, place_of(exc))
            refusal = Refusal(
                Code.GATEWAY_FAULT, f"the gateway failed on this request ({trace.request_id})"
            )
        trace.refusal = refusal
        if self.telling is not None:
            self.telling.tell(refusal, self.clock().timestamp())
        self._respond(flow, trace, refusal)

    def _respond(self, flow: http.HTTPFlow, trace: Trace, refusal: Refusal) -> None:
        review = trace.review
        service = review.endpoint.protocol if review.endpoint is not None else None
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in review.facts.headers
        }
        protocol, version = protocol_of(service_protocol=service, headers=headers)
        fault = render_fault(
            refusal,
            protocol=protocol,
            json_version=version,
            method=review.facts.method.decode("latin-1"),
            request_id=trace.request_id,
            now=self.clock(),
            resource=review.facts.target.partition(b"?")[0].decode("latin-1"),
            query_mode=wants_query_errors(headers),
        )
        flows.respond(flow, fault)
        flows.close_as_asked(flow, trace.review.headers)
        flow.metadata[tripwire.REWRITTEN] = True

    def too_large(self) -> Refusal:
        """Give the refusal of a body that cannot be held."""
        limit = self.gateway.policy.gateway.limits.max_body_bytes
        return Refusal(
            Code.BODY_TOO_LARGE,
            f"a body without x-amz-content-sha256 may be at most {limit} bytes here",
            hint="send x-amz-content-sha256, then bodies of any size are streamed",
        )

    # --- orders -------------------------------------------------------------------

    def hand_out(
        self, flow: http.HTTPFlow, trace: Trace, keys: SigningKeys | None, keys_end_s: float
    ) -> None:
        """Answer an order with what it asks for. Nothing is signed that could leave."""
        order, session = trace.planned.order, trace.review.session
        if order is None or session is None or keys is None:
            raise Refusal(Code.GATEWAY_FAULT, "there is no order, or nobody and nothing to sign it")
        made = make_artefact(
            order,
            keys,
            now=self.clock(),
            session_ends_s=session.expires_at,
            keys_end_s=keys_end_s,
        )
        trace.access_key_id = keys.access_key_id
        trace.note = f"artefact {order.kind}, good until {made.expires}"
        flows.respond(flow, answer_json(made.answer, trace.request_id))
        flows.close_as_asked(flow, trace.review.headers)

    # --- AWS's answers ----------------------------------------------------------

    def may_echo(self, flow: http.HTTPFlow, trace: Trace) -> bool:
        """True if the answer may repeat the role's token: then it is held, and looked at.

        Not at endpoints that customers own: what they are sent, they have.
        """
        response, endpoint = flow.response, trace.review.endpoint
        if response is None or endpoint is None or not trace.token or endpoint.tenant_controlled:
            return False
        if response.status_code not in STATUSES:
            return False
        length: str = response.headers.get("content-length", "")
        return not length.isdecimal() or int(length) <= MAX_BYTES

    def rewrite(self, flow: http.HTTPFlow, trace: Trace) -> None:
        """Let a held answer go, with surrogates in place of the credentials that it holds.

        Whatever goes wrong, the answer is withheld.
        """
        response, plan = flow.response, trace.planned
        if response is None:
            return
        body, encoding = response.raw_content or b"", response.headers.get("content-encoding", "")
        try:
            if response.status_code in STATUSES and trace.token:
                said = response.headers.get("content-type", "")
                _check_echo(body, encoding, trace.token, cbor="cbor" in said.lower())
            if not plan.issues:
                flow.metadata[tripwire.REWRITTEN] = True
                return
            if not 200 <= response.status_code < 300:
                _check_error(body, plan.answers)
                flow.metadata[tripwire.REWRITTEN] = True
                return
            body = chaining.rewrite_answer(
                body,
                encoding=encoding,
                plan=plan,
                session=trace.review.session,
                keys=self.gateway.session_keys,
                now=self.clock(),
                entropy=os.urandom(ENTROPY_BYTES),
            )
        except Exception as exc:  # noqa: BLE001 - fail closed: real credentials stay here
            self.refuse(flow, trace, exc)
            return
        response.data.content = body
        if "transfer-encoding" not in response.headers:
            response.headers["content-length"] = str(len(body))
        flow.metadata[tripwire.REWRITTEN] = True

    # --- for the patches -------------------------------------------------------------

    def upstream_failed(self, flow: http.HTTPFlow, message: str) -> bool:
        """Answer for an upstream that could not be reached or broke the protocol."""
        trace = trace_of(flow)
        if trace is None:
            return False
        # mitmproxy's text can quote bytes of the server's answer: first clause only.
        cause = message.partition(": b")[0].partition(":{")[0][:200]
        self.refuse(flow, trace, failed(self.gateway, trace.review.host, cause))
        return True

    def body_exceeds(self, flow: http.HTTPFlow, buffered: int) -> bool:
        """True if one body, or all buffered bodies together, are over their limits."""
        trace = trace_of(flow)
        if trace is None:
            return False
        limits = self.gateway.policy.gateway.limits
        self._buffered[flow.id] = buffered
        if trace.review.session is None:
            self._nobodys[flow.id] = buffered
        if buffered > limits.max_body_bytes:
            refusal = self.too_large()
        elif self._holds_too_much():
            refusal = _holding()
        else:
            return False
        self.refuse(flow, trace, refusal)
        return True

    def _holds_too_much(self) -> bool:
        """True if all that is held is too much, or what nobody known has sent."""
        limit = self.gateway.policy.gateway.limits.max_buffered_bytes
        nobodys = sum(self._nobodys.values())
        return sum(self._buffered.values()) > limit or nobodys > limit // NOBODYS_SHARE

    def taker(self, flow: http.HTTPFlow, trace: Trace) -> Callable[[bytes], list[bytes]]:
        """Give what takes a body that streams, piece by piece.

        Where its signatures are inside, a chunk is held until it is proved, and that counts.
        """
        if trace.planned.payload not in RESIGNED_PAYLOADS:
            return trace.take_in
        return partial(self._take_in, flow, trace)

    def _take_in(self, flow: http.HTTPFlow, trace: Trace, data: bytes) -> list[bytes]:
        made = trace.take_in(data)
        held = trace.resigner.held if trace.resigner is not None else 0
        if held < HELD_FREE:
            self._buffered.pop(flow.id, None)
        else:
            self._buffered[flow.id] = held
            if self._holds_too_much():
                raise _holding()
        return made

    def body_refused(self, flow: http.HTTPFlow, exc: Exception) -> bool:
        """Answer for a body that broke its promise midway. Upstream is cut off already."""
        trace = trace_of(flow)
        if trace is None:
            return False
        self.refuse(flow, trace, exc)
        return True

    def owes_continue(self, flow: http.HTTPFlow) -> bool:
        """True if the client waits for a 100, and signing took away what says so.

        mitmproxy reads Expect after ``requestheaders``, when a streamed request has
        its new headers already. Without a 100 boto3 waits for a minute.
        """
        trace = trace_of(flow)
        if trace is None or flow.response is not None:
            return False
        said = any(n.lower() == b"expect" for n, _ in trace.review.facts.headers)
        return said and "expect" not in flow.request.headers

    def may_send(self, request: http.Request) -> bool:
        """True if this very request was signed by the gate."""
        return tripwire.is_stamped(request)

    def is_nobodys(self, flow: http.HTTPFlow) -> bool:
        """True if whoever sends this request has shown no credentials of ours."""
        trace = trace_of(flow)
        return trace is None or trace.review.session is None

    def relays(self, flow: http.HTTPFlow) -> bool:
        """True if the answer made the connection a WebSocket that the gate signed."""
        trace, response = trace_of(flow), flow.response
        return (
            trace is not None
            and trace.plan is not None
            and trace.plan.upgrade
            and response is not None
            and response.status_code == 101
            and trace.refusal is None
            and tripwire.is_stamped(flow.request)
        )

    def relayed(self, flow: http.HTTPFlow, size: int, *, to_client: bool) -> None:
        """Count bytes of such a connection."""
        trace = trace_of(flow)
        if trace is None:
            return
        if to_client:
            trace.bytes_out += size
        else:
            trace.bytes_in += size


def _holding() -> Refusal:
    return Refusal(
        Code.BODY_TOO_LARGE,
        "the gateway is holding as many request bodies as it may",
        hint="retry, or send x-amz-content-sha256 so that the body is streamed",
        status=503,
    )


def _check_echo(body: bytes, encoding: str, token: str, *, cbor: bool) -> None:
    """Raise ``Refusal`` if AWS, that did not accept our signature, repeats the token."""
    if echoes(body, encoding, token, cbor=cbor):
        raise Refusal(
            Code.GATEWAY_FAULT,
            "AWS did not accept the gateway's signature; its answer holds the role's token "
            "and was withheld",
            hint="tell the operator of the gateway, with the request's id",
            status=502,
        )


def _check_error(body: bytes, form: AnswerForm) -> None:
    """Raise if an error holds credentials, or may: AWS's own hand out nothing."""
    if not is_readable(body, form):
        raise Refusal(Code.GATEWAY_FAULT, "AWS's answer is an error that cannot be read: withheld")
    if find_issued(body) is not None:
        raise Refusal(
            Code.GATEWAY_FAULT, "AWS's answer is an error that holds credentials: withheld"
        )
