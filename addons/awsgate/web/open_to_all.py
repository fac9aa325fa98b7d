"""What anybody may ask: what this gateway is, and what to trust."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator

from awsgate.connect.ways import ways_of
from awsgate.login import LOCAL
from awsgate.policy.connectors import name_of
from awsgate.version import __version__
from awsgate.web import operators
from awsgate.web.calls import Call
from awsgate.web.desk import CERTIFICATE
from awsgate.web.shapes import Answer, Ca, ConnectorInfo, Ping


async def ping(call: Call) -> Answer:
    """Say what the gateway is."""
    bundle, _ = await asyncio.to_thread(call.api.info.bundles)
    return Ping(
        version=__version__,
        name=operators.name_of(call),
        connectors=list(_connectors(call)),
        proxy=call.api.info.proxy(),
        tunnel_auth=call.api.policy.gateway.tunnels.callers == "known",
        bundle_sha256=hashlib.sha256(bundle).hexdigest(),
    )


async def ca(call: Call) -> Answer:
    """Give what clients trust. Who fetches it knows the gateway by its pin."""
    bundle, root = await asyncio.to_thread(call.api.info.bundles)
    return Ca(bundle=bundle.decode("ascii", "replace"), root=root.decode("ascii", "replace"))


def _connectors(call: Call) -> Iterator[ConnectorInfo]:
    for document in call.api.policy.connectors.values():
        yield ConnectorInfo(
            name=name_of(document),
            display=document.spec.display or document.metadata.name,
            ways=list(ways_of(document)),
        )
    if call.api.policy.gateway.control.client_ca:
        yield ConnectorInfo(name=CERTIFICATE, display="client certificate", ways=["certificate"])
    if call.api.local is not None and call.api.info.has_local():
        yield ConnectorInfo(name=LOCAL, display="user and password", ways=["password"])
