"""Somebody logs in at a real gateway, is that person at AWS, and is nobody after logout.

The whole way as users go it: the command line in processes of its own, a token that a
platform signed (a key of the test's own), a gateway before an AWS that checks signatures.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from awsgate.demo.embedded_aws import ACCOUNT, BUCKET, POWER_ROLE, READ_ONLY_ROLE, EmbeddedAws
from awsgate.demo.processes import free_port
from e2e.forms import gateway_before
from e2e.homes import ISSUER, Home, Stage, pin_of, published_key
from localusers import Phone

POLICY = """\
kind: role
version: v5
metadata: {{name: deployer}}
spec: {{allow: {{app_labels: {{'*': '*'}}, aws_role_arns: ['{power}']}}}}
---
kind: role
version: v5
metadata: {{name: reader}}
spec: {{allow: {{app_labels: {{'*': '*'}}, aws_role_arns: ['{read}']}}}}
---
kind: app
version: v3
metadata: {{name: awsconsole-test, labels: {{aws_account_id: '{account}'}}}}
spec: {{uri: https://console.aws.amazon.com/}}
---
kind: user
version: v2
metadata: {{name: bob}}
spec: {{roles: [reader]}}
---
kind: oidc
version: v3
metadata: {{name: ci}}
spec:
  issuer_url: {issuer}
  jwks_url: file://{keys}
  id_tokens: {{audiences: ['https://gate.example.com']}}
  username_claim: sub
  login_ttl: 1h
  claims_to_roles:
    - {{claims: {{repository: acme/app, ref: refs/heads/main}}, roles: [deployer]}}
    - {{claims: {{repository: acme/app, ref: 'refs/pull/*'}}, roles: [reader]}}
---
kind: gateway
version: v1
metadata: {{name: gateway}}
spec:
  names: [localhost]
  control: {{listen: '127.0.0.1:{port}'}}
"""
WHO = "import boto3; print(boto3.client('sts').get_caller_identity()['Arn'])"
WRITE = f"import boto3; boto3.client('s3').put_object(Bucket='{BUCKET}', Key='k', Body=b'x')"
THREE = f"""
import boto3
from botocore.config import Config
s3 = boto3.client('s3', config=Config(retries={{'total_max_attempts': 1}}))
for n in range(3):
    s3.head_bucket(Bucket='{BUCKET}') if n < 2 else s3.list_objects_v2(Bucket='{BUCKET}')
    print(n, flush=True)
"""
UNTIL_REFUSED = f"""
import boto3, time
from botocore.config import Config
s3 = boto3.client('s3', config=Config(retries={{'total_max_attempts': 1}}))
print('begun', flush=True)
while True:
    try:
        s3.list_objects_v2(Bucket='{BUCKET}')
    except Exception as exc:
        print(time.time(), exc)
        break
    time.sleep(0.05)
"""


@contextmanager
def stage_in(folder: Path, aws: EmbeddedAws, spec: str = "", workers: int = 0) -> Iterator[Stage]:
    key, keys = published_key(folder)
    port = free_port()
    policy = POLICY.format(
        power=POWER_ROLE, read=READ_ONLY_ROLE, account=ACCOUNT, issuer=ISSUER, keys=keys, port=port
    )
    with gateway_before(aws, folder, policy + spec, workers=workers) as gateway:
        yield Stage(gateway, f"https://localhost:{port}", key, pin_of(gateway))


@pytest.fixture(scope="module")
def stage(aws: EmbeddedAws, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage_in(tmp_path_factory.mktemp("login"), aws) as stage:
        yield stage


@pytest.fixture
def home(stage: Stage, tmp_path: Path) -> Home:
    return Home(stage, tmp_path)


def test_a_job_is_itself_at_aws_and_nobody_after_logout(home: Home) -> None:
    logged_in = home.login()
    called = home.python(WHO)
    status = home.run("status")
    logged_out = home.run("logout")
    after = home.run("env", "--gateway", home.stage.url)

    assert logged_in.returncode == 0, logged_in.stderr
    assert logged_in.stdout.startswith(f"repo:acme/app (oidc/ci) at {home.stage.url}, until ")
    # ':' and '/' are none of the characters of a session name, so a digest says whose it is.
    role = POWER_ROLE.rpartition("/")[2]
    assert re.fullmatch(
        rf"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/repo_acme_app-[0-9a-f]{{12}}\n", called.stdout
    ), called.stderr
    assert status.returncode == 0, status.stdout
    assert logged_out.returncode == 0
    # What clients trust is no secret, and those that run on are to read why they are refused.
    assert {path.name for path in home.secrets()} == {"bundle.pem", "root.pem"}
    assert (after.returncode, after.stdout) == (2, "")
    assert "nobody is logged in" in after.stderr


def test_logout_ends_what_runs_within_a_second(home: Home) -> None:
    assert home.login().returncode == 0
    running = home.start("exec", "--", sys.executable, "-c", UNTIL_REFUSED)
    assert running.stdout is not None
    running.stdout.readline()
    time.sleep(0.5)

    out_at = time.time()
    assert home.run("logout").returncode == 0
    told_at = time.time()
    said, err = running.communicate(timeout=60)

    refused_at, _, why = said.partition(" ")
    assert "logged out" in why, said + err
    assert out_at < float(refused_at) < told_at + 1.5


def test_the_roles_are_those_of_the_claims(home: Home) -> None:
    home.login(ref="refs/pull/7/merge")
    called = home.python(WHO)
    other = home.run("env", "--role", POWER_ROLE)
    nobody = home.login(ref="refs/heads/feature")

    assert f"assumed-role/{READ_ONLY_ROLE.rpartition('/')[2]}/" in called.stdout
    assert (other.returncode, other.stdout) == (1, "")
    assert (nobody.returncode, nobody.stdout) == (1, "")
    assert "[no-role]" in nobody.stderr


def test_an_agent_is_stopped_at_its_limits(home: Home) -> None:
    home.login()
    limits = ("--read-only", "--ttl", "15m", "--max-requests", "2")

    writes = home.python(WRITE, "--read-only")
    counts = home.python(THREE, *limits)

    assert writes.returncode == 1
    assert "these credentials are for reading alone" in writes.stderr
    assert counts.stdout == "0\n1\n"
    assert "have made as many requests as they were issued for" in counts.stderr


def test_what_is_kept_is_the_owners_alone_and_the_child_has_none_of_it(home: Home) -> None:
    home.login()
    show = "import os, json; print(json.dumps(dict(os.environ)))"

    shown = home.python(show, "--static").stdout
    (record,) = [
        path
        for path in home.secrets()
        if path.name.endswith("_.json") or (path.suffix == ".json" and path.parent.name == "logins")
    ]

    login = json.loads(record.read_text())["login"]
    assert login.startswith("gatelogin.")
    assert login not in shown
    assert {path.stat().st_mode & 0o077 for path in home.secrets()} == {0}


def test_artefacts_are_those_of_the_login(home: Home) -> None:
    home.login()

    signed = home.run(
        "exec", "--", sys.executable, "-m", "awsgate", "presign", f"s3://{BUCKET}/hello.txt",
        "--region", "us-east-1",
    )  # fmt: skip

    alone = home.run("presign", f"s3://{BUCKET}/hello.txt", "--region", "us-east-1")

    for made in (signed, alone):
        assert made.returncode == 0, made.stderr
        assert made.stdout.startswith("https://")
        assert "X-Amz-Signature=" in made.stdout


def test_a_person_takes_up_an_invitation_and_logs_in_with_the_password(home: Home) -> None:
    gateway = home.stage.gateway
    places = ("--policy", str(gateway.policy), "--state", str(gateway.state))
    invited = home.run("users", "add", "bob", "--json", *places, "--certs", str(gateway.certs))
    trust = ("--gateway", home.stage.url, "--ca-pin", home.stage.pin)
    password = "a password of bob's own"

    first = home.start("login", *trust, "--invitation", "-")
    assert first.stdin is not None
    assert first.stderr is not None
    first.stdin.write(f"{json.loads(invited.stdout)['invitation']}\n{password}\n")
    first.stdin.flush()
    uri = next(line.strip() for line in first.stderr if "otpauth://" in line)
    phone = Phone(uri, time.time)
    out, err = first.communicate(f"{phone.code()}\n", timeout=60)
    assert (first.returncode, out.split(" at ")[0]) == (0, "bob (local)"), err

    called = home.python(WHO)
    # The code of now was used; that of the next half minute is taken as well.
    again = home.start("login", *trust, "--user", "bob")
    out, err = again.communicate(f"{password}\n{phone.code(30)}\n", timeout=60)
    wrong = home.start("login", *trust, "--user", "bob")
    _, why = wrong.communicate(f"{password}\n000000\n", timeout=60)

    assert called.stdout.endswith("/bob\n"), called.stderr
    assert again.returncode == 0, err
    assert wrong.returncode == 1
    assert "[wrong-password]" in why
    assert password not in out + err + why


def test_the_proxy_itself_may_speak_tls_and_want_to_know_who_opens_tunnels(
    aws: EmbeddedAws, tmp_path: Path
) -> None:
    (tmp_path / "gateway").mkdir()
    spec = "  tls: true\n  tunnels: {callers: known}\n"
    show = f"{WHO}; import os; print(os.environ['HTTPS_PROXY'])"
    presign = ("-m", "awsgate", "presign", f"s3://{BUCKET}/hello.txt", "--region", "us-east-1")
    with stage_in(tmp_path / "gateway", aws, spec, workers=1) as stage:
        home = Home(stage, tmp_path)
        assert home.login().returncode == 0
        called = home.python(show)
        signed = home.run("exec", "--", sys.executable, *presign)

    arn, proxy = called.stdout.split()
    assert "assumed-role" in arn
    port = stage.gateway.port
    assert re.fullmatch(rf"https://GATE[A-Z2-7]{{16}}:[\w%.-]+@localhost:{port}", proxy)
    assert "X-Amz-Signature=" in signed.stdout, signed.stderr
