"""Goes through the gateway as a client does: CONNECT, TLS, one call.

Nothing is sent but to the address of the gateway. Each step has its own time limit.
"""

from __future__ import annotations

import hashlib
import html
import re
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPException, HTTPResponse
from typing import cast

from cryptography import x509
from urllib3.util.ssltransport import SSLTransport

from awsgate.address import split
from awsgate.aws.sigv4 import SigningKeys, sign
from awsgate.doctor.passage import Answer, PassageFacts, Reach

STEP_S = 4.0
_HEAD_BYTES = 64 * 1024
_BODY_BYTES = 256 * 1024
_BODY = b"Action=GetCallerIdentity&Version=2011-06-15"
_ARN = re.compile(r"<Arn>([^<]{1,2048})</Arn>")
_MESSAGE = re.compile(r"<Message>([^<]{1,4096})</Message>")


@dataclass(frozen=True, slots=True)
class Way:
    """Where to go, and whom to trust."""

    address: str
    host: str
    region: str
    certs: str
    root: bytes
    """The CA's root, PEM."""
    roots: bytes
    """With those before it, and that of the gateway itself."""
    tls: bool = False
    """It speaks TLS before CONNECT too."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Gateway credentials to make a call with."""

    who: str
    keys: SigningKeys


class _Stopped(Exception):
    def __init__(self, reach: Reach, detail: str = "") -> None:
        super().__init__(reach)
        self.reach, self.detail = reach, detail


def walk(way: Way, caller: Caller | None) -> PassageFacts:
    """Give how far a client gets. Never raises, and never waits long."""
    facts = PassageFacts(way.address, way.host, way.certs, Reach.THROUGH)
    try:
        return _walk(facts, way, caller)
    except _Stopped as exc:
        return replace(facts, reach=exc.reach, detail=exc.detail)
    except (OSError, HTTPException) as exc:
        return replace(facts, reach=Reach.NO_TLS, detail=type(exc).__name__)


def _walk(facts: PassageFacts, way: Way, caller: Caller | None) -> PassageFacts:
    for roots, reach in ((way.root, Reach.THROUGH), (way.roots, Reach.EARLIER_CA)):
        try:
            return replace(_call(facts, way, roots, caller), reach=reach)
        except ssl.SSLCertVerificationError:
            continue
    return replace(facts, reach=Reach.OTHER_CA, detail=_issuer(way))


def skew_of(date: str, asked_at: float, answered_at: float) -> float | None:
    """Give how far a Date header is ahead of this clock, the time on the way left out."""
    try:
        theirs = parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None
    # A Date has no fraction: it may be a second old when it is fresh.
    if asked_at - 1 <= theirs <= answered_at + 1:
        return 0.0
    return theirs - answered_at if theirs > answered_at else theirs - asked_at


def _call(facts: PassageFacts, way: Way, roots: bytes, caller: Caller | None) -> PassageFacts:
    context = ssl.create_default_context(cadata=roots.decode("ascii"))
    with _tunnel(way) as sock, _wrapped(context, sock, way.host) as tls:
        asked_at = time.time()
        try:
            tls.sendall(_request(way, caller))
            response = HTTPResponse(cast("socket.socket", tls))  # it asks for makefile() alone
            response.begin()
            body = response.read(_BODY_BYTES).decode("utf-8", "replace")
        except (OSError, HTTPException):
            return facts  # trusted, and then nothing: the audit of the gateway has the reason
        skew_s = skew_of(response.headers.get("Date", ""), asked_at, time.time())
        answer = _answer(caller, response, body) if caller else None
        return replace(facts, skew_s=skew_s, answer=answer)


@contextmanager
def _tunnel(way: Way) -> Iterator[socket.socket]:
    try:
        sock = socket.create_connection(split(way.address), STEP_S)
    except socket.gaierror:
        raise _Stopped(Reach.UNKNOWN_HOST) from None
    except TimeoutError:
        raise _Stopped(Reach.SILENT) from None
    except OSError:
        raise _Stopped(Reach.REFUSED) from None
    with _secured(sock, way) as sock:
        _connect(sock, way.host)
        yield sock


def _secured(sock: socket.socket, way: Way) -> socket.socket:
    """Give the connection, with TLS to the proxy itself where it has that."""
    if not way.tls:
        return sock
    host, _ = split(way.address)
    context = ssl.create_default_context(cadata=way.roots.decode("ascii"))
    try:
        return context.wrap_socket(sock, server_hostname=host)
    except TimeoutError:
        raise _Stopped(Reach.SILENT) from None
    except OSError as exc:
        raise _Stopped(Reach.NO_PROXY, f"no TLS with the proxy itself: {exc}"[:200]) from None


def _wrapped(
    context: ssl.SSLContext, sock: socket.socket, host: str
) -> AbstractContextManager[ssl.SSLSocket | SSLTransport]:
    # The module ssl has no TLS in TLS of its own.
    if isinstance(sock, ssl.SSLSocket):
        return SSLTransport(sock, context, host)
    return context.wrap_socket(sock, server_hostname=host)


def _connect(sock: socket.socket, host: str) -> None:
    try:
        sock.sendall(f"CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n".encode())
        head = b""
        while b"\r\n\r\n" not in head:
            more = sock.recv(4096)
            if not more or len(head) > _HEAD_BYTES:
                break
            head += more
    except TimeoutError:
        raise _Stopped(Reach.SILENT) from None
    except OSError:
        raise _Stopped(Reach.NO_PROXY) from None
    matched = re.match(rb"HTTP/1\.[01] (\d{3})", head)
    if matched is None:
        raise _Stopped(Reach.NO_PROXY)
    if matched[1] != b"200":
        raise _Stopped(Reach.CONNECT_REFUSED, f"status {matched[1].decode()}")


def _issuer(way: Way) -> str:
    """Give who signed the certificate that is shown instead of ours."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # only looked at: nothing is sent
    try:
        with _tunnel(way) as sock, _wrapped(context, sock, way.host) as tls:
            raw = tls.getpeercert(True)
        return f"issuer {x509.load_der_x509_certificate(raw or b'').issuer.rfc4514_string()[:200]}"
    except (OSError, ValueError, _Stopped):
        return ""


def _request(way: Way, caller: Caller | None) -> bytes:
    headers = [(b"Host", way.host.encode()), (b"User-Agent", b"awsgate-doctor")]
    if caller is None:
        return _head("GET", headers)
    headers += [
        (b"Content-Type", b"application/x-www-form-urlencoded"),
        (b"Content-Length", str(len(_BODY)).encode()),
    ]
    signed = sign(
        "POST", b"/", headers, signed=["content-type"], keys=caller.keys, region=way.region,
        service="sts", payload=hashlib.sha256(_BODY).hexdigest(), now=datetime.now(UTC),
    )  # fmt: skip
    return _head("POST", signed) + _BODY


def _head(method: str, headers: list[tuple[bytes, bytes]]) -> bytes:
    lines = [f"{method} / HTTP/1.1".encode(), *(b"%b: %b" % pair for pair in headers)]
    return b"\r\n".join([*lines, b"Connection: close", b"", b""])


def _answer(caller: Caller, response: HTTPResponse, body: str) -> Answer:
    arn, message = _ARN.search(body), _MESSAGE.search(body)
    code = response.headers.get("x-awsgate-code", "")
    return Answer(
        who=caller.who,
        arn=arn[1] if arn and response.status == 200 else "",
        code=code,
        # Only the gateway's own words: an error of AWS's may quote the signed request.
        message=html.unescape(message[1]) if message and code else "",
        status=response.status,
    )
