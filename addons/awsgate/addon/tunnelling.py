"""Tunnels: who opens one, how many, and when it is cut.

    anybody    as on a workstation; who says who it is (Proxy-Authorization) is noted
    known      that, or a recent call from the same address (``tickets``); else 407

A tunnel is as good as its caller: it ends with the session, and a lock, a logout or a
policy that takes the role away cuts it. The control API's own name needs no caller, since
who logs in there has no session yet.

Nothing of Proxy-Authorization is kept, logged or forwarded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from time import perf_counter, time

from mitmproxy import connection, http
from mitmproxy.proxy import server_hooks

from awsgate.addon import flows, tripwire
from awsgate.addon.record import Recorder, Trace
from awsgate.addon.tickets import CALLS, REASON, LocalTickets, Tickets, waiting
from awsgate.addon.tripwire import Tripwire
from awsgate.addon.tunnel import Tunnel
from awsgate.addon.tunnels import CONTROL, NOBODYS, TUNNELLED, Route, Routes, Way
from awsgate.addon.tunnelshares import Shares
from awsgate.errors import Code, Refusal
from awsgate.lockout import cut_off, locked
from awsgate.nextgateway import NextGateway
from awsgate.tunnelclients import TellsOfTunnels
from awsgate.tunnelpass import (
    ENTROPY_BYTES,
    TunnelCaller,
    mint_tunnel_pass,
    open_tunnel_pass,
    read_basic,
)
from awsgate.wiring import Gateway

NAME = b"proxy-authorization"
AGAIN_S = 0.1
"""The note of a call may be on its way from another worker."""
_STATUS = {Code.NOT_SIGNED: 407, Code.UNKNOWN_KEY: 407, Code.THROTTLED: 503, Code.UNSUPPORTED: 400}
_CHALLENGE = {"Proxy-Authenticate": 'Basic realm="awsgate"'}
_HINT = (
    "HTTPS_PROXY with user and password, as awsgate env gives it; or first start the session "
    "(aws ssm start-session) through this gateway"
)


class Tunnelling:
    """All tunnels of a gateway. ``cut`` ends a client connection by its id."""

    def __init__(
        self,
        gateway: Gateway,
        wire: Tripwire,
        routes: Routes,
        recorder: Recorder,
        *,
        clock: Callable[[], datetime],
        entropy: Callable[[int], bytes],
        cut: Callable[[str], None],
        through: Callable[[Route], NextGateway | None] = lambda _: None,
        slow: Callable[[http.HTTPFlow, Exception], Awaitable[None] | None] = lambda *_: None,
    ) -> None:
        self.gateway, self._wire, self._routes, self._recorder = gateway, wire, routes, recorder
        self._clock, self._entropy, self._cut = clock, entropy, cut
        self._through, self._slow = through, slow
        self.tickets: Tickets = LocalTickets()
        self.clients: TellsOfTunnels = gateway.tunnel_clients
        self._tunnels: dict[str, Tunnel] = {}
        self._asking: set[str] = set()
        """Connections whose CONNECT is not answered yet."""
        self._shares = Shares()

    # --- CONNECT -----------------------------------------------------------------------

    def connect(self, flow: http.HTTPFlow, route: Route) -> Awaitable[None] | None:
        """Let a tunnel be opened, or refuse it; whatever goes wrong refuses it too."""
        try:
            self._recorder.check_writable()
            who = None if route.reason == CONTROL else self._named(flow)
            if who is not None or not self._needs_caller(route):
                self._let(flow, route, who)
                return None
        except Exception as exc:  # noqa: BLE001 - fail closed
            self._refuse(flow, route, exc)
            return self._slow(flow, exc)
        self._asking.add(flow.client_conn.id)
        return self._by_ticket(flow, route)

    def _needs_caller(self, route: Route) -> bool:
        return route.reason != CONTROL and self.gateway.policy.gateway.tunnels.callers == "known"

    def _named(self, flow: http.HTTPFlow) -> TunnelCaller | None:
        """Give who Proxy-Authorization says it is, once proved. Raises ``Refusal``."""
        values = [v for name, v in flow.request.data.headers.fields if name.lower() == NAME]
        if not values:
            return None
        strict = self.gateway.policy.gateway.tunnels.callers == "known"
        try:
            caller = self._opened(*read_basic(_only(values).decode("latin-1")))
        except Refusal:
            if strict:
                raise
            return None  # meant for another proxy, perhaps; here anybody may
        self._check(caller)
        return caller

    def _opened(self, key_id: str, password: str) -> TunnelCaller:
        now = int(self._clock().timestamp())
        return open_tunnel_pass(self.gateway.session_keys, key_id, password, now=now)

    def _check(self, caller: TunnelCaller) -> None:
        """Refuse who is locked out, or may not be the role any more."""
        now, gate = self._clock(), self.gateway.gate
        lock = gate.lock_of_caller(caller, now)
        if lock is not None:
            raise locked(lock)
        if not gate.may_stay(caller.proved, now):
            raise Refusal(
                Code.DENIED,
                f"{caller.user} may not be {caller.proved.role_arn} any more",
                hint="awsgate env shows the roles you may have",
            )

    async def _by_ticket(self, flow: http.HTTPFlow, route: Route) -> None:
        client = flow.client_conn
        try:
            caller = await self._of_lately(client, route)
            if client.id in self._asking:  # else it has gone meanwhile
                self._let(flow, route, caller)
        except Exception as exc:  # noqa: BLE001 - fail closed
            self._refuse(flow, route, exc)
        finally:
            self._asking.discard(client.id)

    async def _of_lately(self, client: connection.Client, route: Route) -> TunnelCaller:
        """Give whose tunnel it is by a call of lately. Raises ``Refusal``."""
        caller = None
        if route.reason == REASON:
            caller = await self._lately(client)
            if caller is None:
                await asyncio.sleep(AGAIN_S)
                caller = await self._lately(client)
        if caller is None:
            raise Refusal(
                Code.NOT_SIGNED, "tunnels of this gateway need a known caller", hint=_HINT
            )
        return caller

    async def _lately(self, client: connection.Client) -> TunnelCaller | None:
        """Give whose call is meant. Raises ``Refusal`` if that is not clear, or nobody may."""
        address = str(client.peername[0])
        found = await self.tickets.of(address)
        oldest = time() - self.gateway.policy.gateway.tunnels.recent
        callers: dict[int, TunnelCaller] = {}
        let_in: set[int] = set()
        refusal: Refusal | None = None
        for ticket in found:
            if ticket.at < oldest:
                continue
            try:
                caller = callers[ticket.number] = self._opened(ticket.key_id, ticket.password)
                self._check(caller)
                let_in.add(ticket.number)
            except Refusal as exc:
                refusal = exc
        meant = waiting(ticket for ticket in found if ticket.number in let_in)
        if not meant:
            if refusal is not None:
                raise refusal
            return None
        # Whoever is shut out counts too: else theirs would open in the name of the others.
        of_all = waiting(ticket for ticket in found if ticket.number in callers)
        if len({callers[ticket.number].user for ticket in (*meant, *of_all)}) > 1:
            raise Refusal(
                Code.NOT_SIGNED,
                "several users at this address have just started a session, and it is not clear "
                "whose tunnel this is",
                hint="HTTPS_PROXY with user and password, as awsgate env gives it, says so",
            )
        self.tickets.used(address, meant[0].number)
        return callers[meant[0].number]

    def _let(self, flow: http.HTTPFlow, route: Route, caller: TunnelCaller | None) -> None:
        client, request = flow.client_conn, flow.request.data
        self._forget(client.id)  # an earlier CONNECT that came to nothing
        ahead = self._through(route)
        if ahead is not None:
            ahead.check()
        self._admit(Tunnel(client, route, caller))
        flow.metadata[TUNNELLED], flow.metadata[NOBODYS] = True, caller is None
        if ahead is not None:  # it is asked for the host as it was named
            request.host, request.port = route.host, route.port
            self._wire.approve(client, (ahead.host, ahead.port), ahead.host)
        else:
            host, port = self.gateway.tunnel_address(route.host, route.port)
            request.host, request.port = host, port
            self._wire.approve(client, (host, port), "")
        self._routes.put(client.id, route)
        flow.metadata[tripwire.ROUTED] = True

    def _admit(self, tunnel: Tunnel) -> None:
        """Count it, unless whose it is has enough: from here on it is forgotten with its client."""
        limit = self.gateway.policy.gateway.limits.max_tunnels_per_user
        self._shares.take(tunnel, limit=limit)
        self._tunnels[tunnel.client.id] = tunnel
        self._end_with_session(tunnel)  # already: whatever fails later, it does not outlive that

    def _refuse(self, flow: http.HTTPFlow, route: Route, exc: Exception) -> None:
        refusal = exc
        if not isinstance(refusal, Refusal):
            refusal = Refusal(Code.GATEWAY_FAULT, "the gateway failed", detail=type(exc).__name__)
        status = refusal.status or _STATUS.get(refusal.code, 403)
        if refusal.code is Code.GATEWAY_FAULT:
            status = 503
        text = f"{refusal.message} ({refusal.hint})" if refusal.hint else refusal.message
        more = _CHALLENGE if status == 407 else {}
        flows.refuse_connect(flow, status, refusal.code, text, more)
        self._recorder.refused_tunnel(flow, route, self._clock(), refusal, status=status)

    # --- its life ------------------------------------------------------------------------

    def connected(self, flow: http.HTTPFlow) -> None:
        """Count and record a tunnel once it is open."""
        tunnel = self._tunnels.get(flow.client_conn.id)
        if tunnel is None or tunnel.opened:
            return
        tunnel.opened = perf_counter()
        if tunnel.caller is not None and tunnel.caller.login:
            self.gateway.metrics.know_login(tunnel.caller.user)
        tunnel.label = self.gateway.metrics.tunnel_opened(
            user=tunnel.user, reason=tunnel.route.reason
        )
        self._recorder.opened_tunnel(tunnel.client, tunnel.route, self._clock(), tunnel.caller)

    def server_connected(self, data: server_hooks.ServerConnectionHookData) -> None:
        """Tell the control API who comes this way, before they can say anything."""
        tunnel, ours = self._tunnels.get(data.client.id), data.server.sockname
        if tunnel is not None and tunnel.to_control and ours is not None:
            self._tell_end(tunnel)
            tunnel.dialled_from = str(ours[0]), int(ours[1])
            host, port, *_ = data.client.peername
            self.clients.tunnel_begun(tunnel.dialled_from, (str(host), int(port)))

    def _tell_end(self, tunnel: Tunnel) -> None:
        if tunnel.dialled_from is not None:
            self.clients.tunnel_ended(tunnel.dialled_from)

    def _end_with_session(self, tunnel: Tunnel) -> None:
        if tunnel.caller is None:
            return
        left_s = tunnel.caller.expires_at - self._clock().timestamp()
        tunnel.end = asyncio.get_running_loop().call_later(
            max(left_s, 0.0),
            self._end,
            tunnel,
            Refusal(Code.SESSION_EXPIRED, "cut off: the session has ended"),
        )

    def _end(self, tunnel: Tunnel, why: Refusal) -> None:
        if tunnel.refusal is None and self._tunnels.get(tunnel.client.id) is tunnel:
            tunnel.refusal = why
            self._cut(tunnel.client.id)

    def disconnected(self, client: connection.Client) -> None:
        """Close the books on a connection."""
        self._asking.discard(client.id)
        self._routes.drop(client.id)
        self._forget(client.id)

    def _forget(self, client_id: str) -> None:
        tunnel = self._tunnels.pop(client_id, None)
        if tunnel is None:
            return
        if tunnel.end is not None:
            tunnel.end.cancel()
        self._tell_end(tunnel)
        self._shares.give_back(tunnel)
        if tunnel.opened:
            self.gateway.metrics.tunnel_closed(label=tunnel.label)
            self._recorder.closed_tunnel(
                tunnel.client,
                tunnel.route,
                self._clock(),
                tunnel.caller,
                ms=round((perf_counter() - tunnel.opened) * 1000, 3),
                refusal=tunnel.refusal,
            )

    def cut_locked(self) -> None:
        """End every tunnel whose caller a lock holds by now, or the policy knows no more."""
        now, gate = self._clock(), self.gateway.gate
        for tunnel in list(self._tunnels.values()):
            caller = tunnel.caller
            if caller is None:
                if self._needs_caller(tunnel.route):
                    why = "cut off: tunnels of this gateway need a known caller"
                    self._end(tunnel, Refusal(Code.NOT_SIGNED, why))
                continue
            lock = gate.lock_of_caller(caller, now)
            if lock is not None:
                self._end(tunnel, cut_off(lock))
            elif not gate.may_stay(caller.proved, now):
                self._end(tunnel, Refusal(Code.DENIED, "cut off: the policy has changed"))

    def cut_closed(self) -> None:
        """End every tunnel that the policy would not open any more."""
        for client_id in self._routes.closed(
            bypass=self.gateway.bypass,
            non_aws=self.gateway.policy.gateway.non_aws,
            control=bool(self.gateway.control_address),
        ):
            tunnel = self._tunnels.get(client_id)
            if tunnel is None:
                self._cut(client_id)
            else:
                why = Refusal(Code.NOT_AN_AWS_ENDPOINT, "cut off: the policy has changed")
                self._end(tunnel, why)

    # --- tickets --------------------------------------------------------------------------

    def note(self, flow: http.HTTPFlow, trace: Trace) -> None:
        """Keep a call that AWS answered with the address of a data channel."""
        call, session = trace.review.call, trace.review.session
        if (
            call is None
            or session is None
            or not session.user
            or CALLS.isdisjoint(call.actions)
            or flow.response is None
            or flow.response.status_code != 200
            or self.gateway.policy.gateway.tunnels.callers != "known"
        ):
            return
        try:
            password = mint_tunnel_pass(
                self.gateway.session_keys, session, entropy=self._entropy(ENTROPY_BYTES)
            )
            self.tickets.put(str(flow.client_conn.peername[0]), session.key_id, password)
        except (ValueError, OSError):
            return  # no ticket: the tunnel is asked for its caller

    def inherit(self, older: Tunnelling) -> None:
        """Go on where another instance of the script left off."""
        self.tickets, self._shares = older.tickets, older._shares
        self._routes.take_over(older._routes)
        for client_id, tunnel in older._tunnels.items():
            if tunnel.end is not None:
                tunnel.end.cancel()
            self._tunnels[client_id] = tunnel
            self._end_with_session(tunnel)


def _only(values: Sequence[bytes]) -> bytes:
    if len(values) > 1:
        raise Refusal(Code.UNSUPPORTED, "Proxy-Authorization is there more than once")
    return values[0]


def is_tunnel(route: Route | None) -> bool:
    """True if nobody looks into what came by this route."""
    return route is not None and route.way is Way.TUNNEL
