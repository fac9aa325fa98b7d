"""``awsgate explain`` and ``awsgate status`` beside a gateway that runs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from awsgate.demo.embedded_aws import ACCOUNT, POWER_ROLE, EmbeddedAws
from awsgate.demo.processes import GatewayProcess, clean_env
from awsgate.version import __version__

POLICY = f"""\
kind: role
version: v7
metadata: {{name: data-reader}}
spec:
  allow:
    app_labels: {{'*': '*'}}
    aws_role_arns: ['{POWER_ROLE}']
    aws_access_levels: [Read, List]
---
kind: app
version: v3
metadata: {{name: test, labels: {{aws_account_id: '{ACCOUNT}'}}}}
spec: {{uri: https://console.aws.amazon.com/}}
---
kind: user
version: v2
metadata: {{name: alice}}
spec: {{roles: [data-reader]}}
"""


@pytest.fixture(scope="module")
def own(aws: EmbeddedAws, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("explained")
    policy = folder / "policy.yaml"
    policy.write_text(POLICY, "utf-8")
    running = GatewayProcess(folder, policy=policy, keys=aws.gateway_keys, upstream=aws.url)
    yield running
    running.stop()


def awsgate(
    own: GatewayProcess,
    *arguments: str,
    env: dict[str, str] | None = None,
    policy: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "awsgate", *arguments,
         "--policy", str(policy or own.policy), "--state", str(own.state)],
        env=clean_env(own.home, env),
        capture_output=True,
        check=False,
        text=True,
    )  # fmt: skip


def refused(own: GatewayProcess, service: str, operation: str, **parameters: Any) -> ClientError:
    given = own.env(user="alice", app="test", role=POWER_ROLE)
    client: Any = boto3.client(
        service,  # type: ignore[call-overload]
        region_name="us-east-1",
        aws_access_key_id=given["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=given["AWS_SECRET_ACCESS_KEY"],
        aws_session_token=given["AWS_SESSION_TOKEN"],
        verify=given["AWS_CA_BUNDLE"],
        config=Config(proxies={"https": own.proxy}, retries={"total_max_attempts": 1}),
    )
    with pytest.raises(ClientError) as caught:
        getattr(client, operation)(**parameters)
    return caught.value


CALLS: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "rest": ("s3", "put_object", {"Bucket": "awsgate-demo", "Key": "k", "Body": b"x"},
             "s3:PutObject"),
    "query": ("sns", "create_topic", {"Name": "t"}, "sns:CreateTopic"),
    "json": ("dynamodb", "delete_table", {"TableName": "t"}, "dynamodb:DeleteTable"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("service", "operation", "parameters", "action"), CALLS.values(), ids=CALLS
)
def test_the_id_that_a_client_is_given_explains_the_refusal(
    own: GatewayProcess, service: str, operation: str, parameters: dict[str, Any], action: str
) -> None:
    error = refused(own, service, operation, **parameters)
    metadata = error.response["ResponseMetadata"]

    by_sdk = awsgate(own, "explain", "--request-id", metadata["RequestId"])
    by_header = awsgate(
        own, "explain", "--json", "--request-id",
        metadata["HTTPHeaders"]["x-awsgate-request-id"],
    )  # fmt: skip

    assert (by_sdk.returncode, by_header.returncode) == (1, 1)
    denied = "no rule allows this call: aws_access_levels of role/data-reader"
    assert f"denied: {denied}\n" in by_sdk.stdout
    assert "aws_access_levels: it is Write; the rule wants Read, List\n" in by_sdk.stdout
    told = json.loads(by_header.stdout)
    assert told["changed"] is False
    assert told["recorded"]["code"] == "denied"
    assert told["call"]["actions"] == [action]


def test_the_hint_of_a_refusal_is_a_command_that_works(own: GatewayProcess) -> None:
    error = refused(own, "sns", "create_topic", Name="t")
    message = error.response["Error"]["Message"]
    command = message.partition("(hint: awsgate ")[2].partition(" shows the rules")[0].split()

    explained = awsgate(own, *command)

    assert command[0] == "explain"
    assert explained.returncode == 1
    assert "denied: no rule allows this call: aws_access_levels of role/data-reader\n" in (
        explained.stdout
    )


def test_a_policy_that_has_changed_is_said(own: GatewayProcess, tmp_path: Path) -> None:
    error = refused(own, "sns", "create_topic", Name="t")
    later = tmp_path / "later.yaml"
    later.write_text(POLICY.replace("[Read, List]", "[Read, List, Write]"), "utf-8")

    explained = awsgate(
        own, "explain", "--request-id", error.response["ResponseMetadata"]["RequestId"],
        policy=later,
    )  # fmt: skip

    assert explained.returncode == 0
    assert explained.stdout.endswith(
        "The policy or the locks have changed since: then it was refused.\n"
    )


def test_a_session_is_usable_while_its_gateway_runs(
    aws: EmbeddedAws, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("status")
    policy = folder / "policy.yaml"
    policy.write_text(POLICY, "utf-8")
    own = GatewayProcess(folder, policy=policy, keys=aws.gateway_keys, upstream=aws.url)
    try:
        session = own.env(user="alice", app="test", role=POWER_ROLE)
        up = awsgate(own, "status", "--certs", str(own.certs), env=session)
        metrics = f"{{metrics_listen: '127.0.0.1:{own.metrics_port}'}}"
        policy.write_text(f"{POLICY}---\nkind: gateway\nspec: {metrics}\n", "utf-8")
        asked = awsgate(own, "status", "--json", "--certs", str(own.certs), env=session)
    finally:
        own.stop()
    down = awsgate(own, "status", "--certs", str(own.certs), env=session)

    assert (up.returncode, up.stderr) == (0, "")
    assert up.stdout.startswith(f"session   alice as {POWER_ROLE} in test\n")
    assert up.stdout.endswith("usable\n")
    assert json.loads(asked.stdout)["gateway"] == {
        "address": own.proxy.removeprefix("http://"),
        "known_by": "by HTTPS_PROXY",
        "answers": True,
        "version": __version__,
    }
    assert down.returncode == 1
    assert "problem: nothing answers at" in down.stdout
    for secret in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        for shown in (up, asked, down):
            assert session[secret] not in shown.stdout + shown.stderr
