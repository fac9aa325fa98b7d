"""The judge itself: each rule finds what it is for, and good streams pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from awsgate.aws.sigv4 import SigningKeys
from chunksigner import Chain
from fuzz import awschunks
from fuzz.asks import HOSTS, Ask, Case, Piece
from fuzz.edits import build
from fuzz.generate import case_of
from fuzz.reading import NoReadingError, Unfinished, read_strictly, readings
from fuzz.shrinking import shrunk
from fuzz.upstream import Arrival
from fuzz.verdict import Outcome, violations
from signers import botocore_sign
from strictaws import KEYS

CLIENT = SigningKeys("GATECLIENT", "client-secret", "client-token-of-the-gateway")
PUT = Ask(0, method="PUT", body="hello", unsigned_body=True)
CASE = Case("s3", (Piece(PUT), Piece(Ask(2, close=True))))


def by_the_role(target: str, body: bytes = b"", *more: tuple[str, str], **how: object) -> bytes:
    """Give the bytes of a request that is signed as the gateway would sign it."""
    method = str(how.get("method", "GET"))
    fields = botocore_sign(
        method, str(how.get("host", HOSTS["s3"])), target, more, body,
        service="s3", region="us-east-1", keys=KEYS, when=datetime.now(UTC),
        sign_body=method == "GET",
    )  # fmt: skip
    lines = [f"{method} {target} HTTP/1.1".encode(), *(n + b": " + v for n, v in fields)]
    if body:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def arrival(raw: bytes, mark: str) -> Arrival:
    return Arrival(mark, read_strictly(raw))


FIRST = by_the_role("/z7-0", b"hello", method="PUT")
SECOND = by_the_role("/z7-2")


def judged(*arrived: Arrival, case: Case = CASE, answered: bytes = b"") -> str:
    outcome = Outcome(build(case, "z7", CLIENT), answered, list(arrived))
    return "; ".join(violations(case, outcome, CLIENT, lenient=True))


def test_a_good_stream_passes() -> None:
    answers = b"HTTP/1.1 200 OK\r\nETag: <z7-0>\r\n\r\nHTTP/1.1 200 OK\r\nETag: <z7-2>\r\n\r\n"

    assert judged(arrival(FIRST, "z7-0"), arrival(SECOND, "z7-2"), answered=answers) == ""


SPOILT = {
    "nobody signed": [arrival(by_the_role("/z9-9"), "z9-9")],
    "without a strict reading": [Arrival("z7-0", None, fault="two framings")],
    "its signature by the role": [arrival(FIRST.replace(b"/z7-0 ", b"/z7-0?x "), "z7-0")],
    "another path or query": [arrival(by_the_role("/z7-0?acl", b"hello", method="PUT"), "z7-0")],
    "another method": [arrival(by_the_role("/z7-2", b"", method="DELETE"), "z7-2")],
    "another host than CONNECT's": [
        arrival(by_the_role("/z7-2", host="other.s3.amazonaws.com"), "z7-2")
    ],
    "another host": [arrival(by_the_role("/z7-2", host="other.s3.amazonaws.com"), "z7-2")],
    "has no reading with": [arrival(by_the_role("/z7-0", b"HELLO", method="PUT"), "z7-0")],
    "has no reading with ['z7-2', 'z7-0']": [arrival(SECOND, "z7-2"), arrival(FIRST, "z7-0")],
    "has no reading with ['z7-2', 'z7-2']": [arrival(SECOND, "z7-2"), arrival(SECOND, "z7-2")],
    "credentials of the gateway": [
        arrival(by_the_role("/z7-2", b"", ("X-Old", CLIENT.session_token)), "z7-2")
    ],
    "was not signed": [arrival(by_the_role("/z7-2", b"", ("X-Amz-Acl", "public-read")), "z7-2")],
    "only ['z7-0'] arrived": [arrival(FIRST, "z7-0")],
}


@pytest.mark.parametrize("words", SPOILT)
def test_each_rule_finds_what_it_is_for(words: str) -> None:
    assert words in judged(*SPOILT[words])


def test_an_answer_to_another_request_is_found() -> None:
    answered = b"HTTP/1.1 200 OK\r\nETag: <z8-0>\r\n\r\n"

    assert "the client got answers of ['z8-0']" in judged(
        arrival(FIRST, "z7-0"), arrival(SECOND, "z7-2"), answered=answered
    )


def test_a_request_inside_of_a_body_may_not_arrive() -> None:
    inner = Piece(Ask(1))
    case = Case("s3", (Piece(replace(PUT, body="", holds=inner)),))

    assert "has no reading" in judged(arrival(by_the_role("/z7-1"), "z7-1"), case=case)


CONTENT = b"hello, chunks"
CHUNKED = {
    mode: Case("s3", (Piece(Ask(0, method="PUT", body=CONTENT.decode(), aws_mode=mode)),))
    for mode in awschunks.MODES
}


def chunks_by_the_role(
    mode: str, parts: Sequence[bytes] = (CONTENT,), *edits: awschunks.Edit, keys: SigningKeys = KEYS
) -> Arrival:
    """Give an upload as the gateway would send it on; ``keys`` sign its chunks."""
    when = datetime.now(UTC)
    fields = botocore_sign(
        "PUT", HOSTS["s3"], "/z7-0", awschunks.headers(mode, CONTENT), b"",
        service="s3", region="us-east-1", keys=KEYS, when=when, payload=mode,
    )  # fmt: skip
    seed = dict(fields)[b"Authorization"].decode().rpartition("Signature=")[2]
    chain = Chain(keys.secret_access_key, f"{when:%Y%m%dT%H%M%SZ}", "us-east-1", seed)
    body = awschunks.encoded(mode, parts, edits, chain)
    lines = [b"PUT /z7-0 HTTP/1.1", *(n + b": " + v for n, v in fields)]
    lines += [b"Content-Length: %d" % len(body), b"", body]
    return arrival(b"\r\n".join(lines), "z7-0")


@pytest.mark.parametrize("mode", CHUNKED)
def test_chunks_that_the_role_signed_pass_in_any_sizes(mode: str) -> None:
    for parts in ([CONTENT], [CONTENT[:5], CONTENT[5:]]):
        assert judged(chunks_by_the_role(mode, parts), case=CHUNKED[mode]) == ""


SPOILT_CHUNKS = {
    "chunks that the role did not sign": chunks_by_the_role(awschunks.SIGNED, keys=CLIENT),
    "chunks that the role did not sign; z7-0: another": chunks_by_the_role(
        awschunks.SIGNED, [CONTENT, b"more"], ["aws", "drop", 0.0]
    ),
    "another body than was signed": chunks_by_the_role(awschunks.SIGNED, [b"other"]),
    "size line that is none": chunks_by_the_role(
        awschunks.SIGNED, [CONTENT], ["aws", "more", 0.0, ";a=b"]
    ),
    "not as long as it says": chunks_by_the_role(
        awschunks.SIGNED, [CONTENT], ["aws", "size", 0.0, "1{x}"]
    ),
    "bytes after the end": chunks_by_the_role(
        awschunks.SIGNED, [CONTENT], ["aws", "end", "GET / HTTP/1.1\r\n\r\n"]
    ),
    "ends within a line": chunks_by_the_role(awschunks.SIGNED, [CONTENT], ["aws", "cut", 0.99]),
}


@pytest.mark.parametrize("words", SPOILT_CHUNKS)
def test_chunks_that_are_not_as_they_were_signed_are_found(words: str) -> None:
    assert words in judged(SPOILT_CHUNKS[words], case=CHUNKED[awschunks.SIGNED])


@pytest.mark.parametrize("mode", [awschunks.SIGNED_TRAILER, awschunks.UNSIGNED_TRAILER])
def test_a_trailer_of_another_value_is_found(mode: str) -> None:
    spoilt = chunks_by_the_role(mode, [CONTENT], ["aws", "text", 0.7, 1, "!"])

    assert judged(spoilt, case=CHUNKED[mode])


@pytest.mark.parametrize("mode", CHUNKED)
def test_what_is_done_to_chunks_leaves_the_framing_of_http_as_it_is(mode: str) -> None:
    (piece,) = CHUNKED[mode].pieces
    for edit in (["end", "x" * 50], ["cut", 0.2], ["drop", 0.0], ["size", 0.0, "ff{x}"]):
        case = Case("s3", (replace(piece, edits=(["aws", *edit],)), Piece(Ask(2, close=True))))
        read, *_ = readings(build(case, "z7", CLIENT).data, lenient=False)

        assert [r.target for r in read] == [b"/z7-0", b"/z7-2"]


HEAD = b"PUT / HTTP/1.1\r\nHost: h\r\n"
NO_READING = {
    "two lengths": HEAD + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\nx",
    "both framings": HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a coding with VT": HEAD + b"Transfer-Encoding: chunked\x0b\r\n\r\n0\r\n\r\n",
    "a space before the colon": HEAD + b"Content-Length : 1\r\n\r\nx",
    "a signed length": HEAD + b"Content-Length: +1\r\n\r\nx",
    "a size in two notations": HEAD + b"Transfer-Encoding: chunked\r\n\r\n0x1\r\nx\r\n0\r\n\r\n",
    "a size with a line feed": HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;\nx\r\nx\r\n0\r\n\r\n",
    "a chunk over its size": HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("raw", NO_READING.values(), ids=NO_READING)
def test_what_servers_differ_on_has_no_reading(raw: bytes) -> None:
    assert readings(raw, lenient=True) == [[], []]
    with pytest.raises(NoReadingError):
        read_strictly(raw)


FORWARDED = {
    "a chunk extension": HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;a\r\nx\r\n0\r\n\r\n",
    "trailers": HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n\r\n",
    "Connection": HEAD + b"Connection: close\r\n\r\n",
    "X-Forwarded-Host": HEAD + b"X-Forwarded-Host: h\r\n\r\n",
    "a folded line": HEAD + b"A: b\r\n c\r\n\r\n",
    "Host twice": HEAD + b"Host: h\r\n\r\n",
    "a NUL": HEAD + b"A: \0\r\n\r\n",
    "absolute form": b"GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n",
    "a bare LF": b"GET / HTTP/1.1\nHost: h\r\n\r\n",
}


@pytest.mark.parametrize("raw", FORWARDED.values(), ids=FORWARDED)
def test_the_upstream_forgives_nothing(raw: bytes) -> None:
    with pytest.raises(NoReadingError):
        read_strictly(raw)


def test_half_a_request_is_none() -> None:
    for cut in range(1, len(FIRST)):
        with pytest.raises(Unfinished):
            read_strictly(FIRST[:cut])


def test_a_case_is_the_same_again_from_its_file_and_by_its_number() -> None:
    for number in range(200):
        case = case_of(5, number)

        assert case_of(5, number) == case
        assert Case.from_json(case.to_json()).to_json() == case.to_json()


def test_no_secret_is_in_a_case() -> None:
    for number in range(50):
        text = case_of(5, number).to_json() + repr(build(case_of(5, number), "z1", CLIENT))

        assert CLIENT.session_token not in text
        assert "Signature=" not in text or "x-amz-signature" in text.lower()


def test_the_cases_hold_what_they_are_to_hold() -> None:
    """Streams of all kinds are made, and a good part of them is still read as requests."""
    kinds = {edit[0] for n in range(400) for p in case_of(5, n).pieces for edit in p.edits}
    read = [readings(build(case_of(5, n), "z1", CLIENT).data, lenient=True) for n in range(200)]

    assert kinds == {
        "aws",
        "line",
        "value",
        "start",
        "eol",
        "chunks",
        "bytes",
        "cut",
        "drop",
        "move",
        "name",
    }
    assert sum(len(strict) for strict, _ in read) > 200
    assert sum(any(r.bad for r in strict) for strict, _ in read) > 20


def test_a_case_that_fails_is_made_small() -> None:
    at_fault = ["line", 0.5, "X-Odd: 1"]
    piece = Piece(replace(PUT, number=4), (["cut", 1.0], at_fault))
    case = Case("s3", (*CASE.pieces, piece), (0.1, 0.2), 3)

    def fails(smaller: Case) -> bool:
        return any(at_fault in p.edits for p in smaller.pieces)

    small = shrunk(case, fails)

    assert [p.edits for p in small.pieces] == [(at_fault,)]
    assert (small.splits, small.pause_ms) == ((), 0)
