"""The documents of the policy -> connectors that can be asked. One place knows which is which.

A connector keeps what it has learned of its provider (keys, metadata), so it stays while
its document stays, over reloads of the policy. What cannot be made ends the start; on a
reload it is that connector alone that is out of order, and that is said.
"""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import Any

import certifi
import httpx

from awsgate.connect.ways import Way, ways_of
from awsgate.errors import SetupError
from awsgate.policy import Policy
from awsgate.policy.connectors import Connector, Oidc, Saml
from awsgate.web.problems import CONNECTOR_UNAVAILABLE, NO_SUCH_WAY, UNKNOWN_CONNECTOR, Problem

TIMEOUT_S = 10.0
MAX_CONNECTIONS = 50

_CLASSES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "oidc": ("awsgate.connect.oidc", "OidcConnector"),
        "github": ("awsgate.connect.github", "GithubConnector"),
        "saml": ("awsgate.connect.saml", "SamlConnector"),
    }
)

log = logging.getLogger("awsgate")

type Make = Callable[[Connector], Any]
"""Gives what has the ways of ``connect.ways``. Raises ``SetupError``."""


@dataclass(frozen=True, slots=True)
class Known:
    """A connector of the policy in force."""

    name: str
    document: Connector
    connector: Any
    """None: it is out of order."""

    def has(self, way: Way) -> Any:
        """Give it for one of its ways. Raises ``Problem``."""
        if way not in ways_of(self.document):
            raise Problem(
                400,
                NO_SUCH_WAY,
                f"{self.name} has no login by {way}",
                hint=f"it has {', '.join(ways_of(self.document)) or 'none at all'}",
            )
        if self.connector is None:
            raise Problem(
                503,
                CONNECTOR_UNAVAILABLE,
                f"{self.name} is out of order",
                hint="tell the operator of the gateway: its log says why",
            )
        return self.connector


class Connectors:
    """Those of the policy in force. For the event loop of the API."""

    def __init__(self, make: Make) -> None:
        self._make = make
        self._policy: Policy | None = None
        self._known: dict[str, Known] = {}

    def take(self, policy: Policy, *, starting: bool = False) -> None:
        """Make what is new, drop what is gone. Raises ``SetupError`` if ``starting``."""
        if policy is self._policy:
            return
        faults: list[str] = []
        known: dict[str, Known] = {}
        for name, document in policy.connectors.items():
            old = self._known.get(name)
            if old is not None and old.connector is not None and old.document == document:
                known[name] = old
                continue
            made = None
            try:
                made = self._make(document)
            except SetupError as exc:
                faults.append(f"{name}: {exc.message}" + (f" ({exc.hint})" if exc.hint else ""))
            known[name] = Known(name, document, made)
        if faults and starting:
            raise SetupError("these connectors cannot be used", faults=tuple(faults))
        for fault in faults:
            log.warning("connector %s", fault)
        self._policy, self._known = policy, known

    def get(self, policy: Policy, name: str) -> Known:
        """Give a connector by its name, ``oidc/okta``. Raises ``Problem``."""
        self.take(policy)
        found = self._known.get(name)
        if found is None:
            there = ", ".join(sorted(self._known)) or "none"
            raise Problem(
                404,
                UNKNOWN_CONNECTOR,
                f"there is no connector {name[:100]!r}",
                hint=f"there is {there}",
            )
        return found

    def of_issuer(self, policy: Policy, issuer: str, audiences: tuple[str, ...]) -> list[Known]:
        """Give those that take ID tokens of an issuer; of several, those of the audience."""
        self.take(policy)
        found = [
            one
            for one in self._known.values()
            if isinstance(one.document, Oidc)
            and one.document.spec.id_tokens is not None
            and one.document.spec.issuer_url.rstrip("/") == issuer.rstrip("/")
        ]
        if len(found) < 2:
            return found
        return [one for one in found if set(_audiences(one)) & set(audiences)] or found


def _audiences(known: Known) -> tuple[str, ...]:
    spec = known.document.spec if isinstance(known.document, Oidc) else None
    return spec.id_tokens.audiences if spec is not None and spec.id_tokens is not None else ()


def redirect_url(document: Connector, own: str) -> str:
    """Give where the provider sends the browser back; ``own`` is the URL of this API."""
    if isinstance(document, Saml):
        return document.spec.acs
    given = document.spec.redirect_url
    ours = [url for url in given if url.startswith(f"{own}/")]
    return (*ours, *given, f"{own}/v1/callback")[0]


def maker(http: httpx.AsyncClient, clock: Callable[[], float] = time.time) -> Make:
    """Give what makes connectors of documents."""

    def make(document: Connector) -> Any:
        module, name = _CLASSES[document.kind]
        try:
            cls = getattr(import_module(module), name)
        except ImportError as exc:
            raise SetupError(
                f"this installation cannot do kind: {document.kind} ({exc.name} is missing)",
                hint=f"pip install 'awsgate[{document.kind}]'",
            ) from exc
        return cls(document, http=http, clock=clock)

    return make


def new_http() -> httpx.AsyncClient:
    """Give the client that connectors ask their providers with.

    No proxy: the environment of a gateway may name the gateway itself.
    """
    for name in ("httpx", "httpcore"):  # URLs stand in what they log
        logging.getLogger(name).setLevel(logging.WARNING)
    context = ssl.create_default_context()
    if not context.get_ca_certs():
        context.load_verify_locations(certifi.where())
    return httpx.AsyncClient(
        verify=context,
        timeout=TIMEOUT_S,
        trust_env=False,
        follow_redirects=False,
        limits=httpx.Limits(max_connections=MAX_CONNECTIONS),
    )
