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
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

from awsgate.address import joined
from awsgate.announcement import announcement, say, warned_of
from awsgate.aws.partitions import all_suffixes
from awsgate.ca import CertificateAuthority, ensure_ca
from awsgate.credentials import PER_REQUEST, CredentialCache
from awsgate.metrics import forget_process, shared_registry
from awsgate.metricsserver import start_metrics_server
from awsgate.policy import Policy
from awsgate.policyfile import load_policy
from awsgate.policywatch import Watch, policy_source
from awsgate.server.lastgood import LastGood
from awsgate.server.notify import Notifier, handed_sockets
from awsgate.server.orders import OWN, Orders
from awsgate.server.parent import START_TIMEOUT_S, Parent, bind, default_workers
from awsgate.state import open_state
from awsgate.wiring import (
    Settings,
    base_assumer,
    lost_ca,
    metrics_address,
    new_metrics,
    start_warnings,
)


@dataclass(frozen=True, slots=True)
class _SetUp:
    """What is read, made and opened before the first worker starts."""

    settings: Settings
    policy: Policy
    ca: CertificateAuthority
    sockets: list[socket.socket]
    audit_path: Path
    warnings: list[str]
    workers: int
    drain_s: float
    core: str
    start_timeout_s: float
    last_good: LastGood

    def orders(self, number: int, broker: int) -> Orders:
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
            core=self.core,
        )

    def announce(self, metrics: str) -> None:
        """Say that it runs, as the addon of mitmdump does."""
        many = "s" if self.workers > 1 else ""
        shown = ", ".join(joined(*sock.getsockname()[:2]) for sock in self.sockets)
        lines = announcement(
            f"{shown} with {self.workers} worker{many}",
            self.policy,
            at=self.settings.policy,
            ca=self.ca,
            audit=self.audit_path,
            metrics=metrics,
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
    began = monotonic()
    policy = load_policy(settings.policy)
    reading_s = monotonic() - began
    lost = lost_ca(settings)
    state = open_state(settings.state)
    ca = ensure_ca(settings.certs, suffixes=all_suffixes(), now=datetime.now(UTC))
    made = _SetUp(
        settings=settings,
        policy=policy,
        ca=ca,
        sockets=handed_sockets(os.environ) or [bind(listen or policy.gateway.listen)],
        audit_path=state.audit_path,
        warnings=start_warnings(settings, policy, ca, lost=lost),
        workers=workers or default_workers(),
        drain_s=drain_s,
        core=core,
        # Each worker reads the policy as well, and all of them at a time.
        start_timeout_s=START_TIMEOUT_S + 5 * reading_s,
        last_good=LastGood(settings.policy, scratch),
    )
    _raise_file_limit()
    return asyncio.run(_run(made))


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
    parent = Parent(
        made.orders,
        workers=made.workers,
        sockets=made.sockets,
        credentials=credentials,
        notifier=Notifier(os.environ),
        on_death=forget_process,
        drain_s=made.drain_s,
        start_timeout_s=made.start_timeout_s,
    )
    watch = Watch(
        (policy_source(settings.policy),),
        lambda outcome: made.last_good.keep() if outcome.fault is None else None,
        asyncio.get_running_loop(),
    )
    made.last_good.keep()
    watch.start()
    looking = asyncio.ensure_future(_tell_missing(assumer.missing))
    try:
        return await parent.run(lambda: made.announce(server.address if server else ""))
    finally:
        looking.cancel()
        watch.close()
        credentials.close()
        if server is not None:
            server.close()


async def _tell_missing(missing: Callable[[], list[str]]) -> None:
    say(*warned_of(await asyncio.to_thread(missing)))


def _raise_file_limit() -> None:
    """Allow as many open files as the system lets us: two a connection."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
