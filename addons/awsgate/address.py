"""Addresses as policies and clients write them: ``host:port``, ``[::1]:8080``, a proxy's URL.

Pure: nothing is looked up.
"""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

_EVERYWHERE = ("0.0.0.0", "::", "")  # noqa: S104 - read, not bound


def split(address: str) -> tuple[str, int]:
    """Give host and port, an IPv6 host without its brackets. Raises ``ValueError``."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def host_of(address: str) -> str:
    """Give the host alone; empty: there is none, or no port behind it."""
    return address.rpartition(":")[0].strip("[]")


def joined(host: str, port: int) -> str:
    """Give ``host:port``, an IPv6 host in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def reachable(listen: str) -> str:
    """Give where a client on this machine finds what listens at ``listen``."""
    return f"127.0.0.1:{listen.rpartition(':')[2]}" if host_of(listen) in _EVERYWHERE else listen


def gateway_url(listen: str, *, tls: bool) -> str:
    """Give the URL of the proxy for a client on this machine."""
    return f"{'https' if tls else 'http'}://{reachable(listen)}"


def is_loopback(host: str) -> bool:
    """True if the host is this machine, whatever its network."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def proxy_url(text: str) -> SplitResult | None:
    """Read a proxy's URL as clients do: a host alone is http. None: it names no host."""
    try:
        parts = urlsplit(text if "//" in text else f"http://{text}")
        _ = parts.port  # is read, and checked, no sooner
    except ValueError:
        return None
    return parts if parts.hostname else None


def proxy_address(text: str) -> str:
    """Give ``host:port`` of a proxy's URL, without a password that it may hold; or nothing."""
    parts = proxy_url(text)
    if parts is None or parts.hostname is None:
        return ""
    return joined(parts.hostname, parts.port or (443 if parts.scheme == "https" else 80))
