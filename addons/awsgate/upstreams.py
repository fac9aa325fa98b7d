"""Servers that stand in for AWS hosts: an emulator, a VPC endpoint. The Host header is kept.

Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from awsgate.address import joined
from awsgate.bypass import Bypass, BypassRule
from awsgate.policy import GatewaySpec


@dataclass(frozen=True, slots=True)
class Upstream:
    """The server that is dialled for an AWS host."""

    scheme: str
    host: str
    port: int

    @classmethod
    def parse(cls, url: str) -> Upstream:
        """Read ``https://host[:port]``; the policy has checked its form."""
        parts = urlsplit(url)
        default = 443 if parts.scheme == "https" else 80
        return cls(parts.scheme, parts.hostname or "", parts.port or default)

    @property
    def url(self) -> str:
        """Give it as ``https://host:port``."""
        return f"{self.scheme}://{joined(self.host, self.port)}"


class Upstreams:
    """The operator's stand-ins for AWS hosts, first match wins."""

    def __init__(self, rules: Sequence[tuple[Bypass, Upstream]], default: Upstream | None) -> None:
        self._rules = tuple(rules)
        self._default = default

    def find(self, host: str, port: int) -> Upstream | None:
        """Give the stand-in that the policy names for ``host``, or None."""
        for pattern, upstream in self._rules:
            if pattern.match(host, port) is not None:
                return upstream
        return None

    def for_aws(self, host: str, port: int) -> Upstream:
        """Give the server for requests to an AWS host: a stand-in, or the host itself."""
        return self.find(host, port) or self._default or Upstream("https", host, port)

    def all(self) -> list[Upstream]:
        """Give every stand-in."""
        found = [upstream for _, upstream in self._rules]
        return found if self._default is None else [*found, self._default]


def upstreams_of(spec: GatewaySpec, default_url: str) -> Upstreams:
    """Give those of a policy; ``default_url`` is for all other hosts, and may be empty."""
    rules = [
        (Bypass([BypassRule(entry.hosts, "upstream")]), Upstream.parse(entry.url))
        for entry in spec.upstreams
    ]
    return Upstreams(rules, Upstream.parse(default_url) if default_url else None)
