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

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from time import perf_counter

from mitmproxy import connection, http, tls
from mitmproxy.proxy import layer, layers

from awsgate import gate as gates
from awsgate.addon import flows, tripwire, tunnels
from awsgate.addon.ahead import Ahead
from awsgate.addon.answers import Answers, Clock, trace_of, wall_clock
from awsgate.addon.approvals import Approvals
from awsgate.addon.chained import layer_for
from awsgate.addon.record import TRACE, Recorder, Trace
from awsgate.addon.sending import send
from awsgate.addon.speaker import Legacy
from awsgate.addon.tripwire import Tripwire
from awsgate.addon.tunnelling import Tunnelling, is_tunnel
from awsgate.approving import Unapproved
from awsgate.aws.sigv4 import SigningKeys
from awsgate.credentials import RoleRequest
from awsgate.errors import Code, Refusal
from awsgate.lockout import cut_off
from awsgate.publicness import is_open_to_others
from awsgate.session import check_time
from awsgate.wiring import Gateway, role_request


def _leave_open(_: str) -> None:
    """Stand in where there is no proxy server: a request that is cut is marked alone."""


class Hooks:
    """mitmproxy's events for a gateway that is set up."""

    def __init__(self, gateway: Gateway, wire: Tripwire, clock: Clock = wall_clock) -> None:
        self.gateway = gateway
        self.tripwire = wire
        self.clock = clock
        self.routes = tunnels.Routes()
        self.recorder = Recorder(gateway)
        self.answers = Answers(gateway, clock)
        self.approvals = Approvals(gateway, self.recorder, clock)
        self.ahead = Ahead(gateway)
        self.tunnelling = Tunnelling(
            gateway,
            wire,
            self.routes,
            self.recorder,
            clock=clock,
            entropy=secrets.token_bytes,
            cut=lambda client_id: self.cut(client_id),  # noqa: PLW0108 - it is set later
            through=self.ahead.through,
            slow=self.answers.slowing.hold,
        )
        self.cut: Callable[[str], None] = _leave_open
        """Ends a client connection at once, and what it leads to. By id; set by the entry."""
        self.secured = False
        """Clients speak TLS to the proxy itself. Set by who listens so."""
        self._current: dict[str, http.HTTPFlow] = {}
        """The last request of each client connection: HTTP/1 has one at a time."""

    # --- connections -----------------------------------------------------------

    def http_connect(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """Decide one CONNECT."""
        request = flow.request
        route = tunnels.decide_route(
            request.data.host,
            request.data.port,
            bypass=self.gateway.bypass,
            non_aws=self.gateway.policy.gateway.non_aws,
            control=bool(self.gateway.control_address),
        )
        if route.way is tunnels.Way.REFUSE:
            flows.refuse_connect(
                flow,
                403,
                Code.NOT_AN_AWS_ENDPOINT,
                tunnels.why_refused(route),
            )
            self.recorder.refused_tunnel(flow, route, self.clock())
            return None
        if route.way is tunnels.Way.TUNNEL:
            return self.tunnelling.connect(flow, route)
        self.routes.put(flow.client_conn.id, route)
        flow.metadata[tripwire.ROUTED] = True
        return None

    def http_connected(self, flow: http.HTTPFlow) -> None:
        """Count a tunnel once it is open."""
        self.tunnelling.connected(flow)

    def next_layer(self, nextlayer: layer.NextLayer) -> None:
        """Relay a tunnel untouched: no TLS, no HTTP, no hooks."""
        route = self.routes.get(nextlayer.context.client.id)
        if not is_tunnel(route):
            return
        ahead = self.ahead.through(route)
        if ahead is not None:
            nextlayer.layer = layer_for(nextlayer.context, ahead)
        else:
            nextlayer.layer = layers.TCPLayer(nextlayer.context, ignore=True)

    def http_connect_upstream(self, flow: http.HTTPFlow) -> None:
        """Tell the gateway ahead who opens a tunnel."""
        said = self.ahead.authorization(self.clock().timestamp())
        if said:
            flow.request.headers[b"Proxy-Authorization"] = said

    def tls_start_server(self, data: tls.TlsData) -> None:
        """Ask for the AWS name, also where an explicit upstream stands in for AWS.

        The gateway ahead is asked for its own name, and proved by the root of the login.
        """
        self.ahead.prove()
        sni = self.tripwire.sni_for(data.context.client, data.context.server.address)
        if sni:
            data.conn.sni = sni

    def client_connected(self, client: connection.Client) -> None:
        """Refuse who comes in plain from elsewhere before mitmproxy listens where it is told."""
        if not (self.secured or flows.is_local(client)) and not is_open_to_others(
            self.gateway.policy.gateway
        ):
            client.error = "awsgate: only clients of this machine are served here"

    def client_disconnected(self, client: connection.Client) -> None:
        """Close the books on a connection."""
        last = self._current.pop(client.id, None)
        if last is not None:
            # Recorded long ago, unless mitmproxy broke off without a word to us.
            self._finish(last)
        self.tunnelling.disconnected(client)

    def cut_locked(self) -> None:
        """End every request that is under way and that a lock holds by now.

        Its audit line is written as its connection goes. A connection that waits for its
        next request stays: the gate refuses that one in words.
        """
        now = self.clock()
        self.tunnelling.cut_locked()
        for flow in list(self._current.values()):
            trace = trace_of(flow)
            if trace is None or trace.recorded or trace.refusal is not None:
                continue
            session = trace.review.session
            if session is None:
                continue
            lock = self.gateway.gate.lock_of(session, now)
            if lock is not None:
                trace.refusal = cut_off(lock)
            elif self.answers.relays(flow) and not self.gateway.gate.may_stay(session, now):
                # A WebSocket has no next request that would be refused.
                trace.refusal = Refusal(Code.DENIED, "cut off: the policy has changed")
            if trace.refusal is not None:
                self.cut(flow.client_conn.id)

    def cut_closed_tunnels(self) -> None:
        """End every tunnel that the policy would not open any more."""
        self.tunnelling.cut_closed()

    def close(self) -> None:
        """Record what is still under way: the gateway goes down."""
        for flow in list(self._current.values()):
            trace = trace_of(flow)
            if trace is not None:
                trace.stopped = True
            self._finish(flow)
        self.approvals.close()
        self.recorder.flush()

    def leave(self) -> Legacy:
        """Give what the next instance of the script goes on with: a reload."""
        self.recorder.flush()
        return Legacy(
            self.recorder.backlog, self._current, self.recorder.in_flight, self.tunnelling
        )

    def inherit(self, legacy: Legacy) -> None:
        """Go on where another instance left off."""
        self.recorder.backlog.take_over(legacy.backlog)
        self._current.update(legacy.current)
        self.recorder.in_flight = legacy.in_flight
        self.tunnelling.inherit(legacy.tunnelling)

    # --- requests ---------------------------------------------------------------

    def requestheaders(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """Review the head; sign and stream at once where it covers the body."""
        route = self.routes.get(flow.client_conn.id)
        facts = flows.facts_of(
            flow,
            route.host if route is not None else None,
            route.port if route is not None else 443,
            secured=self.secured,
        )
        # A flow's id is a random UUID already.
        trace = Trace(gates.Review(facts), request_id=flow.id, started=perf_counter())
        flow.metadata[TRACE] = trace
        before = self._current.get(flow.client_conn.id)
        if before is not None:  # mitmproxy let it go without a word
            self._finish(before)
        self._current[flow.client_conn.id] = flow
        if flow.error is not None:
            # mitmproxy refused it and has its own words for the client; ``error``
            # follows, and writes the audit line.
            trace.review.host = facts.connect_host or ""
            malformed = Refusal(Code.UNSUPPORTED, "malformed request", status=400)
            self.answers.refuse(flow, trace, malformed)
            return None
        return self._guarded(flow, trace, lambda: self._head(flow, trace))

    def request(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """Authorise and sign a request whose body is at hand."""
        trace = trace_of(flow)
        if flow.response is not None or flow.request.stream or trace is None:
            return None
        return self._guarded(flow, trace, lambda: self._body(flow, trace))

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Stream every answer but those that may hold credentials."""
        trace = trace_of(flow)
        if flow.response is None or trace is None or trace.refusal is not None:
            return
        if flow.response.status_code < 200 and not self.answers.relays(flow):
            # Taken for the answer, it would leave the answer to the next request.
            flow.kill()
            return
        plan = trace.plan
        # First whether it is held: what fails after that lets nothing through.
        if plan is None or not (plan.issues or plan.order):
            if self.answers.may_echo(flow, trace):
                flow.metadata[tripwire.ISSUES] = True
            else:
                flow.response.stream = trace.count_out
        self.tunnelling.note(flow, trace)
        self.ahead.note(flow, trace)
        for name, value in plan.notes if plan is not None else ():
            flow.response.headers[name] = value
        if not self.answers.relays(flow):
            flows.close_as_asked(flow, trace.review.headers)

    def response(self, flow: http.HTTPFlow) -> None:
        """Record a request that was answered, once its answer may go."""
        trace = trace_of(flow)
        if trace is not None and trace.refusal is None and flow.metadata.get(tripwire.ISSUES):
            self.answers.rewrite(flow, trace)
        if trace is not None and self.answers.relays(flow):
            self._end_with_session(flow, trace)  # first: whatever fails, it does not outlive that
            self.recorder.opened_websocket(flow, trace, self.clock())
        else:
            self._finish(flow)

    def _end_with_session(self, flow: http.HTTPFlow, trace: Trace) -> None:
        """Have a WebSocket cut when its session ends: nothing else would."""
        session = trace.review.session
        if session is None:
            return

        def end() -> None:
            if not trace.recorded and self._current.get(flow.client_conn.id) is flow:
                trace.refusal = Refusal(Code.SESSION_EXPIRED, "cut off: the session has ended")
                self.cut(flow.client_conn.id)

        left_s = session.expires_at - self.clock().timestamp()
        asyncio.get_running_loop().call_later(max(left_s, 0.0), end)

    def error(self, flow: http.HTTPFlow) -> None:
        """Record a request that was cut short."""
        answer, trace = flow.response, trace_of(flow)
        unsent = trace is not None and trace.refusal is None
        if answer is not None and not answer.stream and unsent:
            # Its head was not passed on: mitmproxy found two readings in it.
            self.answers.upstream_failed(flow, "malformed answer")
        self._finish(flow)

    def _finish(self, flow: http.HTTPFlow) -> None:
        self.answers.forget(flow)
        if self._current.get(flow.client_conn.id) is flow:
            # Not kept while its connection idles: it holds the body.
            del self._current[flow.client_conn.id]
        trace = trace_of(flow)
        if trace is not None:
            self.recorder.finished(flow, trace, self.clock())

    # --- the work, wrapped --------------------------------------------------------

    def _guarded(
        self, flow: http.HTTPFlow, trace: Trace, work: Callable[[], Awaitable[None] | None]
    ) -> Awaitable[None] | None:
        """Run ``work``; whatever it raises becomes a refusal."""
        began = perf_counter()
        try:
            pending = work()
        except Unapproved as no:
            pending = self.approvals.refuse(no, trace)
        except Exception as exc:  # noqa: BLE001 - fail closed: anything at all is a refusal
            return self.answers.turn_away(flow, trace, exc)
        finally:
            trace.overhead_s += perf_counter() - began
        return None if pending is None else self._guarded_later(flow, trace, pending)

    async def _guarded_later(
        self, flow: http.HTTPFlow, trace: Trace, pending: Awaitable[None]
    ) -> None:
        try:
            await pending
        except Exception as exc:  # noqa: BLE001 - as above
            self.answers.refuse(flow, trace, exc)

    def _head(self, flow: http.HTTPFlow, trace: Trace) -> Awaitable[None] | None:
        review, gate, now = trace.review, self.gateway.gate, self.clock()
        gate.receive(review, now)
        self.recorder.check_writable()
        size = flows.body_size(review.headers)
        if size == 0 or not review.streams:
            if size is not None and size > self.gateway.policy.gateway.limits.max_body_bytes:
                raise self.answers.too_large()
            flow.metadata[tripwire.PENDING] = True
            return None
        trace.plan = gate.authorise(review, None, now)
        self.recorder.admit(trace)
        flow.request.stream = trace.take_in
        return self._with_keys(flow, trace, None)

    def _body(self, flow: http.HTTPFlow, trace: Trace) -> Awaitable[None] | None:
        body = flow.request.raw_content or b""
        trace.bytes_in = len(body)
        trace.plan = self.gateway.gate.authorise(trace.review, body, self.clock())
        self.recorder.admit(trace)
        return self._with_keys(flow, trace, body)

    def _with_keys(
        self, flow: http.HTTPFlow, trace: Trace, body: bytes | None
    ) -> Awaitable[None] | None:
        """Sign at once with keys that are at hand, or later with fetched ones."""
        plan = trace.planned
        if plan.form is None or plan.issued is not None:
            issued = plan.issued
            keys, end_s = (issued.keys, issued.expires_at) if issued is not None else (None, 0)
            self._proceed(flow, trace, keys, end_s)
            return None
        wanted = role_request(self.gateway.policy, plan)
        cached = self.gateway.credentials.peek(wanted)
        if cached is not None:
            self.ahead.used(cached)
            self._proceed(flow, trace, cached.signing_keys(), cached.expires_at)
            return None

        decided_by = self.gateway.gate

        async def fetch_and_sign() -> None:
            fetched = await self.gateway.credentials.get(wanted)
            if self.gateway.gate is not decided_by:
                self._decide_again(trace, body, wanted)
            self.ahead.used(fetched)
            self._proceed(flow, trace, fetched.signing_keys(), fetched.expires_at)

        return fetch_and_sign()

    def _decide_again(self, trace: Trace, body: bytes | None, wanted: RoleRequest) -> None:
        """Ask the policy that came into force while STS was asked."""
        trace.plan = self.gateway.gate.authorise(trace.review, body, self.clock())
        if role_request(self.gateway.policy, trace.plan) != wanted:
            raise Refusal(
                Code.ROLE_UNAVAILABLE,
                "the policy changed while the role was assumed",
                hint="try again",
                status=503,
            )

    def _proceed(
        self, flow: http.HTTPFlow, trace: Trace, keys: SigningKeys | None, keys_end_s: float
    ) -> None:
        """Sign the request, or answer it if it is for the gateway itself."""
        if trace.refusal is not None:  # cut off while it waited for the keys
            raise trace.refusal
        if trace.review.session is not None:  # STS may have taken its time
            check_time(trace.review.session, int(self.clock().timestamp()))
        if trace.planned.order is not None:
            self.answers.hand_out(flow, trace, keys, keys_end_s)
        else:
            send(self.gateway, self.tripwire, flow, trace, keys, self.clock())
