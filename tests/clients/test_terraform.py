"""Terraform's S3 backend through the gateway: state, its lock, and a role of its own.

No provider is needed: ``terraform_data`` is built in. With ``assume_role`` Terraform
asks STS itself, and works on with what the gateway gives it in place of AWS's keys.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from awsgate.demo.processes import GatewayProcess
from clients.seaweed import CHAINED_ROLE, KEYS, SeaweedFs
from clients.test_s3_clients import POLICY, bob, settled
from clients.tools import make
from relay import Relay

BUCKET = "terraform-state"

BACKEND = """\
terraform {{
  backend "s3" {{
    bucket       = "{bucket}"
    key          = "{key}"
    region       = "us-east-1"
    use_lockfile = true
    {more}
  }}
}}
variable "word" {{ default = "first" }}
resource "terraform_data" "it" {{ input = var.word }}
output "word" {{ value = terraform_data.it.output }}
"""
ASSUME_ROLE = f"""\
assume_role = {{
      role_arn     = "{CHAINED_ROLE}"
      session_name = "terraform"
    }}"""


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[GatewayProcess, Relay]]:
    """A gateway, SeaweedFS behind it, and a relay between that hears the real keys."""
    folder = tmp_path_factory.mktemp("terraform")
    weed = SeaweedFs(tmp_path_factory.mktemp("weed"))
    relay = Relay(("127.0.0.1", weed.port))
    policy = folder / "policy.yaml"
    policy.write_text(POLICY, "utf-8")
    gateway = GatewayProcess(
        folder, policy=policy, keys=KEYS, upstream=f"http://127.0.0.1:{relay.port}"
    )
    try:
        make("AWS CLI v1", bob(gateway), folder).call("s3", "mb", f"s3://{BUCKET}")
        yield gateway, relay
    finally:
        gateway.stop()
        relay.close()
        weed.stop()


def terraform(folder: Path, env: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        ["terraform", *arguments],
        env={**env, "CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1", "TF_LOG": "DEBUG",
             "TF_LOG_PATH": str(folder / "debug.log")},
        cwd=folder, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize("more", ["", ASSUME_ROLE], ids=["bob himself", "with assume_role"])
def test_terraform_keeps_its_state_in_s3(
    stage: tuple[GatewayProcess, Relay], tmp_path: Path, more: str
) -> None:
    gateway, _ = stage
    env = bob(gateway)
    before = len(gateway.audit())
    key = "odd é/state 1.tfstate" if more else "plain/state.tfstate"
    (tmp_path / "main.tf").write_text(BACKEND.format(bucket=BUCKET, key=key, more=more), "utf-8")

    terraform(tmp_path, env, "init", "-input=false")
    terraform(tmp_path, env, "apply", "-auto-approve", "-input=false")
    terraform(tmp_path, env, "apply", "-auto-approve", "-input=false", "-var", "word=second")
    word = terraform(tmp_path, env, "output", "-raw", "word")
    pulled = terraform(tmp_path, env, "state", "pull")

    assert word == "second"
    assert '"serial"' in pulled
    lines = settled(gateway, before)
    assert {line["decision"] for line in lines} == {"allowed"}
    roles = {line["role_arn"].rpartition("/")[2] for line in lines if line["service"] == "s3"}
    assert roles == ({"deployer"} if more else {"storage"})
    assert {line["session_name"] for line in lines} == {"bob"}, "CloudTrail names the user"


def test_no_real_key_is_on_the_clients_side(
    stage: tuple[GatewayProcess, Relay], tmp_path: Path
) -> None:
    gateway, relay = stage
    (tmp_path / "main.tf").write_text(
        BACKEND.format(bucket=BUCKET, key="searched", more=ASSUME_ROLE), "utf-8"
    )

    terraform(tmp_path, bob(gateway), "init", "-input=false")

    heard = re.findall(
        rb"<(?:AccessKeyId|SecretAccessKey|SessionToken)>([^<]+)<", bytes(relay.heard)
    )
    left = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert heard
    assert b"GATE" in left, "the debug log shows the keys that Terraform knows"
    assert [real for real in heard if real in left] == []
