"""Nothing reaches a server without the gate's stamp.

mitmproxy fails open: an exception in a hook is logged and the request goes on as it
came, and a script that cannot be reloaded leaves the chain without its addon. So
the last word belongs to an addon that is not part of the script, stands last in
the master's own chain, decides nothing and knows one rule: no stamp, no bytes.

Two nets, each enough for what it covers:
- ``server_connect``: no connection to an address that the gate did not approve for
  this client connection. Covers CONNECT, raw TCP, DNS, plain HTTP, everything.
- ``requestheaders`` and ``request``: no request on an open connection that is not,
  byte for byte of its head, the one that was signed.

A third, ``patches.guard_upstream_head``, stands where mitmproxy writes the head to
the server, for the day that another addon halts the chain before this one.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from mitmproxy import connection, dns, http, tcp, udp
from mitmproxy.proxy import server_hooks

log = logging.getLogger("awsgate.tripwire")

ROUTED = "awsgate.routed"
"""Flow metadata: the gate decided this CONNECT."""
PENDING = "awsgate.pending"
"""Flow metadata: the gate waits for the body of this request."""
ISSUES = "awsgate.issues"
"""Flow metadata: the answer may hold credentials of AWS's."""
REWRITTEN = "awsgate.rewritten"
"""Flow metadata: it holds none any more."""
_ATTRIBUTE = "awsgate_stamp"

NAME = "awsgate-tripwire"

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Stamp:
    """The head of a request as the gate signed it."""

    scheme: bytes
    host: str
    port: int
    method: bytes
    target: bytes
    fields: tuple[tuple[bytes, bytes], ...] = field(repr=False)
    http_version: bytes
    content: bytes | None = field(repr=False)
    """None: the body is streamed."""

    @classmethod
    def of(cls, request: http.Request) -> Stamp:
        """Take the stamp of a request that was just signed."""
        d = request.data
        return cls(
            d.scheme,
            d.host,
            d.port,
            d.method,
            d.path,
            d.headers.fields,
            d.http_version,
            d.content,
        )

    def fits(self, request: http.Request) -> bool:
        """True if ``request`` is still the one that was signed."""
        d = request.data
        return (
            # The tuple is replaced on every change of a header, so identity is the
            # cheap proof; equality covers a copy.
            (d.headers.fields is self.fields or d.headers.fields == self.fields)
            and (d.content is self.content or d.content == self.content)
            and d.path == self.target
            and d.host == self.host
            and d.port == self.port
            and d.scheme == self.scheme
            and d.method == self.method
            and d.http_version == self.http_version
            and not d.authority
        )


def stamp(request: http.Request) -> None:
    """Mark a request as signed by the gate, as it stands now.

    The mark sits on the object and not in flow metadata, so that no copy, replay or
    import of a flow carries it along.
    """
    setattr(request, _ATTRIBUTE, Stamp.of(request))


def is_stamped(request: http.Request) -> bool:
    """True if the request is, byte for byte of its head, the one that was signed."""
    mark = getattr(request, _ATTRIBUTE, None)
    return isinstance(mark, Stamp) and mark.fits(request)


class Tripwire:
    """The addon. It must not be able to raise; it holds no policy."""

    name = NAME

    def __init__(self) -> None:
        self._approved: dict[str, dict[Address, str]] = {}

    def approve(self, client: connection.Client, address: Address, sni: str) -> None:
        """Allow connections of this client connection to ``address``.

        ``sni`` is the name to ask for in TLS towards it; empty for tunnels.
        """
        self._approved.setdefault(client.id, {})[address] = sni

    def sni_for(self, client: connection.Client, address: Address | None) -> str:
        """Give the server name for a connection that was approved, or nothing."""
        if address is None:
            return ""
        return self._approved.get(client.id, {}).get((address[0], address[1]), "")

    def client_disconnected(self, client: connection.Client) -> None:
        """Forget what the client connection was allowed."""
        self._approved.pop(client.id, None)

    def server_connect(self, data: server_hooks.ServerConnectionHookData) -> None:
        """Refuse any connection that the gate did not ask for."""
        address = data.server.address
        allowed = self._approved.get(data.client.id, {})
        if address is None or (address[0], address[1]) not in allowed:
            data.server.error = "awsgate: connection without the gate's approval"
            log.error("refused a server connection without the gate's approval")

    def http_connect(self, flow: http.HTTPFlow) -> None:
        """Refuse a CONNECT that nobody decided."""
        if flow.response is None and not flow.metadata.get(ROUTED):
            flow.response = _refusal(flow)

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Stop a request that the gate neither signed, refused nor waits for."""
        if flow.response is not None or is_stamped(flow.request):
            return
        if flow.request.stream or not flow.metadata.get(PENDING):
            flow.request.stream = False
            flow.response = _refusal(flow)

    def request(self, flow: http.HTTPFlow) -> None:
        """Stop a request that is complete and not signed."""
        if flow.response is None and not flow.request.stream and not is_stamped(flow.request):
            flow.response = _refusal(flow)

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Hold back an answer that may hold credentials."""
        if flow.metadata.get(ISSUES) and flow.response is not None:
            flow.response.stream = False

    def response(self, flow: http.HTTPFlow) -> None:
        """Withhold it if nobody rewrote it."""
        if flow.metadata.get(ISSUES) and not flow.metadata.get(REWRITTEN):
            flow.response = _refusal(flow)

    def tcp_start(self, flow: tcp.TCPFlow) -> None:
        """Raw TCP that mitmproxy relays itself is never ours: tunnels fire no hooks."""
        flow.kill()
        # mitmproxy relays a killed TCP flow all the same; this it looks at.
        flow.server_conn.error = "awsgate: raw TCP without the gate's approval"

    def tcp_message(self, flow: tcp.TCPFlow) -> None:
        """Likewise, should the connection be open already."""
        flow.messages[-1].content = b""

    def udp_start(self, flow: udp.UDPFlow) -> None:
        """Likewise."""
        flow.kill()

    def dns_request(self, flow: dns.DNSFlow) -> None:
        """Likewise."""
        flow.kill()

    def websocket_start(self, flow: http.HTTPFlow) -> None:
        """An upgrade that the gate did not sign carries whatever it likes."""
        if not is_stamped(flow.request):
            flow.kill()


def _refusal(flow: http.HTTPFlow) -> http.Response:
    log.error("refused a request without the gate's stamp")
    body = b"" if flow.request.data.method == b"HEAD" else _BODY
    return http.Response.make(
        500, body, {"Content-Type": "text/plain", "x-awsgate-code": "gateway-fault"}
    )


_BODY = b"awsgate: gateway-fault: the gate did not review this request, so it was not forwarded\n"
