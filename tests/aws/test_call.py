# ruff: noqa: E501 - one call a row
"""Requests and the IAM actions that AWS documents for them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asking import ACCOUNT, FORM, at, call
from awsgate.aws.call import Call, call_of, head_of, recorded_levels

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
    "copy a version of an object": (
        call("s3", "PUT /b/k", x_amz_copy_source="/a/k?versionId=1"),
        "s3:PutObject s3:GetObject s3:GetObjectVersion", "Write", (),
    ),
    "a presigned upload with an acl in its query": (
        call("s3", "PUT /b/k?x-amz-acl=public-read&X-Amz-Signature=0"), "s3:PutObject s3:PutObjectAcl",
        "Permissions management", ("arn:aws:s3:::b/k",),
    ),
    "a presigned copy": (
        call("s3", "PUT /b/k?x-amz-copy-source=/a/k"), "s3:PutObject s3:GetObject s3:GetObjectVersion", "Write", (),
    ),
    "make a bucket that locks": (
        call("s3", "PUT /b", x_amz_bucket_object_lock_enabled="true", x_amz_object_ownership="ObjectWriter"),
        "s3:CreateBucket s3:PutBucketObjectLockConfiguration s3:PutBucketVersioning s3:PutBucketOwnershipControls",
        "Permissions management", ("arn:aws:s3:::b",),
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
    "delete many objects": (
        call("s3", "POST /b?delete", "<Delete><Object><Key>a/b</Key></Object><Quiet>true</Quiet><Object><Key>c&amp;d</Key></Object></Delete>"),
        "s3:DeleteObject", "Write", ("arn:aws:s3:::b/a/b", "arn:aws:s3:::b/c&d"),
    ),
    "delete a version among others": (
        call("s3", "POST /b?delete", "<Delete><Object><Key>a</Key><VersionId>1</VersionId></Object></Delete>"),
        "s3:DeleteObject s3:DeleteObjectVersion", "Write", ("arn:aws:s3:::b/a",),
    ),
    "delete objects where others are hidden": (
        call("s3", "POST /b?delete", "<Delete><Quiet><Object><Key>secret</Key></Object></Quiet><Object><Key>a</Key></Object></Delete>"),
        "s3:DeleteObject s3:DeleteObjectVersion", "Write", (),
    ),
    "delete objects by what they do not have": (
        call("s3", "POST /b?delete", "<Delete><Object><Key>a</Key><key>secret</key></Object></Delete>"),
        "s3:DeleteObject s3:DeleteObjectVersion", "Write", (),
    ),
    "delete objects that nobody can read": (
        call("s3", "POST /b?delete", "<!DOCTYPE a []><Delete><Object><Key>a</Key></Object></Delete>"),
        "s3:DeleteObject s3:DeleteObjectVersion", "Write", (),
    ),
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
        "lambda:InvokeFunction", "Write", (ARN.format("lambda", "function:f"),),
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
    "the sockets of a customer's api": (
        call("abc123.execute-api.eu-west-1.amazonaws.com", "POST /prod/%40connections/x"),
        "execute-api:ManageConnections", "Write", (),
    ),
    "a bucket of an outpost": (
        call(f"{ACCOUNT}.s3-control.eu-west-1.amazonaws.com", "PUT /v20180820/bucket/b/policy"),
        "s3-outposts:PutBucketPolicy", "Permissions management", (),
    ),
    "any query of timestream, since some write": (
        call("query-cell1.timestream.eu-west-1.amazonaws.com", "POST /", '{"QueryString":"UNLOAD"}', signing="timestream", x_amz_target="Timestream_20181101.Query"),
        "timestream:Select timestream:Unload", "Write", (),
    ),
    "a customer's api": (
        call("abc123.execute-api.eu-west-1.amazonaws.com", "POST /prod/pets"), "execute-api:Invoke", "Write",
        ("arn:aws:execute-api:eu-west-1:*:abc123/prod/POST/pets",),
    ),
    "a customer's api that a header names": (
        call("abc123.execute-api.eu-west-1.amazonaws.com", "POST /prod/pets", x_apigw_api_id="def456"),
        "execute-api:Invoke", "Write", (),
    ),
    "a customer's api behind a VPC endpoint": (
        call("vpce-1a-2b.execute-api.eu-west-1.vpce.amazonaws.com", "POST /prod/pets"),
        "execute-api:Invoke", "Write", (),
    ),
    "tags of an object": (
        call("s3", "PUT /b/k?tagging"), "s3:PutObjectTagging", "Tagging", ("arn:aws:s3:::b/k",),
    ),
    "tags of an instance": (
        call("ec2", "POST /", "Action=CreateTags&ResourceId.1=i-1", content_type=FORM),
        "ec2:CreateTags", "Tagging", (),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("found", "actions", "level", "resources"), FAMOUS.values(), ids=FAMOUS)
def test_a_call_has_its_actions_level_and_resources(
    found: Call, actions: str, level: str, resources: tuple[str, ...]
) -> None:
    assert " ".join(found.actions) == actions
    assert found.access_level == level
    assert found.resources == resources


LEVELS = {
    "an object": (call("s3", "PUT /b/k"), ("Write",)),
    "with an acl": (call("s3", "PUT /b/k", x_amz_acl="private"), ("Permissions management", "Write")),
    "with an acl in the query": (call("s3", "PUT /b/k?x-amz-acl=private"), ("Permissions management", "Write")),
    "with tags": (call("s3", "PUT /b/k", x_amz_tagging="a=b"), ("Write", "Tagging")),
    "a copy": (call("s3", "PUT /b/k", x_amz_copy_source="/a/k"), ("Write", "Read")),
    "not known": (call("s3", "PATCH /b/k"), ("Write",)),
}  # fmt: skip


@pytest.mark.parametrize(("found", "levels"), LEVELS.values(), ids=LEVELS)
def test_a_call_has_the_levels_of_all_its_actions(found: Call, levels: tuple[str, ...]) -> None:
    assert found.access_levels == levels
    assert found.access_level == levels[0]


@pytest.mark.parametrize(
    ("actions", "recorded", "levels"),
    [
        (
            "s3:PutObject s3:PutObjectAcl",
            "Permissions management",
            ("Permissions management", "Write"),
        ),
        ("s3:GetObject", "Read", ("Read",)),
        ("s3:PutObjectTagging", "Write", ("Write",)),  # a line of a version before
        ("eks:AccessKubernetesApi", "Write", ("Write",)),  # what a token stands for
        ("s3:NoSuchAction", "Write", ("Write",)),
        ("s3:GetObject", "nonsense", ("Write",)),
    ],
)
def test_levels_come_back_from_the_audit(
    actions: str, recorded: str, levels: tuple[str, ...]
) -> None:
    assert recorded_levels(actions.split(), recorded) == levels


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

    _, asks = head_of(
        endpoint, signing_name=endpoint.service, method=method, target=target.encode(),
        headers=headers, account="", resources=resources,
    )  # fmt: skip
    assert needed is asks
