"""The AWS CLI v2 through the gateway: its work, and what it shows of a refusal."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from awsgate.demo.embedded_aws import BUCKET
from awsgate.demo.processes import GatewayProcess, clean_env
from journey import (
    JOURNEY,
    TENANT_API,
    Cli,
    Client,
    Stage,
    run,
    variables_for_a_role_taken_away,
)

WORDS = "awsgate denied: alice may not do this: "
HINT = "(hint: awsgate env shows the roles you may have)"

DENIED = {
    "query": ("taken away", ["sts", "get-caller-identity"], "AccessDenied"),
    "s3": ("taken away", ["s3api", "list-objects-v2", "--bucket", BUCKET], "AccessDenied"),
    "s3, of a download": ("taken away", ["s3", "ls", f"s3://{BUCKET}"], "AccessDenied"),
    "ec2": ("taken away", ["ec2", "describe-regions"], "UnauthorizedOperation"),
    "json": ("taken away", ["dynamodb", "list-tables"], "AccessDeniedException"),
    "rest-json, of an API that others may own": (
        "read only",
        ["apigatewaymanagementapi", "get-connection", "--connection-id", "x",
         "--endpoint-url", TENANT_API],
        "AccessDeniedException",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def callers(
    gateway: GatewayProcess, alice: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, str]]:
    former = variables_for_a_role_taken_away(gateway, tmp_path_factory.mktemp("older"))
    return {
        "read only": clean_env(gateway.home, alice),
        "taken away": clean_env(gateway.home, former),
    }


def test_this_is_version_2(cli_v2: str, stage: Stage) -> None:
    assert run([cli_v2, "--version"], stage.env).startswith(b"aws-cli/2.")


@pytest.mark.parametrize("journey", JOURNEY.values(), ids=JOURNEY)
def test_the_cli_does_its_work_and_aws_sees_only_the_role(
    stage: Stage, cli_v2: str, tmp_path: Path, journey: Callable[[Client], None]
) -> None:
    journey(Cli(cli_v2, stage.env, tmp_path))

    stage.check()


@pytest.mark.parametrize(("caller", "command", "aws_code"), DENIED.values(), ids=DENIED)
def test_the_cli_prints_its_usual_error_with_our_words_after_one_request(
    gateway: GatewayProcess,
    callers: dict[str, dict[str, str]],
    cli_v2: str,
    caller: str,
    command: list[str],
    aws_code: str,
) -> None:
    before = len(gateway.audit())

    done = subprocess.run(
        [cli_v2, *command],
        env=callers[caller], capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert done.returncode == 254
    assert f"An error occurred ({aws_code}) when calling the " in done.stderr
    assert WORDS in done.stderr
    assert HINT in done.stderr
    assert [line["code"] for line in gateway.audit()[before:]] == ["denied"]
