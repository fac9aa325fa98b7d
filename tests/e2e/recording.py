"""Upstreams that record every byte, and gateways in front of them.

``Recorder`` stands for AWS, for STS and for the rest of the world: it keeps what
arrives and answers each request with the same 200. TLS is recognised by its first
byte, so one port is both; what is recorded is then what was inside.
"""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Lock, Thread

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from awsgate.aws.sigv4 import SigningKeys
from awsgate.demo.embedded_aws import ACCOUNT, POWER_ROLE
from awsgate.demo.processes import GatewayProcess
from rawclient import mint_keys

HERE = Path(__file__).parent
ENTRY_SCRIPT = HERE.parents[1] / "addons" / "awsgate.py"

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

BASE_KEYS = {"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": "made-up"}

ASSUMED = f"""\
<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>
<AssumedRoleUser><AssumedRoleId>AROA:bob</AssumedRoleId><Arn>{POWER_ROLE}</Arn></AssumedRoleUser>
<Credentials><AccessKeyId>ASIAIOSFODNN7EXAMPLE</AccessKeyId>
<SecretAccessKey>made-up-too</SecretAccessKey><SessionToken>made-up-token</SessionToken>
<Expiration>{datetime.now(UTC) + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}</Expiration></Credentials>
</AssumeRoleResult><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata>
</AssumeRoleResponse>""".encode()


class Recorder:
    """A server on loopback that keeps every byte of every connection."""

    def __init__(self, *, answer: bytes = OK, tls: ssl.SSLContext | None = None) -> None:
        recorder, self._lock = self, Lock()
        self._received: list[bytes] = []
        self.connections = 0

        class Handler(BaseRequestHandler):
            def handle(self) -> None:
                with suppress(OSError):  # the other side is gone; what it sent is kept
                    recorder._serve(self.request, answer, tls)

        class Server(ThreadingTCPServer):
            daemon_threads = True
            # Joining the threads of idle keep-alive connections would never end.
            block_on_close = False

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def received(self) -> bytes:
        """Give everything so far, in order of arrival."""
        with self._lock:
            return b"".join(self._received)

    def heads(self) -> list[bytes]:
        """Give the request lines so far."""
        return re.findall(rb"(?:GET|POST|PUT|DELETE) \S+ HTTP/1\.1(?=\r\n)", self.received())

    def reset(self) -> None:
        with self._lock:
            self._received.clear()
            self.connections = 0

    def _serve(self, sock: socket.socket, answer: bytes, tls: ssl.SSLContext | None) -> None:
        with self._lock:
            self.connections += 1
        if tls is not None and sock.recv(1, socket.MSG_PEEK) == b"\x16":
            with tls.wrap_socket(sock, server_side=True) as inside:
                self._record(inside, answer)
        else:
            self._record(sock, answer)

    def _record(self, sock: socket.socket, answer: bytes) -> None:
        pending = b""
        while data := sock.recv(65536):
            with self._lock:
                self._received.append(data)
            pending += data
            while (rest := _after_request(pending)) is not None:
                pending = rest
                sock.sendall(answer)


def _after_request(data: bytes) -> bytes | None:
    """Give what follows one whole request, or None if it is not all there."""
    head, end, rest = data.partition(b"\r\n\r\n")
    if not end:
        return None
    found = re.search(rb"(?im)^content-length: *(\d+)", head)
    size = int(found[1]) if found else 0
    return rest[size:] if len(rest) >= size else None


def http_answer(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def throwaway_certificate(folder: Path, hosts: Sequence[str]) -> tuple[ssl.SSLContext, Path]:
    """Make a self-signed certificate: the server's context, and the file to trust."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "throw-away upstream")])
    now = datetime.now(UTC)
    public = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(h) for h in hosts]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .add_extension(public, False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(public), False
        )
        .sign(key, hashes.SHA256())
    )
    trusted, pair = folder / "upstream-cert.pem", folder / "upstream.pem"
    trusted.write_bytes(certificate.public_bytes(Encoding.PEM))
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    pair.write_bytes(private + trusted.read_bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair)
    return context, trusted


def write_policy(path: Path, **gateway: object) -> Path:
    """Write a policy with one user, bob, and these settings in ``kind: gateway``."""
    documents = [
        _document("role", "v5", "power", allow={
            "app_labels": {"*": "*"}, "aws_role_arns": [POWER_ROLE],
        }),
        _document("user", "v2", "bob", roles=["power"]),
        _document("gateway", "v1", "gateway", **gateway),
        _document("app", "v3", "test", uri="https://console.aws.amazon.com/"),
    ]  # fmt: skip
    documents[3]["metadata"]["labels"] = {"aws_account_id": ACCOUNT}
    path.write_text("\n---\n".join(map(json.dumps, documents)), "utf-8")
    return path


def _document(kind: str, version: str, name: str, **spec: object) -> dict[str, dict[str, object]]:
    document: dict[str, object] = {"kind": kind, "version": version, "metadata": {"name": name}}
    return {**document, "spec": spec}  # type: ignore[dict-item]


def bob_of(gateway: GatewayProcess) -> SigningKeys:
    """Make gateway credentials for bob of ``write_policy``."""
    return mint_keys(gateway.state, user="bob", role=POWER_ROLE, app="test", entropy=os.urandom(32))


def wait_until(what: Callable[[], bool], *, within_s: float = 10.0) -> bool:
    """True as soon as ``what`` is; False if it never is."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if what():
            return True
        time.sleep(0.02)
    return what()
