# ruff: noqa: E501 - inputs, as they are
"""Inputs for the parsers to begin with, good ones among them, and what is made of these."""

from __future__ import annotations

import random
from functools import cache

from aws_server.events import message
from chunksigner import Chain, EventChain
from fuzz.parsers import NOW, SECRET, STAMP, session


def _signed_body() -> bytes:
    chain = Chain(SECRET, STAMP, "us-east-1", "a" * 64)
    return b"".join(chain.chunk(data) for data in (b"hello", b"x" * 70, b"")) + b"\r\n"


def _frames() -> bytes:
    chain = EventChain(SECRET, "a" * 64)
    return b"".join(chain.frame(NOW * 1000, payload) for payload in (b"audio", b""))


_AUTH = (
    b"AWS4-HMAC-SHA256 Credential=GATEABC/20260921/us-east-1/s3/aws4_request, "
    b"SignedHeaders=host;x-amz-date, Signature=" + b"0a" * 32
)
_URL = (
    b"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=GATEABC%2F20260921%2Fus-east-1%2Fs3%2F"
    b"aws4_request&X-Amz-Date=20260921T141320Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host"
    b"&X-Amz-Security-Token=t&x=y&X-Amz-Signature=" + b"0a" * 32
)
_POLICY = b"""kind: user
version: v2
metadata: {name: alice}
spec: {roles: [r]}
---
kind: role
version: v5
metadata: {name: r}
spec:
  allow: &a
    app_labels: {'*': '*'}
    aws_role_arns: ['arn:aws:iam::123456789012:role/r']
"""


@cache
def corpus(name: str) -> list[bytes]:
    """Give inputs to begin with, good ones among them."""
    return {
        "authorization": [_AUTH, _AUTH.replace(b", ", b","), b"AWS4-HMAC-SHA256 x", b"Basic eDp5"],
        "presigned-url": [_URL, _URL.replace(b"X-Amz-Date", b"x-amz-date"), b"a=b", b"%58-Amz-Date="],
        "chunk-framing": [b"5\r\nhello\r\n0\r\n\r\n", b"5;a=b\r\nhello\r\n0\r\nX: 1\r\n\r\n", b"0x5\r\n",
                          b"fffffffffffffffff\r\n", b"0\r\n\r\nGET /"],
        "request-head": [b"GET /a?b HTTP/1.1\r\nHost: h", b"PUT /a HTTP/1.1\r\nContent-Length: 5\r\nA:\r\n b",
                         b"POST http://h/ HTTP/1.1\r\nTransfer-Encoding: gzip, chunked"],
        "signed-chunks": [_signed_body(), b"5;chunk-signature=" + b"0a" * 32 + b"\r\nhello\r\n"],
        "event-stream": [_frames(), message(b"", b""), bytes(16)],
        "host": [b"b.s3.us-east-1.amazonaws.com", b"S3.AMAZONAWS.COM.", b"127.1", b"0x7f000001",
                 "ｓ3.amazonaws.com".encode(), b"a..b", b"xn--a.com"],
        "forwarded-host": [b"s3.amazonaws.com", b"s3.amazonaws.com:443", b"S3.amazonaws.com.", b"a,b.c"],
        "session-token": [session()[1].session_token.encode(), b"", b"AV"],
        "proxy-authorization": [b"Basic R0FURTpwYXNz", b"basic  eDp5", b"Bearer x"],
        "policy-yaml": [_POLICY, b"a: &a [*a]", b"{", b"- !!python/object:os.system x", b"\xef\xbb\xbf---\n"],
    }[name]  # fmt: skip


def mutated(chance: random.Random, data: bytes) -> bytes:
    """Give the input with a few bytes put in, taken out or changed."""
    made = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randint(0, len(made))
        kind = chance.random()
        if kind < 0.4:
            made[at:at] = chance.choice(_ODD)
        elif kind < 0.6:
            del made[at : at + chance.randint(1, 8)]
        elif kind < 0.7:
            end = chance.randint(at, len(made))
            made[at:at] = made[at:end]
        elif at < len(made):
            made[at] = chance.randrange(256)
    return bytes(made[:100_000])


_ODD = (b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b",", b";", b"=", b":", b"/", b"%", b"&", b"-", b"+",
        b"_", b"0", b"f", b"A", b".", b"\xff", b"\xc3\xa9", b"'", b'"', b"*", b"!", b"{", b"[", b"9" * 20)  # fmt: skip
