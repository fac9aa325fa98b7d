"""Programs that are not made of put and get, and the table of all brought to life.

make(name, env, folder)    a client of ``conformance.table``, its recipe followed
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any, ClassVar

from clients import tools
from clients.places import expanded
from clients.tools import ODD, TIMEOUT_S, Tool
from conformance.table import CLIENTS, Client
from curlclient import Curl


class S3cmd(Tool):
    """s3cmd. What it needs is in its configuration file."""

    odd: ClassVar[str] = ODD.replace("?", "")  # a pattern, in its eyes

    def put(self, bucket: str, key: str, body: bytes) -> None:
        self._do("put", "--multipart-chunk-size-mb=8", self._file(body), f"s3://{bucket}/{key}")

    def get(self, bucket: str, key: str) -> bytes:
        to = self.folder / "got"
        self._do("get", "--force", f"s3://{bucket}/{key}", str(to))
        return to.read_bytes()

    def list(self, bucket: str, prefix: str) -> list[str]:
        lines = self._do("ls", "--recursive", f"s3://{bucket}/{prefix}").decode().splitlines()
        return [line.partition(f"s3://{bucket}/")[2] for line in lines]

    def copy(self, bucket: str, key: str, to: str) -> None:
        self._do("cp", f"s3://{bucket}/{key}", f"s3://{bucket}/{to}")

    def delete(self, bucket: str, key: str) -> None:
        self._do("del", f"s3://{bucket}/{key}")

    def _do(self, *arguments: str) -> bytes:
        return self.call("--no-progress", "--encoding=UTF-8", *arguments)


class CurlTool(Tool):
    """curl, by way of the calls that are written out in ``curlclient``."""

    def whoami(self) -> str:
        return Curl(self.env).whoami()

    def put(self, bucket: str, key: str, body: bytes) -> None:
        self._for(bucket).put_object(key, body)

    def get(self, bucket: str, key: str) -> bytes:
        return self._for(bucket).get_object(key)

    def list(self, bucket: str, prefix: str) -> list[str]:
        return self._for(bucket).list_objects(prefix)

    def copy(self, bucket: str, key: str, to: str) -> None:
        self._for(bucket).copy_object(key, to)

    def delete(self, bucket: str, key: str) -> None:
        self._for(bucket).delete_object(key)

    def note(self, note_id: str, text: str) -> str:
        Curl(self.env).put_note(note_id, text)
        return Curl(self.env).get_note(note_id)

    def message(self, queue: str, text: str) -> str:
        curl = Curl(self.env, queue=queue)
        curl.send_message(text)
        return curl.receive_message()

    def _for(self, bucket: str) -> Curl:
        return Curl(self.env, bucket=bucket)


class Restic(Tool):
    """restic: a backup, its check and its restore."""

    def work(self, bucket: str, prefix: str) -> None:
        kept, back = self.folder / "kept", self.folder / "back"
        kept.mkdir()
        bodies = {f"file é {number}": os.urandom(300_000) for number in range(3)}
        for name, body in bodies.items():
            (kept / name).write_bytes(body)
        where = f"--repo=s3:https://s3.amazonaws.com/{bucket}/{prefix}"
        self.call(where, "init")
        self.call(where, "backup", str(kept))
        self.call(where, "check")
        self.call(where, "restore", "latest", "--target", str(back))
        found = {path.name: path.read_bytes() for path in back.rglob("file*")}
        assert found == bodies, sorted(found)

    more: ClassVar[dict[str, str]] = {"RESTIC_PASSWORD": "of the backup"}


class Terraform(Tool):
    """Terraform's S3 backend with a lock file. No provider: terraform_data is built in."""

    more: ClassVar[dict[str, str]] = {"CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1"}

    def work(self, bucket: str, prefix: str) -> None:
        self._write(bucket, f"{prefix}/odd é/state 1.tfstate")
        self.call("init", "-input=false")
        for word in ("first", "second"):
            self.call("apply", "-auto-approve", "-input=false", "-var", f"word={word}")
        assert self.call("output", "-raw", "word") == b"second"

    def refused(self, bucket: str) -> None:
        self._write(bucket, "refused.tfstate")
        self.call("init", "-input=false")

    def _write(self, bucket: str, key: str) -> None:
        (self.folder / "main.tf").write_text(
            f"""\
terraform {{
  backend "s3" {{
    bucket       = "{bucket}"
    key          = "{key}"
    region       = "us-east-1"
    use_lockfile = true
  }}
}}
variable "word" {{ default = "" }}
resource "terraform_data" "it" {{ input = var.word }}
output "word" {{ value = terraform_data.it.output }}
""",
            "utf-8",
        )


class Frames(Tool):
    """A library that keeps tables in S3."""

    def work(self, bucket: str, prefix: str) -> None:
        assert int(self.call(bucket, prefix)) == sum(range(1000))

    def refused(self, bucket: str) -> None:
        self.call(bucket, "refused")


class Polars(Frames):
    """Polars tries a refused upload once more."""

    requests_if_refused: ClassVar[int] = 2


class S3Torch(Tool):
    """Mountpoint's client. It does not encode the source of a copy."""

    copies_spaces = False


class WebSockets(Tool):
    """A signed WebSocket."""

    def talk(self, host: str, path: str, service: str, text: str) -> str:
        return self.call(host, path, service, text).decode()


def make(name: str, env: dict[str, str], folder: Path) -> Any:
    """Give a client of the table, after its recipe was followed in ``folder`` as its home."""
    client = next(each for each in CLIENTS if each.name == name)
    kind = globals().get(client.tool) or getattr(tools, client.tool)
    return kind(expanded(client.command), followed(client, {**env, "HOME": str(folder)}), folder)


def followed(client: Client, env: dict[str, str]) -> dict[str, str]:
    """Run the recipe as the docs print it, and give the environment that it leaves."""
    if not client.recipe:
        return env
    done = subprocess.run(
        ["bash", "-euc", f"{client.recipe}\nexec env -0"],
        env=env, cwd=env["HOME"], capture_output=True, check=False, timeout=TIMEOUT_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode("utf-8", "replace")[-2000:]
    pairs = (pair.partition("=") for pair in done.stdout.decode().split("\0") if pair)
    return {name: value for name, _, value in pairs if name not in ("_", "PWD", "SHLVL", "OLDPWD")}
