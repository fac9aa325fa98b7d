"""Tunnels to AWS that go by the gateway ahead: CONNECT there too, within TLS that proves it.

For mitmproxy's layers; ``server.core.through`` does the same for the core of our own.
"""

from __future__ import annotations

import base64
from typing import Literal

from mitmproxy.proxy import context, layer, layers
from mitmproxy.proxy.layers.http._upstream_proxy import HttpUpstreamProxy

from awsgate.credentials import AwsCredentials
from awsgate.nextgateway import NextGateway


def layer_for(joined: context.Context, ahead: NextGateway) -> layer.Layer:
    """Give the layer that opens the tunnel by the gateway ahead, and relays it untouched."""
    scheme: Literal["http", "https"] = "https" if ahead.scheme == "https" else "http"
    joined.server.via = (scheme, (ahead.host, ahead.port))
    stack = HttpUpstreamProxy.make(joined, send_connect=True)
    stack /= layers.TCPLayer(joined, ignore=True)
    return stack[0]


def proxy_authorization(held: AwsCredentials | None, now: float) -> bytes:
    """Say who opens a tunnel there: whose call was the last. Empty: nobody's, or it has ended."""
    if held is None or not held.proxy_password or now >= held.expires_at:
        return b""
    text = f"{held.access_key_id}:{held.proxy_password}"
    return b"Basic " + base64.b64encode(text.encode("ascii"))
