"""What is compressed shows nothing of what it holds, and is told from text and CBOR."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awsgate.aws.echoes import echoes
from awsgate.aws.readable import AnswerForm, is_readable

XML = b"<R><SecretAccessKey>canary</SecretAccessKey></R>"
MAP = b"\xa1\x66secret\x66canary"
LOOSE = b"\xbf\x66secret\x66canary\xff"
COMPRESSED = {
    "gzip": gzip.compress(XML),
    "zlib": zlib.compress(XML),
    "zlib, barely": zlib.compress(XML, 1),
    "zstd": b"\x28\xb5\x2f\xfd" + XML,
    "compress": b"\x1f\x9d\x90" + XML,
    "xz": lzma.compress(XML),
    "bzip2": bz2.compress(XML),
}


@pytest.mark.parametrize("name", COMPRESSED)
@pytest.mark.parametrize("form", ["text", "cbor"])
def test_what_is_compressed_cannot_be_read(name: str, form: AnswerForm) -> None:
    assert not is_readable(COMPRESSED[name], form)
    assert is_readable(COMPRESSED[name], "any")


@given(st.text().filter(lambda text: not text.startswith("x")))
def test_text_can(text: str) -> None:
    assert is_readable(text.encode(), "text")
    assert is_readable(text.encode(), "cbor")


@given(st.binary(max_size=300), st.integers(0, 9))
def test_no_gzip_and_no_zlib_passes_for_anything(data: bytes, level: int) -> None:
    for packed in (gzip.compress(data, level), zlib.compress(data, level)):
        assert not is_readable(packed, "cbor")


@pytest.mark.parametrize("body", [MAP, LOOSE, b"\xd9\xd9\xf7" + MAP])
def test_an_object_in_cbor_can_where_the_call_speaks_it(body: bytes) -> None:
    body += b"\xfe"  # else it could be UTF-8

    assert is_readable(body, "cbor")
    assert not is_readable(body, "text")


TOKEN = "IQoJb3JpZ2luX2VjEGMaCXVzLWVhc3QtMSJHMEUCIQD/canary+session=="


@pytest.mark.parametrize("name", COMPRESSED)
def test_of_a_refusal_that_is_compressed_and_does_not_say_so_nobody_can_tell(name: str) -> None:
    assert echoes(COMPRESSED[name], "", TOKEN)


def test_of_one_that_is_compressed_twice_neither() -> None:
    assert echoes(gzip.compress(gzip.compress(XML)), "gzip", TOKEN)
    assert not echoes(gzip.compress(XML), "gzip", TOKEN)
    assert echoes(gzip.compress(b"<Error/>") + gzip.compress(TOKEN.encode()), "gzip", TOKEN)
    assert echoes(gzip.compress(XML)[:-1], "gzip", TOKEN)


def test_the_token_shows_in_cbor_and_in_utf_16_too() -> None:
    assert echoes(b"\xa1\x61m\x78\x3c" + TOKEN.encode() + b"\xfe", "", TOKEN, cbor=True)
    assert echoes(TOKEN.encode("utf-16-le"), "", TOKEN)
    assert not echoes(b"\xa1\x61m\x61n\xfe", "", TOKEN, cbor=True)
    assert echoes(b"\xa1\x61m\x61n\xfe", "", TOKEN), "it does not say that it is CBOR"
