"""A real gateway with its control API, in front of the embedded AWS; and people who use it.

Each person has a home of their own, so that several can be logged in at the same time.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from awsgate.demo.embedded_aws import ACCOUNT, POWER_ROLE, READ_ONLY_ROLE, EmbeddedAws
from awsgate.demo.processes import GatewayProcess, clean_env, free_port

WHOAMI = "import boto3, json\nprint(json.dumps(boto3.client('sts').get_caller_identity()['Arn']))\n"
APP = "test"


def key_digest(certificate: Path) -> bytes:
    """Give the digest of a certificate's key, by which pins and browsers know it."""
    key = x509.load_pem_x509_certificate(certificate.read_bytes()).public_key()
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(spki).digest()


@dataclass
class Gateway:
    """A gateway that runs."""

    process: GatewayProcess
    url: str
    """Of the control API."""
    start: Callable[[], GatewayProcess] = field(repr=False)

    def restart(self) -> None:
        """End it, and start another in its place, with its state."""
        self.process.stop()
        self.process = self.start()

    @property
    def callback(self) -> str:
        """Where an identity provider sends browsers back."""
        return f"{self.url}/v1/callback"

    @property
    def pin(self) -> str:
        """What ``awsgate ca show`` says."""
        return "sha256:" + key_digest(self.process.certs / "gateway-root.pem").hex()

    @property
    def trusted(self) -> str:
        """The certificate's key, as a browser is told to trust it."""
        return base64.b64encode(key_digest(self.process.certs / "gateway.pem")).decode()

    def person(self, name: str) -> Person:
        """Give somebody with a home of their own."""
        home = self.process.folder / f"home-{name}"
        home.mkdir(exist_ok=True)
        return Person(self, home)

    def logins(self) -> list[dict[str, Any]]:
        """Give the audit's lines about logins."""
        return [line for line in self.process.audit() if line["event"] == "login"]

    def operator(self, *words: str) -> None:
        """Run a command as whoever holds the state folder."""
        where = ("--state", str(self.process.state))
        done = subprocess.run(
            [sys.executable, "-m", "awsgate", *words, *where],
            env=clean_env(self.process.home), capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


@dataclass
class Person:
    """Somebody, or some machine, at a computer of its own."""

    gateway: Gateway
    home: Path
    env: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def logging_in(self, *options: str) -> Iterator[Login]:
        """Start ``awsgate login``, which waits for a browser or for a code to be typed."""
        process = self.start("login", *self._where(), "--json", *options)
        try:
            yield Login(process)
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate()

    def log_in(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Run ``awsgate login`` for a machine, which waits for nobody."""
        return self.run("login", *self._where(), "--json", *options)

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a command of awsgate's; whoever starts it ends it."""
        return subprocess.Popen(
            self._command(*words), env=clean_env(self.home, self.env), cwd=self.home,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command of awsgate's."""
        env = clean_env(self.home, self.env)
        return subprocess.run(
            self._command(*words), env=env, cwd=self.home,
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    def python(self, code: str, *options: str) -> subprocess.CompletedProcess[str]:
        """Run Python with credentials of the gateway's."""
        return self.run("exec", *options, "--", sys.executable, "-c", code)

    def whoami(self, *options: str) -> str:
        """Give the ARN that STS sees, asked with boto3 through the gateway."""
        done = self.python(WHOAMI, *options)
        assert done.returncode == 0, done.stderr
        arn: str = json.loads(done.stdout)
        return arn

    def _where(self) -> tuple[str, ...]:
        return "--gateway", self.gateway.url, "--ca-pin", self.gateway.pin

    def _command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "awsgate", *words]


class Login:
    """A login under way."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._said = ""

    def url(self) -> str:
        """Give where a browser is to go, once that is said."""
        return self.line(r"\s*(?:or open )?(https?://\S+)\s*")

    def line(self, pattern: str) -> str:
        """Give what the group of ``pattern`` is in the first line that fits."""
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._said += line
            if found := re.fullmatch(pattern, line.rstrip("\n")):
                return found[1]
        raise AssertionError(f"awsgate login never said {pattern!r}: {self._said}")

    def ended(self) -> tuple[int, str, str]:
        """Give the exit code, what it printed, and what it said."""
        out, err = self._process.communicate(timeout=60)
        return self._process.returncode, out, self._said + err


def document(kind: str, name: str, spec: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Give a document of the policy."""
    return {"kind": kind, "version": "v3", "metadata": {"name": name, **more}, "spec": spec}


def role(name: str, arn: str, **options: Any) -> dict[str, Any]:
    """Give a role that may be one role of AWS's."""
    allow = {"app_labels": {"*": "*"}, "aws_role_arns": [arn]}
    return document("role", name, {"allow": allow, **({"options": options} if options else {})})


ROLES = (role("power", POWER_ROLE), role("read", READ_ONLY_ROLE))


@contextmanager
def gateway_with(
    folder: Path,
    aws: EmbeddedAws,
    connectors: Sequence[Mapping[str, Any]],
    *,
    control: int = 0,
    workers: int = 0,
    spec: Mapping[str, Any] | None = None,
) -> Iterator[Gateway]:
    """Run a gateway with these connectors. Its roles are ``power`` and ``read``.

    ``connectors`` may be any documents; ``spec`` is more of ``kind: gateway``.
    """
    folder.mkdir(exist_ok=True)
    control = control or free_port()
    policy = folder / "policy.yaml"
    labels = {"aws_account_id": ACCOUNT}
    documents = [
        document(
            "gateway", "gateway", {"control": {"listen": f"127.0.0.1:{control}"}, **(spec or {})}
        ),
        document("app", APP, {"uri": "https://console.aws.amazon.com/"}, labels=labels),
        *ROLES,
        *connectors,
    ]
    policy.write_text(yaml.safe_dump_all(documents), "utf-8")

    def start() -> GatewayProcess:
        return GatewayProcess(
            folder, policy=policy, keys=aws.gateway_keys, upstream=aws.url, workers=workers
        )

    running = Gateway(start(), f"https://127.0.0.1:{control}", start)
    try:
        yield running
    finally:
        running.process.stop()
