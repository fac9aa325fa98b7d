"""AWS's console as a browser sees it: the sign-in host sends who has a token to their page.

Before the sign-in endpoint of ``e2e.signin_server``, which checks the keys at the embedded
STS: TLS with a certificate of the test's, and a page that says as whom one has come.
"""

from __future__ import annotations

import base64
import hashlib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import NameOID

from e2e.signin_server import SigninServer
from httpserving import QuietHandler, http_server

NAMES = ("*.signin.aws.amazon.com", "*.console.aws.amazon.com", "console.aws.amazon.com")


@dataclass
class AwsConsole:
    """A console that answers."""

    signin: SigninServer
    port: int
    trusted: str
    """Its certificate's key, as a browser is told to trust it."""
    headers: list[str] = field(default_factory=list)
    """Of all requests, but for the request lines."""
    pages: list[str] = field(default_factory=list)
    """The pages that were asked for."""

    @property
    def rules(self) -> str:
        """Give the rules by which a browser finds it."""
        return ", ".join(f"MAP {name} 127.0.0.1:{self.port}" for name in NAMES)


@contextmanager
def aws_console(signin: SigninServer, folder: Path) -> Iterator[AwsConsole]:
    """Serve it."""

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            console.headers.append(str(self.headers))
            parts = urlsplit(self.path)
            if ".signin." in self.headers["Host"] and parts.path == "/federation":
                page = signin.login(self.headers["Host"], parse_qs(parts.query))
                self.send_response(302 if page else 403)
                if page:
                    self.send_header("Location", page)
                self.end_headers()
                return
            console.pages.append(f"https://{self.headers['Host']}{self.path}")
            arn = signin.landed[-1][1] if signin.landed else "nobody"
            page = f"<!DOCTYPE html><title>console</title><p>You are {arn}"
            self.answer(200, page, "text/html; charset=utf-8")

    cert, trusted = _certificate(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert)
    with http_server(Handler, context) as url:
        console = AwsConsole(signin, urlsplit(url).port or 0, trusted)
        yield console


def _certificate(folder: Path) -> tuple[Path, str]:
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "the console of the tests")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(one) for one in NAMES]), False)
        .sign(key, hashes.SHA256())
    )
    file = folder / "console.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(private + made.public_bytes(Encoding.PEM))
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return file, base64.b64encode(hashlib.sha256(spki).digest()).decode()
