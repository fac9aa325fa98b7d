"""Changes the embedded AWS while its checks are on: users and roles of a test's own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config

from awsgate.demo.embedded_aws import POWER_ROLE, EmbeddedAws


@dataclass
class Admin:
    """Who may change the embedded AWS while its checks are on."""

    iam: Any

    def user(self, name: str, *actions: str) -> dict[str, str]:
        self.iam.create_user(UserName=name)
        if actions:
            self.allow(name, *actions)
        key = self.iam.create_access_key(UserName=name)["AccessKey"]
        return {
            "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
        }

    def allow(self, name: str, *actions: str) -> None:
        statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
        self.iam.put_user_policy(
            UserName=name,
            PolicyName="may",
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
        )

    def role(self, arn: str, *trusted: str, external_id: str = "") -> None:
        statement: dict[str, Any] = {
            "Effect": "Allow",
            "Principal": {"AWS": list(trusted)},
            "Action": "sts:AssumeRole",
        }
        if external_id:
            statement["Condition"] = {"StringEquals": {"sts:ExternalId": external_id}}
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        path, _, name = arn.partition(":role")[2].rpartition("/")
        self.iam.create_role(RoleName=name, Path=f"{path}/", AssumeRolePolicyDocument=document)


def administrator(aws: EmbeddedAws) -> Admin:
    """Give somebody who may change everything: the role that may, assumed."""
    keys = {
        "aws_access_key_id": aws.gateway_keys["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": aws.gateway_keys["AWS_SECRET_ACCESS_KEY"],
    }
    plain: Any = {"endpoint_url": aws.url, "region_name": "us-east-1", "config": Config(proxies={})}
    given = boto3.client("sts", **keys, **plain).assume_role(
        RoleArn=POWER_ROLE, RoleSessionName="admin"
    )["Credentials"]
    return Admin(
        boto3.client(
            "iam",
            aws_access_key_id=given["AccessKeyId"],
            aws_secret_access_key=given["SecretAccessKey"],
            aws_session_token=given["SessionToken"],
            **plain,
        )
    )
