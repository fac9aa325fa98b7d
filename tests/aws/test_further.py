"""Calls that AWS authorises under a second action: a deny of either holds, an allow needs both."""

from __future__ import annotations

import json
from typing import Any

import pytest

from asking import ACCOUNT, call
from awsgate.aws.call import Call, call_of, head_of
from awsgate.aws.endpoint import resolve_endpoint
from awsgate.aws.further import BY_HEADER, BY_MEMBER
from awsgate.aws.operations import level_of
from serialised import LOADER

JSON = {b"content-type": [b"application/x-amz-json-1.1"]}
REST = {b"content-type": [b"application/json"]}
FORM = {b"content-type": [b"application/x-www-form-urlencoded"]}


def asked(service: str, target: str, body: bytes | None, path: bytes = b"/") -> tuple[Call, bool]:
    """Give the call, and whether its body is waited for."""
    headers = dict(REST if path != b"/" else JSON if target else FORM)
    if path == b"/" and target:
        headers[b"x-amz-target"] = [target.encode()]
    endpoint = resolve_endpoint(f"{service}.us-east-1.amazonaws.com")
    if service == "s3vectors":
        endpoint = resolve_endpoint("s3vectors.us-east-1.api.aws")
    assert endpoint is not None
    about: dict[str, Any] = {
        "signing_name": service, "method": "POST", "target": path, "headers": headers,
        "account": ACCOUNT,
    }  # fmt: skip
    _, waits = head_of(endpoint, resources=False, **about)
    return call_of(endpoint, body=body, **about), waits


LOG = {"logGroupName": "g", "logStreamName": "s"}
EXECUTE = {"Database": "d", "Sql": "select 1"}
BODIES: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "a log": ("logs", "Logs_20140328.GetLogEvents", LOG, ""),
    "a log, unmasked": (
        "logs", "Logs_20140328.GetLogEvents", {**LOG, "unmask": True}, "logs:Unmask"),
    "a log, unmasked in other letters": (
        "logs", "Logs_20140328.FilterLogEvents", {"UnMask": True}, "logs:Unmask"),
    "a log, said to stay masked": (
        "logs", "Logs_20140328.FilterLogEvents", {**LOG, "unmask": False}, ""),
    "secrets": (
        "secretsmanager", "secretsmanager.BatchGetSecretValue", {"SecretIdList": ["a"]},
        "secretsmanager:GetSecretValue"),
    "secrets by a filter": (
        "secretsmanager", "secretsmanager.BatchGetSecretValue", {"Filters": [{}]},
        "secretsmanager:GetSecretValue secretsmanager:ListSecrets"),
    "a statement of a database user": (
        "redshift-data", "RedshiftData.ExecuteStatement",
        {**EXECUTE, "ClusterIdentifier": "c", "DbUser": "u"}, "redshift:GetClusterCredentials"),
    "a statement by IAM": (
        "redshift-data", "RedshiftData.ExecuteStatement", {**EXECUTE, "ClusterIdentifier": "c"},
        "redshift:GetClusterCredentialsWithIAM"),
    "a statement by a secret": (
        "redshift-data", "RedshiftData.ExecuteStatement",
        {**EXECUTE, "ClusterIdentifier": "c", "SecretArn": "a"}, "secretsmanager:GetSecretValue"),
    "a statement in a workgroup": (
        "redshift-data", "RedshiftData.BatchExecuteStatement", {"WorkgroupName": "w"},
        "redshift-serverless:GetCredentials"),
}  # fmt: skip


@pytest.mark.parametrize(("service", "target", "body", "more"), BODIES.values(), ids=BODIES)
def test_what_the_body_asks_for_needs_a_second_action(
    service: str, target: str, body: dict[str, Any], more: str
) -> None:
    found, waits = asked(service, target, json.dumps(body).encode())

    assert found.actions[1:] == tuple(more.split())
    assert waits


@pytest.mark.parametrize("body", [None, b"{", b'{"unmask": false, "Unmask": true}', b"[1]"])
def test_a_body_that_cannot_be_read_in_one_way_may_ask_for_all(body: bytes | None) -> None:
    found, _ = asked("logs", "Logs_20140328.GetLogEvents", body)

    assert found.actions == ("logs:GetLogEvents", "logs:Unmask")


ROLE = b"Action=AssumeRole&Version=2011-06-15&RoleArn=r&RoleSessionName=s"


@pytest.mark.parametrize(
    ("more", "actions"),
    [
        (b"", ""),
        (b"&Tags.member.1.Key=a&Tags.member.1.Value=b", "sts:TagSession"),
        (b"&%54ags.member.1.Key=a", "sts:TagSession"),
        (b"&TransitiveTagKeys.member.1=a", "sts:TagSession"),
        (b"&SourceIdentity=me", "sts:SetSourceIdentity"),
    ],
)
def test_tags_and_source_identity_of_a_session_are_actions(more: bytes, actions: str) -> None:
    found, _ = asked("sts", "", ROLE + more)

    assert found.actions == ("sts:AssumeRole", *actions.split())


@pytest.mark.parametrize(
    ("path", "body", "actions"),
    [
        (b"/QueryVectors", {}, "s3vectors:QueryVectors"),
        (b"/QueryVectors", {"filter": {"a": 1}}, "s3vectors:QueryVectors s3vectors:GetVectors"),
        (b"/ListVectors", {"returnData": True}, "s3vectors:ListVectors s3vectors:GetVectors"),
        (
            b"/ListVectors",
            {"returnData": True, "returnMetadata": True},
            "s3vectors:ListVectors s3vectors:GetVectors",
        ),
    ],
)
def test_vectors_that_come_beside_their_keys(
    path: bytes, body: dict[str, Any], actions: str
) -> None:
    found, waits = asked("s3vectors", "", json.dumps(body).encode(), path)

    assert found.actions == tuple(actions.split())
    assert waits


def test_an_endpoint_that_answers_in_pieces_is_an_endpoint() -> None:
    host = "runtime.sagemaker.eu-west-1.amazonaws.com"
    streamed = call(host, "POST /endpoints/e/invocations-response-stream")

    assert streamed.actions == (
        "sagemaker:InvokeEndpointWithResponseStream", "sagemaker:InvokeEndpoint",
    )  # fmt: skip


@pytest.mark.parametrize("name", BY_MEMBER)
def test_the_members_are_those_of_botocore(name: str) -> None:
    service, _, operation = name.partition(".")
    model = LOADER.load_service_model(service, "service-2")
    shape = model["operations"][operation]["input"]["shape"]
    members = set(model["shapes"][shape]["members"])

    assert set(BY_MEMBER[name]) <= members


def test_every_further_action_is_one_of_iam() -> None:
    rows = [*BY_MEMBER.values(), *BY_HEADER.values()]

    assert {a for row in rows for a in row.values() if level_of(a) is None} == set()
