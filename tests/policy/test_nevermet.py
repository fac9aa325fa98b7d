"""Rules that read like safety and match no call: ``awsgate check`` says so."""

from __future__ import annotations

from typing import Any

import pytest

from awsgate.aws import call, catalogue, resource
from awsgate.policy.nevermet import ACCOMPANYING, FORMS, never_met
from awsgate.policy.resources import Role, User


def role(**spec: Any) -> Role:
    return Role.model_validate(
        {"kind": "role", "version": "v7", "metadata": {"name": "r"}, "spec": spec}
    )


def user(name: str, **traits: list[str]) -> User:
    spec = {"roles": ["r"], "traits": traits}
    return User.model_validate(
        {"kind": "user", "version": "v2", "metadata": {"name": name}, "spec": spec}
    )


def problems(*users: User, **deny: Any) -> list[str]:
    return [": ".join(filter(None, p)) for p in never_met(role(deny=deny), users)]


NOT_DERIVED = "so this denies nothing"
SILENT = {
    "an action of an operation": {"aws_actions": ["s3:DeleteObject"]},
    "one that accompanies others": {"aws_actions": ["s3:PutObjectTagging", "s3:getobjectversion"]},
    "one that is ordered of the gateway": {"aws_actions": ["rds-db:connect"]},
    "one of endpoints that customers own": {"aws_actions": ["appsync:GraphQL", "es:ESHttpPost"]},
    "patterns": {"aws_actions": ["*", "*:Delete*", "iam:*", "k?s:*"]},
    "one that AWS does not have is another finding": {"aws_actions": ["s3:GetObjekt"]},
    "keys and buckets": {"aws_resources": ["*", "arn:aws:s3:::b/*", "arn:aws:s3:::b/ü/*"]},
    "any region of S3": {"aws_resources": ["arn:*:s3:*:*:b/*"]},
    "forms that are derived": {
        "aws_resources": [
            "arn:aws:kms:*:*:key/*", "arn:aws:kms:*:*:*", "arn:aws:kms:*:*:k?y/x",
            "arn:aws:sns:*:*:topic", "arn:aws:sqs:*:*:prod-*", "arn:aws:states:*:*:stateMachine:x",
            "arn:aws:dynamodb:*:*:table/{{internal.team}}", "arn:aws:ec2:*:*:instance/*",
        ]
    },
}  # fmt: skip


@pytest.mark.parametrize("deny", SILENT.values(), ids=SILENT)
def test_a_deny_that_can_match_is_passed_over(deny: dict[str, Any]) -> None:
    assert problems(**deny) == []


FOUND: dict[str, tuple[dict[str, Any], str]] = {
    "an action behind others": ({"aws_actions": ["s3:*", "iam:PassRole"]}, NOT_DERIVED),
    "an action of AWS alone": ({"aws_actions": ["s3:Replicate*"]}, NOT_DERIVED),
    "an alias of KMS": ({"aws_resources": ["arn:aws:kms:*:*:alias/prod"]}, "tells key/..."),
    "a topic as in other services": ({"aws_resources": ["arn:aws:sns:*:*:topic/x"]}, "plain name"),
    "a queue as in other services": ({"aws_resources": ["arn:aws:sqs:*:*:queue/x"]}, "plain name"),
    "a bucket with an account": (
        {"aws_resources": ["arn:aws:s3::123456789012:b/*"]},
        "has a region or an account",
    ),
    "a bucket with a region": (
        {"aws_resources": ["arn:aws:s3:eu-west-1::b/*"]},
        "has a region or an account",
    ),
    "white space at the end": ({"aws_resources": ["arn:aws:s3:::b/* "]}, "ends in white space"),
    "a letter that looks alike": ({"aws_resources": ["arn:aws:s3:::rеports/*"]}, "look alike"),
    "one in another service": ({"aws_resources": ["arn:aws:sqs:*:*:quеue"]}, "look alike"),
}


@pytest.mark.parametrize(("deny", "said"), FOUND.values(), ids=FOUND)
def test_a_deny_that_no_call_can_meet_is_said(deny: dict[str, Any], said: str) -> None:
    (found,) = problems(**deny)

    assert said in found
    assert found.startswith("spec.deny.")


def test_templates_that_some_users_cannot_fill_are_said_with_the_users() -> None:
    with_it, others = user("ada", team=["blue"]), [user(name) for name in ("bob", "cy", "di", "ed")]
    arn = "arn:aws:s3:::{{internal.team}}/*"

    assert problems(with_it, aws_resources=[arn]) == []
    (one,) = problems(with_it, others[0], aws_resources=["*", arn])
    assert one.startswith(f"spec.deny.aws_resources[1]: {arn!r} stands for nothing for 'bob', ")
    (many,) = problems(*others, app_labels={"team": ["{{external.team}}"]})
    assert many.startswith("spec.deny.app_labels.team[0]: ")
    assert "'bob', 'cy', 'di' and 1 more" in many


# --- what is written down here is what is derived there ---------------------------------------


def test_what_accompanies_a_call_of_s3_is_all_known_here() -> None:
    derived = {
        *call._S3_HEADERS.values(),
        *call._S3_VERSIONED.values(),
        *(action for actions in call._S3_NEW_BUCKET.values() for action in actions),
        "s3:PutObjectAcl", "s3:PutBucketAcl", "s3:GetObjectVersion", "s3:DeleteObjectVersion",
    }  # fmt: skip

    assert {action.lower() for action in derived} == ACCOMPANYING


def test_every_kind_of_resource_has_its_form_here() -> None:
    kinds = {kind.partition(":")[0] for kind in (*resource._ONE, *resource._TABLES)}

    assert kinds == {*FORMS, "s3", "sns", "sqs"}


def test_the_operations_of_a_service_are_those_of_botocore() -> None:
    assert {"Encrypt", "Decrypt", "CreateKey"} <= set(catalogue.operations_of("kms"))
