"""Two profiles, two accounts, one proxy, at the same time: each call carries its own role."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest

from auditing import killed_after
from aws_server.server import StrictAws
from awsgate.demo.processes import GatewayProcess, clean_env
from e2e.forms import gateway_before

ACCOUNTS = {"dev": "111111111111", "prod": "222222222222"}
SEEN = {app: f"arn:aws:sts::{account}:assumed-role/Deploy/ada" for app, account in ACCOUNTS.items()}

POLICY = """\
kind: role
version: v5
metadata: {name: deploy}
spec:
  allow:
    app_labels: {'*': '*'}
    aws_role_arns:
      - arn:aws:iam::111111111111:role/Deploy
      - arn:aws:iam::222222222222:role/Deploy
---
kind: app
version: v3
metadata: {name: dev, labels: {aws_account_id: '111111111111'}}
spec: {uri: https://console.aws.amazon.com/}
---
kind: app
version: v3
metadata: {name: prod, labels: {aws_account_id: '222222222222'}}
spec: {uri: https://console.aws.amazon.com/}
---
kind: user
version: v2
metadata: {name: ada}
spec: {roles: [deploy]}
"""


@dataclass
class Stage:
    aws: StrictAws
    gateway: GatewayProcess
    environment: dict[str, str]
    """No keys, no CA: the profiles and HTTPS_PROXY are all there is."""

    def arns_of(self, path: str) -> set[str]:
        """Who AWS saw in requests for this path."""
        ids = {r.access_key_id for r in self.aws.requests if r.target.startswith(path)}
        return {identity.arn for key, identity in self.aws.keys.identities.items() if key in ids}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("two accounts")
    with StrictAws() as aws, gateway_before(aws, folder, POLICY) as gateway:
        more = {
            "HTTPS_PROXY": gateway.proxy,
            "NO_PROXY": "127.0.0.1",
            "AWS_CONFIG_FILE": str(folder / "config"),
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        environment = clean_env(gateway.home, more)
        subprocess.run(
            [
                sys.executable, "-m", "awsgate", "profiles", "write", "--region", "us-east-1",
                "--policy", gateway.policy, "--state", gateway.state, "--certs", gateway.certs,
            ],
            env=environment, check=True, capture_output=True,
        )  # fmt: skip
        yield Stage(aws, gateway, environment)


@pytest.fixture
def in_the_environment(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    for name, value in stage.environment.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("in_the_environment")
def test_sessions_by_profile_carry_their_own_roles_in_parallel(stage: Stage) -> None:
    sessions = {app: boto3.Session(profile_name=f"{app}-Deploy") for app in ACCOUNTS}
    clients = {app: (s.client("sts"), s.client("s3")) for app, s in sessions.items()}

    def work(number: int) -> tuple[str, str]:
        app = ("dev", "prod")[number % 2]
        sts, s3 = clients[app]
        s3.put_object(Bucket="shared", Key=f"{app}/{number}", Body=b"x")
        return app, sts.get_caller_identity()["Arn"]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(work, range(24)))

    assert set(answers) == set(SEEN.items())
    for app in ACCOUNTS:
        assert stage.arns_of(f"/{app}/") == {SEEN[app]}, "what AWS itself saw"
    assert stage.aws.faults() == []


def test_the_cli_takes_a_role_by_profile(stage: Stage) -> None:
    running = {
        app: subprocess.Popen(
            ["aws", "--profile", f"{app}-Deploy", "sts", "get-caller-identity",
             "--query", "Arn", "--output", "text"],
            env=stage.environment, stdout=subprocess.PIPE, text=True,
        )
        for app in ACCOUNTS
    }  # fmt: skip

    with killed_after(60, *running.values()):
        said = {app: process.communicate()[0].strip() for app, process in running.items()}
    assert said == SEEN


TERRAFORM = """\
terraform {
  backend "s3" {
    bucket  = "state"
    key     = "dev/main"
    region  = "us-east-1"
    profile = "dev-Deploy"
    use_path_style = true
  }
}
data "terraform_remote_state" "prod" {
  backend = "s3"
  config  = {
    bucket = "state"
    key = "prod/main"
    region = "us-east-1"
    profile = "prod-Deploy"
    use_path_style = true
  }
}
resource "terraform_data" "it" { input = data.terraform_remote_state.prod.outputs.word }
output "word" { value = terraform_data.it.output }
"""


STATE = {
    "version": 4, "terraform_version": "1.5.0", "serial": 1, "lineage": "of-prod",
    "outputs": {"word": {"value": "from prod", "type": "string"}}, "resources": [],
}  # fmt: skip


@pytest.mark.usefixtures("in_the_environment")
@pytest.mark.skipif(shutil.which("terraform") is None, reason="terraform is not installed")
def test_one_terraform_run_is_two_roles(stage: Stage, tmp_path: Path) -> None:
    """State of one account, read from another: built in, so no provider is needed."""
    prod = boto3.Session(profile_name="prod-Deploy").client("s3")
    prod.put_object(Bucket="state", Key="prod/main", Body=json.dumps(STATE).encode())
    stage.aws.requests.clear()
    (tmp_path / "main.tf").write_text(TERRAFORM)
    environment = {**stage.environment, "CHECKPOINT_DISABLE": "1"}

    for words in (["init"], ["apply", "-auto-approve", "-lock=false"]):
        done = subprocess.run(
            ["terraform", *words, "-input=false", "-no-color"],
            env=environment, cwd=tmp_path, capture_output=True, check=False, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    assert 'word = "from prod"' in done.stdout
    assert stage.arns_of("/state/dev/main") == {SEEN["dev"]}
    assert stage.arns_of("/state/prod/main") == {SEEN["prod"]}
