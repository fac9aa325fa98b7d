"""Client certificates: verified by TLS, named by the certificate, mapped by the policy."""

from __future__ import annotations

import datetime as dt
import socket
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from awsgate.audit import AuditLog
from awsgate.ca import ensure_ca
from awsgate.errors import SetupError
from awsgate.locks import LockStore
from awsgate.metrics import Metrics
from awsgate.policyfile import load_policy
from awsgate.requestplace import RequestPlace
from awsgate.state import open_state
from awsgate.tunnelclients import TunnelClients
from awsgate.web.server import ControlServer
from awsgate.web.start import Parts, start_control
from web.believing import POLICY

NOW = dt.datetime.now(dt.UTC)
HOUR = dt.timedelta(hours=1)
ROWS = """
    certificate_to_roles:
      - {subject: "spiffe://example.com/ns/*", roles: ["$1"]}
      - {subject: "*@example.com", roles: [reader]}
      - {subject: build-server, roles: [writer]}
      - {subject: lola, roles: [writer]}
"""


class Issuer:
    """A CA that issues certificates to clients."""

    def __init__(self, folder: Path, name: str) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.folder = folder
        self.cert = (
            self._builder(self.name, self.key, NOW + HOUR)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self.key, hashes.SHA256())
        )
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(self.cert.public_bytes(serialization.Encoding.PEM))

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, until: dt.datetime
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - HOUR)
            .not_valid_after(until)
        )

    def issue(
        self,
        *names: str,
        also: Sequence[x509.GeneralName] = (),
        until: dt.datetime = NOW + HOUR,
        usage: x509.ObjectIdentifier | None = ExtendedKeyUsageOID.CLIENT_AUTH,
    ) -> Path:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in names])
        builder = self._builder(subject, key, until)
        if usage is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if also:
            builder = builder.add_extension(x509.SubjectAlternativeName(also), critical=False)
        file = self.folder / f"client-{x509.random_serial_number()}.pem"
        file.write_bytes(
            builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return file


class Place:
    """An API that asks for client certificates."""

    def __init__(self, folder: Path) -> None:
        self.issuer, self.other = Issuer(folder, "issuer"), Issuer(folder, "other")
        self.parts = parts_in(folder, str(self.issuer.file))
        self.server: ControlServer = start_control(self.parts)
        self.root = folder / "certs" / "gateway-root.pem"

    def log_in(self, certificate: Path | None) -> httpx.Response:
        trust = ssl.create_default_context(cafile=str(self.root))
        if certificate is not None:
            trust.load_cert_chain(certificate)
        url = f"https://{self.server.address}/v1/login/certificate"
        with httpx.Client(verify=trust, trust_env=False) as http:
            return http.post(url, json={})


def parts_in(folder: Path, client_ca: str) -> Parts:
    file = folder / "policy.yaml"
    control = f"\n  control:\n    listen: 127.0.0.1:0\n    client_ca: {client_ca}{ROWS}"
    # The connectors of the policy are other tests'.
    file.write_text(
        POLICY.replace("\n  session:", control + "  session:")
        .partition("\nkind: oidc")[0]
        .removesuffix("---")
    )
    policy = load_policy(file)
    state = open_state(folder / "state")
    LockStore(state.locks_folder).open()
    return Parts(
        policy=lambda: policy,
        keys=state.session_keys,
        locks_folder=state.locks_folder,
        audit=AuditLog(state.audit_path),
        metrics=Metrics(version="test", known_users=()),
        ca=ensure_ca(folder / "certs", suffixes=["amazonaws.com"], now=NOW),
        certs=folder / "certs",
        proxy_port=lambda: 8443,
        requests=RequestPlace(state.folder, policy.gateway.requests),
        tunnel_clients=TunnelClients(),
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    made = Place(tmp_path_factory.mktemp("certificates"))
    yield made
    made.server.close()
    made.parts.audit.close()


SPIFFE = x509.UniformResourceIdentifier("spiffe://example.com/ns/reader")
MAIL = x509.RFC822Name("ann@example.com")
DNS = x509.DNSName("ann.example.com")
GOOD: dict[str, tuple[tuple[str, ...], list[x509.GeneralName], str, list[str]]] = {
    "a URI goes before all": (
        ("build-server",),
        [DNS, MAIL, SPIFFE],
        str(SPIFFE.value),
        ["reader"],
    ),
    "an email before a common name": (
        ("build-server",),
        [DNS, MAIL],
        "ann@example.com",
        ["reader"],
    ),
    "a common name": (("build-server",), [], "build-server", ["writer"]),
    "a common name beside names of hosts": (("build-server",), [DNS], "build-server", ["writer"]),
}


@pytest.mark.parametrize("row", GOOD.values(), ids=GOOD)
def test_a_certificate_names_who_it_is(
    place: Place, row: tuple[tuple[str, ...], list[x509.GeneralName], str, list[str]]
) -> None:
    names, also, user, roles = row
    answer = place.log_in(place.issuer.issue(*names, also=also))

    said = answer.json()
    assert answer.status_code == 200, said
    assert (said["user"], said["connector"], said["roles"]) == (user, "certificate", roles)
    # It ends with the certificate, within the hour, and not after login_ttl.
    assert said["expires_at"] == int((NOW + HOUR).timestamp())


REFUSED: dict[str, tuple[tuple[str, ...], list[x509.GeneralName], int, str]] = {
    "no row fits": (("somebody",), [], 403, "no-role"),
    "another domain": (("x",), [x509.RFC822Name("ann@evil.com")], 403, "no-role"),
    "the email's row does not fit, and the common name's does not count": (
        ("build-server",), [x509.RFC822Name("ann@evil.com")], 403, "no-role",
    ),
    "nobody's name": ((), [DNS], 403, "bad-name"),
    "two common names": (("build-server", "other"), [], 403, "bad-name"),
    "the name of the policy's own user": (("lola",), [], 403, "taken"),
    "a common name that looks like a URI": (
        ("spiffe://example.com/ns/reader",), [], 403, "bad-name",
    ),
    "a common name that looks like a URI, beside one of a host": (
        ("spiffe://example.com/ns/reader",), [DNS], 403, "bad-name",
    ),
    "a common name that looks like an email address": (
        ("ann@example.com",), [], 403, "bad-name",
    ),
    "a role that the policy has not": (
        ("x",), [x509.UniformResourceIdentifier("spiffe://example.com/ns/root")], 403, "no-role",
    ),
}  # fmt: skip


@pytest.mark.parametrize("row", REFUSED.values(), ids=REFUSED)
def test_a_certificate_is_refused(
    place: Place, row: tuple[tuple[str, ...], list[x509.GeneralName], int, str]
) -> None:
    names, also, status, code = row
    answer = place.log_in(place.issuer.issue(*names, also=also))

    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_a_certificate_that_does_not_say_what_it_is_for_is_for_no_client(place: Place) -> None:
    answer = place.log_in(place.issuer.issue("build-server", usage=None))

    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "wrong-type")


def test_without_a_certificate_there_is_no_login_and_all_else(place: Place) -> None:
    answer = place.log_in(None)

    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "no-certificate")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_no_session_of_tls_can_be_resumed(place: Place, version: ssl.TLSVersion) -> None:
    """It would bring back a certificate that has ended since."""
    trust = ssl.create_default_context(cafile=str(place.root))
    trust.minimum_version = trust.maximum_version = version
    trust.load_cert_chain(place.issuer.issue("build-server"))
    host, _, port = place.server.address.rpartition(":")
    with (
        socket.create_connection((host, int(port)), 5) as raw,
        trust.wrap_socket(raw, server_hostname="localhost") as wrapped,
    ):
        wrapped.sendall(b"GET /v1/ping HTTP/1.1\r\nHost: x\r\n\r\n")
        assert wrapped.recv(100).startswith(b"HTTP/1.1 200")  # tickets come before it
        session = wrapped.session

    assert session is None or not session.has_ticket


UNPROVED = ["another issuer", "ended", "a server's", "signed by itself"]


@pytest.mark.parametrize("kind", UNPROVED)
def test_what_tls_does_not_verify_never_reaches_the_api(place: Place, kind: str) -> None:
    if kind == "another issuer":
        certificate = place.other.issue("build-server")
    elif kind == "ended":
        certificate = place.issuer.issue("build-server", until=NOW - dt.timedelta(minutes=1))
    elif kind == "a server's":
        certificate = place.issuer.issue("build-server", usage=ExtendedKeyUsageOID.SERVER_AUTH)
    else:
        certificate = Issuer(place.issuer.folder, "own").issue("build-server")

    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError, httpx.ConnectError)):
        place.log_in(certificate)


def test_a_file_that_holds_no_certificates_ends_the_start(tmp_path: Path) -> None:
    file = tmp_path / "empty.pem"
    file.write_text("nothing")

    with pytest.raises(SetupError, match=r"client_ca .*empty.pem cannot be read"):
        start_control(parts_in(tmp_path, str(file)))


def test_an_api_that_is_to_listen_nowhere_is_not_begun(tmp_path: Path) -> None:
    parts = parts_in(tmp_path, str(Issuer(tmp_path, "issuer").file))
    policy = parts.policy()
    control = policy.gateway.control.model_copy(update={"listen": ""})
    about = {"control": control, "names": (), "tls": False, "certificate": None}
    gateway = policy.gateway.model_copy(update=about)
    policy = replace(policy, gateway=gateway)

    with pytest.raises(SetupError, match=r"spec.control.listen of kind: gateway is empty"):
        start_control(replace(parts, policy=lambda: policy))
