# ruff: noqa: E501 - one call a row
"""Who may only read: reads of many services arrive, and no write does, in any protocol.

Real boto3 clients through a real gateway, in front of an AWS that checks signatures and
IAM. The policy is one line, ``aws_access_levels: [Read, List]``; the role behind it may do
everything, so that whatever is refused is refused by the gateway.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.loaders import Loader

import rawclient
from aws_server.server import StrictAws
from awsgate.demo.embedded_aws import ACCOUNT, BUCKET, POWER_ROLE, EmbeddedAws
from awsgate.demo.processes import GatewayProcess
from e2e.forms import gateway_before
from e2e.test_request_forms import multipart

POLICY = f"""\
kind: role
version: v5
metadata: {{name: reader}}
spec:
  allow:
    app_labels: {{'*': '*'}}
    aws_role_arns: ['{POWER_ROLE}']
    aws_access_levels: [Read, List]
---
kind: app
version: v3
metadata: {{name: awsconsole-test, labels: {{aws_account_id: '{ACCOUNT}'}}}}
spec: {{uri: https://console.aws.amazon.com/}}
---
kind: user
version: v2
metadata: {{name: rea}}
spec: {{roles: [reader]}}
"""
type Ask = tuple[str, dict[str, Any]]

ROLE = f"arn:aws:iam::{ACCOUNT}:role/x"
HERE = f"us-east-1:{ACCOUNT}"
QUEUE = f"https://sqs.us-east-1.amazonaws.com/{ACCOUNT}/work"

# service -> a read, its IAM action, level and resource; and writes with their action
SERVICES: dict[str, tuple[Ask, tuple[str, str, str], list[tuple[Ask, str]]]] = {
    "s3": (
        ("get_object", {"Bucket": BUCKET, "Key": "hello.txt"}),
        ("s3:GetObject", "Read", f"arn:aws:s3:::{BUCKET}/hello.txt"),
        [
            (("put_object", {"Bucket": BUCKET, "Key": "k", "Body": b"x"}), "s3:PutObject"),
            (("delete_object", {"Bucket": BUCKET, "Key": "hello.txt"}), "s3:DeleteObject"),
            (("put_bucket_policy", {"Bucket": BUCKET, "Policy": "{}"}), "s3:PutBucketPolicy"),
            (("put_object_tagging", {"Bucket": BUCKET, "Key": "k", "Tagging": {"TagSet": []}}), "s3:PutObjectTagging"),
            (("delete_objects", {"Bucket": BUCKET, "Delete": {"Objects": [{"Key": "k"}]}}), "s3:DeleteObject"),
            (("copy_object", {"Bucket": BUCKET, "Key": "k", "CopySource": f"{BUCKET}/hello.txt"}), "s3:PutObject"),
            (("create_multipart_upload", {"Bucket": BUCKET, "Key": "k"}), "s3:PutObject"),
        ],
    ),
    "dynamodb": (
        ("scan", {"TableName": "notes"}),
        ("dynamodb:Scan", "Read", f"arn:aws:dynamodb:{HERE}:table/notes"),
        [
            (("put_item", {"TableName": "notes", "Item": {"id": {"S": "1"}}}), "dynamodb:PutItem"),
            (("execute_statement", {"Statement": "DELETE FROM notes WHERE id='1'"}), "dynamodb:PartiQLSelect"),
        ],
    ),
    "sqs": (
        ("get_queue_attributes", {"QueueUrl": QUEUE}),
        ("sqs:GetQueueAttributes", "Read", f"arn:aws:sqs:{HERE}:work"),
        [(("send_message", {"QueueUrl": QUEUE, "MessageBody": "x"}), "sqs:SendMessage")],
    ),
    "sns": (
        ("list_topics", {}),
        ("sns:ListTopics", "List", ""),
        [(("create_topic", {"Name": "t"}), "sns:CreateTopic")],
    ),
    "ec2": (
        ("describe_instances", {}),
        ("ec2:DescribeInstances", "List", ""),
        [
            (("terminate_instances", {"InstanceIds": ["i-0123456789abcdef0"]}), "ec2:TerminateInstances"),
            (("create_tags", {"Resources": ["i-1"], "Tags": [{"Key": "a", "Value": "b"}]}), "ec2:CreateTags"),
        ],
    ),
    "lambda": (
        ("get_function", {"FunctionName": "hello"}),
        ("lambda:GetFunction", "Read", f"arn:aws:lambda:{HERE}:function:hello"),
        [
            (("invoke", {"FunctionName": "hello"}), "lambda:InvokeFunction"),
            (("delete_function", {"FunctionName": "hello"}), "lambda:DeleteFunction"),
        ],
    ),
    "iam": (
        ("list_roles", {}),
        ("iam:ListRoles", "List", ""),
        [
            (("create_user", {"UserName": "u"}), "iam:CreateUser"),
            (("attach_role_policy", {"RoleName": "x", "PolicyArn": "arn:aws:iam::aws:policy/Admin"}), "iam:AttachRolePolicy"),
        ],
    ),
    "sts": (
        ("get_caller_identity", {}),
        ("sts:GetCallerIdentity", "Read", ""),
        [(("assume_role", {"RoleArn": ROLE, "RoleSessionName": "s0"}), "sts:AssumeRole")],
    ),
    "cloudwatch": (
        ("list_metrics", {}),
        ("cloudwatch:ListMetrics", "List", ""),
        [(("delete_alarms", {"AlarmNames": ["a"]}), "cloudwatch:DeleteAlarms")],
    ),
    "logs": (
        ("describe_log_groups", {}),
        ("logs:DescribeLogGroups", "List", ""),
        [(("create_log_group", {"logGroupName": "g"}), "logs:CreateLogGroup")],
    ),
    "kms": (
        ("list_keys", {}),
        ("kms:ListKeys", "List", ""),
        [(("create_key", {}), "kms:CreateKey")],
    ),
    "secretsmanager": (
        ("list_secrets", {}),
        ("secretsmanager:ListSecrets", "List", ""),
        [(("create_secret", {"Name": "s", "SecretString": "x"}), "secretsmanager:CreateSecret")],
    ),
    "ssm": (
        ("get_parameters", {"Names": ["/a/b"]}),
        ("ssm:GetParameters", "Read", f"arn:aws:ssm:{HERE}:parameter/a/b"),
        [(("put_parameter", {"Name": "/a/b", "Value": "x", "Type": "String"}), "ssm:PutParameter")],
    ),
    "route53": (
        ("list_hosted_zones", {}),
        ("route53:ListHostedZones", "List", ""),
        [(("create_hosted_zone", {"Name": "a.example", "CallerReference": "r"}), "route53:CreateHostedZone")],
    ),
    "ecs": (
        ("list_clusters", {}),
        ("ecs:ListClusters", "List", ""),
        [(("create_cluster", {"clusterName": "c"}), "ecs:CreateCluster")],
    ),
    "ecr": (
        ("describe_repositories", {}),
        ("ecr:DescribeRepositories", "Read", ""),
        [(("create_repository", {"repositoryName": "team/app"}), "ecr:CreateRepository")],
    ),
    "rds": (
        ("describe_db_instances", {}),
        ("rds:DescribeDBInstances", "List", ""),
        [(("delete_db_instance", {"DBInstanceIdentifier": "d"}), "rds:DeleteDBInstance")],
    ),
    "kinesis": (
        ("list_streams", {}),
        ("kinesis:ListStreams", "List", ""),
        [(("create_stream", {"StreamName": "s", "ShardCount": 1}), "kinesis:CreateStream")],
    ),
    "stepfunctions": (
        ("list_state_machines", {}),
        ("states:ListStateMachines", "List", ""),
        [(("create_activity", {"name": "a"}), "states:CreateActivity")],
    ),
    "events": (
        ("list_rules", {}),
        ("events:ListRules", "List", ""),
        [(("put_rule", {"Name": "r", "ScheduleExpression": "rate(1 day)"}), "events:PutRule")],
    ),
    "cloudformation": (
        ("list_stacks", {}),
        ("cloudformation:ListStacks", "List", ""),
        [(("delete_stack", {"StackName": "s"}), "cloudformation:DeleteStack")],
    ),
    "apigateway": (
        ("get_rest_apis", {}),
        ("apigateway:GET", "Read", ""),
        [(("create_rest_api", {"name": "a"}), "apigateway:POST")],
    ),
    "elbv2": (
        ("describe_load_balancers", {}),
        ("elasticloadbalancing:DescribeLoadBalancers", "List", ""),
        [(("create_target_group", {"Name": "t"}), "elasticloadbalancing:CreateTargetGroup")],
    ),
    "cloudfront": (
        ("list_distributions", {}),
        ("cloudfront:ListDistributions", "List", ""),
        [(("delete_distribution", {"Id": "E1", "IfMatch": "e"}), "cloudfront:DeleteDistribution")],
    ),
    "eks": (
        ("list_clusters", {}),
        ("eks:ListClusters", "List", ""),
        [(("delete_cluster", {"name": "c"}), "eks:DeleteCluster")],
    ),
}  # fmt: skip


# What the SDK calls a refusal where it is not AccessDeniedException or AccessDenied.
DENIALS = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"}


@dataclass
class Stage:
    gateway: GatewayProcess
    env: dict[str, str]
    arrived: Callable[[], int]
    """Gives how many requests AWS saw, but for the gateway's own AssumeRole."""

    def client(self, service: str, protocol: str = "") -> Any:
        session = botocore.session.Session()
        if protocol:
            session.register_component("data_loader", SpeaksOnly(protocol))
        return session.create_client(
            service,
            region_name="us-east-1",
            aws_access_key_id=self.env["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.env["AWS_SECRET_ACCESS_KEY"],
            aws_session_token=self.env["AWS_SESSION_TOKEN"],
            verify=self.env["AWS_CA_BUNDLE"],
            config=Config(proxies={"https": self.gateway.proxy}, retries={"total_max_attempts": 1}),
        )

    def line_of(self, request_id: str) -> dict[str, Any]:
        """Give the audit line of a refused request."""
        lines = [line for line in self.gateway.audit() if line["id"] == request_id]
        assert len(lines) == 1
        return lines[0]


class SpeaksOnly(Loader):
    """Models of services that speak one protocol, for an SDK that prefers it."""

    def __init__(self, protocol: str) -> None:
        super().__init__()
        self._protocol = protocol

    def load_service_model(self, *args: Any, **kwargs: Any) -> Any:
        model = super().load_service_model(*args, **kwargs)
        if "metadata" not in model:
            return model
        told = {"protocol": self._protocol, "protocols": [self._protocol]}
        return {**model, "metadata": {**model["metadata"], **told}}


@contextmanager
def staged(
    folder: Path, aws: StrictAws | EmbeddedAws, seen: Callable[[], Sequence[str]]
) -> Iterator[Stage]:
    """Start a gateway with that policy; ``seen`` gives the access key id of each request."""
    own = aws.gateway_keys["AWS_ACCESS_KEY_ID"]
    with gateway_before(aws, folder, POLICY) as gateway:
        env = gateway.env(user="rea", app="awsconsole-test", role=POWER_ROLE)
        yield Stage(gateway, env, lambda: sum(key_id != own for key_id in seen()))


@pytest.fixture(scope="module")
def stage(aws: EmbeddedAws, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """In front of moto, which knows these services, with IAM on."""

    def seen() -> list[str]:
        return [request["access_key_id"] for request in aws.requests()]

    with staged(tmp_path_factory.mktemp("reader"), aws, seen) as made:
        yield made


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """In front of the strict AWS, which answers in any protocol."""
    with StrictAws() as aws:

        def seen() -> list[str]:
            return [request.access_key_id for request in aws.requests]

        with staged(tmp_path_factory.mktemp("strict"), aws, seen) as made:
            yield made
        assert aws.faults() == []


def test_twenty_services_are_tried() -> None:
    assert len(SERVICES) >= 20


@pytest.mark.parametrize("service", SERVICES)
def test_reads_pass_and_writes_are_refused(stage: Stage, service: str) -> None:
    (read, arguments), (action, level, resource), writes = SERVICES[service]
    client, before = stage.client(service), stage.arrived()
    lines = len(stage.gateway.audit())

    getattr(client, read)(**arguments)

    assert stage.arrived() == before + 1
    line = stage.gateway.audit(at_least=lines + 1)[lines]
    assert line["action"] == action
    assert line["access_level"] == level
    assert line["resource"] == resource
    assert (line["decision"], line["rule"], line["status"]) == ("allowed", "role/reader", 200)
    for ask, denied in writes:
        refuse(stage, client, ask, denied)


def refuse(stage: Stage, client: Any, ask: Ask, action: str) -> None:
    """Send a write: it is refused in the service's own shape, and arrives nowhere."""
    before = stage.arrived()

    with pytest.raises(ClientError) as refused:
        getattr(client, ask[0])(**ask[1])

    answer = refused.value.response
    assert answer["Error"]["Code"] in DENIALS
    assert "awsgate denied: rea may not do this" in answer["Error"]["Message"]
    assert "aws_access_levels of role/reader" in answer["Error"]["Message"]
    assert action in answer["Error"]["Message"]
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert answer["ResponseMetadata"]["HTTPHeaders"]["x-awsgate-code"] == "denied"
    line = stage.line_of(answer["ResponseMetadata"]["RequestId"] or id_of(answer))
    assert line["action"].split(" ")[0] == action
    assert line["access_level"] not in ("Read", "List", "")
    assert (line["decision"], line["code"], line["rule"]) == ("refused", "denied", "role/reader")
    assert stage.arrived() == before


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("/", "denied"),
        ("/hello.txt?select&select-type=2", "unsupported"),
        ("/hello.txt", "unsupported"),
        ("/?location", "unsupported"),
    ],
)
def test_a_form_is_the_write_that_it_is_whatever_its_url_says(
    strict: Stage, target: str, code: str
) -> None:
    form = strict.client("s3").generate_presigned_post(BUCKET, "written-by-a-reader")
    body, content_type = multipart(form["fields"], b"data")
    host = form["url"].partition("//")[2].partition("/")[0]
    length = str(len(body)).encode()
    fields = [(b"Host", host.encode()), (b"Content-Type", content_type.encode())]
    before = strict.arrived()

    asked = rawclient.head("POST", target, [*fields, (b"Content-Length", length)])
    answer = rawclient.ask(strict.gateway, host, asked + body)

    assert (answer.code, strict.arrived()) == (code, before)
    line = strict.gateway.audit()[-1]
    assert (line["decision"], line["action"], line["access_level"]) == ("refused", "", "")


def id_of(answer: dict[str, Any]) -> str:
    """Give the id of a refusal whose SDK looks for it elsewhere."""
    return str(answer["ResponseMetadata"]["HTTPHeaders"]["x-awsgate-request-id"])


# Protocols that boto3 does not choose for these services, and other SDKs do.
PROTOCOLS = {
    ("cloudwatch", "smithy-rpc-v2-cbor"): (("list_metrics", {}), ("delete_alarms", {"AlarmNames": ["a"]}), "cloudwatch:DeleteAlarms"),
    ("codebuild", "smithy-rpc-v2-cbor"): (("list_projects", {}), ("delete_project", {"name": "p"}), "codebuild:DeleteProject"),
    ("cloudwatch", "query"): (("list_metrics", {}), ("delete_alarms", {"AlarmNames": ["a"]}), "cloudwatch:DeleteAlarms"),
    ("sqs", "query"): (("list_queues", {}), ("purge_queue", {"QueueUrl": QUEUE}), "sqs:PurgeQueue"),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "asks"), PROTOCOLS.items(), ids=["-".join(k) for k in PROTOCOLS])
def test_a_service_in_another_protocol(
    strict: Stage, kind: tuple[str, str], asks: tuple[Ask, Ask, str]
) -> None:
    client, before = strict.client(*kind), strict.arrived()
    assert client.meta.service_model.resolved_protocol == kind[1]
    read, write, action = asks

    getattr(client, read[0])(**read[1])

    assert strict.arrived() == before + 1
    refuse(strict, client, write, action)
