"""awsgate console --print in every partition: each part of the URL, as the command gives it.

The sign-in endpoint is that of ``signin_server``, which asks the STS of the partition who the
keys are before it gives a token. moto has users and roles of each partition apart, as AWS has.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import boto3
import pytest
from botocore.config import Config

from awsgate.cli.console import ISSUER
from awsgate.demo.embedded_aws import ACCOUNT, EmbeddedAws
from awsgate.demo.processes import clean_env
from e2e.signin_server import SigninServer, signin_server

POLICY = """\
kind: role
version: v5
metadata: {{name: r}}
spec: {{allow: {{app_labels: {{'*': '*'}}, aws_role_arns: ['{role}']}}}}
---
kind: app
version: v3
metadata: {{name: console, labels: {{aws_account_id: '{account}'}}}}
spec: {{uri: '{uri}'}}
---
kind: user
version: v2
metadata: {{name: alice}}
spec: {{roles: [r]}}
---
kind: gateway
version: v1
spec:
  sts: {{endpoint_url: '{sts}'}}
  upstreams: [{{hosts: ['{host}'], url: '{signin}'}}]
"""

# partition -> uri of the app, options, sign-in host, destination
PARTITIONS = {
    "aws": (
        "https://console.aws.amazon.com",
        ("--service", "s3", "--region", "eu-west-1"),
        "eu-west-1.signin.aws.amazon.com",
        "https://eu-west-1.console.aws.amazon.com/s3/home?region=eu-west-1",
    ),
    "aws-us-gov": (
        "https://console.amazonaws-us-gov.com",
        ("--service", "ec2"),
        "us-gov-west-1.signin.amazonaws-us-gov.com",
        "https://console.amazonaws-us-gov.com/ec2/home",
    ),
    "aws-cn": (
        "https://cn-northwest-1.console.amazonaws.cn/",
        ("--service", "s3"),
        "cn-northwest-1.signin.amazonaws.cn",
        "https://cn-northwest-1.console.amazonaws.cn/s3/home?region=cn-northwest-1",
    ),
    "aws-eusc": (
        "https://console.amazonaws-eusc.eu",
        ("--region", "eusc-de-east-1", "--service", "lambda"),
        "eusc-de-east-1.signin.amazonaws-eusc.eu",
        "https://eusc-de-east-1.console.amazonaws-eusc.eu/lambda/home?region=eusc-de-east-1",
    ),
}


REGIONS = {
    "aws": "us-east-1",
    "aws-us-gov": "us-gov-west-1",
    "aws-cn": "cn-north-1",
    "aws-eusc": "eusc-de-east-1",
}
NAME = "ConsoleOfPartition"


@pytest.fixture(scope="module")
def keys(aws: EmbeddedAws) -> dict[str, dict[str, str]]:
    """A gateway's keys in each partition, and a role that they may assume."""
    found = {}
    with aws.unchecked():
        for partition, region in REGIONS.items():
            iam = boto3.client(
                "iam",
                endpoint_url=aws.url,
                region_name=region,
                aws_access_key_id="AKIAIOSFODNN7EXAMPLE",
                aws_secret_access_key="not-checked",
                config=Config(proxies={}),
            )
            may = [{"Effect": "Allow", "Action": "sts:*", "Resource": "*"}]
            document = json.dumps({"Version": "2012-10-17", "Statement": may})
            iam.create_user(UserName=NAME)
            iam.put_user_policy(UserName=NAME, PolicyName="may", PolicyDocument=document)
            who = {"AWS": f"arn:{partition}:iam::{ACCOUNT}:user/{NAME}"}
            trust = [{"Effect": "Allow", "Principal": who, "Action": "sts:AssumeRole"}]
            iam.create_role(
                RoleName=NAME,
                AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": trust}),
            )
            key = iam.create_access_key(UserName=NAME)["AccessKey"]
            found[partition] = {
                "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
                "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
            }
    return found


@pytest.fixture(scope="module")
def signin(aws: EmbeddedAws) -> Iterator[SigninServer]:
    with signin_server(aws.url) as running:
        yield running


def console(
    home: Path,
    aws: EmbeddedAws,
    partition: str,
    signin: SigninServer,
    keys: dict[str, str],
    *words: str,
) -> subprocess.CompletedProcess[str]:
    uri, _, host, _ = PARTITIONS[partition]
    role = role_of(partition)
    text = POLICY.format(
        role=role, account=ACCOUNT, uri=uri, sts=aws.url, host=host, signin=signin.url
    )
    (home / "policy.yaml").write_text(text, "utf-8")
    places = {
        "AWSGATE_POLICY": str(home / "policy.yaml"),
        "AWSGATE_STATE": str(home / "state"),
        "AWSGATE_CERTS": str(home / "certs"),
    }
    return subprocess.run(
        [sys.executable, "-m", "awsgate", "console", "--user", "alice", "--role", role, *words],
        env={**clean_env(os.environ), **keys, **places},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def role_of(partition: str) -> str:
    return f"arn:{partition}:iam::{ACCOUNT}:role/{NAME}"


@pytest.mark.parametrize("partition", PARTITIONS)
def test_each_part_of_the_printed_url(
    partition: str,
    tmp_path: Path,
    aws: EmbeddedAws,
    signin: SigninServer,
    keys: dict[str, dict[str, str]],
) -> None:
    _, words, host, page = PARTITIONS[partition]
    known = set(signin.sessions)

    result = console(tmp_path, aws, partition, signin, keys[partition], "--print", *words)

    assert result.returncode == 0, result.stderr
    (line,) = result.stdout.splitlines()  # the URL and nothing else
    url = urlsplit(line)
    (token,) = set(signin.sessions) - known
    assert url.scheme == "https"
    assert url.netloc == host
    assert url.path == "/federation"
    assert url.fragment == ""
    fields = parse_qsl(url.query, keep_blank_values=True, strict_parsing=True)
    assert len(fields) == 4  # none of them twice
    given = dict(fields)
    assert given["Action"] == "login"
    assert given["Issuer"] == ISSUER
    assert given["Destination"] == page
    assert given["SigninToken"] == token
    arn = f"arn:{partition}:sts::{ACCOUNT}:assumed-role/{NAME}/alice"
    assert signin.sessions[token].arn == arn
    assert signin.targets[-1] == "/federation"  # the keys were in no URL
