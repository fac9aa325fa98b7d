"""S3 clients that are programs, each brought to the same five verbs.

A tool knows nothing but the variables of ``awsgate env`` and what its own manual asks
for. ``copy`` is a copy within S3; a body over 8 MiB goes in parts.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from awsgate.demo.embedded_aws import REGION

HERE = Path(__file__).parent
TIMEOUT_S = 90
MIB = 1024 * 1024


@dataclass
class Tool:
    """Programs with the verbs put, get, list, copy and delete of their own."""

    command: Sequence[str]
    env: dict[str, str]
    folder: Path
    more: Mapping[str, str] = field(default_factory=dict)
    copies_spaces = True

    def call(self, *arguments: str, stdin: bytes = b"") -> bytes:
        done = subprocess.run(
            [*self.command, *arguments], env={**self.env, **self.more}, input=stdin,
            capture_output=True, check=False, timeout=TIMEOUT_S, cwd=self.folder,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr.decode("utf-8", "replace")[-2000:]
        return done.stdout

    def put(self, bucket: str, key: str, body: bytes) -> None:
        self.call("put", bucket, key, stdin=body)

    def get(self, bucket: str, key: str) -> bytes:
        return self.call("get", bucket, key)

    def list(self, bucket: str, prefix: str) -> list[str]:
        found: list[str] = json.loads(self.call("list", bucket, prefix))
        return found

    def copy(self, bucket: str, key: str, to: str) -> None:
        self.call("copy", bucket, key, to)

    def delete(self, bucket: str, key: str) -> None:
        self.call("delete", bucket, key)

    def _file(self, body: bytes) -> str:
        path = self.folder / "body"
        path.write_bytes(body)
        return str(path)


class AwsCli(Tool):
    """The AWS CLI, version 1 or 2."""

    def put(self, bucket: str, key: str, body: bytes) -> None:
        self.call("s3", "cp", self._file(body), f"s3://{bucket}/{key}", "--only-show-errors")

    def get(self, bucket: str, key: str) -> bytes:
        to = self.folder / "got"
        self.call("s3", "cp", f"s3://{bucket}/{key}", str(to), "--only-show-errors")
        return to.read_bytes()

    def list(self, bucket: str, prefix: str) -> list[str]:
        raw = self.call(
            "s3api", "list-objects-v2", "--bucket", bucket, "--prefix", prefix, "--output", "json"
        )
        return [item["Key"] for item in json.loads(raw or "{}").get("Contents", [])]

    def copy(self, bucket: str, key: str, to: str) -> None:
        self.call("s3", "cp", f"s3://{bucket}/{key}", f"s3://{bucket}/{to}", "--only-show-errors")

    def delete(self, bucket: str, key: str) -> None:
        self.call("s3", "rm", f"s3://{bucket}/{key}", "--only-show-errors")


class S5cmd(Tool):
    """s5cmd. ``--raw`` keeps it from reading keys as patterns."""

    # A space in x-amz-copy-source leaves it in a form that SeaweedFS does not read:
    # NoSuchKey, with no gateway between as well.
    copies_spaces = False

    def put(self, bucket: str, key: str, body: bytes) -> None:
        self.call("cp", "--raw", "--part-size", "8", self._file(body), f"s3://{bucket}/{key}")

    def get(self, bucket: str, key: str) -> bytes:
        return self.call("cat", "--raw", f"s3://{bucket}/{key}")

    def list(self, bucket: str, prefix: str) -> list[str]:
        try:
            lines = self.call("--json", "ls", f"s3://{bucket}/*").splitlines()
        except AssertionError as exc:
            if "no object found" in str(exc):  # an error, in its eyes
                return []
            raise
        keys = [json.loads(line)["key"].removeprefix(f"s3://{bucket}/") for line in lines]
        return [key for key in keys if key.startswith(prefix)]

    def copy(self, bucket: str, key: str, to: str) -> None:
        self.call("cp", "--raw", f"s3://{bucket}/{key}", f"s3://{bucket}/{to}")

    def delete(self, bucket: str, key: str) -> None:
        self.call("rm", "--raw", f"s3://{bucket}/{key}")


class Rclone(Tool):
    """rclone, its remote given by variables."""

    def put(self, bucket: str, key: str, body: bytes) -> None:
        self.call("copyto", self._file(body), f"gw:{bucket}/{key}")

    def get(self, bucket: str, key: str) -> bytes:
        return self.call("cat", f"gw:{bucket}/{key}")

    def list(self, bucket: str, prefix: str) -> list[str]:
        keys = self.call("lsf", "-R", "--files-only", f"gw:{bucket}").decode().splitlines()
        return [key for key in keys if key.startswith(prefix)]

    def copy(self, bucket: str, key: str, to: str) -> None:
        self.call("copyto", f"gw:{bucket}/{key}", f"gw:{bucket}/{to}")

    def delete(self, bucket: str, key: str) -> None:
        self.call("deletefile", f"gw:{bucket}/{key}")


RCLONE = {
    "RCLONE_CONFIG_GW_TYPE": "s3",
    "RCLONE_CONFIG_GW_PROVIDER": "AWS",
    "RCLONE_CONFIG_GW_ENV_AUTH": "true",
    "RCLONE_CONFIG_GW_REGION": REGION,
    "RCLONE_S3_NO_CHECK_BUCKET": "true",
    "RCLONE_S3_UPLOAD_CUTOFF": "8M",
    "RCLONE_S3_CHUNK_SIZE": "8M",
}


def make(name: str, env: dict[str, str], folder: Path) -> Tool:
    """Give a tool by its name."""
    scripts = Path(sys.executable).parent
    if name.startswith("AWS CLI"):
        return _cli(name, env, folder)
    if name.startswith("boto3"):
        flags = ["--crt"] if "CRT" in name else []
        return Tool([sys.executable, str(HERE / "boto3_client.py"), *flags], env, folder)
    if name == "s5cmd":
        return S5cmd([str(scripts / "s5cmd")], env, folder)
    if name == "rclone":
        return Rclone([str(scripts / "rclone")], env, folder, RCLONE)
    if name == "Go SDK v2":
        return Tool([os.environ["AWSGATE_GO_CLIENT"]], env, folder)
    if name == "JS SDK v3":
        script = Path(os.environ["AWSGATE_JS_CLIENT"]) / "client.mjs"
        return Tool(["node", str(script)], env, folder)
    raise ValueError(name)


def _cli(name: str, env: dict[str, str], folder: Path) -> Tool:
    v2 = os.environ["AWSGATE_AWS_CLI_V2"]
    program = v2 if "v2" in name else str(Path(sys.executable).parent / "aws")
    if "CRT" not in name:
        return AwsCli([program], env, folder)
    config = folder / "config"
    config.write_text("[default]\ns3 =\n  preferred_transfer_client = crt\n", "utf-8")
    return AwsCli([program], env, folder, {"AWS_CONFIG_FILE": str(config)})


TOOLS = (
    "boto3",
    "boto3 with CRT",
    "AWS CLI v1",
    "AWS CLI v2",
    "AWS CLI v2 with CRT",
    "s5cmd",
    "rclone",
    "Go SDK v2",
    "JS SDK v3",
)
