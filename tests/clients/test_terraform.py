"""Terraform's S3 backend through the gateway: state, its lock, and a role of its own.

No provider is needed: ``terraform_data`` is built in. With ``assume_role`` Terraform
asks STS itself, and works on with what the gateway gives it in place of AWS's keys.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from urllib.parse import unquote

import pytest

from clients.seaweed import BUCKET, CHAINED_ROLE, Storage

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

BACKENDS = {
    "bob himself": ("terraform/plain.tfstate", "", "storage"),
    "with assume_role": ("terraform/odd é/state 1.tfstate", ASSUME_ROLE, "deployer"),
}


def terraform(folder: Path, env: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        ["terraform", *arguments],
        env={**env, "CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1", "TF_LOG": "DEBUG",
             "TF_LOG_PATH": str(folder / "debug.log")},
        cwd=folder, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize(("key", "more", "role"), BACKENDS.values(), ids=BACKENDS)
def test_terraform_keeps_its_state_in_s3(
    storage: Storage, tmp_path: Path, key: str, more: str, role: str
) -> None:
    env, before = storage.bob, storage.mark()
    (tmp_path / "main.tf").write_text(BACKEND.format(bucket=BUCKET, key=key, more=more), "utf-8")

    terraform(tmp_path, env, "init", "-input=false")
    terraform(tmp_path, env, "apply", "-auto-approve", "-input=false")
    terraform(tmp_path, env, "apply", "-auto-approve", "-input=false", "-var", "word=second")
    word = terraform(tmp_path, env, "output", "-raw", "word")
    pulled = terraform(tmp_path, env, "state", "pull")

    assert word == "second"
    assert '"serial"' in pulled
    crossed = storage.since(before)
    storage.check(crossed)
    roles = {line["role_arn"] for line in crossed.lines if line["service"] == "s3"}
    assert {arn.rpartition("/")[2] for arn in roles} == {role}
    locked = [each.method for each in crossed.requests if unquote(each.path) == f"/{key}.tflock"]
    assert {"PUT", "DELETE"} <= set(locked)


def test_no_real_key_is_on_the_clients_side(storage: Storage, tmp_path: Path) -> None:
    real = storage.tap.issued
    (tmp_path / "main.tf").write_text(
        BACKEND.format(bucket=BUCKET, key="terraform/searched", more=ASSUME_ROLE), "utf-8"
    )
    before = len(real[b"AccessKeyId"])

    terraform(tmp_path, storage.bob, "init", "-input=false")

    left = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert len(real[b"AccessKeyId"]) > before, "STS gave out keys for the second role"
    assert b"GATE" in left, "the debug log shows the keys that Terraform knows"
    assert [name for name, values in real.items() for each in values if each in left] == []
