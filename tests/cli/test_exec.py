"""``awsgate exec``: the command is as if it had been called itself, and has the role."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Self
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import pytest

from awsgate.cli.companion import Watch
from awsgate.variables import ENDPOINT, KEYS
from commandline import POLICY, READ_ONLY, opened_by_the_gateway, without_down

pytestmark = pytest.mark.usefixtures("gateway_ca")

URL, TOKEN = ENDPOINT
SHOW = "import json, os; print(json.dumps(dict(os.environ)), flush=True)"
ASK = "import sys; sys.stdin.read()"
AWSGATE = (sys.executable, "-m", "awsgate", "exec", "--user", "alice")
OPENER = build_opener(ProxyHandler({}))

Awsgate = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def awsgate(home: Path) -> Awsgate:
    """Run exec as a shell would, in a process of its own."""

    def awsgate(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*AWSGATE, *arguments],
            env={**os.environ, **more},
            cwd=home,
            capture_output=True,
            check=False,
            text=True,
            timeout=60,
        )
        done.stderr = without_down(done.stderr)
        return done

    return awsgate


def test_that_no_gateway_answers_is_said_and_the_command_runs(home: Path) -> None:
    def done(*words: str) -> tuple[int, str]:
        command = [*AWSGATE, *words, "--", "true"]
        found = subprocess.run(command, cwd=home, capture_output=True, check=False, text=True)
        return found.returncode, found.stderr

    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        up = done("--proxy", f"http://{address}")
    down = done("--proxy", f"http://{address}")

    assert up == (0, "")
    said = f"awsgate: warning: nothing answers at {address} (awsgate run, or --local)\n"
    assert down == (0, said)


def ask(environment: dict[str, str], token: str | None = None, path: str = "") -> dict[str, str]:
    request = Request(environment[URL] + path)
    request.add_header("Authorization", environment[TOKEN] if token is None else token)
    with OPENER.open(request, timeout=10) as answer:
        found: dict[str, str] = json.loads(answer.read())
        return found


class Running:
    """A command of exec that shows its environment and waits for the end of its input."""

    def __init__(self, home: Path, *options: str) -> None:
        self.process = subprocess.Popen(
            [*AWSGATE, *options, "--", sys.executable, "-c", f"{SHOW}\n{ASK}"],
            cwd=home,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        self.environment: dict[str, str] = json.loads(self.process.stdout.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()
        self.process.wait()

    def end(self) -> int:
        self.process.communicate(b"", timeout=30)
        return self.process.returncode


# --- as if called itself ------------------------------------------------------------------


@pytest.mark.parametrize("code", [0, 1, 7, 255])
def test_the_exit_code_is_the_commands(awsgate: Awsgate, code: int) -> None:
    assert awsgate("--", "sh", "-c", f"exit {code}").returncode == code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL, signal.SIGUSR1])
def test_a_signal_is_the_commands(home: Path, number: signal.Signals) -> None:
    """Sent to the process that the shell knows, which is the command itself."""
    with Running(home) as running:
        running.process.send_signal(number)

        assert running.process.wait(30) == -number


def test_a_signal_can_be_caught(home: Path) -> None:
    process = subprocess.Popen(
        [*AWSGATE, "--", "sh", "-c", "trap 'echo caught; exit 5' TERM; echo ready; read x"],
        cwd=home, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"

    process.send_signal(signal.SIGTERM)

    assert process.communicate(timeout=30) == ("caught\n", None)
    assert process.returncode == 5


def test_the_commands_options_are_its_own(awsgate: Awsgate) -> None:
    for dashes in (["--"], []):
        done = awsgate(*dashes, "echo", "--app", "x", "--help", "--", "-c", "a b")

        assert (done.returncode, done.stdout) == (0, "--app x --help -- -c a b\n")


def test_the_command_has_no_child_that_it_did_not_start(awsgate: Awsgate) -> None:
    """A program that waits for all its children must not wait for ours."""
    script = "import os\ntry: os.waitpid(-1, 0)\nexcept ChildProcessError: print('none')"

    assert awsgate("--", sys.executable, "-c", script).stdout == "none\n"


def test_nothing_holds_the_commands_files_open(home: Path) -> None:
    """What the command closes is closed, though it lives on: its readers see the end."""
    reading, writing = os.pipe()
    with subprocess.Popen(
        [*AWSGATE, "--", "bash", "-c", f"exec >&- {writing}>&-; read wait"],
        cwd=home, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=(writing,),
    ) as process:  # fmt: skip
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            for file in (process.stdout, pipe):
                assert file is not None
                assert select.select([file], [], [], 30)[0]
                assert file.read() == b""

        assert process.poll() is None
        process.communicate(b"\n", timeout=30)


MISSING = {
    "no such command": ("awsgate-no-such-command", 127),
    "a folder": ("/", 126),
    "no program": ("/etc/hosts", 126),
}


@pytest.mark.parametrize(("command", "code"), MISSING.values(), ids=MISSING)
def test_a_command_that_cannot_run_ends_as_in_a_shell(
    awsgate: Awsgate, command: str, code: int
) -> None:
    done = awsgate("--", command)

    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(f"awsgate: error: {command}: ")


# --- the environment and the endpoint -----------------------------------------------------


def test_the_endpoint_gives_the_roles_keys_to_who_has_the_token(home: Path) -> None:
    with Running(home) as running:
        environment = running.environment

        given = ask(environment)

        variables = {"AWS_ACCESS_KEY_ID": given["AccessKeyId"], "AWS_SESSION_TOKEN": given["Token"]}
        opened = opened_by_the_gateway(variables, home)
        assert opened.secret_access_key == given["SecretAccessKey"]
        assert (opened.session.user, opened.session.role_arn) == ("alice", READ_ONLY)
        assert not set(KEYS) & set(environment)
        assert environment["HTTPS_PROXY"] == "http://127.0.0.1:3128"
        assert environment[URL].startswith("http://127.0.0.1:")
        assert "127.0.0.1" in environment["NO_PROXY"].split(",")
        assert running.end() == 0


@pytest.mark.parametrize("token", ["", "x", "ｅ"])
def test_without_the_token_the_endpoint_gives_nothing(home: Path, token: str) -> None:
    with Running(home) as running:
        with pytest.raises(HTTPError) as caught:
            ask(running.environment, token.encode().decode("latin-1"))

        with caught.value as answer:
            assert answer.code == 401
            assert "GATE" not in answer.read().decode()
        running.end()


def test_the_endpoint_has_one_path(home: Path) -> None:
    with Running(home) as running:
        with pytest.raises(HTTPError) as caught:
            ask(running.environment, path="/../x")

        with caught.value as answer:
            assert answer.code == 404
        running.end()


@pytest.mark.parametrize("how", ["it ends", "it is killed"])
def test_the_endpoint_ends_with_the_command(home: Path, how: str) -> None:
    with Running(home) as running:
        ask(running.environment)

        if how == "it ends":
            running.end()
        else:
            running.process.kill()
            running.process.wait()

        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                ask(running.environment)
            except HTTPException:  # it ended while it answered
                continue
            except OSError as exc:
                assert not isinstance(exc, HTTPError)  # noqa: PT017 - the loop is the assertion
                return
            time.sleep(0.05)
        pytest.fail("the endpoint is still there")


def test_static_keys_are_in_the_environment_and_new_each_time(awsgate: Awsgate, home: Path) -> None:
    command = ("--static", "--region", "eu-west-1", "--", sys.executable, "-c", SHOW)
    other = {"AWS_PROFILE": "x", "AWS_ENDPOINT_URL_S3": "x", URL: "http://127.0.0.1:1/x"}

    first, second = (json.loads(awsgate(*command, **other).stdout) for _ in range(2))

    assert opened_by_the_gateway(first, home).session.role_arn == READ_ONLY
    assert first["AWS_ACCESS_KEY_ID"] != second["AWS_ACCESS_KEY_ID"]
    assert first["AWS_DEFAULT_REGION"] == "eu-west-1"
    assert not {*other, *ENDPOINT} & set(first)


def test_the_policys_no_is_exit_1_and_nothing_runs(awsgate: Awsgate, home: Path) -> None:
    done = awsgate("--role", "Power", "--app", "test", "--", "touch", str(home / "ran"))

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("awsgate: no: alice may not have Power in test: ")
    assert not (home / "ran").exists()


def test_aws_is_exec_of_the_aws_cli(home: Path) -> None:
    fake = home / "bin" / "aws"
    fake.parent.mkdir()
    fake.write_text('#!/bin/sh\necho "$@" "${AWS_REGION-}"\n')
    fake.chmod(0o755)
    command = [sys.executable, "-m", "awsgate", "aws", "--user", "alice", "--region", "eu-west-1"]

    done = subprocess.run(
        [*command, "--debug", "s3", "ls", "--region", "x", "a b"],
        env={**os.environ, "PATH": f"{fake.parent}:{os.environ['PATH']}"},
        capture_output=True, check=True, text=True,
    )  # fmt: skip

    assert done.stdout == "--debug s3 ls --region x a b eu-west-1\n"


# --- one session for many commands --------------------------------------------------------


def key_id(awsgate: Awsgate, *options: str) -> str:
    script = (
        "import json, os, urllib.request as u\n"
        f"r = u.Request(os.environ['{URL}'], headers={{'Authorization': os.environ['{TOKEN}']}})\n"
        "o = u.build_opener(u.ProxyHandler({}))\n"
        "print(json.load(o.open(r))['AccessKeyId'])"
    )
    done = awsgate(*options, "--", sys.executable, "-c", script)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_next_command_has_the_same_session_and_a_changed_policy_ends_it(
    awsgate: Awsgate, home: Path
) -> None:
    first, second = key_id(awsgate), key_id(awsgate)
    (home / "policy.yaml").write_text(POLICY + "# changed\n")
    third = key_id(awsgate)
    (home / "policy.yaml").write_text(POLICY.replace("[read]", "[]"))
    refused = awsgate("--", "true")

    assert first == second != third
    assert (refused.returncode, refused.stdout) == (1, "")


def test_another_question_has_another_session(awsgate: Awsgate) -> None:
    ids = {key_id(awsgate), key_id(awsgate, "--ttl", "30m"), key_id(awsgate, "--app", "test")}

    assert len(ids) == 3


def test_a_new_session_key_ends_what_was_kept(awsgate: Awsgate, home: Path) -> None:
    first = key_id(awsgate)
    (home / "it's state" / "session.key").unlink()

    assert key_id(awsgate) != first


def test_a_session_with_less_than_half_of_its_life_is_not_used_again(awsgate: Awsgate) -> None:
    first = key_id(awsgate, "--ttl", "4s")
    time.sleep(2.1)

    assert key_id(awsgate, "--ttl", "4s") != first


def test_what_is_kept_is_the_owners_alone(awsgate: Awsgate, home: Path) -> None:
    awsgate("--", "true")
    folder = home / "it's state" / "reuse"
    (kept,) = folder.glob("*.json")

    assert (folder.stat().st_mode & 0o777, kept.stat().st_mode & 0o777) == (0o700, 0o600)


@pytest.mark.parametrize("spoilt", ["{", "[]", "null", "{}", '{"issued": {}}'])
def test_what_is_spoilt_is_made_anew(awsgate: Awsgate, home: Path, spoilt: str) -> None:
    first = key_id(awsgate)
    (kept,) = (home / "it's state" / "reuse").glob("*.json")
    kept.write_text(spoilt)

    assert key_id(awsgate) != first


def test_what_others_can_read_is_not_used(awsgate: Awsgate, home: Path) -> None:
    first = key_id(awsgate)
    (kept,) = (home / "it's state" / "reuse").glob("*.json")
    kept.chmod(0o644)

    assert key_id(awsgate) != first


def test_kept_sessions_that_have_ended_are_deleted(awsgate: Awsgate, home: Path) -> None:
    key_id(awsgate, "--ttl", "1s")
    time.sleep(1.1)
    key_id(awsgate)

    assert len(list((home / "it's state" / "reuse").glob("*.json"))) == 1


def test_the_end_is_seen_without_a_pidfd_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not every system has one."""
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    process = subprocess.Popen(["sleep", "0.5"])
    watch = Watch(process.pid)
    reaper = threading.Thread(target=process.wait)
    reaper.start()

    began = time.monotonic()
    watch.wait()

    assert 0.4 < time.monotonic() - began < 10
    reaper.join()
