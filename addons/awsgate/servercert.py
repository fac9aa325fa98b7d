"""The certificate of the gateway itself: for TLS to the proxy, and for the control API.

The CA that imitates AWS is constrained to AWS's names, so it cannot speak for the gateway's
own. This is another root, and its key is thrown away as soon as it has signed the one
certificate: nobody can make a second one, the gateway itself included. Clients trust the
root (it is in both bundles), or know it by its pin: what they met first is what they meet
again.

    gateway.key         0600, the key of the certificate
    gateway.pem         the certificate, and the root
    gateway-root.pem    the root; after a change also those before it, until they end

Another certificate means another root and another pin. So it is made anew only when the
names change or its end is near, and that is said.

Or the operator has a certificate (``spec.certificate``): then these files are not used, but
its last certificate is what clients trust.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from awsgate.address import host_of
from awsgate.aws.endpoint import resolve_endpoint
from awsgate.certmaking import (
    GATEWAY_ROOT_NAME,
    HARMLESS,
    WARN_BEFORE,
    builder,
    lasting,
    name_of,
    pem_of,
    pem_of_key,
    update,
)
from awsgate.errors import SetupError
from awsgate.paths import folder_lock, private_folder, read_private, write_file
from awsgate.pins import pin_of
from awsgate.policy.settings import Certificate, GatewaySpec

CERT_NAME = "gateway.pem"
KEY_NAME = "gateway.key"
MAGIC_HOST = "awsgate.internal"
"""The control API's name inside the proxy."""
ALWAYS = (MAGIC_HOST, "localhost", "127.0.0.1", "::1")
LIFE = timedelta(days=2 * 365)  # some clients take no certificate of more than 825 days
_MOST_PREVIOUS = 4
_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(\.{_LABEL})*")


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """A certificate that is fit to serve."""

    cert: Path
    """The chain, as PEM: the certificate first."""
    key: Path
    root: bytes
    """PEM of the root to trust; of the operator's own: the last certificate of the chain."""
    pin: str
    """``sha256:`` and, in hex, the SHA-256 of the root's SubjectPublicKeyInfo."""
    warnings: tuple[str, ...] = ()

    def context(self) -> ssl.SSLContext:
        """Give the server's side of TLS with it. Raises ``SetupError``."""
        return context_of(self.cert, self.key)


def context_of(cert: Path, key: Path) -> ssl.SSLContext:
    """Give the server's side of TLS with a certificate. Raises ``SetupError``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    try:
        # Without one, OpenSSL asks for a password on the terminal.
        context.load_cert_chain(cert, key, password=_no_password)
    except (OSError, ValueError) as exc:
        raise SetupError(
            f"certificate {cert} and key {key} cannot be used ({_why(exc)})",
            hint="both as PEM, the key without a password and of this certificate",
        ) from None
    return context


def certificate_for(folder: Path, spec: GatewaySpec, *, now: datetime) -> ServerCertificate | None:
    """Give the certificate that the policy asks for; None: it asks for no TLS of ours.

    Its names are those of ``spec.names``, and where it listens. Raises as
    ``ensure_server_certificate`` does.
    """
    if not (spec.tls or spec.control.listen or spec.names or spec.certificate):
        return None
    names = list(spec.names)
    if spec.certificate is None:
        places = [host_of(spec.listen), host_of(spec.control.listen)]
        names += [host for host in places if host and not _is_anywhere(host)]
        names += filter(None, [urlsplit(spec.control.url).hostname])
    return ensure_server_certificate(folder, names, spec.certificate, now=now)


def _is_anywhere(host: str) -> bool:
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return False


def ensure_server_certificate(
    folder: Path, names: Sequence[str], own: Certificate | None, *, now: datetime
) -> ServerCertificate:
    """Check the gateway's own certificate, and make one if there is none for ``names``.

    ``names`` are host names and addresses. The root is written where ``ca.ensure_ca``
    finds it: call that after this. Processes that start at once agree on one.

    Raises ``SetupError`` if a name is none, the key is open to others, or the operator's
    own certificate is not in order.
    """
    folder = folder.absolute()
    wanted = _wanted(names)
    private_folder(folder, harmless=HARMLESS)
    with folder_lock(folder):
        if own is not None:
            found = _operators(own, names, now)
            _publish(folder, x509.load_pem_x509_certificate(found.root), now)
            return found
        raw = read_private(folder / KEY_NAME)
        kept = _kept(folder, raw, wanted, now)
        if isinstance(kept, str):
            return _made(folder, wanted, now, why=kept if _was_there(folder) else "")
        _publish(folder, kept, now)
        return _described(folder, kept)


def renew_server_certificate(folder: Path, *, now: datetime) -> ServerCertificate | None:
    """Make another key, certificate and root for the same names; None: there is none.

    The old root stays among those to trust, as ``ca.rotate_ca`` has it.
    """
    folder = folder.absolute()
    private_folder(folder, harmless=HARMLESS)
    with folder_lock(folder):
        chain = _certificates(folder / CERT_NAME)
        if not chain:
            return None
        return _made(folder, _names_of(chain[0]), now, why="")


# --- names ----------------------------------------------------------------------


def _wanted(names: Sequence[str]) -> tuple[str, ...]:
    """Give all names of the certificate, each once, in their one form."""
    return tuple(dict.fromkeys([*(_normal(name) for name in names), *ALWAYS]))


def _normal(name: str) -> str:
    text = name.strip().rstrip(".").lower()
    try:
        return str(ip_address(text.strip("[]")))
    except ValueError:
        pass
    if not _HOST.fullmatch(text):
        raise SetupError(
            f"{name!r} cannot be a name of the gateway",
            hint="spec.names of kind: gateway takes host names and addresses, without "
            "scheme, port or wildcard",
        )
    if resolve_endpoint(text) is not None:
        raise SetupError(
            f"{name!r} is a host of AWS's, and cannot be a name of the gateway",
            hint="spec.names of kind: gateway says what clients call the gateway itself",
        )
    return text


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _names_of(cert: x509.Certificate) -> tuple[str, ...]:
    try:
        found = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    hosts = found.get_values_for_type(x509.DNSName)
    return (*hosts, *(str(address) for address in found.get_values_for_type(x509.IPAddress)))


# --- making and keeping ---------------------------------------------------------


def _kept(
    folder: Path, key: bytes | None, wanted: Sequence[str], now: datetime
) -> x509.Certificate | str:
    """Give the root, if what is there can stay; else why it cannot."""
    chain = _certificates(folder / CERT_NAME)
    if key is None or len(chain) != 2:
        return "its files were not whole"
    leaf, root = chain
    try:
        private = serialization.load_pem_private_key(key, None)
        leaf.verify_directly_issued_by(root)
    except Exception:  # noqa: BLE001 - whatever is wrong with it, it cannot stay
        return "its files were damaged"
    if private.public_key() != leaf.public_key():
        return "its key was another's"
    if set(_names_of(leaf)) != set(wanted):
        return "the names changed"
    ends = min(leaf.not_valid_after_utc, root.not_valid_after_utc)
    if not leaf.not_valid_before_utc <= now < ends - WARN_BEFORE:
        return "the one before was near its end"
    return root


def _was_there(folder: Path) -> bool:
    return (folder / CERT_NAME).exists() or (folder / KEY_NAME).exists()


def _made(folder: Path, names: Sequence[str], now: datetime, *, why: str) -> ServerCertificate:
    """Make root, key and certificate. The key of the root ends here."""
    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root_name = name_of(f"awsgate gateway root {x509.random_serial_number():040x}"[:29])
    root = (
        builder(root_name, root_name, root_key, root_key, now, LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(root_key, hashes.SHA256())
    )
    leaf = (
        builder(name_of(names[0][:64]), root_name, key, root_key, now, LIFE, ca=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(map(_general, names)), critical=False)
        .sign(root_key, hashes.SHA256())
    )
    # First what is to be trusted: a crash in between leaves a root too much, not too few.
    _publish(folder, root, now)
    write_file(folder / KEY_NAME, pem_of_key(key), mode=0o600)
    write_file(folder / CERT_NAME, pem_of([leaf, root]), mode=0o644)
    said = f"the gateway's own certificate was made anew ({why}), with the pin {pin_of(root)}"
    return _described(folder, root, (f"{said}: give the bundles to the clients again",) * bool(why))


def _publish(folder: Path, root: x509.Certificate, now: datetime) -> None:
    """Write the roots that clients trust: this one, then those before it."""
    path = folder / GATEWAY_ROOT_NAME
    before = [cert for cert in lasting(_certificates(path), now) if cert != root]
    update(path, pem_of([root, *before[:_MOST_PREVIOUS]]))


def _certificates(path: Path) -> list[x509.Certificate]:
    if path.is_symlink() or not path.is_file():
        return []
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except ValueError:
        return []


def _described(
    folder: Path, root: x509.Certificate, warnings: tuple[str, ...] = ()
) -> ServerCertificate:
    return ServerCertificate(
        folder / CERT_NAME, folder / KEY_NAME, pem_of([root]), pin_of(root), warnings
    )


# --- the operator's own ---------------------------------------------------------


def _operators(own: Certificate, names: Sequence[str], now: datetime) -> ServerCertificate:
    cert, key = Path(own.cert_file), Path(own.key_file)
    try:
        chain = x509.load_pem_x509_certificates(cert.read_bytes())
        open_to_all = key.stat().st_mode & 0o007
    except (OSError, ValueError) as exc:
        raise SetupError(
            f"spec.certificate of kind: gateway cannot be read: {_why(exc)}",
            hint="cert_file and key_file are paths of PEM files that the gateway may read",
        ) from None
    if open_to_all:
        raise SetupError(f"{key} is open to everybody", hint=f"chmod o= {key}")
    leaf, root = chain[0], chain[-1]
    if not leaf.not_valid_before_utc <= now < leaf.not_valid_after_utc:
        raise SetupError(
            f"the certificate {cert} is good from {leaf.not_valid_before_utc:%Y-%m-%d} "
            f"to {leaf.not_valid_after_utc:%Y-%m-%d}",
            hint="renew it, then start the gateway again",
        )
    missing = [name for name in map(_normal, names) if not _covers(leaf, name)]
    if missing:
        raise SetupError(
            f"the certificate {cert} is not for {', '.join(missing)}",
            hint="get one that is, or take the name out of spec.names of kind: gateway",
        )
    left = leaf.not_valid_after_utc - now
    soon = (f"the certificate {cert} ends in {left.days} days",) * (left < WARN_BEFORE)
    found = ServerCertificate(cert, key, pem_of([root]), pin_of(root), soon)
    found.context()  # now, not at the first client
    return found


def _covers(leaf: x509.Certificate, name: str) -> bool:
    known = {known.lower() for known in _names_of(leaf)}
    return name in known or "*." + name.partition(".")[2] in known


def _no_password() -> str:
    raise ValueError("the key has a password")


def _why(exc: Exception) -> str:
    # Nothing of the content: a message of the parser's may quote what it could not read.
    if isinstance(exc, ssl.SSLError):
        return exc.reason or "TLS does not take them"
    if isinstance(exc, OSError) and exc.strerror:
        return f"{exc.filename}: {exc.strerror}"
    return str(exc) if str(exc) == "the key has a password" else type(exc).__name__
