"""The X-Forwarded-Host rule."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from awsgate.aws.endpoint import normalise_host
from awsgate.errors import Code, Refusal
from awsgate.forwarded import parse_forwarded_host

GOOD = {
    b"sts.us-east-1.amazonaws.com": "sts.us-east-1.amazonaws.com",
    b"STS.us-east-1.amazonaws.com:443": "sts.us-east-1.amazonaws.com",
    b"sts.us-east-1.amazonaws.com.": "sts.us-east-1.amazonaws.com",
}


@pytest.mark.parametrize(("value", "host"), GOOD.items())
def test_a_bare_host_is_taken(value: bytes, host: str) -> None:
    assert parse_forwarded_host([value]) == host


BAD = (
    b"", b"https://sts.us-east-1.amazonaws.com", b"sts.us-east-1.amazonaws.com/",
    b"sts.us-east-1.amazonaws.com:80", b"sts.us-east-1.amazonaws.com:0443",
    b"sts.us-east-1.amazonaws.com:", b"a.example,sts.us-east-1.amazonaws.com",
    b"u@sts.us-east-1.amazonaws.com", b"sts.us-east-1.amazonaws.com?x", b" a.example",
    b"sts.us-east-1.amazonaws.com#f", b"127.0.0.1", b"169.254.169.254:443", b"[::1]",
    b"a.example\x00", b"a.example\r\nx: y", b"localhost", b"a..example", b"\xc3\xa9.example",
)  # fmt: skip


@pytest.mark.parametrize("value", BAD)
def test_anything_else_is_refused(value: bytes) -> None:
    with pytest.raises(Refusal) as caught:
        parse_forwarded_host([value])

    assert caught.value.code is Code.BAD_FORWARDED_HOST


def test_two_headers_are_refused_even_if_equal() -> None:
    with pytest.raises(Refusal) as caught:
        parse_forwarded_host([b"sts.us-east-1.amazonaws.com"] * 2)

    assert caught.value.code is Code.BAD_FORWARDED_HOST


def test_a_missing_header_has_the_words_of_the_reference() -> None:
    with pytest.raises(Refusal) as caught:
        parse_forwarded_host([])

    assert caught.value.code is Code.MISSING_FORWARDED_HOST
    assert caught.value.message == "proxied requests must include X-Forwarded-Host header"


PIECES = (
    b"sts", b".", b"us-east-1", b"amazonaws.com", b":443", b":", b"@", b"/", b"\\\\", b"#", b"?",
    b",", b" ", b"\t", b"\r\n", b"\x00", b"%2e", b"[", b"]", b"127.0.0.1", b"0x7f.1", b"2130706433",
    b"evil.example", b"xn--", b"\xe3\x80\x82", b"\xff", b"A", b"_", b"-",
)  # fmt: skip


@given(st.one_of(st.binary(max_size=80), st.lists(st.sampled_from(PIECES)).map(b"".join)))
@example(b"attacker@s3.amazonaws.com")
@example(b"s3.amazonaws.com@attacker.example")
@example(b"s3.amazonaws.com\\\\.attacker.example")
def test_whatever_comes_is_one_dns_name_or_refused(value: bytes) -> None:
    try:
        host = parse_forwarded_host([value])
    except Refusal:
        return

    labels = host.split(".")
    assert re.fullmatch(r"[a-z0-9_.-]{3,253}", host)
    assert len(labels) >= 2
    assert all(labels)
    assert not labels[-1][0].isdigit()
    assert value.lower().removesuffix(b":443").removesuffix(b".") == host.encode()
    assert normalise_host(host) == host
