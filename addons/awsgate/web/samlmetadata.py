"""GET /v1/saml/metadata/<name>: what an identity provider is set up with. Anybody may read it."""

from __future__ import annotations

import asyncio

from awsgate.connect.samlmetadata import sp_metadata
from awsgate.policy.connectors import Saml
from awsgate.web.calls import Api
from awsgate.web.problems import UNKNOWN_CONNECTOR, Problem

PATH = "/v1/saml/metadata/{name}"
CONTENT_TYPE = "application/samlmetadata+xml"


async def metadata(api: Api, name: str) -> bytes:
    """Give the gateway's metadata for one of its saml connectors. Raises ``Problem``."""
    document = api.policy.connectors.get(f"saml/{name}")
    if not isinstance(document, Saml):
        raise Problem(404, UNKNOWN_CONNECTOR, f"there is no saml connector {name[:100]!r}")
    return await asyncio.to_thread(sp_metadata, document)
