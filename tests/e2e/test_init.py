"""awsgate init asks AWS itself: whose credentials these are, and which roles let them in."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from auditing import killed_after
from awsgate.demo.embedded_aws import ACCOUNT, EmbeddedAws
from awsgate.demo.processes import clean_env
from awsgate.policy import grantable_roles
from awsgate.policyfile import load_policy
from iamadmin import Admin, administrator

ONLY = f"arn:aws:iam::{ACCOUNT}:role/only/ForTheStarter"
TWO = [f"arn:aws:iam::{ACCOUNT}:role/{name}" for name in ("Left", "Right")]


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedAws]:
    """An AWS of this module's own: all its roles are listed here."""
    running = EmbeddedAws(tmp_path_factory.mktemp("aws-init"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def admin(aws: EmbeddedAws) -> Admin:
    return administrator(aws)


def environment(tmp_path: Path, aws: EmbeddedAws, keys: dict[str, str]) -> dict[str, str]:
    return clean_env(
        tmp_path,
        {
            **keys,
            "AWSGATE_UPSTREAM": aws.url,
            "AWSGATE_POLICY": str(tmp_path / "policy"),
            "AWSGATE_STATE": str(tmp_path / "state"),
            "AWSGATE_CERTS": str(tmp_path / "certs"),
            "TERM": "xterm",
        },
    )


def awsgate(env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "awsgate", *arguments],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_one_role_that_lets_the_gateway_in_is_taken(
    aws: EmbeddedAws, admin: Admin, tmp_path: Path
) -> None:
    keys = admin.user("starter", "iam:ListRoles", "sts:AssumeRole")
    admin.role(ONLY, f"arn:aws:iam::{ACCOUNT}:user/starter")
    env = environment(tmp_path, aws, keys)

    done = awsgate(env, "init", "--yes", "--user", "ada")

    assert done.returncode == 0, done.stderr
    assert f"{ACCOUNT}:user/starter (from env)" in done.stderr
    assert keys["AWS_SECRET_ACCESS_KEY"] not in done.stdout + done.stderr
    assert grantable_roles(load_policy(tmp_path / "policy"), "ada") == [("aws", ONLY)]
    checked = awsgate(env, "check")
    assert (checked.returncode, checked.stderr) == (0, "")


def test_without_the_right_to_list_roles_it_asks_for_one(
    aws: EmbeddedAws, admin: Admin, tmp_path: Path
) -> None:
    keys = admin.user("short-sighted", "sts:AssumeRole")

    done = awsgate(environment(tmp_path, aws, keys), "init", "--yes", "--user", "ada")

    assert done.returncode == 2
    assert "--role ARN" in done.stderr
    assert not (tmp_path / "policy").exists()


def test_at_a_terminal_roles_are_offered_by_number(
    aws: EmbeddedAws, admin: Admin, tmp_path: Path
) -> None:
    keys = admin.user("chooser", "iam:ListRoles", "sts:AssumeRole")
    for role in TWO:
        admin.role(role, f"arn:aws:iam::{ACCOUNT}:user/chooser")

    seen = at_a_terminal(environment(tmp_path, aws, keys), ["ada", "", "2", "prod"])

    assert f"2  {TWO[1]}" in seen
    assert grantable_roles(load_policy(tmp_path / "policy"), "ada") == [("prod", TWO[1])]


def at_a_terminal(env: dict[str, str], answers: list[str]) -> str:
    """Run the wizard on a terminal; answer each question when it is asked."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "awsgate", "init"],
        env=env,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    seen, left = "", iter(answers)
    with os.fdopen(ours, "wb", buffering=0) as terminal, process, killed_after(60, process):
        for part in parts(ours):
            seen += part
            if seen.rstrip("\033[0m").endswith(": "):
                terminal.write(next(left).encode() + b"\n")
        assert process.wait(30) == 0, seen
    return seen


def parts(handle: int) -> Iterator[str]:
    while True:
        try:
            part = os.read(handle, 4096)
        except OSError:  # Linux: the other side is closed
            return
        if not part:
            return
        yield part.decode("utf-8", "replace")
