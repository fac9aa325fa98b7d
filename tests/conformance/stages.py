"""Three gateways, each before an AWS of another kind, and a user for every client.

    storage    SeaweedFS, with a tap between that notes whose keys came
    services   moto with IAM checks on: STS, DynamoDB, SQS
    strict     the tests' own strict AWS, which also checks bodies, regions and dates

Every client is a user of its own, so that clients may run at the same time and each line
of the audit still has one owner. ``USER-former`` has the role in his credentials and no
more in the policy.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from typer.testing import CliRunner

from aws_server.model import Request as StrictRequest
from aws_server.server import StrictAws
from awsgate.cli import application
from awsgate.demo.embedded_aws import POWER_ROLE, EmbeddedAws
from awsgate.demo.processes import GatewayProcess, clean_env
from clients.seaweed import KEYS, ROLE, Request, SeaweedFs, Tap

APP = "awsconsole-test"
FORMER = "-former"
SETTLE_S = 10.0
TICK_S = 0.05

_RULES = """\
kind: role
version: v5
metadata: {{name: work}}
spec:
  allow:
    app_labels: {{'*': '*'}}
    aws_role_arns: ['{role}']
---
kind: app
version: v3
metadata: {{name: {app}, labels: {{aws_account_id: '123456789012'}}}}
spec: {{uri: https://console.aws.amazon.com/}}
"""
_USER = "---\nkind: user\nversion: v2\nmetadata: {{name: {name}}}\nspec: {{roles: [{roles}]}}\n"


def policy_for(role: str, users: Sequence[str], *, former_too: bool) -> str:
    """Write the policy; with ``former_too`` as it was when those still had the role."""
    text = _RULES.format(role=role, app=APP)
    for name in users:
        text += _USER.format(name=name, roles="work")
        text += _USER.format(name=name + FORMER, roles="work" if former_too else "")
    return text


@dataclass
class Stage:
    """A gateway, and what it wrote."""

    gateway: GatewayProcess
    role: str
    former_policy: Path
    _read: int = 0
    _lines: list[dict[str, Any]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def env(self, user: str) -> dict[str, str]:
        """Give what ``awsgate env --format json`` gives this user, in a clean environment.

        In this process, not by ``GatewayProcess.env``: a hundred starts would cost a minute.
        """
        former = user.endswith(FORMER)
        policy = self.former_policy if former else self.gateway.policy
        done = CliRunner().invoke(
            application(["env"]),
            ["env", "--format", "json", "--user", user, "--app", APP, "--role", self.role,
             "--proxy", self.gateway.proxy, "--policy", str(policy), "--region", "us-east-1",
             "--state", str(self.gateway.state), "--certs", str(self.gateway.certs)],
        )  # fmt: skip
        assert done.exit_code == 0, done.stderr
        printed: dict[str, str | None] = json.loads(done.stdout)
        variables = {name: value for name, value in printed.items() if value is not None}
        return clean_env(self.gateway.home, variables)

    def lines(self) -> list[dict[str, Any]]:
        """Give every whole line of the audit so far."""
        with self._lock, (self.gateway.state / "audit.jsonl").open("rb") as file:
            file.seek(self._read)
            whole, newline, _ = file.read().rpartition(b"\n")
            self._read += len(whole) + len(newline)
            self._lines += [json.loads(line) for line in whole.splitlines()]
            return list(self._lines)

    def of(self, user: str) -> list[dict[str, Any]]:
        """Give a user's lines."""
        return [line for line in self.lines() if line["user"] == user]

    def settled(self, user: str, before: int) -> list[dict[str, Any]]:
        """Give a user's lines since, once there is one and no more come."""
        return settle(lambda: self.of(user)[before:])


def settle(look: Any) -> Any:
    """Give what ``look`` sees when it has seen the same, and not nothing, three times."""
    deadline, seen = time.monotonic() + SETTLE_S, [look()]
    while time.monotonic() < deadline:
        time.sleep(TICK_S)
        seen = [*seen[-2:], look()]
        if len(seen) == 3 and seen[0] and seen[0] == seen[1] == seen[2]:
            break
    return seen[-1]


@dataclass
class StorageStage(Stage):
    """The gateway before SeaweedFS."""

    tap: Tap = field(kw_only=True)

    def crossed(self, user: str, before: int) -> tuple[list[dict[str, Any]], list[Request]]:
        """Give a user's lines since, and the requests that came with the keys they name."""

        def look() -> tuple[list[dict[str, Any]], list[Request]] | None:
            lines = self.of(user)
            sent = [line for line in lines if line["decision"] == "allowed"]
            sent_before = sum(line["decision"] == "allowed" for line in lines[:before])
            keys = {line["access_key_id"] for line in sent}
            requests = [each for each in list(self.tap.requests) if each.key_id in keys]
            same = len(sent) == len(requests) > sent_before
            return (lines[before:], requests[sent_before:]) if same else None

        return settle(look) or (self.of(user)[before:], [])

    def faults(self) -> list[str]:
        """Give what is wrong with all that crossed: a request of no line, a key of no role."""
        allowed = [line for line in self.lines() if line["decision"] == "allowed"]
        asked = [each for each in self.tap.requests if each.key_id != KEYS["AWS_ACCESS_KEY_ID"]]
        # Decoded: of a path that is not encoded the audit has the client's spelling.
        told = Counter((x["method"], unquote(x["path"]), x["access_key_id"]) for x in allowed)
        came = Counter((x.method, unquote(x.path), x.key_id) for x in asked)
        issued = self.tap.issued.get(b"AccessKeyId", set())
        return [
            *(f"in the audit and not at AWS: {each[:2]}" for each in told - came),
            *(f"at AWS and not in the audit: {each[:2]}" for each in came - told),
            *(f"not a role's key: {e.path}" for e in asked if e.key_id.encode() not in issued),
            *(f"no token: {each.path}" for each in asked if not each.has_token),
        ]


@dataclass
class StrictStage(Stage):
    """The gateway before the strict AWS."""

    aws: StrictAws = field(kw_only=True)

    def requests(self, user: str) -> list[StrictRequest]:
        """Give what AWS saw of a user."""
        return [each for each in list(self.aws.requests) if each.session_name == user]


@dataclass(frozen=True)
class Stages:
    """All three."""

    storage: StorageStage
    services: Stage
    strict: StrictStage


@contextmanager
def running(folder: Path, users: Sequence[str]) -> Iterator[Stages]:
    """Start all, at the same time, and stop them."""
    with ExitStack() as stack, ThreadPoolExecutor(3) as pool:
        started = [
            pool.submit(start, stack, folder / start.__name__.strip("_"), users)
            for start in (_storage, _services, _strict)
        ]
        stages: list[Any] = [each.result() for each in started]
        yield Stages(*stages)


def _storage(stack: ExitStack, folder: Path, users: Sequence[str]) -> StorageStage:
    (folder / "weed").mkdir(parents=True)
    weed = SeaweedFs(folder / "weed")
    stack.callback(weed.stop)
    tap = Tap(weed.port)
    stack.callback(tap.close)
    return StorageStage(*_gateway(stack, folder, users, ROLE, KEYS, tap.url), tap=tap)


def _services(stack: ExitStack, folder: Path, users: Sequence[str]) -> Stage:
    folder.mkdir()
    aws = EmbeddedAws(folder)
    stack.callback(aws.stop)
    return Stage(*_gateway(stack, folder, users, POWER_ROLE, aws.gateway_keys, aws.url))


def _strict(stack: ExitStack, folder: Path, users: Sequence[str]) -> StrictStage:
    folder.mkdir()
    aws = stack.enter_context(StrictAws())
    started = _gateway(stack, folder, users, POWER_ROLE, aws.gateway_keys, aws.url)
    return StrictStage(*started, aws=aws)


def _gateway(
    stack: ExitStack,
    folder: Path,
    users: Sequence[str],
    role: str,
    keys: dict[str, str],
    upstream: str,
) -> tuple[GatewayProcess, str, Path]:
    policy, former = folder / "policy.yaml", folder / "former.yaml"
    policy.write_text(policy_for(role, users, former_too=False), "utf-8")
    former.write_text(policy_for(role, users, former_too=True), "utf-8")
    gateway = GatewayProcess(folder, policy=policy, keys=keys, upstream=upstream)
    stack.callback(gateway.stop)
    return gateway, role, former
