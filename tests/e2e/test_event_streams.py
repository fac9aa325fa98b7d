"""Signed event streams to AWS (Transcribe over HTTP/1.1), and unsigned ones back.

The frames are signed here from the specification; the strict AWS verifies each under
the assumed role's key and keeps the time at which it came.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from chunksigner import EventChain
from e2e.forms import Stage, stage_in
from rawclient import head, secure
from signers import botocore_sign

HOST = "transcribestreaming.us-east-1.amazonaws.com"
EVENTS = "STREAMING-AWS4-HMAC-SHA256-EVENTS"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage_in(tmp_path_factory.mktemp("events")) as made:
        yield made


class Frames(EventChain):
    """Signs frames as they are made: at the time that it is."""

    def now(self, payload: bytes) -> bytes:
        return self.frame(int(time.time() * 1000), payload)


def start(stage: Stage, name: str = "talk") -> tuple[bytes, Frames]:
    """Give the head of a talk, and what signs its frames."""
    target = f"/stream-transcription?{name}="
    signed = botocore_sign(
        "POST",
        HOST,
        target,
        [("Transfer-Encoding", "chunked"), ("X-Amz-Content-Sha256", EVENTS),
         ("Content-Type", "application/vnd.amazon.eventstream")],
        service="transcribe",
        region="us-east-1",
        keys=stage.keys,
        when=datetime.now(UTC),
    )  # fmt: skip
    raw = head("POST", target, signed)
    seed = re.search(rb"Signature=([0-9a-f]{64})", raw)
    assert seed is not None
    return raw, Frames(stage.keys.secret_access_key, seed[1].decode())


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def arrivals(stage: Stage, name: str) -> list[int]:
    """Give how many frames of the talk reached AWS; it may hear late that one ended."""
    return [len(request.arrivals) for request in stage.seen() if name in request.target]


def test_signed_frames_arrive_one_by_one_signed_by_the_role(stage: Stage) -> None:
    raw, frames = start(stage)
    with secure(stage.gateway, HOST) as wire:
        wire.send(raw)
        for _ in range(3):
            wire.send(chunk(frames.now(b"sound" * 1000)))
            time.sleep(0.2)
        wire.send(chunk(frames.now(b"")) + b"0\r\n\r\n")
        answer = wire.read_answer()

    last = stage.last()
    assert (answer.status, last.fault, last.payload_mode) == (200, "", EVENTS)
    assert last.session_name == "bob"
    # Sent over 0.4 s; collected first, they would come within a millisecond.
    assert last.arrivals[2] - last.arrivals[0] > 0.1, "frames do not wait for one another"


@pytest.mark.parametrize("spoilt", [0, 2])
def test_a_spoilt_frame_ends_the_talk_and_does_not_arrive(stage: Stage, spoilt: int) -> None:
    raw, frames = start(stage, f"spoilt{spoilt}")
    made = [frames.now(b"sound %d" % number) for number in range(3)]
    other = Frames("another secret", "0" * 64).now(b"sound 9")
    made[spoilt] = other
    with secure(stage.gateway, HOST) as wire:
        wire.send(raw + b"".join(map(chunk, made)) + b"0\r\n\r\n")
        answer = wire.read_answer()

    assert (answer.status, answer.code) == (403, "bad-signature")
    assert max(arrivals(stage, f"spoilt{spoilt}"), default=0) in (0, spoilt), (
        "its head may be cut off before it is read"
    )


def test_a_stream_that_ends_within_a_frame_is_refused(stage: Stage) -> None:
    raw, frames = start(stage, "cut")
    with secure(stage.gateway, HOST) as wire:
        wire.send(raw + chunk(frames.now(b"sound")[:-3]) + b"0\r\n\r\n")
        answer = wire.read_answer()

    assert (answer.status, answer.code) == (403, "bad-signature")
    assert max(arrivals(stage, "cut"), default=0) == 0
