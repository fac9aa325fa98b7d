"""The table of IAM actions: every operation of botocore has one, or is listed without.

The oracle is botocore's models and the Service Authorization Reference, the latter as it
stands in ``operations/levels/``. After an upgrade of botocore that adds operations, run
``scripts/build_operations.py`` and sort the new ones into ``scripts/iam_actions*.yaml``.
"""

from __future__ import annotations

import html
import json
import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import botocore
import pytest
import yaml

from awsgate.aws import call
from awsgate.aws.further import BY_HEADER, BY_MEMBER
from awsgate.aws.operations import LEVELS, Service, level_of, services_signing_as
from serialised import LOADER, service_names

SCRIPTS = Path(__file__).parents[2] / "scripts"
CURATED: dict[str, dict[str, Any]] = yaml.safe_load((SCRIPTS / "iam_actions.yaml").read_text())
LISTED = yaml.safe_load((SCRIPTS / "iam_actions_unknown.yaml").read_text())
UNKNOWN = {
    f"{service}.{operation}": reason
    for reason, services in LISTED["unknown"].items()
    for service, names in services.items()
    for operation in names.split()
}


@lru_cache(maxsize=1)
def operations() -> list[tuple[str, str, Service | None, dict[str, Any]]]:
    """Give service, operation, our table of the service, and the operation's model."""
    return list(_operations())


def _operations() -> Iterator[tuple[str, str, Service | None, dict[str, Any]]]:
    for name in service_names():
        model = LOADER.load_service_model(name, "service-2")
        meta = model["metadata"]
        signing = (meta.get("signingName") or meta["endpointPrefix"]).lower()
        table = next((s for s in services_signing_as(signing) if s.id == name), None)
        for operation, details in model["operations"].items():
            yield name, operation, table, details


def is_unsigned(details: dict[str, Any]) -> bool:
    return details.get("authtype") == "none" or details.get("auth") == ["smithy.api#noAuth"]


def test_each_access_level_occurs() -> None:
    """A level that no action has is a rule that means nothing."""
    folder = resources.files("awsgate.aws") / "operations" / "levels"
    found = Counter(
        level for file in folder.iterdir() for level in json.loads(file.read_text("utf-8")).values()
    )

    assert set(found) == set(LEVELS)
    assert min(found.values()) > 400


@pytest.mark.parametrize(
    ("action", "level"),
    {
        "s3:PutObjectTagging": "Tagging", "s3:DeleteObjectTagging": "Tagging",
        "ec2:CreateTags": "Tagging", "dynamodb:TagResource": "Tagging",
        "sts:TagSession": "Tagging", "kinesis:CreateChannel": "Write",
        "s3:PutObjectAcl": "Permissions management", "s3:PutObject": "Write",
        "s3:GetObjectTagging": "Read", "s3:ListBucket": "List",
    }.items(),
)  # fmt: skip
def test_an_action_has_the_level_of_the_reference(action: str, level: str) -> None:
    assert level_of(action) == level


def test_every_operation_of_botocore_has_an_action_or_is_listed_without() -> None:
    counts: Counter[str] = Counter()
    missing = []
    for service, operation, table, details in operations():
        actions = table.actions.get(operation) if table is not None else None
        reason = UNKNOWN.get(f"{service}.{operation}", "not signed" * is_unsigned(details))
        listed = f"{service}.{operation}" in UNKNOWN
        if actions is None or (listed if actions else not reason):
            missing.append(f"{service}.{operation}")
        counts[kind_of(service, operation, actions or ()) or f"none known: {reason}"] += 1
    print(f"botocore {botocore.__version__}: {dict(counts)}")

    assert sorted(set(missing)) == []


def kind_of(service: str, operation: str, actions: tuple[str, ...]) -> str:
    """Give where the actions come from; empty: there are none."""
    if not actions:
        return ""
    if operation in CURATED["actions"].get(service, {}):
        return "curated"
    if service.startswith("apigateway") and actions[0].partition(":")[0] == "apigateway":
        return "the method"
    return "the same name" if actions[0].partition(":")[2] == operation else "by capitals"


def test_an_action_that_is_not_curated_is_the_operations_own_name() -> None:
    other = [
        f"{service}.{operation}: {actions}"
        for service, operation, table, _ in operations()
        if table is not None
        and (actions := table.actions.get(operation, ()))
        and kind_of(service, operation, actions) in ("the same name", "by capitals")
        and (len(actions) > 1 or actions[0].partition(":")[2].lower() != operation.lower())
    ]

    assert other == []


def test_what_is_curated_is_in_the_table() -> None:
    tables = {(service, operation): table for service, operation, table, _ in operations()}
    for service, rows in CURATED["actions"].items():
        for operation, actions in rows.items():
            table = tables[service, operation]  # a row of an operation that is gone fails here
            assert table is not None
            assert table.actions[operation] == tuple(actions.split()), f"{service}.{operation}"


def test_every_action_is_one_of_the_service_authorization_reference() -> None:
    actions = {a for _, op, table, _ in operations() if table for a in table.actions.get(op, ())}

    assert sorted(action for action in actions if level_of(action) is None) == []
    assert len(actions) > 18_000


def test_the_list_of_operations_without_action_says_how_many_they_are() -> None:
    assert LISTED["counts"] == Counter(UNKNOWN.values())


# Operations whose IAM action has another name, as AWS documents them.
DOCUMENTED = {
    "s3.ListObjectsV2": "s3:ListBucket",
    "s3.HeadObject": "s3:GetObject",
    "s3.ListBuckets": "s3:ListAllMyBuckets",
    "s3.PutBucketEncryption": "s3:PutEncryptionConfiguration",
    "s3.DeleteBucketCors": "s3:PutBucketCORS",
    "s3.CompleteMultipartUpload": "s3:PutObject",
    "s3.ListParts": "s3:ListMultipartUploadParts",
    "s3control.GetPublicAccessBlock": "s3:GetAccountPublicAccessBlock",
    "s3control.GetAccessPointScope": "s3express:GetAccessPointScope",
    "lambda.Invoke": "lambda:InvokeFunction",
    "cloudwatch.PutMetricData": "cloudwatch:PutMetricData",
    "apigateway.GetRestApis": "apigateway:GET",
    "apigatewayv2.DeleteApi": "apigateway:DELETE",
    "resourcegroupstaggingapi.GetResources": "tag:GetResources",
    "opensearch.CreateDomain": "es:CreateDomain",
    "docdb.DescribeDBClusters": "rds:DescribeDBClusters",
    "neptunedata.ExecuteFastReset": "neptune-db:ResetDatabase",
    "dms.DescribeDataProviders": "dms:ListDataProviders",
    "keyspaces.DeleteTable": "cassandra:Drop cassandra:DropMultiRegionResource",
    "mturk.ListHITs": "mechanicalturk:ListHITs",
    "batch.TerminateJobs": "batch:TerminateJob",
    "glue.GetUnfilteredTableMetadata": "glue:GetTable",
    "bedrock-runtime.Converse": "bedrock:InvokeModel",
    "kms.ReEncrypt": "kms:ReEncryptFrom kms:ReEncryptTo",
    "timestream-query.Query": "timestream:Select timestream:Unload",
}


@pytest.mark.parametrize(("operation", "actions"), DOCUMENTED.items(), ids=DOCUMENTED)
def test_an_operation_has_the_action_that_aws_documents(operation: str, actions: str) -> None:
    service, _, name = operation.partition(".")
    found = [table for s, op, table, _ in operations() if (s, op) == (service, name)]

    assert found[0] is not None
    assert found[0].actions[name] == tuple(actions.split())


# --- a second action, of which the documentation speaks ----------------------------------------

SECOND = re.compile(r"\b([a-z][a-z0-9-]{1,30}:[A-Z][A-Za-z]+)\b")
WAIVED = yaml.safe_load((SCRIPTS / "iam_actions_waived.yaml").read_text())
S3_EXTRAS = {
    *call._S3_HEADERS.values(),
    *call._S3_VERSIONED.values(),
    *(action for actions in call._S3_NEW_BUCKET.values() for action in actions),
    "s3:PutObjectAcl",
    "s3:PutBucketAcl",
}


def second_actions() -> Iterator[tuple[str, str]]:
    """Give operations, and actions that a sentence about permissions of theirs names besides."""
    for service, operation, table, details in operations():
        name = f"{service}.{operation}"
        known = {*(table.actions.get(operation, ()) if table else ())}
        known |= {*BY_MEMBER.get(name, {}).values(), *BY_HEADER.get(name, {}).values()}
        known |= S3_EXTRAS if service == "s3" else set()
        folded = {action.lower() for action in known}
        text = html.unescape(details.get("documentation", ""))
        for sentence in re.split(r"(?<=[.:])\s|</p>|</li>", text):
            if known and re.search(r"permission|must have|require", sentence, re.IGNORECASE):
                for action in SECOND.findall(re.sub(r"<[^>]+>", "", sentence)):
                    if action.lower() not in folded and not action.startswith(("aws:", "arn:")):
                        yield name, action


def test_a_second_action_that_the_documentation_names_is_in_the_table_or_waived() -> None:
    """After an upgrade of botocore: sort new ones into ``aws.further``, or waive them."""
    found = set(second_actions())
    waived: set[tuple[str, str]] = {
        (f"{service}.{operation}", action)
        for services in WAIVED.values()
        for service, rows in services.items()
        for operation, actions in rows.items()
        for action in actions.split()
    }

    assert sorted(found - waived) == []
    assert sorted(waived - found) == [], "no longer said, or in the table by now"
