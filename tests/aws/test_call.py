# ruff: noqa: E501 - one call a row
"""Requests and the IAM actions that AWS documents for them; what is unclear is unknown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awsgate.aws.call import Call, call_of, needs_body
from awsgate.aws.endpoint import Endpoint, resolve_endpoint

ACCOUNT = "123456789012"
FORM = "application/x-www-form-urlencoded"
JSON = "application/x-amz-json-1.1"


TABLES, QUEUES, METRICS = "DynamoDB_20120810", "AmazonSQS", "GraniteServiceVersion20100801"


def at(host: str) -> Endpoint:
    found = resolve_endpoint(host if "." in host else f"{host}.eu-west-1.amazonaws.com")
    assert found is not None
    return found


def call(
    host: str,
    asked: str,
    body: str = "",
    signing: str = "",
    **headers: str,
) -> Call:
    endpoint = at(host)
    method, _, target = asked.partition(" ")
    sent = {
        name.replace("_", "-").lower().encode(): [value.encode()] for name, value in headers.items()
    }
    return call_of(
        endpoint, signing_name=signing or endpoint.service, method=method, target=target.encode(),
        headers=sent, body=body.encode(), account=ACCOUNT,
    )  # fmt: skip


ARN = f"arn:aws:{{}}:eu-west-1:{ACCOUNT}:{{}}"

# host, request, body, headers -> actions, level, resources
FAMOUS: dict[str, tuple[Call, str, str, tuple[str, ...]]] = {
    "list buckets": (call("s3", "GET /"), "s3:ListAllMyBuckets", "List", ()),
    "get an object, path style": (
        call("s3", "GET /b/a%20b/c"), "s3:GetObject", "Read", ("arn:aws:s3:::b/a b/c",),
    ),
    "get an object, in the host": (
        call("b.s3.eu-west-1.amazonaws.com", "GET /k?response-content-type=x"),
        "s3:GetObject", "Read", ("arn:aws:s3:::b/k",),
    ),
    "get a version": (
        call("s3", "GET /b/k?versionId=1"), "s3:GetObject s3:GetObjectVersion", "Read",
        ("arn:aws:s3:::b/k",),
    ),
    "head an object": (call("s3", "HEAD /b/k"), "s3:GetObject", "Read", ("arn:aws:s3:::b/k",)),
    "head a bucket": (call("s3", "HEAD /b"), "s3:ListBucket", "List", ("arn:aws:s3:::b",)),
    "a key that ends with a slash": (
        call("s3", "PUT /b/folder/"), "s3:PutObject", "Write", ("arn:aws:s3:::b/folder/",),
    ),
    "list objects": (
        call("s3", "GET /b?list-type=2&prefix=x"), "s3:ListBucket", "List", ("arn:aws:s3:::b",),
    ),
    "list objects, slash after the bucket": (
        call("s3", "GET /b/?list-type=2"), "s3:ListBucket", "List", ("arn:aws:s3:::b",),
    ),
    "list objects, as it was": (
        call("s3", "GET /b?delimiter=/"), "s3:ListBucket", "List", ("arn:aws:s3:::b",),
    ),
    "list versions": (
        call("s3", "GET /b?versions"), "s3:ListBucketVersions", "List", ("arn:aws:s3:::b",),
    ),
    "put an object": (call("s3", "PUT /b/k"), "s3:PutObject", "Write", ("arn:aws:s3:::b/k",)),
    "put an object with an acl": (
        call("s3", "PUT /b/k", x_amz_acl="public-read"), "s3:PutObject s3:PutObjectAcl",
        "Permissions management", ("arn:aws:s3:::b/k",),
    ),
    "put an object with tags": (
        call("s3", "PUT /b/k", x_amz_tagging="a=b"), "s3:PutObject s3:PutObjectTagging", "Write",
        ("arn:aws:s3:::b/k",),
    ),
    "copy an object": (
        call("s3", "PUT /b/k", x_amz_copy_source="/a/k"), "s3:PutObject s3:GetObject", "Write", (),
    ),
    "upload a part": (
        call("s3", "PUT /b/k?partNumber=1&uploadId=u"), "s3:PutObject", "Write",
        ("arn:aws:s3:::b/k",),
    ),
    "begin an upload": (
        call("s3", "POST /b/k?uploads"), "s3:PutObject", "Write", ("arn:aws:s3:::b/k",),
    ),
    "finish an upload": (
        call("s3", "POST /b/k?uploadId=u"), "s3:PutObject", "Write", ("arn:aws:s3:::b/k",),
    ),
    "break off an upload": (
        call("s3", "DELETE /b/k?uploadId=u"), "s3:AbortMultipartUpload", "Write",
        ("arn:aws:s3:::b/k",),
    ),
    "delete an object": (
        call("s3", "DELETE /b/k"), "s3:DeleteObject", "Write", ("arn:aws:s3:::b/k",),
    ),
    "delete many objects": (call("s3", "POST /b?delete"), "s3:DeleteObject", "Write", ()),
    "read a bucket's policy": (
        call("s3", "GET /b?policy"), "s3:GetBucketPolicy", "Read", ("arn:aws:s3:::b",),
    ),
    "write a bucket's policy": (
        call("s3", "PUT /b?policy"), "s3:PutBucketPolicy", "Permissions management",
        ("arn:aws:s3:::b",),
    ),
    "an object's acl": (
        call("s3", "PUT /b/k?acl"), "s3:PutObjectAcl", "Permissions management",
        ("arn:aws:s3:::b/k",),
    ),
    "a sub-resource with its name encoded": (
        call("s3", "PUT /b?%70olicy"), "s3:PutBucketPolicy", "Permissions management",
        ("arn:aws:s3:::b",),
    ),
    "get an object of an express bucket": (
        call("b--use1-az4--x-s3.s3express-use1-az4.us-east-1.amazonaws.com", "GET /k"),
        "s3:GetObject", "Read", (),
    ),
    "list the express buckets": (
        call("s3express-control.us-east-1.amazonaws.com", "GET /"),
        "s3express:ListAllMyDirectoryBuckets", "List", (),
    ),
    "an account's public access": (
        call(f"{ACCOUNT}.s3-control.eu-west-1.amazonaws.com", "PUT /v20180820/configuration/publicAccessBlock"),
        "s3:PutAccountPublicAccessBlock", "Permissions management", (),
    ),
    "get an item": (
        call("dynamodb", "POST /", '{"TableName":"t","Key":{}}', x_amz_target="DynamoDB_20120810.GetItem"),
        "dynamodb:GetItem", "Read", (ARN.format("dynamodb", "table/t"),),
    ),
    "write several items": (
        call("dynamodb", "POST /", "{}", x_amz_target="DynamoDB_20120810.TransactWriteItems"),
        "dynamodb:PutItem dynamodb:UpdateItem dynamodb:DeleteItem dynamodb:ConditionCheckItem",
        "Write", (),
    ),
    "send a message": (
        call("sqs", "POST /", f'{{"QueueUrl":"https://sqs.eu-west-1.amazonaws.com/{ACCOUNT}/q"}}', x_amz_target="AmazonSQS.SendMessage"),
        "sqs:SendMessage", "Write", (ARN.format("sqs", "q"),),
    ),
    "publish": (
        call("sns", "POST /", f"Action=Publish&TopicArn={ARN.format('sns', 'topic')}&Message=x", content_type=FORM),
        "sns:Publish", "Write", (ARN.format("sns", "topic"),),
    ),
    "describe instances": (
        call("ec2", "POST /", "Action=DescribeInstances&Version=2016-11-15", content_type=FORM),
        "ec2:DescribeInstances", "List", (),
    ),
    "describe instances in the query": (
        call("ec2", "GET /?Action=DescribeInstances&Version=2016-11-15"), "ec2:DescribeInstances", "List", (),
    ),
    "terminate instances": (
        call("ec2", "POST /", "Action=TerminateInstances&InstanceId.1=i-1", content_type=FORM),
        "ec2:TerminateInstances", "Write", (),
    ),
    "create a role": (
        call("iam.amazonaws.com", "POST /", "Action=CreateRole&RoleName=r", content_type=FORM),
        "iam:CreateRole", "Write", (),
    ),
    "attach a policy": (
        call("iam.amazonaws.com", "POST /", "Action=AttachRolePolicy&RoleName=r", content_type=FORM),
        "iam:AttachRolePolicy", "Permissions management", (),
    ),
    "who am i": (
        call("sts", "POST /", "Action=GetCallerIdentity&Version=2011-06-15", content_type=FORM),
        "sts:GetCallerIdentity", "Read", (),
    ),
    "invoke a function": (
        call("lambda", "POST /2015-03-31/functions/f/invocations"), "lambda:InvokeFunction", "Write",
        (ARN.format("lambda", "function:f"),),
    ),
    "invoke a function by arn": (
        call("lambda", f"POST /2015-03-31/functions/{ARN.format('lambda', 'function:f')}/invocations".replace(":", "%3A")),
        "lambda:InvokeFunction", "Write", (ARN.format("lambda", "function:f"),),
    ),
    "invoke a function by half an arn": (
        call("lambda", f"POST /2015-03-31/functions/{ACCOUNT}:function:f/invocations"),
        "lambda:InvokeFunction", "Write", (),
    ),
    "list functions": (
        call("lambda", "GET /2015-03-31/functions/"), "lambda:ListFunctions", "List", (),
    ),
    "metrics in cbor": (
        call("monitoring", "POST /service/GraniteServiceVersion20100801/operation/PutMetricData"),
        "cloudwatch:PutMetricData", "Write", (),
    ),
    "metrics in json": (
        call("monitoring", "POST /", "{}", x_amz_target="GraniteServiceVersion20100801.ListMetrics"),
        "cloudwatch:ListMetrics", "List", (),
    ),
    "metrics in query": (
        call("monitoring", "POST /", "Action=ListMetrics", content_type=FORM), "cloudwatch:ListMetrics", "List", (),
    ),
    "a zone's records": (
        call("route53.amazonaws.com", "GET /2013-04-01/hostedzone/Z1/rrset"),
        "route53:ListResourceRecordSets", "List", (),
    ),
    "invoke a model": (
        call("bedrock-runtime", "POST /model/m/converse", signing="bedrock"), "bedrock:InvokeModel", "Read", (),
    ),
    "an api of gateway": (
        call("apigateway", "DELETE /restapis/r"), "apigateway:DELETE", "Write", (),
    ),
    "a customer's api": (
        call("abc123.execute-api.eu-west-1.amazonaws.com", "POST /prod/pets"), "execute-api:Invoke", "Write",
        (ARN.format("execute-api", "abc123/prod/POST/pets"),),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("found", "actions", "level", "resources"), FAMOUS.values(), ids=FAMOUS)
def test_a_call_has_its_actions_level_and_resources(
    found: Call, actions: str, level: str, resources: tuple[str, ...]
) -> None:
    assert " ".join(found.actions) == actions
    assert found.access_level == level
    assert found.resources == resources


QUEUE = '{"QueueUrl":"https://sqs.eu-west-1.amazonaws.com/1/q"}'

UNCLEAR = {
    "two actions in the body": call(
        "ec2", "POST /", "Action=DescribeInstances&Action=TerminateInstances", content_type=FORM
    ),
    "an action in the body and in the query": call(
        "ec2", "POST /?Action=DescribeInstances", "Action=TerminateInstances", content_type=FORM
    ),
    "an action with its name encoded beside another": call(
        "ec2", "POST /", "Action=DescribeInstances&%41ction=TerminateInstances", content_type=FORM
    ),
    "an action in a body of another type": call(
        "ec2", "POST /?Action=DescribeInstances", "Action=TerminateInstances", content_type="x/y"
    ),
    "an operation that is none": call("ec2", "POST /", "Action=Explode", content_type=FORM),
    "no operation": call("ec2", "POST /", "", content_type=FORM),
    "a target of another service": call("sqs", "POST /", QUEUE, x_amz_target="AmazonSNS.Publish"),
    "a target without a service": call("sqs", "POST /", QUEUE, x_amz_target="SendMessage"),
    "a target and an action": call(
        "monitoring", "POST /?Action=ListMetrics", "{}",
        x_amz_target="GraniteServiceVersion20100801.DeleteAlarms",
    ),
    "a cbor path and a target": call(
        "monitoring", "POST /service/GraniteServiceVersion20100801/operation/ListMetrics", "",
        x_amz_target="GraniteServiceVersion20100801.DeleteAlarms",
    ),
    "a cbor path of another service": call(
        "monitoring", "POST /service/Other/operation/ListMetrics"
    ),
    "two sub-resources": call("s3", "PUT /b?acl&policy"),
    "a sub-resource that no operation has": call("s3", "GET /b/k?select"),
    "a sub-resource of a bucket on an object": call("s3", "PUT /b/k?policy"),
    "a method that no operation has": call("s3", "PATCH /b/k"),
    "a path that is no text": call("lambda", "GET /2015-03-31/functions/%ff"),
    "an empty label": call("lambda", "GET /2015-03-31/functions//configuration"),
}  # fmt: skip


@pytest.mark.parametrize("found", UNCLEAR.values(), ids=UNCLEAR)
def test_what_can_be_read_in_two_ways_is_unknown(found: Call) -> None:
    assert (found.operation, found.actions, found.resources) == ("", (), ())
    assert found.access_level == "Write"


UNSURE = {
    "a table named twice": ("dynamodb", '{"TableName":"a","TableName":"b"}', "DynamoDB_20120810.GetItem"),
    "a table that is no text": ("dynamodb", '{"TableName":["a"]}', "DynamoDB_20120810.GetItem"),
    "a table of another service": (
        "dynamodb", '{"TableName":"arn:aws:s3:::b"}', "DynamoDB_20120810.GetItem",
    ),
    "no object": ("dynamodb", '["TableName"]', "DynamoDB_20120810.GetItem"),
    "no json": ("dynamodb", "TableName", "DynamoDB_20120810.GetItem"),
    "a variable": ("dynamodb", '{"TableName":"${Account}"}', "DynamoDB_20120810.GetItem"),
    "a queue elsewhere": ("sqs", '{"QueueUrl":"a/b"}', "AmazonSQS.SendMessage"),
}  # fmt: skip


@pytest.mark.parametrize(("host", "body", "target"), UNSURE.values(), ids=UNSURE)
def test_a_resource_that_is_not_surely_it_is_unknown(host: str, body: str, target: str) -> None:
    found = call(host, "POST /", body, x_amz_target=target)

    assert found.actions
    assert found.resources == ()


HOSTS = st.sampled_from(
    ["s3", "ec2", "sqs", "lambda", "monitoring", "iam.amazonaws.com", "b.s3.amazonaws.com",
     "abc123.execute-api.eu-west-1.amazonaws.com", "logs"]
)  # fmt: skip


@given(
    HOSTS, st.sampled_from(["GET", "POST", "PUT"]), st.binary(max_size=60), st.binary(max_size=60)
)
def test_any_request_has_a_call(host: str, method: str, target: bytes, body: bytes) -> None:
    endpoint = at(host)
    headers = {b"x-amz-target": [target], b"content-type": [FORM.encode()]}

    found = call_of(
        endpoint, signing_name=endpoint.service, method=method, target=b"/" + target,
        headers=headers, body=body, account="",
    )  # fmt: skip

    assert found.service


@pytest.mark.parametrize(
    ("host", "asked", "headers", "resources", "needed"),
    [
        ("ec2", "POST /", {}, False, True),
        ("ec2", "GET /?Action=DescribeInstances", {}, True, False),
        ("s3", "PUT /b/k", {}, True, False),
        ("dynamodb", "POST /", {b"x-amz-target": [b"DynamoDB_20120810.GetItem"]}, True, True),
        ("dynamodb", "POST /", {b"x-amz-target": [b"DynamoDB_20120810.GetItem"]}, False, False),
        ("lambda", "POST /2015-03-31/functions/f/invocations", {}, True, False),
    ],
)
def test_the_body_is_needed_where_it_says_what_is_asked(
    host: str, asked: str, headers: dict[bytes, list[bytes]], resources: bool, needed: bool
) -> None:
    endpoint = at(host)
    method, _, target = asked.partition(" ")

    assert needed is needs_body(
        endpoint, signing_name=endpoint.service, method=method, target=target.encode(),
        headers=headers, resources=resources,
    )  # fmt: skip
