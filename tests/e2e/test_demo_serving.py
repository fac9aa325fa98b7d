"""awsgate demo --start, --serve and --stop: an AWS and a gateway that stay, and go."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from awsgate.cli.init import EMBEDDED_ROLES
from awsgate.demo.embedded_aws import BUCKET
from awsgate.demo.processes import clean_env, free_port
from awsgate.initial import Answers, policy_files
from e2e.recording import wait_until

OTHER = "arn:aws:iam::123456789012:role/team/Writer"


class Setup:
    """A policy on free ports, and the command line for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        policy = folder / "policy"
        policy.mkdir()
        answers = Answers("ada", "demo", "123456789012", (*EMBEDDED_ROLES, OTHER))
        for name, text in policy_files(answers).items():
            text = text.replace(":8080", f":{self.port}").replace(":9464", f":{free_port()}")
            (policy / name).write_text(text)
        self.env = clean_env(
            folder,
            {
                "AWSGATE_POLICY": str(policy),
                "AWSGATE_STATE": str(folder / "state"),
                "AWSGATE_CERTS": str(folder / "certs"),
                "AWS_PROFILE": "not-there",
            },
        )

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "awsgate", *arguments],
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@pytest.fixture
def setup(tmp_path: Path) -> Iterator[Setup]:
    made = Setup(tmp_path)
    yield made
    made.run("demo", "--stop")


def test_it_starts_once_serves_every_role_and_stops(setup: Setup) -> None:
    first, second = setup.run("demo", "--start"), setup.run("demo", "--start")

    assert (first.returncode, first.stderr) == (0, "")
    assert second.stdout == first.stdout
    serve = setup.run("demo", "--serve")
    assert (serve.returncode, serve.stdout) == (2, "")
    assert "a demo is running already" in serve.stderr
    for role in ("ExampleReadOnlyAccess", "Writer"):
        call = setup.run("exec", "--role", role, "--", "aws", "s3", "ls")
        assert (call.returncode, call.stdout.split()[-1:]) == (0, [BUCKET]), call.stderr
    assert setup.run("demo", "--stop").stdout == "ended\n"
    assert not setup.answers()
    again = setup.run("demo", "--stop")
    assert (again.returncode, again.stdout) == (1, "")
    assert f"no demo runs with the state folder {setup.folder / 'state'}" in again.stderr


def test_what_it_says_is_next_works_whatever_was_named(setup: Setup) -> None:
    named = ("--state", str(setup.folder / "other state"))
    lines = setup.run("demo", "--start", *named).stdout.splitlines()
    try:
        said = {line.split()[0]: shlex.split(line)[1:] for line in lines}
        assert said["end"] == ["awsgate", "demo", "--stop", *named]
        call = setup.run(*said["next"][1:])
    finally:
        ended = setup.run("demo", "--stop", *named)

    assert (call.returncode, call.stdout.split()[-1:]) == (0, [BUCKET]), call.stderr
    assert ended.stdout == "ended\n"


def test_a_port_that_is_taken_is_said_at_once(setup: Setup) -> None:
    with socket.create_server(("127.0.0.1", setup.port)):
        done = setup.run("demo", "--start")

    assert (done.returncode, done.stdout) == (2, "")
    assert f"something listens at 127.0.0.1:{setup.port} already" in done.stderr
    assert "spec.listen" in done.stderr


def test_a_gateway_that_does_not_start_says_why(setup: Setup) -> None:
    policy = setup.folder / "policy" / "users.yaml"
    policy.write_text("kind: user\n")

    done = setup.run("demo", "--start")

    assert done.returncode == 2
    assert "users.yaml" in done.stderr
    assert not setup.answers()


def test_when_the_gateway_ends_so_does_the_demo(setup: Setup) -> None:
    assert setup.run("demo", "--start").returncode == 0
    serving = json.loads((setup.folder / "state" / "demo" / "serving.json").read_text())
    children = subprocess.run(
        ["ps", "-o", "pid=,args=", "--ppid", str(serving["pid"])],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    (gateway,) = [int(line.split()[0]) for line in children if "mitmdump" in line]

    os.kill(gateway, signal.SIGKILL)

    log = setup.folder / "state" / "demo" / "demo.log"
    assert wait_until(lambda: "the gateway has ended" in log.read_text(), within_s=30)
    assert setup.run("demo", "--stop").returncode == 1


def test_without_a_policy_it_says_how_to_get_one(setup: Setup) -> None:
    for path in (setup.folder / "policy").iterdir():
        path.unlink()

    done = setup.run("demo", "--start")

    assert (done.returncode, done.stdout) == (2, "")
    assert "no policy in" in done.stderr
    assert "awsgate init --embedded writes one" in done.stderr
    assert setup.run("init", "--embedded").returncode == 0
