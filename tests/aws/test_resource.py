# ruff: noqa: E501 - one call a row
"""The ARNs of a request: as AWS writes them, surely all of them, or none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asking import ACCOUNT, FORM, call

HERE = f"eu-west-1:{ACCOUNT}"
THERE = "eu-west-1:999999999999"
KEY = "1234abcd-12ab-34cd-56ef-1234567890ab"
TARGETS = {
    "dynamodb": "DynamoDB_20120810", "ecr": "AmazonEC2ContainerRegistry_V20150921", "firehose": "Firehose_20150804",
    "kinesis": "Kinesis_20131202", "kms": "TrentService", "logs": "Logs_20140328", "secretsmanager": "secretsmanager",
    "sqs": "AmazonSQS", "ssm": "AmazonSSM", "states": "AWSStepFunctions",
}  # fmt: skip
HOSTS = {"ecr": "api.ecr.eu-west-1.amazonaws.com"}


def named(service: str, operation: str, body: Any) -> tuple[str, ...]:
    """Give the ARNs of a JSON call."""
    text = body if isinstance(body, str) else json.dumps(body)
    found = call(
        HOSTS.get(service, service),
        "POST /",
        text,
        service,
        x_amz_target=f"{TARGETS[service]}.{operation}",
    )
    assert found.operation == operation
    return found.resources


TABLE = f"arn:aws:dynamodb:{HERE}:table"
GROUP = f"arn:aws:logs:{HERE}:log-group:/aws/app"
MACHINE = f"arn:aws:states:{HERE}:stateMachine:m"
SECRET = f"arn:aws:secretsmanager:{HERE}:secret:prod/db-A1b2C3"
PARAMETER = f"arn:aws:ssm:{HERE}:parameter"

SURE: dict[str, tuple[tuple[str, str, Any], tuple[str, ...]]] = {
    "a table": (("dynamodb", "PutItem", {"TableName": "t"}), (f"{TABLE}/t",)),
    "a table by ARN": (("dynamodb", "PutItem", {"TableName": f"arn:aws:dynamodb:{THERE}:table/t"}), (f"arn:aws:dynamodb:{THERE}:table/t",)),
    "a table's query": (("dynamodb", "Query", {"TableName": "t"}), (f"{TABLE}/t",)),
    "an index": (("dynamodb", "Query", {"TableName": "t", "IndexName": "idx"}), (f"{TABLE}/t/index/idx",)),
    "several tables": (("dynamodb", "BatchGetItem", {"RequestItems": {"a": {}, "b": {}}}), (f"{TABLE}/a", f"{TABLE}/b")),
    "a transaction": (
        ("dynamodb", "TransactWriteItems", {"TransactItems": [{"Put": {"TableName": "a"}}, {"Delete": {"TableName": "b"}}, {"Update": {"TableName": "a"}}]}),
        (f"{TABLE}/a", f"{TABLE}/b"),
    ),
    "a repository": (("ecr", "BatchGetImage", {"repositoryName": "team/app"}), (f"arn:aws:ecr:{HERE}:repository/team/app",)),
    "a repository of another account": (("ecr", "BatchGetImage", {"repositoryName": "app", "registryId": "999999999999"}), (f"arn:aws:ecr:{THERE}:repository/app",)),
    "a delivery stream": (("firehose", "PutRecord", {"DeliveryStreamName": "d"}), (f"arn:aws:firehose:{HERE}:deliverystream/d",)),
    "a stream": (("kinesis", "PutRecord", {"StreamName": "s"}), (f"arn:aws:kinesis:{HERE}:stream/s",)),
    "a stream by ARN": (("kinesis", "PutRecord", {"StreamARN": f"arn:aws:kinesis:{HERE}:stream/s"}), (f"arn:aws:kinesis:{HERE}:stream/s",)),
    "a key": (("kms", "Decrypt", {"KeyId": KEY}), (f"arn:aws:kms:{HERE}:key/{KEY}",)),
    "a key of several regions": (("kms", "Decrypt", {"KeyId": f"mrk-{'a' * 32}"}), (f"arn:aws:kms:{HERE}:key/mrk-{'a' * 32}",)),
    "a key by ARN": (("kms", "Decrypt", {"KeyId": f"arn:aws:kms:{THERE}:key/{KEY}"}), (f"arn:aws:kms:{THERE}:key/{KEY}",)),
    "a log group, in both forms of rules": (("logs", "FilterLogEvents", {"logGroupName": "/aws/app"}), (GROUP, f"{GROUP}:log-stream:")),
    "a log group by ARN": (("logs", "FilterLogEvents", {"logGroupIdentifier": GROUP}), (GROUP, f"{GROUP}:log-stream:")),
    "a log stream": (("logs", "PutLogEvents", {"logGroupName": "/aws/app", "logStreamName": "a/[$LATEST]b"}), (f"{GROUP}:log-stream:a/[$LATEST]b",)),
    "a secret by ARN": (("secretsmanager", "GetSecretValue", {"SecretId": SECRET}), (SECRET,)),
    "a queue": (("sqs", "SendMessage", {"QueueUrl": f"https://sqs.eu-west-1.amazonaws.com/{ACCOUNT}/q.fifo"}), (f"arn:aws:sqs:{HERE}:q.fifo",)),
    "a queue of another account": (("sqs", "SendMessageBatch", {"QueueUrl": "https://sqs.eu-west-1.amazonaws.com/999999999999/q"}), (f"arn:aws:sqs:{THERE}:q",)),
    "a new queue": (("sqs", "CreateQueue", {"QueueName": "q"}), (f"arn:aws:sqs:{HERE}:q",)),
    "where another's queue is": (("sqs", "GetQueueUrl", {"QueueName": "q", "QueueOwnerAWSAccountId": "999999999999"}), (f"arn:aws:sqs:{THERE}:q",)),
    "a parameter": (("ssm", "GetParameter", {"Name": "/prod/db"}), (f"{PARAMETER}/prod/db",)),
    "a parameter without a path": (("ssm", "PutParameter", {"Name": "db", "Value": "x"}), (f"{PARAMETER}/db",)),
    "a version of a parameter": (("ssm", "GetParameter", {"Name": "/prod/db:3"}), (f"{PARAMETER}/prod/db",)),
    "several parameters": (("ssm", "GetParameters", {"Names": ["/a/b", "c"]}), (f"{PARAMETER}/a/b", f"{PARAMETER}/c")),
    "a state machine": (("states", "StartExecution", {"stateMachineArn": MACHINE}), (MACHINE,)),
    "an alias of a state machine": (("states", "StartExecution", {"stateMachineArn": f"{MACHINE}:live"}), (MACHINE, f"{MACHINE}:live")),
    "an execution": (("states", "StopExecution", {"executionArn": f"arn:aws:states:{HERE}:execution:m:run-1"}), (f"arn:aws:states:{HERE}:execution:m:run-1",)),
}  # fmt: skip


@pytest.mark.parametrize(("asked", "arns"), SURE.values(), ids=SURE)
def test_a_call_names_its_resources(asked: tuple[str, str, Any], arns: tuple[str, ...]) -> None:
    assert named(*asked) == arns


UNSURE: dict[str, tuple[str, str, Any]] = {
    "a table named twice": ("dynamodb", "GetItem", '{"TableName":"a","TableName":"b"}'),
    "a table named in small letters too": ("dynamodb", "GetItem", '{"TableName":"a","tablename":"b"}'),
    "a table named in small letters": ("dynamodb", "GetItem", {"tableName": "a"}),
    "a table that is no text": ("dynamodb", "GetItem", {"TableName": ["a"]}),
    "a table that is an object": ("dynamodb", "GetItem", {"TableName": {"a": "b"}}),
    "a table of no name": ("dynamodb", "GetItem", {"TableName": ""}),
    "a table of another service": ("dynamodb", "GetItem", {"TableName": "arn:aws:s3:::b"}),
    "a table of another region": ("dynamodb", "GetItem", {"TableName": f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/t"}),
    "a table of another partition": ("dynamodb", "GetItem", {"TableName": f"arn:aws-cn:dynamodb:{HERE}:table/t"}),
    "an ARN of something in a table": ("dynamodb", "GetItem", {"TableName": f"{TABLE}/t/index/i"}),
    "a table with a slash": ("dynamodb", "GetItem", {"TableName": "t/index/i"}),
    "a table and the one it is made from": ("dynamodb", "CreateTable", {"TableName": "t", "GlobalTableSourceArn": f"{TABLE}/u"}),
    "an index of no name": ("dynamodb", "Query", {"TableName": "t", "IndexName": ["i"]}),
    "an index in small letters": ("dynamodb", "Query", {"TableName": "t", "indexName": "idx"}),
    "several tables, one of them bad": ("dynamodb", "BatchGetItem", {"RequestItems": {"a": {}, "b/c": {}}}),
    "no tables": ("dynamodb", "BatchGetItem", {"RequestItems": {}}),
    "a transaction with two in one": ("dynamodb", "TransactWriteItems", {"TransactItems": [{"Put": {"TableName": "a"}, "Delete": {"TableName": "b"}}]}),
    "a transaction with a table named twice": ("dynamodb", "TransactGetItems", '{"TransactItems":[{"Get":{"TableName":"a","TableName":"b"}}]}'),
    "a statement": ("dynamodb", "ExecuteStatement", {"Statement": 'SELECT * FROM "t"'}),
    "no object": ("dynamodb", "GetItem", '["TableName"]'),
    "no json": ("dynamodb", "GetItem", "TableName"),
    "json of another encoding": ("dynamodb", "GetItem", '\ufeff{"TableName":"a"}'),
    "json without end": ("dynamodb", "GetItem", '{"a":' * 100_000),
    "a variable": ("dynamodb", "GetItem", {"TableName": "${Account}"}),
    "a stream named by name and ARN": ("kinesis", "PutRecord", {"StreamName": "a", "StreamARN": f"arn:aws:kinesis:{HERE}:stream/b"}),
    "a stream named by name and id": ("kinesis", "PutRecord", {"StreamName": "a", "StreamId": "b"}),
    "a stream named by id": ("kinesis", "PutRecord", {"StreamId": "b"}),
    "the records of an iterator": ("kinesis", "GetRecords", {"StreamARN": f"arn:aws:kinesis:{HERE}:stream/a", "ShardIterator": "b"}),
    "an alias of a key": ("kms", "Decrypt", {"KeyId": "alias/a"}),
    "an alias of a key by ARN": ("kms", "Decrypt", {"KeyId": f"arn:aws:kms:{HERE}:alias/a"}),
    "no key": ("kms", "Decrypt", {"CiphertextBlob": "AA=="}),
    "two keys": ("kms", "ReEncrypt", {"SourceKeyId": KEY, "DestinationKeyId": KEY}),
    "a grant's key": ("kms", "RetireGrant", {"KeyId": KEY, "GrantToken": "t"}),
    "a new alias": ("kms", "CreateAlias", {"AliasName": "alias/a", "TargetKeyId": KEY}),
    "a log group named in two ways": ("logs", "FilterLogEvents", {"logGroupName": "/aws/app", "logGroupIdentifier": "/aws/b"}),
    "a query over log groups": ("logs", "StartQuery", {"logGroupName": "/aws/app", "queryString": "SOURCE b"}),
    "a stream of no name": ("logs", "PutLogEvents", {"logGroupName": "/aws/app"}),
    "a secret by its name": ("secretsmanager", "GetSecretValue", {"SecretId": "prod/db"}),
    "a secret by half an ARN": ("secretsmanager", "GetSecretValue", {"SecretId": f"arn:aws:secretsmanager:{HERE}:secret:db"}),
    "a queue elsewhere": ("sqs", "SendMessage", {"QueueUrl": "a/b"}),
    "a queue below another": ("sqs", "SendMessage", {"QueueUrl": f"https://sqs.eu-west-1.amazonaws.com/{ACCOUNT}/q/r"}),
    "a parameter of another service": ("ssm", "GetParameter", {"Name": "/aws/reference/secretsmanager/db"}),
    "several parameters, one of them no text": ("ssm", "GetParameters", {"Names": ["/a/b", ["c"]]}),
    "no parameters": ("ssm", "GetParameters", {"Names": []}),
    "a path of parameters": ("ssm", "GetParametersByPath", {"Path": "/a"}),
    "a repository of no account": ("ecr", "BatchGetImage", {"repositoryName": "app", "registryId": "x"}),
    "a version of a state machine, where that matters": ("states", "DescribeStateMachine", {"stateMachineArn": f"{MACHINE}:1"}),
    "a state machine by its name": ("states", "StartExecution", {"stateMachineArn": "m"}),
}  # fmt: skip


@pytest.mark.parametrize("asked", UNSURE.values(), ids=UNSURE)
def test_a_resource_that_is_not_surely_it_is_unknown(asked: tuple[str, str, Any]) -> None:
    assert named(*asked) == ()


FUNCTION = f"arn:aws:lambda:{HERE}:function:f"
LAMBDA = {
    "f": (FUNCTION,),
    "f:live": (f"{FUNCTION}:live",),
    f"{ACCOUNT}:function:f": (FUNCTION,),
    "999999999999:function:f": (f"arn:aws:lambda:{THERE}:function:f",),
    "function:f": (FUNCTION,),
    FUNCTION: (FUNCTION,),
    f"{FUNCTION}:2": (f"{FUNCTION}:2",),
    f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:f": (),
    f"arn:aws:lambda:{HERE}:layer:f": (),
    "f:a:b": (),
    "f?Qualifier=2": (f"{FUNCTION}:2",),
    "f:2?Qualifier=2": (f"{FUNCTION}:2",),
    "f:1?Qualifier=2": (),
}


@pytest.mark.parametrize(("name", "arns"), LAMBDA.items(), ids=list(LAMBDA))
def test_a_function_in_each_of_its_forms(name: str, arns: tuple[str, ...]) -> None:
    label, question, query = name.partition("?")
    found = call(
        "lambda",
        f"POST /2015-03-31/functions/{label.replace(':', '%3A')}/invocations{question}{query}",
    )

    assert found.operation == "Invoke"
    assert found.resources == arns


BUCKETS = {
    "an object": ("GET /b/a/b%20c", ("arn:aws:s3:::b/a/b c",)),
    "a key that is a slash": ("GET /b//", ("arn:aws:s3:::b//",)),
    "a key with dots in it": ("GET /b/a/../c", ()),
    "a key with encoded dots in it": ("GET /b/a/%2e%2e/c", ()),
    "an access point as a bucket": ("GET /point-0123456789abcdef-s3alias/k", ()),
    "an access point of objects": ("GET /point--ol-s3/k", ()),
    "a point of several regions": ("GET /abc.mrap/k", ()),
    "a bucket of directories": ("GET /b--use1-az4--x-s3/k", ()),
    "two objects": ("PUT /b/k?renameObject", ()),
}


@pytest.mark.parametrize(("asked", "arns"), BUCKETS.values(), ids=BUCKETS)
def test_an_object_by_its_path(asked: str, arns: tuple[str, ...]) -> None:
    assert call("s3", asked, x_amz_rename_source="/b/j").resources == arns


DELETES = {
    "two names in one": "<Delete><Object><Key>a</Key><Key>b</Key></Object></Delete>",
    "a comment": "<Delete><Object><Key>a<!-- b --></Key></Object></Delete>",
    "another encoding": '<?xml version="1.0" encoding="UTF-7"?><Delete><Object><Key>a</Key></Object></Delete>',
    "text of two bytes": "<Delete><Object><Key>a</Key></Object></Delete>".encode("utf-16"),
    "something else": "<Delete><Object><Key>a</Key></Object><Other/></Delete>",
    "nothing": "<Delete></Delete>",
    "no end": "<Delete><Object>",
    "not at hand": None,
}


@pytest.mark.parametrize("body", DELETES.values(), ids=DELETES)
def test_deletions_that_cannot_be_told(body: str | bytes | None) -> None:
    found = call("s3", "POST /b?delete", body)

    assert found.actions == ("s3:DeleteObject", "s3:DeleteObjectVersion")
    assert found.resources == ()


def test_a_queue_in_path_and_body_is_one() -> None:
    url = f"https://sqs.eu-west-1.amazonaws.com/{ACCOUNT}/q"
    body = f"Action=SendMessage&QueueUrl={url}"

    assert call("sqs", f"POST /{ACCOUNT}/q", body, content_type=FORM).resources == (
        f"arn:aws:sqs:{HERE}:q",
    )
    assert call("sqs", f"POST /{ACCOUNT}/r", body, content_type=FORM).resources == ()
    assert call("sqs", f"POST /?QueueUrl={url}x", body, content_type=FORM).resources == ()


def test_a_topic_is_one() -> None:
    topic = f"arn:aws:sns:{HERE}:t"

    assert call(
        "sns", "POST /", f"Action=Publish&TopicArn={topic}", content_type=FORM
    ).resources == (topic,)
    for other in ("TargetArn=x", "PhoneNumber=1", f"TopicArn={topic}2", f"topicarn={topic}2"):
        assert (
            call(
                "sns", "POST /", f"Action=Publish&TopicArn={topic}&{other}", content_type=FORM
            ).resources
            == ()
        )
    assert (
        call(
            "sns", "POST /", f"Action=Subscribe&TopicArn={topic}:0-1-2", content_type=FORM
        ).resources
        == ()
    )


TOPIC = f"arn:aws:sns:{HERE}:topic"


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ("", f"Action=Publish&TopicArn={TOPIC}&Message=a;TopicArn={TOPIC}2"),
        ("", f"Action=Publish;TopicArn={TOPIC}2&TopicArn={TOPIC}"),
        (f"?x=1;TopicArn={TOPIC}2", f"Action=Publish&TopicArn={TOPIC}"),
    ],
)
def test_a_form_that_some_split_at_semicolons_names_nothing(query: str, body: str) -> None:
    assert call("sns", f"POST /{query}", body, content_type=FORM).resources == ()
    plain = f"Action=Publish&TopicArn={TOPIC}&Message=a%3Bb"
    assert call("sns", "POST /", plain, content_type=FORM).resources == (TOPIC,)


def test_a_body_that_is_compressed_names_nothing() -> None:
    found = call(
        "dynamodb",
        "POST /",
        '{"TableName":"t"}',
        x_amz_target="DynamoDB_20120810.GetItem",
        content_encoding="gzip",
    )

    assert found.actions == ("dynamodb:GetItem",)
    assert found.resources == ()


@given(st.sampled_from(sorted(TARGETS)), st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just(f"{TABLE}/t"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["TableName", "RequestItems", "TransactItems", "KeyId", "Name", "Names", "QueueUrl", "x"]), inner, max_size=3
    ),
))  # fmt: skip
def test_any_body_has_an_answer(service: str, body: Any) -> None:
    operations = {
        "dynamodb": ["Query", "BatchGetItem", "TransactGetItems"],
        "ssm": ["GetParameters"],
        "kms": ["Decrypt"],
    }
    for operation in operations.get(service, []):
        assert all(arn.startswith("arn:aws:") for arn in named(service, operation, body))
