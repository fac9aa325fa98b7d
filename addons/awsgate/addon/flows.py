"""mitmproxy's flows and the gate's values, translated both ways.

The only place that knows where mitmproxy keeps what. Raw tuples and raw paths
throughout: the convenient properties (``content``, ``path``, ``host``) decode,
normalise or rewrite.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from functools import lru_cache
from http import HTTPStatus
from types import MappingProxyType

from mitmproxy import connection, http
from mitmproxy.net.http import url

from awsgate.aws.faults import FaultResponse
from awsgate.caller import Headers, header
from awsgate.outgoing import Outgoing
from awsgate.wire import RequestFacts, tokens_of

NO_MORE: Mapping[str, str] = MappingProxyType({})


def facts_of(
    flow: http.HTTPFlow,
    connect_host: str | None,
    connect_port: int = 443,
    *,
    secured: bool = False,
) -> RequestFacts:
    """Take the facts of a request as it stands on the wire.

    ``connect_host`` is the normalised CONNECT host of the tunnel it came through.
    ``secured``: the client speaks TLS to the proxy itself. That is its TLS where there was
    no CONNECT; inside one there must be another, under the name of the host.
    """
    data = flow.request.data
    client = flow.client_conn
    return RequestFacts(
        method=data.method,
        target=data.path,
        authority=data.authority or (_absolute(flow.request) if connect_host is None else b""),
        headers=data.headers.fields,
        connect_host=connect_host,
        tls=client.tls_established or (secured and connect_host is None),
        sni=client.sni,
        local=is_local(client),
        http_version=data.http_version,
        connect_port=connect_port,
        client=str(client.peername[0]),
    )


def _absolute(request: http.Request) -> bytes:
    """Give the host of a request target in absolute form that is another than Host's.

    mitmproxy makes origin form of what came without CONNECT, and keeps of an authority only
    where it would send the request.
    """
    data = request.data
    named = next((v for n, v in data.headers.fields if n.lower() == b"host"), b"")
    try:
        host, port = url.parse_authority(named, check=True)
    except ValueError:
        host, port = "", None
    by_scheme = 443 if data.scheme == b"https" else 80
    if (host.lower(), port or by_scheme) == (data.host.lower(), data.port):
        return b""
    return data.host.encode("utf-8", "replace")


def is_local(client: connection.Client) -> bool:
    """True if the client connection comes from this machine."""
    return _is_loopback(str(client.peername[0]))


@lru_cache(maxsize=4096)
def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return False


def body_size(headers: Headers) -> int | None:
    """Give the announced body size in bytes; None if it is chunked, 0 if there is none."""
    if b"transfer-encoding" in headers:
        return None
    length = header(headers, b"content-length")
    return int(length) if length.isdigit() else 0


def send_to(flow: http.HTTPFlow, out: Outgoing, *, scheme: str, host: str, port: int) -> None:
    """Point the request at a server, as it is to go there.

    ``request.data`` and not ``request.host``: the property rewrites the Host header.
    """
    data = flow.request.data
    data.scheme, data.host, data.port, data.authority = scheme.encode(), host, port, b""
    data.path = out.target
    data.headers = headers_of(out.headers)
    if out.body is not None:
        data.content = out.body


def headers_of(fields: tuple[tuple[bytes, bytes], ...]) -> http.Headers:
    """Make mitmproxy's headers of fields that are read already: it would go over them again."""
    headers = http.Headers.__new__(http.Headers)
    headers.fields = fields
    return headers


def close_as_asked(flow: http.HTTPFlow, headers: Headers) -> None:
    """Have the connection end with this answer, if the client said so (RFC 9112, 9.6).

    mitmproxy looks for it in the request, and it is not in the one that goes to AWS.
    """
    said = headers.get(b"connection")
    if said and flow.response is not None and b"close" in tokens_of(said):
        flow.response.headers["connection"] = "close"


def respond(flow: http.HTTPFlow, fault: FaultResponse) -> None:
    """Answer the request with a fault of our own."""
    flow.request.stream = False
    flow.response = http.Response(
        b"HTTP/1.1",
        fault.status,
        # Never empty: after Expect, botocore takes a line of two words for no answer.
        HTTPStatus(fault.status).phrase.encode(),
        http.Headers([(n.encode(), v.encode()) for n, v in fault.headers]),
        fault.body,
        None,
        0.0,
        0.0,
    )


def refuse_connect(
    flow: http.HTTPFlow, status: int, code: str, text: str, more: Mapping[str, str] = NO_MORE
) -> None:
    """Answer a CONNECT with a refusal, in words: no SDK shows them, curl does."""
    flow.response = http.Response.make(
        status,
        f"awsgate: {code}: {text}\n",
        {"Content-Type": "text/plain", "x-awsgate-code": code, **more},
    )
