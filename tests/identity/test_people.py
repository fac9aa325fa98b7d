"""Two people log in at a real gateway, each their own way, and AWS sees each by name.

The whole way as they go it: the command line in processes of its own, an invitation with
an authenticator app, Chromium that comes by GitHub (the tests' own), a gateway before an
AWS that checks signatures.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import httpx
import pytest

from awsgate.demo.embedded_aws import ACCOUNT, POWER_ROLE, READ_ONLY_ROLE, EmbeddedAws
from awsgate.demo.processes import GatewayProcess, clean_env, free_port
from e2e.forms import gateway_before
from e2e.homes import NO_KEYRING
from githubserver import CLIENT_ID, CLIENT_SECRET, Github, running_github
from identity.browser import Browser, browsing
from identity.githubpages import GithubWithPages
from localusers import Phone

POLICY = """\
kind: role
version: v5
metadata: {{name: read}}
spec: {{allow: {{app_labels: {{'*': '*'}}, aws_role_arns: ['{read}']}}}}
---
kind: role
version: v5
metadata: {{name: power}}
spec: {{allow: {{app_labels: {{'*': '*'}}, aws_role_arns: ['{power}']}}}}
---
kind: app
version: v3
metadata: {{name: awsconsole-test, labels: {{aws_account_id: '{account}'}}}}
spec: {{uri: https://console.aws.amazon.com/}}
---
kind: user
version: v2
metadata: {{name: alice@example.com}}
spec: {{roles: [read]}}
---
kind: github
version: v3
metadata: {{name: corp}}
spec:
  client_id: {client_id}
  client_secret: {client_secret}
  endpoint_url: {github}
  teams_to_roles: [{{organization: octo-org, team: admins, roles: [power]}}]
---
kind: gateway
version: v1
metadata: {{name: gateway}}
spec: {{names: [localhost], control: {{listen: '127.0.0.1:{port}'}}}}
"""
ALICE = "alice@example.com"
PASSWORD = "correct horse battery"
WHO = ("exec", "--", sys.executable, "-c",
       "import boto3; print(boto3.client('sts').get_caller_identity()['Arn'])")  # fmt: skip


@dataclass
class Gate:
    """A gateway that runs, and people with homes of their own before it."""

    gateway: GatewayProcess
    github: Github
    url: str
    pin: str

    def home(self, who: str) -> Path:
        home = self.gateway.folder / who
        home.mkdir(exist_ok=True)
        return home

    def run(self, who: str, *words: str) -> str:
        ended = subprocess.run(
            _command(words),
            env=self.env(who),
            cwd=self.home(who),
            capture_output=True,
            check=False,
            text=True,
            timeout=60,
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout.strip()

    @contextmanager
    def running(self, who: str, *words: str, code: int = 0) -> Iterator[subprocess.Popen[str]]:
        """Run a command that is to be answered; it must end with ``code``."""
        with subprocess.Popen(
            _command(words),
            env=self.env(who),
            cwd=self.home(who),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
                assert process.wait(30) == code
            finally:
                process.kill()

    def env(self, who: str) -> dict[str, str]:
        return clean_env(self.home(who), NO_KEYRING)

    def at(self, *words: str) -> tuple[str, ...]:
        return "login", "--gateway", self.url, "--ca-pin", self.pin, *words


def _command(words: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "awsgate", *words]


@pytest.fixture(scope="module")
def gate(aws: EmbeddedAws, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    port = free_port()
    with running_github(GithubWithPages) as github:
        github.callback = f"https://localhost:{port}/v1/callback"
        github.interval_s = 1
        policy = POLICY.format(
            read=READ_ONLY_ROLE,
            power=POWER_ROLE,
            account=ACCOUNT,
            client_id=CLIENT_ID,
            client_secret=CLIENT_SECRET,
            github=github.url,
            port=port,
        )
        with gateway_before(aws, tmp_path_factory.mktemp("people"), policy) as gateway:
            operator = ("--state", str(gateway.state), "--certs", str(gateway.certs))
            adding = ("users", "add", ALICE, "--json", "--policy", str(gateway.policy))
            made = Gate(gateway, github, f"https://localhost:{port}", "")
            invited = made.run("operator", *adding, *operator)
            about = json.loads(invited)
            assert about["gateway"] == made.url
            made.pin = about["ca_pin"]
            _take_up(made, about["invitation"])
            yield made


def _take_up(gate: Gate, token: str) -> None:
    """Be alice: choose a password, put the secret into the app, type its code."""
    with gate.running(ALICE, *gate.at("--invitation", "-")) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        _say(process.stdin, token)
        _say(process.stdin, PASSWORD)
        phone = Phone(_read(process.stderr, r"(otpauth://\S+)"), time.time)
        _say(process.stdin, phone.code())


def _say(stream: IO[str], line: str) -> None:
    stream.write(f"{line}\n")
    stream.flush()


def _read(stream: IO[str], pattern: str) -> str:
    """Read lines up to one that fits."""
    lines = []
    for line in stream:
        lines.append(line)
        if found := re.search(pattern, line):
            return found[1]
    raise AssertionError(f"nothing like {pattern} in {lines}")


@pytest.fixture
def browser(gate: Gate, chromedriver: httpx.Client, tmp_path: Path) -> Iterator[Browser]:
    """A browser that trusts the gateway's own root, by its pin."""
    pin = base64.b64encode(bytes.fromhex(gate.pin.removeprefix("sha256:"))).decode()
    with browsing(chromedriver, tmp_path / "browser", trusted=pin) as opened:
        yield opened


def begun(process: subprocess.Popen[str]) -> str:
    """Give the URL that a login shows."""
    assert process.stderr is not None
    return _read(process.stderr, r"(http\S+/login/oauth/authorize\S+)")


def test_aws_sees_each_by_name_in_their_own_role(gate: Gate, browser: Browser) -> None:
    with gate.running("octocat", *gate.at("--connector", "github/corp", "--no-browser")) as process:
        browser.go(begun(process))
        browser.wait_for("awsgate wants read:org of octocat")
        browser.click("#yes")
        browser.wait_for("You are octocat now")

    seen = {who: gate.run(who, *WHO) for who in ("octocat", ALICE)}

    assert seen == {
        "octocat": f"{_assumed(POWER_ROLE)}/octocat",
        ALICE: f"{_assumed(READ_ONLY_ROLE)}/{ALICE}",
    }
    lines = {(line["user"], line["decision"]) for line in gate.gateway.audit()}
    assert {("octocat", "allowed"), (ALICE, "allowed")} <= lines
    assert gate.github.tokens == {}


def test_who_cancels_at_github_is_told_in_the_browser_and_on_the_terminal(
    gate: Gate, browser: Browser
) -> None:
    words = gate.at("--connector", "github/corp", "--no-browser")
    with gate.running("octocat", *words, code=1) as process:
        browser.go(begun(process))
        browser.click("#no")
        browser.wait_for("Not logged in")
        assert process.stderr is not None
        assert _read(process.stderr, r"declined at GitHub.*\[(denied)\]") == "denied"


def _assumed(role_arn: str) -> str:
    return role_arn.replace(":iam:", ":sts:").replace(":role/", ":assumed-role/")


def test_a_host_without_a_browser_logs_in_by_a_code(gate: Gate, browser: Browser) -> None:
    gate.github.teams["hubot"] = [("octo-org", "admins")]
    gate.github.signed_in = "hubot"
    with gate.running("hubot", *gate.at("--connector", "github/corp", "--device")) as process:
        assert process.stderr is not None
        browser.go(_read(process.stderr, r"open (\S+/login/device)"))
        browser.fill("#code", _read(process.stderr, r"type the code\s+(\S+)"))
        browser.click("#yes")
        browser.wait_for("you're all set")

    assert gate.run("hubot", *WHO) == f"{_assumed(POWER_ROLE)}/hubot"


def test_no_secret_of_them_is_kept_by_the_gateway(gate: Gate) -> None:
    files = [p for p in gate.gateway.folder.rglob("*") if p.is_file() and p != gate.gateway.policy]
    kept = {path: path.read_bytes() for path in files}

    secrets = (PASSWORD, CLIENT_SECRET, *gate.github.dropped)
    assert len(gate.github.dropped) == 2
    assert [(p, s) for p, content in kept.items() for s in secrets if s.encode() in content] == []
