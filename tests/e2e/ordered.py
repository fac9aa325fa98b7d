"""A gateway before the strict AWS, and commands that order artefacts of it as bob."""

from __future__ import annotations

import http.client
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aws_server.model import Request
from aws_server.server import StrictAws
from awsgate.aws.sigv4 import SigningKeys
from awsgate.demo.embedded_aws import ACCOUNT, POWER_ROLE
from awsgate.demo.processes import GatewayProcess, clean_env
from e2e.forms import gateway_before

REGION = "eu-central-1"
DATABASE = f"db1.c9akciq32.{REGION}.rds.amazonaws.com"
GIT = f"git-codecommit.{REGION}.amazonaws.com"
POLICY = f"""\
kind: role
version: v5
metadata: {{name: artefacts}}
spec:
  allow:
    app_labels: {{'*': '*'}}
    aws_role_arns: ['{POWER_ROLE}']
    aws_actions: ['s3:*Object', 'eks:AccessKubernetesApi',
                  'rds-db:connect', 'codecommit:Git*']
    aws_resources: ['arn:aws:s3:::reports/public/*', 'arn:aws:eks:*:*:cluster/dev',
                    'arn:aws:rds-db:*:*:dbuser:db-ABC/app', 'arn:aws:codecommit:*:*:tools']
---
kind: app
version: v3
metadata: {{name: test, labels: {{aws_account_id: '{ACCOUNT}'}}}}
spec: {{uri: https://console.aws.amazon.com/}}
---
kind: user
version: v2
metadata: {{name: bob}}
spec: {{roles: [artefacts]}}
"""
RDS = ("rds-token", "--hostname", DATABASE, "--port", "5432", "--username", "app")


@dataclass
class Stage:
    aws: StrictAws
    gateway: GatewayProcess
    env: dict[str, str]

    def run(
        self, *arguments: str, stdin: str = "", program: str = "", **env: str
    ) -> subprocess.CompletedProcess[str]:
        command = [program] if program else [sys.executable, "-m", "awsgate"]
        return subprocess.run(
            [*command, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            env={**self.env, **env},
            timeout=60,
        )

    def ok(self, *arguments: str, **env: str) -> str:
        done = self.run(*arguments, **env)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.strip()

    def line(self) -> dict[str, Any]:
        """Give the last line of the audit. An artefact's is there before its answer is."""
        return self.gateway.audit()[-1]

    def keys(self) -> SigningKeys:
        """Give the real keys that made the last artefact, from AWS's own book."""
        found = self.aws.keys.identities[self.line()["access_key_id"]]
        return SigningKeys(found.access_key_id, found.secret, found.token or "")

    def fetch(
        self, method: str, url: str, body: bytes = b"", **headers: str
    ) -> tuple[int, bytes, Request]:
        """Use a URL as anybody would, past the gateway: the strict AWS hears it."""
        parts = urlsplit(url)
        connection = http.client.HTTPConnection("127.0.0.1", self.aws.port, timeout=10)
        connection.putrequest(
            method, f"{parts.path}?{parts.query}", skip_host=True, skip_accept_encoding=True
        )
        for name, value in {"Host": parts.netloc, **headers}.items():
            connection.putheader(name.replace("_", "-"), value)
        if body:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body or None)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, content, self.aws.requests[-1]


@contextmanager
def stage_in(folder: Path) -> Iterator[Stage]:
    """Start both."""
    with StrictAws() as aws, gateway_before(aws, folder, POLICY) as gateway:
        given = gateway.env(user="bob", app="test", role=POWER_ROLE)
        env = clean_env(gateway.home, {**given, "AWS_REGION": REGION})
        # Nothing of the gateway's own is within a client's reach.
        for name in ("POLICY", "STATE", "CERTS"):
            env[f"AWSGATE_{name}"] = str(folder / "nowhere")
        yield Stage(aws, gateway, env)
