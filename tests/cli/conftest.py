"""Fixtures of the tests of the command line."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from awsgate import cli
from awsgate.ca import ensure_ca
from commandline import POLICY, Result, Run, without_down
from controlserving import Serving, at, jwt_of, serving


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


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(tmp_path_factory.mktemp("gateway")) as found:
        yield found


@pytest.fixture
def gateway(served: Serving, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Serving:
    """A gateway, and a user who has never logged in."""
    served.reset()
    monkeypatch.setenv("AWSGATE_LOGINS", str(tmp_path / "logins"))
    for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY", "SSH_CONNECTION", "WSL_DISTRO_NAME"):
        monkeypatch.delenv(name, raising=False)
    return served


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch, run: Run) -> Run:
    """The command line, where no variable names a policy."""
    for name in ("AWSGATE_POLICY", "AWSGATE_STATE", "AWSGATE_CERTS"):
        monkeypatch.delenv(name)
    return run


@pytest.fixture
def token(tmp_path: Path) -> str:
    path = tmp_path / "token.jwt"
    path.write_text(jwt_of() + "\n")
    return str(path)


@pytest.fixture
def here(gateway: Serving, clean: Run, token: str) -> Run:
    """The command line of somebody who has logged in."""
    assert clean(*at(gateway), "--id-token-file", token).code == 0
    return clean
