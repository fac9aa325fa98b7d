"""A client that sends exactly the bytes it is told to, and reads one answer.

No HTTP library mends, folds or reorders anything here. What is signed is signed by
botocore (``signers``); the CONNECT, the TLS and the framing are the test's own.
"""

from __future__ import annotations

import re
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from awsgate.aws.sigv4 import SigningKeys
from awsgate.demo.processes import GatewayProcess
from awsgate.session import mint
from awsgate.state import open_state
from secretsnet import remember
from signers import Fields, Text, botocore_sign

TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Answer:
    """One HTTP answer."""

    status: int
    headers: dict[str, str]
    """Lower-case names."""
    body: bytes
    complete: bool = True
    """False if the connection ended before the announced body did."""

    @property
    def code(self) -> str:
        return self.headers.get("x-awsgate-code", "")


@dataclass(frozen=True)
class Call:
    """A request to be signed, with what a client of that protocol would send."""

    service: str
    host: str
    method: str = "POST"
    target: str = "/"
    headers: Text = ()
    body: bytes = b""
    region: str = "us-east-1"
    sign_body: bool = True
    chunked: bool = False
    """No Content-Length: the test frames the body itself."""

    def signed(self, keys: SigningKeys, when: datetime | None = None) -> Fields:
        """Give all header fields, Content-Length included."""
        headers = list(self.headers)
        if self.chunked:
            headers.append(("Transfer-Encoding", "chunked"))
        elif self.body or self.method in ("POST", "PUT"):
            headers.append(("Content-Length", str(len(self.body))))
        return botocore_sign(
            self.method,
            self.host,
            self.target,
            headers,
            self.body,
            service=self.service,
            region=self.region,
            keys=keys,
            when=when or datetime.now(UTC),
            sign_body=self.sign_body,
        )

    def wire(self, fields: Fields) -> bytes:
        """Give the request as it goes on the wire."""
        return head(self.method, self.target, fields) + self.body


def head(method: str, target: str, fields: Fields) -> bytes:
    """Give a request head, to its empty line."""
    lines = [f"{method} {target} HTTP/1.1".encode("latin-1")]
    lines += [name + b": " + value for name, value in fields]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def keys_of(env: dict[str, str]) -> SigningKeys:
    """Give the keys in the variables of ``awsgate env``."""
    remember(env["AWS_SECRET_ACCESS_KEY"], env["AWS_SESSION_TOKEN"])
    return SigningKeys(
        env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"], env["AWS_SESSION_TOKEN"]
    )


def mint_keys(
    state: Path,
    *,
    user: str,
    role: str,
    app: str = "awsconsole-test",
    entropy: bytes,
    issued_ago_s: int = 0,
    ttl_s: int = 3600,
) -> SigningKeys:
    """Make gateway credentials with the session key in ``state``."""
    made = mint(
        open_state(state).session_keys,
        user=user,
        app=app,
        role_arn=role,
        ttl_s=ttl_s,
        now=int(time.time()) - issued_ago_s,
        entropy=entropy,
    )
    remember(made.secret_access_key, made.session_token)
    return SigningKeys(made.access_key_id, made.secret_access_key, made.session_token)


@dataclass
class Wire:
    """A connection and what was read ahead from it."""

    sock: socket.socket
    buffered: bytes = field(default=b"", repr=False)

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def read_answer(self, *, method: str = "GET") -> Answer:
        """Read one answer; interim (1xx) answers are read over."""
        while True:
            raw = self._until(b"\r\n\r\n")
            status_line, *lines = raw.decode("latin-1").split("\r\n")[:-2]
            status = int(status_line.split(" ")[1])
            if status >= 200:
                break
        pairs = [line.partition(":") for line in lines]
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        if method == "HEAD" or status == 204:
            return Answer(status, headers, b"")
        body, complete = self._body(headers)
        return Answer(status, headers, body, complete)

    def at_end(self) -> bool:
        """True if the other side has closed, with nothing more to read."""
        try:
            return self.buffered == b"" and self.sock.recv(1) == b""
        except TimeoutError:
            return False
        except OSError:
            return True

    def _body(self, headers: dict[str, str]) -> tuple[bytes, bool]:
        if headers.get("transfer-encoding") == "chunked":
            return self._chunks()
        if "content-length" in headers:
            body = self._exactly(int(headers["content-length"]))
            return body, len(body) == int(headers["content-length"])
        return self._exactly(1 << 40), True

    def _chunks(self) -> tuple[bytes, bool]:
        body = b""
        while True:
            try:
                line = self._until(b"\r\n")
            except ConnectionError:
                return body, False
            size = int(line, 16)
            body += self._exactly(size + 2)[:size]
            if size == 0:
                return body, True

    def _until(self, end: bytes) -> bytes:
        while end not in self.buffered:
            data = self.sock.recv(65536)
            if not data:
                raise ConnectionError(f"closed after {len(self.buffered)} bytes of an answer")
            self.buffered += data
        cut = self.buffered.index(end) + len(end)
        found, self.buffered = self.buffered[:cut], self.buffered[cut:]
        return found

    def _exactly(self, size: int) -> bytes:
        parts, have = [self.buffered[:size]], min(size, len(self.buffered))
        self.buffered = self.buffered[size:]
        while have < size and (data := self.sock.recv(min(size - have, 1 << 20))):
            parts.append(data)
            have += len(data)
        return b"".join(parts)


@contextmanager
def plain(gateway: GatewayProcess) -> Iterator[Wire]:
    """Open a connection to the gateway itself: origin form, no CONNECT."""
    with socket.create_connection(("127.0.0.1", gateway.port), TIMEOUT_S) as sock:
        yield Wire(sock)


@contextmanager
def tunnel(gateway: GatewayProcess, host: str, port: int = 443) -> Iterator[Wire]:
    """Open a CONNECT tunnel, without TLS in it."""
    with plain(gateway) as wire:
        wire.send(f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
        raw = wire._until(b"\r\n\r\n")
        assert raw.split(b" ")[1] == b"200", raw
        yield wire


@contextmanager
def secure(
    gateway: GatewayProcess, host: str, *, sni: str | None = None, port: int = 443
) -> Iterator[Wire]:
    """Open a CONNECT tunnel with TLS in it. The gateway's CA alone is trusted."""
    context = ssl.create_default_context(cafile=str(gateway.certs / "ca-cert.pem"))
    with (
        tunnel(gateway, host, port) as outer,
        context.wrap_socket(outer.sock, server_hostname=sni or host) as sock,
    ):
        yield Wire(sock)


def ask(gateway: GatewayProcess, host: str, raw: bytes, *, method: str = "GET") -> Answer:
    """Send ``raw`` through a fresh CONNECT tunnel, and give the answer."""
    with secure(gateway, host) as wire:
        wire.send(raw)
        return wire.read_answer(method=method)


def served(gateway: GatewayProcess, call: Call, fields: Fields) -> int:
    """Send a request that should be let through, wait for its audit line, give the status."""
    before = len(gateway.audit())
    answer = ask(gateway, call.host, call.wire(fields), method=call.method)
    audit_after(gateway, before, lines=1)
    return answer.status


def metric(text: str, name: str, **labels: str) -> float:
    """Give the sum of all samples of ``name`` that have these labels."""
    total = 0.0
    for line in text.splitlines():
        matched = re.fullmatch(rf"{name}(?:\{{(.*)\}})? (\S+)", line)
        if matched is None:
            continue
        found = dict(re.findall(r'(\w+)="([^"]*)"', matched[1] or ""))
        if all(found.get(key) == value for key, value in labels.items()):
            total += float(matched[2])
    return total


def audit_after(gateway: GatewayProcess, count: int, *, lines: int) -> list[dict[str, Any]]:
    """Give the audit lines after the first ``count``, once there are ``lines`` of them."""
    return gateway.audit(at_least=count + lines)[count:]


def without(fields: Fields, *names: bytes) -> Fields:
    """Give the fields but for these names (lower-case)."""
    return [(name, value) for name, value in fields if name.lower() not in names]


def replaced(fields: Fields, name: bytes, value: bytes) -> Fields:
    """Give the fields with another value for ``name`` (lower-case)."""
    return [(n, value if n.lower() == name else v) for n, v in fields]
