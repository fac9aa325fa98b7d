"""Which CONNECT targets are relayed untouched.

Built in: the data channels of SSM in every partition. Session Manager's plugin opens
a WebSocket there and trusts public roots only, so interception would end the session.

The operator's rules use NO_PROXY syntax, with globs:

    example.com       the host and everything under it
    .example.com      everything under it
    *.example.com     the same
    api-*.corp        a glob over the whole name
    10.0.0.0/8        an address literal in the range
    host:8443         only this port
    *                 everything
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import translate

from awsgate.aws.partitions import PARTITIONS

IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class BypassRule:
    """Hosts that are relayed, and why."""

    hosts: tuple[str, ...]
    reason: str
    exact: tuple[re.Pattern[str], ...] = ()
    """Host names on port 443, where a glob would be too wide: built in only."""


@dataclass(frozen=True, slots=True)
class _Pattern:
    """One parsed entry: names or addresses, on one port or all."""

    hosts: re.Pattern[str] | IpNetwork
    port: int | None

    def fits(self, host: str, port: int) -> bool:
        if self.port is not None and self.port != port:
            return False
        if isinstance(self.hosts, re.Pattern):
            return self.hosts.fullmatch(host) is not None
        try:
            return ipaddress.ip_address(host) in self.hosts  # not, if of another version
        except ValueError:
            return False


class Bypass:
    """The rules in force. Immutable."""

    def __init__(self, rules: Iterable[BypassRule]) -> None:
        """Parse the rules. Raises ``ValueError`` naming the entry that is wrong."""
        self._rules = tuple(
            (rule, (*map(_parse, rule.hosts), *(_Pattern(name, 443) for name in rule.exact)))
            for rule in rules
        )

    def match(self, host: str, port: int) -> BypassRule | None:
        """Give the first rule for a normalised host and port, or None."""
        for rule, patterns in self._rules:
            if any(pattern.fits(host, port) for pattern in patterns):
                return rule
        return None


def builtin_rules() -> tuple[BypassRule, ...]:
    """Give the rules that hold everywhere."""
    # A region and nothing else: "ssmmessages.s3.amazonaws.com" is anybody's bucket.
    names = tuple(
        re.compile(
            rf"{vpce}(?:ssm|ec2)messages(?:-fips)?\.(?:{p.region.pattern})"
            rf"{re.escape(('.vpce' if vpce else '') + '.' + suffix)}"
        )
        for p in PARTITIONS
        for suffix, vpce in (
            (p.suffix, ""),
            (p.dual_stack_suffix, ""),
            (p.suffix, r"vpce-[a-z0-9-]+\."),
        )
    )
    return (BypassRule((), "ssm", names),)


_ENTRY = re.compile(r"(?P<host>[^\s:/\[\]@]+|\[[0-9a-fA-F:]+\])(?::(?P<port>\d{1,5}))?")


def _parse(entry: str) -> _Pattern:
    network = _network(entry)
    if network is not None:
        return _Pattern(network, None)
    matched = _ENTRY.fullmatch(entry)
    if matched is None:
        raise ValueError(f"{entry!r} is not a host, glob, network or host:port")
    port = int(matched["port"]) if matched["port"] else None
    host = matched["host"].strip("[]").lower().removesuffix(".")
    network = _network(host)
    if network is not None:
        return _Pattern(network, port)
    return _Pattern(re.compile("|".join(_regexes(host))), port)


def _regexes(host: str) -> Sequence[str]:
    if host == "*":
        return (r".*",)
    if host.startswith("."):
        return (rf".+{re.escape(host)}",)
    if "*" in host or "?" in host:
        # One star is one label inside AWS's names; elsewhere people expect "*.corp"
        # to reach any depth, as NO_PROXY has it.
        if host.startswith("*."):
            return (rf".+{translate(host[1:])}",)
        return (translate(host).replace(".*", "[^.]*"),)
    return (re.escape(host), rf".+\.{re.escape(host)}")


def _network(text: str) -> IpNetwork | None:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        return None
