"""The CA: good for AWS's names and no other, made once, kept private, rotated."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import sys
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
from mitmproxy.certs import CertStore
from mitmproxy.net import tls
from OpenSSL import SSL

from awsgate.ca import CertificateAuthority, ensure_ca, rotate_ca
from awsgate.errors import SetupError

SUFFIXES = ("amazonaws.com", "api.aws", ".amazonaws.com.cn")
NOW = datetime.now(UTC).replace(microsecond=0)
STS = "sts.amazonaws.com"


@pytest.fixture
def ca(tmp_path: Path) -> CertificateAuthority:
    return ensure_ca(tmp_path / "certs", suffixes=SUFFIXES, now=NOW)


def names(host: str) -> list[x509.GeneralName]:
    try:
        return [x509.IPAddress(ip_address(host))]
    except ValueError:
        return [x509.DNSName(host)]


def leaf_for(folder: Path, host: str) -> tuple[x509.Certificate, list[x509.Certificate]]:
    """Give the leaf that mitmproxy makes for ``host``, and the chain it knows."""
    entry = CertStore.from_store(folder, "mitmproxy", 2048).get_cert(host, names(host))
    return entry.cert.to_cryptography(), [c.to_cryptography() for c in entry.chain_certs]


def certs_in(path: Path) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(path.read_bytes())


def verify(folder: Path, host: str, trusted: Path) -> None:
    """Build the chain with cryptography's web PKI verifier. Raises if there is none."""
    leaf, chain = leaf_for(folder, host)
    verifier = (
        verification.PolicyBuilder()
        .store(verification.Store(certs_in(trusted)))
        .time(NOW)
        .build_server_verifier(names(host)[0])  # type: ignore[arg-type]
    )
    verifier.verify(leaf, chain)


def openssl_verify(folder: Path, host: str, trusted: Path, work: Path) -> str:
    """Do the same with the openssl program; gives its output."""
    leaf, chain = leaf_for(folder, host)
    (work / "leaf.pem").write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
    (work / "chain.pem").write_bytes(
        b"".join(c.public_bytes(serialization.Encoding.PEM) for c in chain)
    )
    command = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-no-CApath"]
    command += ["-no-CAstore", "-CAfile", str(trusted), "-untrusted", "chain.pem", "leaf.pem"]
    done = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def handshake(folder: Path, host: str, trusted: Path) -> None:
    """Meet mitmproxy's own server context with Python's ssl. Raises ``SSLError``."""
    entry = CertStore.from_store(folder, "mitmproxy", 2048).get_cert(host, names(host))
    tls.create_client_proxy_context.cache_clear()  # keyed by path, and tests rotate
    server = tls.create_client_proxy_context(
        method=tls.Method.TLS_SERVER_METHOD,
        min_version=tls.Version.TLS1_2,
        max_version=tls.Version.UNBOUNDED,
        cipher_list=None,
        ecdh_curve=None,
        chain_file=entry.chain_file,
        alpn_select_callback=None,
        request_client_cert=False,
        extra_chain_certs=(),
        dhparams=None,
    )
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    client.load_verify_locations(trusted)
    near, far = socket.socketpair()
    far.settimeout(5)

    def serve() -> None:
        connection = SSL.Connection(server, far)
        connection.use_certificate(entry.cert.to_cryptography())
        connection.use_privatekey(entry.privatekey)
        connection.set_accept_state()
        far.setblocking(True)
        try:
            connection.do_handshake()
        except SSL.Error:
            pass  # the client refused, and says so itself
        finally:
            far.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(near, server_hostname=host):
            pass
    finally:
        near.close()
        thread.join()


GOOD = [STS, "b.u.c.k.e.t.s3.eu-west-1.amazonaws.com", "ec2.us-east-1.api.aws", "amazonaws.com"]
BAD = ["example.com", "notamazonaws.com", "amazonaws.com.example.com", "10.0.0.1"]


@pytest.mark.parametrize("host", GOOD)
def test_an_aws_host_is_trusted_by_the_root_alone(ca: CertificateAuthority, host: str) -> None:
    verify(ca.folder, host, ca.root_cert)
    handshake(ca.folder, host, ca.root_cert)


@pytest.mark.parametrize("host", BAD)
def test_any_other_host_is_refused_by_the_name_constraints(
    ca: CertificateAuthority, host: str
) -> None:
    with pytest.raises(verification.VerificationError):
        verify(ca.folder, host, ca.root_cert)
    with pytest.raises(ssl.SSLCertVerificationError, match="subtree violation"):
        handshake(ca.folder, host, ca.root_cert)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="the openssl program is not here")
@pytest.mark.parametrize("host", [*GOOD, *BAD])
def test_the_openssl_program_says_the_same(
    ca: CertificateAuthority, host: str, tmp_path: Path
) -> None:
    said = openssl_verify(ca.folder, host, ca.root_cert, tmp_path)

    assert ("leaf.pem: OK" if host in GOOD else "subtree violation") in said


def test_without_the_root_nothing_is_trusted(ca: CertificateAuthority, tmp_path: Path) -> None:
    other = ensure_ca(tmp_path / "other", suffixes=SUFFIXES, now=NOW)

    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(ca.folder, STS, other.root_cert)


def test_the_bundle_holds_the_system_roots_and_ours(ca: CertificateAuthority) -> None:
    handshake(ca.folder, STS, ca.bundle)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(ca.bundle)
    assert context.cert_store_stats()["x509_ca"] > 50
    assert ca.bundle.read_bytes().endswith(ca.root_cert.read_bytes())


def test_the_bundle_does_not_grow_into_itself(
    ca: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = ca.bundle.read_bytes()
    monkeypatch.setenv("SSL_CERT_FILE", str(ca.bundle))

    ensure_ca(ca.folder, suffixes=SUFFIXES, now=NOW)

    assert ca.bundle.read_bytes() == before


def test_the_issuing_ca_can_make_no_further_ca(ca: CertificateAuthority) -> None:
    issuing, root = certs_in(ca.folder / "mitmproxy-ca.pem")

    basic = issuing.extensions.get_extension_for_class(x509.BasicConstraints)
    usage = issuing.extensions.get_extension_for_class(x509.KeyUsage)
    assert (basic.critical, basic.value.ca, basic.value.path_length) == (True, True, 0)
    assert usage.critical
    assert usage.value.key_cert_sign
    assert not usage.value.digital_signature
    assert issuing.extensions.get_extension_for_class(x509.NameConstraints).critical
    assert issuing.serial_number != root.serial_number


def test_the_key_of_the_root_is_nowhere(ca: CertificateAuthority) -> None:
    root_key = certs_in(ca.root_cert)[0].public_key()
    texts = [path.read_text() for path in ca.folder.iterdir() if path.name != ".lock"]
    keys = [text for text in texts if "PRIVATE KEY" in text]

    assert len(keys) == 1
    assert keys[0].count("BEGIN PRIVATE KEY") == 1
    found = serialization.load_pem_private_key(keys[0].encode(), None)
    assert found.public_key() != root_key


def test_folder_and_key_are_for_their_owner_alone(ca: CertificateAuthority) -> None:
    modes = {path.name: path.stat().st_mode & 0o777 for path in ca.folder.iterdir()}

    assert ca.folder.stat().st_mode & 0o777 == 0o700
    assert modes["mitmproxy-ca.pem"] == 0o600
    assert modes["ca-cert.pem"] == modes["ca-bundle.pem"] == 0o644


def test_a_second_start_changes_nothing(ca: CertificateAuthority) -> None:
    before = {path: path.stat().st_mtime_ns for path in ca.folder.iterdir()}

    assert ensure_ca(ca.folder, suffixes=SUFFIXES, now=NOW) == ca
    assert {path: path.stat().st_mtime_ns for path in ca.folder.iterdir()} == before


def test_the_result_describes_the_files(ca: CertificateAuthority, tmp_path: Path) -> None:
    root = certs_in(ca.root_cert)[0]

    assert ca.folder == tmp_path / "certs"
    assert ca.fingerprint == root.fingerprint(hashes.SHA256()).hex()
    assert ca.not_after == NOW + timedelta(days=730)
    assert ca.warnings == ()


def test_a_folder_of_a_fresh_clone_is_closed_and_used(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "README.md").touch()

    ensure_ca(tmp_path, suffixes=SUFFIXES, now=NOW)

    assert tmp_path.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", ["ca-cert.pem", "ca-bundle.pem", "mitmproxy-ca-cert.pem"])
@pytest.mark.parametrize("damage", ["gone", "changed", "a link"])
def test_files_that_follow_from_the_ca_are_mended(
    ca: CertificateAuthority, name: str, damage: str, tmp_path: Path
) -> None:
    path = ca.folder / name
    good = path.read_bytes()
    if damage == "changed":
        path.write_bytes(good[:100])
    else:
        path.unlink()
    if damage == "a link":
        path.symlink_to(tmp_path / "elsewhere")
        (tmp_path / "elsewhere").write_bytes(b"mine")

    ensure_ca(ca.folder, suffixes=SUFFIXES, now=NOW)

    assert path.read_bytes() == good
    assert not path.is_symlink()
    assert damage != "a link" or (tmp_path / "elsewhere").read_bytes() == b"mine"


def test_processes_that_start_at_once_agree_on_one_ca(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib\n"
        "from datetime import UTC, datetime\n"
        "from awsgate.ca import ensure_ca\n"
        "print(flush=True)\n"
        "sys.stdin.readline()\n"
        f"folder = pathlib.Path({str(tmp_path / 'certs')!r})\n"
        "ca = ensure_ca(folder, suffixes=['amazonaws.com'], now=datetime.now(UTC))\n"
        "print(ca.fingerprint)\n"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in started:
        assert process.stdout is not None
        process.stdout.readline()

    found = {process.communicate("\n")[0].strip() for process in _released(started)}

    made = certs_in(tmp_path / "certs/ca-cert.pem")
    assert found == {made[0].fingerprint(hashes.SHA256()).hex()}
    assert len(made) == 1


def _released(started: list[subprocess.Popen[str]]) -> list[subprocess.Popen[str]]:
    for process in started:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    return started


def _key(path: Path) -> bytes:
    return path.read_bytes().partition(b"-----BEGIN CERTIFICATE")[0]


def _foreign_key(path: Path) -> None:
    other = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(other + path.read_bytes().removeprefix(_key(path)))


def _foreign_root(path: Path) -> None:
    other = ensure_ca(path.parent.parent / "other", suffixes=SUFFIXES, now=NOW)
    issuing = certs_in(path)[0].public_bytes(serialization.Encoding.PEM)
    path.write_bytes(_key(path) + issuing + other.root_cert.read_bytes())


def _root_first(path: Path) -> None:
    issuing, root = (c.public_bytes(serialization.Encoding.PEM) for c in certs_in(path))
    path.write_bytes(_key(path) + root + issuing)


def _no_root(path: Path) -> None:
    path.write_bytes(_key(path) + certs_in(path)[0].public_bytes(serialization.Encoding.PEM))


def _link(path: Path) -> None:
    path.rename(path.with_name("x"))
    path.symlink_to("x")


def _stock_mitmproxy(path: Path) -> None:
    path.unlink()
    CertStore.create_store(path.parent, "mitmproxy", 2048)


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "key open to the group": (lambda p: p.chmod(0o640), "open to other users"),
    "folder open to all": (lambda p: p.parent.chmod(0o755), "open to other users"),
    "key is a link": (_link, "symbolic link"),
    "empty": (lambda p: p.write_bytes(b""), "cannot be read"),
    "cut short": (lambda p: p.write_bytes(p.read_bytes()[:150]), "cannot be read"),
    "key of another certificate": (_foreign_key, "does not belong"),
    "root that did not sign": (_foreign_root, "did not sign"),
    "root before the issuing ca": (_root_first, "awsgate did not make"),
    "root missing": (_no_root, "holds 1 certificates"),
    "made by mitmproxy": (_stock_mitmproxy, "awsgate did not make"),
}


@pytest.mark.parametrize(("damage", "what"), FAULTS.values(), ids=FAULTS)
def test_a_ca_that_is_not_in_order_ends_the_start_and_stays(
    ca: CertificateAuthority, damage: Callable[[Path], object], what: str
) -> None:
    path = ca.folder / "mitmproxy-ca.pem"
    damage(path)
    before = path.read_bytes()

    for attempt in (ensure_ca, rotate_ca):
        with pytest.raises(SetupError, match=what) as caught:
            attempt(ca.folder, suffixes=SUFFIXES, now=NOW)
        assert caught.value.hint
        assert "PRIVATE" not in caught.value.render()
        assert path.read_bytes() == before


def test_an_expired_ca_ends_the_start_and_can_be_rotated(ca: CertificateAuthority) -> None:
    later = ca.not_after

    with pytest.raises(SetupError, match="expired on") as caught:
        ensure_ca(ca.folder, suffixes=SUFFIXES, now=later)

    assert caught.value.hint.startswith("awsgate ca rotate")
    assert rotate_ca(ca.folder, suffixes=SUFFIXES, now=later).not_after > later


def test_a_ca_from_the_future_is_the_clocks_fault(ca: CertificateAuthority) -> None:
    with pytest.raises(SetupError, match="not valid before") as caught:
        ensure_ca(ca.folder, suffixes=SUFFIXES, now=NOW - timedelta(days=3))

    assert "clock" in caught.value.hint


@pytest.mark.parametrize(("days", "warns"), [(31, False), (29, True), (0.5, True)])
def test_the_end_of_the_ca_is_announced(ca: CertificateAuthority, days: float, warns: bool) -> None:
    soon = ensure_ca(ca.folder, suffixes=SUFFIXES, now=ca.not_after - timedelta(days=days))

    assert soon.warnings == (
        (f"the CA expires in {int(days)} days: plan awsgate ca rotate",) if warns else ()
    )


def test_a_domain_that_the_ca_does_not_cover_is_announced(ca: CertificateAuthority) -> None:
    wider = ensure_ca(ca.folder, suffixes=[*SUFFIXES, "amazonaws.eu"], now=NOW)

    assert wider.warnings == (
        "the CA may not sign for amazonaws.eu: awsgate ca rotate makes one that may",
    )


def test_after_a_rotation_the_files_trust_the_old_chain_and_the_new(
    ca: CertificateAuthority,
) -> None:
    old_root = certs_in(ca.root_cert)[0]
    old_leaf, old_chain = leaf_for(ca.folder, STS)

    new = rotate_ca(ca.folder, suffixes=SUFFIXES, now=NOW)

    assert new.fingerprint != ca.fingerprint
    assert old_root in certs_in(new.root_cert)
    assert certs_in(ca.folder / "previous-ca-cert.pem") == [old_root]
    handshake(new.folder, STS, new.root_cert)
    handshake(new.folder, STS, new.bundle)
    store = verification.Store(certs_in(new.root_cert))
    verifier = verification.PolicyBuilder().store(store).time(NOW)
    verifier.build_server_verifier(x509.DNSName(STS)).verify(old_leaf, old_chain)


def test_the_new_chain_does_not_hold_the_old_root(ca: CertificateAuthority) -> None:
    new = rotate_ca(ca.folder, suffixes=SUFFIXES, now=NOW)

    fingerprints = [c.fingerprint(hashes.SHA256()).hex() for c in leaf_for(new.folder, STS)[1]]
    assert new.fingerprint in fingerprints
    assert ca.fingerprint not in fingerprints
    assert (ca.folder / "mitmproxy-ca-cert.pem").read_bytes().count(b"BEGIN") == 1


def test_an_old_root_leaves_when_it_expires(ca: CertificateAuthority) -> None:
    old_root = certs_in(ca.root_cert)[0]
    rotate_ca(ca.folder, suffixes=SUFFIXES, now=NOW)
    late = old_root.not_valid_after_utc

    newest = rotate_ca(ca.folder, suffixes=SUFFIXES, now=late)

    assert old_root not in certs_in(newest.root_cert)
    assert len(certs_in(newest.root_cert)) == 1, "the second is as old as the first"


def test_a_root_that_is_not_ours_is_not_handed_on(ca: CertificateAuthority) -> None:
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name)
    made = made.public_key(key.public_key()).serial_number(1)
    made = made.not_valid_before(NOW).not_valid_after(NOW + timedelta(days=99))
    theirs = made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    (ca.folder / "previous-ca-cert.pem").write_bytes(theirs)

    again = ensure_ca(ca.folder, suffixes=SUFFIXES, now=NOW)

    assert theirs not in again.root_cert.read_bytes()
    assert theirs not in again.bundle.read_bytes()


def test_a_leaked_ca_is_trusted_no_longer(ca: CertificateAuthority) -> None:
    rotate_ca(ca.folder, suffixes=SUFFIXES, now=NOW)

    new = rotate_ca(ca.folder, suffixes=SUFFIXES, now=NOW, keep_previous=False)

    assert [c.fingerprint(hashes.SHA256()).hex() for c in certs_in(new.root_cert)] == [
        new.fingerprint
    ]
    assert not (ca.folder / "previous-ca-cert.pem").exists()


def test_a_crash_in_a_rotation_loses_nothing(ca: CertificateAuthority) -> None:
    # The state after the first of the two writes: the current root is also previous.
    (ca.folder / "previous-ca-cert.pem").write_bytes(ca.root_cert.read_bytes())

    after = ensure_ca(ca.folder, suffixes=SUFFIXES, now=NOW)

    assert len(certs_in(after.root_cert)) == 1
    assert after == ca


def test_the_first_rotation_may_come_before_the_first_start(tmp_path: Path) -> None:
    ca = rotate_ca(tmp_path / "certs", suffixes=SUFFIXES, now=NOW)

    assert ensure_ca(ca.folder, suffixes=SUFFIXES, now=NOW) == ca


def test_a_list_of_old_roots_that_is_damaged_ends_the_start(ca: CertificateAuthority) -> None:
    (ca.folder / "previous-ca-cert.pem").write_text("nothing")

    with pytest.raises(SetupError, match="holds no certificates"):
        ensure_ca(ca.folder, suffixes=SUFFIXES, now=NOW)
