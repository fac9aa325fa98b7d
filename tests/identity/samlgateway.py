"""A real gateway with a saml connector in front of the embedded AWS, and its command line."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from awsgate.demo.embedded_aws import ACCOUNT, POWER_ROLE, READ_ONLY_ROLE, EmbeddedAws
from awsgate.demo.processes import GatewayProcess, clean_env, free_port
from identity.samlidp import Provider, saml_provider

CONNECTOR = "saml/corp"
ROWS = [
    {"name": "groups", "value": "admins", "roles": ["power"]},
    {"name": "groups", "value": "staff", "roles": ["read"]},
]
WHOAMI = "import boto3, json\nprint(json.dumps(boto3.client('sts').get_caller_identity()['Arn']))\n"


@dataclass
class Gateway:
    """All that a test needs of it."""

    process: GatewayProcess
    url: str
    """Of the control API."""
    home: Path
    idp: Provider

    @property
    def pin(self) -> str:
        """What ``awsgate ca show`` would say."""
        return "sha256:" + self._digest("gateway-root.pem").hex()

    @property
    def trusted(self) -> str:
        """The certificate's key, as a browser is told to trust it."""
        return base64.b64encode(self._digest("gateway.pem")).decode()

    def _digest(self, name: str) -> bytes:
        text = (self.process.certs / name).read_bytes()
        key = x509.load_pem_x509_certificate(text).public_key()
        spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return hashlib.sha256(spki).digest()

    def client(self) -> httpx.Client:
        """A client of the control API."""
        root = str(self.process.certs / "gateway-root.pem")
        trust = ssl.create_default_context(cafile=root)
        return httpx.Client(base_url=self.url, verify=trust, trust_env=False)

    def command(self, *words: str) -> list[str]:
        """A command line of awsgate's."""
        return [sys.executable, "-m", "awsgate", *words]

    @contextmanager
    def logging_in(self) -> Iterator[Login]:
        """Start ``awsgate login``; it waits for a browser."""
        process = subprocess.Popen(
            self.command(
                *("login", "--gateway", self.url, "--ca-pin", self.pin),
                *("--connector", CONNECTOR, "--no-browser", "--json"),
            ),
            env=clean_env(self.home),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield Login(process, _url(process))
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate()

    def run(self, *words: str, env: Mapping[str, str] | None = None) -> str:
        """Give what a command of awsgate's prints."""
        environment = clean_env(self.home, env)
        done = subprocess.run(
            self.command(*words), env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def whoami(self, *words: str) -> str:
        """Give the ARN that STS sees, asked with boto3 through the gateway."""
        arn: str = json.loads(self.run("exec", *words, "--", sys.executable, "-c", WHOAMI))
        return arn

    def logins(self) -> list[dict[str, Any]]:
        """Give the audit's lines about logins."""
        return [line for line in self.process.audit() if line["event"] == "login"]


@dataclass
class Login:
    """A login under way."""

    process: subprocess.Popen[str]
    url: str
    """Where the browser goes."""

    def ended(self) -> tuple[int, str, str]:
        """Give the exit code, what it printed, and what it said."""
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err


def _url(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        if found := re.fullmatch(r"\s*(https?://\S+)\s*", line):
            return found[1]
    raise AssertionError(f"awsgate login gave no URL: {said}")


@contextmanager
def gateway_with_saml(
    folder: Path, aws: EmbeddedAws, *, encrypt: str = "", workers: int = 0, **spec: Any
) -> Iterator[Gateway]:
    """Run one, and the provider, which is set up with the gateway's own metadata."""
    folder.mkdir(exist_ok=True)
    control, idp_port = free_port(), free_port()
    url = f"https://127.0.0.1:{control}"
    connector = {
        "acs": f"{url}/v1/saml/acs/corp",
        "entity_descriptor_url": f"http://127.0.0.1:{idp_port}/metadata",
        "attributes_to_roles": ROWS,
        **spec,
    }
    file = folder / "policy.yaml"
    file.write_text(yaml.safe_dump_all(_documents(control, connector)), "utf-8")
    process = GatewayProcess(
        folder, policy=file, keys=aws.gateway_keys, upstream=aws.url, workers=workers
    )
    try:
        made = Gateway(process, url, process.home, Provider(f"http://127.0.0.1:{idp_port}"))
        with made.client() as http:
            metadata = http.get("/v1/saml/metadata/corp").raise_for_status().content
        with saml_provider(folder / "idp", metadata, idp_port, encrypt):
            yield made
    finally:
        process.stop()


def _documents(control: int, connector: Mapping[str, Any]) -> list[dict[str, Any]]:
    def document(kind: str, name: str, spec: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        return {"kind": kind, "version": "v3", "metadata": {"name": name, **more}, "spec": spec}

    def role(name: str, arn: str) -> dict[str, Any]:
        allow = {"app_labels": {"*": "*"}, "aws_role_arns": [arn]}
        return document("role", name, {"allow": allow})

    return [
        document("gateway", "gateway", {"control": {"listen": f"127.0.0.1:{control}"}}),
        role("power", POWER_ROLE),
        role("read", READ_ONLY_ROLE),
        document(
            "app",
            "test",
            {"uri": "https://console.aws.amazon.com/"},
            labels={"aws_account_id": ACCOUNT},
        ),
        document("saml", "corp", connector),
    ]
