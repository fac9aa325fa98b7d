"""What the parent tells a worker on its command line. No secrets: anybody can read it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

OWN, MITMPROXY = ("own", "mitmproxy")


@dataclass(frozen=True, slots=True)
class Orders:
    """Where things are."""

    number: int
    """Counted from 0. The first speaks of reloads for all."""
    policy: str
    state: str
    certs: str
    upstream: str
    sockets: list[int]
    """File descriptors that listen."""
    broker: int
    """File descriptor of the socket pair."""
    drain_s: float
    fallback: str = ""
    """A copy of the last policy that was in order; empty: none."""
    tls: int = -1
    """File descriptor of the certificate for TLS to the proxy itself; -1: there is none."""
    control: str = ""
    """Where the control API answers; empty: nowhere."""
    core: str = OWN
    """Who speaks HTTP and TLS: ``own`` or ``mitmproxy``."""

    def text(self) -> str:
        """Give the orders as ``parse`` reads them."""
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, text: str) -> Orders:
        """Read the orders of a command line."""
        return cls(**json.loads(text))
