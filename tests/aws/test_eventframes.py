"""Signed event streams against frames that real SDKs made, across a midnight.

Go: ``v4.NewStreamSigner`` and ``eventstream.NewEncoder`` of aws-sdk-go-v2 1.48.0.
Python: ``EventSigner`` and ``EventStreamMessageSerializer`` of amazon-transcribe 0.6.4.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awsgate.aws.chunked import ChunkError
from awsgate.aws.eventframes import MAX_FRAME_BYTES, EventResigner, EventSigner
from chunksigner import EventChain

SEED = "98f60c5b4f0e6d7d2f0c7c7ba24a4f6e4b8ae6b44d2d8f4ea1b5e9ac0a7b3f11"
SECRET, OURS_SECRET, OURS_SEED = (
    "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "another/Secret+Key", "ab" * 32)  # fmt: skip
CLIENT = EventSigner(SECRET, "us-east-1", "transcribe", SEED)
OURS = EventSigner(OURS_SECRET, "us-east-1", "transcribe", OURS_SEED)

FRAMES = [
    bytes.fromhex(text)
    for text in (
        "0000005e000000430dd4bee9053a6461746508000001a20ada2912103a6368756e6b2d7369676e6174757265"
        "0600205fb03151a1da2c3f389e72a4a055378f65805667301421fe967d26c280cc710c666972737420657665"
        "6e74493d857b",
        "00000503000000439d9a2420053a6461746508000001a20ada31dc103a6368756e6b2d7369676e6174757265"
        "060020baf20678fe550b9446d51e59d39cb6e35d612da1f4fd6de508d3cdd0cf4b5908"
        + "000102ff" * 300
        + "b65e7f1f",
        "0000005300000043f5447a58053a6461746508000001a20ada33d0103a6368756e6b2d7369676e6174757265"
        "06002031a617c339d191259db9a17c374f33d6379dd3587fc546d6be66390d28ca72b22425aedf",
    )
]
BODY = b"".join(FRAMES)
PYTHON_BODY = bytes.fromhex(
    "000000810000004306715661053a6461746508000001a20ada2bff103a6368756e6b2d7369676e617475726506"
    "002065c195e43cc756218419aaa666407347b4d8c4cc755a1e470f9e93cc7723c8020000002e000000197fb8e6"
    "cc0b3a6576656e742d7479706507000a417564696f4576656e74617564696fc02858ca604ce468"
    "0000005900000043bff462f9053a6461746508000001a20ada2c01103a6368756e6b2d7369676e617475726506"
    "0020277aede207e3bcad16a6c75a3500d2045bc26e8706cd740d5f14ee03eafc387c7365636f6e641f577b5b"
    "0000005300000043f5447a58053a6461746508000001a20ada33d0103a6368756e6b2d7369676e617475726506"
    "0020646b9a157947aa7c306fed2a7258bb1ff79e668957eae817497d8309c0bc1a470e0ef6c9"
)


def stream(
    secret: str, seed: str, events: Sequence[tuple[int, bytes]], *, date_first: bool = True
) -> bytes:
    """Sign events (milliseconds, payload) from the specification alone."""
    chain = EventChain(secret, seed)
    return b"".join(chain.frame(when, payload, date_first=date_first) for when, payload in events)


MIDNIGHT = 1795478400000
"""2026-11-24T00:00:00Z."""
EVENTS = [(MIDNIGHT - 1, b"before"), (MIDNIGHT, b"after"), (MIDNIGHT + 2000, b"")]
GO_EVENTS = [
    (MIDNIGHT - 750, b"first event"), (MIDNIGHT + 1500, b"\0\1\2\xff" * 300),
    (MIDNIGHT + 2000, b"")]  # fmt: skip


def resigned(body: bytes, *, step: int = 1 << 20, by: EventResigner | None = None) -> bytes:
    resigner = by or EventResigner(CLIENT, OURS)
    out = [resigner.feed(body[i : i + step]) for i in range(0, len(body), step)]
    return b"".join([*out, resigner.finish()])


def test_the_independent_signer_makes_the_frames_of_the_go_sdk() -> None:
    assert stream(SECRET, SEED, GO_EVENTS) == BODY


def test_frames_of_the_go_sdk_are_accepted_and_signed_anew() -> None:
    assert resigned(BODY) == stream(OURS_SECRET, OURS_SEED, GO_EVENTS)


def test_frames_of_the_python_sdk_are_accepted_and_signed_anew() -> None:
    new = resigned(PYTHON_BODY)

    assert len(new) == len(PYTHON_BODY)
    # Signed back with the SDK's key they are the SDK's own frames, bit for bit.
    back = EventResigner(OURS, CLIENT)
    assert back.feed(new) + back.finish() == PYTHON_BODY


def test_the_headers_may_be_sorted_as_the_sdk_for_cpp_has_them() -> None:
    new = resigned(stream(SECRET, SEED, EVENTS, date_first=False))

    assert new == stream(OURS_SECRET, OURS_SEED, EVENTS, date_first=False)


@given(
    payloads=st.lists(st.binary(min_size=1, max_size=300), max_size=5),
    step=st.integers(1, 500),
    date_first=st.booleans(),
)
def test_any_stream_in_any_fragments_is_what_the_role_would_have_signed(
    payloads: list[bytes], step: int, date_first: bool
) -> None:
    events = [(MIDNIGHT + 999 * i - 1000, p) for i, p in enumerate([*payloads, b""])]
    body = stream(SECRET, SEED, events, date_first=date_first)

    new = resigned(body, step=step)

    assert new == stream(OURS_SECRET, OURS_SEED, events, date_first=date_first)


@given(step=st.integers(1, len(BODY)))
def test_any_fragmentation_gives_the_same_frames(step: int) -> None:
    assert resigned(BODY, step=step) == resigned(BODY)


def test_nothing_of_a_frame_goes_on_before_it_is_proved() -> None:
    resigner = EventResigner(CLIENT, OURS)

    assert resigner.feed(FRAMES[0][:-1]) == b""
    assert len(resigner.feed(FRAMES[0][-1:])) == len(FRAMES[0])


def test_a_caller_may_hang_up_between_frames() -> None:
    assert len(resigned(FRAMES[0])) == len(FRAMES[0])


def mended(frame: bytes) -> bytes:
    """Give the frame with right checksums, so that only the signature can tell."""
    head = frame[:8] + zlib.crc32(frame[:8]).to_bytes(4, "big")
    body = head + frame[12:-4]
    return body + zlib.crc32(body).to_bytes(4, "big")


def flipped(at: int) -> Callable[[bytes], bytes]:
    return lambda body: mended(body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :])


SPOILED: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "the date changed": (flipped(26), "signature of a frame"),
    "the signature changed": (flipped(60), "signature of a frame"),
    "the payload changed": (flipped(82), "signature of a frame"),
    "another header": (flipped(14), "exactly the headers"),
    "a wrong checksum": (lambda f: f[:-1] + bytes([f[-1] ^ 1]), "checksum of a frame"),
    "a wrong prelude": (lambda f: f[:3] + bytes([f[3] ^ 1]) + f[4:], "prelude"),
    "5 GiB declared": (
        lambda f: mended((MAX_FRAME_BYTES + 1).to_bytes(4, "big") + f[4:]), "over"),
    "shorter than its headers": (lambda f: mended((20).to_bytes(4, "big") + f[4:]), "shorter"),
    "the second first": (lambda _: FRAMES[1], "signature of a frame"),
    "a frame after the last": (lambda _: BODY + FRAMES[2], "after the last"),
    "one byte after the last": (lambda _: BODY + b"\0", "after the last"),
    "a frame left out": (lambda f: f + FRAMES[2], "signature of a frame"),
    "a frame twice": (lambda f: f + f, "signature of a frame"),
    "a date before 1970": (
        lambda _: stream(SECRET, SEED, [(-1, b"x")]), "no date"),
    "a date after 9999": (flipped(19), "no date"),
    "two dates": (
        lambda f: mended(f[:28] + f[12:27] + f[43:]), "exactly the headers"),
    "a header more": (
        lambda f: mended(struct.pack(">II", len(f) + 3, 70) + f[8:79] + b"\1a\0" + f[79:]),
        "exactly the headers"),
}  # fmt: skip


@pytest.mark.parametrize(("spoil", "words"), SPOILED.values(), ids=SPOILED)
def test_a_spoilt_stream_is_refused_for_good(spoil: Callable[[bytes], bytes], words: str) -> None:
    resigner = EventResigner(CLIENT, OURS)

    with pytest.raises(ChunkError, match=words) as caught:
        resigned(spoil(FRAMES[0]), by=resigner)
    assert re.search("[0-9a-f]{16}|first", str(caught.value)) is None
    for again in (lambda: resigner.feed(FRAMES[0]), resigner.finish):
        with pytest.raises(ChunkError):
            again()


@pytest.mark.parametrize("cut", range(1, len(FRAMES[0])))
def test_a_stream_cut_within_a_frame_is_refused(cut: int) -> None:
    with pytest.raises(ChunkError, match="within a frame"):
        resigned(FRAMES[0][:cut])


def test_no_secret_is_shown() -> None:
    assert "wJalr" not in repr(CLIENT)
    assert SEED not in repr(CLIENT)
