"""The wire rules: what has two readings does not pass."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awsgate.errors import Code, Refusal
from awsgate.wire import (
    RequestFacts,
    check_wire,
    forwardable,
    has_query_auth,
    has_query_v2,
    host_of,
    is_header,
)

HOST = "dynamodb.us-east-1.amazonaws.com"
PLAIN = RequestFacts(
    method=b"POST",
    target=b"/",
    authority=b"",
    headers=((b"Host", HOST.encode()), (b"Content-Length", b"2")),
    connect_host=HOST,
    tls=True,
    sni=HOST,
    local=True,
)
LIMIT = 65536


def with_headers(*extra: tuple[bytes, bytes]) -> RequestFacts:
    return replace(PLAIN, headers=(*PLAIN.headers, *extra))


def test_an_ordinary_request_passes_and_is_grouped_by_lower_case_name() -> None:
    headers = check_wire(
        with_headers((b"X-Amz-Meta-A", b"1"), (b"x-amz-meta-a", b"2")), max_header_bytes=LIMIT
    )

    assert headers == {
        b"host": [HOST.encode()],
        b"content-length": [b"2"],
        b"x-amz-meta-a": [b"1", b"2"],
    }


@pytest.mark.parametrize("host", [HOST, HOST.upper(), f"{HOST}:443", f"{HOST}."])
def test_host_header_may_differ_in_case_port_443_and_one_dot(host: str) -> None:
    facts = replace(PLAIN, headers=((b"host", host.encode()),))

    assert b"host" in check_wire(facts, max_header_bytes=LIMIT)


REFUSED = {
    "no host": (replace(PLAIN, headers=()), 400),
    "two hosts": (with_headers((b"host", HOST.encode())), 400),
    "two equal hosts in different case": (with_headers((b"HOST", HOST.encode())), 400),
    "host differs from connect": (
        replace(PLAIN, headers=((b"Host", b"s3.us-east-1.amazonaws.com"),)),
        421,
    ),
    "host with another port": (replace(PLAIN, headers=((b"Host", f"{HOST}:80".encode()),)), 421),
    "host with userinfo": (replace(PLAIN, headers=((b"Host", f"a@{HOST}".encode()),)), 421),
    "host with two dots": (replace(PLAIN, headers=((b"Host", f"{HOST}..".encode()),)), 421),
    "sni differs from connect": (replace(PLAIN, sni="s3.amazonaws.com"), 421),
    "no sni": (replace(PLAIN, sni=None), 421),
    "no tls": (replace(PLAIN, tls=False), 421),
    "absolute form": (replace(PLAIN, authority=HOST.encode()), 400),
    "asterisk form": (replace(PLAIN, target=b"*"), 400),
    "empty target": (replace(PLAIN, target=b""), 400),
    "fragment": (replace(PLAIN, target=b"/a#b"), 400),
    "space in target": (replace(PLAIN, target=b"/a b"), 400),
    "non-ascii target": (replace(PLAIN, target="/é".encode()), 400),
    "control in target": (replace(PLAIN, target=b"/a\x00"), 400),
    "tab in target": (replace(PLAIN, target=b"/a\t"), 400),
    "target too long": (replace(PLAIN, target=b"/" + b"a" * 40000), 414),
    "lower-case method": (replace(PLAIN, method=b"post"), 405),
    "http/2 by its name": (replace(PLAIN, http_version=b"HTTP/2.0"), 505),
    "http/0.9": (replace(PLAIN, http_version=b"HTTP/0.9"), 505),
    "unknown method": (replace(PLAIN, method=b"TRACE"), 405),
    "connect in tunnel": (replace(PLAIN, method=b"CONNECT"), 405),
    "cr in value": (with_headers((b"x-a", b"a\rb")), 400),
    "folded value": (with_headers((b"x-a", b"a\r\n b")), 400),
    "nul in value": (with_headers((b"x-a", b"a\x00b")), 400),
    "control in value": (with_headers((b"x-a", b"a\x01b")), 400),
    "delete in value": (with_headers((b"x-a", b"a\x7fb")), 400),
    "space in name": (with_headers((b"x a", b"1")), 400),
    "empty name": (with_headers((b"", b"1")), 400),
    "colon in name": (with_headers((b"x:a", b"1")), 400),
    "te gzip chunked": (
        replace(
            PLAIN, headers=((b"Host", HOST.encode()), (b"Transfer-Encoding", b"gzip, chunked"))
        ),
        400,
    ),
    "te twice": (
        replace(
            PLAIN,
            headers=((b"Host", HOST.encode()), *[(b"Transfer-Encoding", b"chunked")] * 2),
        ),
        400,
    ),
    "te and content-length": (with_headers((b"Transfer-Encoding", b"chunked")), 400),
    "two content-lengths": (with_headers((b"content-length", b"2")), 400),
    **{
        f"content-length {length!r}": (
            replace(PLAIN, headers=((b"Host", HOST.encode()), (b"Content-Length", length))),
            400,
        )
        for length in (b"9" * 19, b"+5", b"-5", b"0x5", b"5, 5", b"", b"5_0")
    },
    "two authorizations": (with_headers((b"authorization", b"a"), (b"Authorization", b"b")), 400),
    "two dates": (with_headers((b"x-amz-date", b"a"), (b"x-amz-date", b"b")), 400),
    "two tokens": (with_headers(*[(b"x-amz-security-token", b"a")] * 2), 400),
    "two targets": (with_headers(*[(b"x-amz-target", b"a")] * 2), 400),
    "two payload hashes": (with_headers(*[(b"x-amz-content-sha256", b"a")] * 2), 400),
    "upgrade": (with_headers((b"Upgrade", b"websocket")), 400),
    "too many fields": (with_headers(*[(b"x-a", b"1")] * 200), 431),
    "too many bytes": (with_headers((b"x-a", b"1" * 70000)), 431),
}


@pytest.mark.parametrize(("facts", "status"), REFUSED.values(), ids=REFUSED)
def test_what_has_two_readings_is_refused(facts: RequestFacts, status: int) -> None:
    with pytest.raises(Refusal) as caught:
        check_wire(facts, max_header_bytes=LIMIT)

    assert (caught.value.code, caught.value.status) == (Code.UNSUPPORTED, status)


@pytest.mark.parametrize("coding", [b"chunked", b" Chunked\t"])
def test_a_body_comes_in_chunks_or_with_a_length(coding: bytes) -> None:
    fields = ((b"Host", HOST.encode()), (b"Transfer-Encoding", coding))

    assert check_wire(replace(PLAIN, headers=fields), max_header_bytes=LIMIT)


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ((b"x a", b"1"), "a header name holds a character that no header name may hold"),
        ((b"x-a", b"a\rb"), "header 'x-a' holds a line break or control character"),
        ((b"transfer-encoding", b"chunked"), "content-length and transfer-encoding together"),
        ((b"transfer-encoding", b"gzip"), "transfer-encoding is not exactly 'chunked'"),
    ],
)
def test_what_is_wrong_is_said(field: tuple[bytes, bytes], words: str) -> None:
    with pytest.raises(Refusal) as caught:
        check_wire(with_headers(field), max_header_bytes=LIMIT)

    assert caught.value.message == words


def test_origin_form_needs_neither_tls_nor_an_equal_host_here() -> None:
    facts = replace(PLAIN, connect_host=None, tls=False, sni=None, headers=((b"Host", b"gw:8080"),))

    assert check_wire(facts, max_header_bytes=LIMIT) == {b"host": [b"gw:8080"]}


@given(name=st.binary(max_size=20), value=st.binary(max_size=40), target=st.binary(max_size=40))
def test_whatever_passes_is_clean(name: bytes, value: bytes, target: bytes) -> None:
    """Only bytes with one reading pass, whatever else comes along."""
    facts = replace(with_headers((name, value)), target=target)
    try:
        check_wire(facts, max_header_bytes=LIMIT)
    except Refusal:
        return

    assert not set(value) & {*range(9), *range(10, 32), 127}
    assert target.startswith(b"/")
    assert all(0x21 <= byte <= 0x7E and byte != 0x23 for byte in target)
    assert name
    assert all(0x21 <= byte <= 0x7E for byte in name)


def test_the_repr_of_facts_shows_neither_headers_nor_target() -> None:
    facts = replace(with_headers((b"authorization", b"SECRET")), target=b"/?X-Amz-Signature=SECRET")

    assert "SECRET" not in repr(facts)


def test_hop_by_hop_proxy_and_forwarding_headers_stay_behind() -> None:
    headers = [
        (b"Host", b"h"),
        (b"Connection", b"keep-alive, X-Hop, host, x-amz-date"),
        (b"Keep-Alive", b"1"),
        (b"Proxy-Authorization", b"Basic x"),
        (b"proxy-connection", b"keep-alive"),
        (b"TE", b"trailers"),
        (b"X-Hop", b"1"),
        (b"X-Forwarded-Host", b"h"),
        (b"X-Forwarded-For", b"1.2.3.4"),
        (b"Forwarded", b"for=1"),
        (b"Via", b"1.1 x"),
        (b"Expect", b"100-continue"),
        (b"X-Amz-Date", b"kept: x-amz-* cannot be named away"),
        (b"Authorization", b"dropped by the caller"),
        (b"User-Agent", b"kept"),
    ]

    kept = [name for name, _ in forwardable(headers, drop=frozenset({b"authorization"}))]

    assert kept == [b"Host", b"X-Amz-Date", b"User-Agent"]


def test_host_of_folds_case_port_and_dot_only() -> None:
    assert host_of(b" S3.AmazonAWS.com.:443 ") == "s3.amazonaws.com"
    assert host_of(b"s3.amazonaws.com:80") == "s3.amazonaws.com:80"


# --- each name for itself: the lists here are not those of the code ------------------------

ONE_OF_EACH = [
    b"Host", b"Authorization", b"Content-Length", b"Content-Type", b"Date",
    b"X-Amz-Content-Sha256", b"X-Amz-Date", b"X-Amz-Region-Set", b"X-Amz-S3session-Token",
    b"X-Amz-Security-Token", b"X-Amz-Target",
]  # fmt: skip
OF_THE_HOP = [
    b"Connection", b"Expect", b"Forwarded", b"HTTP2-Settings", b"Keep-Alive", b"TE", b"Trailer",
    b"Upgrade", b"Via", b"X-Real-IP", b"Proxy-Authorization", b"X-Forwarded-For",
]  # fmt: skip
SIGNS = [
    b"X-Amz-Algorithm", b"X-Amz-Credential", b"X-Amz-Signature", b"X-Amz-Security-Token",
    b"X-Amz-S3session-Token", b"AWSAccessKeyId", b"Signature",
]  # fmt: skip


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_two_of_these_are_two_answers_to_one_question(name: bytes) -> None:
    others = tuple(field for field in PLAIN.headers if field[0].lower() != name.lower())
    value = HOST.encode() if name == b"Host" else b"2"
    once = replace(PLAIN, headers=(*PLAIN.headers[:1], (name, value)))
    once = once if name != b"Host" else PLAIN
    twice = replace(PLAIN, headers=(*others, (name, value), (name.lower(), value)))

    assert check_wire(once, max_header_bytes=LIMIT)
    with pytest.raises(Refusal, match="more than once"):
        check_wire(twice, max_header_bytes=LIMIT)


@pytest.mark.parametrize("name", OF_THE_HOP)
def test_what_is_of_the_hop_stays_there(name: bytes) -> None:
    signed = [name.decode().lower()]

    assert forwardable([(name, b"x")], drop=frozenset(), signed=signed) == []


@pytest.mark.parametrize("name", SIGNS)
def test_each_part_of_a_signature_in_the_query_is_one(name: bytes) -> None:
    assert has_query_auth(b"/key?a=1&" + name + b"=x")
    assert has_query_auth(b"/key?" + b"".join(b"%%%02X" % byte for byte in name.lower()))
    assert not has_query_auth(b"/key?x-" + name + b"=x&a=" + name)


@pytest.mark.parametrize(
    ("query", "old"),
    [
        (b"AWSAccessKeyId=A&Signature=x&Expires=1", True),
        (b"%41WSAccessKeyId=A", True),
        (b"AWSAccessKeyId=A&X-Amz-Algorithm=AWS4-HMAC-SHA256", False),
        (b"Signature=x", False),
        (b"", False),
    ],
)
def test_what_is_signed_by_sigv2_and_no_other(query: bytes, old: bool) -> None:
    assert has_query_v2(b"/key?" + query) is old


@pytest.mark.parametrize(
    "name", [b"Host", b"Content-Length", b"Transfer-Encoding", b"Content-Type"]
)
def test_what_frames_the_message_cannot_be_named_away(name: bytes) -> None:
    fields = [(b"Connection", name), (name, b"x"), (b"X-Own", b"y")]

    assert forwardable(fields, drop=frozenset()) == [(name, b"x"), (b"X-Own", b"y")]
    fields[0] = (b"Connection", b"x-own")
    assert forwardable(fields, drop=frozenset()) == [(name, b"x")]


@pytest.mark.parametrize(
    ("name", "value", "good"),
    [(b"x", b"a b", True), (b"x y", b"a", False), (b"x", b"a\r\nb", False), (b"", b"", False)],
)
def test_what_can_stand_in_a_header(name: bytes, value: bytes, good: bool) -> None:
    assert is_header(name, value) is good
