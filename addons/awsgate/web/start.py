"""The API put together for one gateway, by whoever serves it."""

from __future__ import annotations

import logging
import secrets
import ssl
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from prometheus_client import Metric

from awsgate.address import host_of, joined
from awsgate.asking import Asking
from awsgate.audit import AuditLog
from awsgate.ca import CertificateAuthority
from awsgate.connect.local import LocalUsers
from awsgate.connect.userfiles import SUFFIX
from awsgate.errors import SetupError
from awsgate.listening import bind
from awsgate.locks import LockStore
from awsgate.metrics import Metrics
from awsgate.policy import GatewaySpec, Policy
from awsgate.requestplace import RequestPlace
from awsgate.servercert import ServerCertificate, certificate_for
from awsgate.session import Session, SessionKeys
from awsgate.state import USERS_NAME
from awsgate.tunnelclients import TunnelClients
from awsgate.tunnelpass import ENTROPY_BYTES, mint_tunnel_pass
from awsgate.web.app import build
from awsgate.web.calls import Api, ConsoleWay, Info, Insight, LocalWay
from awsgate.web.connectors import Connectors, maker, new_http
from awsgate.web.desk import Desk
from awsgate.web.records import Records
from awsgate.web.revoking import Revoking
from awsgate.web.server import ControlServer, serve
from awsgate.webhook import Webhook
from awsgate.wiring import Gateway, console_desk

_ANY = ("0.0.0.0", "::", "")  # noqa: S104 - read, not bound

log = logging.getLogger("awsgate")


@dataclass(frozen=True, slots=True)
class Parts:
    """What the API shares with the gateway that it is of."""

    policy: Callable[[], Policy]
    """Gives the one in force."""
    keys: SessionKeys
    locks_folder: Path
    audit: AuditLog
    metrics: Metrics
    ca: CertificateAuthority
    certs: Path
    proxy_port: Callable[[], int]
    """The real port of the proxy; 0: not known yet."""
    requests: RequestPlace
    tunnel_clients: TunnelClients
    """Who is behind connections that come from the gateway itself."""
    local: LocalWay | None = None
    users_folder: Path | None = None
    """Of the gateway's own users, who are ``local``; None: there are some."""
    console: ConsoleWay | None = None
    """None: there is no way into AWS's console."""
    figures: Callable[[], Iterable[Metric]] | None = None
    """Gives all that is counted, by other processes too; None: by ``metrics`` alone."""
    faults: Callable[[], Sequence[str]] = tuple
    """Gives why the policy's files are not in force as they are."""


def gateway_parts(gateway: Gateway, proxy_port: Callable[[], int]) -> Parts:
    """Give what a gateway of this process has."""
    users = gateway.settings.state.absolute() / USERS_NAME
    return Parts(
        policy=lambda: gateway.policy,
        keys=gateway.session_keys,
        locks_folder=gateway.locks.folder,
        audit=gateway.audit,
        metrics=gateway.metrics,
        ca=gateway.ca,
        certs=gateway.settings.certs,
        proxy_port=proxy_port,
        requests=gateway.requests,
        tunnel_clients=gateway.tunnel_clients,
        local=LocalUsers(users),
        users_folder=users,
        console=console_desk(lambda: gateway.policy, gateway.settings),
        faults=lambda: gateway.faults,
    )


def start_control(parts: Parts) -> ControlServer:
    """Serve the API where the policy says. Raises ``SetupError`` with what is wrong."""
    policy = parts.policy()
    spec = policy.gateway
    certificate = certificate_for(parts.certs, spec, now=datetime.now(UTC))
    if certificate is None:
        raise SetupError("spec.control.listen of kind: gateway is empty")
    context = _context(certificate, spec)
    http = new_http()
    connectors = Connectors(maker(http))
    connectors.take(policy, starting=True)
    sock = bind(spec.control.listen, setting="spec.control.listen of kind: gateway")
    try:
        host, port = sock.getsockname()[:2]
        revoking = Revoking(LockStore(parts.locks_folder))
        records = Records(parts.audit, parts.metrics, parts.policy, time.time)
        api = Api(
            desk=Desk(
                parts.keys,
                parts.policy,
                revoking,
                _tunnel_pass(parts.keys),
                granted=lambda: parts.requests.book,
            ),
            revoking=revoking,
            connectors=connectors,
            records=records,
            asking=Asking(
                parts.requests,
                record=records.write_now,
                count=parts.metrics.access_request,
                tell=Webhook(spec.requests.webhook).tell,
            ),
            info=Info(
                url=control_url(spec, port),
                started_at=int(time.time()),
                proxy=lambda: proxy_url(spec, parts.proxy_port()),
                has_local=lambda: parts.users_folder is None or _holds_users(parts.users_folder),
                bundles=lambda: (parts.ca.bundle.read_bytes(), parts.ca.root_cert.read_bytes()),
            ),
            local=parts.local,
            console=parts.console,
            insight=Insight(
                audit=parts.audit.path,
                pin=certificate.pin,
                certificates=lambda: _certificates(parts.ca, certificate),
                figures=parts.figures or parts.metrics.registry.collect,
                faults=parts.faults,
            ),
            logins_per_minute=spec.control.logins_per_minute,
            tunnel_clients=parts.tunnel_clients,
        )
        return serve(build(api), sock, joined(host, port), context, at_end=http.aclose)
    except BaseException:
        sock.close()
        raise


def _certificates(ca: CertificateAuthority, own: ServerCertificate) -> list[tuple[str, datetime]]:
    found = [("the CA that clients trust for AWS", ca.not_after)]
    with suppress(OSError, ValueError):
        leaf = x509.load_pem_x509_certificates(own.cert.read_bytes())[0]
        found.append(("the certificate of the gateway itself", leaf.not_valid_after_utc))
    return found


def control_url(spec: GatewaySpec, port: int) -> str:
    """Give how clients and providers reach the API: as the policy says, or as it names itself."""
    return spec.control.url.rstrip("/") or f"https://{_named(spec, spec.control.listen, port)}"


def proxy_url(spec: GatewaySpec, port: int) -> str:
    """Give HTTPS_PROXY for clients. ``port`` 0: that of the policy."""
    port = port or int(spec.listen.rpartition(":")[2])
    return f"{'https' if spec.tls else 'http'}://{_named(spec, spec.listen, port)}"


def _holds_users(folder: Path) -> bool:
    try:
        return any(one.suffix == SUFFIX and one.name[0] != "." for one in folder.iterdir())
    except OSError:  # nobody was ever added
        return False


def _named(spec: GatewaySpec, listen: str, port: int) -> str:
    host = host_of(listen)
    own = "localhost" if host in _ANY else host
    return joined(next(iter(spec.names), own), port)


def _tunnel_pass(keys: SessionKeys) -> Callable[[Session], str]:
    def make(session: Session) -> str:
        return mint_tunnel_pass(keys, session, entropy=secrets.token_bytes(ENTROPY_BYTES))

    return make


def _context(certificate: ServerCertificate, spec: GatewaySpec) -> ssl.SSLContext:
    """Give the server's side of TLS. It asks for client certificates if there are any."""
    context = certificate.context()
    if spec.control.client_ca:
        try:
            context.load_verify_locations(spec.control.client_ca)
        except (OSError, ssl.SSLError) as exc:
            raise SetupError(
                f"client_ca {spec.control.client_ca} cannot be read "
                f"({getattr(exc, 'strerror', None) or type(exc).__name__})",
                hint="spec.control.client_ca of kind: gateway is a PEM file of certificates",
            ) from None
        context.verify_mode = ssl.CERT_OPTIONAL
        # A resumed session would bring back a certificate of before, ended or not.
        context.num_tickets = 0
        context.options |= ssl.OP_NO_TICKET
    return context
