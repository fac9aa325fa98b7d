# ruff: noqa: E501 - one call a row
"""Requests that AWS may read as another operation than we: each is unknown, so a Write.

Whoever may only read, or only some actions, gets none of them through.
"""

from __future__ import annotations

import re
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asking import FORM, at, call
from awsgate.aws.call import Call, call_of
from awsgate.aws.request import pairs_of

QUEUE = '{"QueueUrl":"https://sqs.eu-west-1.amazonaws.com/1/q"}'
READ, WRITE = "Action=DescribeInstances", "Action=TerminateInstances"
METRICS, TABLES = "GraniteServiceVersion20100801", "DynamoDB_20120810"
READ_TABLE, JSON = f"{TABLES}.GetItem", "application/x-amz-json-1.0"
BUCKET, UPLOAD = "b.s3.eu-west-1.amazonaws.com", "multipart/form-data; boundary=b"
DELETE = "<Delete><Object><Key>k</Key></Object></Delete>"
LONG = "X=" + "x" * 1024 * 1024

UNCLEAR = {
    # query and EC2
    "two actions in the body": call("ec2", "POST /", f"{READ}&{WRITE}", content_type=FORM),
    "the same action twice": call("ec2", "POST /", f"{READ}&{READ}", content_type=FORM),
    "an action in the body and in the query": call("ec2", f"POST /?{READ}", WRITE, content_type=FORM),
    "an action with its name encoded beside another": call("ec2", "POST /", f"{READ}&%41ction=TerminateInstances", content_type=FORM),
    "an action in small letters beside another": call("ec2", "POST /", f"{READ}&action=TerminateInstances", content_type=FORM),
    "an action in small letters": call("ec2", "POST /", "action=DescribeInstances", content_type=FORM),
    "an action behind a semicolon": call("ec2", "POST /", f"X=1;{WRITE}&{READ}", content_type=FORM),
    "an encoded action behind a semicolon": call("ec2", f"GET /?{READ}&X=1;%61ction=TerminateInstances"),
    "an action in a body of another type": call("ec2", f"POST /?{READ}", WRITE, content_type="x/y"),
    "an action in a multipart body": call("ec2", f"POST /?{READ}", "--b", content_type="multipart/form-data; boundary=b"),
    "an action in a body that is too long": call("ec2", f"POST /?{READ}", f"{LONG}&{WRITE}", content_type=FORM),
    "an action behind too many fields": call("ec2", f"POST /?{READ}", "X=1&" * 10_000 + WRITE, content_type=FORM),
    "an action behind too many semicolons": call("ec2", "POST /", "X=1;" * 10_001 + f"&{READ}", content_type=FORM),
    "a body of another type beside an action": call("ec2", f"POST /?{READ}", "--b", content_type="text/plain"),
    "an action in a compressed body": call("ec2", f"POST /?{READ}", b"\x1f\x8b\x08", content_type=FORM, content_encoding="gzip"),
    "an action in another charset": call("ec2", f"POST /?{READ}", "%00A%00c=x", content_type=f"{FORM}; charset=utf-16"),
    "an action in two types": call_of(
        at("ec2"), signing_name="ec2", method="POST", target=b"/", body=READ.encode(), account="",
        headers={b"content-type": [FORM.encode(), b"multipart/form-data"]},
    ),
    "an action whose body is not at hand": call("ec2", f"POST /?{READ}", None, content_type=FORM),
    "a body under GET": call("ec2", f"GET /?{READ}", WRITE, content_type=FORM),
    "a body under GET that is not at hand": call("ec2", f"GET /?{READ}", None, content_length="10"),
    "a body of unknown length under GET": call("ec2", f"GET /?{READ}", None, transfer_encoding="chunked"),
    "an action under HEAD": call("ec2", f"HEAD /?{READ}"),
    "an action under PUT": call("ec2", f"PUT /?{READ}"),
    "an action under OPTIONS": call("ec2", f"OPTIONS /?{READ}"),
    "another method in a header": call("ec2", f"GET /?{READ}", x_http_method_override="POST"),
    "an operation that is none": call("ec2", "POST /", "Action=Explode", content_type=FORM),
    "an operation in other letters": call("ec2", "POST /", "Action=describeinstances", content_type=FORM),
    "no operation": call("ec2", "POST /", "", content_type=FORM),
    # JSON
    "a target of another service": call("sqs", "POST /", QUEUE, x_amz_target="AmazonSNS.Publish"),
    "a target without a service": call("sqs", "POST /", QUEUE, x_amz_target="SendMessage"),
    "two targets in one header": call("dynamodb", "POST /", "{}", x_amz_target=f"{READ_TABLE}, {TABLES}.DeleteTable"),
    "two targets": call_of(
        at("dynamodb"), signing_name="dynamodb", method="POST", target=b"/", body=b"{}", account="",
        headers={b"x-amz-target": [READ_TABLE.encode(), b"DynamoDB_20120810.DeleteTable"]},
    ),
    "a target in the query": call("dynamodb", f"POST /?X-Amz-Target={TABLES}.DeleteTable", "{}", x_amz_target=READ_TABLE),
    "a target and an action": call("monitoring", "POST /?Action=ListMetrics", "{}", x_amz_target=f"{METRICS}.DeleteAlarms"),
    "a target, and an action that the service does not speak": call("dynamodb", "POST /?Action=DeleteTable", "{}", x_amz_target=READ_TABLE),
    "a target and a form": call("dynamodb", "POST /", "Action=DeleteTable", x_amz_target=READ_TABLE, content_type=FORM),
    "a target and a form without a type": call("monitoring", "POST /", "Action=DeleteAlarms", x_amz_target=f"{METRICS}.ListMetrics"),
    "a target and a body of another type": call("dynamodb", "POST /", "<a/>", x_amz_target=READ_TABLE, content_type="text/xml"),
    "a target under GET": call("dynamodb", "GET /", x_amz_target=READ_TABLE),
    "a target at a service that has none": call("ec2", f"POST /?{READ}", "", x_amz_target="AmazonEC2.TerminateInstances"),
    "a target at a service of paths": call("lambda", "GET /2015-03-31/functions/", x_amz_target="AWSLambda.DeleteFunction"),
    # CBOR
    "a cbor path and a target": call("monitoring", f"POST /service/{METRICS}/operation/ListMetrics", "", x_amz_target=f"{METRICS}.DeleteAlarms"),
    "a cbor path and an action": call("monitoring", f"POST /service/{METRICS}/operation/ListMetrics?Action=DeleteAlarms"),
    "a cbor path and a form": call("monitoring", f"POST /service/{METRICS}/operation/ListMetrics", "Action=DeleteAlarms", content_type=FORM),
    "a cbor path of another service": call("monitoring", "POST /service/Other/operation/ListMetrics"),
    "a cbor path behind another": call("monitoring", f"POST /x/service/{METRICS}/operation/ListMetrics"),
    "a cbor path with more behind it": call("monitoring", f"POST /service/{METRICS}/operation/ListMetrics/"),
    "a cbor path that is encoded": call("monitoring", f"POST /service/{METRICS}/operation/List%4Detrics"),
    "a cbor path under GET": call("monitoring", f"GET /service/{METRICS}/operation/ListMetrics"),
    "a cbor path with an action behind it": call("monitoring", f"POST /service/{METRICS}/%6fperation/DeleteAlarms?Action=ListMetrics", "", content_type=FORM),
    "cbor at a service that has none": call("ec2", f"POST /service/AmazonEC2/operation/TerminateInstances?{READ}", ""),
    "cbor at a service of paths": call("lambda", "GET /2015-03-31/functions/", smithy_protocol="rpc-v2-cbor"),
    # REST
    "a path that is no text": call("lambda", "GET /2015-03-31/functions/%ff"),
    "an empty label": call("lambda", "GET /2015-03-31/functions//configuration"),
    "a path that leads back": call("lambda", "GET /2015-03-31/functions/../versions"),
    "a path that leads back, encoded": call("lambda", "GET /2015-03-31/functions/%2e%2e/versions"),
    "a path that leads back once it is decoded": call("lambda", "GET /2015-03-31/functions/f%2F..%2Fg"),
    "a path that stays": call("lambda", "GET /2015-03-31/functions/./versions"),
    "a path with a parameter": call("lambda", "GET /2015-03-31/functions/f;x=y"),
    "a path with an encoded parameter": call("lambda", "GET /2015-03-31/functions/f%3bx"),
    "a path with a backslash": call("lambda", "GET /2015-03-31/functions/f\\policy"),
    "a path with a zero byte": call("lambda", "GET /2015-03-31/functions/f%00"),
    "a query that the operation does not have": call("lambda", "GET /2015-03-31/functions/f?operation=delete"),
    "an action in the query of a service of paths": call("lambda", "GET /2015-03-31/functions/?Action=DeleteFunction"),
    "a literal of the path twice": call("cloudfront.amazonaws.com", "POST /2020-05-31/tagging?Operation=Tag&Operation=Untag&Resource=r"),
    "a literal of the path, and a value that none has": call("cloudfront.amazonaws.com", "POST /2020-05-31/tagging?Operation=Tag&Operation=Delete&Resource=r"),
    "a query of too many fields": call("lambda", "GET /2015-03-31/functions/?" + "x-1&" * 10_001),
    "another method for a path": call("lambda", "GET /2015-03-31/functions/f", x_http_method_override="DELETE"),
    "another method for what customers run": call("search-a-b.eu-west-1.es.amazonaws.com", "GET /i/_doc/1", x_http_method_override="DELETE"),
    "what customers run at a path that a service has": call("x.eu-west-1.osis.amazonaws.com", "GET /2022-01-01/osis/listPipelines"),
    # S3
    "two sub-resources": call("s3", "PUT /b?acl&policy"),
    "one sub-resource twice": call("s3", "PUT /b?acl&acl"),
    "a sub-resource that no operation has": call("s3", "GET /b/k?select"),
    "a sub-resource that nobody knows": call("s3", "PUT /b?newThing"),
    "a sub-resource in capitals": call("s3", "PUT /b/k?ACL"),
    "a sub-resource with its name encoded": call("s3", "PUT /b?%70olicy"),
    "a sub-resource of a bucket on an object": call("s3", "PUT /b/k?policy"),
    "half of an upload's part": call("s3", "PUT /b/k?partNumber=1"),
    "a part that is copied under another method": call("s3", "POST /b/k?partNumber=1&uploadId=u"),
    "a method that no operation has": call("s3", "PATCH /b/k"),
    "a bucket and key in one part": call("s3", "GET /b%2Fk"),
    "a bucket that is none": call("s3", "GET /b:c"),
    "no bucket": call("s3", "GET //b/k"),
    "a bucket that leads back": call("s3", "GET /../b"),
    "a target at s3": call("s3", "GET /b/k", x_amz_target="AmazonS3.DeleteObject"),
    "a form upload": call("s3", "POST /b", "--b", content_type=UPLOAD),
    "a form upload at a bucket's host": call(BUCKET, "POST /", "--b", content_type=UPLOAD),
    "a form upload whose type is in capitals": call("s3", "POST /b?delete", "--b", content_type=UPLOAD.replace("multipart/form", "Multipart/FORM")),
    "a form upload whose type is not whole": call("s3", "POST /b?delete", "--b", content_type="multipart/form-data-of-another-kind"),
    "a form upload that selects": call("s3", "POST /b/k?select&select-type=2", "--b", content_type=UPLOAD),
    "a form upload that selects, before its body is there": call("s3", "POST /b/k?select&select-type=2", None, content_type=UPLOAD),
    "a form upload that selects at a bucket's host": call(BUCKET, "POST /k?select&select-type=2", "--b", content_type=UPLOAD),
    "a form upload that deletes": call("s3", "POST /b?delete", DELETE, content_type=UPLOAD),
    "a form upload that begins parts": call("s3", "POST /b/k?uploads", "--b", content_type=UPLOAD),
    "a form upload that puts parts together": call("s3", "POST /b/k?uploadId=1", "--b", content_type=UPLOAD),
    "a form upload that restores": call("s3", "POST /b/k?restore", "--b", content_type=UPLOAD),
    "a form upload at an access point": call("reports-1.s3-accesspoint.eu-west-1.amazonaws.com", "POST /k?uploads", "--b", content_type=UPLOAD),
    "a form upload of another signing name": call("s3", "POST /b/k?uploads", "--b", signing="s3express", content_type=UPLOAD),
}  # fmt: skip


@pytest.mark.parametrize("found", UNCLEAR.values(), ids=UNCLEAR)
def test_what_can_be_read_in_two_ways_is_unknown(found: Call) -> None:
    assert (found.operation, found.actions, found.resources) == ("", (), ())
    assert found.access_level == "Write"


CLEAR = {
    "what a form upload would be without its type": (call("s3", "POST /b/k?select&select-type=2", "<a/>", content_type="application/xml"), "s3:GetObject"),
    "an upload in parts": (call("s3", "POST /b/k?uploads", "", content_type="multipart/mixed; boundary=b"), "s3:PutObject"),
    "a form without a type": (call("ec2", "POST /", READ), "ec2:DescribeInstances"),
    "a form with a charset": (call("ec2", "POST /", READ, content_type=f"{FORM}; charset=utf-8"), "ec2:DescribeInstances"),
    "a semicolon in a value": (call("sns", "POST /", "Action=Publish&Message=a;b", content_type=FORM), "sns:Publish"),
    "an action in a queue's path": (call("sqs", "POST /123456789012/q", "Action=ReceiveMessage", content_type=FORM), "sqs:ReceiveMessage"),
    "a cbor path": (call("monitoring", f"POST /service/{METRICS}/operation/ListMetrics", None, smithy_protocol="rpc-v2-cbor"), "cloudwatch:ListMetrics"),
    "json whose body is not at hand": (call("monitoring", "POST /", None, content_type=JSON, x_amz_target=f"{METRICS}.ListMetrics"), "cloudwatch:ListMetrics"),
    "json in the older cbor": (call("kinesis", "POST /", b"\xbf\xff", content_type="application/x-amz-cbor-1.1", x_amz_target="Kinesis_20131202.ListStreams"), "kinesis:ListStreams"),
    "an object that is called like a cbor path": (call("s3", "GET /b/service/x/operation/y"), "s3:GetObject"),
    "an object that is called Action": (call("s3", "GET /b/Action=x"), "s3:GetObject"),
    "what SDKs note in the query": (call("s3", "GET /b/k?x-id=GetObject&X-Amz-Date=1"), "s3:GetObject"),
    "a URL of the old signature": (call("s3", "GET /b/k?AWSAccessKeyId=a&Expires=1&Signature=s"), "s3:GetObject"),
    "a query parameter of the operation named action": (call("es", "GET /2021-01-01/opensearch/domain/d/domainMaintenances?action=REBOOT_NODE"), "es:ListDomainMaintenances"),
    "an encoded ARN in a path": (call("lambda", "GET /2017-03-31/tags/arn%3Aaws%3Alambda%3Aeu-west-1%3A123456789012%3Afunction%3Af"), "lambda:ListTags"),
}  # fmt: skip


@pytest.mark.parametrize(("found", "action"), CLEAR.values(), ids=CLEAR)
def test_what_clients_send_is_known(found: Call, action: str) -> None:
    assert found.actions == (action,)


def test_a_path_that_a_server_may_decode_first_asks_for_both() -> None:
    found = call("s3tables", "GET /namespaces/arn%3Aaws%3As3tables%3Aeu-west-1%3A1%3Abucket%2Fb")

    assert found.actions == ("s3tables:ListNamespaces", "s3tables:GetNamespace")
    assert found.resources == ()


def test_a_path_decoded_twice_asks_for_what_it_then_is() -> None:
    found = call("lambda", "GET /2015-03-31/functions/f%252Fpolicy")

    assert found.actions == ("lambda:GetFunction", "lambda:GetPolicy")


def test_a_doubled_slash_in_a_path_asks_for_what_it_is_without() -> None:
    found = call("lambda", "DELETE /2015-03-31/functions/f%2Fconcurrency")

    assert set(found.actions) == {"lambda:DeleteFunction"}


ODD = st.sampled_from(
    ["Action=GetUser", "Action=DeleteUser", "&", ";", "?", "%41ction=DeleteUser", "action=DeleteUser",
     "Version=2010-05-08", "=", "%26", "+", "X=1", "\x00", "Action", "A%63tion=DeleteUser", "ACTION=DeleteUser"]
)  # fmt: skip
PIECES = st.lists(ODD, max_size=6).map("".join)


@given(PIECES, PIECES, st.sampled_from(["GET", "POST"]))
def test_no_form_that_holds_two_actions_is_a_read(query: str, body: str, method: str) -> None:
    found = call("iam.amazonaws.com", f"{method} /?{query}", body, content_type=FORM)

    # A reader that is as lenient as can be: whatever looks like the writing action.
    plain = f"{query}&{body}".replace("%41", "A").replace("%63", "c").replace("+", " ").lower()
    actions = re.findall(r"(?:^|[&;?])[\s\0]*action=(\w*)", plain)
    if found.operation:
        assert set(actions) == {found.operation.lower()}


def test_actions_behind_many_semicolons_are_read_at_once() -> None:
    """Nobody's signature is proved yet: to look for each in all fields took many seconds."""
    form = b"Action;" * 9_900 + b"&a" * 9_900
    before = perf_counter()

    found = pairs_of(form)

    assert found is not None
    assert sum(name == "Action" for name, _ in found) == 9_900
    assert perf_counter() - before < 3
