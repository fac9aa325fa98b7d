"""An AWS of one's own: started, and filled with what the demo and the tests need.

One account (moto's), a gateway user who may do nothing but assume roles, a role that
may read, a role that may do everything, and a few things to read.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from awsgate.demo.processes import Running, free_port, start

ACCOUNT = "123456789012"
REGION = "us-east-1"
READ_ONLY_ROLE = f"arn:aws:iam::{ACCOUNT}:role/ExampleReadOnlyAccess"
POWER_ROLE = f"arn:aws:iam::{ACCOUNT}:role/ExamplePowerAccess"
BUCKET = "awsgate-demo"
FUNCTION = "hello"

_NO_CHECKS = "1000000000"


class EmbeddedAws:
    """A running moto server with IAM checks on.

    ``roles``: more roles of its account, which may do everything.
    """

    def __init__(self, folder: Path, roles: Iterable[str] = ()) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.record = folder / "aws-requests.jsonl"
        self.record.touch()
        self._process: Running = start(
            [sys.executable, "-m", "awsgate.demo.moto_server", str(self.port), str(self.record)],
            log=folder / "moto.log",
            env={**os.environ, "INITIAL_NO_AUTH_ACTION_COUNT": _NO_CHECKS},
            port=self.port,
        )
        self.gateway_keys: dict[str, str] = {}
        """Environment for the gateway: credentials that may assume roles."""
        self._fill()
        for arn in sorted({*roles} - {READ_ONLY_ROLE, POWER_ROLE}):
            _role(self._client("iam"), arn, ["*"])
        self.seen_before = len(self.requests())
        self._post("/moto-api/reset-auth", b"0")

    def stop(self) -> None:
        """End the server."""
        self._process.stop()

    def requests(self) -> list[dict[str, Any]]:
        """Give all requests so far, as AWS saw them."""
        return [json.loads(line) for line in self.record.read_text("utf-8").splitlines()]

    @contextmanager
    def unchecked(self) -> Iterator[None]:
        """Let anybody do anything, to put more into it."""
        self._post("/moto-api/reset-auth", _NO_CHECKS.encode())
        try:
            yield
        finally:
            self._post("/moto-api/reset-auth", b"0")

    def _post(self, path: str, body: bytes) -> None:
        request = urllib.request.Request(  # noqa: S310 - our own server
            self.url + path, data=body, headers={"Content-Type": "text/plain"}
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request) as response:
            response.read()

    def _client(self, service: str) -> Any:
        return boto3.client(
            service,  # type: ignore[call-overload]
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id="AKIAIOSFODNN7EXAMPLE",
            aws_secret_access_key="not-checked-yet",  # noqa: S106 - checks are off here
            config=Config(proxies={}),
        )

    def _fill(self) -> None:
        # Functions answer from memory: no Docker here.
        self._post("/moto-api/config", b'{"lambda": {"use_docker": false}}')
        iam = self._client("iam")
        iam.create_user(UserName="awsgate")
        iam.put_user_policy(
            UserName="awsgate",
            PolicyName="assume",
            PolicyDocument=_policy("sts:AssumeRole", f"arn:aws:iam::{ACCOUNT}:role/*"),
        )
        key = iam.create_access_key(UserName="awsgate")["AccessKey"]
        self.gateway_keys = {
            "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
        }
        _role(
            iam, READ_ONLY_ROLE, ["s3:Get*", "s3:List*", "sts:GetCallerIdentity", "ec2:Describe*"]
        )
        _role(iam, POWER_ROLE, ["*"])
        s3 = self._client("s3")
        s3.create_bucket(Bucket=BUCKET)
        s3.put_object(Bucket=BUCKET, Key="hello.txt", Body=b"hello from the embedded AWS\n")
        self._client("dynamodb").create_table(
            TableName="notes",
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        self._client("sqs").create_queue(QueueName="work")
        self._client("lambda").create_function(
            FunctionName=FUNCTION,
            Runtime="python3.12",
            Role=POWER_ROLE,
            Handler="main.handler",
            Code={"ZipFile": b"not run"},
        )


def _role(iam: Any, arn: str, actions: list[str]) -> None:
    path, _, name = arn.partition(":role")[2].rpartition("/")
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:user/awsgate"},
                "Action": "sts:AssumeRole",
            }
        ],
    }
    iam.create_role(RoleName=name, Path=f"{path}/", AssumeRolePolicyDocument=json.dumps(trust))
    iam.put_role_policy(RoleName=name, PolicyName="may", PolicyDocument=_policy(actions, "*"))


def _policy(actions: str | list[str], resource: str) -> str:
    statement = {"Effect": "Allow", "Action": actions, "Resource": resource}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})
