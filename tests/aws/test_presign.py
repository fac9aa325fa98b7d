"""SigV4 in the query, against botocore, the AWS CRT, AWS's example and real clients."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import botocore.auth
import botocore.session
import pytest
from awscrt import auth as crt
from awscrt.http import HttpHeaders, HttpRequest
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

from awsgate.aws import presign, sigv4
from awsgate.aws.sigv4 import SignatureSyntaxError
from signers import KEYS, REGION, SESSION_KEYS, WHEN

UNSIGNED = "UNSIGNED-PAYLOAD"
CLIENT = sigv4.SigningKeys("AKIAGATEWAYTEST00001", "gwsecret" * 5, "")
BOTH_KEYS = {"long-term keys": KEYS, "session keys": SESSION_KEYS}


def request_of(
    method: str, host: str, target: bytes, extra: sigv4.Headers = ()
) -> sigv4.SignedRequest:
    path, _, query = target.partition(b"?")
    headers = sigv4.group_headers([(b"Host", host.encode()), *extra])
    return sigv4.SignedRequest(method, path, query, headers)


def accepts(
    method: str,
    host: str,
    target: bytes,
    extra: sigv4.Headers = (),
    *,
    keys: sigv4.SigningKeys = KEYS,
    payload: str = UNSIGNED,
) -> bool:
    """True if the URL verifies: what cannot be parsed does not."""
    request = request_of(method, host, target, extra)
    try:
        parsed = presign.parse(request.query)
        return presign.matches(request, parsed, secret=keys.secret_access_key, payload=payload)
    except (SignatureSyntaxError, KeyError):
        return False


def accepts_url(method: str, url: str, keys: sigv4.SigningKeys, payload: str) -> bool:
    split = urlsplit(url)
    target = f"{split.path or '/'}?{split.query}".encode()
    return accepts(method, split.netloc, target, keys=keys, payload=payload)


# --- botocore -----------------------------------------------------------------------


@lru_cache
def client(service: str, region: str, token: str, style: str = "auto") -> Any:
    keys = SESSION_KEYS if token else KEYS
    return botocore.session.Session().create_client(
        service,
        region_name=region,
        aws_access_key_id=keys.access_key_id,
        aws_secret_access_key=keys.secret_access_key,
        aws_session_token=keys.session_token or None,
        config=Config(signature_version="s3v4", s3={"addressing_style": style})
        if service == "s3"
        else None,
    )


S3_CALLS: dict[str, tuple[str, str, str, dict[str, str]]] = {
    "get object": ("get_object", "eu-central-1", "auto", {"Key": "a.txt"}),
    "a key full of odd characters": (
        "get_object", "eu-central-1", "auto", {"Key": "a b+c/é//😀 x%2F~'(*)&=;:@.txt"},
    ),
    "a key that looks like dots": ("get_object", "us-east-1", "auto", {"Key": "x/../y/./z"}),
    "path style": ("get_object", "us-east-1", "path", {"Key": "//a//"}),
    "response overrides": (
        "get_object", "us-west-2", "auto",
        {"Key": "k", "ResponseContentType": "text/plain; charset=utf-8",
         "ResponseContentDisposition": 'attachment; filename="é & ü+.txt"'},
    ),
    "a version": ("get_object", "us-west-2", "virtual", {"Key": "k", "VersionId": "3/L4+k="}),
    "put object": ("put_object", "cn-north-1", "auto", {"Key": "k"}),
    "a part": (
        "upload_part", "us-gov-west-1", "auto", {"Key": "k", "UploadId": "a/b", "PartNumber": "2"},
    ),
    "a listing": ("list_objects_v2", "us-east-1", "auto", {"Prefix": "a b/", "Delimiter": "/"}),
}  # fmt: skip


@pytest.mark.parametrize("keys", BOTH_KEYS.values(), ids=BOTH_KEYS)
@pytest.mark.parametrize("bucket", ["plain-bucket", "dotted.bucket.name"])
@pytest.mark.parametrize(("call", "region", "style", "params"), S3_CALLS.values(), ids=S3_CALLS)
def test_what_botocore_presigns_for_s3_verifies(
    call: str, region: str, style: str, params: dict[str, Any], bucket: str, keys: sigv4.SigningKeys
) -> None:
    params = {"Bucket": bucket, **params}
    if "PartNumber" in params:
        params["PartNumber"] = int(params["PartNumber"])
    method = "PUT" if call in ("put_object", "upload_part") else "GET"

    url = client("s3", region, keys.session_token, style).generate_presigned_url(
        call, params, ExpiresIn=900
    )

    assert accepts_url(method, url, keys, UNSIGNED)
    assert not accepts_url("HEAD", url, keys, UNSIGNED)
    assert not accepts_url(method, url, keys, sigv4.EMPTY_SHA256)
    assert not accepts_url(method, url, replace(keys, secret_access_key="other"), UNSIGNED)
    parsed = presign.parse(urlsplit(url).query.encode())
    assert parsed.expires_s == 900
    assert parsed.session_token == keys.session_token
    assert (parsed.authorization.region, parsed.authorization.service) == (region, "s3")


@pytest.mark.parametrize("keys", BOTH_KEYS.values(), ids=BOTH_KEYS)
@pytest.mark.parametrize(
    ("service", "call", "params"),
    [
        ("sts", "get_caller_identity", {}),
        ("polly", "synthesize_speech", {"OutputFormat": "mp3", "Text": "é +&", "VoiceId": "Ivy"}),
    ],
)
def test_what_botocore_presigns_for_other_services_verifies_over_an_empty_body(
    service: str, call: str, params: dict[str, str], keys: sigv4.SigningKeys
) -> None:
    url = client(service, REGION, keys.session_token).generate_presigned_url(
        call, params, HttpMethod="GET"
    )

    assert accepts_url("GET", url, keys, sigv4.EMPTY_SHA256)
    assert not accepts_url("GET", url, keys, UNSIGNED)


def botocore_presigned(
    method: str,
    host: str,
    target: str,
    headers: dict[str, str],
    *,
    service: str,
    keys: sigv4.SigningKeys,
    expires_s: int,
) -> str:
    """Give the URL that botocore's query signer makes at ``WHEN``."""
    signers = {"s3": botocore.auth.S3SigV4QueryAuth}
    signer = signers.get(service, botocore.auth.SigV4QueryAuth)
    # botocore leaves an empty token in the query, unlike no token.
    credentials = Credentials(
        keys.access_key_id, keys.secret_access_key, keys.session_token or None
    )
    request = AWSRequest(method=method, url=f"https://{host}{target}", headers=headers)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.auth, "get_current_datetime", lambda: WHEN)
        signer(credentials, service, REGION, expires=expires_s).add_auth(request)
    return str(request.url)


SIGNED_ALIKE: dict[str, tuple[str, str, str, str, dict[str, str]]] = {
    "an upload with headers": (
        "PUT", "b.s3.eu-central-1.amazonaws.com", "/a%20b//c%252F", "s3",
        {"x-amz-acl": "private", "Content-Type": "text/plain"},
    ),
    "s3 with a query": (
        "GET", "b.s3.eu-central-1.amazonaws.com", "/k?versionId=a%2Fb&x-id=GetObject", "s3", {},
    ),
    "a web socket": ("GET", "abc.execute-api.eu-central-1.amazonaws.com", "/prod", "execute-api",
                     {}),
    "transcribe": (
        "GET", "transcribestreaming.eu-central-1.amazonaws.com:8443",
        "/stream-transcription-websocket?language-code=en-US&media-encoding=pcm&sample-rate=16000",
        "transcribe", {},
    ),
    "a path with dots and a colon": ("GET", "h.example.com", "/a/../b//c%3Ad", "lambda", {}),
}  # fmt: skip


@pytest.mark.parametrize("keys", BOTH_KEYS.values(), ids=BOTH_KEYS)
@pytest.mark.parametrize(
    ("method", "host", "target", "service", "headers"), SIGNED_ALIKE.values(), ids=SIGNED_ALIKE
)
def test_presign_gives_the_signature_that_botocore_gives(
    method: str,
    host: str,
    target: str,
    service: str,
    headers: dict[str, str],
    keys: sigv4.SigningKeys,
) -> None:
    theirs = botocore_presigned(
        method, host, target, headers, service=service, keys=keys, expires_s=300
    )
    fields = [(b"Host", host.encode()), *((n.encode(), v.encode()) for n, v in headers.items())]

    ours = presign.presign(
        method,
        target.encode(),
        fields,
        signed=["host", "x-not-there", *(name.lower() for name in headers)],
        keys=keys,
        region=REGION,
        service=service,
        payload=UNSIGNED if service == "s3" else sigv4.EMPTY_SHA256,
        now=WHEN,
        expires_s=300,
    )

    path, _, query = ours.decode().partition("?")
    assert path == target.partition("?")[0]
    assert sorted(parse_qsl(query)) == sorted(parse_qsl(urlsplit(theirs).query))
    assert query.startswith(target.partition("?")[2])


# --- the AWS CRT ----------------------------------------------------------------------


def crt_presigned(
    service: str, host: str, target: str, *, algorithm: Any, region: str, token_after: bool
) -> bytes:
    request = HttpRequest("GET", target, HttpHeaders([("host", host)]))
    config = crt.AwsSigningConfig(
        algorithm=algorithm,
        signature_type=crt.AwsSignatureType.HTTP_REQUEST_QUERY_PARAMS,
        credentials_provider=crt.AwsCredentialsProvider.new_static(
            SESSION_KEYS.access_key_id, SESSION_KEYS.secret_access_key, SESSION_KEYS.session_token
        ),
        region=region,
        service=service,
        date=WHEN,
        use_double_uri_encode=service != "s3",
        should_normalize_uri_path=service != "s3",
        signed_body_value=UNSIGNED if service == "s3" else sigv4.EMPTY_SHA256,
        omit_session_token=token_after,
        expiration_in_seconds=None if token_after else 60,
    )
    crt.aws_sign_request(request, config).result(10)
    return str(request.path).encode()


CRT = {
    "s3": ("s3", "b.s3.amazonaws.com", "/a%20b//c?x-id=GetObject", UNSIGNED),
    "another service": ("polly", "polly.amazonaws.com", "/v1/a%3Ab?T=x%20y", sigv4.EMPTY_SHA256),
}


@pytest.mark.parametrize(("service", "host", "target", "payload"), CRT.values(), ids=CRT)
def test_what_the_crt_presigns_verifies(service: str, host: str, target: str, payload: str) -> None:
    url = crt_presigned(
        service,
        host,
        target,
        algorithm=crt.AwsSigningAlgorithm.V4,
        region=REGION,
        token_after=False,
    )

    assert accepts("GET", host, url, keys=SESSION_KEYS, payload=payload)
    without = url.replace(b"&X-Amz-Security-Token=token%2F%2F%3D%3D", b"")
    assert without != url
    assert not accepts("GET", host, without, keys=SESSION_KEYS, payload=payload)


@pytest.mark.parametrize(("service", "fine"), [("iotdevicegateway", True), ("iotdata", False)])
def test_a_token_appended_after_signing_is_for_iot_alone(service: str, fine: bool) -> None:
    host = "abc-ats.iot.eu-central-1.amazonaws.com"
    url = crt_presigned(
        service,
        host,
        "/mqtt",
        algorithm=crt.AwsSigningAlgorithm.V4,
        region=REGION,
        token_after=True,
    )

    parsed = presign.parse(url.partition(b"?")[2])

    assert parsed.session_token == SESSION_KEYS.session_token
    assert parsed.token_signed is not fine
    assert parsed.expires_s is None
    assert accepts("GET", host, url, keys=SESSION_KEYS, payload=sigv4.EMPTY_SHA256) is fine


def test_iot_may_sign_the_token_as_well() -> None:
    host = "abc-ats.iot.eu-central-1.amazonaws.com"
    url = crt_presigned(
        "iotdevicegateway",
        host,
        "/mqtt",
        algorithm=crt.AwsSigningAlgorithm.V4,
        region=REGION,
        token_after=False,
    )

    assert accepts("GET", host, url, keys=SESSION_KEYS, payload=sigv4.EMPTY_SHA256)


def test_presign_appends_the_token_where_the_crt_does() -> None:
    host = "abc-ats.iot.eu-central-1.amazonaws.com"

    url = presign.presign(
        "GET",
        b"/mqtt",
        [(b"Host", host.encode())],
        signed=["host"],
        keys=SESSION_KEYS,
        region=REGION,
        service="iotdevicegateway",
        payload=sigv4.EMPTY_SHA256,
        now=WHEN,
        expires_s=60,
        token_after=True,
    )
    theirs = botocore_presigned(
        "GET",
        host,
        "/mqtt",
        {},
        service="iotdevicegateway",
        keys=replace(SESSION_KEYS, session_token=""),
        expires_s=60,
    )

    ours, _, token = url.rpartition(b"&")
    assert token == b"X-Amz-Security-Token=token%2F%2F%3D%3D"
    assert sorted(parse_qsl(ours.partition(b"?")[2].decode())) == sorted(
        parse_qsl(urlsplit(theirs).query)
    )


def test_sigv4a_of_the_crt_is_read_and_left_to_others_to_check() -> None:
    url = crt_presigned(
        "s3",
        "m.accesspoint.s3-global.amazonaws.com",
        "/k?x-id=GetObject",
        algorithm=crt.AwsSigningAlgorithm.V4_ASYMMETRIC,
        region="*",
        token_after=False,
    )

    parsed = presign.parse(url.partition(b"?")[2])

    assert parsed.algorithm == "AWS4-ECDSA-P256-SHA256"
    assert parsed.region_set == "*"
    assert parsed.authorization.region == ""
    assert parsed.authorization.access_key_id == SESSION_KEYS.access_key_id
    assert parsed.authorization.service == "s3"
    assert bytes.fromhex(parsed.authorization.signature)[0] == 0x30
    assert parsed.rest == b"x-id=GetObject"
    with pytest.raises(ValueError, match="expected AWS4-HMAC-SHA256"):
        presign.matches(request_of("GET", "h", url), parsed, secret="s", payload=UNSIGNED)


# --- AWS's example, and real clients ------------------------------------------------------

EXAMPLE_KEYS = sigv4.SigningKeys(
    "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", ""
)
EXAMPLE_HOST = "examplebucket.s3.amazonaws.com"
EXAMPLE = (
    b"/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE"
    b"%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z"
    b"&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature="
    b"aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
)


def test_the_url_printed_in_the_s3_api_reference_verifies_and_comes_out_again() -> None:
    made = presign.presign(
        "GET",
        b"/test.txt",
        [(b"Host", EXAMPLE_HOST.encode())],
        signed=["host"],
        keys=EXAMPLE_KEYS,
        region="us-east-1",
        service="s3",
        payload=UNSIGNED,
        now=datetime(2013, 5, 24, tzinfo=UTC),
        expires_s=86400,
    )

    assert accepts("GET", EXAMPLE_HOST, EXAMPLE, keys=EXAMPLE_KEYS)
    assert made == EXAMPLE


ODD = "/a%20b%2Bc/%C3%A9//%F0%9F%98%80%20x%252F.txt"
# Client: host, what is before the signature's part, day and time, region/service, the
# parameters after the date, signature. As recorded, put together again by ``captured``.
CAPTURED = {
    "AWS CLI 2": (
        "bkt-awscli2deb.s3.us-east-1.amazonaws.com", f"{ODD}?", "20261122T065814Z", "s3",
        "X-Amz-Expires=3600&X-Amz-SignedHeaders=host",
        "90d82c340b29956ff85de26623a68f7c908832368ca860fc0255125a1deedde4",
    ),
    "boto3, s3": (
        "bkt-boto.s3.amazonaws.com", "/x//y?", "20261122T075324Z", "s3",
        "X-Amz-SignedHeaders=host&X-Amz-Expires=3600",
        "5cf15c3755669db81fb84ad9dfa24862060fa4e426d4e4f1f38bfd8e92de2825",
    ),
    "boto3, sts as for an EKS token": (
        "sts.us-east-1.amazonaws.com", "/?Action=GetCallerIdentity&Version=2011-06-15&",
        "20261122T075324Z", "sts", "X-Amz-SignedHeaders=host&X-Amz-Expires=60",
        "7a5a58112fe0ebdd0743127d0016534afb6852ca6abe0923bbda31420d54cb97",
    ),
    "Go 1": (
        "bkt-gov1.s3.amazonaws.com", f"{ODD.replace('//', '/')}?", "20261122T071010Z", "s3",
        "X-Amz-Expires=300&X-Amz-SignedHeaders=host",
        "5aa355ccd9dc5df0621ffe26ef91026b1170118ff332a6a7ae3c6c35ba73f3ce",
    ),
    "Go 2": (
        "bkt-gov2.s3.us-east-1.amazonaws.com", f"{ODD}?", "20261122T071011Z", "s3",
        "X-Amz-Expires=900&X-Amz-SignedHeaders=host&x-id=GetObject",
        "1f286de210782ca14d5ec8e9a9c448021805c27ad1498bf4d10b094113243fdc",
    ),
    "s5cmd": (
        "bkt-s5cmd.s3.amazonaws.com", f"{ODD}?", "20261122T070250Z", "s3",
        "X-Amz-Expires=10800&X-Amz-SignedHeaders=host",
        "e896d50d18cdf411448611602d0af88a0a74b794cbdf85d30d73adf109d426c4",
    ),
    "rclone link": (
        "bkt-rclone-pypi.s3.us-east-1.amazonaws.com", "/rc?", "20261122T070243Z", "s3",
        "X-Amz-Expires=604800&X-Amz-SignedHeaders=host%3Bx-amz-checksum-mode&x-id=GetObject",
        "463474bf1a9d4fbb02112a46be546177de4304511ed1f23ce1f8f776808154a3",
    ),
    "boto3, polly": (
        "polly.us-east-1.amazonaws.com",
        "/v1/speech?OutputFormat=mp3&Text=hi%20%C3%A9&VoiceId=Joanna&", "20261122T075327Z",
        "polly", "X-Amz-SignedHeaders=host&X-Amz-Expires=3600",
        "03dc55d77502551c310e919888f649b877c2323449920f038ed78cf929ba38fe",
    ),
}  # fmt: skip
NOT_AS_SENT = {
    "rclone link": "signs x-amz-checksum-mode, which whoever follows the link does not send",
    "boto3, polly": "was signed for POST (the operation's own method) and sent with GET",
}


def captured(name: str, *, method: str = "GET", extra: sigv4.Headers = ()) -> bool:
    host, before, when, service, after, signature = CAPTURED[name]
    credential = f"{CLIENT.access_key_id}%2F{when[:8]}%2Fus-east-1%2F{service}%2Faws4_request"
    target = (
        f"{before}X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={credential}"
        f"&X-Amz-Date={when}&{after}&X-Amz-Signature={signature}"
    )
    payload = UNSIGNED if service == "s3" else sigv4.EMPTY_SHA256
    return accepts(method, host, target.encode(), extra, keys=CLIENT, payload=payload)


@pytest.mark.parametrize("name", CAPTURED)
def test_the_urls_of_real_clients_verify_but_the_listed_ones(name: str) -> None:
    assert captured(name) == (name not in NOT_AS_SENT)


def test_the_listed_ones_verify_as_they_were_meant() -> None:
    assert captured("rclone link", extra=[(b"x-amz-checksum-mode", b"ENABLED")])
    assert captured("boto3, polly", method="POST")


# --- one byte changed, two readings ---------------------------------------------------------

LONG = botocore_presigned(
    "GET",
    "b.s3.amazonaws.com",
    "/a%20b//c?versionId=a%2Fb&x-id=GetObject",
    {},
    service="s3",
    keys=SESSION_KEYS,
    expires_s=60,
).removeprefix("https://b.s3.amazonaws.com")


def meaning(target: bytes) -> object:
    """What the signature covers, worked out by others' code."""
    path, _, query = target.partition(b"?")
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True, encoding="latin-1")
    return path, sorted(pairs)


@pytest.mark.parametrize("change", [lambda b: b ^ 1, lambda b: b ^ 0x20, lambda _: ord("&")])
def test_a_url_with_any_one_byte_changed_is_accepted_only_if_it_means_the_same(
    change: Any,
) -> None:
    original = LONG.encode()
    accepted = 0

    for at in range(1, len(original)):
        target = original[:at] + bytes([change(original[at])]) + original[at + 1 :]
        same = meaning(target) == meaning(original)
        accepted += same
        assert accepts("GET", "b.s3.amazonaws.com", target, keys=SESSION_KEYS) == same, target

    assert accepts("GET", "b.s3.amazonaws.com", original, keys=SESSION_KEYS)
    assert accepted < len(original) / 10


@pytest.mark.parametrize("addition", ["prefix=x", "x-id=GetObject", "acl", "x-amz-acl=private"])
def test_a_parameter_added_to_a_signed_url_breaks_it(addition: str) -> None:
    host = "b.s3.amazonaws.com"

    assert not accepts("GET", host, f"{LONG}&{addition}".encode(), keys=SESSION_KEYS)
    split = LONG.replace("?", f"?{addition}&")
    assert not accepts("GET", host, split.encode(), keys=SESSION_KEYS)


GOOD = EXAMPLE.partition(b"?")[2].decode()
TWICE = "{} is there more than once"
CASE = "{} is written in another case"
EXPIRES = "X-Amz-Expires is not a number from 1 to 604800"
CHARACTER = "{} is empty or holds a character it may not hold"
SCOPE = "Credential is not <key id>/<YYYYMMDD>/<region>/<service>/aws4_request"
MALFORMED = {
    "empty": ("", "X-Amz-Algorithm is missing"),
    "no algorithm": (GOOD.partition("&")[2], "X-Amz-Algorithm is missing"),
    "no credential": (GOOD.replace("X-Amz-Credential", "c"), "X-Amz-Credential is missing"),
    "no date": (GOOD.replace("X-Amz-Date", "d"), "X-Amz-Date is missing"),
    "no signed headers": (
        GOOD.replace("X-Amz-SignedHeaders", "s"), "X-Amz-SignedHeaders is missing",
    ),
    "no signature": (GOOD.rpartition("&")[0], "X-Amz-Signature is missing"),
    "expiry of zero": (GOOD.replace("=86400", "=0"), EXPIRES),
    "negative expiry": (GOOD.replace("=86400", "=-1"), EXPIRES),
    "expiry with a plus": (GOOD.replace("=86400", "=%2B86400"), EXPIRES),
    "expiry with a leading zero": (GOOD.replace("=86400", "=086400"), EXPIRES),
    "expiry over seven days": (GOOD.replace("=86400", "=604801"), EXPIRES),
    "expiry of seven digits": (GOOD.replace("=86400", "=6048000"), EXPIRES),
    "expiry as a fraction": (GOOD.replace("=86400", "=1.5"), EXPIRES),
    "empty expiry": (GOOD.replace("=86400", "="), CHARACTER.format("X-Amz-Expires")),
    "expiry without a value": (
        GOOD.replace("Expires=86400", "Expires"), CHARACTER.format("X-Amz-Expires"),
    ),
    "expiry twice": (GOOD + "&X-Amz-Expires=86400", TWICE.format("X-Amz-Expires")),
    "expiry twice, once in lower case": (
        GOOD + "&x-amz-expires=1", CASE.format("X-Amz-Expires"),
    ),
    "expiry twice, once encoded": (
        GOOD + "&%58-Amz-Expires=1", TWICE.format("X-Amz-Expires"),
    ),
    "signature twice": (
        GOOD + "&X-Amz-Signature=" + "0" * 64, TWICE.format("X-Amz-Signature"),
    ),
    "credential twice, once in upper case and encoded": (
        GOOD + "&%58-AMZ-CREDENTIAL=x", CASE.format("X-Amz-Credential"),
    ),
    "lower-case names alone": (GOOD.lower(), CASE.format("X-Amz-Algorithm")),
    "token twice": (
        GOOD + "&X-Amz-Security-Token=a&X-Amz-Security-Token=a",
        TWICE.format("X-Amz-Security-Token"),
    ),
    "empty token": (
        GOOD + "&X-Amz-Security-Token=", CHARACTER.format("X-Amz-Security-Token"),
    ),
    "token with a raw plus, which is a space": (
        GOOD + "&X-Amz-Security-Token=a+b", CHARACTER.format("X-Amz-Security-Token"),
    ),
    "line break in the token": (
        GOOD + "&X-Amz-Security-Token=a%0d%0ab", CHARACTER.format("X-Amz-Security-Token"),
    ),
    "another part inside the credential": (
        GOOD.replace("aws4_request", "aws4_request%2CSignedHeaders=host"),
        CHARACTER.format("X-Amz-Credential"),
    ),
    "space after the credential": (
        GOOD.replace("aws4_request", "aws4_request%20"), CHARACTER.format("X-Amz-Credential"),
    ),
    "credential encoded twice": (GOOD.replace("%2F", "%252F"), SCOPE),
    "another algorithm": (
        GOOD.replace("SHA256", "SHA512"),
        "X-Amz-Algorithm is not AWS4-HMAC-SHA256 or AWS4-ECDSA-P256-SHA256",
    ),
    "a day that is not the date's": (
        GOOD.replace("%2F20130524", "%2F20130525"),
        "date of the credential scope differs from X-Amz-Date",
    ),
    "no such date": (GOOD.replace("T000000Z", "T250000Z"), "x-amz-date is not a date"),
    "host is not signed": (
        GOOD.replace("Headers=host", "Headers=x-amz-acl"), "X-Amz-SignedHeaders does not hold host",
    ),
    "unsorted names": (
        GOOD.replace("Headers=host", "Headers=x-a%3Bhost"),
        "SignedHeaders is not sorted, or repeats a name",
    ),
    "signature in upper case": (
        GOOD.replace("aeeed9", "AEEED9"), "Signature is not 64 lower-case hex digits",
    ),
    "body hash twice": (
        GOOD + "&X-Amz-Content-Sha256=a&x-amz-content-sha256=b",
        "X-Amz-Content-Sha256 is there more than once",
    ),
    "version 2 as well": (
        GOOD + "&AWSAccessKeyId=AKID", "AWSAccessKeyId is there beside a SigV4 signature",
    ),
    "a region set without sigv4a": (
        GOOD + "&X-Amz-Region-Set=*",
        "X-Amz-Region-Set belongs to AWS4-ECDSA-P256-SHA256 alone",
    ),
    "sigv4a without a region set": (
        GOOD.replace("HMAC-SHA256", "ECDSA-P256-SHA256")
        .replace("us-east-1%2F", "")
        .replace("aeeed9", "30eed9"),
        "X-Amz-Region-Set belongs to AWS4-ECDSA-P256-SHA256 alone",
    ),
    "sigv4a with a region": (
        GOOD.replace("HMAC-SHA256", "ECDSA-P256-SHA256").replace("aeeed9", "30eed9"), SCOPE,
    ),
    "sigv4a without a terminator": (
        GOOD.replace("HMAC-SHA256", "ECDSA-P256-SHA256")
        .replace("aeeed9", "30eed9")
        .replace("aws4_request", "aws5_request"),
        "Credential is not <key id>/<YYYYMMDD>/<service>/aws4_request",
    ),
    "sigv4a with an hmac": (
        GOOD.replace("HMAC-SHA256", "ECDSA-P256-SHA256"),
        "X-Amz-Signature is not a DER signature in lower-case hex",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("query", "expected"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_query_is_refused_and_the_reason_holds_none_of_it(
    query: str, expected: str
) -> None:
    with pytest.raises(SignatureSyntaxError) as caught:
        presign.parse(query.encode())

    assert str(caught.value) == expected
    assert caught.value.__cause__ is None


def test_the_expiry_may_be_missing() -> None:
    parsed = presign.parse(GOOD.replace("&X-Amz-Expires=86400", "").encode())

    assert parsed.expires_s is None


def test_the_rest_of_the_query_keeps_its_bytes_and_order() -> None:
    query = f"b=%2f+x&&a&{GOOD}&X-Amz-Content-Sha256={UNSIGNED}&%2558-Amz-Date=1&a=2&"

    parsed = presign.parse(query.encode())

    assert (
        parsed.rest == f"b=%2f+x&&a&X-Amz-Content-Sha256={UNSIGNED}&%2558-Amz-Date=1&a=2&".encode()
    )
    assert parsed.payload == UNSIGNED
    assert b"X-Amz-Signature" not in parsed.signed_query
    assert presign.parse(GOOD.encode()).rest == b""


def test_empty_items_change_nothing_and_pairs_sort_by_name() -> None:
    plain = presign.parse(GOOD.encode()).signed_query
    names = [item.partition(b"=")[0] for item in plain.split(b"&")]

    assert names == sorted(names)
    assert len(names) == 5
    assert presign.parse(b"&&" + GOOD.encode() + b"&&").signed_query == plain
    assert presign.parse(b"a-b&" + GOOD.encode() + b"&a=1&a=0").signed_query == (
        plain + b"&a=0&a=1&a-b="
    )


def test_a_percent_encoded_name_is_read_once_and_only_once() -> None:
    encoded = GOOD.replace("X-Amz-Signature", "%58%2DAmz-Signature")

    assert presign.parse(encoded.encode()) == presign.parse(GOOD.encode())


@pytest.mark.parametrize(
    ("target", "headers", "expires_s", "reason"),
    [
        (b"/?X-Amz-Signature=x", [], 60, "must be removed"),
        (b"/?a&x-amz-security-token=x", [], 60, "must be removed"),
        (b"/?%58-Amz-Date=x", [], 60, "must be removed"),
        (b"/?AWSAccessKeyId=x", [], 60, "must be removed"),
        (b"/", [(b"Authorization", b"x")], 60, "must be removed"),
        (b"/", [(b"X-Amz-Security-Token", b"x")], 60, "must be removed"),
        (b"/", [], 0, "expected 1 to 604800"),
        (b"/", [], 604801, "expected 1 to 604800"),
    ],
)
def test_presign_refuses_leftovers_and_a_bad_expiry(
    target: bytes, headers: list[tuple[bytes, bytes]], expires_s: int, reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        presign.presign(
            "GET",
            target,
            [(b"Host", b"h"), *headers],
            signed=["host"],
            keys=KEYS,
            region=REGION,
            service="s3",
            payload=UNSIGNED,
            now=WHEN,
            expires_s=expires_s,
        )


def test_a_signed_header_that_is_not_there_is_an_error_with_its_name() -> None:
    url = botocore_presigned(
        "GET", "h.example.com", "/", {"x-custom": "1"}, service="iam", keys=KEYS, expires_s=60
    )
    request = request_of("GET", "h.example.com", url.removeprefix("https://h.example.com").encode())

    with pytest.raises(KeyError, match="x-custom"):
        presign.matches(
            request,
            presign.parse(request.query),
            secret=KEYS.secret_access_key,
            payload=sigv4.EMPTY_SHA256,
        )


def test_the_repr_shows_who_and_never_the_signature_or_the_token() -> None:
    parsed = presign.parse(LONG.partition("?")[2].encode())

    assert SESSION_KEYS.access_key_id in repr(parsed)
    assert parsed.authorization.signature not in repr(parsed)
    assert SESSION_KEYS.session_token not in repr(parsed)
    assert "token" not in repr(parsed)


def test_the_auth_parameters_are_those_that_a_presigned_url_brings() -> None:
    url = crt_presigned(
        "s3",
        "h",
        "/",
        algorithm=crt.AwsSigningAlgorithm.V4_ASYMMETRIC,
        region="*",
        token_after=False,
    )
    names = {name.lower().encode() for name, _ in parse_qsl(url.partition(b"?")[2].decode())}

    assert names == presign.AUTH_PARAMETERS
