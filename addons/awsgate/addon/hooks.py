"""One request through the gate, hook by hook.

    http_connect    where to: intercept, tunnel, refuse
    requestheaders  all that the headers can answer; sign here if the body streams
    request         the body is there: signature, policy, sign
    responseheaders stream the answer
    response, error one audit line, whatever became of it

Every hook that decides is wrapped: whatever goes wrong becomes a refusal, since
mitmproxy would log it and forward the request as it came.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from time import perf_counter

from mitmproxy import connection, http, tls
from mitmproxy.proxy import layer, layers

from awsgate import gate as gates
from awsgate.addon import flows, tripwire, tunnels
from awsgate.addon.record import Recorder, Trace
from awsgate.addon.tripwire import Tripwire
from awsgate.aws.faults import protocol_of, render_fault, wants_query_errors
from awsgate.aws.sigv4 import SigningKeys
from awsgate.errors import Code, Refusal
from awsgate.wiring import Gateway, role_request

log = logging.getLogger("awsgate")

TRACE = "awsgate.trace"

Clock = Callable[[], datetime]


def wall_clock() -> datetime:
    """Give the time, in UTC."""
    return datetime.now(UTC)


class Hooks:
    """mitmproxy's events for a gateway that is set up. Also the patches' speaker."""

    def __init__(self, gateway: Gateway, wire: Tripwire, clock: Clock = wall_clock) -> None:
        self.gateway = gateway
        self.tripwire = wire
        self.clock = clock
        self.routes = tunnels.Routes()
        self.recorder = Recorder(gateway)
        self.max_header_bytes: int = gateway.policy.gateway.limits.max_header_bytes
        self._buffered: dict[str, int] = {}
        self._current: dict[str, http.HTTPFlow] = {}
        """The last request of each client connection: HTTP/1 has one at a time."""

    # --- connections -----------------------------------------------------------

    def http_connect(self, flow: http.HTTPFlow) -> None:
        """Decide one CONNECT."""
        request = flow.request
        route = tunnels.decide_route(
            request.data.host,
            request.data.port,
            bypass=self.gateway.bypass,
            non_aws=self.gateway.policy.gateway.non_aws,
        )
        if route.way is tunnels.Way.REFUSE:
            flow.response = http.Response.make(
                403,
                f"awsgate: {Code.NOT_AN_AWS_ENDPOINT}: {route.reason}: this gateway does not "
                "tunnel there; add a bypass rule to kind: gateway if it must\n",
                {"Content-Type": "text/plain", "x-awsgate-code": Code.NOT_AN_AWS_ENDPOINT},
            )
            self.recorder.refused_tunnel(flow, route, self.clock())
            return
        if route.way is tunnels.Way.TUNNEL:
            host, port = self.gateway.tunnel_address(route.host, route.port)
            request.data.host, request.data.port = host, port
            self.tripwire.approve(flow.client_conn, (host, port), "")
        self.routes.put(flow.client_conn.id, route)
        flow.metadata[tripwire.ROUTED] = True

    def http_connected(self, flow: http.HTTPFlow) -> None:
        """Count a tunnel once it is open."""
        route = self.routes.get(flow.client_conn.id)
        if route is not None and route.way is tunnels.Way.TUNNEL:
            self.recorder.opened_tunnel(flow, route, self.clock())

    def next_layer(self, nextlayer: layer.NextLayer) -> None:
        """Relay a tunnel untouched: no TLS, no HTTP, no hooks."""
        route = self.routes.get(nextlayer.context.client.id)
        if route is not None and route.way is tunnels.Way.TUNNEL:
            nextlayer.layer = layers.TCPLayer(nextlayer.context, ignore=True)

    def tls_start_server(self, data: tls.TlsData) -> None:
        """Ask for the AWS name, also where an explicit upstream stands in for AWS."""
        sni = self.tripwire.sni_for(data.context.client, data.context.server.address)
        if sni:
            data.conn.sni = sni

    def client_disconnected(self, client: connection.Client) -> None:
        """Close the books on a connection."""
        last = self._current.pop(client.id, None)
        if last is not None:
            # Recorded long ago, unless mitmproxy broke off without a word to us.
            self._finish(last)
        self.routes.drop(
            client.id, lambda route: self.recorder.closed_tunnel(client, route, self.clock())
        )

    # --- requests ---------------------------------------------------------------

    def requestheaders(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """Review the head; sign and stream at once where it covers the body."""
        route = self.routes.get(flow.client_conn.id)
        facts = flows.facts_of(flow, route.host if route is not None else None)
        trace = Trace(gates.Review(facts), request_id=str(uuid.uuid4()), started=perf_counter())
        flow.metadata[TRACE] = trace
        self._current[flow.client_conn.id] = flow
        if flow.error is not None:
            # mitmproxy refused it and has its own words for the client; ``error``
            # follows, and writes the audit line.
            trace.review.host = facts.connect_host or ""
            self._refuse(flow, trace, Refusal(Code.UNSUPPORTED, "malformed request", status=400))
            return None
        return self._guarded(flow, trace, lambda: self._head(flow, trace, route))

    def request(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """Authorise and sign a request whose body is at hand."""
        trace = flow.metadata.get(TRACE)
        if flow.response is not None or flow.request.stream or not isinstance(trace, Trace):
            return None
        return self._guarded(flow, trace, lambda: self._body(flow, trace))

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Stream every answer: nothing looks into it, and it may be of any size."""
        trace = flow.metadata.get(TRACE)
        if flow.response is not None and isinstance(trace, Trace) and trace.refusal is None:
            flow.response.stream = trace.count_out

    def response(self, flow: http.HTTPFlow) -> None:
        """Record a request that was answered."""
        self._finish(flow)

    def error(self, flow: http.HTTPFlow) -> None:
        """Record a request that was cut short."""
        answer = flow.response
        if answer is not None and not answer.stream and not self._is_refused(flow):
            # Its head was not passed on: mitmproxy found two readings in it.
            self.upstream_failed(flow, "malformed answer")
        self._finish(flow)

    def _is_refused(self, flow: http.HTTPFlow) -> bool:
        trace = flow.metadata.get(TRACE)
        return isinstance(trace, Trace) and trace.refusal is not None

    def _finish(self, flow: http.HTTPFlow) -> None:
        self._buffered.pop(flow.id, None)
        trace = flow.metadata.get(TRACE)
        if isinstance(trace, Trace):
            self.recorder.finished(flow, trace, self.clock())

    # --- the work, wrapped --------------------------------------------------------

    def _guarded(
        self, flow: http.HTTPFlow, trace: Trace, work: Callable[[], Awaitable[None] | None]
    ) -> Awaitable[None] | None:
        """Run ``work``; whatever it raises becomes a refusal."""
        began = perf_counter()
        try:
            pending = work()
        except Exception as exc:  # noqa: BLE001 - fail closed: anything at all is a refusal
            self._refuse(flow, trace, exc)
            return None
        finally:
            trace.overhead_s += perf_counter() - began
        return None if pending is None else self._guarded_later(flow, trace, pending)

    async def _guarded_later(
        self, flow: http.HTTPFlow, trace: Trace, pending: Awaitable[None]
    ) -> None:
        try:
            await pending
        except Exception as exc:  # noqa: BLE001 - as above
            self._refuse(flow, trace, exc)

    def _head(
        self, flow: http.HTTPFlow, trace: Trace, route: tunnels.Route | None
    ) -> Awaitable[None] | None:
        review, gate = trace.review, self.gateway.gate
        gate.receive(review, self.clock())
        if route is not None and route.port != 443:
            raise Refusal(Code.UNSUPPORTED, f"port {route.port} of an AWS endpoint", status=421)
        self.recorder.check_writable()
        size = flows.body_size(flow)
        if size == 0 or not review.streams:
            if size is not None and size > self.gateway.policy.gateway.limits.max_body_bytes:
                raise self._too_large()
            flow.metadata[tripwire.PENDING] = True
            return None
        trace.plan = gate.authorise(review, None)
        flow.request.stream = trace.count_in
        return self._with_keys(flow, trace)

    def _body(self, flow: http.HTTPFlow, trace: Trace) -> Awaitable[None] | None:
        body = flow.request.raw_content or b""
        trace.bytes_in = len(body)
        trace.plan = self.gateway.gate.authorise(trace.review, body)
        return self._with_keys(flow, trace)

    def _with_keys(self, flow: http.HTTPFlow, trace: Trace) -> Awaitable[None] | None:
        """Sign at once with cached credentials, or later with fetched ones."""
        wanted = role_request(self.gateway.policy, trace.planned)
        keys = self.gateway.credentials.peek(wanted)
        if keys is not None:
            self._sign(flow, trace, keys.access_key_id, keys.secret_access_key, keys.session_token)
            return None

        async def fetch_and_sign() -> None:
            keys = await self.gateway.credentials.get(wanted)
            self._sign(flow, trace, keys.access_key_id, keys.secret_access_key, keys.session_token)

        return fetch_and_sign()

    def _sign(
        self, flow: http.HTTPFlow, trace: Trace, key_id: str, secret: str, token: str
    ) -> None:
        plan, facts = trace.planned, trace.review.facts
        fields = gates.sign(
            plan, facts.target, facts.method, SigningKeys(key_id, secret, token), self.clock()
        )
        upstream = self.gateway.upstream_for(plan.target_host)
        flows.send_to(flow, fields, scheme=upstream.scheme, host=upstream.host, port=upstream.port)
        trace.access_key_id = key_id
        self.tripwire.approve(flow.client_conn, (upstream.host, upstream.port), plan.target_host)
        tripwire.stamp(flow.request)

    # --- refusals -----------------------------------------------------------------

    def _refuse(self, flow: http.HTTPFlow, trace: Trace, exc: Exception) -> None:
        if isinstance(exc, Refusal):
            refusal = exc
        else:
            # The type and place alone: a message may quote what was being handled.
            log.error("gateway fault in request %s: %s", trace.request_id, _place_of(exc))
            refusal = Refusal(
                Code.GATEWAY_FAULT, f"the gateway failed on this request ({trace.request_id})"
            )
        trace.refusal = refusal
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

    def _too_large(self) -> Refusal:
        limit = self.gateway.policy.gateway.limits.max_body_bytes
        return Refusal(
            Code.BODY_TOO_LARGE,
            f"a body without x-amz-content-sha256 may be at most {limit} bytes here",
            hint="send x-amz-content-sha256, then bodies of any size are streamed",
        )

    # --- for the patches -------------------------------------------------------------

    def upstream_failed(self, flow: http.HTTPFlow, message: str) -> bool:
        """Answer for an upstream that could not be reached or broke the protocol."""
        trace = flow.metadata.get(TRACE)
        if not isinstance(trace, Trace):
            return False
        # mitmproxy's text can quote bytes of the server's answer: first clause only.
        cause = message.partition(": b")[0].partition(":{")[0][:200]
        trace.refusal = Refusal(
            Code.UPSTREAM_FAILED,
            f"{trace.review.host} could not be reached or broke off: {cause}",
            hint="the request may be retried",
        )
        self._respond(flow, trace, trace.refusal)
        return True

    def body_exceeds(self, flow: http.HTTPFlow, buffered: int) -> bool:
        """True if one body, or all buffered bodies together, are over their limits."""
        trace = flow.metadata.get(TRACE)
        if not isinstance(trace, Trace):
            return False
        limits = self.gateway.policy.gateway.limits
        self._buffered[flow.id] = buffered
        if buffered <= limits.max_body_bytes:
            if sum(self._buffered.values()) <= limits.max_buffered_bytes:
                return False
            refusal = Refusal(
                Code.BODY_TOO_LARGE,
                "the gateway is holding as many request bodies as it may",
                hint="retry, or send x-amz-content-sha256 so that the body is streamed",
                status=503,
            )
        else:
            refusal = self._too_large()
        trace.refusal = refusal
        self._respond(flow, trace, refusal)
        return True

    def owes_continue(self, flow: http.HTTPFlow) -> bool:
        """True if the client waits for a 100, and signing took away what says so.

        mitmproxy reads Expect after ``requestheaders``, when a streamed request has
        its new headers already. Without a 100 boto3 waits for a minute.
        """
        trace = flow.metadata.get(TRACE)
        if not isinstance(trace, Trace) or flow.response is not None:
            return False
        said = any(n.lower() == b"expect" for n, _ in trace.review.facts.headers)
        return said and "expect" not in flow.request.headers

    def may_send(self, request: http.Request) -> bool:
        """True if this very request was signed by the gate."""
        return tripwire.is_stamped(request)


def _place_of(exc: BaseException) -> str:
    place = exc.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    if place is None:
        return type(exc).__name__
    return f"{type(exc).__name__} at {place.tb_frame.f_code.co_qualname}:{place.tb_lineno}"
