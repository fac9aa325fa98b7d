"""CONNECT: intercept, tunnel, or refuse; and the end of a connection that is cut.

The gateway's own control API has a name that is nobody's in the world, and is tunnelled
to. An AWS endpoint on 443 is intercepted. A bypass rule tunnels untouched. Anything
else follows ``non_aws``. A refusal about an AWS host is never given at CONNECT:
clients retry it for up to a minute and hide its text, while the same refusal inside
TLS costs one request and shows our words.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from awsgate.aws.endpoint import is_data_plane, looks_like_aws, normalise_host
from awsgate.bypass import Bypass
from awsgate.servercert import MAGIC_HOST

HTTPS_PORT = 443
TUNNELLED = "awsgate.tunnelled"
"""Flow metadata: this CONNECT opens a tunnel that nobody looks into."""
NOBODYS = "awsgate.nobodys"
"""Flow metadata: if nobody is known to have opened that tunnel."""


class Way(StrEnum):
    """What becomes of a CONNECT."""

    INTERCEPT = "intercept"
    TUNNEL = "tunnel"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Route:
    """The decision on one CONNECT."""

    way: Way
    host: str
    """Normalised; as received where it could not be."""
    port: int
    reason: str
    """Which rule: audit field and metric label, from a bounded set."""


CONTROL = "control"
"""The reason of routes to the control API: whoever logs in there has no session yet."""


def decide_route(
    host: str, port: int, *, bypass: Bypass, non_aws: str, control: bool = False
) -> Route:
    """Decide one CONNECT. Total: what cannot be understood is refused.

    Order: the control API, if there is one (``control``); the operator's and built-in
    bypass rules; then AWS, then ``non_aws``.
    """
    literal = _ip_literal(host)
    try:
        name = literal or normalise_host(host)
    except ValueError:
        return Route(Way.REFUSE, host[:255], port, "bad-host")
    if name == MAGIC_HOST:  # never looked up: it is no name of the DNS
        way = Way.TUNNEL if control and port == HTTPS_PORT else Way.REFUSE
        return Route(way, name, port, CONTROL)
    rule = bypass.match(name, port)
    if rule is not None:
        return Route(Way.TUNNEL, name, port, rule.reason)
    if literal:
        return Route(Way.REFUSE, name, port, "ip-literal")
    if looks_like_aws(name) and not is_data_plane(name):
        return Route(Way.INTERCEPT, name, port, "aws")
    if non_aws == "tunnel":
        return Route(Way.TUNNEL, name, port, "non-aws")
    return Route(Way.REFUSE, name, port, "non-aws")


def why_refused(route: Route) -> str:
    """Give what a client is told of a CONNECT that is refused."""
    if route.reason == CONTROL:
        return f"{CONTROL}: this gateway has no control API; spec.control.listen turns it on"
    return (
        f"{route.reason}: this gateway does not tunnel there; "
        "add a bypass rule to kind: gateway if it must"
    )


def _ip_literal(host: str) -> str:
    try:
        return str(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        return ""


class Routes:
    """The route of each open client connection, by mitmproxy's connection id."""

    def __init__(self) -> None:
        self._routes: dict[str, Route] = {}

    def put(self, client_id: str, route: Route) -> None:
        """Remember the route of a connection's CONNECT."""
        self._routes[client_id] = route

    def get(self, client_id: str) -> Route | None:
        """Give the route, or None where no CONNECT was seen (origin form)."""
        return self._routes.get(client_id)

    def closed(self, *, bypass: Bypass, non_aws: str, control: bool = False) -> list[str]:
        """Give the connections that are tunnels and would be none by these rules."""
        return [
            client_id
            for client_id, route in self._routes.items()
            if route.way is Way.TUNNEL
            and decide_route(
                route.host, route.port, bypass=bypass, non_aws=non_aws, control=control
            ).way
            is not Way.TUNNEL
        ]

    def drop(self, client_id: str) -> None:
        """Forget a closed connection."""
        self._routes.pop(client_id, None)

    def take_over(self, older: Routes) -> None:
        """Know what another instance knows."""
        self._routes.update(older._routes)


def cut_client(server: Any, client_id: str) -> None:
    """End a client connection at once, with what is unsent, and all that it leads to.

    ``server`` is mitmproxy's own; what ends here is what its time-out would end.
    """
    for handler in list(getattr(server, "connections", {}).values()):
        if handler.client.id != client_id:
            continue
        held = handler.transports.get(handler.client)
        if held is None:
            return
        if held.handler is not None:
            held.handler.cancel("awsgate: cut off")
        transport = getattr(held.writer, "transport", None)
        if transport is not None:
            # Not close(): that waits for a client that may never read what is buffered.
            transport.abort()
        return
