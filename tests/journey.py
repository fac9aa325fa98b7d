"""What every client is made to do, and what must be true of it afterwards.

    Stage    a gateway of its own in front of the embedded AWS, and bob's environment
    Client   the calls of the journey, in the client's own way
    Cli      the AWS CLI, version 1 or 2

A client is configured with nothing but the variables of ``awsgate env``. No tests here:
``tests/e2e`` and ``tests/clients`` hold them.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from awsgate.demo.embedded_aws import ACCOUNT, BUCKET, FUNCTION, POWER_ROLE, REGION, EmbeddedAws
from awsgate.demo.processes import GatewayProcess, clean_env

ROLE_SESSION = "assumed-role/ExamplePowerAccess/bob"

# A space, a plus, a literal %2F, and characters of two and four bytes: what path
# encodings get wrong.
ODD_KEY = "a b+c/é/😀 x%2F.txt"
ODD_KEY_ON_THE_WIRE = "a%20b%2Bc/%C3%A9/%F0%9F%98%80%20x%252F.txt"
ODD_BODY = bytes(range(256)) + "\r\n é 😀".encode()

QUEUE_URL = f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/work"
FUNCTION_ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{FUNCTION}"
FUNCTION_PAYLOAD = '{"é": "😀 + %2F"}'.encode()
"""moto answers with it: its functions do not run, they echo."""

TENANT_API = f"https://abc123.execute-api.{REGION}.amazonaws.com/prod"
"""An endpoint that another tenant may own: off unless a role allows it."""


class Client(Protocol):
    """The calls of the journey."""

    def whoami(self) -> str:
        """Give the ARN that STS sees."""
        ...

    def put_object(self, key: str, body: bytes) -> None:
        """Store an object in the demo's bucket."""
        ...

    def get_object(self, key: str) -> bytes:
        """Give an object's body."""
        ...

    def list_objects(self, prefix: str) -> list[str]:
        """Give the keys under a prefix."""
        ...

    def delete_object(self, key: str) -> None:
        """Delete an object."""
        ...

    def put_note(self, note_id: str, text: str) -> None:
        """Put an item into the table."""
        ...

    def get_note(self, note_id: str) -> str:
        """Give the text of an item."""
        ...

    def send_message(self, text: str) -> None:
        """Send to the queue."""
        ...

    def receive_message(self) -> str:
        """Receive from the queue, and delete what was received."""
        ...

    def regions(self) -> list[str]:
        """Give EC2's regions."""
        ...

    def invoke(self, payload: bytes) -> bytes:
        """Invoke the function, and give its answer."""
        ...


@dataclass(frozen=True, slots=True)
class Stage:
    """An AWS, a gateway that only bob uses, and bob's environment."""

    aws: EmbeddedAws
    gateway: GatewayProcess
    env: dict[str, str]
    first_row: int
    """Where this gateway's requests begin in the record of the AWS."""

    def check(self) -> None:
        """Check what crossed the gateway so far: whose keys AWS saw, and whose calls."""
        rows = self.aws.requests()[self.first_row :]
        assumed = [row for row in rows if row["action"] == "AssumeRole"]
        calls = [row for row in rows if row["action"] != "AssumeRole"]
        lines = self.gateway.audit(at_least=len(calls))

        own_key = self.aws.gateway_keys["AWS_ACCESS_KEY_ID"]
        role_keys = {row["access_key_id"] for row in calls}
        assert [
            (row["access_key_id"], row["session_name"], row["has_token"]) for row in assumed
        ] == [(own_key, "bob", False)]
        assert [key[:4] for key in role_keys] == ["ASIA"]
        assert [row for row in calls if not row["has_token"]] == []
        assert [row for row in rows if row["forwarded"]] == []

        assert {(line["event"], line["user"], line["code"]) for line in lines} == {
            ("request", "bob", "")
        }
        assert {line["session_name"] for line in lines} == {"bob"}
        assert {line["access_key_id"] for line in lines} == role_keys
        assert len(lines) == len(calls)
        self._check_secrets()

    def _check_secrets(self) -> None:
        written = self.aws.record.read_text("utf-8")
        assert self.env["AWS_ACCESS_KEY_ID"] not in written
        written += (self.gateway.state / "audit.jsonl").read_text("utf-8")
        written += self.gateway.log.read_text("utf-8")
        for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            assert self.env[name] not in written


@contextmanager
def stage_for_bob(aws: EmbeddedAws, policy: Path, folder: Path) -> Iterator[Stage]:
    """Start a gateway with the policy, and stop it at the end."""
    first_row = len(aws.requests())
    gateway = GatewayProcess(folder, policy=policy, keys=aws.gateway_keys, upstream=aws.url)
    try:
        variables = gateway.env(user="bob", app="awsconsole-test", role=POWER_ROLE)
        yield Stage(aws, gateway, clean_env(gateway.home, variables), first_row)
    finally:
        gateway.stop()


def variables_for_a_role_taken_away(gateway: GatewayProcess, folder: Path) -> dict[str, str]:
    """Give alice's variables for a role that the gateway's policy no longer lets her have.

    Minted under a policy that did, with the gateway's own session key.
    """
    older = folder / "older.yaml"
    older.write_text(
        gateway.policy.read_text("utf-8").replace(
            "spec: {roles: [aws-ro-access]}", "spec: {roles: [aws-ro-access, aws-power-access]}"
        ),
        "utf-8",
    )
    then = copy(gateway)
    then.policy = older
    return then.env(user="alice", app="awsconsole-test", role=POWER_ROLE)


def run(
    command: Sequence[str], env: dict[str, str], *, stdin: bytes = b"", timeout_s: float = 60
) -> bytes:
    """Run a client that must succeed. Give its stdout."""
    done = subprocess.run(
        command, env=env, input=stdin, capture_output=True, check=False, timeout=timeout_s
    )
    assert done.returncode == 0, (done.stderr + done.stdout).decode("utf-8", "replace")
    return done.stdout


class Cli:
    """The AWS CLI, as a program at ``path``."""

    def __init__(self, path: str, env: dict[str, str], folder: Path) -> None:
        self._path = path
        # Python 3.11's ASCII locale would mangle the odd key on the command line.
        self._env = {**env, "LC_ALL": "C.UTF-8", "AWS_PAGER": ""}
        self._folder = folder

    def whoami(self) -> str:
        arn: str = self._json("sts", "get-caller-identity")["Arn"]
        return arn

    def put_object(self, key: str, body: bytes) -> None:
        file = self._folder / "up"
        file.write_bytes(body)
        self._run("s3", "cp", str(file), f"s3://{BUCKET}/{key}")

    def get_object(self, key: str) -> bytes:
        file = self._folder / "down"
        self._run("s3", "cp", f"s3://{BUCKET}/{key}", str(file))
        return file.read_bytes()

    def list_objects(self, prefix: str) -> list[str]:
        text = self._run("s3api", "list-objects-v2", "--bucket", BUCKET, "--prefix", prefix)
        return [item["Key"] for item in json.loads(text or b"{}").get("Contents", [])]

    def delete_object(self, key: str) -> None:
        self._run("s3", "rm", f"s3://{BUCKET}/{key}")

    def put_note(self, note_id: str, text: str) -> None:
        item = json.dumps({"id": {"S": note_id}, "text": {"S": text}})
        self._run("dynamodb", "put-item", "--table-name", "notes", "--item", item)

    def get_note(self, note_id: str) -> str:
        key = json.dumps({"id": {"S": note_id}})
        answer = self._json("dynamodb", "get-item", "--table-name", "notes", "--key", key)
        text: str = answer["Item"]["text"]["S"]
        return text

    def send_message(self, text: str) -> None:
        self._run("sqs", "send-message", "--queue-url", QUEUE_URL, "--message-body", text)

    def receive_message(self) -> str:
        answer = self._json("sqs", "receive-message", "--queue-url", QUEUE_URL)
        message = answer["Messages"][0]
        receipt = message["ReceiptHandle"]
        self._run("sqs", "delete-message", "--queue-url", QUEUE_URL, "--receipt-handle", receipt)
        return str(message["Body"])

    def regions(self) -> list[str]:
        return [item["RegionName"] for item in self._json("ec2", "describe-regions")["Regions"]]

    def invoke(self, payload: bytes) -> bytes:
        asked, answered = self._folder / "payload", self._folder / "answer"
        asked.write_bytes(payload)
        self._run(
            "lambda", "invoke", "--function-name", FUNCTION_ARN,
            "--payload", f"fileb://{asked}", str(answered),
        )  # fmt: skip
        return answered.read_bytes()

    def _json(self, *arguments: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self._run(*arguments))
        return answer

    def _run(self, *arguments: str) -> bytes:
        return run([self._path, *arguments, "--output", "json"], self._env)


# --- the journey, to be called by the tests of each client -------------------------------


def check_caller(client: Client) -> None:
    """STS sees the role, and bob by name."""
    _same(client.whoami().partition(":sts:")[2], f":{ACCOUNT}:{ROLE_SESSION}")


def check_odd_key(client: Client) -> None:
    """An object under a key that is hard to encode is stored, found, read and deleted."""
    client.put_object(ODD_KEY, ODD_BODY)
    _same(client.list_objects("a b+c/"), [ODD_KEY])
    _same(client.get_object(ODD_KEY), ODD_BODY)

    client.delete_object(ODD_KEY)
    _same(client.list_objects("a b+c/"), [])


def check_table(client: Client) -> None:
    """An item comes back."""
    note_id, text = type(client).__name__, "é 😀 + %2F"
    client.put_note(note_id, text)
    _same(client.get_note(note_id), text)


def check_queue(client: Client) -> None:
    """A message comes back."""
    text = f"from {type(client).__name__}: é + %2F & ="
    client.send_message(text)
    _same(client.receive_message(), text)


def check_regions(client: Client) -> None:
    """EC2's own protocol."""
    _same([name for name in client.regions() if name == REGION], [REGION])


def check_function(client: Client) -> None:
    """A function is invoked, with its argument and its answer."""
    _same(client.invoke(FUNCTION_PAYLOAD), FUNCTION_PAYLOAD)


def _same(found: object, wanted: object) -> None:
    # pytest explains the asserts of test modules only, and this is none.
    assert found == wanted, f"{found!r}, expected {wanted!r}"


JOURNEY = {
    "sts sees the role and the user by name": check_caller,
    "an object with an odd key comes back byte for byte": check_odd_key,
    "an item comes back from the table": check_table,
    "a message comes back from the queue": check_queue,
    "ec2 answers in its own protocol": check_regions,
    "a function is invoked": check_function,
}
