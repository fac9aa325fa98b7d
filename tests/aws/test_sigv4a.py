"""sigv4a against the AWS CRT, AWS's published vectors and requests of real clients.

The other way round our signatures are verified here by a path that shares nothing with
us: the key by plain integers from the specification, the canonical request by botocore.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

import botocore.auth
import pytest
from awscrt import auth as crt
from awscrt.http import HttpHeaders, HttpRequest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given, settings
from hypothesis import strategies as st

from awsgate.aws import sigv4, sigv4a
from signers import KEYS, SESSION_KEYS, WHEN, Fields, Text, to_bytes, value_of

HOST = "mfzwi23gnjvgw.mrap.accesspoint.s3-global.amazonaws.com"
UNSIGNED = "UNSIGNED-PAYLOAD"
TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
HASH = hashlib.sha256(b"body").hexdigest()
EMPTY = hashlib.sha256(b"").hexdigest()
NAME = "AWS4-ECDSA-P256-SHA256"
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
NUL, SEQUENCE, INTEGER = b"\0", b"\x30", b"\x02"


def crt_sign(
    method: str, target: str, headers: Text, *, service: str, payload: str = UNSIGNED,
    keys: sigv4.SigningKeys = KEYS, normalise: bool = True, presign: bool = False,
) -> tuple[str, Fields]:  # fmt: skip
    """Give the target and all header fields as the AWS CRT signs the request."""
    exact = service.startswith("s3")
    kind, body = crt.AwsSignatureType, crt.AwsSignedBodyHeaderType
    request = HttpRequest(method, target, HttpHeaders([("Host", HOST), *headers]))
    config = crt.AwsSigningConfig(
        algorithm=crt.AwsSigningAlgorithm.V4_ASYMMETRIC,
        signature_type=kind.HTTP_REQUEST_QUERY_PARAMS if presign else kind.HTTP_REQUEST_HEADERS,
        credentials_provider=crt.AwsCredentialsProvider.new_static(
            keys.access_key_id, keys.secret_access_key, keys.session_token or None
        ),
        region="*",
        service=service,
        date=WHEN,
        use_double_uri_encode=not exact,
        should_normalize_uri_path=normalise and not exact,
        signed_body_value=payload,
        signed_body_header_type=body.NONE if presign else body.X_AMZ_CONTENT_SHA_256,
        expiration_in_seconds=900 if presign else None,
    )
    crt.aws_sign_request(request, config).result(10)
    return str(request.path), to_bytes(list(request.headers))


def accepts(
    method: str, target: str, fields: Fields, *, payload: str = UNSIGNED, secret: str = ""
) -> bool:
    """Ask as the gate does: header form, or query form if there is no Authorization."""
    headers = sigv4.group_headers(fields)
    path, _, raw = target.encode().partition(b"?")
    request = sigv4.SignedRequest(method, path, raw, headers)
    secret = secret or KEYS.secret_access_key
    if b"authorization" in headers:
        auth = sigv4a.parse_authorization(headers[b"authorization"][0])
        timestamp = headers[b"x-amz-date"][0].decode()
        return sigv4a.matches(request, auth, secret=secret, timestamp=timestamp, payload=payload)
    pairs = raw.split(b"&")
    (signature,) = [p.partition(b"=")[2] for p in pairs if p.startswith(b"X-Amz-Signature=")]
    (names,) = [p.partition(b"=")[2] for p in pairs if p.startswith(b"X-Amz-SignedHeaders=")]
    (scope,) = [p.partition(b"=")[2] for p in pairs if p.startswith(b"X-Amz-Credential=")]
    key, day, service, _ = scope.decode().split("%2F")
    signed = tuple(names.decode().replace("%3B", ";").split(";"))
    rest = b"&".join(p for p in pairs if not p.startswith(b"X-Amz-Signature="))
    return sigv4a.matches(
        request,
        sigv4a.Authorization4a(key, day, service, signed, signature.decode()),
        secret=secret,
        timestamp=sigv4.amz_date(WHEN),
        payload=payload,
        query=sigv4.canonical_query(rest),
    )


# --- what others sign --------------------------------------------------------------

PUT = [("Content-Type", "text/plain"), ("x-amz-meta-a", "  b   c "), ("X-Amz-Meta-A", "d")]
CHUNKED = [("Content-Encoding", "aws-chunked"), ("X-Amz-Decoded-Content-Length", "1")]
SIGNED: dict[str, tuple[str, str, Text, str, str, sigv4.SigningKeys, bool]] = {
    "a read": ("GET", "/k", [], "s3", EMPTY, KEYS, True),
    "a hashed write": ("PUT", "/k", PUT, "s3", HASH, KEYS, True),
    "an unsigned write": ("PUT", "/k?partNumber=1&uploadId=a", PUT, "s3", UNSIGNED, KEYS, True),
    "a trailer": ("PUT", "/k", CHUNKED, "s3", TRAILER, SESSION_KEYS, True),
    "s3 keeps its path": ("GET", "/a//b/../c%20d/%C3%A9", [], "s3", EMPTY, KEYS, True),
    "outposts keeps its path": ("GET", "/a/./b%2Fc", [], "s3-outposts", EMPTY, KEYS, True),
    "query in disorder": ("GET", "/?z=1&a=%2F&a&b=%20x", [], "s3", EMPTY, SESSION_KEYS, True),
    "others encode twice": ("DELETE", "/a/arn%3Aaws%3A/k", [], "events", EMPTY, KEYS, True),
    "others normalise": ("GET", "/a//b/../c/", [], "cloudfront-keyvaluestore", EMPTY, KEYS, True),
    "or do not, as Go": ("GET", "/a//b/../c/", [], "cloudfront-keyvaluestore", EMPTY, KEYS, False),
    "with a session": ("POST", "/", PUT, "events", HASH, SESSION_KEYS, True),
}  # fmt: skip


@pytest.mark.parametrize("presign", [False, True], ids=["header", "query"])
@pytest.mark.parametrize(
    ("method", "target", "headers", "service", "payload", "keys", "normalise"),
    SIGNED.values(),
    ids=SIGNED,
)
def test_what_the_crt_signs_is_accepted(
    method: str, target: str, headers: Text, service: str, payload: str,
    keys: sigv4.SigningKeys, normalise: bool, presign: bool,
) -> None:  # fmt: skip
    sent, fields = crt_sign(
        method, target, headers, service=service, payload=payload, keys=keys,
        normalise=normalise, presign=presign,
    )  # fmt: skip
    secret = keys.secret_access_key

    assert accepts(method, sent, fields, payload=payload, secret=secret)
    assert not accepts(method, sent, fields, payload=payload, secret=secret + "x")
    assert not accepts(method, sent, fields, payload="0" * 64, secret=secret)
    assert not accepts(method + "S", sent, fields, payload=payload, secret=secret)


SEGMENTS = st.lists(
    st.sampled_from(["", ".", "..", "a", "%2F", "%25", "a+b", "%C3%A9", "x:y", "~", "it's", "(1)"])
)
PAIRS = st.lists(
    st.tuples(st.sampled_from(["a", "A", "x-id", "%C3%A9"]), st.sampled_from(["", "b%20c", "%2B"]))
)
VALUES = st.lists(
    st.tuples(st.sampled_from(["x-amz-meta-a", "X-Custom", "A"]), st.text(" ab,;=/~", max_size=8)),
    max_size=4,
)


@settings(max_examples=60)
@given(SEGMENTS, PAIRS, VALUES, st.sampled_from(["s3", "events"]), st.booleans(), st.booleans())
def test_whatever_the_crt_signs_is_accepted(
    segments: list[str], pairs: list[tuple[str, str]], headers: Text, service: str,
    normalise: bool, presign: bool,
) -> None:  # fmt: skip
    target = "/" + "/".join(segments)
    if pairs:
        target += "?" + "&".join(f"{name}={value}" for name, value in pairs)

    sent, fields = crt_sign(
        "GET", target, headers, service=service, normalise=normalise, presign=presign
    )

    assert accepts("GET", sent, fields)


def test_high_and_low_s_are_accepted_since_the_crt_gives_both() -> None:
    found = set()
    for i in range(60):  # all alike: one time in 2**59
        target, fields = crt_sign("GET", f"/{i}", [], service="s3")
        der = value_of(fields, b"authorization").rpartition(b"=")[2]
        r, s = utils.decode_dss_signature(bytes.fromhex(der.decode()))
        found.add(s > N // 2)
        twin = utils.encode_dss_signature(r, N - s).hex().encode()

        assert accepts("GET", target, fields)
        assert accepts("GET", target, [(n, v.replace(der, twin)) for n, v in fields])
    assert found == {False, True}


# AWS's own: aws-c-auth, tests/aws-signing-test-suite/v4a; 20150830T123600Z, us-east-1.
SUITE_FIELDS = [
    (b"Host", b"example.amazonaws.com"),
    (b"X-Amz-Date", b"20150830T123600Z"),
    (b"X-Amz-Region-Set", b"us-east-1"),
]
ENCODED = b"Param-3=Value3&Param=Value2&%E1%88%B4=Value1"
PRESIGNED = ENCODED + (
    b"&X-Amz-Algorithm=AWS4-ECDSA-P256-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20150830%2Fservice"
    b"%2Faws4_request&X-Amz-Date=20150830T123600Z&X-Amz-SignedHeaders=host&X-Amz-Expires=3600"
    b"&X-Amz-Region-Set=us-east-1"
)
IN_HEADER = ("host", "x-amz-date", "x-amz-region-set")
SUITE = {
    "get-space-normalized": (
        b"/example space/", b"", IN_HEADER,
        "3044022010ed419c059a306809f13ed114b7be5bc55bba81b65c37673c47be6e7bcb9310"
        "0220233159500c619a3793b8ab02766a6be57059c2fe51fc73894591a7536aac24f3",
    ),
    "get-slash-unnormalized": (
        b"//", b"", IN_HEADER,
        "30440220439b25b6af7395616c395dbf59870ad26eadc401a92877645fe25a718b404600"
        "0220060952216960f6326fd31a29b41c21ad89203e7f8b100f56600149096ad82a8b",
    ),
    "get-relative-relative-unnormalized": (
        b"/example1/example2/../..", b"", IN_HEADER,
        "304402200fbf4425019fca5ea7f1d96f44e99f49088284d75c93ef26bffc43d5901b2156"
        "02203f7777912422341ecc23f9ee8d12e9f4766c200c8acd5b55efad8faa8e77a1f6",
    ),
    "get-vanilla-query-order-encoded, header": (
        b"/", ENCODED, IN_HEADER,
        "3044022041ffa05b60e2cc9bac499a22148bb69825873b913cabdcf8b3f97c75ba28f81a"
        "0220492937cb6eccb784d5fcf1969e4493ad9417ac3409496ef74f281aa13e279739",
    ),
    "get-vanilla-query-order-encoded, query": (
        b"/", PRESIGNED, ("host",),
        "3046022100e25504f18aab11f2f511664a9e6b98f522b9c8bd95ad0c7502b56ff4248d2dba"
        "022100c00ee21af060180bac879294598c03ba8523367daf1edf88688923a21f26e0df",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("path", "query", "signed", "signature"), SUITE.values(), ids=SUITE)
def test_the_published_signatures_are_accepted(
    path: bytes, query: bytes, signed: tuple[str, ...], signature: str
) -> None:
    headers = sigv4.group_headers(SUITE_FIELDS)
    auth = sigv4a.Authorization4a("AKIDEXAMPLE", "20150830", "service", signed, signature)
    request = sigv4.SignedRequest("GET", path, query, headers)

    def matches(payload: str) -> bool:
        return sigv4a.matches(
            request, auth, secret=KEYS.secret_access_key, timestamp="20150830T123600Z",
            payload=payload,
        )  # fmt: skip

    assert matches(EMPTY)
    assert not matches(UNSIGNED)


# The Go SDK publishes the hash of the string to sign: internal/v4a/v4a_test.go.
GO_ID, GO_SECRET = "AKISORANDOMAASORANDOM", "q+jcrXGc+0zWN6uzclKVhvMmUsIfRPa4rlRandom"
GO_KEY = "7fd3bd010c0d9c292141c2b77bfbde1042c92e6836fff749d1269ec890fca1bd"
GO_META = [(b"X-Amz-Meta-Other-Header_With_Underscore", b"some-value=!@#$%^&* (+)")] * 2
GO_FIELDS = [
    (b"Host", b"dynamodb.us-east-1.amazonaws.com"),
    (b"Content-Length", b"1024"),
    (b"Content-Type", b"application/x-amz-json-1.0"),
    (b"X-Amz-Target", b"prefix.Operation"),
    (b"X-Amz-Meta-Other-Header", b"some-value=!@#$%^&* (+)"),
    *GO_META,
    (b"X-Amz-Security-Token", b"TOKEN"),
    (b"X-Amz-Date", b"19700101T000000Z"),
    (b"X-Amz-Region-Set", b"us-east-1"),
]
GO_PLAIN = "content-length content-type host x-amz-meta-other-header " + GO_META[0][0].decode()
GO_HEADER = GO_PLAIN + " x-amz-date x-amz-region-set x-amz-target"
GO_QUERY = (
    b"X-Amz-Algorithm=AWS4-ECDSA-P256-SHA256&X-Amz-Credential=AKISORANDOMAASORANDOM%2F19700101"
    b"%2Fdynamodb%2Faws4_request&X-Amz-Date=19700101T000000Z&X-Amz-Region-Set=us-east-1"
    b"&X-Amz-Target=prefix.Operation&X-Amz-Expires=18000&X-Amz-SignedHeaders="
    + ";".join(sorted(GO_PLAIN.lower().split())).encode()
)
GO = {
    "TestSignHTTP": (
        GO_HEADER + " x-amz-security-token", b"",
        "4ba7d0482cf4d5450cefdc067a00de1a4a715e444856fa3e1d85c35fb34d9730",
    ),
    "TestSignHTTP_NoSessionToken": (
        GO_HEADER, b"",
        "1aeefb422ae6aa0de7aec829da813e55cff35553cac212dffd5f9474c71e47ee",
    ),
    "TestPresignHTTP": (
        GO_PLAIN, GO_QUERY,
        "d7ffbd2fab644384c056957e6ac38de4ae68246764b5f5df171b3824153b6397",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("signed", "query", "digest"), GO.values(), ids=GO)
def test_the_string_to_sign_is_that_of_the_go_sdk(signed: str, query: bytes, digest: str) -> None:
    key = ec.derive_private_key(int(GO_KEY, 16), ec.SECP256R1())
    der = key.sign(bytes.fromhex(digest), ec.ECDSA(utils.Prehashed(SHA256())))
    names = tuple(sorted(signed.lower().split()))
    path = b"/bucket/key-._~,!@%23$%25^&*()"
    request = sigv4.SignedRequest("POST", path, query, sigv4.group_headers(GO_FIELDS))
    auth = sigv4a.Authorization4a(GO_ID, "19700101", "dynamodb", names, der.hex())

    assert sigv4a.matches(
        request, auth, secret=GO_SECRET, timestamp="19700101T000000Z", payload=EMPTY
    )


# Requests of real clients: host, method, target, service, x-amz-date, the other signed
# headers, hash of the body (empty: of no body), whether it was sent, signature.
CLIENT_SECRET = "gwsecret" * 5
EVENTS = "27da588f6b3e3af22c5dd561c6ccabfbc3f45bfc7a476fc42f7280735741fa6b"
CAPTURED: dict[str, tuple[str, str, str, str, str, dict[str, str], str, bool, str]] = {
    "boto3, outposts": (
        "my-ap-123456789012.op-01234567890123456.s3-outposts.us-west-2.amazonaws.com",
        "GET", "/k", "s3-outposts", "20261122T075324Z", {"x-amz-checksum-mode": "ENABLED"},
        EMPTY, True,
        "304402206dc82a43f1fa8b0a7ae9a17ae35a779801465778f8420907b4b9f8624c91fb04"
        "02201ef2fc1833e7a6873d428cc2d3b385b1e291ea212f00120dd3d2d177b496069d",
    ),
    "boto3, mrap": (
        HOST, "GET", "/k", "s3", "20261122T075324Z", {"x-amz-checksum-mode": "ENABLED"},
        EMPTY, True,
        "3045022074c46fbee1735e4b5e84bf5836f351f96ba98877ae96ab16c102c5774c71ecc602"
        "21008c3734a5d3e680bd4ad34100d274147f46a22557dfe27c253511ca633dffca9f",
    ),
    "boto3, mrap put": (
        HOST, "PUT", "/k", "s3", "20261122T075324Z",
        {
            "content-encoding": "aws-chunked",
            "x-amz-decoded-content-length": "1",
            "x-amz-sdk-checksum-algorithm": "CRC32",
            "x-amz-trailer": "x-amz-checksum-crc32",
        },
        TRAILER, True,
        "3045022100fdc7715685c0014b545f8b478845f146cc31057244232477e505d064796fe7ea"
        "02201f597beb569c82352f154694ff400aaf4e878db4f1ef378745f60769e5ac8d63",
    ),
    "boto3, events": (
        "abcde.veo.endpoint.events.amazonaws.com", "POST", "/", "events", "20261122T075326Z",
        {"content-type": "application/x-amz-json-1.1", "x-amz-target": "AWSEvents.PutEvents"},
        EVENTS, False,
        "304402207672df035dadd044229bdf6cf90692f80cd23c8de0e14d9e36e6351e0253574a"
        "0220747ff15c139dbdd1b34675ae19549e7489a0c03d4e3e54c3b79813fe629822e8",
    ),
    "boto3, cloudfront-keyvaluestore": (
        "123456789012.cloudfront-kvs.global.api.aws", "GET",
        "/key-value-stores/arn%3Aaws%3Acloudfront%3A%3A123456789012%3Akey-value-store"
        "%2F63bab452-1111-2222-3333-e81234567890/keys",
        "cloudfront-keyvaluestore", "20261122T075326Z", {}, EMPTY, False,
        "304402200cd45edb1b4cf2772a365689bf711e069408d44fcc4f17709e8026a695e1ae8c"
        "022038b7c8d3e414d673bef0554cbdc906382b37b233a05411b5e25bceb9ac97ca09",
    ),
    "JavaScript, mrap": (
        HOST, "GET", "/k?x-id=GetObject", "s3", "20261122T072110Z",
        {
            "amz-sdk-invocation-id": "b61dbdd0-fcc7-45bb-9359-6a9daaa03bdd",
            "amz-sdk-request": "attempt=1; max=1",
            "x-amz-checksum-mode": "ENABLED",
            "x-amz-user-agent": "aws-sdk-js/3.1168.0",
        },
        EMPTY, True,
        "304402206c1098a4b61845fe5df425abd1a8efe58ee3f5c14ad7ed86f0ad1394f87ee931"
        "02205f0ad0e4560844f10bc8475d51a10a03be7b1d572bc32bf82fee7ba583761e0e",
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("host", "method", "target", "service", "date", "extra", "payload", "declared", "signature"),
    CAPTURED.values(),
    ids=CAPTURED,
)
def test_captured_requests_are_accepted_and_no_byte_may_change(
    host: str, method: str, target: str, service: str, date: str, extra: dict[str, str],
    payload: str, declared: bool, signature: str,
) -> None:  # fmt: skip
    signed = {"host": host, "x-amz-date": date, "x-amz-region-set": "*", **extra}
    if declared:
        signed["x-amz-content-sha256"] = payload
    credential = f"AKIAGATEWAYTEST00001/{date[:8]}/{service}/aws4_request"
    text = f"{NAME} Credential={credential}, SignedHeaders={';'.join(sorted(signed))}, Signature="
    fields = [*to_bytes(list(signed.items())), (b"authorization", (text + signature).encode())]

    def ok(target: str = target, fields: Fields = fields, method: str = method) -> bool:
        return accepts(method, target, fields, payload=payload, secret=CLIENT_SECRET)

    assert ok()
    assert not ok(method=method + "A")
    for flipped in flips(target[1:].encode()):
        assert not ok(target="/" + flipped.decode())
    for i, (name, value) in enumerate(fields[:-1]):
        for flipped in list(flips(value))[::3]:
            assert not ok(fields=[*fields[:i], (name, flipped), *fields[i + 1 :]])


def flips(value: bytes) -> Sequence[bytes]:
    """Give ``value`` with the lowest bit of each byte turned, one at a time."""
    return [value[:i] + bytes([byte ^ 1]) + value[i + 1 :] for i, byte in enumerate(value)]


# --- what we sign --------------------------------------------------------------------


def key_by_the_book(secret: str, access_key_id: str) -> int:
    """NIST SP 800-108, 5.1: K(1) = PRF(key, [1] || label || 0x00 || context || [L])."""
    message = [0, 0, 0, 1, *NAME.encode(), 0, *access_key_id.encode(), 1, 0, 0, 1, 0]
    number = int(hmac.new(b"AWS4A" + secret.encode(), bytes(message), "sha256").hexdigest(), 16)
    assert number <= N - 2
    return number + 1


@pytest.mark.parametrize("keys", [KEYS, SESSION_KEYS], ids=["long-term", "session"])
@pytest.mark.parametrize("payload", [HASH, UNSIGNED, TRAILER])
@pytest.mark.parametrize("service", ["s3", "events"])
def test_what_we_sign_verifies_by_the_book(
    service: str, payload: str, keys: sigv4.SigningKeys
) -> None:
    target = "/a//b%20c/../d%3Ae?b=2&a=%2F&a="
    sent = [("Host", HOST), ("Content-Type", "a  b"), ("x-amz-meta-a", " é "), ("Skipped", "x")]

    fields = sigv4a.sign(
        "PUT", target.encode(), to_bytes(sent), signed=["content-type", "x-amz-meta-a", "absent"],
        keys=keys, region_set="us-east-1,eu-*", service=service, payload=payload, now=WHEN,
    )  # fmt: skip

    *before, (name, value) = fields
    assert name == b"Authorization"
    assert value_of(before, b"x-amz-region-set") == b"us-east-1,eu-*"
    covered = [(n, v) for n, v in before if n != b"Skipped"]
    names = ";".join(sorted(n.decode().lower() for n, _ in covered))
    assert ("x-amz-security-token" in names) is bool(keys.session_token)
    head, _, signature = value.decode().rpartition(", Signature=")
    scope = f"20261123/{service}/aws4_request"
    assert head == f"{NAME} Credential={keys.access_key_id}/{scope}, SignedHeaders={names}"
    oracle = botocore.auth.S3SigV4Auth if service == "s3" else botocore.auth.SigV4Auth
    request = AWSRequest("PUT", f"https://{HOST}{target}")
    for n, v in covered:
        request.headers[n.decode()] = v.decode()
    canonical = oracle(Credentials("a", "b"), service, "c").canonical_request(request)
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    public = ec.derive_private_key(
        key_by_the_book(keys.secret_access_key, keys.access_key_id), ec.SECP256R1()
    ).public_key()
    text = f"{NAME}\n20261123T101530Z\n{scope}\n{digest}".encode()
    public.verify(bytes.fromhex(signature), text, ec.ECDSA(SHA256()))  # raises if it is wrong


REFUSED_TO_SIGN = {
    "an old date": ([(b"X-AMZ-Date", b"20261123T101530Z")], "*", "old signature headers"),
    "an old region set": ([(b"x-amz-region-set", b"*")], "*", "old signature headers"),
    "an old signature": ([(b"authorization", b"x")], "*", "old signature headers"),
    "no region": ([], "", "region set is ''"),
    "a line break": ([], "*\r\nx: y", "expected '\\*' or regions"),
}


@pytest.mark.parametrize(
    ("headers", "region_set", "message"), REFUSED_TO_SIGN.values(), ids=REFUSED_TO_SIGN
)
def test_what_is_not_signed(headers: Fields, region_set: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sigv4a.sign(
            "GET", b"/", [(b"Host", b"h"), *headers], signed=[], keys=KEYS,
            region_set=region_set, service="s3", payload=UNSIGNED, now=WHEN,
        )  # fmt: skip


# Public keys as published: aws-c-auth's key_derivation_tests.c, and its v4a suite.
DERIVED = {
    "key_derivation_tests.c": (
        GO_SECRET, GO_ID,
        "15d242ceebf8d8169fd6a8b5a746c41140414c3b07579038da06af89190fffcb",
        "0515242cedd82e94799482e4c0514b505afccf2c0c98d6a553bf539f424c5ec0",
    ),
    "public-key.json": (
        "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "AKIDEXAMPLE",
        "b6618f6a65740a99e650b33b6b4b5bd0d43b176d721a3edfea7e7d2d56d936b1",
        "865ed22a7eadc9c5cb9d2cbaca1b3699139fedc5043dc6661864218330c8e518",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("secret", "key_id", "x", "y"), DERIVED.values(), ids=DERIVED)
def test_the_derived_key_is_the_published_one(secret: str, key_id: str, x: str, y: str) -> None:
    public = sigv4a.derive_key(secret, key_id).public_key().public_numbers()

    assert (f"{public.x:064x}", f"{public.y:064x}") == (x, y)


def test_the_derived_private_key_is_the_published_one() -> None:
    assert sigv4a.derive_key(GO_SECRET, GO_ID).private_numbers().private_value == int(GO_KEY, 16)


@pytest.mark.parametrize(
    ("candidates", "private"),
    [([0], 1), ([N - 2], N - 1), ([N - 1, 7], 8), ([2**256 - 1, N, N - 1, 4], 5)],
)
def test_a_candidate_above_n_minus_2_is_passed_over(
    candidates: list[int], private: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No secret that needs a second candidate is known, so the KDF is replaced."""
    monkeypatch.setattr(sigv4a, "_candidate", lambda _s, _k, counter: candidates[counter - 1])

    key = sigv4a.derive_key.__wrapped__("secret", "AKID")

    assert key.private_numbers().private_value == private


def test_254_candidates_are_tried_and_the_secret_is_not_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []

    def candidate(_secret: str, _key_id: str, counter: int) -> int:
        asked.append(counter)
        return N

    monkeypatch.setattr(sigv4a, "_candidate", candidate)

    with pytest.raises(ValueError, match="no signing key") as caught:
        sigv4a.derive_key.__wrapped__("canary", "AKID")

    assert asked == list(range(1, 255))
    assert "canary" not in str(caught.value)


# --- what is refused --------------------------------------------------------------------

_, GOOD_FIELDS = crt_sign("GET", "/k", [], service="s3")
GOOD = value_of(GOOD_FIELDS, b"authorization").decode()
DER = bytes.fromhex(GOOD.rpartition("=")[2])
R, S = utils.decode_dss_signature(DER)


def answer(signature: str, signed: tuple[str, ...] | None = None) -> bool:
    """Ask about the good request with another signature, past the parser."""
    auth = sigv4a.parse_authorization(GOOD.encode())
    auth = sigv4a.Authorization4a(
        auth.access_key_id, auth.day, auth.service, signed or auth.signed_headers, signature
    )
    request = sigv4.SignedRequest("GET", b"/k", b"", sigv4.group_headers(GOOD_FIELDS))
    return sigv4a.matches(
        request, auth, secret=KEYS.secret_access_key, timestamp=sigv4.amz_date(WHEN),
        payload=UNSIGNED,
    )  # fmt: skip


def tlv(tag: bytes, content: bytes) -> bytes:
    return tag + bytes([len(content)]) + content


def integer(value: int, padding: bytes = b"") -> bytes:
    return tlv(INTEGER, padding + value.to_bytes(value.bit_length() // 8 + 1))


BOTH = integer(R) + integer(S)
BAD_DER = {
    "empty": b"",
    "cut": DER[:-1],
    "with a byte after it": DER + NUL,
    "with a byte in the sequence": tlv(SEQUENCE, BOTH + NUL),
    "r padded with a zero": tlv(SEQUENCE, integer(R, NUL) + integer(S)),
    "s padded with a zero": tlv(SEQUENCE, integer(R) + integer(S, NUL)),
    "a long length": SEQUENCE + b"\x81" + tlv(SEQUENCE, BOTH)[1:],
    "an indefinite length": SEQUENCE + b"\x80" + BOTH + NUL + NUL,
    "a negative s": tlv(SEQUENCE, integer(R) + tlv(INTEGER, (S - N).to_bytes(33, signed=True))),
    "r and s zero": utils.encode_dss_signature(0, 0),
    "s plus n": utils.encode_dss_signature(R, S + N),
    "r and s changed": utils.encode_dss_signature(S, R),
    "raw, not DER": R.to_bytes(32) + S.to_bytes(32),
    "one integer": tlv(SEQUENCE, integer(R)),
    "another tag": b"\x31" + DER[1:],
    "huge": utils.encode_dss_signature(R, 2**2000),
}


@pytest.mark.parametrize("der", BAD_DER.values(), ids=BAD_DER)
def test_no_other_encoding_of_a_signature_is_accepted(der: bytes) -> None:
    assert tlv(SEQUENCE, BOTH) == DER  # the encoder above is right
    assert answer(DER.hex())
    assert not answer(der.hex())


@pytest.mark.parametrize("text", ["not hex", DER.hex().upper(), DER.hex() + " ", "30é", "0" * 141])
def test_no_other_spelling_of_a_signature_is_accepted(text: str) -> None:
    assert not answer(text)


def test_no_bit_of_a_signature_may_change() -> None:
    for flipped in flips(DER):
        assert not answer(flipped.hex())


@settings(max_examples=200)
@given(st.one_of(st.binary(max_size=80), st.binary(max_size=70).map(lambda b: tlv(SEQUENCE, b))))
def test_any_bytes_for_a_signature_are_only_refused(der: bytes) -> None:
    assert not answer(der.hex())


@pytest.mark.parametrize("name", ["x-absent", "é"])
def test_a_signed_header_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(sigv4.SignatureSyntaxError, match=f"signed header '{name}' is not there"):
        answer(DER.hex(), ("host", name))


PARTS = "expected Credential, SignedHeaders and Signature once each"
BAD_HEADERS = {
    "sigv4": (GOOD.replace(NAME, "AWS4-HMAC-SHA256"), f"algorithm is not {NAME}"),
    "empty": ("", "algorithm is not"),
    "a region in the scope": (GOOD.replace("/s3/", "/us-east-1/s3/"), "Credential is not"),
    "another terminator": (GOOD.replace("aws4_request", "aws4"), "Credential is not"),
    "a part twice": (GOOD + ", Signature=00", PARTS),
    "a part less": (GOOD.partition(", Signature")[0], PARTS),
    "a part more": (GOOD + ", Region=a", PARTS),
    "unsorted names": (GOOD.replace("=host;", "=z;host;"), "not sorted"),
    "a name twice": (GOOD.replace("=host;", "=host;host;"), "repeats a name"),
    "an upper-case name": (GOOD.replace("=host;", "=Host;"), "lower-case header names"),
    "an upper-case signature": (GOOD[:-2] + "AA", "hex digits"),
    "an odd digit": (GOOD + "0", "hex digits"),
    "a signature too long": (GOOD + "00" * 9, "hex digits"),
    "not ASCII": (GOOD + "é", "not ASCII"),
    "too long": (GOOD + " " * 16384, "longer than 16384 bytes"),
}


@pytest.mark.parametrize(("value", "message"), BAD_HEADERS.values(), ids=BAD_HEADERS)
def test_another_header_is_a_syntax_error_without_the_signature(value: str, message: str) -> None:
    with pytest.raises(sigv4.SignatureSyntaxError, match=message) as caught:
        sigv4a.parse_authorization(value.encode())

    assert DER.hex()[:16] not in str(caught.value)


def test_a_header_is_parsed_and_shown_without_its_signature() -> None:
    auth = sigv4a.parse_authorization(GOOD.encode())

    assert auth.scope == "20261123/s3/aws4_request"
    assert auth.signed_headers == ("host", "x-amz-content-sha256", "x-amz-date", "x-amz-region-set")
    assert auth.signature == DER.hex()
    assert DER.hex()[:16] not in repr(auth)
    assert sigv4a.parse_authorization(GOOD.replace(", ", ",").encode()) == auth


REGION_SETS = {
    "all": ("*", "us-west-2", True),
    "the same": ("us-west-2", "us-west-2", True),
    "one of two": ("us-west-2,eu-*", "eu-central-1", True),
    "with a space": ("us-west-2, eu-*", "eu-central-1", True),
    "none of two": ("us-west-2,eu-*", "us-east-1", False),
    "not a prefix": ("us-west", "us-west-2", False),
    "not a suffix": ("west-2", "us-west-2", False),
    "empty": ("", "us-west-2", False),
    "an empty name": (",", "us-west-2", False),
    "upper case": ("US-WEST-2", "us-west-2", False),
    "no other wildcard": ("us-west-?,us-west-[0-9]", "us-west-2", False),
    "a pattern for a region": ("us-west-2", "*", False),
    "many stars": ("a*" * 31 + "b", "a" * 64, False),
    "as many as there may be": ("a," * 31 + "*", "us-west-2", True),
    "one more": ("a," * 32 + "*", "us-west-2", False),
}


@pytest.mark.parametrize(("region_set", "region", "allowed"), REGION_SETS.values(), ids=REGION_SETS)
def test_region_set_allows(region_set: str, region: str, allowed: bool) -> None:
    assert sigv4a.region_set_allows(region_set, region) is allowed
