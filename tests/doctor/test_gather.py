"""What is read of a shell: its session, its files, its region."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from awsgate.doctor.gather import client_files, shell_facts
from awsgate.doctor.shell import Place
from awsgate.session import ENTROPY_BYTES, SessionKeys, mint

PLACE = Place("127.0.0.1:8080", "/c/ca-cert.pem", "/c/ca-bundle.pem")
KEYS = SessionKeys(b"k" * 32, None)
ROLE = "arn:aws-us-gov:iam::111122223333:role/r"
NOW = 1_800_000_000


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    made = mint(
        KEYS, user="u", app="a", role_arn=ROLE, ttl_s=60, now=NOW, entropy=bytes(ENTROPY_BYTES)
    )
    return {
        "HOME": str(tmp_path),
        "AWS_ACCESS_KEY_ID": made.access_key_id,
        "AWS_SECRET_ACCESS_KEY": made.secret_access_key,
        "AWS_SESSION_TOKEN": made.session_token,
        "AWS_CREDENTIAL_EXPIRATION": datetime.fromtimestamp(NOW + 60, UTC).isoformat(),
    }


@pytest.mark.parametrize(
    ("keys", "later", "session"),
    [
        (KEYS, 0, "open"),
        (KEYS, 61, "expired"),
        (SessionKeys(b"o" * 32, None), 0, "unknown"),
        (None, 0, "none"),
        (None, 61, "expired"),
    ],
)
def test_a_session(
    environ: dict[str, str], keys: SessionKeys | None, later: int, session: str
) -> None:
    shell = shell_facts(environ, PLACE, b"", keys, NOW + later)

    assert shell.session == session
    assert shell.role_arn == (ROLE if session == "open" else "")


def test_other_keys_are_no_session(environ: dict[str, str]) -> None:
    shell = shell_facts(environ | {"AWS_ACCESS_KEY_ID": "AKIAX"}, PLACE, b"", KEYS, NOW)

    assert (shell.session, shell.has_gateway_keys) == ("none", False)


def test_the_files_of_aws_are_found_where_the_environment_says(tmp_path: Path) -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "config").write_text("[profile x]\nregion = eu-west-1\n")
    (tmp_path / "elsewhere").write_text("[default]\naws_access_key_id = AKIAX\n")
    environ = {
        "HOME": str(tmp_path),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "elsewhere"),
        "AWS_PROFILE": "x",
    }

    files = client_files(environ, b"", is_client=True)

    assert files.credentials_path == str(tmp_path / "elsewhere")
    assert "AKIAX" in files.credentials
    assert shell_facts(environ, PLACE, b"", None, NOW).region_in_config
    assert not shell_facts(environ | {"AWS_PROFILE": "y"}, PLACE, b"", None, NOW).region_in_config
