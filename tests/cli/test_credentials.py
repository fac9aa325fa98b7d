"""``awsgate credentials``: what botocore takes from a credential_process."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import pytest
from botocore.exceptions import CredentialRetrievalError
from botocore.session import Session

from commandline import READ_ONLY, Run, opened_by_the_gateway

pytestmark = pytest.mark.usefixtures("gateway_ca")


def process(*options: str) -> str:
    return shlex.join([sys.executable, "-m", "awsgate", "credentials", *options])


@pytest.fixture
def config(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = home / "config"
    monkeypatch.setenv("AWS_CONFIG_FILE", str(path))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(home / "none"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    return path


def test_botocore_gets_the_roles_credentials(home: Path, config: Path) -> None:
    config.write_text(f"[profile p]\ncredential_process = {process('--user', 'alice')}\n")

    found = Session(profile="p").get_credentials()

    assert found is not None
    frozen = found.get_frozen_credentials()
    opened = opened_by_the_gateway(
        {"AWS_ACCESS_KEY_ID": frozen.access_key, "AWS_SESSION_TOKEN": frozen.token or ""}, home
    )
    assert opened.secret_access_key == frozen.secret_key
    assert opened.session.role_arn == READ_ONLY
    assert found.method == "custom-process"


def test_botocore_shows_the_policys_no(config: Path) -> None:
    no = process("--user", "alice", "--app", "test", "--role", "Power")
    config.write_text(f"[profile p]\ncredential_process = {no}\n")

    with pytest.raises(CredentialRetrievalError, match="alice may not have Power in test"):
        Session(profile="p").get_credentials()


def test_the_next_call_has_the_same_session(run: Run) -> None:
    first, second = (run("credentials", "--user", "alice") for _ in range(2))

    assert json.loads(first.out) == json.loads(second.out)
    assert json.loads(first.out)["Version"] == 1
    assert first.err == ""
