"""The gateway's own certificate: clients of all kinds trust it by its root, and nothing else."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import verification
from cryptography.x509.oid import NameOID

from awsgate.ca import ensure_ca
from awsgate.errors import SetupError
from awsgate.policy.settings import Certificate
from awsgate.servercert import (
    ServerCertificate,
    ensure_server_certificate,
    renew_server_certificate,
)

NOW = datetime.now(UTC).replace(microsecond=0)
NAMES = ("Gate.Example.com.", "10.1.2.3", "fd00::5", "jump_host")
GOOD = ("gate.example.com", "10.1.2.3", "fd00::5", "awsgate.internal", "localhost", "::1")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "certs"


@pytest.fixture
def own(folder: Path) -> ServerCertificate:
    return ensure_server_certificate(folder, NAMES, None, now=NOW)


def again(
    folder: Path, names: tuple[str, ...] = NAMES, *, now: datetime = NOW
) -> ServerCertificate:
    return ensure_server_certificate(folder, names, None, now=now)


def certs_in(path: Path) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(path.read_bytes())


def handshake(server: ssl.SSLContext, host: str, trusted: bytes) -> tuple[str, str | None]:
    """Meet the context with Python's ssl, at its strictest. Gives TLS version and ALPN."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    client.load_verify_locations(cadata=trusted.decode())
    client.set_alpn_protocols(["h2", "http/1.1"])
    near, far = socket.socketpair()
    far.settimeout(5)
    near.settimeout(5)

    def serve() -> None:
        try:
            with server.wrap_socket(far, server_side=True) as secured:
                secured.recv(1)
        except OSError:
            pass  # the client refused, and says so itself
        finally:
            far.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(near, server_hostname=host) as secured:
            secured.send(b"x")
            return str(secured.version()), secured.selected_alpn_protocol()
    finally:
        near.close()
        thread.join()


@pytest.mark.parametrize("host", GOOD)
def test_a_client_that_has_the_root_trusts_it_under_each_name(
    own: ServerCertificate, host: str
) -> None:
    assert handshake(own.context(), host, own.root) == ("TLSv1.3", "http/1.1")


def test_no_other_name_and_no_other_root(own: ServerCertificate, tmp_path: Path) -> None:
    other = again(tmp_path / "other")

    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(own.context(), "sts.amazonaws.com", own.root)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(own.context(), GOOD[0], other.root)


def test_the_web_pki_verifier_says_the_same(own: ServerCertificate) -> None:
    leaf, root = certs_in(own.cert)
    store = verification.Store([root])
    policy = verification.PolicyBuilder().store(store).time(NOW)

    policy.build_server_verifier(x509.DNSName(GOOD[0])).verify(leaf, [])
    policy.build_server_verifier(x509.IPAddress(ip_address("10.1.2.3"))).verify(leaf, [])
    with pytest.raises(verification.VerificationError):
        policy.build_server_verifier(x509.DNSName("example.com")).verify(leaf, [])


@pytest.mark.skipif(shutil.which("openssl") is None, reason="the openssl program is not here")
def test_the_openssl_program_says_the_same_and_gives_the_pin(
    own: ServerCertificate, tmp_path: Path
) -> None:
    (tmp_path / "root.pem").write_bytes(own.root)
    command = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-no-CApath"]
    command += ["-no-CAstore", "-CAfile", "root.pem", "-verify_hostname", GOOD[0], str(own.cert)]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    asked = "openssl x509 -in root.pem -pubkey -noout | openssl pkey -pubin -outform der"
    spki = subprocess.run(["sh", "-c", asked], cwd=tmp_path, capture_output=True, check=True).stdout

    assert said.stdout.strip().endswith("OK"), said.stderr
    assert own.pin == f"sha256:{hashlib.sha256(spki).hexdigest()}"


def test_old_tls_is_refused(own: ServerCertificate) -> None:
    assert own.context().minimum_version is ssl.TLSVersion.TLSv1_2


def test_the_key_of_the_root_is_nowhere_and_that_of_the_certificate_is_private(
    own: ServerCertificate, folder: Path
) -> None:
    texts = [path.read_text() for path in folder.iterdir() if path.name != ".lock"]
    (key,) = (text for text in texts if "PRIVATE KEY" in text)
    leaf, root = certs_in(own.cert)
    found = serialization.load_pem_private_key(key.encode(), None).public_key()

    assert found == leaf.public_key()
    assert found != root.public_key()
    assert own.key.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700


def test_the_certificate_can_sign_no_other(own: ServerCertificate) -> None:
    leaf, root = certs_in(own.cert)

    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert not leaf.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    assert root.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0


def test_a_second_start_changes_nothing(own: ServerCertificate, folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}

    assert again(folder) == own
    assert again(folder, tuple(reversed(NAMES))) == own
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:150])


def _exchange(path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    encoding = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    path.write_bytes(key.private_bytes(*encoding, serialization.NoEncryption()))


ANEW: dict[str, tuple[Callable[[Path], object], tuple[str, ...], timedelta, str]] = {
    "other names": (lambda _: None, ("gate.example.com",), timedelta(), "names changed"),
    "near its end": (lambda _: None, NAMES, timedelta(days=701), "near its end"),
    "after its end": (lambda _: None, NAMES, timedelta(days=900), "near its end"),
    "no key": (lambda f: (f / "gateway.key").unlink(), NAMES, timedelta(), "not whole"),
    "no certificate": (lambda f: (f / "gateway.pem").unlink(), NAMES, timedelta(), "not whole"),
    "key cut": (lambda f: _cut(f / "gateway.key"), NAMES, timedelta(), "damaged"),
    "another key": (lambda f: _exchange(f / "gateway.key"), NAMES, timedelta(), "another's"),
    "certificate cut": (lambda f: _cut(f / "gateway.pem"), NAMES, timedelta(), "not whole"),
}


@pytest.mark.parametrize(("damage", "names", "later", "why"), ANEW.values(), ids=ANEW)
def test_it_is_made_anew_and_that_is_said(
    own: ServerCertificate,
    folder: Path,
    damage: Callable[[Path], object],
    names: tuple[str, ...],
    later: timedelta,
    why: str,
) -> None:
    damage(folder)

    new = again(folder, names, now=NOW + later)

    assert new.pin != own.pin
    (warning,) = new.warnings
    assert why in warning
    assert new.pin in warning
    assert again(folder, names, now=NOW + later).warnings == ()
    leaf, root = certs_in(new.cert)
    leaf.verify_directly_issued_by(root)


def test_it_is_kept_until_a_month_before_its_end(own: ServerCertificate, folder: Path) -> None:
    assert again(folder, now=NOW + timedelta(days=699)) == own


def test_a_key_that_others_can_read_ends_the_start(own: ServerCertificate, folder: Path) -> None:
    own.key.chmod(0o644)

    with pytest.raises(SetupError, match="open to other users"):
        again(folder)


BAD_NAMES = {
    "a url": "https://gate.example.com",
    "a port": "gate.example.com:8443",
    "a wildcard": "*.example.com",
    "an empty label": "gate..example.com",
    "a blank": "gate example.com",
    "a host of AWS": "sts.amazonaws.com",
    "a bucket": "b.s3.eu-west-1.amazonaws.com",
}


@pytest.mark.parametrize("name", BAD_NAMES.values(), ids=BAD_NAMES)
def test_what_cannot_be_a_name_ends_the_start(folder: Path, name: str) -> None:
    with pytest.raises(SetupError, match="name of the gateway") as caught:
        again(folder, (name,))

    assert "spec.names" in caught.value.hint


def test_a_machine_of_ec2_may_be_called_what_aws_calls_it(folder: Path) -> None:
    name = "ec2-203-0-113-25.compute-1.amazonaws.com"

    assert handshake(again(folder, (name,)).context(), name, again(folder, (name,)).root)


# --- the bundles ----------------------------------------------------------------


def test_its_root_joins_what_clients_are_given(own: ServerCertificate, folder: Path) -> None:
    ca = ensure_ca(folder, suffixes=("amazonaws.com",), now=NOW)

    for bundle in (ca.root_cert, ca.bundle):
        assert own.root in bundle.read_bytes()
        assert handshake(own.context(), GOOD[0], bundle.read_bytes())[0] == "TLSv1.3"
    assert certs_in(ca.root_cert)[0].fingerprint(hashes.SHA256()).hex() == ca.fingerprint


def test_a_ca_that_is_there_already_takes_it_up(folder: Path) -> None:
    before = ensure_ca(folder, suffixes=("amazonaws.com",), now=NOW)
    roots = before.root_cert.read_bytes()
    own = again(folder)

    after = ensure_ca(folder, suffixes=("amazonaws.com",), now=NOW)

    assert after == before
    assert after.root_cert.read_bytes() == roots + own.root


def test_after_a_change_the_bundles_trust_the_old_one_too(
    own: ServerCertificate, folder: Path
) -> None:
    old = own.context()
    new = again(folder, ("other.example.com",))
    ca = ensure_ca(folder, suffixes=("amazonaws.com",), now=NOW)

    assert handshake(old, GOOD[0], ca.root_cert.read_bytes())
    assert handshake(new.context(), "other.example.com", ca.root_cert.read_bytes())
    assert new.root.count(b"BEGIN CERTIFICATE") == 1


def test_a_rotation_makes_another_for_the_same_names(own: ServerCertificate, folder: Path) -> None:
    new = renew_server_certificate(folder, now=NOW)

    assert new is not None
    assert new.pin != own.pin
    assert again(folder) == new
    assert handshake(new.context(), GOOD[0], new.root)
    assert own.root in (folder / "gateway-root.pem").read_bytes()


def test_once_its_root_is_deleted_the_one_before_is_trusted_no_more(
    own: ServerCertificate, folder: Path
) -> None:
    """After a theft of the key: rotate, delete, restart."""
    renew_server_certificate(folder, now=NOW)
    (folder / "gateway-root.pem").unlink()
    new = again(folder)
    ca = ensure_ca(folder, suffixes=("amazonaws.com",), now=NOW)

    assert (folder / "gateway-root.pem").read_bytes() == new.root
    assert own.root not in ca.bundle.read_bytes() + ca.root_cert.read_bytes()
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(new.context(), GOOD[0], own.root)


def test_where_there_is_none_a_rotation_makes_none(folder: Path) -> None:
    assert renew_server_certificate(folder, now=NOW) is None


# --- the operator's own ---------------------------------------------------------


def operators(
    folder: Path, *hosts: str, days: float = 90, mode: int = 0o640, chain: bool = True
) -> Certificate:
    """Give a certificate such as a company's CA issues: with its chain, up to the root."""
    folder.mkdir()
    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root_name, name = (
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)]) for text in ("Corp CA", "gate")
    )

    def cert(subject: x509.Name, of: ec.EllipticCurvePrivateKey, ca: bool) -> x509.Certificate:
        made = x509.CertificateBuilder().subject_name(subject).issuer_name(root_name)
        made = made.public_key(of.public_key()).serial_number(x509.random_serial_number())
        made = made.not_valid_before(NOW - timedelta(days=1))
        made = made.not_valid_after(NOW + timedelta(days=days))
        made = made.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        if not ca:
            names = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts])
            made = made.add_extension(names, critical=False)
        return made.sign(root_key, hashes.SHA256())

    certs = [cert(name, key, ca=False), cert(root_name, root_key, ca=True)][: 2 if chain else 1]
    pem = b"".join(one.public_bytes(serialization.Encoding.PEM) for one in certs)
    (folder / "chain.pem").write_bytes(pem)
    encoding = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    (folder / "key.pem").write_bytes(key.private_bytes(*encoding, serialization.NoEncryption()))
    (folder / "key.pem").chmod(mode)
    return Certificate(cert_file=str(folder / "chain.pem"), key_file=str(folder / "key.pem"))


def test_the_operators_root_is_trusted_no_longer_than_their_certificate_is_served(
    folder: Path, tmp_path: Path
) -> None:
    given = operators(tmp_path / "own", "gate.example.com")
    theirs = ensure_server_certificate(folder, (), given, now=NOW)
    assert (folder / "gateway-root.pem").read_bytes() == theirs.root

    ours = again(folder)

    assert (folder / "gateway-root.pem").read_bytes() == ours.root


def test_a_client_may_not_begin_anew_within_its_connection(own: ServerCertificate) -> None:
    """In TLS 1.2 that costs the server much, and the client little."""
    assert own.context().options & ssl.OP_NO_RENEGOTIATION


@pytest.mark.parametrize("hosts", [("gate.example.com",), ("*.example.com",)])
def test_the_operators_own_is_served_and_its_root_is_trusted(
    folder: Path, tmp_path: Path, hosts: tuple[str, ...]
) -> None:
    given = operators(tmp_path / "own", *hosts)
    found = ensure_server_certificate(folder, ("gate.example.com",), given, now=NOW)
    ca = ensure_ca(folder, suffixes=("amazonaws.com",), now=NOW)

    assert found.cert == tmp_path / "own/chain.pem"
    assert found.root == (tmp_path / "own/chain.pem").read_bytes()[-len(found.root) :]
    assert found.root in ca.bundle.read_bytes()
    found.context()


def _other_key(given: Certificate) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    encoding = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    Path(given.key_file).write_bytes(key.private_bytes(*encoding, serialization.NoEncryption()))


def _locked_key(given: Certificate) -> None:
    key = serialization.load_pem_private_key(Path(given.key_file).read_bytes(), None)
    locked = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"canary"),
    )
    Path(given.key_file).write_bytes(locked)


OPERATORS_FAULTS: dict[str, tuple[Callable[[Certificate], object], str]] = {
    "no certificate": (lambda c: os.unlink(c.cert_file), "No such file"),  # noqa: PTH108
    "no key": (lambda c: os.unlink(c.key_file), "No such file"),  # noqa: PTH108
    "no PEM": (lambda c: Path(c.cert_file).write_text("canary"), "cannot be read: ValueError"),
    "key open to all": (lambda c: Path(c.key_file).chmod(0o644), "open to everybody"),
    "another key": (_other_key, "cannot be used"),
    "a key with a password": (_locked_key, "cannot be used"),
}


@pytest.mark.parametrize(("damage", "what"), OPERATORS_FAULTS.values(), ids=OPERATORS_FAULTS)
def test_what_is_wrong_with_the_operators_own_ends_the_start(
    folder: Path, tmp_path: Path, damage: Callable[[Certificate], object], what: str
) -> None:
    given = operators(tmp_path / "own", "gate.example.com")
    damage(given)

    with pytest.raises(SetupError, match=what) as caught:
        ensure_server_certificate(folder, (), given, now=NOW)

    assert caught.value.hint
    assert "canary" not in caught.value.render()


def test_the_operators_own_must_be_good_now_and_for_the_names(folder: Path, tmp_path: Path) -> None:
    short = operators(tmp_path / "short", "gate.example.com", days=10)

    with pytest.raises(SetupError, match=r"is not for other\.example\.com"):
        ensure_server_certificate(folder, ("other.example.com",), short, now=NOW)
    with pytest.raises(SetupError, match="is good from"):
        ensure_server_certificate(folder, (), short, now=NOW + timedelta(days=10))
    found = ensure_server_certificate(folder, (), short, now=NOW)
    assert found.warnings == (f"the certificate {found.cert} ends in 10 days",)
