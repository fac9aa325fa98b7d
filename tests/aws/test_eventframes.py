r"""Signed event streams against the frames that the AWS SDK for Go v2 made.

Made by ``v4.NewStreamSigner`` and ``eventstream.NewEncoder`` of aws-sdk-go-v2 1.48.0 for
transcribe in us-east-1, across a midnight.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awsgate.aws.chunked import ChunkError
from awsgate.aws.eventframes import MAX_FRAME_BYTES, EventResigner, EventSigner

SEED = "98f60c5b4f0e6d7d2f0c7c7ba24a4f6e4b8ae6b44d2d8f4ea1b5e9ac0a7b3f11"
CLIENT = EventSigner("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "us-east-1", "transcribe", SEED)
OURS = EventSigner("another/Secret+Key", "us-east-1", "transcribe", "ab" * 32)

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


def resigned(body: bytes, *, step: int = 1 << 20, by: EventResigner | None = None) -> bytes:
    resigner = by or EventResigner(CLIENT, OURS)
    out = [resigner.feed(body[i : i + step]) for i in range(0, len(body), step)]
    return b"".join([*out, resigner.finish()])


def test_frames_of_the_go_sdk_are_accepted_and_signed_anew() -> None:
    new = resigned(BODY)

    assert len(new) == len(BODY)
    assert new != BODY
    # Signed back with the SDK's key they are the SDK's own frames, bit for bit.
    back = EventResigner(OURS, CLIENT)
    assert back.feed(new) + back.finish() == BODY


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
    "cut short": (lambda f: f[:-5], "within a frame"),
    "a frame after the last": (lambda _: BODY + FRAMES[2], "after the last"),
}  # fmt: skip


@pytest.mark.parametrize(("spoil", "words"), SPOILED.values(), ids=SPOILED)
def test_a_spoilt_stream_is_refused_for_good(spoil: Callable[[bytes], bytes], words: str) -> None:
    resigner = EventResigner(CLIENT, OURS)

    with pytest.raises(ChunkError, match=words):
        resigned(spoil(FRAMES[0]), by=resigner)
    for again in (lambda: resigner.feed(FRAMES[0]), resigner.finish):
        with pytest.raises(ChunkError):
            again()


def test_no_secret_is_shown() -> None:
    assert "wJalr" not in repr(CLIENT)
    assert SEED not in repr(CLIENT)
