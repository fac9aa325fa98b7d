"""Further IAM actions that a call needs because of a member of its body, or of a header.

AWS authorises some calls under a second action, but only if they ask for more than the
plain thing: the unmasked text of a log, vectors beside their keys, tags for a session.
A deny of that action must hold for them, and an allow of the first alone must not do.

A body that is not at hand, or that can be read in two ways, has them all. Total and pure.
Sources: the documentation in botocore's models, and for STS "Pass session tags in AWS
STS" and "Monitor and control actions taken with assumed roles" of the IAM User Guide.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from awsgate.aws.request import Asked
from awsgate.aws.resource import members_of
from awsgate.aws.router import Routed

_UNMASKED = {"unmask": "logs:Unmask"}
_SESSION = {
    "Tags": "sts:TagSession",
    "TransitiveTagKeys": "sts:TagSession",
    "SourceIdentity": "sts:SetSourceIdentity",
}
_WITH_IAM = "redshift:GetClusterCredentialsWithIAM"
_SERVERLESS = "redshift-serverless:GetCredentials"
_REDSHIFT = {
    "SecretArn": "secretsmanager:GetSecretValue",
    "DbUser": "redshift:GetClusterCredentials",
    "ClusterIdentifier": _WITH_IAM,
    "WorkgroupName": _SERVERLESS,
}

BY_MEMBER: Mapping[str, Mapping[str, str]] = {
    # "display sensitive data that is masked": the parameter needs logs:Unmask
    "logs.FilterLogEvents": _UNMASKED,
    "logs.GetLogEvents": _UNMASKED,
    "logs.GetLogObject": _UNMASKED,
    "logs.GetLogRecord": _UNMASKED,
    # Its words: "you must have both" the action and GetVectors.
    "s3vectors.ListVectors": {
        "returnData": "s3vectors:GetVectors",
        "returnMetadata": "s3vectors:GetVectors",
    },
    "s3vectors.QueryVectors": {
        "filter": "s3vectors:GetVectors",
        "queryTexts": "s3vectors:GetVectors",
        "returnMetadata": "s3vectors:GetVectors",
    },
    # Its words: "If you use filters, you must also have" ListSecrets.
    "secretsmanager.BatchGetSecretValue": {"Filters": "secretsmanager:ListSecrets"},
    # "if the AutoCreate parameter is set to True, then the policy must include ..."
    "redshift.GetClusterCredentials": {"AutoCreate": "redshift:CreateClusterUser"},
    # "If you use this operation with the optional ... parameter you must have ..."
    "s3tables.CreateTable": {
        "encryptionConfiguration": "s3tables:PutTableEncryption",
        "metadata": "s3tables:PutTableData",
        "storageClassConfiguration": "s3tables:PutTableStorageClass",
        "tags": "s3tables:TagResource",
    },
    "s3tables.CreateTableBucket": {
        "encryptionConfiguration": "s3tables:PutTableBucketEncryption",
        "storageClassConfiguration": "s3tables:PutTableBucketStorageClass",
        "tags": "s3tables:TagResource",
    },
    # Its words: "Also, permission to call the ... operation is required", one of four ways.
    **dict.fromkeys(
        (
            "redshift-data.BatchExecuteStatement", "redshift-data.DescribeTable",
            "redshift-data.ExecuteStatement", "redshift-data.ListDatabases",
            "redshift-data.ListSchemas", "redshift-data.ListTables",
        ),
        _REDSHIFT,
    ),
    # "An administrator must grant you the permissions necessary to pass session tags"
    "sts.AssumeRole": _SESSION,
    "sts.GetFederationToken": {"Tags": "sts:TagSession"},
}  # fmt: skip
"""Service model and operation -> member of the body -> the action that it needs."""

BY_HEADER: Mapping[str, Mapping[bytes, str]] = {
    # "You require permissions to both"
    "bedrock-agentcore.InvokeAgentRuntime": {
        b"x-amzn-bedrock-agentcore-runtime-user-id": "bedrock-agentcore:InvokeAgentRuntimeForUser",
    },
}

_NOT_GIVEN = (None, False, "false")
_UNLESS = {_WITH_IAM: {"dbuser", "secretarn"}, _SERVERLESS: {"secretarn"}}
"""What is not needed if another member is there: another way to sign in to the database."""


def is_told_by_body(found: Routed) -> bool:
    """True if the actions cannot be told without the body."""
    return _name(found) in BY_MEMBER


def further_actions(found: Routed, asked: Asked) -> Iterator[str]:
    """Give the actions that a call needs besides those of its operation."""
    for header, action in BY_HEADER.get(_name(found), {}).items():
        if header in asked.headers:
            yield action
    wanted = BY_MEMBER.get(_name(found))
    if wanted is None:
        return
    members = members_of(found, asked)
    if members is None:
        yield from wanted.values()
        return
    given = (name for name, value in members.items() if value not in _NOT_GIVEN)
    there = {name.lower().partition(".")[0] for name in given}
    for member, action in wanted.items():
        if member.lower() in there and there.isdisjoint(_UNLESS.get(action, ())):
            yield action


def _name(found: Routed) -> str:
    return f"{found.service.id}.{found.operation}"
