"""Signed chunks: AWS's published example, and a signer written from the specification."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awsgate.aws import sigv4
from awsgate.aws.chunked import (
    MAX_CHUNK_BYTES,
    MAX_LINE_BYTES,
    ChunkError,
    ChunkResigner,
    ChunkSigner,
)
from chunksigner import Chain

# "Example: PUT object" of "Signature calculations ... multiple chunks", S3 API Reference.
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
STAMP, DAY = "20130524T000000Z", "20130524"
SEED = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
PUBLISHED = (
    b"10000;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\n"
    + b"a" * 65536
    + b"\r\n400;chunk-signature="
    + b"0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n"
    + b"a" * 1024
    + b"\r\n0;chunk-signature="
    + b"b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n\r\n"
)
OURS_SECRET, OURS_STAMP, OURS_SEED = "another/Secret+Key", "20130525T000001Z", "ab" * 32

Fields = Sequence[tuple[str, str]]
CRC: Fields = (("x-amz-checksum-crc32", "sOO8/Q=="),)


def signer(secret: str = SECRET, stamp: str = STAMP, seed: str = SEED) -> ChunkSigner:
    day = stamp[:8]
    key = sigv4.signing_key(secret, day, "us-east-1", "s3")
    return ChunkSigner(key, stamp, f"{day}/us-east-1/s3/aws4_request", seed)


def resigner(*, trailer: bool = False, length: int | None = None) -> ChunkResigner:
    ours = signer(OURS_SECRET, OURS_STAMP, OURS_SEED)
    return ChunkResigner(signer(), ours, trailer=trailer, decoded_length=length)


def run(made: ChunkResigner, body: bytes, *, step: int = 1 << 20) -> bytes:
    out = [made.feed(body[i : i + step]) for i in range(0, len(body), step)]
    return b"".join([*out, made.finish()])


def theirs(chunks: Sequence[bytes], fields: Fields = ()) -> bytes:
    return Chain(SECRET, STAMP, "us-east-1", SEED).body(chunks, fields)


def ours(chunks: Sequence[bytes], fields: Fields = ()) -> bytes:
    return Chain(OURS_SECRET, OURS_STAMP, "us-east-1", OURS_SEED).body(chunks, fields)


def test_awss_published_example_is_accepted_and_signed_anew() -> None:
    new = run(resigner(length=66560), PUBLISHED)

    assert new == ours([b"a" * 65536, b"a" * 1024])
    assert len(new) == len(PUBLISHED)


def test_the_independent_signer_makes_awss_published_example() -> None:
    assert theirs([b"a" * 65536, b"a" * 1024]) == PUBLISHED


@given(
    chunks=st.lists(st.binary(min_size=1, max_size=300), max_size=6),
    step=st.integers(1, 500),
    trailer=st.booleans(),
)
def test_any_body_in_any_fragments_is_what_the_role_would_have_signed(
    chunks: list[bytes], step: int, trailer: bool
) -> None:
    fields = CRC if trailer else ()
    made = resigner(trailer=trailer, length=sum(map(len, chunks)))

    assert run(made, theirs(chunks, fields), step=step) == ours(chunks, fields)


def test_several_trailers_are_signed_in_order_of_their_names() -> None:
    fields = (("x-amz-meta-z", "last"), ("x-amz-checksum-crc32", "sOO8/Q=="))

    assert run(resigner(trailer=True), theirs([b"x"], fields)) == ours([b"x"], fields)


def test_nothing_of_a_chunk_goes_on_before_it_is_proved() -> None:
    made = resigner()
    head_and_data = PUBLISHED[: PUBLISHED.index(b"\r\n400;") + 1]

    assert made.feed(head_and_data) == b""
    assert len(made.feed(b"\n")) == len(head_and_data) + 1


def replacing(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    def spoil(body: bytes) -> bytes:
        assert old in body
        return body.replace(old, new, 1)

    return spoil


GOOD = theirs([b"hello", b"world"], CRC)
SPOILED: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "data changed": (replacing(b"hello", b"hellO"), "signature of a chunk"),
    "a size changed": (replacing(b"5;", b"4;"), "CRLF"),
    "a size of another spelling": (replacing(b"5;", b"+5;"), "chunk header"),
    "a size with 0x": (replacing(b"5;", b"0x5;"), "chunk header"),
    "an empty size": (replacing(b"5;", b";"), "chunk header"),
    "another extension": (replacing(b"5;", b"5;a=b;"), "chunk header"),
    "a space": (replacing(b"5;", b"5; "), "chunk header"),
    "an upper-case signature": (
        lambda b: b[:18] + b[18:82].upper() + b[82:], "chunk header"),
    "LF alone": (replacing(b"\r\nhello", b"\nhello"), "chunk header"),
    "a boundary that is none": (replacing(b"hello\r\n", b"hello\rX"), "CRLF"),
    "the trailer changed": (replacing(b"sOO8", b"sOO9"), "trailing headers does not"),
    "the trailer's name in upper case": (replacing(b"x-amz-ch", b"X-amz-ch"), "trailing header"),
    "no trailer signature": (
        lambda b: b[: b.index(b"x-amz-trailer-signature")] + b"\r\n", "trailing header"),
    "a trailer without end": (
        replacing(b"sOO8", b"s" * 20000), "trailer is over"),
    "too many trailers": (
        replacing(b"x-amz-checksum", b"a:b\r\n" * 20 + b"x-amz-checksum"), "too many"),
    "more after the end": (lambda b: b + b"x", "more after"),
    "16 MiB and one byte": (
        replacing(b"5;", b"%x;" % (MAX_CHUNK_BYTES + 1)), "is over"),
    "5 GiB, though its line never ends": (lambda _: b"140000000;", "is over"),
    "a size without end": (lambda _: b"0" * (MAX_LINE_BYTES + 1), "is over"),
}  # fmt: skip


@pytest.mark.parametrize(("spoil", "words"), SPOILED.values(), ids=SPOILED)
@pytest.mark.parametrize("step", [1, 1 << 20], ids=["byte by byte", "at once"])
def test_a_spoilt_body_is_refused_for_good(
    spoil: Callable[[bytes], bytes], words: str, step: int
) -> None:
    made = resigner(trailer=True)

    with pytest.raises(ChunkError, match=words):
        run(made, spoil(GOOD), step=step)
    for again in (lambda: made.feed(GOOD), made.finish):
        with pytest.raises(ChunkError):
            again()


@pytest.mark.parametrize("cut", range(1, len(GOOD)))
def test_a_body_cut_anywhere_is_not_complete(cut: int) -> None:
    made = resigner(trailer=True)
    made.feed(GOOD[:cut])

    with pytest.raises(ChunkError, match="before its last chunk"):
        made.finish()


@pytest.mark.parametrize(("length", "words"), [(9, "more than"), (11, "less than")])
def test_the_data_is_as_long_as_was_announced(length: int, words: str) -> None:
    with pytest.raises(ChunkError, match=words):
        run(resigner(trailer=True, length=length), GOOD)


def test_chunks_cannot_change_places_or_be_left_out() -> None:
    first, second = theirs([b"hello"]), theirs([b"hello", b"world"])
    one, rest = second[:89], second[89:]

    for body in (rest + one, rest, one + second):
        with pytest.raises(ChunkError):
            run(resigner(), body)
    assert run(resigner(), first) == ours([b"hello"])


def test_a_chunk_of_a_mebibyte_takes_no_more_memory_than_itself() -> None:
    data = os.urandom(1 << 20)
    made = resigner()
    body = theirs([data] * 3)

    kept = [sum(map(len, made._data)) for i in range(0, len(body), 65536)
            if made.feed(body[i : i + 65536]) is not None]  # fmt: skip

    assert max(kept) <= 1 << 20
    assert made.finish() == b""


def test_no_secret_is_shown() -> None:
    assert SEED not in repr(signer())
    assert repr(signer().key) not in repr(signer())
