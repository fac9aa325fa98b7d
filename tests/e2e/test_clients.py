"""Real clients through the gateway to an AWS that verifies: boto3, AWS CLI v1, curl.

The AWS CLI v2 and the Go SDK are in tests/clients (scripts/clients).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from awsgate.demo.embedded_aws import BUCKET, EmbeddedAws
from awsgate.demo.processes import GatewayProcess
from curlclient import Curl
from journey import (
    FUNCTION_ARN,
    JOURNEY,
    QUEUE_URL,
    Cli,
    Client,
    Stage,
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
