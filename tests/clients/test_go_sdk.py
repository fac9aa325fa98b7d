"""The AWS SDK for Go v2 through the gateway: its work, and what it shows of a refusal."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from awsgate.demo.embedded_aws import BUCKET
from awsgate.demo.processes import GatewayProcess, clean_env
from journey import (
    ODD_BODY,
    ODD_KEY,
    ROLE_SESSION,
    Stage,
    run,
    variables_for_a_role_taken_away,
)

DENIED = {
    "query": ["whoami"],
    "s3": ["list", BUCKET, ""],
    "s3, of an upload": ["put", BUCKET, ODD_KEY],
}


def test_sts_sees_the_role_and_the_user_by_name(stage: Stage, go_client: str) -> None:
    assert json.loads(run([go_client, "whoami"], stage.env)).endswith(ROLE_SESSION)

    stage.check()


def test_an_object_with_an_odd_key_comes_back_byte_for_byte(stage: Stage, go_client: str) -> None:
    run([go_client, "put", BUCKET, ODD_KEY], stage.env, stdin=ODD_BODY)

    assert json.loads(run([go_client, "list", BUCKET, "a b+c/"], stage.env)) == [ODD_KEY]
    assert run([go_client, "get", BUCKET, ODD_KEY], stage.env) == ODD_BODY

    run([go_client, "delete", BUCKET, ODD_KEY], stage.env)
    assert json.loads(run([go_client, "list", BUCKET, "a b+c/"], stage.env)) == []
    stage.check()


@pytest.mark.parametrize("command", DENIED.values(), ids=DENIED)
def test_the_sdk_raises_its_usual_error_with_our_words_after_one_request(
    gateway: GatewayProcess, go_client: str, tmp_path: Path, command: list[str]
) -> None:
    env = clean_env(gateway.home, variables_for_a_role_taken_away(gateway, tmp_path))
    before = len(gateway.audit())

    done = subprocess.run(
        [go_client, *command],
        env=env, input="body", capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert done.returncode == 1
    assert "StatusCode: 403" in done.stderr
    assert "api error AccessDenied: awsgate denied: alice may not do this: " in done.stderr
    assert "(hint: awsgate env shows the roles you may have)" in done.stderr
    assert [line["code"] for line in gateway.audit()[before:]] == ["denied"]
