"""The strict AWS: hashes, chunks, trailers and events, with their wrong twins.

Positive examples are AWS's own published ones, and a stream that the SDK for JavaScript
sent; other chunks are signed here, from the specification.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import S3SigV4Auth

from aws_server.deliver import Call
from aws_server.model import Identity
from aws_server.server import BASE_KEYS, StrictAws
from aws_server.signing import assert_refused, last, sign

HOST = "bkt.s3.eu-central-1.amazonaws.com"
SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
SIGNED_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"

Change = Callable[[bytes], bytes]


@pytest.fixture(scope="module")
def server() -> Iterator[StrictAws]:
    with StrictAws() as running:
        yield running


@pytest.fixture
def aws(server: StrictAws) -> StrictAws:
    server.reset()
    return server


# -- chunks: AWS's published examples -------------------------------------------------------

EXAMPLE_SCOPE = "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request"
EXAMPLES = {
    SIGNED: (
        "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
        "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
        "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
        "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
    ),
    SIGNED_TRAILER: (
        "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
        "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
        "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
        "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
    ),
}
EXAMPLE_TRAILER = (
    b"x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:"
    b"d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n"
)


def example(aws: StrictAws, mode: str) -> Call:
    """Give the example of the S3 API Reference: 65 KiB of ``a`` in two chunks."""
    aws.clock = lambda: datetime(2013, 5, 24, tzinfo=UTC)
    aws.keys.add(Identity("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"))
    seed, *signatures = EXAMPLES[mode]
    trailer = EXAMPLE_TRAILER if mode == SIGNED_TRAILER else b""
    body = b"\r\n".join(
        b"%x;chunk-signature=%b\r\n" % (size, signature.encode()) + b"a" * size
        for size, signature in zip((65536, 1024, 0), signatures, strict=True)
    )
    body += trailer + b"\r\n"
    fields = {
        "Host": "s3.amazonaws.com",
        "x-amz-date": "20130524T000000Z",
        "x-amz-storage-class": "REDUCED_REDUNDANCY",
        "x-amz-content-sha256": mode,
        "Content-Encoding": "aws-chunked",
        "x-amz-decoded-content-length": "66560",
        "Content-Length": str(len(body)),
    }
    if mode == SIGNED_TRAILER:
        fields["x-amz-trailer"] = "x-amz-checksum-crc32c"
    names = [name.lower() for name in fields if trailer == b"" or name != "Content-Length"]
    fields["Authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={EXAMPLE_SCOPE},"
        f"SignedHeaders={';'.join(sorted(names))},Signature={seed}"
    )
    return Call("PUT", "/examplebucket/chunkObject.txt", tuple(fields.items()), body)


@pytest.mark.parametrize("mode", EXAMPLES)
def test_the_published_example_is_taken(aws: StrictAws, mode: str) -> None:
    _, request = last(aws, example(aws, mode))

    assert (request.fault, request.payload_mode) == ("", mode)
    stored = aws.objects["examplebucket", "chunkObject.txt"]
    assert stored.sha256 == hashlib.sha256(b"a" * 66560).hexdigest()


EXAMPLE_TWINS: dict[str, tuple[str, Change, str]] = {
    "another byte": (SIGNED, lambda b: b.replace(b"a\r\n", b"b\r\n", 1), "chunk-signature-wrong"),
    "the first signature is wrong": (
        SIGNED, lambda b: b.replace(b"ad80c7", b"ad80c8"), "chunk-signature-wrong"),
    "the last signature is wrong": (
        SIGNED, lambda b: b.replace(b"b6c6ea", b"b6c6eb"), "chunk-signature-wrong"),
    "no signature": (
        SIGNED, lambda b: b.replace(b"chunk-signature=ad", b"chunk-signaturx=ad"),
        "chunk-signature-missing"),
    "cut within a chunk": (SIGNED, lambda b: b[:5000], "body-truncated"),
    "no size": (SIGNED, lambda b: b"z" + b[1:], "chunk-malformed"),
    "no last chunk": (
        SIGNED_TRAILER, lambda b: b[: b.index(b"\r\n0;") + 2], "body-truncated"),
    "bytes after the end": (SIGNED_TRAILER, lambda b: b + b"x", "chunk-malformed"),
    "another trailer": (
        SIGNED_TRAILER, lambda b: b.replace(b"sOO8/Q==", b"sOO8/R=="), "trailer-signature-wrong"),
    "another signature of the trailer": (
        SIGNED_TRAILER, lambda b: b.replace(b"d81f82", b"d81f83"), "trailer-signature-wrong"),
    "no signature of the trailer": (
        SIGNED_TRAILER, lambda b: b[: b.index(b"x-amz-trailer-sig")] + b"\r\n",
        "trailer-signature-wrong"),
    "no trailer": (
        SIGNED_TRAILER, lambda b: b[: b.index(b"x-amz-checksum")] + b"\r\n", "trailer-missing"),
}  # fmt: skip


@pytest.mark.parametrize(("mode", "change", "fault"), EXAMPLE_TWINS.values(), ids=EXAMPLE_TWINS)
def test_a_twin_of_the_published_example_is_refused(
    aws: StrictAws, mode: str, change: Change, fault: str
) -> None:
    call = example(aws, mode)
    changed = replace(call, body=change(call.body))
    assert changed.body != call.body
    if mode == SIGNED_TRAILER:  # there the length is not signed
        changed = changed.having("Content-Length", str(len(changed.body)))

    assert_refused(aws, changed, fault)


# -- chunks signed here ---------------------------------------------------------------------


def upload(mode: str, chunks: list[bytes], trailers: tuple[str, ...] = (), **changed: str) -> Call:
    """Sign an upload in ``chunks`` as the specification says."""
    fields = {
        "x-amz-content-sha256": mode,
        "x-amz-decoded-content-length": str(sum(map(len, chunks))),
        "x-amz-trailer": ",".join(line.partition(":")[0] for line in trailers),
        **changed,
    }

    class Seed(S3SigV4Auth):
        def payload(self, request: Any) -> str:
            del request
            return mode

    headers = tuple((name, value) for name, value in fields.items() if value)
    call = sign(f"https://{HOST}/key", signer=Seed, body=b"", headers=headers)
    call = call.without("content-length")
    stamp, previous = call.get("x-amz-date"), call.get("authorization")[-64:]
    key = b"AWS4" + BASE_KEYS.secret_access_key.encode()
    for part in (stamp[:8], "eu-central-1", "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    scope, empty = f"{stamp[:8]}/eu-central-1/s3/aws4_request", hashlib.sha256().hexdigest()

    def chained(kind: str, *hashes: str) -> str:
        text = "\n".join([f"AWS4-HMAC-SHA256-{kind}", stamp, scope, previous, *hashes])
        return hmac.digest(key, text.encode(), "sha256").hex()

    body = b""
    for chunk in [*chunks, b""]:
        extension = ""
        if mode != UNSIGNED_TRAILER:
            previous = chained("PAYLOAD", empty, hashlib.sha256(chunk).hexdigest())
            extension = f";chunk-signature={previous}"
        body += f"{len(chunk):x}{extension}\r\n".encode() + chunk + (b"\r\n" if chunk else b"")
    lines = "".join(f"{line}\n" for line in trailers)
    if mode == SIGNED_TRAILER:
        seal = chained("TRAILER", hashlib.sha256(lines.encode()).hexdigest())
        lines += f"x-amz-trailer-signature:{seal}\n"
    return replace(call, body=body + lines.replace("\n", "\r\n").encode() + b"\r\n")


BIG = b"q" * 8192
CRC32 = base64.b64encode(zlib.crc32(BIG + b"end").to_bytes(4, "big")).decode()
SHA1 = base64.b64encode(hashlib.sha1(BIG + b"end").digest()).decode()  # noqa: S324
MODES = [SIGNED, SIGNED_TRAILER, UNSIGNED_TRAILER]


def trailers_for(mode: str) -> tuple[str, ...]:
    return () if mode == SIGNED else (f"x-amz-checksum-crc32:{CRC32}",)


@pytest.mark.parametrize("mode", MODES)
def test_chunks_signed_from_the_specification_are_taken(aws: StrictAws, mode: str) -> None:
    _, request = last(aws, upload(mode, [BIG, b"end"], trailers_for(mode)))

    assert (request.fault, request.body, len(request.arrivals)) == ("", BIG + b"end", 3)


@pytest.mark.parametrize("mode", MODES)
def test_only_the_last_chunk_may_be_small(aws: StrictAws, mode: str) -> None:
    assert_refused(aws, upload(mode, [b"end", BIG], trailers_for(mode)), "chunk-too-small")


@pytest.mark.parametrize("length", ["8194", "8196"])
@pytest.mark.parametrize("mode", MODES)
def test_the_decoded_length_must_be_what_came(aws: StrictAws, mode: str, length: str) -> None:
    changed = {"x-amz-decoded-content-length": length}
    call = upload(mode, [BIG, b"end"], trailers_for(mode), **changed)

    assert_refused(aws, call, "decoded-length-wrong")


CHECKSUMS = {
    "a wrong checksum": (("x-amz-checksum-crc32:AAAAAA==",), {}, "checksum-wrong"),
    "an unknown checksum": (("x-amz-checksum-crc16:AAA=",), {}, "checksum-unknown"),
    "another checksum than announced": (
        (f"x-amz-checksum-sha1:{SHA1}",), {"x-amz-trailer": "x-amz-checksum-crc32"},
        "trailer-unannounced"),
    "none of two announced": (
        (f"x-amz-checksum-sha1:{SHA1}",),
        {"x-amz-trailer": "x-amz-checksum-sha1,x-amz-checksum-crc32"}, "trailer-missing"),
    "no announcement": (
        (f"x-amz-checksum-crc32:{CRC32}",), {"x-amz-trailer": ""}, "trailer-missing"),
    "no decoded length": (
        (f"x-amz-checksum-crc32:{CRC32}",), {"x-amz-decoded-content-length": ""},
        "decoded-length-missing"),
}  # fmt: skip


@pytest.mark.parametrize("mode", [SIGNED_TRAILER, UNSIGNED_TRAILER])
@pytest.mark.parametrize(("trailers", "changed", "fault"), CHECKSUMS.values(), ids=CHECKSUMS)
def test_a_trailer_must_be_announced_and_right(
    aws: StrictAws, mode: str, trailers: tuple[str, ...], changed: dict[str, str], fault: str
) -> None:
    assert_refused(aws, upload(mode, [BIG, b"end"], trailers, **changed), fault)


def test_a_payload_mode_that_aws_has_not_is_refused(aws: StrictAws) -> None:
    call = upload("STREAMING-AWS4-HMAC-SHA512-PAYLOAD", [BIG])

    assert_refused(aws, call, "content-sha256-unknown")


def test_a_body_whose_hash_is_not_signed_is_taken_as_it_is(aws: StrictAws) -> None:
    call = upload("UNSIGNED-PAYLOAD", [])

    _, request = last(aws, replace(call, body=b"anything").without("transfer-encoding"))

    assert (request.fault, request.payload_mode, request.body) == ("", "unsigned", b"anything")


NINE = b"123456789"
CHECK_VALUES = {  # of NINE, from the catalogue of CRC algorithms
    "crc32": bytes.fromhex("cbf43926"),
    "crc32c": bytes.fromhex("e3069283"),
    "crc64nvme": bytes.fromhex("ae8b14860a799888"),
    "sha1": hashlib.sha1(NINE).digest(),  # noqa: S324
    "sha256": hashlib.sha256(NINE).digest(),
}


@pytest.mark.parametrize(("algorithm", "value"), CHECK_VALUES.items(), ids=CHECK_VALUES)
def test_every_checksum_is_verified(aws: StrictAws, algorithm: str, value: bytes) -> None:
    trailers = (f"x-amz-checksum-{algorithm}:{base64.b64encode(value).decode()}",)
    call = upload(UNSIGNED_TRAILER, [NINE], trailers)

    assert last(aws, call)[1].fault == ""
    aws.objects.clear()
    # Unsigned chunks: the checksum alone tells that a byte has changed.
    changed = replace(call, body=call.body.replace(NINE, b"123456780"))
    assert_refused(aws, changed, "checksum-wrong")


# -- events ---------------------------------------------------------------------------------

CAPTURED = json.loads(Path(__file__).with_name("aws_server").joinpath("captured.json").read_text())
(EVENTS,) = [record for record in CAPTURED if "EVENTS" in record["client"]]


def cut(body: bytes) -> list[bytes]:
    """Cut an event stream into its frames."""
    frames = []
    while body:
        size = int.from_bytes(body[:4], "big")
        frames.append(body[:size])
        body = body[size:]
    return frames


def framed(headers: bytes, payload: bytes) -> bytes:
    prelude = struct.pack("!II", 16 + len(headers) + len(payload), len(headers))
    start = prelude + zlib.crc32(prelude).to_bytes(4, "big") + headers + payload
    return start + zlib.crc32(start).to_bytes(4, "big")


def remade(frame: bytes, old: bytes, new: bytes) -> bytes:
    """Change the inside of a frame, and make its checksums right again."""
    end = 12 + int.from_bytes(frame[4:8], "big")
    assert old in frame[12:-4]
    return framed(frame[12:end].replace(old, new, 1), frame[end:-4].replace(old, new, 1))


EVENT_TWINS: dict[str, tuple[Callable[[list[bytes]], list[bytes]], str]] = {
    "a changed payload": (
        lambda f: [remade(f[0], b"AudioEvent", b"AudioEvenT"), *f[1:]], "frame-signature-wrong"),
    "a changed date": (
        lambda f: [remade(f[0], f[0][19:27], f[0][19:26] + b"\0"), *f[1:]],
        "frame-signature-wrong"),
    "no signature": (
        lambda f: [remade(f[0], b":chunk-signature", b":chunk-signaturf"), *f[1:]],
        "frame-signature-missing"),
    "a broken checksum": (lambda f: [f[0][:-1] + b"x", *f[1:]], "frame-malformed"),
    "a frame left out": (lambda f: f[1:], "frame-signature-wrong"),
    "a frame twice": (lambda f: [f[0], *f], "frame-signature-wrong"),
    "two frames exchanged": (lambda f: [f[1], f[0], f[2]], "frame-signature-wrong"),
    "no closing frame": (lambda f: f[:2], "body-truncated"),
    "half a frame": (lambda f: [f[0], f[1][:40]], "body-truncated"),
    "more after the closing frame": (lambda f: [*f, f[0]], "frame-malformed"),
}  # fmt: skip


def events(aws: StrictAws) -> Call:
    aws.clock = lambda: datetime(2026, 11, 22, 7, 21, 11, tzinfo=UTC)
    aws.keys.add(Identity("AKIAGATEWAYTEST00001", "gwsecret" * 5))
    fields = tuple((name, value) for name, value in EVENTS["fields"])
    return Call("POST", EVENTS["target"], fields, base64.b64decode(EVENTS["body"]))


def test_a_signed_stream_of_events_is_taken(aws: StrictAws) -> None:
    _, request = last(aws, events(aws))

    assert (request.fault, len(request.arrivals)) == ("", 3)


@pytest.mark.parametrize(("change", "fault"), EVENT_TWINS.values(), ids=EVENT_TWINS)
def test_a_twin_of_the_stream_is_refused(
    aws: StrictAws, change: Callable[[list[bytes]], list[bytes]], fault: str
) -> None:
    call = events(aws)

    assert_refused(aws, replace(call, body=b"".join(change(cut(call.body)))), fault)
