"""Heads of messages: what is read, what is a fault, what is no head. The oracle is h11."""

from __future__ import annotations

from time import perf_counter

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from awsgate.server.core.head import (
    CHUNKED,
    TO_THE_END,
    Unreadable,
    body_of,
    end_of_head,
    read_answer,
    read_request,
    write_answer,
    write_request,
)

GET = b"GET /k?x=1 HTTP/1.1\r\nHost: s3.amazonaws.com"


def test_a_request_is_read_as_it_stands() -> None:
    head = read_request(b"PUT /a%2Fb?c HTTP/1.1\r\nHost: h\r\nX-Amz-A:  one  two \r\nx-Empty:")

    assert (head.method, head.target, head.version) == (b"PUT", b"/a%2Fb?c", b"HTTP/1.1")
    assert head.fields == ((b"Host", b"h"), (b"X-Amz-A", b"one  two"), (b"x-Empty", b""))
    assert (head.scheme, head.authority, head.fault, head.body) == (b"", b"", "", 0)


@pytest.mark.parametrize(
    ("target", "scheme", "authority", "path"),
    [
        (b"*", b"", b"", b"*"),
        (b"//a", b"", b"", b"//a"),
        (b"http://h:80/x?y", b"http", b"h:80", b"/x?y"),
        (b"HTTPS://h", b"https", b"h", b"/"),
    ],
)
def test_forms_of_a_target(target: bytes, scheme: bytes, authority: bytes, path: bytes) -> None:
    head = read_request(b"GET " + target + b" HTTP/1.1\r\nHost: h")

    assert (head.scheme, head.authority, head.target) == (scheme, authority, path)


def test_connect_names_an_authority() -> None:
    head = read_request(b"CONNECT h:443 HTTP/1.1")

    assert (head.method, head.authority, head.target) == (b"CONNECT", b"h:443", b"")


NO_HEADS = {
    "nothing": b"",
    "one word": b"GET",
    "a method that is no token": b"a=bGET / HTTP/1.1",
    "two words": b"GET /",
    "a space too many": b"GET  / HTTP/1.1",
    "a space in the target": b"GET /a b HTTP/1.1",
    "a tab for a space": b"GET\t/ HTTP/1.1",
    "a space after the version": b"GET / HTTP/1.1 ",
    "a control character in the target": b"GET /\x01 HTTP/1.1",
    "a NUL in the target": b"GET /\x00 HTTP/1.1",
    "no version": b"GET / HTTP/1",
    "another protocol": b"SSH-2.0-x",
    "a bare LF in the request line": b"GET / HTTP/1.1\nHost: h",
    "a bare CR in the request line": b"GET /\rx HTTP/1.1",
    "a target of no form": b"GET host:443 HTTP/1.1",
    "a target that is a name": b"GET sts.amazonaws.com HTTP/1.1",
    "a line without a colon": GET + b"\r\nnot a header",
    "an empty name": GET + b"\r\n: value",
    "a fold that follows nothing": b"GET / HTTP/1.1\r\n folded: 1",
}


@pytest.mark.parametrize(
    "raw", [b"GET / HTTP/1.1\r\nX: a\nb\r\n\r\n", b"GET / HTTP/1.1\nX: a\r\n\r\n"]
)
def test_a_bare_line_feed_is_no_end_of_a_line_however_the_head_arrives(raw: bytes) -> None:
    for cut in range(raw.index(b"\n") + 1, len(raw) + 1):
        if b"\n" not in raw[:cut].replace(b"\r\n", b""):
            continue
        with pytest.raises(Unreadable):
            end_of_head(bytearray(raw[:cut]))


@pytest.mark.parametrize("raw", NO_HEADS.values(), ids=NO_HEADS)
def test_what_is_no_head(raw: bytes) -> None:
    with pytest.raises(Unreadable) as caught:
        read_request(raw)

    assert "amazonaws" not in str(caught.value), "nothing of it is quoted"


FAULTS = {
    "a space before the colon": b"X-A : 1",
    "a character that no name holds": b"X(A: 1",
    "a name that is not ASCII": b"X-\xe9: 1",
    "a bare CR in a name": b"X\rA: 1",
    "a bare LF in a name": b"X\nA: 1",
    "a NUL in a name": b"X\x00A: 1",
    "both framings": b"Content-Length: 5\r\nTransfer-Encoding: chunked",
    "both framings, the other way": b"Transfer-Encoding: chunked\r\nContent-Length: 5",
    "two lengths": b"Content-Length: 5\r\ncontent-length: 5",
    "a list of lengths": b"Content-Length: 5, 5",
    "a sign": b"Content-Length: +2",
    "a negative length": b"Content-Length: -1",
    "a leading zero": b"Content-Length: 05",
    "hexadecimal": b"Content-Length: 0x5",
    "an underscore": b"Content-Length: 1_0",
    "no length": b"Content-Length:",
    "a length in another script": "Content-Length: ٥".encode(),
    "a length without end": b"Content-Length: " + b"9" * 30,
    "a folded length": b"Content-Length: 5\r\n 5",
    "two codings": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "an unknown coding": b"Transfer-Encoding: xchunked",
    "chunked twice": b"Transfer-Encoding: chunked, chunked",
    "chunked not last": b"Transfer-Encoding: chunked, gzip",
    "a vertical tab before the coding": b"Transfer-Encoding: \x0bchunked",
    "gzip alone": b"Transfer-Encoding: gzip",
    "identity": b"Transfer-Encoding: identity",
    "an empty coding": b"Transfer-Encoding:",
}


@pytest.mark.parametrize("lines", FAULTS.values(), ids=FAULTS)
def test_what_is_a_fault(lines: bytes) -> None:
    head = read_request(GET + b"\r\n" + lines)

    assert head.fault
    assert head.target == b"/k?x=1", "so that it can be recorded"


@pytest.mark.parametrize("version", [b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/1.2"])
def test_chunks_are_of_version_1_1_alone(version: bytes) -> None:
    assert read_request(b"GET / " + version + b"\r\nTransfer-Encoding: chunked").fault
    assert read_request(b"GET / " + version).close


def test_a_scheme_that_is_not_https_is_a_fault() -> None:
    assert read_request(b"GET ftp://h/ HTTP/1.1\r\nHost: h").fault


@pytest.mark.parametrize(
    ("lines", "body"),
    [
        (b"Content-Length: 0", 0),
        (b"content-length: 17", 17),
        (b"Transfer-Encoding: chunked", CHUNKED),
        (b"Transfer-Encoding: Chunked", CHUNKED),
        (b"Transfer-Encoding: gzip, chunked", CHUNKED),  # refused by the gate, in words
    ],
)
def test_how_long_the_body_is(lines: bytes, body: int) -> None:
    head = read_request(GET + b"\r\n" + lines)

    assert (head.body, head.fault) == (body, "")


@pytest.mark.parametrize(
    ("lines", "close", "expects"),
    [
        (b"Connection: close", True, False),
        (b"Connection: TE, Close", True, False),
        (b"Connection: keep-alive", False, False),
        (b"Connection: closed", False, False),
        (b"Expect: 100-Continue", False, True),
        (b"Expect: 200-ok", False, False),
    ],
)
def test_what_else_is_read_of_it(lines: bytes, close: bool, expects: bool) -> None:
    head = read_request(GET + b"\r\n" + lines)

    assert (head.close, head.expects) == (close, expects)


def test_a_fold_stays_for_the_gate_to_refuse() -> None:
    head = read_request(GET + b"\r\nX-A: one\r\n\t two")

    assert head.fault == ""
    assert head.fields[-1] == (b"X-A", b"one\r\n two")


@pytest.mark.parametrize("value", [b"one\rtwo", b"one\ntwo", b"one\0two", b"\x0bone"])
def test_a_value_with_a_control_character_stays_for_the_gate_to_refuse(value: bytes) -> None:
    assert read_request(GET + b"\r\nX-A: " + value).fields[-1] == (b"X-A", value)


def test_the_end_of_a_head_is_found_from_wherever_one_looks() -> None:
    data = bytearray(GET + b"\r\n\r\nrest")

    assert {end_of_head(data, start) for start in range(len(GET) + 4)} == {len(GET)}
    assert end_of_head(bytearray(GET + b"\r\n\r")) == -1


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\nHost: h\n\n", b"GET / HTTP/1.1\r\nHost: h\n\r"])
def test_a_line_that_ends_with_lf_alone_is_no_end(data: bytes) -> None:
    with pytest.raises(Unreadable):
        end_of_head(bytearray(data))


# --- answers ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "lines", "method", "body"),
    [
        (200, b"Content-Length: 3", b"GET", 3),
        (200, b"Content-Length: 3", b"HEAD", 0),
        (204, b"Content-Length: 3", b"GET", 0),
        (304, b"Content-Length: 3", b"GET", 0),
        (200, b"Transfer-Encoding: chunked", b"GET", CHUNKED),
        (200, b"Transfer-Encoding:  Chunked ", b"GET", CHUNKED),
        (200, b"X-A: 1", b"GET", TO_THE_END),
        (100, b"X-A: 1", b"GET", 0),
        (101, b"X-A: 1", b"GET", 0),
    ],
)
def test_how_long_an_answer_is(status: int, lines: bytes, method: bytes, body: int) -> None:
    head = read_answer(b"HTTP/1.1 %d OK\r\n%b" % (status, lines), method)

    assert (head.status, head.body, head.fault) == (status, body, "")


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
@pytest.mark.parametrize("coding", [b"gzip, chunked", b"deflate,chunked", b"gzip", b"identity"])
def test_of_answers_no_transfer_coding_is_taken_but_chunked(coding: bytes, method: bytes) -> None:
    """What is compressed on its way would hide the credentials that it holds."""
    head = read_answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: " + coding, method)

    assert head.fault == "a transfer coding that is not chunked alone"


def test_what_is_between_the_server_and_us_stays_there() -> None:
    head = read_answer(
        b"HTTP/1.1 200 OK\r\nConnection: close, X-Hop\r\nKeep-Alive: 5\r\nx-hop: 1\r\n"
        b"Content-Length: 0\r\nx-amz-request-id: 1",
        b"GET",
    )

    assert head.close
    assert head.fields == ((b"Content-Length", b"0"), (b"x-amz-request-id", b"1"))


def test_framing_cannot_be_named_away() -> None:
    head = read_answer(
        b"HTTP/1.1 200 OK\r\nConnection: content-length\r\nContent-Length: 1", b"GET"
    )

    assert head.fields == ((b"Content-Length", b"1"),)


def test_the_head_of_a_switch_is_left_as_it_is() -> None:
    head = read_answer(b"HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: websocket", b"GET")

    assert [name for name, _ in head.fields] == [b"Connection", b"Upgrade"]


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-x",
        b"HTTP/2.0 200 OK",
        b"HTTP/1.1 20 OK",
        b"HTTP/1.1 099 OK",
        b"HTTP/1.1  200 OK",
        b"HTTP/1.1 200 O\rK",
        b"HTTP/1.1 200 OK\r\nX-A: 1\rX-B: 2",
        b"HTTP/1.1 200 OK\r\nX-A: 1\nX-B: 2",
        b"HTTP/1.1 200 OK\r\nX-A: 1\0",
        b"HTTP/1.1 200 OK\r\nX-A: 1\r\n folded",
        b"HTTP/1.1 200 OK\r\nX-A : 1",
        b"HTTP/1.1 200 OK\r\nno colon",
    ],
)
def test_what_is_no_answer(raw: bytes) -> None:
    with pytest.raises(Unreadable):
        read_answer(raw, b"GET")


@pytest.mark.parametrize(
    ("status", "lines"),
    [
        (200, b"Content-Length: 1\r\nTransfer-Encoding: chunked"),
        (200, b"Content-Length: 1\r\nContent-Length: 1"),
        (200, b"Content-Length: one"),
        (200, b"Transfer-Encoding: other"),
        (204, b"Transfer-Encoding: chunked"),
    ],
)
def test_an_answer_with_two_readings_is_at_fault(status: int, lines: bytes) -> None:
    assert read_answer(b"HTTP/1.1 %d OK\r\n%b" % (status, lines), b"GET").fault


# --- writing --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "target", "fields"),
    [
        (b"GET", b"/", [(b"X-A", b"1\r\nX-B: 2")]),
        (b"GET", b"/", [(b"X-A", b"1\n")]),
        (b"GET", b"/", [(b"X-A\r\nX-B", b"1")]),
        (b"GET", b"/", [(b"X A", b"1")]),
        (b"GET", b"/ HTTP/1.1\r\nX: ", []),
        (b"GET /x", b"/", []),
        (b"GET", b"", []),
    ],
)
def test_what_would_be_read_otherwise_is_not_written(
    method: bytes, target: bytes, fields: list[tuple[bytes, bytes]]
) -> None:
    with pytest.raises(ValueError, match="read otherwise"):
        write_request(method, target, tuple(fields))


@pytest.mark.parametrize(
    ("reason", "fields"),
    [(b"OK\r\nX: 1", []), (b"OK", [(b"X", b"1\r\n\r\n")]), (b"OK", [(b"X Y", b"1")])],
)
def test_neither_is_such_an_answer(reason: bytes, fields: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(ValueError, match="read otherwise"):
        write_answer(200, reason, tuple(fields))


@pytest.mark.parametrize(
    "fields",
    [
        [(b"Content-Length", b"1"), (b"Transfer-Encoding", b"chunked")],
        [(b"Content-Length", b"1"), (b"content-length", b"2")],
        [(b"Content-Length", b"x")],
        [(b"Transfer-Encoding", b"gzip, chunked")],
    ],
)
def test_a_head_that_goes_out_promises_one_thing(fields: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(ValueError, match=r"content-length|transfer"):
        body_of(tuple(fields))


NAMES = st.from_regex(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,20}", fullmatch=True).filter(
    lambda name: name.lower() not in (b"host", b"content-length", b"transfer-encoding")
)
VALUES = st.from_regex(rb"([!-~\x80-\xff]([\t -~\x80-\xff]{0,20}[!-~\x80-\xff])?)?", fullmatch=True)
TARGETS = st.from_regex(rb"/[!-~]{0,40}", fullmatch=True)
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=8).map(lambda more: ((b"Host", b"h"), *more))


@given(st.sampled_from([b"GET", b"PUT", b"POST"]), TARGETS, FIELDS)
def test_what_is_written_is_read_again_and_h11_reads_it_alike(
    method: bytes, target: bytes, fields: tuple[tuple[bytes, bytes], ...]
) -> None:
    raw = write_request(method, target, fields)
    head = read_request(raw[:-4])
    peer = h11.Connection(h11.SERVER)
    peer.receive_data(raw)
    event = peer.next_event()

    assert (head.method, head.target, head.fields, head.fault) == (method, target, fields, "")
    assert isinstance(event, h11.Request)
    assert (event.method, event.target) == (method, target)
    assert event.headers.raw_items() == list(fields)


@given(st.integers(200, 599), VALUES, FIELDS)
def test_an_answer_that_is_written_is_read_alike_by_h11(
    status: int, reason: bytes, fields: tuple[tuple[bytes, bytes], ...]
) -> None:
    raw = write_answer(status, reason, fields)
    peer = h11.Connection(h11.CLIENT)
    peer.send(h11.Request(method="GET", target="/", headers=[("Host", "h")]))
    peer.receive_data(raw)
    event = peer.next_event()

    assert isinstance(event, h11.Response)
    assert (event.status_code, event.reason) == (status, reason)
    assert event.headers.raw_items() == list(fields)


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reading(data: bytes) -> None:
    for prefix in (b"", b"GET / HTTP/1.1\r\n", b"HTTP/1.1 200 OK\r\n"):
        for read in (read_request, lambda raw: read_answer(raw, b"GET")):
            try:
                read(prefix + data)
            except Unreadable:
                continue


def test_a_coding_of_many_blanks_is_read_at_once() -> None:
    """A pattern that begins with any number of blanks takes a minute for these."""
    raw = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: x" + b" \t" * 60_000 + b"x"
    before = perf_counter()

    assert read_request(raw).fault == "an unknown transfer-encoding"
    assert perf_counter() - before < 5


@pytest.mark.parametrize("value", [b"gzip,chunked", b"gzip , chunked", b"GZIP\t, \tChunked"])
def test_blanks_around_a_comma_mean_nothing(value: bytes) -> None:
    raw = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: " + value

    assert (read_request(raw).fault, read_request(raw).body) == ("", CHUNKED)
