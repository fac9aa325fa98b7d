"""A gateway in front of the strict AWS, and clients that know nothing but its variables."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import boto3
from botocore.config import Config

from aws_server.model import Request
from aws_server.server import StrictAws
from awsgate.aws.sigv4 import SigningKeys
from awsgate.demo.embedded_aws import ACCOUNT, POWER_ROLE, EmbeddedAws
from awsgate.demo.processes import GatewayProcess
from rawclient import Answer, ask, head, keys_of

HOPS_VARIABLE = "AWSGATE_TEST_HOPS"
POLICY = """\
kind: role
version: v5
metadata: {{name: power}}
spec:
  allow:
    app_labels: {{'*': '*'}}
    aws_role_arns: ['{role}']
    aws_tenant_endpoints: [execute-api]
---
kind: app
version: v3
metadata: {{name: awsconsole-test, labels: {{aws_account_id: '{account}'}}}}
spec: {{uri: https://console.aws.amazon.com/}}
---
kind: user
version: v2
metadata: {{name: bob}}
spec: {{roles: [power]}}
---
kind: gateway
spec: {spec}
"""


@dataclass
class Stage:
    """The strict AWS, a gateway of its own before it, and bob."""

    aws: StrictAws
    gateway: GatewayProcess
    keys: SigningKeys
    bundle: str

    def client(self, service: str, *, region: str = "us-east-1", **config: Any) -> Any:
        """Give a boto3 client that is bob."""
        return boto3.client(
            service,  # type: ignore[call-overload]
            region_name=region,
            aws_access_key_id=self.keys.access_key_id,
            aws_secret_access_key=self.keys.secret_access_key,
            aws_session_token=self.keys.session_token,
            verify=self.bundle,
            config=self.config(**config),
        )

    def config(self, **config: Any) -> Config:
        return Config(
            proxies={"https": self.gateway.proxy},
            **{"retries": {"total_max_attempts": 1}, **config},
        )

    def fetch(
        self, method: str, url: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> Answer:
        """Fetch a URL as it stands, as ``curl`` or a browser would."""
        host, slash, rest = url.removeprefix("https://").partition("/")
        fields = [(b"Host", host.encode())]
        fields += [(n.encode(), v.encode()) for n, v in (headers or {}).items()]
        if body or method in ("PUT", "POST"):
            fields.append((b"Content-Length", str(len(body)).encode()))
        raw = head(method, slash + rest, fields) + body
        return ask(self.gateway, host, raw, method=method)

    def last(self) -> Request:
        """Give the last request that AWS saw, but for the gateway's own."""
        return self.seen()[-1]

    def seen(self) -> list[Request]:
        """Give the requests that AWS saw, but for the gateway's own AssumeRole."""
        own = self.aws.base_keys.access_key_id
        return [request for request in self.aws.requests if request.access_key_id != own]

    def leaks_in(self, received: bytearray) -> list[str]:
        """Give what AWS issued and a client read, in whatever spelling."""
        return [
            secret
            for secret in self.aws.issued
            if secret.encode() in received or quote(secret, safe="").encode() in received
        ]


@contextmanager
def gateway_before(
    aws: StrictAws | EmbeddedAws, folder: Path, policy_text: str, **how: Any
) -> Iterator[GatewayProcess]:
    """Run a gateway with that policy; ``how`` is for ``GatewayProcess``."""
    policy = folder / "policy.yaml"
    policy.write_text(policy_text, "utf-8")
    gateway = GatewayProcess(folder, policy=policy, keys=aws.gateway_keys, upstream=aws.url, **how)
    try:
        yield gateway
    finally:
        gateway.stop()


@contextmanager
def stage_in(folder: Path, *, spec: str = "{}") -> Iterator[Stage]:
    """Start both; ``spec`` is that of ``kind: gateway``.

    With ``AWSGATE_TEST_HOPS`` it is the gateway of a jump host, and clients speak to
    another one that hands calls on to it.
    """
    if os.environ.get(HOPS_VARIABLE):
        from e2e.hops import hops_before_strict_aws

        with hops_before_strict_aws(folder, spec=spec) as hops:
            hops.client("sts").get_caller_identity()  # or the first test would wait for it
            yield hops
        return
    policy = POLICY.format(role=POWER_ROLE, account=ACCOUNT, spec=spec)
    with StrictAws() as aws, gateway_before(aws, folder, policy) as gateway:
        env = gateway.env(user="bob", app="awsconsole-test", role=POWER_ROLE)
        yield Stage(aws, gateway, keys_of(env), env["AWS_CA_BUNDLE"])


@contextmanager
def everything_received() -> Iterator[bytearray]:
    """Keep every byte that this process reads off a TLS connection."""
    kept = bytearray()
    stock = ssl.SSLSocket.read

    def read(self: ssl.SSLSocket, size: int = 1024, buffer: Any = None) -> Any:
        got = stock(self, size, buffer)
        kept.extend(got if buffer is None else memoryview(buffer)[:got])
        return got

    ssl.SSLSocket.read = read  # type: ignore[method-assign,assignment]
    try:
        yield kept
    finally:
        ssl.SSLSocket.read = stock  # type: ignore[method-assign]
