"""A real gateway with a saml connector, and pysaml2's provider, set up with its metadata."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from awsgate.demo.embedded_aws import EmbeddedAws
from awsgate.demo.processes import free_port
from identity.gateway import Gateway, document, gateway_with
from identity.samlidp import Provider, saml_provider

CONNECTOR = "saml/corp"
ROWS = [
    {"name": "groups", "value": "admins", "roles": ["power"]},
    {"name": "groups", "value": "staff", "roles": ["read"]},
]


@dataclass
class Both:
    """The gateway and the provider, which know each other."""

    gateway: Gateway
    idp: Provider

    @property
    def acs(self) -> str:
        """Where the provider posts its answer."""
        return f"{self.gateway.url}/v1/saml/acs/corp"

    def client(self) -> httpx.Client:
        """A client of the control API."""
        root = str(self.gateway.process.certs / "gateway-root.pem")
        trust = ssl.create_default_context(cafile=root)
        return httpx.Client(base_url=self.gateway.url, verify=trust, trust_env=False)


@contextmanager
def gateway_with_saml(
    folder: Path, aws: EmbeddedAws, *, encrypt: str = "", workers: int = 0, **spec: Any
) -> Iterator[Both]:
    """Run both, as an operator would set them up."""
    control, port = free_port(), free_port()
    connector = {
        "acs": f"https://127.0.0.1:{control}/v1/saml/acs/corp",
        "entity_descriptor_url": f"http://127.0.0.1:{port}/metadata",
        "attributes_to_roles": ROWS,
        **spec,
    }
    connectors = [document("saml", "corp", connector)]
    with gateway_with(folder, aws, connectors, control=control, workers=workers) as gateway:
        both = Both(gateway, Provider(f"http://127.0.0.1:{port}"))
        with both.client() as http:
            metadata = http.get("/v1/saml/metadata/corp").raise_for_status().content
        with saml_provider(folder / "idp", metadata, port, encrypt):
            yield both
