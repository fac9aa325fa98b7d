"""sigv4 against botocore and the AWS CRT, on requests that nobody would think of.

Each signs, the other checks, both ways. Neither oracle shares code with us: botocore
is Python, the CRT is C.
"""

from __future__ import annotations

import hashlib
from random import Random
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from awsgate.aws import sigv4, uri
from signers import KEYS, REGION, SESSION_KEYS, WHEN, accepts, botocore_sign, crt_sign, value_of

HOST = "bucket.example.amazonaws.com"
UNSIGNED = "UNSIGNED-PAYLOAD"

METHODS = st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"])
SERVICES = st.sampled_from(["s3", "execute-api", "lambda", "iam"])
SIGNERS = st.sampled_from([KEYS, SESSION_KEYS])
BODIES = st.binary(max_size=64)

SEGMENTS = st.one_of(
    st.sampled_from(
        ["", ".", "..", "...", "%2F", "%2f", "%25", "%252F", "a+b", "a%20b", "%C3%A9", "x:y", "~",
         "%7E", "it's", "@connections", "(1)", "a;b=c", "*", "%2E%2E", "%FF", "[b]", "a&b", "="]
    ),
    st.binary(max_size=6).map(lambda raw: quote_from_bytes(raw, safe="-_.~")),
)  # fmt: skip
PATHS = st.lists(SEGMENTS, max_size=6).map(lambda segments: "/" + "/".join(segments))

PARTS = st.one_of(
    st.sampled_from(
        ["", "a", "A", "a b", "a+b", "/", "é", "%", "=", "&", "~", "-", "x-id", "list"]
    ),
    st.text(max_size=5).map(lambda text: text.encode("utf-8", "replace").decode()),
)
PAIRS = st.lists(st.tuples(PARTS, PARTS, st.booleans()), max_size=6)

HEADERS = st.lists(
    st.tuples(
        st.sampled_from(
            ["x-amz-meta-a", "X-Amz-Meta-A", "x-amz-meta-b", "Content-Type", "Range", "x-custom",
             "X-CUSTOM", "User-Agent", "Expect", "X-Amzn-Trace-Id", "x_under", "x.dot", "A"]
        ),
        st.text(" \tab,;:=\"'/~!\\1", max_size=12),
    ),
    max_size=8,
)  # fmt: skip


def encode(part: str) -> str:
    return quote_from_bytes(part.encode(), safe="-_.~")


def query_of(pairs: list[tuple[str, str, bool]]) -> str:
    """Give the query in AWS's encoding, in the order given; a flag leaves out a bare ``=``."""
    items = [
        encode(name) if name and not value and bare else f"{encode(name)}={encode(value)}"
        for name, value, bare in pairs
    ]
    return "?" + "&".join(items) if items else ""


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


@given(METHODS, SERVICES, PATHS, PAIRS, HEADERS, BODIES, SIGNERS, st.booleans())
def test_what_botocore_signs_is_accepted(
    method: str,
    service: str,
    path: str,
    pairs: list[tuple[str, str, bool]],
    headers: list[tuple[str, str]],
    body: bytes,
    keys: sigv4.SigningKeys,
    sign_body: bool,
) -> None:
    target = path + query_of(pairs)

    fields = botocore_sign(
        method, HOST, target, headers, body, service=service, keys=keys, sign_body=sign_body
    )

    secret, digest = keys.secret_access_key, sha256(body)
    assert accepts(method, target.encode(), fields, secret=secret, body_sha256=digest)
    assert not accepts(method, target.encode(), fields, secret=secret + "x", body_sha256=digest)
    assert not accepts(method + "S", target.encode(), fields, secret=secret, body_sha256=digest)


@given(METHODS, SERVICES, PATHS, PAIRS, HEADERS, BODIES, SIGNERS)
def test_what_we_sign_is_what_botocore_signs(
    method: str,
    service: str,
    path: str,
    pairs: list[tuple[str, str, bool]],
    headers: list[tuple[str, str]],
    body: bytes,
    keys: sigv4.SigningKeys,
) -> None:
    target = path + query_of(pairs)
    sent = [("Host", HOST), *headers]
    declared = [] if service == "s3" else [("X-Amz-Content-SHA256", sha256(body))]
    theirs = botocore_sign(
        method, HOST, target, [*sent, *declared], body, service=service, keys=keys
    )
    covered = sigv4.parse_authorization(value_of(theirs, b"authorization")).signed_headers

    ours = sigv4.sign(
        method,
        target.encode(),
        [(name.encode(), value.encode()) for name, value in sent],
        signed=covered,
        keys=keys,
        region=REGION,
        service=service,
        payload=sha256(body),
        now=WHEN,
    )

    assert value_of(ours, b"authorization") == value_of(theirs, b"authorization")


CRT_MODES = st.sampled_from(
    [
        ("s3", False, False),
        ("execute-api", True, True),
        ("execute-api", True, False),  # the path as it is: Go
    ]
)


@given(METHODS, CRT_MODES, PATHS, PAIRS, HEADERS, SIGNERS)
def test_what_the_crt_signs_is_accepted(
    method: str,
    mode: tuple[str, bool, bool],
    path: str,
    pairs: list[tuple[str, str, bool]],
    headers: list[tuple[str, str]],
    keys: sigv4.SigningKeys,
) -> None:
    service, encode_twice, normalise = mode
    target = path + query_of(pairs)

    fields = crt_sign(
        method,
        target,
        [("Host", HOST), *headers],
        service=service,
        payload=UNSIGNED,
        keys=keys,
        encode_twice=encode_twice,
        normalise=normalise,
    )

    secret = keys.secret_access_key
    assert accepts(method, target.encode(), fields, secret=secret, body_sha256="")
    assert not accepts(method, target.encode(), fields, secret=secret + "x", body_sha256="")


@given(METHODS, st.sampled_from(["s3", "execute-api"]), PATHS, PAIRS, HEADERS, BODIES, SIGNERS)
def test_what_we_sign_is_what_the_crt_signs(
    method: str,
    service: str,
    path: str,
    pairs: list[tuple[str, str, bool]],
    headers: list[tuple[str, str]],
    body: bytes,
    keys: sigv4.SigningKeys,
) -> None:
    target = path + query_of(pairs)
    sent = [("Host", HOST), *headers]
    exact = service == "s3"
    theirs = crt_sign(
        method,
        target,
        sent,
        service=service,
        payload=sha256(body),
        keys=keys,
        encode_twice=not exact,
        normalise=not exact,
    )
    expected = sigv4.parse_authorization(value_of(theirs, b"authorization"))

    ours = sigv4.sign(
        method,
        target.encode(),
        [(name.encode(), value.encode()) for name, value in sent],
        signed=expected.signed_headers,
        keys=keys,
        region=REGION,
        service=service,
        payload=sha256(body),
        now=WHEN,
    )

    assert sigv4.parse_authorization(value_of(ours, b"authorization")) == expected


def loosely(text: str, flags: list[bool]) -> str:
    """Write an encoded query as other clients do: + for a space, bare /, small hex, %61 for a."""
    swaps = {"%20": "+", "%2F": "/", "%C3": "%c3", "a": "%61", "&": "&&", "~": "%7E"}
    out, i, n = "", 0, 0
    while i < len(text):
        step = next((s for s in swaps if text.startswith(s, i)), text[i])
        use = step in swaps and flags and flags[n % len(flags)]
        out += swaps[step] if use else step
        i, n = i + len(step), n + 1
    return out


@given(SERVICES, PAIRS, st.lists(st.booleans(), min_size=1, max_size=9), st.randoms())
@example("s3", [("prefix", "a b/é", False), ("a", "", True)], [True], None)
def test_the_query_may_be_written_in_other_ways_and_another_order(
    service: str, pairs: list[tuple[str, str, bool]], flags: list[bool], shuffle: Random | None
) -> None:
    """object_store sends + and signs %20, OpenDAL sends / and signs %2F; AWS decodes first."""
    fields = botocore_sign("GET", HOST, "/k" + query_of(pairs), service=service)
    if shuffle is not None:
        pairs = list(pairs)
        shuffle.shuffle(pairs)
    sent = ("/k" + loosely(query_of(pairs), flags)).encode()

    assert accepts(
        "GET", sent, fields, secret=KEYS.secret_access_key, body_sha256=sigv4.EMPTY_SHA256
    )


OTHER_QUERIES = {
    "a plus that is meant": ("?a=b%2Bc", b"?a=b+c"),
    "another case of a name": ("?a=1", b"?A=1"),
    "a pair less": ("?a=1&a=1", b"?a=1"),
    "an empty pair more": ("?a=1", b"?a=1&="),
    "a value moved into the name": ("?a=1%3D2", b"?a%3D1=2"),
    "two pairs for one": ("?a=1%26b%3D2", b"?a=1&b=2"),
    "decoded once too often": ("?a=%252F", b"?a=%2F"),
}  # fmt: skip


@pytest.mark.parametrize(("signed", "sent"), OTHER_QUERIES.values(), ids=OTHER_QUERIES)
def test_another_query_is_not_accepted(signed: str, sent: bytes) -> None:
    fields = botocore_sign("GET", HOST, "/" + signed, service="s3")
    secret = KEYS.secret_access_key

    assert accepts("GET", b"/" + signed.encode(), fields, secret=secret, body_sha256="")
    assert not accepts("GET", b"/" + sent, fields, secret=secret, body_sha256="")


def test_for_s3_no_two_paths_are_the_same() -> None:
    paths = ["/a//b", "/a/b", "/a/./b", "/a/x/../b", "/a%2Fb", "/a%2fb", "/a/b/", "/%61/b"]
    secret = KEYS.secret_access_key
    for signed in paths:
        fields = botocore_sign("GET", HOST, signed, service="s3")
        same = [
            p for p in paths if accepts("GET", p.encode(), fields, secret=secret, body_sha256="")
        ]

        assert same == [signed]


def test_header_bytes_outside_ascii_are_signed_as_they_are() -> None:
    fields = crt_sign(
        "GET",
        "/",
        [("Host", HOST), ("x-amz-meta-a", "é  ü\xa0\x85")],
        service="s3",
        payload=UNSIGNED,
        encode_twice=False,
        normalise=False,
    )

    assert accepts("GET", b"/", fields, secret=KEYS.secret_access_key, body_sha256="")


@given(
    path=st.text("abc:@$&'()*+,;=!~-._/", min_size=1), other=st.text("abc:@%3A4Z/.~", min_size=1)
)
def test_an_unencoded_path_is_the_canonical_form_of_no_other(path: str, other: str) -> None:
    """What lets curl 7's signatures in: they can be of this one path alone."""
    wire, another = b"/" + path.encode(), b"/" + other.encode()
    forms = {
        uri.canonical_path(another, "lambda", normalise=normalise) for normalise in (True, False)
    }

    unencoded = uri.canonical_path(wire, "lambda", normalise=False) != wire
    assert not (unencoded and wire in forms)
