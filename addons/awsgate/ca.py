"""The gateway's own CA: made on first start, checked on every start, rotated.

    root      signs one certificate, then its key is thrown away; clients trust it
    issuing   signs the certificate of each AWS host; constrained to AWS's names

Whoever steals the issuing key can imitate AWS to these clients, and nothing else:
the name constraints hold wherever the chain is checked. They are on the issuing CA
since Java ignores them on a trust anchor.

The folder is mitmproxy's confdir. mitmproxy reads ``mitmproxy-ca.pem`` (issuing key,
issuing certificate, root) and, since there is more than one certificate in it, sends
the chain along with each leaf. That file is the CA; the others follow from it and are
written anew at each start, so that a crash leaves nothing half made.

Not here: the certificates of the hosts (mitmproxy makes them), and how clients come
to trust the root. Which file is for whom: certs/README.md.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_network
from pathlib import Path

import certifi
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from awsgate.certmaking import (
    GATEWAY_ROOT_NAME,
    HARMLESS,
    WARN_BEFORE,
    builder,
    is_ours,
    lasting,
    name_of,
    pem_of,
    pem_of_key,
    update,
)
from awsgate.errors import SetupError
from awsgate.paths import folder_lock, private_folder, read_private, write_file

CA_NAME = "mitmproxy-ca.pem"
MITMPROXY_CERT_NAME = "mitmproxy-ca-cert.pem"
CERT_NAME = "ca-cert.pem"
PREVIOUS_NAME = "previous-ca-cert.pem"
BUNDLE_NAME = "ca-bundle.pem"

ROOT_LIFE = timedelta(days=5 * 365)
ISSUING_LIFE = timedelta(days=2 * 365)

_ROTATE = "awsgate ca rotate"
_NO_ADDRESSES = tuple(x509.IPAddress(ip_network(net)) for net in ("0.0.0.0/0", "::/0"))


@dataclass(frozen=True, slots=True)
class CertificateAuthority:
    """A CA that is fit to serve."""

    folder: Path
    """mitmproxy's confdir."""
    root_cert: Path
    """What clients trust: the root alone, and during a rotation the one before it."""
    bundle: Path
    """System roots and ``root_cert``, for settings that replace the store."""
    not_after: datetime
    """When the first of root and issuing CA ends."""
    fingerprint: str
    """SHA-256 of the root, in hex."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Material:
    """What ``mitmproxy-ca.pem`` holds. The key stays where it is: in the file."""

    issuing: x509.Certificate
    root: x509.Certificate

    @property
    def not_after(self) -> datetime:
        return min(self.issuing.not_valid_after_utc, self.root.not_valid_after_utc)


def ensure_ca(folder: Path, *, suffixes: Sequence[str], now: datetime) -> CertificateAuthority:
    """Check the CA in ``folder``, and make one if there is none.

    ``suffixes`` are the domains it may sign for, subdomains included, such as
    ``amazonaws.com``. Processes that start at once agree on one CA. A CA that awsgate
    did not make is never replaced.

    Raises ``SetupError`` if the folder or key is open to others, or the CA is foreign,
    damaged or expired.
    """
    folder = folder.absolute()
    private_folder(folder, harmless=HARMLESS)
    with folder_lock(folder):
        raw = read_private(folder / CA_NAME)
        if raw is None:
            raw = _create(suffixes, now)
            write_file(folder / CA_NAME, raw, mode=0o600)
        return _publish(folder, _load(folder / CA_NAME, raw, now), suffixes, now)


def rotate_ca(
    folder: Path, *, suffixes: Sequence[str], now: datetime, keep_previous: bool = True
) -> CertificateAuthority:
    """Make a new CA. Clients need the new ``root_cert``; gateways take it at their start.

    The old root stays in ``root_cert`` and ``bundle`` until it expires, so that
    clients which have the new files also trust a gateway that still serves the old
    chain. ``keep_previous`` is for a key that leaked: off, the old root goes at once.

    Raises ``SetupError`` as ``ensure_ca`` does, but an expired CA is replaced.
    """
    folder = folder.absolute()
    private_folder(folder, harmless=HARMLESS)
    with folder_lock(folder):
        raw = read_private(folder / CA_NAME)
        known = _previous_roots(folder, now)
        if raw is not None:
            known.insert(0, _load(folder / CA_NAME, raw, None).root)
        # First, so that a crash in between loses no root that clients rely on.
        if keep_previous:
            write_file(folder / PREVIOUS_NAME, pem_of(known), mode=0o644)
        else:
            (folder / PREVIOUS_NAME).unlink(missing_ok=True)
        fresh = _create(suffixes, now)
        write_file(folder / CA_NAME, fresh, mode=0o600)
        return _publish(folder, _load(folder / CA_NAME, fresh, now), suffixes, now)


# --- making ---------------------------------------------------------------------


def _create(suffixes: Sequence[str], now: datetime) -> bytes:
    """Give issuing key, issuing certificate and root as PEM. The root key ends here."""
    root_key, issuing_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    short_id = f"{x509.random_serial_number():040x}"[:8]
    root_name = name_of(f"awsgate root {short_id}")
    root = (
        builder(root_name, root_name, root_key, root_key, now, ROOT_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
        .sign(root_key, hashes.SHA256())
    )
    issuing = (
        builder(
            name_of(f"awsgate issuing {short_id}"),
            root_name,
            issuing_key,
            root_key,
            now,
            ISSUING_LIFE,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            # A constraint binds names of its own form only, so addresses are shut out
            # by name. "amazonaws.com" covers its subdomains and not notamazonaws.com
            # (RFC 5280, 4.2.1.10).
            x509.NameConstraints(
                [x509.DNSName(name) for name in sorted(_domains(suffixes))], _NO_ADDRESSES
            ),
            critical=True,
        )
        .sign(root_key, hashes.SHA256())
    )
    return pem_of_key(issuing_key) + pem_of([issuing, root])


def _domains(suffixes: Sequence[str]) -> frozenset[str]:
    return frozenset(suffix.strip(".").lower() for suffix in suffixes)


# --- checking -------------------------------------------------------------------


def _load(path: Path, raw: bytes, now: datetime | None) -> _Material:
    """Read and check the CA file. Without ``now`` its dates do not matter."""
    try:
        key = serialization.load_pem_private_key(raw, None)
        certs = x509.load_pem_x509_certificates(raw)
    except (ValueError, TypeError) as exc:
        # No text of theirs: it may quote what it could not read.
        raise _unusable(path, f"cannot be read ({type(exc).__name__})") from None
    if not all(is_ours(cert) for cert in certs) or _permitted(certs[0]) is None:
        raise SetupError(
            f"{path} holds a CA that awsgate did not make, and which may sign for any host",
            hint="name an empty folder for awsgate's CA, or move that file away",
        )
    if len(certs) != 2:
        raise _unusable(path, f"holds {len(certs)} certificates, expected issuing CA and root")
    material = _Material(*certs)
    if material.issuing.public_key() != key.public_key():
        raise _unusable(path, "holds a key that does not belong to its certificate")
    try:
        material.issuing.verify_directly_issued_by(material.root)
        material.root.verify_directly_issued_by(material.root)
    except (InvalidSignature, ValueError, TypeError):
        raise _unusable(path, "holds an issuing CA that its root did not sign") from None
    if now is not None:
        _check_dates(path, material, now)
    return material


def _check_dates(path: Path, material: _Material, now: datetime) -> None:
    if now >= material.not_after:
        raise SetupError(
            f"the CA in {path.parent} expired on {material.not_after:%Y-%m-%d}",
            hint=f"{_ROTATE} makes a new one; clients then need the new {CERT_NAME}",
        )
    starts = max(cert.not_valid_before_utc for cert in (material.issuing, material.root))
    if now < starts:
        raise SetupError(
            f"the CA in {path.parent} is not valid before {starts:%Y-%m-%d %H:%M} UTC",
            hint="set the clock of this machine",
        )


def _permitted(cert: x509.Certificate) -> frozenset[str] | None:
    """Give the domains that a CA is constrained to; None if it is not constrained."""
    try:
        found = cert.extensions.get_extension_for_class(x509.NameConstraints)
    except x509.ExtensionNotFound:
        return None
    subtrees = found.value.permitted_subtrees
    return frozenset(name.value for name in subtrees) if found.critical and subtrees else None


def _unusable(path: Path, what: str) -> SetupError:
    return SetupError(
        f"CA file {path} {what}",
        hint=f"restore it from a backup; or rm {path}, and give the new {CERT_NAME} to all clients",
    )


def _warnings(material: _Material, suffixes: Sequence[str], now: datetime) -> tuple[str, ...]:
    found = []
    left = material.not_after - now
    if left < WARN_BEFORE:
        found.append(f"the CA expires in {left.days} days: plan {_ROTATE}")
    missing = sorted(_domains(suffixes) - (_permitted(material.issuing) or frozenset()))
    if missing:
        found.append(f"the CA may not sign for {', '.join(missing)}: {_ROTATE} makes one that may")
    return tuple(found)


# --- publishing -----------------------------------------------------------------


def _publish(
    folder: Path, material: _Material, suffixes: Sequence[str], now: datetime
) -> CertificateAuthority:
    """Write the files that follow from the CA, and describe it."""
    previous = [cert for cert in _previous_roots(folder, now) if cert != material.root]
    roots = pem_of([material.root, *previous])
    update(folder / MITMPROXY_CERT_NAME, pem_of([material.root]))
    roots += _gateway_roots(folder)
    update(folder / CERT_NAME, roots)
    update(folder / BUNDLE_NAME, _system_roots() + roots)
    return CertificateAuthority(
        folder=folder,
        root_cert=folder / CERT_NAME,
        bundle=folder / BUNDLE_NAME,
        not_after=material.not_after,
        fingerprint=material.root.fingerprint(hashes.SHA256()).hex(),
        warnings=_warnings(material, suffixes, now),
    )


def _gateway_roots(folder: Path) -> bytes:
    """Give the roots of the gateway's own certificate (``servercert``), if it has one."""
    path = folder / GATEWAY_ROOT_NAME
    if path.is_symlink() or not path.is_file():
        return b""
    try:
        return pem_of(x509.load_pem_x509_certificates(path.read_bytes()))
    except ValueError:
        raise SetupError(
            f"{path} holds no certificates", hint=f"rm {path}, and start the gateway again"
        ) from None


def _previous_roots(folder: Path, now: datetime) -> list[x509.Certificate]:
    path = folder / PREVIOUS_NAME
    if not path.is_file() or not (raw := path.read_bytes().strip()):
        return []
    try:
        certs = x509.load_pem_x509_certificates(raw)
    except ValueError:
        raise SetupError(
            f"{path} holds no certificates", hint=f"rm {path} ends the trust in the old CA"
        ) from None
    return lasting(certs, now)


def _system_roots() -> bytes:
    # The compiled-in place, not SSL_CERT_FILE: on a machine that is a client of a
    # gateway too, that variable names a bundle such as ours, which would then grow
    # into itself.
    compiled_in = ssl.get_default_verify_paths().openssl_cafile
    places = (
        Path(compiled_in),
        Path("/etc/ssl/certs/ca-certificates.crt"),  # Debian, Alpine, Arch
        Path("/etc/pki/tls/certs/ca-bundle.crt"),  # Fedora, RHEL, Amazon Linux
        Path(certifi.where()),
    )
    for place in places:
        if place.is_file() and (raw := place.read_bytes()).count(b"-----BEGIN CERTIFICATE-----"):
            return raw.rstrip(b"\n") + b"\n"
    return b""
