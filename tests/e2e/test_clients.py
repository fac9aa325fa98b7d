"""Real clients through the gateway to an AWS that verifies: boto3, AWS CLI v1, curl.

The AWS CLI v2 and the Go SDK are in tests/clients (scripts/clients).
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode
from xml.etree import ElementTree as ET

import boto3
import pytest

from awsgate.demo.embedded_aws import BUCKET, REGION, EmbeddedAws
from awsgate.demo.processes import GatewayProcess
from journey import (
    FUNCTION_ARN,
    JOURNEY,
    ODD_KEY_ON_THE_WIRE,
    QUEUE_URL,
    Cli,
    Client,
    Stage,
    run,
    stage_for_bob,
)


class Boto3:
    """boto3 in this process, configured by the environment alone."""

    def __init__(self) -> None:
        # A session of its own: boto3's default one keeps the first credentials it ever saw.
        self._session = boto3.Session()
        self._clients: dict[str, Any] = {}

    def whoami(self) -> str:
        arn: str = self._of("sts").get_caller_identity()["Arn"]
        return arn

    def put_object(self, key: str, body: bytes) -> None:
        self._of("s3").put_object(Bucket=BUCKET, Key=key, Body=body)

    def get_object(self, key: str) -> bytes:
        body: bytes = self._of("s3").get_object(Bucket=BUCKET, Key=key)["Body"].read()
        return body

    def list_objects(self, prefix: str) -> list[str]:
        answer = self._of("s3").list_objects_v2(Bucket=BUCKET, Prefix=prefix)
        return [item["Key"] for item in answer.get("Contents", [])]

    def delete_object(self, key: str) -> None:
        self._of("s3").delete_object(Bucket=BUCKET, Key=key)

    def put_note(self, note_id: str, text: str) -> None:
        item = {"id": {"S": note_id}, "text": {"S": text}}
        self._of("dynamodb").put_item(TableName="notes", Item=item)

    def get_note(self, note_id: str) -> str:
        answer = self._of("dynamodb").get_item(TableName="notes", Key={"id": {"S": note_id}})
        text: str = answer["Item"]["text"]["S"]
        return text

    def send_message(self, text: str) -> None:
        self._of("sqs").send_message(QueueUrl=QUEUE_URL, MessageBody=text)

    def receive_message(self) -> str:
        message = self._of("sqs").receive_message(QueueUrl=QUEUE_URL)["Messages"][0]
        self._of("sqs").delete_message(QueueUrl=QUEUE_URL, ReceiptHandle=message["ReceiptHandle"])
        return str(message["Body"])

    def regions(self) -> list[str]:
        return [item["RegionName"] for item in self._of("ec2").describe_regions()["Regions"]]

    def invoke(self, payload: bytes) -> bytes:
        answer = self._of("lambda").invoke(FunctionName=FUNCTION_ARN, Payload=payload)
        answered: bytes = answer["Payload"].read()
        return answered

    def _of(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = self._session.client(service)  # type: ignore[call-overload]
        return self._clients[service]


class Curl:
    """``curl --aws-sigv4``: no SDK, so the requests are written out here."""

    def __init__(self, env: dict[str, str]) -> None:
        self._env = env

    def whoami(self) -> str:
        text = self._call("sts", form={"Action": "GetCallerIdentity", "Version": "2011-06-15"})
        return _text_of(text, "Arn")[0]

    def put_object(self, key: str, body: bytes) -> None:
        # Without a type, curl calls it a form.
        kind = "Content-Type: application/octet-stream"
        self._s3(_path(key), "-X", "PUT", "-H", kind, "--data-binary", "@-", stdin=body)

    def get_object(self, key: str) -> bytes:
        return self._s3(_path(key))

    def list_objects(self, prefix: str) -> list[str]:
        # Sorted and encoded as the signature wants it: curl signs the query as it is.
        query = f"list-type=2&prefix={quote(prefix, safe='')}"
        return _text_of(self._s3(f"?{query}"), "Key")

    def delete_object(self, key: str) -> None:
        self._s3(_path(key), "-X", "DELETE")

    def put_note(self, note_id: str, text: str) -> None:
        item = {"id": {"S": note_id}, "text": {"S": text}}
        self._json("dynamodb", "DynamoDB_20120810.PutItem", {"TableName": "notes", "Item": item})

    def get_note(self, note_id: str) -> str:
        asked = {"TableName": "notes", "Key": {"id": {"S": note_id}}}
        text: str = self._json("dynamodb", "DynamoDB_20120810.GetItem", asked)["Item"]["text"]["S"]
        return text

    def send_message(self, text: str) -> None:
        asked = {"QueueUrl": QUEUE_URL, "MessageBody": text}
        self._json("sqs", "AmazonSQS.SendMessage", asked)

    def receive_message(self) -> str:
        queue = {"QueueUrl": QUEUE_URL}
        message = self._json("sqs", "AmazonSQS.ReceiveMessage", queue)["Messages"][0]
        done = {**queue, "ReceiptHandle": message["ReceiptHandle"]}
        self._json("sqs", "AmazonSQS.DeleteMessage", done)
        return str(message["Body"])

    def regions(self) -> list[str]:
        text = self._call("ec2", form={"Action": "DescribeRegions", "Version": "2016-11-15"})
        return _text_of(text, "regionName")

    def invoke(self, payload: bytes) -> bytes:
        # curl 7 signs a path as it is, AWS wants it encoded: straight to AWS this fails.
        path = f"/2015-03-31/functions/{FUNCTION_ARN}/invocations"
        return self._call(
            "lambda", path, "-H", "Content-Type: application/json", "--data-binary", "@-",
            stdin=payload,
        )  # fmt: skip

    def _json(self, service: str, target: str, asked: object) -> dict[str, Any]:
        answer = self._call(
            service, "/", "-H", f"X-Amz-Target: {target}",
            "-H", "Content-Type: application/x-amz-json-1.0", "--data-binary", "@-",
            stdin=json.dumps(asked).encode(),
        )  # fmt: skip
        found: dict[str, Any] = json.loads(answer or b"{}")
        return found

    def _s3(self, path: str, *arguments: str, stdin: bytes = b"") -> bytes:
        url = f"https://{BUCKET}.s3.{REGION}.amazonaws.com/{path}"
        return self._curl("s3", url, *arguments, stdin=stdin)

    def _call(
        self,
        service: str,
        path: str = "/",
        *arguments: str,
        form: dict[str, str] | None = None,
        stdin: bytes = b"",
    ) -> bytes:
        url = f"https://{service}.{REGION}.amazonaws.com{path}"
        data = ("--data", urlencode(form)) if form else ()
        return self._curl(service, url, *data, *arguments, stdin=stdin)

    def _curl(self, service: str, url: str, *arguments: str, stdin: bytes) -> bytes:
        user = f"{self._env['AWS_ACCESS_KEY_ID']}:{self._env['AWS_SECRET_ACCESS_KEY']}"
        token = f"x-amz-security-token: {self._env['AWS_SESSION_TOKEN']}"
        return run(
            ["curl", "-sS", "--fail-with-body", "--aws-sigv4", f"aws:amz:{REGION}:{service}",
             "--user", user, "-H", token, *arguments, url],
            self._env, stdin=stdin,
        )  # fmt: skip


def _path(key: str) -> str:
    path = quote(key, safe="/")
    assert path == ODD_KEY_ON_THE_WIRE
    return path


def _text_of(xml: bytes, tag: str) -> list[str]:
    """Give the text of all elements of a name, in any namespace."""
    found = ET.fromstring(xml).iter()  # noqa: S314 - our own AWS
    return [item.text or "" for item in found if re.sub(r"\{.*\}", "", item.tag) == tag]


@pytest.fixture(scope="module")
def stage(
    aws: EmbeddedAws, gateway: GatewayProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    """A gateway that nobody but bob uses, so that every line of its audit is his."""
    with stage_for_bob(aws, gateway.policy, tmp_path_factory.mktemp("clients")) as running:
        yield running


@pytest.fixture(params=["boto3", "aws cli v1", "curl"])
def client(
    request: pytest.FixtureRequest, stage: Stage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Client:
    if request.param == "boto3":
        for name in os.environ:
            monkeypatch.delenv(name)
        for name, value in stage.env.items():
            monkeypatch.setenv(name, value)
        return Boto3()
    if request.param == "curl":
        return Curl(stage.env)
    return Cli(str(Path(sys.executable).parent / "aws"), stage.env, tmp_path)


@pytest.mark.parametrize("journey", JOURNEY.values(), ids=JOURNEY)
def test_a_client_does_its_work_and_aws_sees_only_the_role(
    stage: Stage, client: Client, journey: Callable[[Client], None]
) -> None:
    journey(client)

    stage.check()
