"""The way through a gateway: real sockets, real TLS, and everything that can be in the way."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from awsgate.aws.partitions import all_suffixes
from awsgate.aws.sigv4 import SigningKeys
from awsgate.ca import CA_NAME, CERT_NAME, ensure_ca, rotate_ca
from awsgate.doctor import connect
from awsgate.doctor.connect import Caller, Way, skew_of, walk
from awsgate.doctor.finding import Finding, Group, Severity
from awsgate.doctor.gather import ca_facts
from awsgate.doctor.passage import Answer, PassageFacts, Reach, check_clock, check_passage

NOW = datetime.now(UTC)
HOST = "sts.us-east-1.amazonaws.com"
CALLER = Caller("alice in prod", SigningKeys("GATEKEY", "c4nary-secret", "c4nary-token"))


def certificate(certs: Path, folder: Path) -> Path:
    """Give a certificate for ``HOST`` as the gateway makes it, with its chain and key."""
    raw = (certs / CA_NAME).read_bytes()
    key = serialization.load_pem_private_key(raw, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    issuing, root = x509.load_pem_x509_certificates(raw)
    own = ec.generate_private_key(ec.SECP256R1())
    leaf = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)]))
        .issuer_name(issuing.subject)
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    path = folder / "leaf.pem"
    path.write_bytes(
        b"".join(c.public_bytes(encoding) for c in (leaf, issuing, root))
        + own.private_bytes(
            encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return path


Serve = Callable[[socket.socket], None]


@contextmanager
def listening(serve: Serve) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            while True:
                try:
                    sock, _ = server.accept()
                except OSError:
                    return
                with sock:
                    try:
                        serve(sock)
                    except OSError:
                        continue

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def gateway(leaf: Path, answer: bytes, seen: list[bytes]) -> Serve:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf)

    def serve(sock: socket.socket) -> None:
        assert sock.recv(4096).startswith(f"CONNECT {HOST}:443".encode())
        sock.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with context.wrap_socket(sock, server_side=True) as tls:
            seen.append(tls.recv(65536))
            tls.sendall(answer)

    return serve


def answer(status: str, body: str, *, date: datetime | None = None, **headers: str) -> bytes:
    date = date or datetime.now(UTC)
    fields = {"Date": format_datetime(date, usegmt=True), "Content-Length": str(len(body))}
    lines = [f"HTTP/1.1 {status}", *(f"{k.replace('_', '-')}: {v}" for k, v in
             {**fields, **headers}.items())]  # fmt: skip
    return "\r\n".join([*lines, "", body]).encode()


def way(address: str, certs: Path) -> Way:
    root = ca_facts(certs)[1]
    roots = (certs / CERT_NAME).read_bytes()
    return Way(address, HOST, "us-east-1", str(certs), root, roots)


@pytest.fixture
def certs(tmp_path: Path) -> Path:
    return ensure_ca(tmp_path / "certs", suffixes=all_suffixes(), now=NOW).folder


def worst(facts: PassageFacts) -> Finding:
    ranks = list(Severity)
    return max(check_passage(facts), key=lambda f: ranks.index(f.severity))


def test_a_call_that_aws_answers(certs: Path, tmp_path: Path) -> None:
    seen: list[bytes] = []
    body = "<Arn>arn:aws:sts::1:assumed-role/r/alice</Arn>"
    with listening(gateway(certificate(certs, tmp_path), answer("200 OK", body), seen)) as at:
        facts = walk(way(at, certs), CALLER)

    assert facts.reach is Reach.THROUGH
    assert [f.id for f in check_passage(facts)] == ["gateway", "call"]
    assert b"User-Agent: awsgate-doctor" in seen[0]
    assert b"Credential=GATEKEY/" in seen[0]
    assert "c4nary" not in repr(facts) + repr(list(check_passage(facts)))


def test_without_credentials_nothing_is_signed(certs: Path, tmp_path: Path) -> None:
    seen: list[bytes] = []
    leaf = certificate(certs, tmp_path)
    with listening(gateway(leaf, answer("403 Forbidden", ""), seen)) as at:
        facts = walk(way(at, certs), None)

    assert (facts.reach, facts.answer, facts.skew_s) == (Reach.THROUGH, None, 0.0)
    assert b"Authorization" not in seen[0]


def test_a_refusal_is_told_with_its_code(certs: Path, tmp_path: Path) -> None:
    body = "<Message>awsgate locked: alice&apos;s out</Message>"
    refusal = answer("403 Forbidden", body, x_awsgate_code="locked")
    with listening(gateway(certificate(certs, tmp_path), refusal, [])) as at:
        found = worst(walk(way(at, certs), CALLER))

    assert (found.id, found.fix) == ("call-refused", "awsgate lock ls")
    assert "alice's out" in found.what


def test_what_aws_says_is_not_repeated(certs: Path, tmp_path: Path) -> None:
    body = "<Message>the canonical string was c4nary</Message>"
    with listening(
        gateway(certificate(certs, tmp_path), answer("403 Forbidden", body), [])
    ) as at:  # fmt: skip
        found = worst(walk(way(at, certs), CALLER))

    assert found.id == "call-failed"
    assert "c4nary" not in str(found)


def test_a_gateway_whose_clock_is_off(certs: Path, tmp_path: Path) -> None:
    late = answer("403 Forbidden", "", date=datetime.now(UTC) - timedelta(minutes=10))
    with listening(gateway(certificate(certs, tmp_path), late, [])) as at:
        found = worst(walk(way(at, certs), None))

    assert (found.id, found.severity) == ("clock-gateway", Severity.FAULT)
    assert "ahead of the gateway's" in found.what


def test_a_gateway_that_was_not_restarted_after_a_rotation(certs: Path, tmp_path: Path) -> None:
    leaf = certificate(certs, tmp_path)
    rotate_ca(certs, suffixes=all_suffixes(), now=NOW)
    with listening(gateway(leaf, answer("403 Forbidden", ""), [])) as at:
        found = worst(walk(way(at, certs), None))

    assert (found.id, found.severity) == ("gateway-earlier-ca", Severity.WARNING)
    assert "restart" in found.fix


def test_another_ca(certs: Path, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    other = ensure_ca(tmp_path / "other", suffixes=all_suffixes(), now=NOW).folder
    leaf = certificate(other, tmp_path / "b")
    seen: list[bytes] = []
    with listening(gateway(leaf, answer("200 OK", ""), seen)) as at:
        found = worst(walk(way(at, certs), CALLER))

    assert found.id == "gateway-other-ca"
    assert "issuer O=awsgate,CN=awsgate issuing" in found.what
    assert not any(seen), "nothing is sent to whom the CA did not sign"


def speak(*words: bytes) -> Serve:
    def serve(sock: socket.socket) -> None:
        sock.recv(4096)
        for word in words:
            sock.sendall(word)

    return serve


@pytest.mark.parametrize(
    ("serve", "reach"),
    [
        (speak(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), Reach.NO_PROXY),
        (speak(), Reach.NO_PROXY),
        (speak(b"HTTP/1.1 405 Method Not Allowed\r\n\r\n"), Reach.CONNECT_REFUSED),
        (speak(b"HTTP/1.1 200 OK\r\n\r\n", b"hello, no TLS here"), Reach.NO_TLS),
    ],
)
def test_something_else_listens_there(certs: Path, serve: Serve, reach: Reach) -> None:
    with listening(serve) as at:
        facts = walk(way(at, certs), CALLER)

    assert facts.reach is reach
    found = worst(facts)
    assert found.id == "gateway-is-none"
    assert found.fix.startswith(f"ss -ltnp 'sport = :{at.rpartition(':')[2]}'")


def test_nobody_answers(certs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "STEP_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        at = f"127.0.0.1:{server.getsockname()[1]}"
        assert walk(way(at, certs), None).reach is Reach.SILENT
    facts = walk(way(at, certs), None)
    assert facts.reach is Reach.REFUSED
    assert (worst(facts).id, worst(facts).fix.split("   ")[0]) == ("gateway-down", "awsgate run")


def test_an_answer_without_a_refusal_code() -> None:
    facts = PassageFacts("a:1", HOST, "/c", Reach.THROUGH, answer=Answer("alice", status=500))

    assert worst(facts).id == "call-failed"


@pytest.mark.parametrize(
    ("skew_s", "severity"),
    [(None, None), (0.0, None), (59.0, None), (-61.0, "warning"), (299.0, "warning"),
     (300.0, "fault"), (-7200.0, "fault")],
)  # fmt: skip
def test_skew(skew_s: float | None, severity: str | None) -> None:
    found = [str(f.severity) for f in check_clock(skew_s, "AWS", "clock-aws", Group.AWS)]

    assert found == ([severity] if severity else [])


def test_the_time_on_the_way_is_no_skew() -> None:
    date = "Fri, 27 Nov 2026 15:00:00 GMT"
    at = datetime(2026, 11, 27, 15, tzinfo=UTC).timestamp()

    assert skew_of(date, at - 5, at + 9) == 0.0
    assert skew_of(date, at + 0.9, at + 0.9) == 0.0
    assert skew_of(date, at - 30, at - 20) == 20.0
    assert skew_of(date, at + 20, at + 30) == -20.0
    assert skew_of("yesterday", at, at) is None
