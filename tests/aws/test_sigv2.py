"""S3's Signature Version 2 in the query, against botocore, AWS's example and real clients."""

from __future__ import annotations

import base64
import hashlib
import hmac
from functools import lru_cache
from typing import Any
from urllib.parse import quote, urlsplit

import botocore.auth
import botocore.session
import pytest
from botocore.config import Config

from awsgate.aws import sigv2, sigv4
from awsgate.aws.sigv4 import SignatureSyntaxError
from signers import KEYS, SESSION_KEYS

BUCKETS = {"plain bucket": "plain-bucket", "dotted bucket": "dotted.bucket.name"}
BOTH_KEYS = {"long-term keys": KEYS, "session keys": SESSION_KEYS}
CAPTURED_SECRET = "gwsecret" * 5


def accepts(
    method: str,
    bucket: str,
    target: bytes,
    headers: sigv4.Headers = (),
    *,
    secret: str = KEYS.secret_access_key,
) -> bool:
    """True if the URL verifies: what cannot be parsed does not."""
    path, _, query = target.partition(b"?")
    try:
        signed = sigv2.parse(query)
    except SignatureSyntaxError:
        return False
    return sigv2.matches(
        method=method,
        bucket=bucket,
        path=path,
        query=query,
        headers=sigv4.group_headers(headers),
        signed=signed,
        secret=secret,
    )


def spec_sign(
    method: str,
    resource: str,
    *,
    query: str = "",
    md5: str = "",
    content_type: str = "",
    amz: str = "",
    keys: sigv4.SigningKeys = KEYS,
    expires: int = 1795334265,
) -> bytes:
    """Give the query that the S3 User Guide's rules make, written without the package.

    ``resource`` is CanonicalizedResource, ``amz`` CanonicalizedAmzHeaders.
    """
    to_sign = f"{method}\n{md5}\n{content_type}\n{expires}\n{amz}{resource}"
    digest = hmac.new(keys.secret_access_key.encode(), to_sign.encode(), hashlib.sha1).digest()
    signature = quote(base64.b64encode(digest).decode(), safe="")
    before = f"{query}&" if query else ""
    return (
        f"{before}AWSAccessKeyId={keys.access_key_id}&Signature={signature}&Expires={expires}"
    ).encode()


# --- botocore -----------------------------------------------------------------------


@lru_cache
def client(token: str, style: str) -> Any:
    keys = SESSION_KEYS if token else KEYS
    return botocore.session.Session().create_client(
        "s3",
        region_name="us-east-1",
        aws_access_key_id=keys.access_key_id,
        aws_secret_access_key=keys.secret_access_key,
        aws_session_token=keys.session_token or None,
        config=Config(signature_version="s3", s3={"addressing_style": style}),
    )


CALLS: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "get object": ("get_object", {"Key": "a.txt"}, []),
    "a key full of odd characters": (
        "get_object", {"Key": "a b+c/é//😀 x%2F~'(*)&=;:@?acl.txt"}, [],
    ),
    "a key that starts with slashes": ("get_object", {"Key": "//a//"}, []),
    "response overrides": (
        "get_object",
        {"Key": "k", "ResponseContentType": "text/plain; charset=utf-8",
         "ResponseContentDisposition": 'attachment; filename="é & ü+.txt"',
         "ResponseCacheControl": "no-cache"},
        [],
    ),
    "a version whose id needs encoding": ("get_object", {"Key": "k", "VersionId": "3/L4+k="}, []),
    "put object": ("put_object", {"Key": "k"}, []),
    "put object with headers": (
        "put_object",
        {"Key": "k", "ContentType": "text/plain; a=b", "ContentMD5": "1B2M2Y8AsgTpgAmY7PhCfg==",
         "ACL": "private", "Metadata": {"a": "b  c", "z": "1"}},
        [],
    ),
    "a part": ("upload_part", {"Key": "k", "UploadId": "a/b", "PartNumber": 2}, []),
    "delete object": ("delete_object", {"Key": "k"}, []),
    "head object": ("head_object", {"Key": "k"}, []),
    "bucket acl": ("get_bucket_acl", {}, []),
    "a listing, whose parameters are not signed": (
        "list_objects", {"Prefix": "a b/", "Marker": "m"}, ["prefix", "marker", "encoding-type"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("keys", BOTH_KEYS.values(), ids=BOTH_KEYS)
@pytest.mark.parametrize("bucket", BUCKETS.values(), ids=BUCKETS)
@pytest.mark.parametrize("style", ["path", "virtual"])
@pytest.mark.parametrize(("call", "params", "unsigned"), CALLS.values(), ids=CALLS)
def test_what_botocore_presigns_verifies(
    call: str,
    params: dict[str, Any],
    unsigned: list[str],
    style: str,
    bucket: str,
    keys: sigv4.SigningKeys,
) -> None:
    url = client(keys.session_token, style).generate_presigned_url(
        call, {"Bucket": bucket, **params}
    )
    split = urlsplit(url)
    method = {"put": "PUT", "upl": "PUT", "del": "DELETE", "hea": "HEAD"}.get(call[:3], "GET")
    in_host = split.netloc.removesuffix("s3.amazonaws.com").rstrip(".")
    target = f"{split.path}?{split.query}".encode()

    assert in_host in ("", bucket)
    assert accepts(method, in_host, target, secret=keys.secret_access_key)
    assert not accepts("PATCH", in_host, target, secret=keys.secret_access_key)
    assert not accepts(method, "other", target, secret=keys.secret_access_key)
    assert not accepts(method, in_host, target, secret="other")
    other = target[:1] + b"x" + target[1:]
    assert not accepts(method, in_host, other, secret=keys.secret_access_key)
    assert sigv2.unsigned_parameters(split.query.encode()) == unsigned
    assert sigv2.parse(split.query.encode()).session_token == keys.session_token


def test_every_subresource_that_botocore_signs_is_known_and_no_other() -> None:
    assert {name.encode() for name in botocore.auth.HmacV1Auth.QSAOfInterest} == sigv2.SUBRESOURCES


# --- AWS's example, and real clients -----------------------------------------------------


def test_the_url_printed_in_the_s3_user_guide_verifies() -> None:
    query = (
        b"AWSAccessKeyId=AKIAIOSFODNN7EXAMPLE&Signature=NpgCjnDzrM%2BWFzoENXmpNDUsSn8%3D"
        b"&Expires=1175139620"
    )

    parsed = sigv2.parse(query)

    assert (parsed.access_key_id, parsed.expires, parsed.session_token, parsed.rest) == (
        "AKIAIOSFODNN7EXAMPLE",
        1175139620,
        "",
        b"",
    )
    assert accepts(
        "GET",
        "johnsmith",
        b"/photos/puppy.jpg?" + query,
        secret="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    )


TEXT = [(b"Content-Type", b"text/plain")]
CAPTURED: dict[str, tuple[str, str, bytes, list[tuple[bytes, bytes]]]] = {
    "AWS CLI 1": (
        "GET", "bkt-awscli1",
        b"/a%20b%2Bc/%C3%A9//%F0%9F%98%80%20x%252F.txt?AWSAccessKeyId=AKIAGATEWAYTEST00001"
        b"&Signature=LO13z5nwQ9NkTx94fh5ySA6Cj4Q%3D&Expires=1795334265", [],
    ),
    "boto3, get": (
        "GET", "bkt-boto",
        b"/a%20b%2Bc/%C3%A9/x.txt?response-content-disposition=attachment%3B%20filename%3D%22"
        b"%C3%A9%20x.txt%22&AWSAccessKeyId=AKIAGATEWAYTEST00001"
        b"&Signature=qUV8SpH%2B1B3Wi9jTv%2FrmhsHTke4%3D&Expires=1795337604", [],
    ),
    "boto3, put, the content type in query and header": (
        "PUT", "bkt-boto",
        b"/pp?AWSAccessKeyId=AKIAGATEWAYTEST00001&Signature=vpNix2%2BdDf3a%2BIKVWDtJOnz1%2Bac%3D"
        b"&content-type=text%2Fplain&Expires=1795337604", TEXT,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("method", "bucket", "target", "headers"), CAPTURED.values(), ids=CAPTURED)
def test_the_urls_of_real_clients_verify(
    method: str, bucket: str, target: bytes, headers: list[tuple[bytes, bytes]]
) -> None:
    assert accepts(method, bucket, target, headers, secret=CAPTURED_SECRET)
    assert accepts(method, "", f"/{bucket}".encode() + target, headers, secret=CAPTURED_SECRET)
    assert not accepts("POST", bucket, target, headers, secret=CAPTURED_SECRET)


# --- the rules of the guide --------------------------------------------------------------

RULES: dict[str, tuple[bytes, list[tuple[bytes, bytes]], bool]] = {
    "subresources are sorted": (
        spec_sign("GET", "/b/k?acl&versionId=7", query="versionId=7&acl"), [], True,
    ),
    "an empty value is not no value": (
        spec_sign("GET", "/b/k?acl", query="acl="), [], False,
    ),
    "a response override is signed decoded": (
        spec_sign("GET", "/b/k?response-expires=a b", query="response-expires=a%20b"), [], True,
    ),
    "plus is a space": (
        spec_sign("GET", "/b/k?response-expires=a b", query="response-expires=a+b"), [], True,
    ),
    "a response override is not signed as sent": (
        spec_sign("GET", "/b/k?response-expires=a%20b", query="response-expires=a%20b"), [], False,
    ),
    "another subresource may be signed decoded": (
        spec_sign("GET", "/b/k?versionId=a/b", query="versionId=a%2Fb"), [], True,
    ),
    "another subresource may be signed as sent, as JavaScript v2 does": (
        spec_sign("GET", "/b/k?response-expires=a b&versionId=a%2Fb",
                  query="versionId=a%2Fb&response-expires=a%20b"), [], True,
    ),
    "amz headers are sorted, joined and in lower case": (
        spec_sign("GET", "/b/k", amz="x-amz-a:1\nx-amz-meta-b:x,y\n"),
        [(b"X-Amz-Meta-B", b" x "), (b"x-amz-a", b"1"), (b"x-amz-meta-b", b"y")], True,
    ),
    "an amz header that was not signed": (spec_sign("GET", "/b/k"), [(b"x-amz-a", b"1")], False),
    "an amz header that was signed and is gone": (
        spec_sign("GET", "/b/k", amz="x-amz-a:1\n"), [], False,
    ),
    "an amz header in the query": (
        spec_sign("GET", "/b/k", amz="x-amz-a:1 +\n", query="X-Amz-A=1%20%2B"), [], True,
    ),
    "an amz header in query and header alike": (
        spec_sign("GET", "/b/k", amz="x-amz-a:1\n", query="x-amz-a=1"), [(b"x-amz-a", b"1")], True,
    ),
    "an amz header in query and header, and they differ": (
        spec_sign("GET", "/b/k", amz="x-amz-a:1\n", query="x-amz-a=1"), [(b"x-amz-a", b"2")], False,
    ),
    "the same, signed for the header": (
        spec_sign("GET", "/b/k", amz="x-amz-a:2\n", query="x-amz-a=1"), [(b"x-amz-a", b"2")], False,
    ),
    "an amz header in the query twice": (
        spec_sign("GET", "/b/k", amz="x-amz-a:1\n", query="x-amz-a=1&X-Amz-A=1"), [], False,
    ),
    "content type in the header": (
        spec_sign("GET", "/b/k", content_type="text/plain"), TEXT, True,
    ),
    "content type as JavaScript v2 writes it": (
        spec_sign("GET", "/b/k", content_type="text/plain", query="Content-Type=text%2Fplain"),
        TEXT, True,
    ),
    "content type in the query alone": (
        spec_sign("GET", "/b/k", content_type="text/plain", query="content-type=text%2Fplain"),
        [], True,
    ),
    "content type in query and header, and they differ": (
        spec_sign("GET", "/b/k", content_type="text/html", query="content-type=text%2Fhtml"),
        TEXT, False,
    ),
    "content type that was not signed": (spec_sign("GET", "/b/k"), TEXT, False),
    "content md5": (
        spec_sign("GET", "/b/k", md5="abc=="), [(b"Content-MD5", b"abc==")], True,
    ),
    "content md5 is not content type": (
        spec_sign("GET", "/b/k", md5="text/plain"), TEXT, False,
    ),
    "a line break that would make a header": (
        spec_sign("GET", "/b/k", content_type="t", md5="m", query="content-md5=m%0At"), [], False,
    ),
    "a line break in the value of an amz parameter": (
        spec_sign("GET", "/b/k", amz="x-amz-a:1\nx-amz-b:2\n", query="x-amz-a=1%0Ax-amz-b:2"),
        [], False,
    ),
    "a line break in a subresource": (
        spec_sign("GET", "/b/k?acl=1\n2", query="acl=1%0A2"), [], False,
    ),
    "a subresource hidden in another": (
        spec_sign("GET", "/b/k?acl=x&versionId=3", query="acl=x%26versionId%3D3"), [], False,
    ),
    "a subresource without value hidden in another": (
        spec_sign("GET", "/b/k?versionId=3&website", query="versionId=3%26website"), [], False,
    ),
    "an ampersand that hides none": (
        spec_sign("GET", "/b/k?response-expires=a&b", query="response-expires=a%26b"), [], True,
    ),
    "a subresource twice": (
        spec_sign("GET", "/b/k?acl=1&acl=2", query="acl=1&acl=2"), [], False,
    ),
    "user agent and range are nobody's business": (
        spec_sign("GET", "/b/k"), [(b"Range", b"bytes=0-9"), (b"User-Agent", b"x")], True,
    ),
    "the path is signed as sent": (spec_sign("GET", "/b/%6B"), [], False),
}  # fmt: skip


@pytest.mark.parametrize(("query", "headers", "expected"), RULES.values(), ids=RULES)
def test_the_rules_of_the_guide(
    query: bytes, headers: list[tuple[bytes, bytes]], expected: bool
) -> None:
    assert accepts("GET", "b", b"/k?" + query, headers) is expected
    assert accepts("GET", "", b"/b/k?" + query, headers) is expected


def test_a_bucket_in_the_host_ends_in_a_slash() -> None:
    assert accepts("GET", "b", b"/?" + spec_sign("GET", "/b/"))
    assert accepts("GET", "", b"/b?" + spec_sign("GET", "/b"))
    assert not accepts("GET", "b", b"/?" + spec_sign("GET", "/b"))
    assert not accepts("GET", "", b"/b/k?" + spec_sign("GET", "/b/k/"))
    assert not accepts("GET", "", b"/b/k/?" + spec_sign("GET", "/b/k"))


def test_a_bucket_alone_in_the_path_may_be_signed_with_a_slash_as_botocore_does() -> None:
    assert accepts("GET", "", b"/b?" + spec_sign("GET", "/b/"))
    assert accepts("GET", "", b"/b/?" + spec_sign("GET", "/b"))
    assert not accepts("GET", "", b"/b//?" + spec_sign("GET", "/b"))
    assert not accepts("GET", "", b"/?" + spec_sign("GET", "//"))


@pytest.mark.parametrize(
    "query", ["x-amz-security-token=token%2F%2F%3D%3D", "%78-amz-security-token=token%2f%2f=="]
)
def test_the_token_of_the_query_is_signed_like_a_header(query: str) -> None:
    right = spec_sign(
        "GET", "/b/k", amz="x-amz-security-token:token//==\n", query=query, keys=SESSION_KEYS
    )
    without = spec_sign("GET", "/b/k", query=query, keys=SESSION_KEYS)
    secret = SESSION_KEYS.secret_access_key

    assert accepts("GET", "b", b"/k?" + right, secret=secret)
    assert not accepts("GET", "b", b"/k?" + without, secret=secret)
    assert not accepts(
        "GET", "b", b"/k?" + right, [(b"x-amz-security-token", b"other")], secret=secret
    )


def test_no_other_byte_of_a_signed_url_is_accepted() -> None:
    original = b"/k%20x?" + spec_sign(
        "PUT", "/b/k%20x?acl&versionId=a/b", amz="x-amz-acl:p\n",
        query="versionId=a%2Fb&acl&x-amz-acl=p", content_type="text/plain",
    )  # fmt: skip
    assert accepts("PUT", "b", original, TEXT)
    key_id = original.index(KEYS.access_key_id.encode())
    # The secret stands for the key id: another id has another secret.
    uncovered = range(key_id, key_id + len(KEYS.access_key_id))

    for at in set(range(1, len(original))).difference(uncovered):
        for new in (original[at] ^ 1, ord("&"), ord("%")):
            changed = original[:at] + bytes([new]) + original[at + 1 :]
            assert changed == original or not accepts("PUT", "b", changed, TEXT), changed


def test_parameters_that_nothing_covers_are_named() -> None:
    query = (
        b"prefix=a&%61cl&ACL&x-id=GetObject&acl&uploads=&&response-expires=1&content-type=a"
        b"&X-Amz-Acl=p&%78-amz-acl=p&AWSAccessKeyId=x&Expires=1&Signature=x&signature=y"
        b"&x-amz-security-token=t&list-type=2"
    )

    assert sigv2.unsigned_parameters(query) == [
        "prefix",
        "acl",
        "ACL",
        "x-id",
        "x-amz-acl",
        "signature",
        "list-type",
    ]
    assert sigv2.unsigned_parameters(b"") == []


# --- reading ------------------------------------------------------------------------------

GOOD = spec_sign("GET", "/b/k").decode()
SIGNATURE = sigv2.parse(GOOD.encode()).signature
BESIDE = "SigV4 parameters are there beside Signature Version 2"
MALFORMED = {
    "empty": ("", "AWSAccessKeyId is missing"),
    "no key id": (GOOD.partition("&")[2], "AWSAccessKeyId is missing"),
    "no signature": (GOOD.replace("Signature", "s"), "Signature is missing"),
    "no expiry": (GOOD.rpartition("&")[0], "Expires is missing"),
    "negative expiry": (GOOD.replace("Expires=", "Expires=-"), "Expires is malformed"),
    "expiry with a plus": (GOOD.replace("Expires=", "Expires=%2B"), "Expires is malformed"),
    "expiry with a leading zero": (GOOD.replace("Expires=", "Expires=0"), "Expires is malformed"),
    "expiry in the far future": (GOOD + "0", None),
    "expiry of twelve digits": (GOOD + "00", "Expires is malformed"),
    "expiry as a date": (GOOD + "T", "Expires is malformed"),
    "empty expiry": (GOOD.rpartition("=")[0] + "=", "Expires is malformed"),
    "expiry twice": (GOOD + "&Expires=1", "Expires is there more than once"),
    "expiry twice, once in lower case": (GOOD + "&expires=1", "Expires is written in another case"),
    "expiry twice, once encoded": (GOOD + "&%45xpires=1", "Expires is there more than once"),
    "key id in lower case": (
        GOOD.replace("AWSAccessKeyId", "awsaccesskeyid"),
        "AWSAccessKeyId is written in another case",
    ),
    "key id with a slash": (GOOD.replace("AKID", "AK%2FID"), "AWSAccessKeyId is malformed"),
    "signature twice": (GOOD + "&Signature=x", "Signature is there more than once"),
    "signature of another length": (
        GOOD.replace("Signature=", "Signature=a"), "Signature is malformed",
    ),
    "signature in hex": (
        GOOD.replace(quote(SIGNATURE, safe=""), "ab" * 20), "Signature is malformed",
    ),
    "empty token": (GOOD + "&x-amz-security-token=", "x-amz-security-token is malformed"),
    "token with a line break": (
        GOOD + "&x-amz-security-token=a%0Ab", "x-amz-security-token is malformed",
    ),
    "token in another case": (
        GOOD + "&X-Amz-Security-Token=a", "x-amz-security-token is written in another case",
    ),
    "token twice": (
        GOOD + "&x-amz-security-token=a&x-amz-security-token=a",
        "x-amz-security-token is there more than once",
    ),
    "sigv4 as well": (GOOD + "&X-Amz-Signature=a", BESIDE),
    "sigv4 as well, encoded": (GOOD + "&%58-amz-credential=a", BESIDE),
    "a date of sigv4": (GOOD + "&X-Amz-Date=20261123T101530Z", BESIDE),
}  # fmt: skip


@pytest.mark.parametrize(("query", "expected"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_query_is_refused_and_the_reason_holds_none_of_it(
    query: str, expected: str | None
) -> None:
    if expected is None:
        assert sigv2.parse(query.encode()).expires > 10**10
        return
    with pytest.raises(SignatureSyntaxError) as caught:
        sigv2.parse(query.encode())

    assert str(caught.value) == expected


def test_the_rest_of_the_query_keeps_its_bytes_and_order() -> None:
    query = f"b=%2f+x&&{GOOD}&acl&x-amz-security-token=t&x-amz-acl=p&"

    assert sigv2.parse(query.encode()).rest == b"b=%2f+x&&acl&x-amz-acl=p&"


def test_the_repr_shows_who_and_never_the_signature_or_the_token() -> None:
    parsed = sigv2.parse(f"{GOOD}&x-amz-security-token=canary".encode())

    assert KEYS.access_key_id in repr(parsed)
    assert SIGNATURE not in repr(parsed)
    assert "canary" not in repr(parsed)
