"""The operations: what a client is made to do, and what must be true of it afterwards.

Each takes a ``Run`` and raises ``AssertionError`` where something is not as it should be:
the client failed, a byte is another, AWS saw another key than the role's or another
request than the audit has, or refused one.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import boto3
import urllib3
from botocore.config import Config

from aws_server.objects import generated
from awsgate.demo.embedded_aws import ACCOUNT, POWER_ROLE, REGION
from clients.programs import make
from clients.seaweed import Request
from conformance.stages import FORMER, Stages
from conformance.table import Client

BUCKET = "conformance"
MIB = 1024 * 1024
GENERATED = 70_000
"""Bytes of an object that the strict AWS has in every bucket."""
IOT = "abc123-ats.iot.us-east-1.amazonaws.com"


@dataclass
class Run:
    """One client on the stages, with a folder of its own."""

    client: Client
    stages: Stages
    folder: Path
    envs: dict[str, dict[str, str]]
    """The environment of ``awsgate env`` on each stage, and of the former user."""

    def on(self, stage: str) -> Any:
        """Give the client, its recipe followed, as a user of that stage."""
        home = self.folder / stage
        if stage not in self._made:
            home.mkdir(exist_ok=True)
            self._made[stage] = make(self.client.name, self.envs[stage], home)
        return self._made[stage]

    @cached_property
    def _made(self) -> dict[str, Any]:
        return {}

    def crossed(self, before: int, *, also_absent: bool = False) -> list[Request]:
        """Check what crossed to the storage since; gives what AWS was asked."""
        user = self.client.user
        lines, requests = self.stages.storage.crossed(user, before)
        refused = {(line["decision"], line["code"], line["session_name"]) for line in lines}
        assert refused == {("allowed", "", user)}, refused
        assert requests, f"{len(lines)} lines in the audit, and AWS saw another number"
        # HEAD asks whether there is something.
        bad = [(line["method"], line["path"], line["status"]) for line in lines
               if line["status"] >= 400 and line["method"] != "HEAD"
               and not (also_absent and line["status"] in (404, 412))]  # fmt: skip
        assert not bad, f"AWS answered {bad}"
        return requests

    @property
    def mark(self) -> int:
        """Give how many lines of the storage's audit are this client's."""
        return len(self.stages.storage.of(self.client.user))


def environments(stages: Stages, user: str) -> dict[str, dict[str, str]]:
    """Ask ``awsgate env`` for all that a client will be."""
    return {
        "storage": stages.storage.env(user),
        "services": stages.services.env(user),
        "strict": stages.strict.env(user),
        "former": stages.storage.env(user + FORMER),
    }


def prepare(stages: Stages, users: Sequence[str]) -> None:
    """Make the bucket, and a queue for each client, by way of the gateways."""
    user = users[0]

    def client(service: str, stage: Any) -> Any:
        env = stage.env(user)
        return boto3.Session(
            env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"], env["AWS_SESSION_TOKEN"], REGION
        ).client(
            service,  # type: ignore[call-overload]
            verify=env["AWS_CA_BUNDLE"],
            config=Config(proxies={"https": env["HTTPS_PROXY"]}),
        )

    client("s3", stages.storage).create_bucket(Bucket=BUCKET)
    sqs = client("sqs", stages.services)
    for each in users:
        sqs.create_queue(QueueName=each)


def identity(run: Run) -> None:
    """STS sees the role, and the user by name."""
    name = POWER_ROLE.rpartition("/")[2]
    arn = run.on("services").whoami()
    assert arn.endswith(f":{ACCOUNT}:assumed-role/{name}/{run.client.user}"), arn


def objects(run: Run) -> None:
    """An object under an odd key is stored, listed, read and deleted."""
    tool, before, body = run.on("storage"), run.mark, os.urandom(3000)
    prefix = f"{run.client.user}/"
    key = prefix + tool.odd

    tool.put(BUCKET, key, body)
    listed = tool.list(BUCKET, prefix)
    got = tool.get(BUCKET, key)
    tool.delete(BUCKET, key)

    assert got == body, "the body is another"
    assert listed == [key], f"listed {listed}"
    seen = {(each.method, _key_of(each)) for each in run.crossed(before)}
    assert ("PUT", key) in seen, "not a byte of the path may be changed"
    deleted = ("DELETE", key) in seen or any(method == "POST" for method, _ in seen)
    assert deleted, "AWS was asked to delete it"


def copy(run: Run) -> None:
    """A copy within S3, its source named in a header."""
    tool, before, body = run.on("storage"), run.mark, os.urandom(3000)
    source = f"{run.client.user}-plain" if not tool.copies_spaces else f"{run.client.user} ü+%"
    to = f"copy of {run.client.user}/é+ %2F"

    tool.put(BUCKET, source, body)
    tool.copy(BUCKET, source, to)
    got = tool.get(BUCKET, to)

    assert got == body, "the body is another"
    run.crossed(before)


def parts(run: Run) -> None:
    """A body that goes up in parts is the same when it comes down."""
    tool, before, body = run.on("storage"), run.mark, os.urandom(17 * MIB)
    key = f"{run.client.user}-parts"

    tool.put(BUCKET, key, body)
    got = tool.get(BUCKET, key)

    assert hashlib.sha256(got).digest() == hashlib.sha256(body).digest(), "the body is another"
    numbers = {
        number
        for each in run.crossed(before, also_absent=True)
        for number in re.findall(r"(?:^|&)partNumber=(\d+)", each.query)
        if _key_of(each) == key and each.method == "PUT"
    }
    assert len(numbers) > 1, f"parts {numbers}"


def presign(run: Run) -> None:
    """A URL that the client signs is good for who has no keys."""
    tool, before, body = run.on("storage"), run.mark, os.urandom(3000)
    key = f"{run.client.user} presigned é"

    if "put" in tool.presigns:
        _fetch(run.envs["storage"], tool.presign("put", BUCKET, key), body)
    else:
        tool.put(BUCKET, key, body)
    got = _fetch(run.envs["storage"], tool.presign("get", BUCKET, key), None)

    assert got == body, "the body is another"
    run.crossed(before)


def dynamodb(run: Run) -> None:
    """An item comes back."""
    text = f"{run.client.name}: é 😀 + %2F"
    assert run.on("services").note(run.client.user, text) == text


def sqs(run: Run) -> None:
    """A message comes back."""
    text = f"{run.client.name}: é + %2F & ="
    queue = f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{run.client.user}"
    assert run.on("services").message(queue, text) == text


def work(run: Run) -> None:
    """What the program is for."""
    before = run.mark
    run.on("storage").work(BUCKET, f"{run.client.user}/work")
    run.crossed(before, also_absent=True)


def websocket(run: Run) -> None:
    """A text goes there and back."""
    text = f"{run.client.name}: é"
    assert run.on("strict").talk(IOT, "/mqtt", "iotdevicegateway", text) == text
    _no_faults(run)


def strict(run: Run) -> None:
    """Put and get; an AWS that checks all of it has no complaint."""
    tool, body = run.on("strict"), os.urandom(3000)
    key = f"{run.client.user}/{tool.odd}"
    tool.put(BUCKET, key, body)
    stored = run.stages.strict.aws.objects.get((BUCKET, key))
    assert stored, "it was not stored under its key"
    assert stored.sha256 == hashlib.sha256(body).hexdigest(), "the body is another"

    if stored.body is None:  # of a body in parts the server keeps the hash alone
        key, body = f"generated/{GENERATED}", b"".join(generated(GENERATED))
    assert tool.get(BUCKET, key) == body, "the body that came down is another"
    _no_faults(run)


def _no_faults(run: Run) -> None:
    seen = run.stages.strict.requests(run.client.user)
    assert seen, "AWS saw nothing"
    faults = [(each.method, each.fault, each.detail) for each in seen if each.fault]
    assert not faults, f"AWS found {faults}"


def refusal(run: Run) -> None:
    """Who may no more is told so, in our words, after one request."""
    tool, user = run.on("former"), run.client.user + FORMER
    try:
        tool.refused(BUCKET)
    except AssertionError as exc:
        said = " ".join(str(exc).split())
    else:
        raise AssertionError("it was not refused")
    lines = run.stages.storage.settled(user, 0)
    codes = {line["code"] for line in lines}
    assert codes == {"denied"}, f"refused with {codes}"
    assert "awsgate denied" in said, f"shows none of our words: {said[-300:]}"
    assert len(lines) == tool.requests_if_refused, f"{len(lines)} requests"


OPERATIONS: dict[str, Callable[[Run], None]] = {
    each.__name__: each
    for each in (
        identity, objects, copy, parts, presign, dynamodb, sqs, work, websocket, strict, refusal,
    )
}  # fmt: skip


def _key_of(request: Request) -> str:
    """Give the key, whether the bucket stands in the path or in the host."""
    return unquote(request.path).removeprefix(f"/{BUCKET}/").removeprefix("/")


def _fetch(env: dict[str, str], url: str, body: bytes | None) -> bytes:
    """Send a request that has nothing of AWS but its URL, by way of the gateway."""
    with urllib3.ProxyManager(env["HTTPS_PROXY"], ca_certs=env["AWS_CA_BUNDLE"]) as client:
        answer = client.request("GET" if body is None else "PUT", url, body=body, timeout=30)
    assert answer.status == 200, answer.data.decode("utf-8", "replace")[:300]
    return answer.data
