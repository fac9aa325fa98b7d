"""Clients that are programs, each brought to the same verbs.

A tool knows nothing but the variables of ``awsgate env``, what ``conformance.table`` says
it needs beside them, and what its own manual asks for. ``copy`` is a copy within S3; a
body over 8 MiB goes in parts. Programs with verbs of other kinds: ``clients.programs``.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from awsgate.demo.embedded_aws import REGION

TIMEOUT_S = 90
MIB = 1024 * 1024
ODD = "a b+c/é 😀 x%2F/q=1&r=2#h?/it's (a) 'key' [1]!.txt"


@dataclass
class Tool:
    """Programs with the verbs of their own: put, get, list, copy, delete, and so on."""

    command: Sequence[str]
    env: dict[str, str]
    folder: Path
    copies_spaces = True
    odd: ClassVar[str] = ODD
    """A key that is hard to encode, without what the client cannot name."""
    requests_if_refused: ClassVar[int] = 1
    presigns: ClassVar[tuple[str, ...]] = ("put", "get")
    more: ClassVar[dict[str, str]] = {}
    """Variables that its own manual asks for."""

    def call(self, *arguments: str, stdin: bytes = b"") -> bytes:
        done = subprocess.run(
            [*self.command, *arguments], env={**self.env, **self.more}, input=stdin,
            capture_output=True, check=False, timeout=TIMEOUT_S, cwd=self.folder,
        )  # fmt: skip
        said = (done.stderr + done.stdout).decode("utf-8", "replace")[-3000:]
        assert done.returncode == 0, f"exit {done.returncode}: {said}"
        return done.stdout

    def whoami(self) -> str:
        return str(json.loads(self.call("whoami")))

    def presign(self, verb: str, bucket: str, key: str) -> str:
        return str(json.loads(self.call("presign", verb, bucket, key)))

    def note(self, note_id: str, text: str) -> str:
        return self.call("note", note_id, text).decode()

    def message(self, queue: str, text: str) -> str:
        return self.call("message", queue, text).decode()

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

    def refused(self, bucket: str) -> None:
        """Do something that shows a refusal's words."""
        self.put(bucket, "refused", b"body")

    def _file(self, body: bytes) -> str:
        path = self.folder / "body"
        path.write_bytes(body)
        return str(path)


class AwsCli(Tool):
    """The AWS CLI, version 1 or 2. It signs URLs for reading alone."""

    # Python 3.11's ASCII locale would mangle keys on the command line.
    more: ClassVar[dict[str, str]] = {"LC_ALL": "C.UTF-8", "AWS_PAGER": ""}
    presigns: ClassVar[tuple[str, ...]] = ("get",)

    def whoami(self) -> str:
        return str(self._json("sts", "get-caller-identity")["Arn"])

    def presign(self, verb: str, bucket: str, key: str) -> str:
        assert verb == "get"
        return self.call("s3", "presign", f"s3://{bucket}/{key}").decode().strip()

    def note(self, note_id: str, text: str) -> str:
        key, item = {"id": {"S": note_id}}, {"id": {"S": note_id}, "text": {"S": text}}
        table = ("--table-name", "notes")
        self._json("dynamodb", "put-item", *table, "--item", json.dumps(item))
        found = self._json("dynamodb", "get-item", *table, "--key", json.dumps(key))
        return str(found["Item"]["text"]["S"])

    def message(self, queue: str, text: str) -> str:
        of = ("--queue-url", queue)
        self._json("sqs", "send-message", *of, "--message-body", text)
        received = self._json("sqs", "receive-message", *of)["Messages"][0]
        self._json("sqs", "delete-message", *of, "--receipt-handle", received["ReceiptHandle"])
        return str(received["Body"])

    def _json(self, *arguments: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.call(*arguments, "--output", "json") or b"{}")
        return found

    def put(self, bucket: str, key: str, body: bytes) -> None:
        self.call("s3", "cp", self._file(body), f"s3://{bucket}/{key}", "--only-show-errors")

    def get(self, bucket: str, key: str) -> bytes:
        to = self.folder / "got"
        self.call("s3", "cp", f"s3://{bucket}/{key}", str(to), "--only-show-errors")
        return to.read_bytes()

    def list(self, bucket: str, prefix: str) -> list[str]:
        found = self._json("s3api", "list-objects-v2", "--bucket", bucket, "--prefix", prefix)
        return [item["Key"] for item in found.get("Contents", [])]

    def copy(self, bucket: str, key: str, to: str) -> None:
        self.call("s3", "cp", f"s3://{bucket}/{key}", f"s3://{bucket}/{to}", "--only-show-errors")

    def delete(self, bucket: str, key: str) -> None:
        self.call("s3", "rm", f"s3://{bucket}/{key}", "--only-show-errors")


class S5cmd(Tool):
    """s5cmd. ``--raw`` keeps it from reading keys as patterns."""

    # A space in x-amz-copy-source leaves it in a form that SeaweedFS does not read:
    # NoSuchKey, with no gateway between as well.
    copies_spaces = False
    presigns: ClassVar[tuple[str, ...]] = ("get",)

    def presign(self, verb: str, bucket: str, key: str) -> str:
        assert verb == "get"
        return self.call("presign", f"s3://{bucket}/{key}").decode().strip()

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

    more: ClassVar[dict[str, str]] = {
        "RCLONE_CONFIG_GW_TYPE": "s3",
        "RCLONE_CONFIG_GW_PROVIDER": "AWS",
        "RCLONE_CONFIG_GW_ENV_AUTH": "true",
        "RCLONE_CONFIG_GW_REGION": REGION,
        "RCLONE_S3_NO_CHECK_BUCKET": "true",
        "RCLONE_S3_UPLOAD_CUTOFF": "8M",
        "RCLONE_S3_CHUNK_SIZE": "8M",
    }

    def put(self, bucket: str, key: str, body: bytes) -> None:
        self.call("copyto", self._file(body), f"gw:{bucket}/{key}")

    def get(self, bucket: str, key: str) -> bytes:
        to = self.folder / "got"
        self.call("copyto", f"gw:{bucket}/{key}", str(to))
        return to.read_bytes()

    def list(self, bucket: str, prefix: str) -> list[str]:
        keys = self.call("lsf", "-R", "--files-only", f"gw:{bucket}").decode().splitlines()
        return [key for key in keys if key.startswith(prefix)]

    def copy(self, bucket: str, key: str, to: str) -> None:
        self.call("copyto", f"gw:{bucket}/{key}", f"gw:{bucket}/{to}")

    def delete(self, bucket: str, key: str) -> None:
        self.call("deletefile", f"gw:{bucket}/{key}")

    def refused(self, bucket: str) -> None:
        # An upload begins with HEAD, whose answer has no room for words.
        self.call("lsf", "--retries", "1", f"gw:{bucket}")
