"""Connections that stay open while the gateway's policy and locks change under them.

A ``Bench`` is the strict AWS with a gateway before it whose policy is a folder; ``Held``
is one client on one TCP connection, which is never opened again.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aws_server.server import StrictAws
from awsgate.aws.sigv4 import SigningKeys
from awsgate.demo.processes import GatewayProcess
from awsgate.locks import LockStore
from awsgate.policywatch import SETTLE_S
from awsgate.session import open_session
from awsgate.state import open_state
from e2e.recording import wait_until
from rawclient import Answer, Call, Wire, mint_keys, secure

ACCOUNT = "123456789012"
READ, POWER, OTHER = (f"arn:aws:iam::{ACCOUNT}:role/{name}" for name in ("Read", "Power", "Other"))
BUCKET = "held.s3.us-east-1.amazonaws.com"
OBJECT = Call("s3", BUCKET, "GET", "/generated/5")
STREAM_BYTES = 4_000_000_000
STREAM = Call("s3", BUCKET, "GET", f"/generated/{STREAM_BYTES}")
SOON_S = 1.0
"""What is promised: so long after a lock or a signal it holds."""
RESTED_S = SETTLE_S + 1.0
"""So long after the last change of a file it holds without a signal."""


def role(name: str, *arns: str, **allow: object) -> str:
    listed = ", ".join(f"'{arn}'" for arn in arns)
    more = "".join(f"\n    {key}: {value}" for key, value in allow.items())
    return f"""\
kind: role
version: v5
metadata: {{name: {name}}}
spec:
  allow:
    app_labels: {{'*': '*'}}
    aws_role_arns: [{listed}]{more}
"""


def user(name: str, *roles: str) -> str:
    return f"""\
kind: user
version: v2
metadata: {{name: {name}}}
spec: {{roles: [{", ".join(roles)}]}}
"""


def app(name: str) -> str:
    return f"""\
kind: app
version: v3
metadata: {{name: {name}, labels: {{aws_account_id: '{ACCOUNT}'}}}}
spec: {{uri: https://console.aws.amazon.com/}}
"""


def gateway(spec: str) -> str:
    return f"kind: gateway\nversion: v1\nmetadata: {{name: gateway}}\nspec: {spec}\n"


def lock_document(name: str, target: Mapping[str, str], **spec: object) -> dict[str, Any]:
    return {
        "kind": "lock",
        "version": "v1",
        "metadata": {"name": name},
        "spec": {"target": dict(target), **spec},
    }


@dataclass
class Held:
    """One client on one connection."""

    wire: Wire
    keys: SigningKeys
    call: Call

    def ask(self, call: Call | None = None) -> Answer:
        """Send a request and read its answer."""
        self.send(call)
        return self.wire.read_answer()

    def send(self, call: Call | None = None) -> None:
        call = call or self.call
        self.wire.send(call.wire(call.signed(self.keys)))

    def verdict(self) -> str:
        """Ask once: the code of the refusal, or the status."""
        answer = self.ask()
        return answer.code or str(answer.status)


@dataclass
class Bench:
    """The strict AWS and a gateway before it."""

    aws: StrictAws
    gateway: GatewayProcess
    policy: Path

    @property
    def locks(self) -> LockStore:
        return LockStore(self.gateway.state / "locks")

    def keys(
        self, who: str, role_arn: str = POWER, *, app: str = "main", ttl_s: int = 600
    ) -> SigningKeys:
        """Give gateway credentials, a new session each time."""
        entropy = os.urandom(32)
        return mint_keys(
            self.gateway.state, user=who, role=role_arn, app=app, entropy=entropy, ttl_s=ttl_s
        )

    def session_of(self, keys: SigningKeys) -> str:
        """Give the session id, as in the audit."""
        opened = open_session(
            open_state(self.gateway.state).session_keys,
            access_key_id=keys.access_key_id,
            session_token=keys.session_token,
            now=int(time.time()),
        )
        return opened.session.id

    @contextmanager
    def held(self, who: str | SigningKeys, call: Call = OBJECT, **about: Any) -> Iterator[Held]:
        """Open a connection and keep it."""
        keys = self.keys(who, **about) if isinstance(who, str) else who
        with secure(self.gateway, call.host) as wire:
            yield Held(wire, keys, call)

    @contextmanager
    def taken(
        self, event: str, *, within: float = SOON_S, hup: bool | None = None
    ) -> Iterator[None]:
        """Do something, and see the gateway take it in time: it tells the audit after the deed.

        Only then is a request sent: one that is under way would be cut, without words.
        Of a policy it is told by a signal, unless ``hup`` is false: it waits until files rest.
        """
        if hup is None:
            hup = event == "policy.reload"
        before = len(self.lines(event=event))
        yield
        if hup:
            self.gateway.process.send_signal(signal.SIGHUP)
        heard = until(lambda: len(self.lines(event=event)) > before, within=within)
        assert heard, f"no {event} within {within} s: {self.log()[-500:]}"

    @contextmanager
    def locked(self, name: str, target: Mapping[str, str], **spec: object) -> Iterator[None]:
        """Lock as ``awsgate lock add`` does, and take the lock away again."""
        with self.taken("lock.add"):
            self.locks.add(lock_document(name, target, **spec))
        try:
            yield
        finally:
            with self.taken("lock.remove"):
                self.locks.remove(name)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run ``awsgate ...`` as an operator does, on the gateway's own machine."""
        return subprocess.run(
            [sys.executable, "-m", "awsgate", *arguments, "--state", str(self.gateway.state)],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
            env={**os.environ, "AWSGATE_POLICY": str(self.policy), "NO_COLOR": "1"},
        )

    def lines(self, **wanted: object) -> list[dict[str, Any]]:
        """Give the audit lines with these values."""
        return [
            line
            for line in self.gateway.audit()
            if all(line[name] == value for name, value in wanted.items())
        ]

    def assumed(self, session_name: str) -> int:
        """Count the times that STS was asked for a role under this session name."""
        own = self.aws.base_keys.access_key_id
        named = f"RoleSessionName={session_name}&".encode()
        return sum(
            named in (request.body or b"") + b"&"
            for request in self.aws.requests
            if request.access_key_id == own
        )

    def log(self) -> str:
        return self.gateway.log.read_text("utf-8", "replace")


def until(done: Callable[[], bool], *, within: float = SOON_S) -> bool:
    """True as soon as ``done`` is; False if that takes too long."""
    return wait_until(done, within_s=within)


def cut_within(wire: Wire, seconds: float = SOON_S) -> bool:
    """Read what comes, and throw it away: True if the connection ends in time."""
    latest = time.monotonic() + seconds
    wire.sock.settimeout(0.1)
    while time.monotonic() < latest:
        try:
            if not wire.sock.recv(1 << 20):
                return True
        except TimeoutError:
            continue
        except OSError:
            return True
    return False


def in_seconds(seconds: float) -> str:
    """Give a moment, as a lock has it."""
    when = datetime.fromtimestamp(time.time() + seconds, UTC)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@contextmanager
def bench_in(
    folder: Path, documents: Mapping[str, str], options: Sequence[str] = ()
) -> Iterator[Bench]:
    """Start both; ``documents`` are the files of the policy."""
    policy = folder / "policy"
    policy.mkdir()
    for name, text in documents.items():
        (policy / name).write_text(text, "utf-8")
    with StrictAws() as aws:
        running = GatewayProcess(
            folder, policy=policy, keys=aws.gateway_keys, upstream=aws.url, options=options
        )
        try:
            yield Bench(aws, running, policy)
        finally:
            running.stop()


def drained(wire: Wire, size: int) -> int:
    """Read at least ``size`` bytes of an answer that goes on."""
    got = len(wire.buffered)
    wire.buffered = b""
    while got < size:
        piece = wire.sock.recv(1 << 20)
        if not piece:
            return got
        got += len(piece)
    return got


def is_open(port: int, client_port: int) -> bool:
    """True if the gateway has not closed its end of a client's connection."""
    ends = f":{port:04X}", f":{client_port:04X}"
    for line in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]:
        _, here, there, state, *_ = line.split()
        if (here[-5:], there[-5:]) == ends:
            return state == "01"  # ESTABLISHED
    return False
