"""awsgate console against a sign-in endpoint that asks STS who the keys are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from urllib.request import ProxyHandler, Request, build_opener

import pytest

from auditing import records
from awsgate.demo.embedded_aws import ACCOUNT, POWER_ROLE, READ_ONLY_ROLE, EmbeddedAws
from awsgate.demo.processes import clean_env
from awsgate.state import open_state
from e2e.signin_server import SigninServer, signin_server

POLICY = """\
kind: role
version: v5
metadata: {{name: r}}
spec:
  allow: {{app_labels: {{'*': '*'}}, aws_role_arns: ['{read}']}}
  options: {{aws_source_identity: '{{{{internal.id}}}}'}}
---
kind: role
version: v5
metadata: {{name: narrow}}
spec:
  allow: {{app_labels: {{'*': '*'}}, aws_role_arns: ['{power}'], aws_access_levels: [Read, List]}}
---
kind: app
version: v3
metadata: {{name: prod, labels: {{aws_account_id: '{account}'}}}}
spec: {{uri: 'https://console.aws.amazon.com/'}}
---
kind: user
version: v2
metadata: {{name: alice}}
spec: {{roles: [r, narrow], traits: {{id: [alice]}}}}
---
kind: gateway
version: v1
spec:
  sts: {{endpoint_url: '{sts}'}}
  upstreams: [{{hosts: ['*.signin.aws.amazon.com'], url: '{signin}'}}]
"""


@pytest.fixture(scope="module")
def signin(aws: EmbeddedAws) -> Iterator[SigninServer]:
    with signin_server(aws.url) as running:
        yield running


@pytest.fixture
def home(tmp_path: Path, aws: EmbeddedAws, signin: SigninServer) -> Path:
    text = POLICY.format(
        read=READ_ONLY_ROLE, power=POWER_ROLE, account=ACCOUNT, sts=aws.url, signin=signin.url
    )
    (tmp_path / "policy.yaml").write_text(text, "utf-8")
    return tmp_path


def console(
    home: Path, aws: EmbeddedAws, *arguments: str, role: str = READ_ONLY_ROLE, **env: str
) -> subprocess.CompletedProcess[str]:
    places = {
        "AWSGATE_POLICY": str(home / "policy.yaml"),
        "AWSGATE_STATE": str(home / "state"),
        "AWSGATE_CERTS": str(home / "certs"),
    }
    return subprocess.run(
        [sys.executable, "-m", "awsgate", "console", "--user", "alice", "--role", role, *arguments],
        env={**clean_env(os.environ), **aws.gateway_keys, **places, **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def follow(url: str, signin: SigninServer) -> tuple[int, str | None]:
    """Open a URL as a browser would, at the stand-in for its host."""
    parts = urlsplit(url)
    target = f"{signin.url}{parts.path}?{parts.query}"
    opener = build_opener(ProxyHandler({}))
    request = Request(target, headers={"Host": parts.netloc})
    try:
        with opener.open(request) as answer:
            return answer.status, json.load(answer)["page"]
    except OSError as exc:
        return getattr(exc, "code", 0), None


def test_the_url_leads_to_the_page_as_that_very_role(
    home: Path, aws: EmbeddedAws, signin: SigninServer
) -> None:
    result = console(home, aws, "--print", "--service", "s3", "--region", "eu-west-1")

    assert result.returncode == 0, result.stderr
    url = result.stdout.strip()
    assert urlsplit(url).netloc == "eu-west-1.signin.aws.amazon.com"
    status, page = follow(url, signin)
    assert (status, page) == (
        200,
        "https://eu-west-1.console.aws.amazon.com/s3/home?region=eu-west-1",
    )
    host, arn, _ = signin.landed[-1]
    assert host == "eu-west-1.signin.aws.amazon.com"
    assert arn == f"arn:aws:sts::{ACCOUNT}:assumed-role/ExampleReadOnlyAccess/alice"
    assert follow(url, signin)[0] == 403  # once
    assert f"alice as {READ_ONLY_ROLE}, for 12h" in result.stderr
    assert all("ession" not in target for target in signin.targets)


def test_long_term_keys_of_the_gateway_give_a_session_as_long_as_asked(
    home: Path, aws: EmbeddedAws, signin: SigninServer
) -> None:
    told = json.loads(console(home, aws, "--json", "--duration", "2h").stdout)

    token = parse_qs(urlsplit(told["url"]).query)["SigninToken"][0]
    assert signin.sessions[token].duration_s == 7200
    assert (told["expires_in"], told["limited_by"]) == (7200, "")
    assert told["session_name"] == "alice"


def test_a_switch_signs_out_first(home: Path, aws: EmbeddedAws, signin: SigninServer) -> None:
    url = urlsplit(console(home, aws, "--print", "--switch").stdout.strip())

    assert (url.netloc, url.path) == ("us-east-1.signin.aws.amazon.com", "/oauth")
    assert follow(parse_qs(url.query)["redirect_uri"][0], signin)[0] == 200


def test_it_is_recorded_without_the_url(home: Path, aws: EmbeddedAws) -> None:
    result = console(home, aws, "--print")
    console(home, aws, "--print", role=POWER_ROLE)

    done, refused = records(home / "state/audit.jsonl")
    assert (done["event"], done["decision"], done["rule"]) == ("console", "allowed", "role/r")
    assert (done["user"], done["session_name"]) == ("alice", "alice")
    assert done["source_identity"] == "alice"
    assert str(done["access_key_id"]).startswith("ASIA")
    assert (refused["event"], refused["decision"], refused["rule"]) == (
        "console",
        "denied",
        "role/narrow",
    )
    token = parse_qs(urlsplit(result.stdout.strip()).query)["SigninToken"][0]
    assert token not in (home / "state/audit.jsonl").read_text("utf-8")


def test_a_role_that_looks_at_calls_opens_no_console(home: Path, aws: EmbeddedAws) -> None:
    result = console(home, aws, "--print", role=POWER_ROLE)

    assert (result.returncode, result.stdout) == (1, "")
    assert "may not sign in to the console" in result.stderr
    assert "a role that restricts calls opens no console" in result.stderr


def test_the_locked_are_told(home: Path, aws: EmbeddedAws) -> None:
    lock = {"kind": "lock", "version": "v2", "metadata": {"name": "x"},
            "spec": {"target": {"user": "alice"}, "message": "call security"}}  # fmt: skip
    with (home / "policy.yaml").open("a", encoding="utf-8") as policy:
        policy.write(f"---\n{json.dumps(lock)}\n")

    result = console(home, aws, "--print")

    assert (result.returncode, result.stdout) == (1, "")
    assert "call security" in result.stderr
    (line,) = records(home / "state/audit.jsonl")
    assert (line["event"], line["code"], line["rule"]) == ("console", "locked", "lock/x")


def test_a_lock_that_cannot_be_read_opens_no_console(home: Path, aws: EmbeddedAws) -> None:
    """No lock ends a console session: it may be the one that names alice."""
    locks = open_state(home / "state").locks_folder
    locks.mkdir(mode=0o700, exist_ok=True)
    (locks / "l.json").write_text('{"kind": "lock", "spec": {"target": {"user": "al')

    result = console(home, aws, "--print")

    assert (result.returncode, result.stdout) == (1, "")
    assert "cannot be read" in result.stderr
    (line,) = records(home / "state/audit.jsonl")
    assert (line["event"], line["decision"], line["code"]) == ("console", "denied", "locked")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--destination", "https://evil.example/"), "the destination is not on console.aws"),
        (("--region", "cn-north-1"), "is not a region of aws"),
        (("--duration", "13h"), "AWS gives no longer console session"),
        (("--duration", "5m"), "AWS's least is 900 seconds"),
    ],
)
def test_what_cannot_be_is_told(
    arguments: tuple[str, str], said: str, home: Path, aws: EmbeddedAws
) -> None:
    result = console(home, aws, "--print", *arguments)

    assert (result.returncode, result.stdout) == (1, "")
    assert said in result.stderr


def test_without_sts_there_is_no_console_and_no_traceback(home: Path, aws: EmbeddedAws) -> None:
    text = (home / "policy.yaml").read_text("utf-8").replace(aws.url, "http://127.0.0.1:1")
    (home / "policy.yaml").write_text(text, "utf-8")

    result = console(home, aws, "--print")

    assert (result.returncode, result.stdout) == (1, "")
    assert "STS gave no answer" in result.stderr
    assert "Traceback" not in result.stderr
