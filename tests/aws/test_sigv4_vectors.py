"""sigv4 against signatures that others published or sent.

``vectors/captures.jsonl.gz`` holds 424 requests of real clients (boto3, AWS CLI 1 and
2, Go, JavaScript, Terraform, rclone, s5cmd, pyarrow, curl), as they stood on the wire,
without their bodies.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
from botocore.utils import normalize_url_path
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from awsgate.aws import sigv4, uri
from signers import Fields, accepts, value_of

CAPTURES = Path(__file__).parent / "vectors" / "captures.jsonl.gz"
SECRETS = {
    b"AKIAGATEWAYTEST00001": "gwsecretgwsecretgwsecretgwsecretgwsecret",
    b"ASIASESS": "SESSSECRET",  # s3express
}

# --- AWS's own examples ----------------------------------------------------------

SUITE_SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
SUITE_TOKEN = (
    b"AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmx"
    b"fpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0K"
    b"PkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZb"
    b"qBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA=="
)
UNRESERVED = b"-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
FORM = (b"Content-Type", b"application/x-www-form-urlencoded")
H1 = b"My-Header1"

# The names are those of aws-sig-v4-test-suite: service "service", 20150830T123600Z.
SUITE: dict[str, tuple[str, bytes, Fields, bytes, str]] = {
    "get-vanilla": (
        "GET", b"/", [], b"",
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    ),
    "get-vanilla-query-order-key-case": (
        "GET", b"/?Param2=value2&Param1=value1", [], b"",
        "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    ),
    "get-utf8": (
        "GET", "/ሴ".encode(), [], b"",
        "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85",
    ),
    "get-unreserved": (
        "GET", b"/" + UNRESERVED, [], b"",
        "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
    ),
    "get-space": (
        "GET", b"/example space/", [], b"",
        "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741",
    ),
    "post-header-key-sort": (
        "POST", b"/", [(H1, b"value1")], b"",
        "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
    ),
    "post-sts-header-before": (
        "POST", b"/", [(b"X-Amz-Security-Token", SUITE_TOKEN)], b"",
        "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead",
    ),
    "get-vanilla-utf8-query": (
        "GET", "/?ሴ=bar".encode(), [], b"",
        "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04",
    ),
    "get-vanilla-empty-query-key": (
        "GET", b"/?Param1=value1", [], b"",
        "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb",
    ),
    "post-x-www-form-urlencoded": (
        "POST", b"/", [FORM], b"Param1=value1",
        "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
    ),
    "get-header-key-duplicate": (
        "GET", b"/", [(H1, b"value2"), (H1, b"value2"), (H1, b"value1")], b"",
        "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
    ),
    "get-header-value-order": (
        "GET", b"/", [(H1, b"value4"), (H1, b"value1"), (H1, b"value3"), (H1, b"value2")], b"",
        "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01",
    ),
    "get-header-value-trim": (
        "GET", b"/", [(H1, b" value1"), (b"My-Header2", b' "a   b   c"')], b"",
        "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("method", "target", "extra", "body", "expected"), SUITE.values(), ids=SUITE
)
def test_suite(method: str, target: bytes, extra: Fields, body: bytes, expected: str) -> None:
    fields = [(b"Host", b"example.amazonaws.com"), (b"X-Amz-Date", b"20150830T123600Z"), *extra]
    signed = ";".join(sorted({name.lower().decode() for name, _ in fields}))
    auth = (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        f"SignedHeaders={signed}, Signature={expected}"
    )
    digest = hashlib.sha256(body).hexdigest()

    fields.append((b"Authorization", auth.encode()))

    assert accepts(method, target, fields, secret=SUITE_SECRET, body_sha256=digest)
    assert not accepts(method, target, fields, secret=SUITE_SECRET, body_sha256="0" * 64)


def test_the_steps_of_the_iam_user_guide_come_out_as_printed_there() -> None:
    headers = sigv4.group_headers(
        [
            (b"Host", b"iam.amazonaws.com"),
            (b"Content-Type", b"application/x-www-form-urlencoded; charset=utf-8"),
            (b"X-Amz-Date", b"20150830T123600Z"),
        ]
    )
    signed = ["content-type", "host", "x-amz-date"]

    canonical = sigv4.canonical_request(
        "GET",
        uri.canonical_path(b"/", "iam"),
        sigv4.canonical_query(b"Action=ListUsers&Version=2010-05-08"),
        sigv4.canonical_headers(headers, signed),
        signed,
        sigv4.EMPTY_SHA256,
    )
    to_sign = sigv4.string_to_sign(
        canonical, "20150830T123600Z", "20150830/us-east-1/iam/aws4_request"
    )
    key = sigv4.signing_key(SUITE_SECRET, "20150830", "us-east-1", "iam")

    assert canonical == (
        b"GET\n/\nAction=ListUsers&Version=2010-05-08\n"
        b"content-type:application/x-www-form-urlencoded; charset=utf-8\n"
        b"host:iam.amazonaws.com\nx-amz-date:20150830T123600Z\n\n"
        b"content-type;host;x-amz-date\n"
        b"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    )
    assert to_sign.endswith(b"\nf536975d06c0309214f805bb90ccff089219ecd68b2577efef23edd43b7e1a59")
    assert key.hex() == "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9"
    assert (
        sigv4.signature(key, to_sign)
        == "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
    )


PUT_BODY = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"
S3_EXAMPLES: dict[str, tuple[str, bytes, Fields, str, str]] = {
    "get object": (
        "GET", b"/test.txt", [(b"Range", b"bytes=0-9")], sigv4.EMPTY_SHA256,
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    ),
    "put object": (
        "PUT", b"/test%24file.text",
        [(b"Date", b"Fri, 24 May 2013 00:00:00 GMT"),
         (b"x-amz-storage-class", b"REDUCED_REDUNDANCY")],
        PUT_BODY,
        "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    ),
    "get bucket lifecycle": (
        "GET", b"/?lifecycle", [], sigv4.EMPTY_SHA256,
        "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
    ),
    "list objects": (
        "GET", b"/?max-keys=2&prefix=J", [], sigv4.EMPTY_SHA256,
        "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("method", "target", "extra", "payload", "expected"), S3_EXAMPLES.values(), ids=S3_EXAMPLES
)
def test_sign_gives_the_signatures_printed_in_the_s3_api_reference(
    method: str, target: bytes, extra: Fields, payload: str, expected: str
) -> None:
    fields = sigv4.sign(
        method,
        target,
        [(b"Host", b"examplebucket.s3.amazonaws.com"), *extra],
        signed=["host", *(name.lower().decode() for name, _ in extra)],
        keys=sigv4.SigningKeys(
            "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", ""
        ),
        region="us-east-1",
        service="s3",
        payload=payload,
        now=datetime(2013, 5, 24, tzinfo=UTC),
    )

    assert value_of(fields, b"authorization").endswith(b"Signature=" + expected.encode())


# --- what real clients sent --------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Capture:
    label: str
    method: str
    target: bytes
    fields: Fields
    body_sha256: str

    @property
    def auth(self) -> sigv4.Authorization:
        return sigv4.parse_authorization(value_of(self.fields, b"authorization"))

    @property
    def client(self) -> str:
        return self.label.partition(":")[0]

    def accepted(self) -> bool:
        """True if the signature is right for the key that the request names."""
        value = value_of(self.fields, b"authorization")
        key_id = value.partition(b"Credential=")[2].partition(b"/")[0]
        return key_id in SECRETS and accepts(
            self.method,
            self.target,
            self.fields,
            secret=SECRETS[key_id],
            body_sha256=self.body_sha256,
        )


@lru_cache
def captures() -> list[Capture]:
    found = []
    with gzip.open(CAPTURES, "rt", encoding="ascii") as lines:
        for row in map(json.loads, lines):
            fields = [(n.encode("latin-1"), v.encode("latin-1")) for n, v in row["headers"]]
            if not any(name.lower() == b"host" for name, _ in fields):
                fields.append((b"host", row["authority"].encode()))  # HTTP/2
            target = row["path"].encode("latin-1")
            found.append(Capture(row["label"], row["method"], target, fields, row["body_sha256"]))
    return found


@lru_cache
def verified() -> list[Capture]:
    return [capture for capture in captures() if capture.accepted()]


NOT_VERIFIED = {
    "curl-sigv4:s3 put": (1, "curl 7.88 signs the hash of an empty body for an upload"),
    "curl-sigv4:s3 list query": (1, "curl 7.88 does not sort the query; AWS refuses it too"),
    "terraform-s3:init ddb+assume_role": (6, "a role's keys, known to that test's AWS alone"),
    "terraform-s3:apply ddb": (12, "a role's keys, known to that test's AWS alone"),
}


def test_every_request_of_a_real_client_verifies_but_the_listed_ones() -> None:
    failed = Counter(capture.label for capture in captures() if not capture.accepted())

    assert failed == {label: count for label, (count, _) in NOT_VERIFIED.items()}


def test_the_captures_hold_every_client_and_every_kind_of_payload() -> None:
    clients = Counter(capture.client for capture in verified())
    payloads = {
        value.decode() if len(value) < 64 else "hash"
        for capture in verified()
        for name, value in capture.fields
        if name.lower() == b"x-amz-content-sha256"
    }

    assert sum(clients.values()) == 404
    assert len(clients) == 12
    assert min(clients.values()) >= 7
    assert payloads == {
        "hash",
        "UNSIGNED-PAYLOAD",
        "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "STREAMING-AWS4-HMAC-SHA256-EVENTS",
    }


# --- one byte changed ----------------------------------------------------------------


def path_of(capture: Capture) -> bytes:
    return capture.target.partition(b"?")[0]


SPACES = re.compile(rb"[ \t\n\r\x0b\x0c]+")


def meaning(capture: Capture, signed: frozenset[bytes]) -> tuple[object, ...]:
    """What a signature must cover, worked out by others' code.

    Two requests of one meaning may share a signature: white space runs in a value,
    ``+`` or ``%20`` and the order of pairs in a query, the case of a header name, and
    for all but S3 a path before and after the removal of dots and empty segments.
    """
    path, _, query = capture.target.partition(b"?")
    if capture.auth.service not in ("s3", "s3express"):
        path = normalize_url_path(path.decode("latin-1")).encode("latin-1")
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True, encoding="latin-1")
    headers: dict[bytes, list[bytes]] = {}
    for name, value in capture.fields:
        if name.lower() in signed:
            headers.setdefault(name.lower(), []).append(SPACES.sub(b" ", value).strip(b" "))
    payload = "" if b"x-amz-content-sha256" in headers else capture.body_sha256
    return capture.method, path, sorted(pairs), headers, payload


INTERESTING = b" \t+%/.?&=;,:aA0f2\x00\xff"
BYTES = st.sampled_from(list(INTERESTING)) | st.integers(0, 255)


@st.composite
def one_byte_changed(draw: st.DrawFn, original: bytes) -> bytes:
    """Flip a bit, or replace, insert or delete a byte."""
    at = draw(st.integers(0, len(original)))
    kind = draw(st.sampled_from(["flip", "replace", "insert", "delete"]))
    if kind == "insert" or at == len(original):
        return original[:at] + bytes([draw(BYTES)]) + original[at:]
    if kind == "delete":
        return original[:at] + original[at + 1 :]
    new = original[at] ^ (1 << draw(st.integers(0, 7))) if kind == "flip" else draw(BYTES)
    return original[:at] + bytes([new]) + original[at + 1 :]


@st.composite
def changed_captures(draw: st.DrawFn) -> tuple[Capture, Capture]:
    """Give a request and the same with one byte of method, target, header or hash changed."""
    capture = draw(st.sampled_from(verified()))
    part = draw(st.sampled_from(["method", "target", "name", "value", "value", "hash"]))
    if part == "method":
        method = draw(one_byte_changed(capture.method.encode())).decode("latin-1")
        return capture, replace(capture, method=method)
    if part == "target":
        return capture, replace(capture, target=b"/" + draw(one_byte_changed(capture.target[1:])))
    if part == "hash":
        digest = draw(one_byte_changed(capture.body_sha256.encode())).decode("latin-1")
        return capture, replace(capture, body_sha256=digest)
    fields = list(capture.fields)
    at = draw(
        st.sampled_from([i for i, f in enumerate(fields) if f[0].lower() != b"authorization"])
    )
    name, value = fields[at]
    if part == "name":
        name = draw(one_byte_changed(name))
    else:
        value = draw(one_byte_changed(value))
    fields[at] = (name, value)
    return capture, replace(capture, fields=fields)


@settings(max_examples=1500)
@given(changed_captures())
def test_a_request_with_one_byte_changed_is_accepted_only_if_it_means_the_same(
    pair: tuple[Capture, Capture],
) -> None:
    before, after = pair
    assume(after != before)
    signed = frozenset(name.encode() for name in before.auth.signed_headers)
    same = meaning(before, signed) == meaning(after, signed)
    # A client that signs the path as it is (Go) may be refused, and need not be.
    assume(not same or path_of(after) == path_of(before))

    assert after.accepted() == same


@settings(max_examples=700)
@given(st.data())
def test_an_authorization_header_with_one_byte_changed_is_accepted_only_if_it_reads_the_same(
    data: st.DataObject,
) -> None:
    before = data.draw(st.sampled_from(verified()))
    old = value_of(before.fields, b"authorization")
    new = data.draw(one_byte_changed(old))
    fields = [(n, new if v is old else v) for n, v in before.fields]
    after = replace(before, fields=fields)
    try:
        same = after.auth == before.auth
    except sigv4.SignatureSyntaxError:
        same = False

    assert after.accepted() == same
