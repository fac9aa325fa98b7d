"""Paths that behave badly on purpose, on any host: /stream, /slow and /early.

``POST /stream?chunks=5&delay=0.1&size=100`` sends that many pieces with a delay before
each but the first; each holds the time it was sent at (``type=events``: as event-stream frames).
``/slow?seconds=1`` answers late. ``/early`` answers 413 and reads no body.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from urllib.parse import parse_qsl

from aws_server.events import message, text_header
from aws_server.http1 import Answer
from aws_server.model import Head


def is_early(head: Head) -> bool:
    """True if the answer must not wait for the body."""
    return head.path == "/early"


def early() -> Answer:
    """Give the 413."""
    return Answer(413, b"too large", close=True)


def answer(head: Head) -> Answer | None:
    """Give the answer of a special path; ``None`` if it is none."""
    params = dict(parse_qsl(head.query))
    if head.path == "/slow":
        time.sleep(float(params.get("seconds", "1")))
        return Answer(200, b"late", [("Content-Type", "text/plain")])
    if head.path == "/stream" and head.method == "POST":
        events = params.get("type") == "events"
        kind = "application/vnd.amazon.eventstream" if events else "application/octet-stream"
        return Answer(200, _pieces(params, events=events), [("Content-Type", kind)])
    return None


def _pieces(params: dict[str, str], *, events: bool) -> Iterator[bytes]:
    for number in range(int(params.get("chunks", "5"))):
        if number:
            time.sleep(float(params.get("delay", "0.1")))
        line = json.dumps({"n": number, "sent": time.time()}).encode()
        line = line.ljust(int(params.get("size", "0")) - 1) + b"\n"
        headers = text_header(":message-type", "event") + text_header(":event-type", "chunk")
        yield message(headers, line) if events else line
