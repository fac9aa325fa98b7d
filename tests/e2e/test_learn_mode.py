"""Learn mode, from beginning to end: a session under a wide role, its policy, the session again.

Thirty calls to nine services by boto3 through a real gateway, an AWS with IAM checks on
behind it. The policy is what ``awsgate audit policy`` printed, put into the policy file as
it stands.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from moto.iam.exceptions import MalformedPolicyDocument
from moto.iam.policy_validation import IAMPolicyDocumentValidator

from awsgate.demo.embedded_aws import ACCOUNT, BUCKET, POWER_ROLE, EmbeddedAws
from awsgate.demo.processes import GatewayProcess, clean_env

BASE = f"""\
kind: app
version: v3
metadata: {{name: shop, labels: {{aws_account_id: '{ACCOUNT}', env: test}}}}
spec: {{uri: https://console.aws.amazon.com/}}
---
kind: user
version: v2
metadata: {{name: alice}}
spec: {{roles: [%s]}}
---
"""
# ``aws_resources: ['*']`` allows all and has the gateway read what the resources are.
WIDE = f"""\
kind: role
version: v7
metadata: {{name: wide}}
spec:
  allow:
    app_labels: {{env: test}}
    aws_role_arns: ['{POWER_ROLE}']
    aws_resources: ['*']
"""
NARROW = f"""\
kind: role
version: v7
metadata: {{name: narrow}}
spec:
  allow:
    app_labels: {{env: test}}
    aws_role_arns: ['{POWER_ROLE}']
    aws_actions: ['s3:Get*', 'ec2:*']
---
kind: gateway
version: v1
spec: {{mode: report}}
"""

FURTHER_ROLE = f"arn:aws:iam::{ACCOUNT}:role/Further"

Client = Callable[[str], Any]


def session(client: Client) -> int:
    """Thirty calls over nine services. Gives how many there were."""
    s3, ddb, sqs, sns = client("s3"), client("dynamodb"), client("sqs"), client("sns")
    ssm, secrets, logs = client("ssm"), client("secretsmanager"), client("logs")
    queue = "https://sqs.us-east-1.amazonaws.com/123456789012/work"
    topic = "arn:aws:sns:us-east-1:123456789012:news"
    item = {"id": {"S": "1"}}
    calls: list[Callable[[], Any]] = [
        s3.list_buckets,
        lambda: s3.list_objects_v2(Bucket=BUCKET),
        lambda: s3.get_object(Bucket=BUCKET, Key="hello.txt"),
        lambda: s3.head_object(Bucket=BUCKET, Key="hello.txt"),
        lambda: s3.put_object(Bucket=BUCKET, Key="out/a b+c.txt", Body=b"1"),
        lambda: s3.put_object(Bucket=BUCKET, Key="out/2.txt", Body=b"2", Tagging="k=v"),
        lambda: s3.get_bucket_location(Bucket=BUCKET),
        ddb.list_tables,
        lambda: ddb.describe_table(TableName="notes"),
        lambda: ddb.put_item(TableName="notes", Item=item),
        lambda: ddb.get_item(TableName="notes", Key=item),
        lambda: ddb.query(
            TableName="notes",
            KeyConditionExpression="id = :i",
            ExpressionAttributeValues={":i": {"S": "1"}},
        ),
        lambda: ddb.delete_item(TableName="notes", Key=item),
        sqs.list_queues,
        lambda: sqs.send_message(QueueUrl=queue, MessageBody="hello"),
        lambda: sqs.receive_message(QueueUrl=queue),
        lambda: sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"]),
        lambda: sns.create_topic(Name="news"),
        lambda: sns.publish(TopicArn=topic, Message="hello"),
        sns.list_topics,
        lambda: ssm.put_parameter(Name="colour", Value="red", Type="String", Overwrite=True),
        lambda: ssm.get_parameter(Name="colour"),
        ssm.describe_parameters,
        secrets.list_secrets,
        logs.describe_log_groups,
        lambda: client("ec2").describe_instances(),
        lambda: client("ec2").describe_vpcs(),
        lambda: client("lambda").list_functions(),
        lambda: client("lambda").get_function(FunctionName="hello"),
        lambda: client("sts").get_caller_identity(),
    ]
    for call in calls:
        call()
    return len(calls)


@dataclass
class Bench:
    folder: Path
    aws: EmbeddedAws

    @property
    def policy(self) -> Path:
        return self.folder / "policy.yaml"

    def gateway(self, documents: str, roles: str) -> GatewayProcess:
        self.policy.write_text(BASE % roles + documents, "utf-8")
        return GatewayProcess(
            self.folder, policy=self.policy, keys=self.aws.gateway_keys, upstream=self.aws.url
        )

    def client_of(self, gateway: GatewayProcess, keys: dict[str, Any] | None = None) -> Client:
        """Give clients that are alice, or have ``keys`` that she was given."""
        env = gateway.env(user="alice", app="shop", role=POWER_ROLE)
        keys = keys or {
            "AccessKeyId": env["AWS_ACCESS_KEY_ID"],
            "SecretAccessKey": env["AWS_SECRET_ACCESS_KEY"],
            "SessionToken": env["AWS_SESSION_TOKEN"],
        }

        def client(service: str) -> Any:
            return boto3.client(
                service,  # type: ignore[call-overload]
                region_name="us-east-1",
                aws_access_key_id=keys["AccessKeyId"],
                aws_secret_access_key=keys["SecretAccessKey"],
                aws_session_token=keys["SessionToken"],
                verify=env["AWS_CA_BUNDLE"],
                config=Config(proxies={"https": gateway.proxy}, retries={"total_max_attempts": 1}),
            )

        return client

    def learned(self, *options: str) -> tuple[str, str]:
        """Give what ``awsgate audit policy`` prints, and what it says on stderr."""
        done = subprocess.run(
            [
                sys.executable, "-m", "awsgate", "audit", "policy", "--user", "alice", *options,
                "--policy", str(self.policy), "--state", str(self.folder / "state"),
            ],
            capture_output=True, text=True, check=False, env=clean_env(self.folder / "home"),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout, done.stderr


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A session has been recorded, under a role that may do everything."""
    folder = tmp_path_factory.mktemp("learn")
    aws = EmbeddedAws(folder)
    try:
        found = Bench(folder, aws)
        gateway = found.gateway(WIDE, "wide")
        try:
            count = session(found.client_of(gateway))
            lines = gateway.audit(at_least=count)
        finally:
            gateway.stop()
        assert (count, len(lines)) == (30, 30)
        assert len({line["service"] for line in lines}) >= 8
        yield found
    finally:
        aws.stop()


def roles_in(text: str) -> str:
    """Give the names that the second line says belong into the user's document."""
    head = text.splitlines()[1]
    assert head.startswith("# In the user's document: roles: [")
    return head.partition("[")[2].rstrip("]")


def make_further_role(iam: Any) -> None:
    """Make a role that anybody of the account may assume."""
    trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    allow = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    documents = [json.dumps({"Version": "2012-10-17", "Statement": [s]}) for s in (trust, allow)]
    iam.create_role(RoleName="Further", AssumeRolePolicyDocument=documents[0])
    iam.put_role_policy(RoleName="Further", PolicyName="may", PolicyDocument=documents[1])


def refused(call: Callable[[], Any]) -> str:
    with pytest.raises(ClientError) as caught:
        call()
    return str(caught.value)


def test_the_session_passes_under_its_own_policy_and_a_call_outside_it_does_not(
    bench: Bench,
) -> None:
    text, _ = bench.learned()
    gateway = bench.gateway(text, roles_in(text))
    try:
        client = bench.client_of(gateway)
        assert session(client) == 30

        ddb, s3 = client("dynamodb"), client("s3")
        other_action = refused(lambda: ddb.update_item(TableName="notes", Key={"id": {"S": "1"}}))
        other_table = refused(lambda: ddb.get_item(TableName="other", Key={"id": {"S": "1"}}))
        other_key = refused(lambda: s3.get_object(Bucket=BUCKET, Key="out/2.txt"))
        other_service = refused(lambda: client("iam").list_users())
        written_elsewhere = refused(lambda: s3.put_object(Bucket=BUCKET, Key="x", Body=b"1"))
        lines = gateway.audit(at_least=65)[-5:]
    finally:
        gateway.stop()

    for said in (other_action, other_table, other_service):
        assert "awsgate denied: alice may not do this: no rule allows this call" in said
    assert "aws_resources" in other_table
    assert "AccessDenied" in other_key
    assert "AccessDenied" in written_elsewhere
    assert {line["decision"] for line in lines} == {"refused"}


def test_what_was_not_granted_in_report_mode_is_learned_too(bench: Bench, tmp_path: Path) -> None:
    other = Bench(tmp_path, bench.aws)
    gateway = other.gateway(NARROW, "narrow")
    try:
        client = other.client_of(gateway)
        client("s3").get_object(Bucket=BUCKET, Key="hello.txt")
        client("dynamodb").get_item(TableName="notes", Key={"id": {"S": "1"}})
        gateway.audit(at_least=2)
    finally:
        gateway.stop()

    text, _ = other.learned()
    difference, _ = other.learned("--diff")

    assert "dynamodb:GetItem" in text
    assert re.sub(r"of \d+ actions", "of N actions", difference) == (
        "used, and not granted now:\n"
        "  dynamodb:GetItem arn:aws:dynamodb:us-east-1:123456789012:table/notes us-east-1: "
        "1 times; no rule allows this call: aws_actions of role/narrow\n"
        "granted, and not used:\n"
        "  role/narrow aws_actions s3:Get*: 1 of N actions used\n"
        "  role/narrow aws_actions ec2:*: never used\n"
    )


def test_work_as_a_role_that_the_client_assumed_is_learned_for_the_role_it_came_from(
    bench: Bench, tmp_path: Path
) -> None:
    other = Bench(tmp_path, bench.aws)

    def work(gateway: GatewayProcess) -> None:
        client = other.client_of(gateway)
        keys = client("sts").assume_role(RoleArn=FURTHER_ROLE, RoleSessionName="work")
        further = other.client_of(gateway, keys["Credentials"])
        further("s3").get_object(Bucket=BUCKET, Key="hello.txt")

    gateway = other.gateway(WIDE, "wide")
    try:
        make_further_role(other.client_of(gateway)("iam"))
        work(gateway)
        (line,) = [x for x in gateway.audit(at_least=4) if x["action"] == "s3:GetObject"]
    finally:
        gateway.stop()
    assert (line["role_arn"], line["granted_role_arn"]) == (FURTHER_ROLE, POWER_ROLE)

    text, _ = other.learned()
    gateway = other.gateway(text, roles_in(text))
    try:
        work(gateway)
    finally:
        gateway.stop()


def test_the_iam_policy_is_one_that_iam_takes(bench: Bench) -> None:
    text, _ = bench.learned("--format", "iam")
    document = json.loads(text)

    IAMPolicyDocumentValidator(text).validate()  # moto's: raises what IAM would say
    assert document["Version"] == "2012-10-17"
    assert all(s["Effect"] == "Allow" for s in document["Statement"])
    assert not [s for s in document["Statement"] if any("*" in a for a in s["Action"])]
    with pytest.raises(MalformedPolicyDocument):
        IAMPolicyDocumentValidator(text.replace("2012-10-17", "2012-10-18")).validate()


@pytest.mark.skipif(shutil.which("terraform") is None, reason="terraform is not installed")
def test_terraform_reads_its_policy_and_would_write_it_no_other_way(
    bench: Bench, tmp_path: Path
) -> None:
    text, _ = bench.learned("--format", "terraform")
    document, _ = bench.learned("--format", "iam")
    (tmp_path / "learned.tf").write_text(text, "utf-8")

    done = subprocess.run(
        ["terraform", "fmt", "-check", "-diff", tmp_path],
        capture_output=True, text=True, check=False, env=clean_env(tmp_path),
    )  # fmt: skip

    assert (done.returncode, done.stdout) == (0, "")
    assert text.count("  statement {") == len(json.loads(document)["Statement"])
