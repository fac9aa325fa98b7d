"""What the strict AWS passes around: requests, keys, faults. No I/O, no checks.

Every check of this server has a name in ``FAULTS``; a test asserts the name, a client
sees AWS's status and code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple

Clock = Callable[[], datetime]

KEPT_BYTES = 1024 * 1024
"""Bodies up to this size are kept; of larger ones only hash and size."""
S3_FAMILY = frozenset({"s3", "s3express", "s3-outposts", "s3-object-lambda"})

FAULTS: dict[str, tuple[int, str]] = {
    # HTTP itself
    "bad-request": (400, "BadRequest"),
    "framing-ambiguous": (400, "BadRequest"),
    "host-not-once": (400, "BadRequest"),
    "host-unknown": (400, "UnknownHost"),
    "length-missing": (411, "MissingContentLength"),
    "body-truncated": (400, "IncompleteBody"),
    # who
    "authorization-missing": (403, "AccessDenied"),
    "authorization-repeated": (400, "InvalidArgument"),
    "authorization-malformed": (400, "AuthorizationHeaderMalformed"),
    "authorization-twice": (400, "InvalidArgument"),
    "algorithm-unsupported": (400, "InvalidRequest"),
    "key-unknown": (403, "InvalidAccessKeyId"),
    "token-missing": (403, "InvalidToken"),
    "token-wrong": (403, "InvalidToken"),
    "token-unexpected": (403, "InvalidToken"),
    "token-expired": (400, "ExpiredToken"),
    "session-missing": (403, "AccessDenied"),
    "session-of-another-bucket": (403, "AccessDenied"),
    # what is signed
    "host-not-signed": (403, "AccessDenied"),
    "date-not-signed": (403, "AccessDenied"),
    "header-not-signed": (403, "AccessDenied"),
    "signed-header-absent": (403, "SignatureDoesNotMatch"),
    "signature-wrong": (403, "SignatureDoesNotMatch"),
    # where and when
    "date-missing": (403, "AccessDenied"),
    "scope-day": (400, "AuthorizationHeaderMalformed"),
    "scope-region": (400, "AuthorizationHeaderMalformed"),
    "scope-service": (400, "AuthorizationHeaderMalformed"),
    "region-set": (403, "AccessDenied"),
    "skew": (403, "RequestTimeTooSkewed"),
    "expires-out-of-range": (400, "AuthorizationQueryParametersError"),
    "presigned-expired": (403, "AccessDenied"),
    # the body
    "content-sha256-missing": (400, "InvalidRequest"),
    "content-sha256-unknown": (400, "InvalidArgument"),
    "content-sha256-wrong": (400, "XAmzContentSHA256Mismatch"),
    "content-md5-wrong": (400, "BadDigest"),
    "checksum-wrong": (400, "BadDigest"),
    "checksum-unknown": (400, "InvalidRequest"),
    "trailer-missing": (400, "MalformedTrailerError"),
    "trailer-unannounced": (400, "MalformedTrailerError"),
    "trailer-signature-wrong": (403, "SignatureDoesNotMatch"),
    "chunk-malformed": (400, "IncompleteBody"),
    "chunk-too-small": (403, "InvalidChunkSizeError"),
    "chunk-signature-missing": (403, "SignatureDoesNotMatch"),
    "chunk-signature-wrong": (403, "SignatureDoesNotMatch"),
    "decoded-length-missing": (411, "MissingContentLength"),
    "decoded-length-wrong": (400, "IncompleteBody"),
    "frame-malformed": (400, "SerializationException"),
    "frame-signature-missing": (403, "InvalidSignatureException"),
    "frame-signature-wrong": (403, "InvalidSignatureException"),
    # forms and sockets
    "form-malformed": (400, "MalformedPOSTRequest"),
    "form-policy-malformed": (400, "InvalidPolicyDocument"),
    "form-expired": (403, "AccessDenied"),
    "form-condition": (403, "AccessDenied"),
    "form-field-uncovered": (403, "AccessDenied"),
    "form-too-small": (400, "EntityTooSmall"),
    "form-too-large": (400, "EntityTooLarge"),
    "websocket-malformed": (400, "BadRequest"),
}


class Fault(Exception):
    """A check that failed. ``name`` is a key of ``FAULTS``; ``detail`` holds no secret."""

    def __init__(self, name: str, detail: str = "") -> None:
        super().__init__(f"{name}: {detail}" if detail else name)
        self.name = name
        self.detail = detail
        self.status, self.code = FAULTS[name]


class Refused(Exception):
    """A request that is well signed, and that the service itself answers with an error."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


class BaseKeys(NamedTuple):
    """A long-lived key pair."""

    access_key_id: str
    secret_access_key: str


@dataclass(frozen=True)
class Identity:
    """A key that this server knows."""

    access_key_id: str
    secret: str = field(repr=False)
    token: str | None = field(default=None, repr=False)
    kind: Literal["base", "role", "session", "federated", "express"] = "base"
    session_name: str = ""
    arn: str = "arn:aws:iam::123456789012:user/base"
    expires: datetime | None = None
    bucket: str = ""
    """For an S3 Express session: the one bucket it is good for."""


@dataclass(frozen=True)
class Head:
    """Request line and header fields, as they stood on the wire (latin-1)."""

    method: str
    target: str
    fields: tuple[tuple[str, str], ...]

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]

    def values(self, name: str) -> list[str]:
        return [value for n, value in self.fields if n.lower() == name]

    def get(self, name: str) -> str | None:
        found = self.values(name)
        return ",".join(found) if found else None

    @property
    def host(self) -> str:
        """The Host without its port, lower-case."""
        name = (self.get("host") or "").lower()
        return name.rpartition(":")[0] if name.rpartition(":")[2].isdigit() else name


@dataclass
class Request:
    """One request as it came, and what this server thought of it."""

    method: str
    target: str
    fields: tuple[tuple[str, str], ...] = field(repr=False)
    host: str
    access_key_id: str = ""
    session_name: str = ""
    """Of the credentials that signed it; empty for the base key."""
    service: str = ""
    region: str = ""
    auth: str = ""
    """``header``, ``query``, ``form``, or nothing."""
    algorithm: str = ""
    payload_mode: str = ""
    """``hash``, ``unsigned``, a STREAMING-... name, ``form``, or nothing."""
    body_sha256: str = ""
    """Of the payload: of aws-chunked without its framing, of a form its file."""
    body_bytes: int = 0
    body: bytes | None = field(default=None, repr=False)
    """The payload if it is small (or ``keep_bodies``)."""
    wire_sha256: str = ""
    """Of the HTTP body as it came (without HTTP's own chunking)."""
    wire_bytes: int = 0
    arrivals: list[float] = field(default_factory=list, repr=False)
    """``time.time()`` of each verified chunk, event or WebSocket frame."""
    fault: str = ""
    detail: str = ""
    status: int = 0
    stored: bool = False

    def values(self, name: str) -> list[str]:
        return [value for n, value in self.fields if n.lower() == name]

    def get(self, name: str) -> str | None:
        found = self.values(name)
        return ",".join(found) if found else None
