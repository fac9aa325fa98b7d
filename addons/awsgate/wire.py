"""What a request must look like on the wire before anything else is asked of it.

mitmproxy forwards nearly everything it can parse. AWS, a proxy on the way and this
gateway must read the same request, or one of them can be made to authorise what
another one executes. So whatever has two readings is refused, and what passes here
has exactly one.

Not here: the signature, the endpoint model, and Content-Length against
Transfer-Encoding, which mitmproxy refuses itself (``validate_inbound_headers``).

Source: RFC 9110 and 9112; each rule that mitmproxy lacks is listed in
ARCHITECTURE.md with the test that holds it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn
from urllib.parse import unquote_to_bytes

from awsgate.errors import Code, Refusal

METHODS = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"PATCH"})

MAX_TARGET_BYTES = 32 * 1024
"""S3 keys are 1,024 bytes (3,072 encoded); a long query with a token is 8 KiB."""

MAX_HEADERS = 128

# Two of these would be two answers to one question.
SINGLE = (
    b"host",
    b"authorization",
    b"content-length",
    b"content-type",
    b"date",
    b"transfer-encoding",
    b"x-amz-content-sha256",
    b"x-amz-date",
    b"x-amz-region-set",
    b"x-amz-s3session-token",
    b"x-amz-security-token",
    b"x-amz-target",
)

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"expect",
        b"forwarded",
        b"http2-settings",
        b"keep-alive",
        b"te",
        b"trailer",
        b"upgrade",
        b"via",
        b"x-real-ip",
    }
)
"""Between two hops only, or said by a hop about its client. Never forwarded."""

# Query parameters of presigned URLs: of SigV4 and SigV4a, then of SigV2. Beside a
# header they would be a second identity.
QUERY_AUTH = frozenset(
    {
        b"x-amz-algorithm",
        b"x-amz-credential",
        b"x-amz-signature",
        b"x-amz-security-token",
        b"x-amz-s3session-token",
        b"awsaccesskeyid",
        b"signature",
    }
)

HOP_PREFIXES = (b"proxy-", b"x-forwarded-")

# "The request target": visible ASCII; a fragment never goes on the wire.
_TARGET = re.compile(rb"/[!-\"$-~]*")
# RFC 9110, 5.6.2: token.
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# RFC 9110, 5.5: field-vchar, SP, HTAB, obs-text. No CR, LF, NUL, no other control.
_VALUE = re.compile(rb"[\t -~\x80-\xff]*")
# RFC 9112, 6.2; what is over 63 bits is another number to some reader.
_LENGTH = re.compile(rb"[0-9]{1,18}")
# Of all fields at once: each name ends with NUL, each value with LF, and neither may be in one.
_FIELDS = re.compile(rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+\0[\t -~\x80-\xff]*\n)*")


@dataclass(frozen=True, slots=True)
class RequestFacts:
    """One request as it came in, before any of it is believed."""

    method: bytes
    target: bytes
    """Path and query, undecoded."""
    authority: bytes
    """What stood before the path in absolute form; empty in origin form."""
    headers: Sequence[tuple[bytes, bytes]]
    connect_host: str | None
    """Normalised host of the CONNECT that led here; None: no tunnel, origin form."""
    tls: bool
    """The client's side is TLS."""
    sni: str | None
    local: bool
    """The client is on this machine (loopback)."""
    http_version: bytes = b"HTTP/1.1"
    connect_port: int = 443
    """Port of the CONNECT, and so of AWS."""
    client: str = ""
    """Address of the client, without port; empty: not known."""

    def __repr__(self) -> str:
        # The target of a presigned URL is a credential; headers hold signatures.
        return f"RequestFacts({self.method!r}, connect_host={self.connect_host!r})"


def check_wire(facts: RequestFacts, *, max_header_bytes: int) -> dict[bytes, list[bytes]]:
    """Refuse what has two readings, and give the headers by lower-case name.

    Raises ``Refusal`` with ``unsupported`` and a status that fits.
    """
    if facts.method not in METHODS:
        raise _unsupported(f"method {shown(facts.method)} is not used by AWS APIs", status=405)
    if facts.http_version not in (b"HTTP/1.1", b"HTTP/1.0"):
        raise _unsupported("HTTP version is not 1.1", status=505)
    if facts.authority:
        raise _unsupported("absolute-form request targets are not accepted")
    if len(facts.target) > MAX_TARGET_BYTES:
        raise _unsupported(f"request target is over {MAX_TARGET_BYTES} bytes", status=414)
    if _TARGET.fullmatch(facts.target) is None:
        raise _unsupported("request target is not a path of visible ASCII without '#'")
    by_name = _check_headers(facts.headers, max_header_bytes)
    _check_framing(by_name)
    _check_upgrade(facts, by_name)
    _check_host(facts, by_name)
    return by_name


def _check_headers(
    headers: Sequence[tuple[bytes, bytes]], max_bytes: int
) -> dict[bytes, list[bytes]]:
    if len(headers) > MAX_HEADERS:
        raise _unsupported(f"more than {MAX_HEADERS} header fields", status=431)
    block = b"".join([b"%b\0%b\n" % field for field in headers])
    if _FIELDS.fullmatch(block) is None:
        _name_bad_header(headers)
    if len(block) - 2 * len(headers) > max_bytes:
        raise _unsupported(f"header section is over {max_bytes} bytes", status=431)
    by_name: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        by_name.setdefault(name.lower(), []).append(value)
    if len(by_name) < len(headers):
        for name in SINGLE:
            if len(by_name.get(name, ())) > 1:
                raise _unsupported(f"header {shown(name)} is there more than once")
    return by_name


def _name_bad_header(headers: Sequence[tuple[bytes, bytes]]) -> NoReturn:
    for name, value in headers:
        if _NAME.fullmatch(name) is None:
            raise _unsupported("a header name holds a character that no header name may hold")
        if _VALUE.fullmatch(value) is None:
            raise _unsupported(f"header {shown(name)} holds a line break or control character")
    raise _unsupported("the header section is not well formed")


def _check_framing(by_name: Mapping[bytes, Sequence[bytes]]) -> None:
    coding = by_name.get(b"transfer-encoding")
    if coding is not None and coding[0].strip().lower() != b"chunked":
        raise _unsupported("transfer-encoding is not exactly 'chunked'")
    lengths = by_name.get(b"content-length")
    if coding is not None and lengths is not None:
        raise _unsupported("content-length and transfer-encoding together")
    if lengths is not None and _LENGTH.fullmatch(lengths[0]) is None:
        raise _unsupported("content-length is not a number of at most 18 digits")


def _check_upgrade(facts: RequestFacts, by_name: Mapping[bytes, Sequence[bytes]]) -> None:
    """A WebSocket (RFC 6455, 4.1) may upgrade; nothing else may, nor may half of one."""
    if b"upgrade" not in by_name:
        return
    if not (
        is_upgrade(by_name)
        and facts.method == b"GET"
        and b"upgrade" in tokens_of(by_name.get(b"connection", ()))
        and len(by_name.get(b"sec-websocket-key", ())) == 1
        and by_name.get(b"sec-websocket-version") == [b"13"]
        and b"content-length" not in by_name
        and b"transfer-encoding" not in by_name
    ):
        raise _unsupported("protocol upgrade that is not a WebSocket's (RFC 6455)")


def is_upgrade(by_name: Mapping[bytes, Sequence[bytes]]) -> bool:
    """True if the request asks to become a WebSocket."""
    values = by_name.get(b"upgrade", ())
    return len(values) == 1 and values[0].strip().lower() == b"websocket"


def tokens_of(values: Iterable[bytes]) -> frozenset[bytes]:
    """Give what the values of a list header name, such as those of Connection; lower-case."""
    return frozenset(token.strip() for token in b",".join(values).lower().split(b","))


def _check_host(facts: RequestFacts, by_name: Mapping[bytes, Sequence[bytes]]) -> None:
    hosts = by_name.get(b"host")
    if hosts is None:
        raise _unsupported("no Host header")
    if facts.connect_host is None:
        return
    if not facts.tls:
        raise _unsupported("plain HTTP inside a CONNECT tunnel to an AWS endpoint", status=421)
    if facts.sni is None or facts.sni.lower().rstrip(".") != facts.connect_host:
        raise _unsupported("TLS server name differs from the CONNECT host", status=421)
    if host_of(hosts[0], facts.connect_port) != facts.connect_host:
        raise _unsupported("Host header differs from the CONNECT host", status=421)


def host_of(value: bytes, port: int = 443) -> str:
    """Give the host of a Host header for comparison: lower-case, without port and one dot."""
    host = value.strip().lower().removesuffix(b":%d" % port).decode("latin-1")
    return host.removesuffix(".")


def has_query_auth(target: bytes) -> bool:
    """True if the query holds a signature, or a part of one."""
    return not _query_names(target).isdisjoint(QUERY_AUTH)


def has_query_v2(target: bytes) -> bool:
    """True if it is that of SigV2, and of no other."""
    names = _query_names(target)
    return b"awsaccesskeyid" in names and b"x-amz-algorithm" not in names


def _query_names(target: bytes) -> set[bytes]:
    query = target.partition(b"?")[2]
    # Decoded, as AWS reads them: %58-Amz-Signature is one too.
    return {unquote_to_bytes(item.partition(b"=")[0]).lower() for item in query.split(b"&")}


def forwardable(
    headers: Sequence[tuple[bytes, bytes]],
    *,
    drop: frozenset[bytes],
    signed: Collection[str] = (),
    upgrade: bool = False,
) -> list[tuple[bytes, bytes]]:
    """Give the headers that may go on to AWS, in their order.

    Left out: the hop-by-hop ones, whatever ``Connection`` names (RFC 9110, 7.6.1),
    proxy and forwarding headers, and ``drop`` (lower-case names). What the client
    signed (``signed``, lower-case) is meant for AWS, so ``Connection`` cannot name it.
    With ``upgrade`` the WebSocket's own two go along, in the form of RFC 6455.
    """
    named = tokens_of(value for name, value in headers if name.lower() == b"connection")
    kept = []
    for name, value in headers:
        lower = name.lower()
        if lower in HOP_BY_HOP or lower in drop or lower.startswith(HOP_PREFIXES):
            continue
        # "Connection: host" must not be a way to remove what a signature covers;
        # those that frame or address the message stay.
        kept_anyway = lower in _NEVER_NAMED or lower.decode("latin-1") in signed
        if lower in named and not kept_anyway and not lower.startswith(b"x-amz-"):
            continue
        kept.append((name, value))
    if upgrade:
        kept += [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]
    return kept


_NEVER_NAMED = frozenset({b"host", b"content-length", b"transfer-encoding", b"content-type"})


def is_header(name: bytes, value: bytes) -> bool:
    """True if these can stand in a header field."""
    return _NAME.fullmatch(name) is not None and _VALUE.fullmatch(value) is not None


def shown(raw: bytes) -> str:
    """Give the start of what a caller sent, safe for a log and an answer."""
    return repr(raw[:32].decode("latin-1"))


def _unsupported(message: str, *, status: int = 400) -> Refusal:
    return Refusal(Code.UNSUPPORTED, message, status=status)
