"""The root that a gateway's certificates lead to, and its pin: the digest of its key.

is_pin     a text -> whether it has the form of a pin
pin_of     a certificate -> its pin
roots_in   PEM    -> its certificates, each with its pin
root_in    a file -> the one of a pin
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from awsgate.paths import read_private

if TYPE_CHECKING:
    from cryptography import x509

PIN_PREFIX = "sha256:"


@dataclass(frozen=True, slots=True)
class Root:
    """A certificate to trust: PEM, and its pin."""

    pem: str
    pin: str


def is_pin(text: str) -> bool:
    """True if that is a pin: ``sha256:`` and 64 hexadecimal digits."""
    digits = text.removeprefix(PIN_PREFIX)
    return text != digits and len(digits) == 64 and set(digits) <= set("0123456789abcdef")


def pin_of(cert: x509.Certificate) -> str:
    """Give the pin of a root: it stays when the root is made anew with the same key."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = cert.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return PIN_PREFIX + hashlib.sha256(key).hexdigest()


def roots_in(pem: bytes) -> list[Root]:
    """Give the certificates of a PEM text, each with its pin. Raises ``ValueError``."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    return [
        Root(cert.public_bytes(Encoding.PEM).decode("ascii"), pin_of(cert))
        for cert in x509.load_pem_x509_certificates(pem)
    ]


def root_in(path: Path, pin: str) -> Root | None:
    """Give the root of that pin out of a file of ours; None: it does not hold it."""
    try:
        found = roots_in(read_private(path) or b"")
    except ValueError:
        return None
    return next((root for root in found if root.pin == pin), None)
