"""Every form in which AWS requests come, with real clients, to an AWS that checks all.

Each test ends in ``arrived``: the strict AWS found nothing wrong, the keys were the
assumed role's and never the client's, and the session is bob's.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import time
from collections.abc import Iterator

import botocore.session
import pytest
from botocore import UNSIGNED
from botocore.auth import S3SigV4QueryAuth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from aws_server.model import Request
from e2e.forms import Stage, everything_received, stage_in
from rawclient import secure

BUCKET = "odd-bucket"
KEY = "a b+c/é/😀 x%2F.txt"
MIB = 1 << 20
MRAP = "arn:aws:s3::123456789012:accesspoint/mfzwi23gnjvgw.mrap"
EXPRESS = "bb--usw2-az1--x-s3"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage_in(tmp_path_factory.mktemp("forms")) as made:
        yield made


def arrived(stage: Stage, *, session_name: str = "bob") -> Request:
    """Check the last request that AWS saw."""
    last = stage.last()
    assert (last.fault, last.detail) == ("", "")
    assert last.access_key_id not in ("", stage.keys.access_key_id)
    assert last.session_name == session_name
    assert not [value for _, value in last.fields if stage.keys.session_token in value]
    assert stage.keys.session_token not in last.target
    return last


# --- presigned ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("region", "signature"),
    [("eu-west-1", "s3v4"), ("us-east-1", "s3v4"), ("us-east-1", None), ("us-east-1", "s3")],
    ids=["v4", "v4 in us-east-1", "boto3's default in us-east-1", "v2"],
)
def test_presigned_urls_of_boto3_put_and_get(
    stage: Stage, region: str, signature: str | None
) -> None:
    s3 = stage.client(
        "s3", region=region, signature_version=signature, s3={"addressing_style": "virtual"}
    )
    where = {"Bucket": BUCKET, "Key": KEY}
    body = os.urandom(1000)

    put = stage.fetch("PUT", s3.generate_presigned_url("put_object", where), body)
    stored = arrived(stage)
    got = stage.fetch("GET", s3.generate_presigned_url("get_object", where))

    assert (put.status, stored.stored, got.status, got.body) == (200, True, 200, body)
    assert arrived(stage).auth == "header"
    assert "Signature" not in arrived(stage).target


def test_a_presigned_url_of_sts_is_a_call_like_any_other(stage: Stage) -> None:
    url = stage.client("sts").generate_presigned_url("get_caller_identity", HttpMethod="GET")

    answer = stage.fetch("GET", url)

    assert answer.status == 200
    assert b"assumed-role/ExamplePowerAccess/bob" in answer.body
    arrived(stage)


def test_headers_that_a_signer_moved_into_the_query_are_headers_again(stage: Stage) -> None:
    moved = "x-amz-acl=private&x-amz-meta-by=b%20o%2Bb&x-amz-checksum-crc32=AAAAAA%3D%3D"
    request = AWSRequest("PUT", f"https://{BUCKET}.s3.us-east-1.amazonaws.com/moved?{moved}&x-id=1")
    keys = Credentials(
        stage.keys.access_key_id, stage.keys.secret_access_key, stage.keys.session_token
    )
    S3SigV4QueryAuth(keys, "s3", "us-east-1", expires=60).add_auth(request)

    answer = stage.fetch("PUT", request.url, b"data")

    last = arrived(stage)
    assert (answer.status, last.target) == (200, "/moved?x-id=1")
    assert (last.get("x-amz-acl"), last.get("x-amz-meta-by")) == ("private", "b o+b")
    assert last.get("x-amz-checksum-crc32") is None, "the JS SDK's, of an empty body"


def test_a_refused_upload_says_why_after_one_request(stage: Stage) -> None:
    """boto3 sends Expect, and takes a status line of two words for no answer at all."""
    other = Stage(
        stage.aws,
        stage.gateway,
        type(stage.keys)(stage.keys.access_key_id, "w" * 43, stage.keys.session_token),
        stage.bundle,
    )
    before = len(stage.gateway.audit())

    with pytest.raises(ClientError, match="awsgate bad-signature") as caught:
        other.client("s3", retries={"total_max_attempts": 5}).put_object(
            Bucket=BUCKET, Key="k", Body=b"x" * MIB
        )

    assert caught.value.response["Error"]["Code"] == "SignatureDoesNotMatch"
    assert len(stage.gateway.audit()) == before + 1


@pytest.mark.parametrize("style", ["virtual", "path"])
@pytest.mark.parametrize("signature", ["s3v4", "s3"])
def test_a_browser_uploads_with_a_post_form(stage: Stage, signature: str, style: str) -> None:
    region = "eu-west-1" if signature == "s3v4" else "us-east-1"
    s3 = stage.client(
        "s3", region=region, signature_version=signature, s3={"addressing_style": style}
    )
    form = s3.generate_presigned_post(
        BUCKET,
        "uploads/${filename}",
        Fields={"x-amz-meta-by": "bob"},
        Conditions=[["content-length-range", 1, 2000], {"x-amz-meta-by": "bob"}],
    )
    data = os.urandom(1500)
    body, content_type = multipart(form["fields"], data)

    answer = stage.fetch("POST", form["url"], body, {"Content-Type": content_type})

    assert (BUCKET in form["url"].partition("//")[2].partition("/")[0]) == (style == "virtual")
    assert answer.status in (200, 204), answer.body
    assert arrived(stage).stored


def multipart(fields: dict[str, str], data: bytes) -> tuple[bytes, str]:
    """Write a form as a browser does."""
    edge = "----WebKitFormBoundary7MA4YWxkTrZu0gW"
    parts = [
        f'--{edge}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    parts.append(
        f'--{edge}\r\nContent-Disposition: form-data; name="file"; filename="x.bin"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n".encode()
    )
    return (
        b"".join(parts) + data + f"\r\n--{edge}--\r\n".encode(),
        f"multipart/form-data; boundary={edge}",
    )


# --- bodies ----------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
def test_an_upload_with_an_unsigned_trailer_arrives_byte_for_byte(
    stage: Stage, algorithm: str
) -> None:
    body = os.urandom(300_000)

    stage.client("s3").put_object(Bucket=BUCKET, Key=KEY, Body=body, ChecksumAlgorithm=algorithm)

    last = arrived(stage)
    assert (last.payload_mode, last.body_bytes) == ("STREAMING-UNSIGNED-PAYLOAD-TRAILER", 300_000)
    assert last.stored


def test_a_multipart_upload_and_all_that_goes_with_it(stage: Stage) -> None:
    s3 = stage.client("s3")
    body = os.urandom(9 * MIB)
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key="big")["UploadId"]
    parts = []
    for number in (1, 2):
        piece = body[: 5 * MIB] if number == 1 else body[5 * MIB :]
        made = s3.upload_part(
            Bucket=BUCKET, Key="big", UploadId=upload, PartNumber=number, Body=piece
        )
        parts.append({"PartNumber": number, "ETag": made["ETag"]})

    s3.complete_multipart_upload(
        Bucket=BUCKET, Key="big", UploadId=upload, MultipartUpload={"Parts": parts}
    )

    assert stage.aws.objects[BUCKET, "big"].sha256 == hashlib.sha256(body).hexdigest()
    assert stage.aws.faults() == []


def test_a_body_that_the_client_compressed_goes_on_as_it_came(stage: Stage) -> None:
    watch = stage.client("cloudwatch", request_min_compression_size_bytes=1)

    watch.put_metric_data(Namespace="n", MetricData=[{"MetricName": "m" * 200, "Value": 1.0}] * 20)

    last = arrived(stage)
    assert last.get("content-encoding") == "gzip"
    assert last.body is not None
    assert b"m" * 200 in gzip.decompress(last.body)


# --- SigV4a and S3 Express -----------------------------------------------------------------


def test_a_multi_region_access_point_is_signed_with_sigv4a(stage: Stage) -> None:
    s3 = stage.client("s3", region="us-west-2")
    body = os.urandom(5000)

    s3.put_object(Bucket=MRAP, Key=KEY, Body=body)
    put = arrived(stage)
    got = s3.get_object(Bucket=MRAP, Key=KEY)["Body"].read()

    assert got == body
    assert put.algorithm == arrived(stage).algorithm == "AWS4-ECDSA-P256-SHA256"


def test_a_global_endpoint_of_eventbridge_is_signed_with_sigv4a(stage: Stage) -> None:
    entry = {"Source": "s", "DetailType": "t", "Detail": "{}"}

    stage.client("events").put_events(Entries=[entry], EndpointId="abcde.veo")

    assert arrived(stage).algorithm == "AWS4-ECDSA-P256-SHA256"


def test_s3_express_sessions_are_the_gateways_on_one_side_and_awss_on_the_other(
    stage: Stage,
) -> None:
    body = os.urandom(5000)
    with everything_received() as received:
        s3 = stage.client("s3", region="us-west-2")
        s3.put_object(Bucket=EXPRESS, Key="k", Body=body)
        put = arrived(stage, session_name="")
        got = s3.get_object(Bucket=EXPRESS, Key="k")["Body"].read()

    assert got == body
    assert put.service == "s3express"
    assert put.get("x-amz-s3session-token") in stage.aws.issued
    assert stage.leaks_in(received) == []
    assert b"<AccessKeyId>GATE" in received


# --- credentials in answers ------------------------------------------------------------------


def test_no_credentials_of_awss_reach_the_client(stage: Stage) -> None:
    with everything_received() as received:
        keys = stage.client("sts").assume_role(
            RoleArn="arn:aws:iam::123456789012:role/x", RoleSessionName="somebody-else"
        )["Credentials"]

    assert keys["AccessKeyId"].startswith("GATE")
    assert stage.aws.issued
    assert stage.leaks_in(received) == []
    other = Stage(
        stage.aws,
        stage.gateway,
        type(stage.keys)(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"]),
        stage.bundle,
    )
    other.client("s3").put_object(Bucket=BUCKET, Key="by-surrogate", Body=b"x")
    assert (stage.last().fault, stage.last().stored) == ("", True)


def test_a_web_identity_gets_surrogates_and_may_use_them_in_an_account_of_the_policy(
    stage: Stage,
) -> None:
    session = botocore.session.get_session()
    sts = session.create_client(
        "sts", region_name="us-east-1", verify=stage.bundle,
        config=stage.config(signature_version=UNSIGNED),
    )  # fmt: skip
    with everything_received() as received:
        keys = sts.assume_role_with_web_identity(
            RoleArn="arn:aws:iam::123456789012:role/web",
            RoleSessionName="jenkins",
            WebIdentityToken="not.checked.here",
        )["Credentials"]

    assert keys["AccessKeyId"].startswith("GATE")
    assert stage.leaks_in(received) == []
    other = Stage(
        stage.aws,
        stage.gateway,
        type(stage.keys)(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"]),
        stage.bundle,
    )
    other.client("s3").put_object(Bucket=BUCKET, Key="web", Body=b"x")
    assert (stage.last().fault, stage.last().session_name) == ("", "jenkins")


# --- answers that take their time --------------------------------------------------------------


def signed_call(stage: Stage, host: str, target: str, body: bytes = b"") -> bytes:
    """Give a signed POST of a JSON service."""
    keys = Credentials(
        stage.keys.access_key_id, stage.keys.secret_access_key, stage.keys.session_token
    )
    request = AWSRequest("POST", f"https://{host}{target}", data=body)
    request.headers["Host"] = host
    request.headers["Content-Length"] = str(len(body))
    SigV4Auth(keys, host.partition(".")[0], "us-east-1").add_auth(request)
    lines = [f"{name}: {value}" for name, value in request.headers.items()]
    return "\r\n".join([f"POST {target} HTTP/1.1", *lines, "", ""]).encode() + body


def test_an_event_stream_comes_piece_by_piece(stage: Stage) -> None:
    host = "kinesis.us-east-1.amazonaws.com"
    seen = []
    with secure(stage.gateway, host) as wire:
        wire.send(signed_call(stage, host, "/stream?chunks=5&delay=0.2&size=100"))
        began = time.monotonic()
        while len(seen) < 5:
            data = wire.sock.recv(65536)
            seen += [time.monotonic() - began] * data.count(b'"sent"')

    assert seen[0] < 0.15, "the first piece does not wait for the last"
    assert 0.7 < seen[-1] < 2.0
    arrived(stage)


def test_a_slow_answer_is_waited_for(stage: Stage) -> None:
    host = "lambda.us-east-1.amazonaws.com"
    with secure(stage.gateway, host) as wire:
        wire.send(signed_call(stage, host, "/slow?seconds=3"))
        answer = wire.read_answer()

    assert (answer.status, answer.body) == (200, b"late")
