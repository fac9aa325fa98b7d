"""Fixtures of the tests of the command line."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from awsgate import cli
from awsgate.ca import ensure_ca
from commandline import POLICY, Result, Run, without_down


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A policy, and places for state and CA, named by the environment."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    monkeypatch.setenv("AWSGATE_POLICY", str(policy))
    monkeypatch.setenv("AWSGATE_STATE", str(tmp_path / "it's state"))
    monkeypatch.setenv("AWSGATE_CERTS", str(tmp_path / "it's certs"))
    for name in (
        *("FORCE_COLOR", "GITHUB_ACTIONS", "PY_COLORS"),
        *("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "HTTP_PROXY", "http_proxy"),
        *("NO_PROXY", "no_proxy", "AWS_CONFIG_FILE", "AWS_REGION", "AWS_DEFAULT_REGION"),
        *("AWSGATE_USER", "AWSGATE_APP", "AWSGATE_ROLE", "AWSGATE_ENV"),
    ):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"NO_COLOR": "1", "COLUMNS": "200", "TERMINAL_WIDTH": "200"}.items():
        monkeypatch.setenv(name, value)
    return tmp_path


@pytest.fixture
def gateway_ca(home: Path) -> Path:
    """The CA that the gateway made when it first started, in the folder that is named."""
    return ensure_ca(home / "it's certs", suffixes=["amazonaws.com"], now=datetime.now(UTC)).folder


@pytest.fixture
def run(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command line as the shell would, in this process."""
    assert home.is_dir()

    def run(*arguments: str) -> Result:
        monkeypatch.setattr(sys, "argv", ["awsgate", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        code = ended.value.code
        assert code is None or isinstance(code, int)
        return Result(code or 0, captured.out, without_down(captured.err))

    return run
