"""What ``awsgate run`` does: everything that can fail first, then the workers.

PROMETHEUS_MULTIPROC_DIR must name an empty folder before this module is imported: the
client library looks at it once.
"""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from awsgate.address import host_of, joined
from awsgate.announcement import announcement, say, warned_of
from awsgate.audit import AuditLog
from awsgate.ca import CertificateAuthority
from awsgate.credentials import PER_REQUEST, CredentialCache
from awsgate.grantwatch import GRANTS, GrantWatch
from awsgate.listening import bind
from awsgate.metrics import Metrics, forget_process, shared_registry
from awsgate.metricsserver import start_metrics_server
from awsgate.policy import Policy
from awsgate.policy.grants import GrantBook
from awsgate.policyfile import load_policy
from awsgate.policywatch import Outcome, Reading, Watch, policy_source
from awsgate.publicness import check_places
from awsgate.requestplace import RequestPlace
from awsgate.server.door import certificate_file
from awsgate.server.lastgood import LastGood
from awsgate.server.notify import Notifier, handed_sockets
from awsgate.server.orders import OWN, Orders
from awsgate.server.parent import START_TIMEOUT_S, Parent, default_workers
from awsgate.servercert import ServerCertificate
from awsgate.state import State, open_state
from awsgate.tunnelclients import TunnelClients
from awsgate.undumped import forbid_dumps
from awsgate.wiring import (
    Settings,
    base_assumer,
    console_desk,
    lost_ca,
    metrics_address,
    new_metrics,
    open_certificates,
    rotation_of,
    start_warnings,
)

if TYPE_CHECKING:
    from awsgate.web.server import ControlServer


@dataclass(frozen=True, slots=True)
class _SetUp:
    """What is read, made and opened before the first worker starts."""

    settings: Settings
    policy: Policy
    ca: CertificateAuthority
    certificate: ServerCertificate | None
    tls: int
    """File descriptor of it, where clients speak TLS to the proxy; else -1."""
    sockets: list[socket.socket]
    audit_path: Path
    warnings: list[str]
    workers: int
    drain_s: float
    core: str
    start_timeout_s: float
    last_good: LastGood
    state: State

    def orders(self, number: int, broker: int, control: str) -> Orders:
        """Give what a worker is told."""
        return Orders(
            number=number,
            policy=str(self.settings.policy),
            state=str(self.settings.state),
            certs=str(self.settings.certs),
            upstream=self.settings.upstream,
            sockets=[sock.fileno() for sock in self.sockets],
            broker=broker,
            drain_s=self.drain_s,
            fallback=str(self.last_good.path or ""),
            tls=self.tls,
            core=self.core,
            control=control,
        )

    def announce(self, metrics: str, control: str) -> None:
        """Say that it runs, as the addon of mitmdump does."""
        many = "s" if self.workers > 1 else ""
        shown = ", ".join(joined(*sock.getsockname()[:2]) for sock in self.sockets)
        lines = announcement(
            f"{shown}{' (TLS)' * (self.tls >= 0)} with {self.workers} worker{many}",
            self.policy,
            at=self.settings.policy,
            ca=self.ca,
            audit=self.audit_path,
            metrics=metrics,
            control=control,
            warnings=self.warnings,
        )
        say(*lines)


def serve(
    settings: Settings,
    *,
    workers: int,
    listen: str,
    drain_s: float,
    scratch: Path,
    core: str = OWN,
) -> int:
    """Run the gateway; give the exit code. Raises ``SetupError`` with what is wrong.

    ``scratch`` is an empty folder that nobody else may enter.
    """
    forbid_dumps()
    began = monotonic()
    policy = load_policy(settings.policy)
    reading_s = monotonic() - began
    lost = lost_ca(settings)
    state = open_state(settings.state)
    ca, certificate = open_certificates(settings, policy.gateway)
    made = _SetUp(
        settings=settings,
        policy=policy,
        ca=ca,
        certificate=certificate,
        tls=_tls(policy, certificate),
        sockets=_sockets(policy, listen),
        audit_path=state.audit_path,
        state=state,
        warnings=start_warnings(settings, policy, ca, certificate, lost=lost),
        workers=workers or default_workers(),
        drain_s=drain_s,
        core=core,
        # Each worker reads the policy as well, and all of them at a time.
        start_timeout_s=START_TIMEOUT_S + 5 * reading_s,
        last_good=LastGood(settings.policy, scratch),
    )
    _raise_file_limit()
    return asyncio.run(_run(made))


def _sockets(policy: Policy, listen: str) -> list[socket.socket]:
    """Give the sockets of systemd, or one of ours, if clients may come that way."""
    handed = handed_sockets(os.environ)
    if handed:
        inet = [sock for sock in handed if sock.family in (socket.AF_INET, socket.AF_INET6)]
        check_places(policy.gateway, [sock.getsockname()[0] for sock in inet])
        return handed
    place = listen or policy.gateway.listen
    check_places(policy.gateway, [host_of(place)])
    return [bind(place)]


def _tls(policy: Policy, certificate: ServerCertificate | None) -> int:
    if not policy.gateway.tls or certificate is None:
        return -1
    certificate.context()  # what is wrong with it is said here, and once
    return certificate_file(certificate)


async def _run(made: _SetUp) -> int:
    policy, settings = made.policy, made.settings
    metrics = new_metrics(policy, made.ca)
    address = metrics_address(policy, settings)
    server = start_metrics_server(address, shared_registry()) if address else None
    assumer = base_assumer(policy, settings)
    credentials = CredentialCache(
        assumer,
        on_result=lambda result: (
            metrics.credentials_result(result) if result not in PER_REQUEST else None
        ),
        on_sts=metrics.sts_call,
        on_expiry=metrics.credential_expiry,
    )
    place = RequestPlace(made.state.folder, policy.gateway.requests, reads=True)
    live = _Live(policy, place)
    audit = AuditLog(made.audit_path, rotation_of(policy.gateway))
    clients = TunnelClients()
    control = (
        _serve_control(made, live, audit, metrics, clients)
        if policy.gateway.control.listen
        else None
    )
    at = control.address if control is not None else ""
    parent = Parent(
        lambda number, broker: made.orders(number, broker, at),
        workers=made.workers,
        sockets=made.sockets,
        tls=made.tls,
        credentials=credentials,
        clients=clients,
        notifier=Notifier(os.environ),
        on_death=forget_process,
        drain_s=made.drain_s,
        start_timeout_s=made.start_timeout_s,
    )
    watch = Watch(
        (policy_source(settings.policy), GrantWatch(live.requests, closes=False).source()),
        lambda outcome: _take(outcome, made, live),
        asyncio.get_running_loop(),
    )
    made.last_good.keep()
    watch.start()
    looking = asyncio.ensure_future(_tell_missing(assumer.missing))
    try:
        return await parent.run(lambda: made.announce(server.address if server else "", at))
    finally:
        if control is not None:
            control.close()
        audit.close()
        looking.cancel()
        watch.close()
        live.requests.forget()
        credentials.close()
        if server is not None:
            server.close()


def _serve_control(
    made: _SetUp, live: _Live, audit: AuditLog, metrics: Metrics, clients: TunnelClients
) -> ControlServer:
    from awsgate.connect.local import LocalUsers  # heavy, and mostly off
    from awsgate.web.start import Parts, start_control

    return start_control(
        Parts(
            policy=lambda: live.policy,
            keys=made.state.session_keys,
            locks_folder=made.state.locks_folder,
            audit=audit,
            metrics=metrics,
            ca=made.ca,
            certs=made.settings.certs,
            proxy_port=lambda: int(made.sockets[0].getsockname()[1]),
            local=LocalUsers(made.state.users_folder),
            users_folder=made.state.users_folder,
            console=console_desk(lambda: live.policy, made.settings),
            figures=lambda: shared_registry().collect(),
            faults=lambda: live.faults,
            requests=live.requests,
            tunnel_clients=clients,
        )
    )


@dataclass(slots=True)
class _Live:
    """The policy in force, for the control API; the workers read it themselves."""

    policy: Policy
    requests: RequestPlace
    faults: tuple[str, ...] = ()
    """Why the files are not in force as they are now."""


def _take(outcome: Outcome[object], made: _SetUp, live: _Live) -> None:
    if outcome.source == "policy":
        fault = outcome.fault
        live.faults = () if fault is None else (fault.message, *fault.faults)
    if outcome.fault is None and outcome.source != GRANTS:
        made.last_good.keep()
    if isinstance(outcome.value, Reading):
        live.policy = outcome.value.policy
    elif isinstance(outcome.value, GrantBook):
        live.requests.book = outcome.value


async def _tell_missing(missing: Callable[[], list[str]]) -> None:
    say(*warned_of(await asyncio.to_thread(missing)))


def _raise_file_limit() -> None:
    """Allow as many open files as the system lets us: two a connection."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
