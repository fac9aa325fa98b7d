"""Signed chunks: AWS's published examples, minio-go, and a signer from the specification."""

from __future__ import annotations

import os
import re
import tracemalloc
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awsgate.aws import sigv4
from awsgate.aws.chunked import (
    MAX_CHUNK_BYTES,
    MAX_LINE_BYTES,
    MAX_TRAILER_BYTES,
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
# "Example: PUT object" of "... including trailing headers".
TRAILER_SEED = "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e"
PUBLISHED_TRAILER = (
    b"10000;chunk-signature=b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2\r\n"
    + b"a" * 65536
    + b"\r\n400;chunk-signature="
    + b"1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7\r\n"
    + b"a" * 1024
    + b"\r\n0;chunk-signature="
    + b"2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992\r\n"
    + b"x-amz-checksum-crc32c:sOO8/Q==\r\n"
    + b"x-amz-trailer-signature:"
    + b"d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n"
)

# ``signer.StreamingSignV4`` of minio-go 7.4.1, same key, time and region; 66,536 "m".
MINIO_SEED = "0dc36538b08468b3d87a21564e92fa8769f851235d8586e348e80c824542325d"
MINIO = (
    b"10000;chunk-signature=58df6585514abf07a7250eb35324b588f52b9a90b8a58576b08364fdc6069ab2\r\n"
    + b"m" * 65536
    + b"\r\n3e8;chunk-signature="
    + b"d997db38e5a15bee23fb73ffc1589733f964a2bb0680372273dc10333251c882\r\n"
    + b"m" * 1000
    + b"\r\n0;chunk-signature="
    + b"c3cd018c9b39dac9ef0869cf8094f7c18be71ce72f04dfdef5b3f894e05c4a26\r\n\r\n"
)
MINIO_TRAILER_SEED = "109827493de3c4fc897e3872f70f05c605a845fa71cf9f840b5e2c8ce73caec8"
# Its trailing header ends in LF CRLF.
MINIO_TRAILER = (
    b"10000;chunk-signature=ede54e2917b833ecf665d846c441e4ec486a032287137be4fe45b38d9ccdd364\r\n"
    + b"m" * 65536
    + b"\r\n3e8;chunk-signature="
    + b"593fe0c21dd4a4fa7754c60f1662c25ad9aeadedeb34d46180ea8877eb62c825\r\n"
    + b"m" * 1000
    + b"\r\n0;chunk-signature="
    + b"a4c88142654d2ee34ad10095a7aa3fa2f7865305e62013d112d959f0e6852cde\r\n"
    + b"x-amz-checksum-crc32c:sOO8/Q==\n\r\n"
    + b"x-amz-trailer-signature:"
    + b"5b098fc1b3912a1c00492082515415bf016aed4668e9babcf046631d1026d125\r\n\r\n"
)
OURS_SECRET, OURS_STAMP, OURS_SEED = "another/Secret+Key", "20130525T000001Z", "ab" * 32

Fields = Sequence[tuple[str, str]]
CRC: Fields = (("x-amz-checksum-crc32", "sOO8/Q=="),)
CRC32C: Fields = (("x-amz-checksum-crc32c", "sOO8/Q=="),)


def signer(secret: str = SECRET, stamp: str = STAMP, seed: str = SEED) -> ChunkSigner:
    day = stamp[:8]
    key = sigv4.signing_key(secret, day, "us-east-1", "s3")
    return ChunkSigner(key, stamp, f"{day}/us-east-1/s3/aws4_request", seed)


def resigner(
    *, trailer: bool = False, length: int | None = None, seed: str = SEED, wire: int | None = None
) -> ChunkResigner:
    """``wire``: Content-Length."""
    ours = signer(OURS_SECRET, OURS_STAMP, OURS_SEED)
    return ChunkResigner(
        signer(seed=seed), ours, trailer=trailer, decoded_length=length, length=wire
    )


def run(
    made: ChunkResigner, body: bytes, *, step: int = 1 << 20, out: list[bytes] | None = None
) -> bytes:
    """``out`` has what went on, even if the body is refused."""
    out = [] if out is None else out
    out.extend(made.feed(body[i : i + step]) for i in range(0, len(body), step))
    return b"".join([*out, made.finish()])


def theirs(chunks: Sequence[bytes], fields: Fields = ()) -> bytes:
    return Chain(SECRET, STAMP, "us-east-1", SEED).body(chunks, fields)


def ours(chunks: Sequence[bytes], fields: Fields = ()) -> bytes:
    return Chain(OURS_SECRET, OURS_STAMP, "us-east-1", OURS_SEED).body(chunks, fields)


A, M = [b"a" * 65536, b"a" * 1024], [b"m" * 65536, b"m" * 1000]
REAL: dict[str, tuple[bytes, str, Sequence[bytes], Fields]] = {
    "AWS's example": (PUBLISHED, SEED, A, ()),
    "AWS's example with a trailing header": (PUBLISHED_TRAILER, TRAILER_SEED, A, CRC32C),
    "minio-go": (MINIO, MINIO_SEED, M, ()),
    "minio-go with a trailing header": (MINIO_TRAILER, MINIO_TRAILER_SEED, M, CRC32C),
}


@pytest.mark.parametrize(("body", "seed", "chunks", "fields"), REAL.values(), ids=REAL)
@pytest.mark.parametrize("step", [997, 1 << 20], ids=["in pieces", "at once"])
def test_what_others_signed_is_accepted_and_signed_anew(
    body: bytes, seed: str, chunks: Sequence[bytes], fields: Fields, step: int
) -> None:
    made = resigner(trailer=bool(fields), length=sum(map(len, chunks)), seed=seed)

    new = run(made, body, step=step)

    assert new.replace(b"==\n\r\n", b"==\r\n") == ours(chunks, fields)
    assert len(new) == len(body)


def test_the_independent_signer_makes_awss_published_examples() -> None:
    chain = Chain(SECRET, STAMP, "us-east-1", TRAILER_SEED)

    assert theirs(A) == PUBLISHED
    assert chain.body(A, CRC32C) == PUBLISHED_TRAILER


def test_the_spelling_of_a_size_is_kept() -> None:
    spelt = theirs([b"x" * 10]).replace(b"a;", b"00A;", 1)

    assert run(resigner(), spelt) == ours([b"x" * 10]).replace(b"a;", b"00A;", 1)


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


def test_nothing_of_the_trailing_headers_goes_on_before_they_are_proved() -> None:
    made = resigner(trailer=True)
    body = theirs([b"x"], CRC)
    head, trailers = body[: body.index(b"x-amz-checksum")], body[body.index(b"x-amz-checksum") :]

    assert len(made.feed(head)) == len(head)
    assert made.feed(trailers[:-5]) == b""
    assert len(made.feed(trailers[-5:])) == len(trailers)


def replacing(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    def spoil(body: bytes) -> bytes:
        assert old in body
        return body.replace(old, new, 1)

    return spoil


GOOD = theirs([b"hello", b"world"], CRC)
SPOILED: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "data changed": (replacing(b"hello", b"hellO"), "signature of a chunk"),
    "the last byte of a chunk changed": (replacing(b"world", b"worlD"), "signature of a chunk"),
    "a signature changed": (
        lambda b: b[:18] + bytes([b[18] ^ 1 if b[18] != 0x39 else 0x30]) + b[19:],
        "signature of a chunk"),
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
    "the trailer's name changed": (replacing(b"crc32:", b"crc31:"), "trailing headers does not"),
    "the trailer left out": (
        replacing(b"x-amz-checksum-crc32:sOO8/Q==\r\n", b""), "trailing headers does not"),
    "the trailer there twice": (
        replacing(b"x-amz-tr", b"x-amz-checksum-crc32:sOO8/Q==\r\nx-amz-tr"), "more than once"),
    "a trailer with two LF": (replacing(b"/Q==\r", b"/Q==\n\n\r"), "trailing header is not"),
    "a trailer with a control character": (replacing(b"sOO8", b"s\0O8"), "trailing header is not"),
    "the trailer signature changed": (
        lambda b: b[:-68] + (b"0" if b[-68:-67] != b"0" else b"1") + b[-67:],
        "trailing headers does not"),
    "a trailer signature in upper case": (
        lambda b: b[:-68] + b[-68:].upper(), "64 lower-case hex"),
    "a trailer signature cut short": (lambda b: b[:-6] + b"\r\n\r\n", "64 lower-case hex"),
    "a trailer after the trailer signature": (lambda b: b[:-2] + b"a:b\r\n\r\n", "CRLF"),
    "no trailer signature": (
        lambda b: b[: b.index(b"x-amz-trailer-signature")] + b"\r\n", "trailing header"),
    "a trailer without end": (
        replacing(b"sOO8", b"s" * 20000), "trailer is over"),
    "trailers too long together": (
        replacing(b"x-amz-ch", b"".join(b"%d:%s\r\n" % (i, b"s" * (MAX_TRAILER_BYTES // 4))
                                        for i in range(4)) + b"x-amz-ch"), "too many"),
    "too many trailers": (
        replacing(b"x-amz-ch", b"".join(b"a%d:b\r\n" % i for i in range(16)) + b"x-amz-ch"),
        "too many"),
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

    with pytest.raises(ChunkError, match=words) as caught:
        run(made, spoil(GOOD), step=step)
    assert re.search("[0-9a-f]{16}|hell|sOO", str(caught.value)) is None
    for again in (lambda: made.feed(GOOD), made.finish):
        with pytest.raises(ChunkError):
            again()


@pytest.mark.parametrize("cut", range(len(GOOD)))
def test_a_body_cut_anywhere_is_not_complete(cut: int) -> None:
    made = resigner(trailer=True, length=10)
    made.feed(GOOD[:cut])

    with pytest.raises(ChunkError, match="before its last chunk"):
        made.finish()


@pytest.mark.parametrize("step", [1, 1 << 20], ids=["byte by byte", "at once"])
def test_of_a_body_whose_length_says_that_it_is_over_too_early_the_end_is_kept(step: int) -> None:
    """Else it would be a whole one at AWS, by HTTP's framing."""
    for cut in range(1, len(GOOD)):
        given: list[bytes] = []

        with pytest.raises(ChunkError, match="before its last chunk"):
            run(resigner(trailer=True, wire=cut), GOOD[:cut], step=step, out=given)
        assert sum(map(len, given)) < cut, cut


@pytest.mark.parametrize("step", [1, 1 << 20], ids=["byte by byte", "at once"])
def test_a_body_of_the_length_that_was_said_goes_on_whole(step: int) -> None:
    made = resigner(trailer=True, wire=len(GOOD))

    assert run(made, GOOD, step=step) == ours([b"hello", b"world"], CRC)


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


@pytest.mark.parametrize(
    ("trailer", "words"), [(True, "trailing header"), (False, "CRLF")], ids=["asked", "not asked"]
)
def test_trailers_are_there_if_and_only_if_the_head_says_so(trailer: bool, words: str) -> None:
    body = theirs([b"x"], () if trailer else CRC)

    with pytest.raises(ChunkError, match=words):
        run(resigner(trailer=trailer), body)


def test_a_body_without_any_data_is_signed_anew() -> None:
    assert run(resigner(length=0), theirs([])) == ours([])


def test_only_the_chunk_at_hand_is_held() -> None:
    data = os.urandom(1 << 20)
    made = resigner()
    body = theirs([data] * 3)

    kept = []
    for i in range(0, len(body), 65536):
        made.feed(body[i : i + 65536])
        kept.append(len(made._held) + len(made._pending))

    assert max(kept) <= len(data) + 2
    assert made.finish() == b""


def test_a_chunk_in_tiny_pieces_costs_no_more_memory_than_its_bytes() -> None:
    body = theirs([b"ab" * 50_000])
    made = resigner()
    head, size = 90, 100_000
    made.feed(body[:head])
    tracemalloc.start()
    try:
        for i in range(head, head + size - 1000, 2):
            made.feed(body[i : i + 2])
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert held < 2 * size


def test_no_secret_is_shown() -> None:
    assert SEED not in repr(signer())
    assert repr(signer().key) not in repr(signer())


def test_a_chunk_over_the_bound_is_refused_by_its_whole_header_too() -> None:
    body = b"%x;chunk-signature=%s\r\n" % (MAX_CHUNK_BYTES + 1, b"ab" * 32)

    with pytest.raises(ChunkError, match="chunk is over"):
        resigner().feed(body)


def test_what_broke_after_its_last_chunk_is_no_whole_body() -> None:
    made = resigner()
    with pytest.raises(ChunkError, match="more after the last chunk"):
        made.feed(theirs([b"hello"]) + b"x")

    with pytest.raises(ChunkError, match="more after the last chunk"):
        made.finish()
