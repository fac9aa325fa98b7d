"""``awsgate console`` on the gateway's machine, where it cannot sign in."""

from __future__ import annotations

from pathlib import Path

import pytest

from awsgate.state import open_state
from commandline import Run


def test_without_aws_credentials_the_operator_is_told_what_to_set(
    run: Run, home: Path, gateway_ca: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_state(home / "it's state")
    assert gateway_ca.is_dir()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(home / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(home / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    found = run("console", "--user", "alice", "--app", "test", "--role", "ReadOnly", "--print")

    assert (found.code, found.out) == (1, "")
    assert "no: awsgate has no AWS credentials of its own\nawsgate: hint: botocore's " in found.err
    assert "set AWS_PROFILE for the gateway" in found.err
