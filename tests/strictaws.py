"""An AWS of one socket that issues known keys, and checks everything signed with them.

STS and S3 on one port: AssumeRole answers with ``KEYS``; anything else is verified
with botocore against them, hashed, and kept in ``arrived`` byte for byte (the body's
hash and size; the body itself where it is small or asked for).
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any
from urllib.parse import quote, unquote_plus

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from awsgate.aws.sigv4 import SigningKeys

KEYS = SigningKeys("ASIASTRICTAWSEXAMPLE", "canary-strict/secret+key", "canary-strict-token//+==")

BIG = 64 * 1024 * 1024
BLOCK = bytes(range(256)) * 4096  # 1 MiB

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, "
    r"SignedHeaders=([^,]+), Signature=([0-9a-f]{64})"
)


@dataclass(frozen=True)
class Arrived:
    """One request as it came over the wire."""

    method: str
    target: str
    fields: tuple[tuple[str, str], ...]
    body: bytes = field(repr=False)
    """Empty if it was over 1 MiB and ``keep_bodies`` was off."""
    body_sha256: str
    body_bytes: int
    fault: str
    """What is wrong with its signature; empty if nothing is."""

    def values(self, name: str) -> list[str]:
        return [value for n, value in self.fields if n.lower() == name]


class StrictAws:
    """The server, on a port of its own, in threads of this process."""

    def __init__(self) -> None:
        self.arrived: list[Arrived] = []
        self.keep_bodies = False
        aws = self

        class Handler(StreamRequestHandler):
            def handle(self) -> None:
                try:
                    while aws._one(self):
                        pass
                except OSError:
                    pass  # the gateway has gone

        class Server(ThreadingTCPServer):
            daemon_threads = True
            block_on_close = False

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _one(self, handler: StreamRequestHandler) -> bool:
        request_line = handler.rfile.readline().decode("latin-1").rstrip("\r\n")
        if not request_line:
            return False
        method, target, _ = request_line.split(" ")
        fields = []
        while line := handler.rfile.readline().decode("latin-1").rstrip("\r\n"):
            name, _, value = line.partition(":")
            fields.append((name, value.strip(" ")))
        body, digest, size = self._body(handler.rfile, {n.lower(): v for n, v in fields})
        if body.startswith(b"Action=AssumeRole&"):
            handler.wfile.write(assumed_answer())
            return True
        fault = fault_of(method, target, fields)
        self.arrived.append(Arrived(method, target, tuple(fields), body, digest, size, fault))
        if target.startswith("/big"):
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BIG)
            for _ in range(BIG // len(BLOCK)):
                handler.wfile.write(BLOCK)
        else:
            handler.wfile.write(_answer(b"", b'ETag: "e"\r\n'))
        return True

    def _body(self, rfile: Any, headers: dict[str, str]) -> tuple[bytes, str, int]:
        digest, size, kept = hashlib.sha256(), 0, bytearray()
        for piece in _pieces(rfile, headers):
            digest.update(piece)
            size += len(piece)
            if self.keep_bodies or size <= len(BLOCK):
                kept += piece
        return bytes(kept), digest.hexdigest(), size


def _pieces(rfile: Any, headers: dict[str, str]) -> Iterator[bytes]:
    if headers.get("transfer-encoding") == "chunked":
        while size := int(rfile.readline(), 16):
            yield rfile.read(size)
            rfile.readline()
        rfile.readline()
        return
    left = int(headers.get("content-length", "0"))
    while left:
        piece = rfile.read(min(left, len(BLOCK)))
        if not piece:
            raise OSError("closed within a body")
        left -= len(piece)
        yield piece


def fault_of(method: str, target: str, fields: list[tuple[str, str]]) -> str:
    """Check a request with botocore's own steps. Gives what is wrong, or nothing."""
    by_name = {name.lower(): value for name, value in fields}
    if len(by_name) != len(fields):
        return "a header is there twice"
    matched = _AUTHORIZATION.fullmatch(by_name.get("authorization", ""))
    if matched is None:
        return "no signature"
    key, day, region, service, names, signature = matched.groups()
    if key != KEYS.access_key_id or by_name.get("x-amz-security-token") != KEYS.session_token:
        return "not the assumed role"
    if not by_name["x-amz-date"].startswith(day):
        return "another day"
    path, _, query = target.partition("?")
    url = f"https://{by_name['host']}{path}" + (f"?{_canonical(query)}" if query else "")
    request = AWSRequest(method=method, url=url)
    for name in names.split(";"):
        if name not in by_name:
            return f"{name} is signed and not there"
        request.headers[name] = by_name[name]
    unsigned = [n for n in by_name if n.startswith("x-amz-") and n not in names.split(";")]
    if unsigned or "host" not in names.split(";"):
        return f"not signed: {unsigned}"
    request.context["timestamp"] = by_name["x-amz-date"]
    credentials = Credentials(KEYS.access_key_id, KEYS.secret_access_key, KEYS.session_token)
    signer: Any = (S3SigV4Auth if service == "s3" else SigV4Auth)(credentials, service, region)
    text = signer.string_to_sign(request, signer.canonical_request(request))
    return "" if signer.signature(text, request) == signature else "SignatureDoesNotMatch"


def _canonical(query: str) -> str:
    pairs = [item.partition("=") for item in query.split("&")]
    return "&".join(
        f"{quote(unquote_plus(name), safe='~')}={quote(unquote_plus(value), safe='~')}"
        for name, _, value in pairs
    )


def assumed_answer() -> bytes:
    """Give what STS answers: ``KEYS``, for an hour."""
    return _answer(_assumed())


def _answer(body: bytes, more: bytes = b"") -> bytes:
    return b"HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n" % (more, len(body)) + body


def _assumed() -> bytes:
    until = datetime.now(UTC) + timedelta(hours=1)
    return f"""<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<AssumeRoleResult><Credentials><AccessKeyId>{KEYS.access_key_id}</AccessKeyId>
<SecretAccessKey>{KEYS.secret_access_key}</SecretAccessKey>
<SessionToken>{KEYS.session_token}</SessionToken>
<Expiration>{until:%Y-%m-%dT%H:%M:%SZ}</Expiration></Credentials></AssumeRoleResult>
<ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></AssumeRoleResponse>""".encode()
