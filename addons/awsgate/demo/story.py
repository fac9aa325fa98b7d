"""What the demo does and shows: four calls, and what became of each.

Everything is real but AWS: the gateway is ``mitmdump -s addons/awsgate.py``, the
clients are boto3 and the AWS CLI, and the embedded AWS checks every signature and
every IAM policy.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from awsgate.demo.embedded_aws import ACCOUNT, BUCKET, READ_ONLY_ROLE, EmbeddedAws
from awsgate.demo.processes import GatewayProcess, clean_env
from awsgate.errors import SetupError

POLICY = f"""\
kind: role
version: v5
metadata:
  name: aws-ro-access
spec:
  allow:
    app_labels:
      '*': '*'
    aws_role_arns:
      - {READ_ONLY_ROLE}
---
kind: app
version: v3
metadata:
  name: awsconsole-test
  labels:
    aws_account_id: "{ACCOUNT}"
spec:
  uri: https://console.aws.amazon.com/
---
kind: user
version: v2
metadata:
  name: alice
spec:
  roles: [aws-ro-access]
"""

_BOTO3 = """
import sys, boto3, botocore.exceptions
service, operation, arguments = sys.argv[1], sys.argv[2], eval(sys.argv[3])
try:
    answer = getattr(boto3.client(service), operation)(**arguments)
    print(answer.get("Arn") or [item["Key"] for item in answer.get("Contents", [])] or "done")
except botocore.exceptions.ClientError as exc:
    sys.exit(str(exc))
"""


@dataclass(frozen=True, slots=True)
class Scene:
    """One call and what is expected of it."""

    title: str
    shown: str
    """The call as a user would write it."""
    command: Sequence[str]
    env: Mapping[str, str]
    succeeds: bool
    says: str
    """What its output must contain."""
    status: int
    code: str
    """Refusal code in the audit line; empty: forwarded."""


def tell() -> int:
    """Run the demo. Give 0 if everything went as it should, else 1."""
    console = Console(highlight=False, soft_wrap=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="awsgate-demo-") as name:
        folder = Path(name)
        console.print("[bold]awsgate demo[/]: an embedded AWS, a real gateway, real clients\n")
        aws = EmbeddedAws(folder)
        try:
            failed = _with_gateway(console, folder, aws)
        finally:
            aws.stop()
    console.print(f"{'[red]failed' if failed else '[green]all as expected'}[/] "
                  f"in {time.monotonic() - began:.0f} s")  # fmt: skip
    return 1 if failed else 0


def _with_gateway(console: Console, folder: Path, aws: EmbeddedAws) -> int:
    policy = folder / "policy.yaml"
    policy.write_text(POLICY, "utf-8")
    gateway = GatewayProcess(folder, policy=policy, keys=aws.gateway_keys, upstream=aws.url)
    try:
        console.print(f"  AWS       {aws.url}  moto, signature and IAM checks on")
        console.print(f"  gateway   {gateway.proxy}  mitmdump -s addons/awsgate.py")
        console.print("  alice     may read, through the role ExampleReadOnlyAccess\n")
        env = clean_env(
            gateway.home, gateway.env(user="alice", app="awsconsole-test", role=READ_ONLY_ROLE)
        )
        failed = 0
        for number, scene in enumerate(_scenes(gateway, env), 1):
            failed += not _play(console, gateway, number, scene)
        failed += not _closing(console, aws)
    finally:
        gateway.stop()
    return failed


def _scenes(gateway: GatewayProcess, env: Mapping[str, str]) -> list[Scene]:
    direct = {k: v for k, v in env.items() if not k.endswith("_PROXY")}
    return [
        Scene(
            "an allowed call, boto3",
            f'boto3.client("s3").list_objects_v2(Bucket="{BUCKET}")',
            _boto3("s3", "list_objects_v2", {"Bucket": BUCKET}),
            env, True, "hello.txt", 200, "",
        ),
        Scene(
            "an allowed call, AWS CLI: AWS sees the role, and alice by name",
            "aws sts get-caller-identity",
            _aws("sts", "get-caller-identity", "--query", "Arn", "--output", "text"),
            env, True, "assumed-role/ExampleReadOnlyAccess/alice", 200, "",
        ),
        Scene(
            "a call that IAM denies: the role may only read",
            f"aws s3api delete-object --bucket {BUCKET} --key hello.txt",
            _aws("s3api", "delete-object", "--bucket", BUCKET, "--key", "hello.txt"),
            env, False, "AccessDenied", 403, "",
        ),
        Scene(
            "a call that the gateway's policy denies: no rule lets alice reach this API",
            'boto3.client("apigatewaymanagementapi", endpoint_url=...).get_connection(...)',
            [sys.executable, "-c", _EXECUTE_API],
            env, False, "awsgate", 403, "denied",
        ),
        Scene(
            "the gateway taken for an endpoint: no CONNECT, so no target",
            f"aws --endpoint-url {gateway.proxy} sts get-caller-identity",
            _aws("--endpoint-url", gateway.proxy, "sts", "get-caller-identity"),
            direct, False, "proxied requests must include X-Forwarded-Host header", 400,
            "missing-forwarded-host",
        ),
    ]  # fmt: skip


_EXECUTE_API = """
import sys, boto3, botocore.exceptions
url = "https://abc123.execute-api.us-east-1.amazonaws.com/prod"
try:
    boto3.client("apigatewaymanagementapi", endpoint_url=url).get_connection(ConnectionId="x")
except botocore.exceptions.ClientError as exc:
    sys.exit(str(exc))
"""


def _boto3(service: str, operation: str, arguments: dict[str, str]) -> list[str]:
    return [sys.executable, "-c", _BOTO3, service, operation, repr(arguments)]


def _aws(*arguments: str) -> list[str]:
    return [str(Path(sys.executable).parent / "aws"), *arguments]


def _play(console: Console, gateway: GatewayProcess, number: int, scene: Scene) -> bool:
    before = len(gateway.audit())
    done = subprocess.run(  # noqa: S603 - the demo's own commands
        scene.command, env=dict(scene.env), capture_output=True, text=True, check=False, timeout=60
    )
    output = (done.stdout + done.stderr).strip()
    lines = gateway.audit(at_least=before + 1)[before:]
    good = (
        (done.returncode == 0) is scene.succeeds
        and scene.says in output
        and len(lines) == 1
        and (lines[0]["status"], lines[0]["code"]) == (scene.status, scene.code)
    )
    console.print(f"[bold]{number}. {scene.title}[/]")
    _show(console, "$", scene.shown)
    _show(console, ">", output.splitlines()[-1] if output else "(no output)")
    for line in lines:
        _show(console, "audit", _audit_text(line))
    for metric in _metric_lines(gateway.metrics(), scene):
        _show(console, "metric", metric)
    if not good:
        console.print(f"  [red]not as expected[/] (exit {done.returncode}, {len(lines)} lines)")
    console.print()
    return good


def _show(console: Console, label: str, text: str) -> None:
    console.print(Text.assemble("   ", (f"{label:<7}", "dim"), text))


def _audit_text(line: Mapping[str, Any]) -> str:
    shown = ("user", "decision", "code", "service", "action", "method", "host", "status",
             "session_name", "access_key_id", "overhead_ms")  # fmt: skip
    return json.dumps({name: line[name] for name in shown if line.get(name)})


def _metric_lines(text: str, scene: Scene) -> list[str]:
    wanted = scene.code or str(scene.status)
    return [
        line
        for line in text.splitlines()
        if line.startswith("awsgate_requests_total{") and f'code="{wanted}"' in line
    ][-1:]


def _closing(console: Console, aws: EmbeddedAws) -> bool:
    """Show whose keys AWS saw. Give False if a client's key or header got there."""
    seen = aws.requests()[aws.seen_before :]
    keys = sorted({row["access_key_id"] for row in seen})
    leaked = [row for row in seen if row["forwarded"] or row["access_key_id"][:1] != "A"]
    console.print("[bold]what AWS saw[/]")
    console.print(f"   {len(seen)} requests, signed by {', '.join(keys)}")
    console.print(
        "   no gateway key, no X-Forwarded-Host\n" if not leaked else "   [red]a leak[/]\n"
    )
    if leaked:
        raise SetupError("a client's key or header reached AWS")
    return bool(seen)
