"""How the gateway's certificates are made and kept, for its two roots (``ca``, ``servercert``).

Keys are EC P-256, which every client knows. A certificate is backdated, for clients whose
clock is behind.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from awsgate.paths import write_file

ORGANIZATION = "awsgate"
GATEWAY_ROOT_NAME = "gateway-root.pem"
"""The root of the gateway's own certificate: it joins what clients are given to trust."""
WARN_BEFORE = timedelta(days=30)
BACKDATE = timedelta(days=2)  # mitmproxy's own figure
HARMLESS = frozenset({"README.md", ".gitignore"})
"""What a checkout has in the folder of the certificates (``paths.private_folder``)."""


def builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer_key: ec.EllipticCurvePrivateKey,
    now: datetime,
    life: timedelta,
    *,
    ca: bool = True,
) -> x509.CertificateBuilder:
    """Begin a certificate: names, keys, dates, key usage."""
    issuer_id = x509.SubjectKeyIdentifier.from_public_key(issuer_key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + life)
        .add_extension(
            x509.KeyUsage(
                digital_signature=not ca,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=ca,
                crl_sign=ca,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_id),
            critical=False,
        )
    )


def name_of(common_name: str) -> x509.Name:
    """Give the name of a certificate of the gateway's own."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANIZATION),
        ]
    )


def is_ours(cert: x509.Certificate) -> bool:
    """True if a gateway made it, or somebody who says so: no proof of anything."""
    owner = cert.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    return [attribute.value for attribute in owner] == [ORGANIZATION]


def lasting(certs: Iterable[x509.Certificate], now: datetime) -> list[x509.Certificate]:
    """Give those of a file of roots that may stay in it: ours, and not ended."""
    return [cert for cert in certs if is_ours(cert) and now < cert.not_valid_after_utc]


def update(path: Path, content: bytes) -> None:
    """Write a public file, if it is not there as it should be."""
    # Not written when unchanged: a client may be reading it, and some watch it.
    if path.is_symlink() or not path.is_file() or path.read_bytes() != content:
        write_file(path, content, mode=0o644)


def pem_of(certs: Iterable[x509.Certificate]) -> bytes:
    """Give certificates as PEM, one after the other."""
    return b"".join(cert.public_bytes(serialization.Encoding.PEM) for cert in certs)


def pem_of_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Give a private key as PEM."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
