"""The strict AWS takes what real signers make, and refuses every twin with one thing wrong.

Signers: botocore (and boto3 with its own endpoints), and requests that other SDKs sent to
AWS endpoints. Presigned URLs, SigV4a, S3 Express and STS are in ``test_aws_server_keys``;
chunks, events, forms and sockets in ``test_aws_server_bodies``.
"""

from __future__ import annotations

import ast
import base64
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from aws_server.deliver import Call
from aws_server.hosts import expected
from aws_server.model import Identity
from aws_server.server import BASE_KEYS, StrictAws
from aws_server.signing import assert_refused, client, last, session, sign

FOLDER = Path(__file__).with_name("aws_server")
S3_HOST = "bkt.s3.eu-central-1.amazonaws.com"
DYNAMO_HOST = "dynamodb.eu-central-1.amazonaws.com"
MRAP_HOST = "mfzwi23gnjvgw.mrap.accesspoint.s3-global.amazonaws.com"
EXPRESS_HOST = "bkt--euc1-az1--x-s3.s3express-euc1-az1.eu-central-1.amazonaws.com"

Change = Callable[[Call], Call]


@pytest.fixture(scope="module")
def server() -> Iterator[StrictAws]:
    with StrictAws() as running:
        yield running


@pytest.fixture
def aws(server: StrictAws) -> StrictAws:
    server.reset()
    return server


def test_it_imports_nothing_of_the_gateway() -> None:
    imported = {
        name
        for module in FOLDER.glob("*.py")
        for node in ast.walk(ast.parse(module.read_text("utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in [getattr(node, "module", None) or "", *[item.name for item in node.names]]
    }

    assert "aws_server.model" in imported
    assert not [name for name in imported if name.split(".")[0] in ("awsgate", "strictaws")]


# -- what real clients send -----------------------------------------------------------------

CAPTURED: list[dict[str, Any]] = json.loads((FOLDER / "captured.json").read_text("utf-8"))
CAPTURED_KEY = Identity("AKIAGATEWAYTEST00001", "gwsecret" * 5)


def replayed(aws: StrictAws, record: dict[str, Any]) -> Call:
    fields = tuple((name, value) for name, value in record["fields"])
    body = base64.b64decode(record["body"])
    call = Call(record["method"], record["target"], fields, body).without("expect")
    when = record["target"].partition("X-Amz-Date=")[2][:16] or call.get("x-amz-date")
    aws.clock = lambda: datetime.strptime(when, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    aws.keys.add(CAPTURED_KEY)
    return call


@pytest.mark.parametrize("record", CAPTURED, ids=[record["client"] for record in CAPTURED])
def test_a_request_that_another_sdk_signed_is_taken(aws: StrictAws, record: dict[str, Any]) -> None:
    _, request = last(aws, replayed(aws, record))

    assert (request.fault, request.detail) == ("", "")
    assert request.access_key_id == CAPTURED_KEY.access_key_id


@pytest.mark.parametrize("record", CAPTURED, ids=[record["client"] for record in CAPTURED])
def test_the_same_request_to_another_path_is_refused(
    aws: StrictAws, record: dict[str, Any]
) -> None:
    call = replayed(aws, record)
    path, question, query = call.target.partition("?")
    moved = Call(call.method, f"{path}x{question}{query}", call.fields, call.body)

    assert_refused(aws, moved, "signature-wrong")


def test_boto3_uploads_reads_lists_and_deletes(aws: StrictAws) -> None:
    s3 = client(aws, "s3", session(aws))
    body = b"x" * 100_000

    s3.put_object(Bucket="bkt", Key="a b/é//..", Body=body)
    listed = s3.list_objects_v2(Bucket="bkt")
    got = s3.get_object(Bucket="bkt", Key="a b/é//..")["Body"].read()
    s3.delete_object(Bucket="bkt", Key="a b/é//..")

    assert aws.faults() == []
    assert got == body
    assert [entry["Key"] for entry in listed["Contents"]] == ["a b/é//.."]
    assert aws.objects == {}
    put = aws.requests[0]
    assert put.payload_mode == "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
    assert (put.body, put.stored, put.session_name) == (body, True, "ann")
    assert put.wire_bytes > put.body_bytes == len(body)


def test_boto3_uploads_in_parts_that_make_one_object(aws: StrictAws) -> None:
    s3 = client(aws, "s3")
    upload = s3.create_multipart_upload(Bucket="bkt", Key="big")["UploadId"]
    where = {"Bucket": "bkt", "Key": "big", "UploadId": upload}
    parts = [
        {"PartNumber": n, "ETag": s3.upload_part(**where, PartNumber=n, Body=piece)["ETag"]}
        for n, piece in ((2, b"b" * 10_000), (1, b"a" * 2_000_000))
    ]

    s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts[::-1]})
    s3.put_object(Bucket="bkt", Key="whole", Body=b"a" * 2_000_000 + b"b" * 10_000)

    assert aws.faults() == []
    assert aws.objects["bkt", "big"] == aws.objects["bkt", "whole"]
    assert aws.objects["bkt", "big"].size == 2_010_000


def test_generated_objects_of_any_size_can_be_read_whole_and_in_ranges(aws: StrictAws) -> None:
    s3 = client(aws, "s3")

    whole = s3.get_object(Bucket="bkt", Key="generated/200001")["Body"].read()
    part = s3.get_object(Bucket="bkt", Key="generated/200001", Range="bytes=70000-199999")

    assert len(whole) == 200_001
    assert part["Body"].read() == whole[70_000:200_000]


def test_path_style_against_the_servers_own_address_is_taken(aws: StrictAws) -> None:
    _, request = last(aws, sign(f"{aws.url}/bkt/key"))

    assert request.fault == ""
    assert aws.objects["bkt", "key"].size == 5


def test_an_unknown_service_is_verified_and_answered_with_nothing(aws: StrictAws) -> None:
    client(aws, "dynamodb").list_tables()

    assert aws.requests[0].service == "dynamodb"
    assert aws.faults() == []


HOSTS = {
    "bkt.s3.eu-west-1.amazonaws.com": "s3 eu-west-1 bkt",
    "a.dotted.bkt.s3-fips.dualstack.us-gov-west-1.amazonaws.com": "s3 us-gov-west-1 a.dotted.bkt",
    "s3.cn-north-1.amazonaws.com.cn": "s3 cn-north-1 -",
    "bkt.s3.amazonaws.com": "s3 us-east-1 bkt",
    "bkt.s3-accelerate.amazonaws.com": "s3 - bkt",
    "123456789012.s3-control.eu-west-1.amazonaws.com": "s3 eu-west-1 -",
    "ap-123456789012.s3-accesspoint.eu-west-1.amazonaws.com": "s3 eu-west-1 ap-123456789012",
    "ap-1.op-01.s3-outposts.us-west-2.amazonaws.com": "s3-outposts us-west-2 ap-1",
    "olap-1.s3-object-lambda.eu-west-1.amazonaws.com": "s3-object-lambda eu-west-1 olap-1",
    "s3express-control.us-west-2.amazonaws.com": "s3express us-west-2 -",
    "bb--usw2-az1--x-s3.s3express-usw2-az1.us-west-2.amazonaws.com":
        "s3express us-west-2 bb--usw2-az1--x-s3",
    MRAP_HOST: "s3 - mfzwi23gnjvgw",
    "abcde.veo.endpoint.events.amazonaws.com": "events - -",
    "events.eu-west-1.amazonaws.com": "events eu-west-1 -",
    "sts.eu-west-1.amazonaws.com": "sts eu-west-1 -",
    "iam.amazonaws.com": "iam us-east-1 -",
    "globalaccelerator.amazonaws.com": "globalaccelerator us-west-2 -",
    "123456789012.ddb.us-east-1.amazonaws.com": "dynamodb us-east-1 -",
    "dynamodb.eu-west-1.api.aws": "dynamodb eu-west-1 -",
    "transcribestreaming.eu-west-1.amazonaws.com": "transcribe eu-west-1 -",
    "bedrock-runtime.eu-west-1.amazonaws.com": "bedrock eu-west-1 -",
    "api.ecr.eu-west-1.amazonaws.com": "ecr eu-west-1 -",
    "email.eu-west-1.amazonaws.com": "ses eu-west-1 -",
    "runtime.sagemaker.eu-west-1.amazonaws.com": "sagemaker eu-west-1 -",
    "abc123.execute-api.eu-west-1.amazonaws.com": "execute-api eu-west-1 -",
    "search-x.eu-west-1.es.amazonaws.com": "es eu-west-1 -",
    "abc-ats.iot.eu-west-1.amazonaws.com": "iotdata,iotdevicegateway eu-west-1 -",
    "iot.eu-west-1.amazonaws.com": "iot eu-west-1 -",
    "bkt.bucket.vpce-1a2b.s3.eu-west-1.vpce.amazonaws.com": "s3 eu-west-1 bkt",
    "vpce-1a2b.sqs.eu-west-1.vpce.amazonaws.com": "sqs eu-west-1 -",
    "127.0.0.1": "- - -",
    "example.com": "",
    "bkt.s3.eu-west-1.amazonaws.com.example.com": "",
}  # fmt: skip


@pytest.mark.parametrize(("host", "found"), HOSTS.items(), ids=HOSTS)
def test_a_host_stands_for_a_service_and_a_region(host: str, found: str) -> None:
    endpoint = expected(host)

    words = (
        [",".join(sorted(endpoint.services)), endpoint.region, endpoint.bucket] if endpoint else []
    )
    assert " ".join(word or "-" for word in words) == found


# -- one thing wrong ------------------------------------------------------------------------

AUTH = "authorization"
TWINS: dict[str, tuple[Change, str]] = {
    "no signature": (lambda c: c.without(AUTH), "authorization-missing"),
    "two signatures": (lambda c: c.plus(AUTH, c.get(AUTH)), "authorization-repeated"),
    "a signature in the query too": (
        lambda c: Call(c.method, c.target + "?X-Amz-Signature=0", c.fields, c.body),
        "authorization-twice",
    ),
    "another algorithm": (lambda c: c.having(AUTH, "AWS a:b"), "algorithm-unsupported"),
    "half a header": (
        lambda c: c.having(AUTH, c.get(AUTH).rpartition(",")[0]),
        "authorization-malformed",
    ),
    "a host that is not signed": (lambda c: c.rewritten("=host;", "="), "host-not-signed"),
    "a date that is not signed": (lambda c: c.rewritten(";x-amz-date", ""), "date-not-signed"),
    "no date": (lambda c: c.without("x-amz-date"), "date-missing"),
    "an x-amz header that was added": (
        lambda c: c.plus("x-amz-acl", "public-read"),
        "header-not-signed",
    ),
    "a signed header that was removed": (
        lambda c: c.without("x-amz-meta-owner"),
        "signed-header-absent",
    ),
    "a signed header that was changed": (
        lambda c: c.having("x-amz-meta-owner", "eve"),
        "signature-wrong",
    ),
    "another method": (lambda c: Call("DELETE", c.target, c.fields, c.body), "signature-wrong"),
    "another key": (lambda c: Call(c.method, "/other", c.fields, c.body), "signature-wrong"),
    "another bucket": (lambda c: c.rewritten("bkt.s3", "other.s3"), "signature-wrong"),
    "a parameter that was added": (
        lambda c: Call(c.method, c.target + "?versionId=1", c.fields, c.body),
        "signature-wrong",
    ),
    "another body": (
        lambda c: Call(c.method, c.target, c.fields, b"jello"),
        "content-sha256-wrong",
    ),
    "no hash of the body": (
        lambda c: c.without("x-amz-content-sha256").rewritten("x-amz-content-sha256;", ""),
        "content-sha256-missing",
    ),
    "a scope of another day": (
        lambda c: c.rewritten(f"/{c.get('x-amz-date')[:8]}/", "/20200101/"),
        "scope-day",
    ),
    "an unknown key": (lambda c: c.rewritten(BASE_KEYS[0], "AKIANOBODY"), "key-unknown"),
    "a token of nobody": (
        lambda c: c.plus("x-amz-security-token", "t").rewritten(
            "x-amz-meta-owner,", "x-amz-meta-owner;x-amz-security-token,"
        ),
        "token-unexpected",
    ),
    "two Hosts": (lambda c: c.plus("Host", c.get("host")), "host-not-once"),
    "a Host of nobody": (lambda c: c.rewritten(S3_HOST, "bkt.example.com"), "host-unknown"),
    "two lengths": (
        lambda c: c.plus("Transfer-Encoding", "chunked").having("Content-Length", "5"),
        "framing-ambiguous",
    ),
    "no length": (
        lambda c: c.without("Content-Length").plus("Transfer-Encoding", "chunked"),
        "length-missing",
    ),
    "a wrong MD5": (
        lambda c: c.plus("Content-MD5", base64.b64encode(bytes(16)).decode()),
        "content-md5-wrong",
    ),
}


@pytest.mark.parametrize(("change", "fault"), TWINS.values(), ids=TWINS)
def test_a_twin_with_one_thing_wrong_is_refused(aws: StrictAws, change: Change, fault: str) -> None:
    call = sign(f"https://{S3_HOST}/key")
    _, request = last(aws, call)
    assert request.fault == ""
    assert aws.objects.pop(("bkt", "key")).size == 5

    assert_refused(aws, change(call), fault)


@pytest.mark.parametrize(
    ("host", "service", "region", "fault"),
    [
        (S3_HOST, "s3", "eu-west-1", "scope-region"),
        (S3_HOST, "s3express", "eu-central-1", "scope-service"),
        (DYNAMO_HOST, "s3", "eu-central-1", "scope-service"),
        (DYNAMO_HOST, "dynamodb", "us-east-1", "scope-region"),
        ("sts.amazonaws.com", "sts", "eu-west-1", "scope-region"),
        ("abc.execute-api.eu-central-1.amazonaws.com", "lambda", "eu-central-1", "scope-service"),
        ("transcribestreaming.eu-central-1.amazonaws.com", "transcribestreaming", "eu-central-1",
         "scope-service"),
        (MRAP_HOST, "s3", "us-east-1", "algorithm-unsupported"),
        (EXPRESS_HOST, "s3", "eu-central-1", "scope-service"),
    ],
)  # fmt: skip
def test_a_scope_that_does_not_fit_the_host_is_refused(
    aws: StrictAws, host: str, service: str, region: str, fault: str
) -> None:
    signer = S3SigV4Auth if service == "s3" else SigV4Auth

    assert_refused(
        aws, sign(f"https://{host}/k", service=service, region=region, signer=signer), fault
    )


@pytest.mark.parametrize(("minutes", "fault"), [(14, ""), (-14, ""), (16, "skew"), (-16, "skew")])
def test_a_clock_may_be_wrong_by_a_quarter_of_an_hour(
    aws: StrictAws, minutes: int, fault: str
) -> None:
    call = sign(f"https://{S3_HOST}/key")
    aws.clock = lambda: datetime.now(UTC) + timedelta(minutes=minutes)

    assert last(aws, call)[1].fault == fault


def test_a_session_needs_its_own_token_unexpired(aws: StrictAws) -> None:
    keys, other = session(aws), session(aws, "eve")
    url = f"https://{S3_HOST}/key"
    wrong = Credentials(keys.access_key, keys.secret_key, other.token)

    assert last(aws, sign(url, keys=keys))[1].session_name == "ann"
    aws.objects.clear()
    assert_refused(aws, sign(url, keys=wrong), "token-wrong")
    assert_refused(
        aws, sign(url, keys=Credentials(keys.access_key, keys.secret_key)), "token-missing"
    )
    unsigned = sign(url, keys=keys).rewritten(";x-amz-security-token", "")
    assert_refused(aws, unsigned, "header-not-signed")
    call = sign(url, keys=keys)
    server_keys = aws.keys.identities[keys.access_key]
    assert server_keys.expires is not None
    aws.clock = lambda: datetime.now(UTC) + timedelta(minutes=14)
    expired = aws.keys.issue("role", seconds=-60)
    assert last(aws, call)[1].fault == ""
    aws.objects.clear()
    old = Credentials(expired.access_key_id, expired.secret, expired.token)
    assert_refused(aws, sign(url, keys=old), "token-expired")


def test_errors_are_worded_as_the_service_words_them(aws: StrictAws) -> None:
    bad = Credentials(BASE_KEYS[0], "another secret")

    codes = {}
    for service, operation in (("s3", "list_buckets"), ("sts", "get_caller_identity"),
                               ("dynamodb", "list_tables")):  # fmt: skip
        with pytest.raises(ClientError) as caught:
            getattr(client(aws, service, bad), operation)()
        codes[service] = caught.value.response["Error"]["Code"]

    assert set(codes.values()) == {"SignatureDoesNotMatch"}
    assert aws.faults() == ["signature-wrong"] * 3
