"""Where bodies end: the same however the bytes are split; h11 is the oracle."""

from __future__ import annotations

from itertools import pairwise
from time import perf_counter

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from awsgate.server.core.framing import (
    LAST_CHUNK,
    MAX_EXTENSION_BYTES,
    MAX_SIZE_LINE_BYTES,
    MAX_TRAILER_BYTES,
    Broken,
    Chunks,
    Length,
    Reader,
    ToTheEnd,
    chunk,
    reader_of,
)
from awsgate.server.core.head import CHUNKED, TO_THE_END


def feed_all(reader: Reader, pieces: list[bytes]) -> tuple[bytes, bytes]:
    """Feed pieces until the body is done; give content and all that follows."""
    content = rest = b""
    for piece in pieces:
        if reader.done:
            rest += piece
            continue
        got, left = reader.feed(piece)
        content, rest = content + got, rest + left
    return content, rest


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in pairwise(places)]


CUTS = st.lists(st.integers(0, 10_000), max_size=12)
EXTENSIONS = st.sampled_from([b"", b";a", b";a=b", b'; a="b c"', b";x\t", b" "])


@st.composite
def chunked(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """Give a chunked body as some client might write it, and its content."""
    pieces = draw(st.lists(st.binary(min_size=1, max_size=40), max_size=6))
    raw = b""
    for piece in pieces:
        size = draw(st.sampled_from([b"%x", b"%X", b"00%x"])) % len(piece)
        raw += size + draw(EXTENSIONS) + b"\r\n" + piece + b"\r\n"
    return raw + b"0" + draw(EXTENSIONS) + b"\r\n\r\n", b"".join(pieces)


@given(chunked(), CUTS, st.binary(max_size=20))
def test_chunks_in_any_pieces(body: tuple[bytes, bytes], cuts: list[int], after: bytes) -> None:
    raw, content = body
    reader = Chunks(drop_trailers=False)

    assert feed_all(reader, split(raw + after, cuts)) == (content, after)
    assert reader.done


@given(chunked())
def test_h11_reads_the_same_content(body: tuple[bytes, bytes]) -> None:
    raw, content = body
    peer = h11.Connection(h11.SERVER)
    peer.receive_data(b"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + raw)
    assert isinstance(peer.next_event(), h11.Request)
    got = b""
    while isinstance(event := peer.next_event(), h11.Data):
        got += bytes(event.data)

    assert isinstance(event, h11.EndOfMessage)
    assert got == content


@given(st.lists(st.binary(max_size=50)), CUTS)
def test_what_is_written_in_chunks_is_read_again(pieces: list[bytes], cuts: list[int]) -> None:
    raw = b"".join(map(chunk, pieces)) + LAST_CHUNK

    assert feed_all(Chunks(drop_trailers=False), split(raw, cuts)) == (b"".join(pieces), b"")


@given(st.binary(max_size=60), st.binary(max_size=20), CUTS)
def test_a_length_in_any_pieces(content: bytes, after: bytes, cuts: list[int]) -> None:
    reader = Length(len(content))

    assert feed_all(reader, split(content + after, cuts)) == (content, after)
    assert reader.done


def test_a_length_is_done_no_sooner() -> None:
    reader = Length(3)
    reader.feed(b"ab")

    assert not reader.done
    assert Length(0).done


def test_nothing_but_the_end_ends_the_third_kind() -> None:
    reader = ToTheEnd()

    assert reader.feed(b"0\r\n\r\n") == (b"0\r\n\r\n", b"")
    assert not reader.done


BROKEN = {
    "no size": b"\r\n",
    "no hexadecimal": b"xyz\r\n",
    "a sign": b"+5\r\nhello\r\n",
    "a prefix": b"0x5\r\nhello\r\n",
    "an underscore": b"1_0\r\n",
    "a space before an extension": b"5 ;a\r\nhello\r\n",
    "a space before the size": b" 5\r\nhello\r\n",
    "a size without end": b"1" * 16 + b"\r\n",
    "words after the size": b"5 hello\r\nhello\r\n",
    "LF alone after the size": b"5\nhello\r\n",
    "CR alone after the size": b"5\rhello\r\n",
    "a chunk that is longer than its size": b"5\r\nhello!\r\n",
    "LF alone after a chunk": b"5\r\nhello\n5\r\n",
    "nothing after a chunk": b"5\r\nhello5\r\nhello\r\n",
    "something else after a chunk": b"5\r\nhelloXX0\r\n\r\n",
    "half a line break after a chunk": b"5\r\nhello\rX0\r\n\r\n",
    "a NUL in an extension": b"5;\0\r\nhello\r\n",
    "a bare CR in an extension": b"5;a\rb\r\nhello\r\n",
    "a bare LF in an extension": b"5;a\nb\r\nhello\r\n",
    "a line that does not end": b"5;" + b"a" * (MAX_SIZE_LINE_BYTES + 1),
    "a trailer": b"0\r\nX-Trailer: 1\r\n\r\n",
    "LF alone at the end": b"0\r\n\n",
}


@pytest.mark.parametrize("raw", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("size", [1, 10_000], ids=["a byte at a time", "at once"])
def test_what_breaks_the_framing(raw: bytes, size: int) -> None:
    reader = Chunks(drop_trailers=False)

    with pytest.raises(Broken) as caught:
        feed_all(reader, [raw[i : i + size] for i in range(0, len(raw), size)])

    assert "hello" not in str(caught.value)
    assert not reader.done


def test_extensions_are_bounded_all_together() -> None:
    raw = b"1;" + b"a" * 1000 + b"\r\nx\r\n"

    assert feed_all(Chunks(drop_trailers=False), [raw] * 10)[0] == b"x" * 10
    with pytest.raises(Broken):
        feed_all(Chunks(drop_trailers=False), [raw] * (MAX_EXTENSION_BYTES // 1000 + 1))


@given(CUTS)
def test_trailers_of_an_answer_are_dropped(cuts: list[int]) -> None:
    raw = b"5\r\nhello\r\n0\r\nX-A: 1\r\nX-B: 2\r\n\r\nnext"

    assert feed_all(Chunks(drop_trailers=True), split(raw, cuts)) == (b"hello", b"next")


def test_but_not_without_end() -> None:
    line = b"X: " + b"a" * 100 + b"\r\n"

    with pytest.raises(Broken):
        feed_all(Chunks(drop_trailers=True), [b"0\r\n", *[line] * (MAX_TRAILER_BYTES // 100)])


def test_the_length_of_a_head_chooses_the_reader() -> None:
    assert isinstance(reader_of(CHUNKED), Chunks)
    assert isinstance(reader_of(TO_THE_END), ToTheEnd)
    assert isinstance(reader_of(5), Length)


def test_nothing_is_no_chunk() -> None:
    assert chunk(b"") == b"", "a chunk of no bytes would end the body"


def test_a_line_of_blanks_before_a_chunk_is_read_once() -> None:
    """Two patterns that both take them would share them out in every way: 25 seconds here."""
    line = b"1;" + b" " * (MAX_SIZE_LINE_BYTES - 10) + b"\x01\r\n"
    before = perf_counter()
    for _ in range(200):
        with pytest.raises(Broken):
            feed_all(Chunks(drop_trailers=False), [line])

    assert perf_counter() - before < 5
