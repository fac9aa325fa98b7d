"""One call of the API, as its handler sees it, and the table of all calls.

``app`` makes routes of the table, ``openapi`` the description: what is not in it is not
served, and what is served is described.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Protocol

from prometheus_client import Metric

from awsgate.asking import Asking
from awsgate.consoledesk import SignedIn, Wanted
from awsgate.login import Identity, Login
from awsgate.policy import Decision, Policy
from awsgate.policy.standing import Known
from awsgate.tunnelclients import TunnelClients
from awsgate.web.attempts import Attempts, Refusals
from awsgate.web.beside import Beside
from awsgate.web.choosing import Caller
from awsgate.web.connectors import Connectors
from awsgate.web.desk import Desk
from awsgate.web.records import Records
from awsgate.web.revoking import Revoking
from awsgate.web.shapes import Answer, Asked
from awsgate.web.waiting import Waiting

BROWSER_LIFE_S, MAX_BROWSERS = 600.0, 10_000
CODE_LIFE_S, MAX_CODES = 60.0, 10_000
DEVICE_LIFE_S, MAX_DEVICES = 1800.0, 10_000
QUESTIONS = 10
"""What anybody may ask, over the attempts to log in that an address has."""


class LocalWay(Protocol):
    """The gateway's own users: ``connect.local``."""

    async def prove(self, user: str, password: str, totp: str) -> Identity:
        """Give who it is. Raises ``LoginRefused``."""
        ...

    async def accept(self, token: str, password: str) -> tuple[str, str]:
        """Take an invitation: give the user, and the URI of their TOTP secret."""
        ...


class ConsoleWay(Protocol):
    """Into AWS's console: ``consoledesk``."""

    def look(self, policy: Policy, wanted: Wanted, standings: Known | None = None) -> Decision:
        """Say whether the policy lets somebody in. ``standings`` are those of ``policy``."""
        ...

    def sign_in(self, policy: Policy, wanted: Wanted) -> SignedIn:
        """Give the way in. Raises ``Refusal``. Blocks."""
        ...


PAGE = 0
"""The port of a login that the page began: no CLI can name it."""


@dataclass(frozen=True, slots=True)
class Browsing:
    """A login whose browser is at the provider."""

    connector: str
    challenge: str
    port: int
    """Of the CLI on 127.0.0.1; ``PAGE``: there is none."""
    memory: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Proved:
    """A login whose browser is back: the caller fetches it with its verifier."""

    challenge: str
    login: Login = field(repr=False)


@dataclass(frozen=True, slots=True)
class Device:
    """A login that waits for somebody at another device."""

    connector: str
    memory: Mapping[str, str] = field(repr=False)
    interval_s: float
    next_at: float
    """When the provider may be asked again."""


@dataclass(frozen=True, slots=True)
class Insight:
    """What the page shows of the gateway beside what the API says."""

    audit: Path
    pin: str
    """Of the gateway's certificate, for ``awsgate login --ca-pin``."""
    certificates: Callable[[], Sequence[tuple[str, datetime]]]
    """What each is, and when it ends."""
    figures: Callable[[], Iterable[Metric]]
    """All that is counted."""
    faults: Callable[[], Sequence[str]]
    """Why the policy's files are not in force as they are now; empty: they are."""


@dataclass(frozen=True, slots=True)
class Info:
    """What does not change while the gateway runs."""

    url: str
    """How clients and providers reach the API; no header of a request decides that."""
    started_at: int
    proxy: Callable[[], str]
    """HTTPS_PROXY for clients."""
    has_local: Callable[[], bool]
    """True if there are users of the gateway's own."""
    bundles: Callable[[], tuple[bytes, bytes]]
    """What clients trust: with the system's roots, and the gateway's alone."""


class Api:
    """All that the handlers share. For the event loop of the API."""

    def __init__(
        self,
        *,
        desk: Desk,
        revoking: Revoking,
        connectors: Connectors,
        records: Records,
        info: Info,
        local: LocalWay | None,
        asking: Asking,
        console: ConsoleWay | None = None,
        insight: Insight | None = None,
        logins_per_minute: int,
        tunnel_clients: TunnelClients | None = None,
        ticks: Callable[[], float] = time.monotonic,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.desk, self.revoking, self.connectors = desk, revoking, connectors
        self.records, self.info, self.local = records, info, local
        self.console = console
        """None: this gateway has no way into the console."""
        self.insight = insight
        """None: there is no page."""
        self.asking = asking
        self.tunnel_clients = tunnel_clients or TunnelClients()
        """Who is behind connections that come from the gateway itself."""
        self.database, self.aws = Beside("requests"), Beside("console")
        """Where what may wait long does: for the requests' database, for AWS's sign-in."""
        self.lists = Beside("lists", threads_of_one=1, times=4)
        """Where what may be long is found and written, the roles and pages of one user: one
        after the other, since they do not wait but reckon."""
        self.ticks, self.clock = ticks, clock
        self.attempts = Attempts(per_minute=logins_per_minute, clock=ticks)
        self.questions = Attempts(per_minute=QUESTIONS * logins_per_minute, clock=ticks)
        """What anybody may ask: each reads and hashes all the roots of the system."""
        self.refusals = Refusals(per_minute=logins_per_minute, clock=ticks)
        self.browsing: Waiting[Browsing] = Waiting(
            life_s=BROWSER_LIFE_S, most=MAX_BROWSERS, clock=ticks
        )
        self.proved: Waiting[Proved] = Waiting(life_s=CODE_LIFE_S, most=MAX_CODES, clock=ticks)
        self.devices: Waiting[Device] = Waiting(life_s=DEVICE_LIFE_S, most=MAX_DEVICES, clock=ticks)

    @property
    def policy(self) -> Policy:
        """Give the policy in force."""
        return self.desk.policy


@dataclass(frozen=True, slots=True)
class Call:
    """A request, read and checked."""

    api: Api
    client: str
    """Address and port, for the audit."""
    address: str
    asked: Any
    """What ``Operation.asked`` makes of the body; None: it has none."""
    caller: Caller | None
    token: str = field(repr=False)
    """The bearer token; empty: none was sent."""
    certificate: bytes = field(repr=False)
    """The client's certificate that TLS has verified, as DER; empty: none."""
    path: Mapping[str, str]

    @property
    def who(self) -> Caller:
        """Give the caller of an operation that needs one."""
        if self.caller is None:
            raise RuntimeError("an operation without a caller asks for one")
        return self.caller


@dataclass(frozen=True, slots=True)
class Operation:
    """One call of the API."""

    method: Literal["GET", "POST", "DELETE"]
    path: str
    name: str
    """operationId."""
    summary: str
    handle: Callable[[Call], Awaitable[Answer]]
    answer: type[Answer]
    asked: type[Asked] | None = None
    needs: Literal["", "token", "login", "admin"] = ""
    """token: of a login that may be locked by now."""
    attempt: bool = False
    """It counts as an attempt to log in."""
    status: int = 200
    also: Mapping[int, type[Answer]] = field(default_factory=dict)
    """Other answers that are no errors."""
