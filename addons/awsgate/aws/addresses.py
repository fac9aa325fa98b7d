"""Which addresses the gateway may dial for an AWS name.

The prize is the metadata service: with HTTP_PROXY set most SDKs send its traffic to
the proxy, and a gateway on EC2 would hand out its own role.
"""

from __future__ import annotations

import ipaddress

_METADATA_V6 = ipaddress.ip_network("fd00:ec2::/32")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052: IPv4 in the last 32 bits
_SHARED = ipaddress.ip_network("100.64.0.0/10")  # RFC 6598: carrier-grade NAT, also VPCs


def address_verdict(address: str, *, private_ok: bool) -> str | None:
    """Say why ``address`` may not be dialled, in one word; None: it may.

    ``private_ok`` opens the private ranges (VPC endpoints, tunnels) and nothing else.
    An IPv4 address inside an IPv6 one counts as what it leads to.
    """
    try:
        ip: ipaddress.IPv4Address | ipaddress.IPv6Address = ipaddress.ip_address(
            address.partition("%")[0]
        )
    except ValueError:
        return "malformed"
    if isinstance(ip, ipaddress.IPv6Address):
        if ip in _METADATA_V6:
            return "metadata"
        ip = _embedded(ip) or ip
    if ip.is_link_local:
        return "link-local"
    if ip.is_loopback:
        return "loopback"
    if ip.is_unspecified or ip.is_multicast:
        return "unusable"
    if isinstance(ip, ipaddress.IPv4Address) and ip in _SHARED:
        return None if private_ok else "private"
    if ip.is_private:
        # "Private" in Python is everything not globally reachable: only the ranges
        # that people route are meant by private_ok.
        return None if private_ok and _is_routed_privately(ip) else "private"
    return "reserved" if ip.is_reserved else None


def _embedded(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if ip.ipv4_mapped is not None:
        return ip.ipv4_mapped
    if ip.sixtofour is not None:
        return ip.sixtofour
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return None


_PRIVATE = tuple(
    ipaddress.ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
)


def _is_routed_privately(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return any(ip.version == net.version and ip in net for net in _PRIVATE)
