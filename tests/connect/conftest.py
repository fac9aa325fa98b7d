"""An issuer, a connector to it, and a login through both."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest

from awsgate.connect.oidc import OidcConnector
from awsgate.login import Identity
from awsgate.policy.connectors import Oidc
from oidcissuer import CLIENT_ID, CLIENT_SECRET, NOW, Issuer, serving
from oidclogin import REDIRECT, STATE, Connect, LogIn


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with serving(Issuer(now=lambda: float(NOW))) as running:
        yield running


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    # Nothing here is TLS, and to read the roots of the system takes longer than a test.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    async with httpx.AsyncClient(trust_env=False, verify=context) as client:
        yield client


@pytest.fixture
def connect(issuer: Issuer, http: httpx.AsyncClient) -> Connect:
    """Make a connector to the issuer, with changes of its spec."""

    def made(clock: Callable[[], float] | None = None, **changes: Any) -> OidcConnector:
        spec = {
            "issuer_url": issuer.url,
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "claims_to_roles": [{"claim": "groups", "value": "admins", "roles": ["admin"]}],
            **changes,
        }
        document = Oidc.model_validate(
            {"kind": "oidc", "version": "v3", "metadata": {"name": "corp"}, "spec": spec}
        )
        return OidcConnector(document, http=http, clock=clock or issuer.now)

    return made


@pytest.fixture
def log_in(http: httpx.AsyncClient) -> LogIn:
    """Go through the browser's part, by HTTP alone."""

    async def done(connector: OidcConnector) -> Identity:
        begun = await connector.begin(state=STATE, redirect_url=REDIRECT)
        answer = await http.get(begun.url)
        return await connector.finish(answer.json(), begun.memory)

    return done
