"""Everything put together, in one place, for every way to run the gateway.

The script under mitmdump, ``awsgate run`` and the tests all call ``assemble``.
Nothing here decides anything; it reads the policy, opens the state, makes the CA,
and hands each part what it needs.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import time
from urllib.parse import urlsplit

from awsgate.audit import AuditLog
from awsgate.aws.partitions import PARTITIONS
from awsgate.bypass import Bypass, BypassRule
from awsgate.ca import CertificateAuthority, ensure_ca
from awsgate.credentials import CredentialCache, RoleRequest, StsAssumer
from awsgate.errors import SetupError
from awsgate.gate import Gate, Plan
from awsgate.metrics import Metrics, start_metrics_server
from awsgate.policy import Policy
from awsgate.policyfile import load_policy
from awsgate.resolver import GuardedDialer
from awsgate.session import SessionKeys, SessionOpener, session_name_for
from awsgate.state import State, open_state


@dataclass(frozen=True, slots=True)
class Settings:
    """Where everything is. Absolute paths."""

    policy: Path
    state: Path
    certs: Path
    metrics: str | None = None
    """``host:port``, empty for off; None: as the policy says."""
    upstream: str = ""
    """URL for all AWS traffic; empty: AWS itself."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """The server that is dialled for an AWS host."""

    scheme: str
    host: str
    port: int


class Upstreams:
    """The operator's stand-ins for AWS hosts, first match wins."""

    def __init__(self, rules: Sequence[tuple[Bypass, Upstream]]) -> None:
        self._rules = tuple(rules)

    def find(self, host: str, port: int) -> Upstream | None:
        """Give the stand-in for ``host``, or None: dial the host itself."""
        for pattern, upstream in self._rules:
            if pattern.match(host, port) is not None:
                return upstream
        return None

    def all(self) -> list[Upstream]:
        """Give every stand-in."""
        return [upstream for _, upstream in self._rules]


@dataclass(slots=True)
class Gateway:
    """A gateway that is ready to serve."""

    settings: Settings
    policy: Policy
    gate: Gate
    credentials: CredentialCache
    audit: AuditLog
    audit_path: Path
    metrics: Metrics
    metrics_address: str
    bypass: Bypass
    upstreams: Upstreams
    dialer: GuardedDialer
    ca: CertificateAuthority
