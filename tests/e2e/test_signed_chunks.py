"""Uploads whose chunks are signed: verified, signed again, or cut off before their end.

The client signs from the specification; the strict AWS checks every chunk and the
trailer under the assumed role's key, and stores only what is right to the last byte.
"""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from chunksigner import Chain
from e2e.forms import Stage, stage_in
from rawclient import Answer, audit_after, head, secure
from signers import botocore_sign

HOST = "chunks.s3.us-east-1.amazonaws.com"
PLAIN, TRAILER = (f"STREAMING-AWS4-HMAC-SHA256-PAYLOAD{end}" for end in ("", "-TRAILER"))
CHUNKS = (b"a" * 65536, bytes(range(256)) * 256, b"the rest")
DATA = b"".join(CHUNKS)
CRC = base64.b64encode(zlib.crc32(DATA).to_bytes(4, "big")).decode()
FIELDS = (("x-amz-checksum-crc32", CRC),)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage_in(tmp_path_factory.mktemp("chunks")) as made:
        yield made


@dataclass
class Upload:
    """One signed upload, before anything is spoilt."""

    head: bytes
    body: bytes


def upload(
    stage: Stage, key: str, mode: str, *, fields: tuple[tuple[str, str], ...] = FIELDS,
    te_chunked: bool = False, decoded: int = len(DATA),
) -> Upload:  # fmt: skip
    signed_body = len(Chain("", "20260101T000000Z", "us-east-1", "0" * 64).body(
        CHUNKS, fields if mode == TRAILER else ()))  # fmt: skip
    framing = (
        ("Transfer-Encoding", "chunked") if te_chunked else ("Content-Length", str(signed_body))
    )
    headers = [
        framing,
        ("Content-Encoding", "aws-chunked"),
        ("X-Amz-Decoded-Content-Length", str(decoded)),
        *([("X-Amz-Trailer", "x-amz-checksum-crc32")] if mode == TRAILER else []),
    ]
    when = datetime.now(UTC)
    signed = botocore_sign(
        "PUT", HOST, f"/{key}", headers, b"", service="s3", region="us-east-1",
        keys=stage.keys, when=when, payload=mode,
    )  # fmt: skip
    raw = head("PUT", f"/{key}", signed)
    seed = re.search(rb"Signature=([0-9a-f]{64})", raw)
    assert seed is not None
    chain = Chain(
        stage.keys.secret_access_key, f"{when:%Y%m%dT%H%M%SZ}", "us-east-1", seed[1].decode()
    )
    return Upload(raw, chain.body(CHUNKS, fields if mode == TRAILER else ()))


def send(stage: Stage, made: Upload, *, pieces: int = 1 << 20) -> Answer:
    with secure(stage.gateway, HOST) as wire:
        wire.send(made.head)
        for start in range(0, len(made.body), pieces):
            wire.send(made.body[start : start + pieces])
        return wire.read_answer(method="PUT")


@pytest.mark.parametrize("mode", [PLAIN, TRAILER])
@pytest.mark.parametrize("pieces", [1 << 20, 1000, 65536 + 85])
def test_signed_chunks_arrive_signed_by_the_role(stage: Stage, mode: str, pieces: int) -> None:
    key = f"good-{mode[-7:]}-{pieces}"

    answer = send(stage, upload(stage, key, mode), pieces=pieces)

    last = stage.last()
    assert (answer.status, last.fault, last.payload_mode) == (200, "", mode)
    assert stage.aws.objects["chunks", key].size == len(DATA)
    assert last.access_key_id != stage.keys.access_key_id
    assert last.session_name == "bob"


def test_signed_chunks_inside_chunks_of_http(stage: Stage) -> None:
    made = upload(stage, "nested", PLAIN, te_chunked=True)
    framed = b"".join(
        b"%x\r\n%s\r\n" % (len(piece), piece)
        for piece in (made.body[i : i + 7001] for i in range(0, len(made.body), 7001))
    )

    answer = send(stage, Upload(made.head, framed + b"0\r\n\r\n"))

    assert (answer.status, stage.last().fault) == (200, "")
    assert stage.aws.objects["chunks", "nested"].size == len(DATA)


Spoil = Callable[[bytes], bytes]


def replacing(old: bytes, new: bytes) -> Spoil:
    def spoil(body: bytes) -> bytes:
        assert old in body
        return body.replace(old, new, 1)

    return spoil


def _flip_first_signature(body: bytes) -> bytes:
    at = body.index(b"chunk-signature=") + 16
    return body[:at] + (b"1" if body[at : at + 1] == b"0" else b"0") + body[at + 1 :]


def _flip_last_signature(body: bytes) -> bytes:
    at = body.rindex(b"signature=" if b"chunk" in body[-100:] else b"signature:") + 10
    return body[:at] + (b"1" if body[at : at + 1] == b"0" else b"0") + body[at + 1 :]


def _second_first(body: bytes) -> bytes:
    first = body.index(b"10000;", 5)
    second = body.index(b"8;chunk", first)
    return body[first:second] + body[:first] + body[second:]


def _second_left_out(body: bytes) -> bytes:
    first = body.index(b"10000;", 5)
    second = body.index(b"8;chunk", first)
    return body[:first] + body[second:] + b"x" * (second - first)


SPOILED: dict[str, tuple[str, Spoil]] = {
    "a byte of data changed": (PLAIN, replacing(b"aaaa", b"aaab")),
    "a byte of the last data changed": (PLAIN, replacing(b"the rest", b"the resT")),
    "the first signature changed": (PLAIN, _flip_first_signature),
    "the last signature changed": (PLAIN, _flip_last_signature),
    "two chunks changed places": (PLAIN, _second_first),
    "a chunk left out": (PLAIN, _second_left_out),
    "a chunk of 5 GiB declared": (PLAIN, replacing(b"10000;", b"140000000;")),
    "a chunk header that is none": (PLAIN, replacing(b";chunk-signature", b";chunk_signature")),
    "another extension": (PLAIN, replacing(b";chunk-signature", b";x=1;chunk-signature")),
    "a boundary that is no CRLF": (PLAIN, replacing(b"a\r\n", b"aXX")),
    "the trailer's signature changed": (TRAILER, _flip_last_signature),
    "the trailer changed": (TRAILER, replacing(CRC.encode(), CRC[::-1].encode())),
    "the trailer of another name": (TRAILER, replacing(b"checksum-crc32:", b"checksum-crc33:")),
}  # fmt: skip


@pytest.mark.parametrize("row", SPOILED)
def test_a_spoilt_body_is_refused_and_nothing_is_stored(stage: Stage, row: str) -> None:
    mode, spoil = SPOILED[row]
    made = upload(stage, "spoilt", mode)
    before = len(stage.gateway.audit())

    answer = send(stage, Upload(made.head, spoil(made.body)))

    assert (answer.status, answer.code) == (403, "bad-signature"), answer.body
    assert b"<Code>SignatureDoesNotMatch</Code>" in answer.body
    (line,) = audit_after(stage.gateway, before, lines=1)
    assert (line["decision"], line["code"], line["user"]) == ("refused", "bad-signature", "bob")
    assert ("chunks", "spoilt") not in stage.aws.objects


@pytest.mark.parametrize(
    "cut", [1, 2, 3, 60, 90, 100, 5000, 65536 + 200], ids=lambda n: f"{n} bytes short"
)
def test_a_body_that_ends_early_is_not_stored(stage: Stage, cut: int) -> None:
    made = upload(stage, "short", PLAIN, te_chunked=True)
    body = made.body[:-cut]

    answer = send(stage, Upload(made.head, b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)))

    assert (answer.status, answer.code) == (403, "bad-signature")
    assert ("chunks", "short") not in stage.aws.objects


def test_more_after_the_end_is_refused(stage: Stage) -> None:
    made = upload(stage, "long", PLAIN, te_chunked=True)
    body = made.body + b"5;chunk-signature=" + b"0" * 64 + b"\r\nhello\r\n"

    answer = send(stage, Upload(made.head, b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)))

    assert answer.code == "bad-signature"
    assert ("chunks", "long") not in stage.aws.objects


def test_less_data_than_was_announced_is_refused(stage: Stage) -> None:
    answer = send(stage, upload(stage, "less", PLAIN, decoded=len(DATA) + 1))

    assert answer.code == "bad-signature"
    assert ("chunks", "less") not in stage.aws.objects


def test_a_wrong_checksum_is_refused_by_aws(stage: Stage) -> None:
    wrong = (("x-amz-checksum-crc32", "AAAAAA=="),)

    answer = send(stage, upload(stage, "checksum", TRAILER, fields=wrong))

    assert (answer.status, stage.last().fault) == (400, "checksum-wrong")
    assert answer.code == "", "well signed: it is AWS that refuses it"
    assert ("chunks", "checksum") not in stage.aws.objects


def test_the_connection_serves_on_after_a_refusal_midway(stage: Stage) -> None:
    bad, good = upload(stage, "bad", PLAIN), upload(stage, "good-after", PLAIN)
    with secure(stage.gateway, HOST) as wire:
        wire.send(bad.head + _flip_first_signature(bad.body))
        first = wire.read_answer(method="PUT")
        wire.send(good.head + good.body)
        second = wire.read_answer(method="PUT")

    assert (first.status, second.status) == (403, 200)
    assert ("chunks", "bad") not in stage.aws.objects
    assert stage.aws.objects["chunks", "good-after"].size == len(DATA)


@pytest.mark.parametrize("spoilt", SPOILED)
def test_a_spoilt_body_is_not_stored_even_if_the_client_is_not_told(
    stage: Stage, spoilt: str
) -> None:
    """That it is told takes a patch of mitmproxy; that nothing is stored does not."""
    mode, spoil = SPOILED[spoilt]
    key = f"untold-{spoilt}".replace(" ", "-").replace("'", "")
    made = upload(stage, key, mode)
    with secure(stage.gateway, HOST) as wire:
        wire.send(made.head + spoil(made.body))
        wire.sock.settimeout(0.3)
        with suppress(OSError):
            wire.read_answer(method="PUT")

    with secure(stage.gateway, HOST) as wire:  # whatever was under way has ended by then
        good = upload(stage, f"after-{key}", mode)
        wire.send(good.head + good.body)
        assert wire.read_answer(method="PUT").status == 200
    assert ("chunks", f"after-{key}") in stage.aws.objects
    assert ("chunks", key) not in stage.aws.objects
