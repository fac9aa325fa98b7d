"""``awsgate exec`` before a real gateway: renewed keys, and a gateway that comes and goes."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from auditing import killed_after
from aws_server.server import StrictAws
from awsgate.cli.local import answers
from awsgate.demo.embedded_aws import ACCOUNT, POWER_ROLE
from awsgate.demo.processes import clean_env, free_port
from e2e.forms import POLICY, Stage, stage_in
from e2e.recording import wait_until

ARN = f"arn:aws:sts::{ACCOUNT}:assumed-role/{POWER_ROLE.rpartition('/')[2]}/bob"
WHO = ("sts", "get-caller-identity", "--query", "Arn", "--output", "text")

# Two clients: one that lives as long as the program, one that is made for each call.
LONG = """
import boto3, time
kept = boto3.client("sts")
for _ in range(8):
    print(kept.get_caller_identity()["Arn"], kept._request_signer._credentials.access_key)
    print(boto3.Session().client("sts").get_caller_identity()["Arn"], "-", flush=True)
    time.sleep(1)
"""


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage_in(tmp_path_factory.mktemp("exec")) as stage:
        yield stage


def awsgate(stage: Stage, *words: str) -> subprocess.CompletedProcess[str]:
    gateway = stage.gateway
    environment = clean_env(
        gateway.home,
        {
            "AWSGATE_POLICY": str(gateway.policy),
            "AWSGATE_STATE": str(gateway.state),
            "AWSGATE_CERTS": str(gateway.certs),
            "AWS_ACCESS_KEY_ID": "AKIA-of-somebody-else",
            "AWS_SECRET_ACCESS_KEY": "x",
            "AWS_PROFILE": "nobody",
            "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        },
    )
    name, *rest = words
    return subprocess.run(
        [sys.executable, "-m", "awsgate", name, "--proxy", gateway.proxy, *rest],
        env=environment, capture_output=True, check=False, text=True, timeout=120,
    )  # fmt: skip


def test_the_aws_cli_is_the_role_whatever_the_shell_held(stage: Stage) -> None:
    done = awsgate(stage, "aws", *WHO)

    assert (done.returncode, done.stdout, done.stderr) == (0, f"{ARN}\n", "")


def test_static_keys_work_too(stage: Stage) -> None:
    assert awsgate(stage, "exec", "--static", "--", "aws", *WHO).stdout == f"{ARN}\n"


def test_a_command_outlives_its_first_keys_and_notices_nothing(stage: Stage) -> None:
    """Keys of three seconds, calls for eight: each is signed with keys that still live."""
    done = awsgate(stage, "exec", "--ttl", "3s", "--", sys.executable, "-c", LONG)

    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert len(lines) == 16
    assert {arn for arn, _ in lines} == {ARN}
    assert len({key for _, key in lines} - {"-"}) >= 3


# --- --local ----------------------------------------------------------------------------


@dataclass
class Home:
    """A policy, a place for the rest, and an AWS; no gateway."""

    folder: Path
    aws: StrictAws
    port: int
    started: ExitStack
    """All that is started is killed by its end."""

    def start(self, script: str, *options: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [
                sys.executable, "-m", "awsgate", "exec", "--local", "--user", "bob",
                "--policy", str(self.folder / "policy.yaml"), "--state", str(self.folder / "state"),
                "--certs", str(self.folder / "certs"), "--proxy", f"http://{self.address}",
                "--set", f"awsgate_upstream={self.aws.url}", *options, "--", "sh", "-c", script,
            ],
            env=clean_env(self.folder, self.aws.gateway_keys), stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.started.enter_context(process)
        self.started.enter_context(killed_after(120, process))
        return process

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def wait_until(self, there: bool) -> None:
        came = wait_until(lambda: answers(self.address) is there, within_s=40)
        assert came, f"the gateway is there: {not there}"


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Home]:
    policy = POLICY.format(role=POWER_ROLE, account=ACCOUNT, spec="{}")
    (tmp_path / "policy.yaml").write_text(policy, "utf-8")
    with StrictAws() as aws, ExitStack() as started:
        yield Home(tmp_path, aws, free_port(), started)


@pytest.mark.parametrize("options", [(), ("--static",)], ids=["endpoint", "static"])
def test_a_gateway_is_there_for_the_command_and_gone_after(
    local: Home, options: tuple[str, ...]
) -> None:
    out, err = local.start(f"aws {' '.join(WHO)}; exit 3", *options).communicate(timeout=90)

    assert out == f"{ARN}\n", err
    assert err == f"awsgate: starting a gateway at {local.address}\n"
    local.wait_until(False)
    log = (local.folder / "state" / "local-gateway.log").read_text()
    assert f"awsgate: listening on {local.address}" in log
    assert local.aws.base_keys.secret_access_key not in log


def test_the_last_of_two_commands_ends_the_gateway(local: Home) -> None:
    """Though it was the first that started it."""
    first = local.start("read wait")
    local.wait_until(True)
    second = local.start(f"echo here; read wait; aws {' '.join(WHO)}")
    assert second.stdout is not None
    assert second.stdout.readline() == "here\n"

    first.communicate("\n", timeout=30)
    time.sleep(1)
    still = answers(local.address)
    out, err = second.communicate("\n", timeout=60)

    assert still
    assert (out, err) == (f"{ARN}\n", "")
    local.wait_until(False)


def test_a_command_that_is_killed_leaves_no_gateway_behind(local: Home) -> None:
    running = local.start("echo here; read wait")
    assert running.stdout is not None
    assert running.stdout.readline() == "here\n"

    running.kill()

    running.communicate(timeout=30)
    local.wait_until(False)


def test_a_gateway_that_cannot_start_is_an_error_with_its_log(local: Home) -> None:
    running = local.start("echo ran", "--set", "ssl_insecure=true")
    out, err = running.communicate(timeout=90)

    assert (running.returncode, out) == (2, "")
    assert f"awsgate: error: no gateway came up at {local.address}" in err
    assert "ssl_insecure" in err
    assert f"the whole log is {local.folder / 'state' / 'local-gateway.log'}" in err
