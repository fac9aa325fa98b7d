"""mitmproxy's value objects for what a client asks: the flows that the hooks see."""

from __future__ import annotations

import time

from mitmproxy import connection, http
from mitmproxy.net.http import url

from awsgate.addon.flows import headers_of
from awsgate.server.core.head import RequestHead, Unreadable


def flow_of(
    client: connection.Client,
    server: connection.Server,
    head: RequestHead,
    inside: tuple[bytes, str, int] | None,
) -> http.HTTPFlow:
    """Make the flow of a request: what it says, and where it would go by that.

    ``inside`` is scheme, host and port of the CONNECT that it came through; None: of none.
    """
    if inside is not None:
        scheme, host, port = inside
    else:
        host, port = _named(head)
        scheme = head.scheme or b"http"
    request = http.Request(
        host, port, head.method, scheme, head.authority, head.target, head.version,
        headers_of(head.fields), None, None, time.time(), None,
    )  # fmt: skip
    return _flow(client, server, request)


def connect_flow(
    client: connection.Client, server: connection.Server, head: RequestHead
) -> http.HTTPFlow:
    """Make the flow of a CONNECT. Raises ``Unreadable`` for one that names no address."""
    try:
        host, port = url.parse_authority(head.authority, check=True)
    except ValueError:
        host, port = "", None
    if not host or not port or head.fault or head.body:
        raise Unreadable("a CONNECT that is none")
    now = time.time()
    request = http.Request(
        host, port, b"CONNECT", b"", head.authority, b"", head.version, headers_of(head.fields),
        b"", None, now, now,
    )  # fmt: skip
    return _flow(client, server, request)


def _flow(
    client: connection.Client, server: connection.Server, request: http.Request
) -> http.HTTPFlow:
    flow = http.HTTPFlow(client, server, True)
    flow.request = request
    return flow


def _named(head: RequestHead) -> tuple[str, int]:
    said = head.authority or next((v for n, v in head.fields if n.lower() == b"host"), b"")
    try:
        host, port = url.parse_authority(said, check=True)
    except ValueError:
        return "", 80
    return host, port or 80
