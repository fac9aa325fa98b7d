"""Which addresses the gateway may dial for an AWS name.

The prize is the metadata service: with HTTP_PROXY set most SDKs send its traffic to
the proxy, and a gateway on EC2 would hand out its own role.

Source: IANA's special-purpose address registries. What must hold stands here and not in
``ipaddress`` alone, whose ranges differ by the version of Python.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

Ip = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(map(ipaddress.ip_network, texts))


# What hands out credentials and is neither link-local nor loopback: EC2, Google and Oracle
# in IPv6; Azure's and Alibaba's own, since a gateway may run there.
_METADATA = _networks(
    "fd00:ec2::/32",
    "fd20:ce::254",
    "fd00:c1::a9fe:a9fe",
    "168.63.129.16",
    "100.100.100.200",
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052: IPv4 in the last 32 bits
_SHARED = ipaddress.ip_network("100.64.0.0/10")  # RFC 6598: carrier-grade NAT, also VPCs
# RFC 4291: all that is routed in the world. Outside are the reserved, and the site-local
# (fec0::/10): deprecated, and still routed by who has them.
_GLOBAL_V6 = ipaddress.ip_network("2000::/3")
_SPECIAL = _networks("192.0.0.0/24", "192.88.99.0/24", "64:ff9b:1::/48", "2001::/23", "3fff::/20")
_PRIVATE = _networks("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")


def address_verdict(address: str, *, private_ok: bool) -> str | None:
    """Say why ``address`` may not be dialled, in one word; None: it may.

    ``private_ok`` opens the private ranges (VPC endpoints, tunnels) and nothing else.
    An IPv4 address inside an IPv6 one counts as what it leads to.
    """
    try:
        ip: Ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "malformed"
    if isinstance(ip, ipaddress.IPv6Address):
        ip = _embedded(ip) or ip
    if _is_in(ip, _METADATA):
        return "metadata"
    if ip.is_link_local:
        return "link-local"
    if ip.is_loopback:
        return "loopback"
    if ip.is_unspecified or ip.is_multicast:
        return "unusable"
    if _is_in(ip, _SPECIAL):
        return "reserved"
    if _is_in(ip, (_SHARED,)):
        return None if private_ok else "private"
    if ip.is_private:
        # "Private" in Python is everything not globally reachable: only the ranges
        # that people route are meant by private_ok.
        return None if private_ok and _is_in(ip, _PRIVATE) else "private"
    return "reserved" if ip.version == 6 and ip not in _GLOBAL_V6 else None


def _embedded(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if ip.ipv4_mapped is not None:
        return ip.ipv4_mapped
    if ip.sixtofour is not None:
        return ip.sixtofour
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return None


def _is_in(ip: Ip, networks: Iterable[Network]) -> bool:
    return any(ip in net for net in networks)  # not, if of another version
