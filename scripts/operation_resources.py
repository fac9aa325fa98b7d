"""Which operations name one resource, and where it stands in the request.

A table by hand: only services whose ARNs are made of nothing but what the request says.
Elsewhere a name can stand for another thing (a role has a path, an AMI no account): a
wrong ARN would open what a rule closes, and none at all does not. How the ARN is made
of it: ``addons/awsgate/aws/resource.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# IAM prefix -> resource type of the Service Authorization Reference -> the members that
# may name it. A request that has two of them names nothing. A member that ends in "!"
# names it in a way that cannot be read.
MEMBERS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "dynamodb": {"table": ("TableName", "GlobalTableSourceArn!")},
    "ecr": {"repository": ("repositoryName",)},
    "firehose": {"deliverystream": ("DeliveryStreamName",)},
    "kinesis": {"stream": ("StreamName", "StreamARN", "StreamId!")},
    "kms": {"key": ("KeyId",)},
    "lambda": {"function": ("FunctionName",)},
    "logs": {
        "log-group": ("logGroupName", "logGroupIdentifier", "resourceIdentifier!"),
        "log-stream": ("logGroupName", "logGroupIdentifier"),
    },
    "secretsmanager": {"secret": ("SecretId",)},
    "sns": {"topic": ("TopicArn", "ResourceArn", "Name", "TargetArn!", "PhoneNumber!")},
    "sqs": {"queue": ("QueueUrl", "QueueName")},
    "ssm": {"parameter": ("Name", "Names")},
    "states": {
        "statemachine": ("stateMachineArn",),
        "execution": ("executionArn",),
        "activity": ("activityArn",),
    },
}
# Their resource is not (only) the member of that name.
NOT = {
    "kinesis": {"GetRecords"},  # the iterator names the stream
    "kms": {"RetireGrant"},  # a token may name the key
    "logs": {"StartQuery"},  # several groups, and the text of the query names more
}
# All tables of the request, in places of their own.
TABLES = {
    "Query": "indexed", "Scan": "indexed",
    "BatchGetItem": "batch", "BatchWriteItem": "batch",
    "TransactGetItems": "transaction", "TransactWriteItems": "transaction",
}  # fmt: skip
# Models that sign by the same name and mean other things by the same words.
OTHERS = frozenset({"lambda-core", "lambda-microvms", "lambda-web", "s3control"})
# S3 operations that name more than their path, or buckets of another kind.
S3_NOT = frozenset({"CopyObject", "UploadPartCopy", "RenameObject"})


def resource_of(
    service: str,
    prefix: str,
    name: str,
    action: Mapping[str, Any],
    operation: Mapping[str, Any],
    shapes: Mapping[str, Any],
) -> list[Any] | None:
    """Give the kind of an operation's resource and where it is named; None: not known."""
    if service in OTHERS or name in NOT.get(prefix, ()):
        return None
    shape = shapes.get(operation.get("input", {}).get("shape", ""), {})
    members = shape.get("members", {})
    if service == "dynamodb" and name in TABLES:
        return [f"dynamodb:{TABLES[name]}", [["body", "TableName"]]]
    if service == "s3":
        if prefix != "s3" or name in S3_NOT or "Bucket" not in members:
            return None
        kind = "object" if "Key" in members else "bucket"
        return [f"s3:{'objects' if name == 'DeleteObjects' else kind}", [["label", "Bucket"]]]
    types = {entry["name"].lower() for entry in action["resourceTypes"]}
    known = MEMBERS.get(prefix, {})
    kind = next(iter(types)) if len(types) == 1 else ""
    places = [
        [where(members[member.rstrip("!")]), wire(member, members)]
        for member in known.get(kind, ())
        if member.rstrip("!") in members
    ]
    if not any(not name.endswith("!") for _, name in places):
        return None
    return [f"{prefix}:{kind}", places]


def where(member: Mapping[str, Any]) -> str:
    """Give where a member stands in the request."""
    places = {"uri": "label", "querystring": "query", "header": "header"}
    return places.get(member.get("location", ""), "body")


def wire(member: str, members: Mapping[str, Any]) -> str:
    """Give a member's name on the wire."""
    plain = member.rstrip("!")
    name = str(members[plain].get("locationName", plain))
    return name + "!" * member.endswith("!")
