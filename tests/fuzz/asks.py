"""What a case is made of: signed requests and what was done to them, as plain data.

A ``Case`` holds no key, signature or token: it can be written to a file, read again, and
built with other keys. ``build`` signs with botocore (not with anything of ours), applies
the edits, and gives the client's bytes and what was signed in them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from awsgate.aws.sigv4 import SigningKeys
from chunksigner import Chain
from fuzz import awschunks
from signers import botocore_sign

HOSTS = {
    "s3": "fuzz-bucket.s3.us-east-1.amazonaws.com",
    "lambda": "lambda.us-east-1.amazonaws.com",
    "sqs": "sqs.us-east-1.amazonaws.com",
}
SIBLINGS = {
    "s3": "other-bucket.s3.us-east-1.amazonaws.com",
    "lambda": "lambda.us-east-1.api.aws",
    "sqs": "sqs.us-east-1.api.aws",
}
"""Other hosts for which the same scope is good."""
LOCAL = "localhost:8080"
"""What stands in Host where an endpoint URL was set."""

type Edit = awschunks.Edit
"""Its name and its arguments; see ``edits``."""


@dataclass(frozen=True)
class Ask:
    """A request that a client is allowed to send, before it is signed."""

    number: int
    service: str = "s3"
    method: str = "GET"
    more: str = ""
    """Follows the mark in the path: further path, query."""
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""
    """Latin-1."""
    chunked: bool = False
    unsigned_body: bool = False
    """UNSIGNED-PAYLOAD; S3 alone."""
    aws_mode: str = ""
    """One of ``awschunks.MODES``; empty: the body is the payload. S3 alone."""
    aws_parts: int = 1
    """Into so many chunks, as long as one another, goes the payload."""
    named_by: str = "host"
    """In origin form: ``host`` has Host name AWS too, ``beside`` likewise, with an
    X-Forwarded-Host that is not signed; ``forwarded`` has that alone."""
    origin: bool = False
    close: bool = False
    sibling: bool = False
    """It is for the other host of its service."""
    holds: Piece | None = None
    """Its body ends with this piece."""

    @property
    def host(self) -> str:
        return (SIBLINGS if self.sibling else HOSTS)[self.service]


@dataclass(frozen=True)
class Piece:
    """A request with what was done to it, or bytes that are none."""

    ask: Ask | None = None
    edits: tuple[Edit, ...] = ()
    raw: str = ""
    """Latin-1."""


@dataclass(frozen=True)
class Case:
    """What one client sends on one connection."""

    tunnel: str
    """Service whose host is in CONNECT; empty: origin form, no TLS."""
    pieces: tuple[Piece, ...]
    splits: tuple[float, ...] = ()
    """Where it is cut into sends, of the whole."""
    pause_ms: int = 0
    """Between two sends."""

    @property
    def is_clean(self) -> bool:
        """Nothing was done to it: all of it must arrive."""
        return all(p.ask is not None and not p.edits and self._fits(p.ask) for p in self.pieces)

    def _fits(self, ask: Ask) -> bool:
        to_the_tunnel = not self.tunnel or ask.host == HOSTS[self.tunnel]
        return to_the_tunnel and not (ask.chunked and not ask.body and ask.holds is None)

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> Case:
        made = json.loads(text)
        return cls(
            made["tunnel"],
            tuple(_piece(p) for p in made["pieces"]),
            tuple(made["splits"]),
            made["pause_ms"],
        )


def _piece(made: dict[str, Any]) -> Piece:
    ask = made["ask"]
    if ask is not None:
        holds = _piece(ask["holds"]) if ask["holds"] else None
        headers = tuple((n, v) for n, v in ask["headers"])
        ask = Ask(**{**ask, "headers": headers, "holds": holds})
    return Piece(ask, tuple(made["edits"]), made["raw"])


@dataclass(frozen=True)
class Signed:
    """What the client's signature says: this may arrive, and nothing else under its mark."""

    mark: str
    method: bytes
    target: bytes
    host: str
    headers: tuple[tuple[bytes, bytes], ...] = field(repr=False)
    """Those that are signed, but for what is signed anew."""
    payload: str
    """Value of x-amz-content-sha256, or what it would be."""
    content: bytes = field(default=b"", repr=False)
    """What the chunks of aws-chunked hold."""


@dataclass
class Message:
    """A signed request, still in parts, for edits to change."""

    method: str
    target: str
    fields: list[tuple[str, str]]
    body: bytes
    host: str


_ANEW = frozenset(
    {"authorization", "x-amz-date", "x-amz-security-token", "x-amz-content-sha256", "host",
     "x-forwarded-host"}
)  # fmt: skip


def sign(
    ask: Ask, mark: str, body: bytes, keys: SigningKeys, edits: Sequence[Edit] = ()
) -> tuple[Message, Signed]:
    """Sign a request as a client that uses botocore does. ``edits`` of aws-chunked are done."""
    target = target_of(ask, mark)
    host = LOCAL if ask.origin and ask.named_by == "forwarded" else ask.host
    headers = [*ask.headers]
    if ask.origin and ask.named_by != "beside":
        headers.append(("X-Forwarded-Host", ask.host))
    if ask.service == "sqs":
        headers.append(("Content-Type", "application/x-www-form-urlencoded"))
    headers += awschunks.headers(ask.aws_mode, body) if ask.aws_mode else []
    when = datetime.now(UTC)
    made = botocore_sign(
        ask.method, host, target, headers, body, service=ask.service, region="us-east-1",
        keys=keys, when=when, sign_body=not ask.unsigned_body, payload=ask.aws_mode,
    )  # fmt: skip
    fields = [(name.decode(), value.decode()) for name, value in made]
    authorization = {n.lower(): v for n, v in fields}["authorization"]
    names = authorization.partition("SignedHeaders=")[2].partition(",")[0].split(";")
    signed = Signed(
        mark,
        ask.method.encode(),
        target.encode(),
        ask.host,
        tuple(
            (n.lower().encode(), v.encode())
            for n, v in fields
            if n.lower() in names and n.lower() not in _ANEW
        ),
        ask.aws_mode
        or ("UNSIGNED-PAYLOAD" if ask.unsigned_body else hashlib.sha256(body).hexdigest()),
        body,
    )
    if ask.aws_mode:
        seed, stamp = authorization.rpartition("Signature=")[2], f"{when:%Y%m%dT%H%M%SZ}"
        chain = Chain(keys.secret_access_key, stamp, "us-east-1", seed)
        body = awschunks.encoded(ask.aws_mode, _parts(body, ask.aws_parts), edits, chain)
    if ask.origin and ask.named_by == "beside":
        fields.append(("X-Forwarded-Host", ask.host))
    if ask.chunked:
        fields.append(("Transfer-Encoding", "chunked"))
    elif body or ask.method in ("PUT", "POST"):
        fields.append(("Content-Length", str(len(body))))
    if ask.close:
        fields.append(("Connection", "close"))
    return Message(ask.method, target, fields, body, ask.host), signed


def _parts(body: bytes, number: int) -> list[bytes]:
    each = max(1, -(-len(body) // number))
    return [body[at : at + each] for at in range(0, len(body), each)]


def target_of(ask: Ask, mark: str) -> str:
    if ask.service == "lambda":
        return f"/2015-03-31/functions/{mark}/invocations{ask.more}"
    return f"/{mark}{ask.more}"
