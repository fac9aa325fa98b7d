"""Which resolved addresses may be dialled."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awsgate.aws.addresses import address_verdict

TABLE = {
    # address: (verdict, verdict with private_ok)
    "52.94.236.248": (None, None),
    "2600:1f18::1": (None, None),
    "127.0.0.1": ("loopback", "loopback"),
    "127.8.9.1": ("loopback", "loopback"),
    "::1": ("loopback", "loopback"),
    "169.254.169.254": ("link-local", "link-local"),
    "169.254.170.2": ("link-local", "link-local"),
    "fe80::1%eth0": ("link-local", "link-local"),
    "fd00:ec2::254": ("metadata", "metadata"),
    "::ffff:169.254.169.254": ("link-local", "link-local"),
    "::ffff:127.0.0.1": ("loopback", "loopback"),
    "64:ff9b::a9fe:a9fe": ("link-local", "link-local"),
    "2002:7f00:1::": ("loopback", "loopback"),
    "0.0.0.0": ("unusable", "unusable"),
    "::": ("unusable", "unusable"),
    "224.0.0.1": ("unusable", "unusable"),
    "10.1.2.3": ("private", None),
    "172.31.0.1": ("private", None),
    "192.168.1.1": ("private", None),
    "100.64.0.1": ("private", None),
    "fd12::1": ("private", None),
    "192.0.2.1": ("private", "private"),
    "0.1.2.3": ("private", "private"),
    "255.255.255.255": ("private", "private"),
    "not an address": ("malformed", "malformed"),
    # the metadata services of others, where a gateway may run as well
    "fd20:ce::254": ("metadata", "metadata"),
    "fd00:c1::a9fe:a9fe": ("metadata", "metadata"),
    "168.63.129.16": ("metadata", "metadata"),
    "100.100.100.200": ("metadata", "metadata"),
    "::ffff:168.63.129.16": ("metadata", "metadata"),
    "64:ff9b::6464:64c8": ("metadata", "metadata"),
    "192.0.0.192": ("reserved", "reserved"),
    # other ways to write IPv4 in IPv6
    "::169.254.169.254": ("reserved", "reserved"),
    "::ffff:0:169.254.169.254": ("reserved", "reserved"),
    "64:ff9b:1::a9fe:a9fe": ("reserved", "reserved"),
    "2002:a9fe:a9fe::1": ("link-local", "link-local"),
    "2001:0:a9fe:a9fe::": ("reserved", "reserved"),
    "fe80::5efe:a9fe:a9fe": ("link-local", "link-local"),
    "64:ff9b::a00:1": ("private", None),
    "::ffff:10.0.0.1%1": ("private", None),
    # what routes nowhere, or where nobody should be sent
    "fec0::1": ("reserved", "reserved"),
    "5f00::1": ("reserved", "reserved"),
    "3fff::1": ("reserved", "reserved"),
    "2001:20::1": ("reserved", "reserved"),
    "192.88.99.1": ("reserved", "reserved"),
    "ff02::1": ("unusable", "unusable"),
    # numbers that inet_aton takes for addresses: a resolver gives none, and none is read
    "2130706433": ("malformed", "malformed"),
    "0x7f.1": ("malformed", "malformed"),
    "0177.0.0.1": ("malformed", "malformed"),
    "127.1": ("malformed", "malformed"),
    "１２７.0.0.1": ("malformed", "malformed"),
    "": ("malformed", "malformed"),
}


@pytest.mark.parametrize(("address", "expected"), TABLE.items(), ids=TABLE)
def test_verdict(address: str, expected: tuple[str | None, str | None]) -> None:
    strict = address_verdict(address, private_ok=False)
    private = address_verdict(address, private_ok=True)

    assert (strict, private) == expected


# --- any address ---------------------------------------------------------------------

SPECIAL = (
    # IANA's special-purpose registries, and what was deprecated
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
    "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16",
    "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
    "::/8", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "3fff::/20",
    "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
)  # fmt: skip
ROUTED = tuple(
    map(ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"))
)


@st.composite
def special(draw: st.DrawFn) -> str:
    """Give an address of one of those ranges."""
    net = ip_network(draw(st.sampled_from(SPECIAL)))
    return str(net[draw(st.integers(0, net.num_addresses - 1))])


anywhere = st.one_of(
    st.integers(0, 2**32 - 1).map(lambda n: str(IPv4Address(n))),
    st.integers(0, 2**128 - 1).map(lambda n: str(IPv6Address(n))),
)
quads = st.one_of(
    st.integers(0, 2**32 - 1).map(IPv4Address),
    special().filter(lambda text: ":" not in text).map(IPv4Address),
)


@given(special())
def test_no_special_address_is_dialled_and_no_switch_opens_more_than_the_routed_ones(
    address: str,
) -> None:
    ip = ip_address(address)
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        return  # counts as what it leads to: below

    assert address_verdict(address, private_ok=False) is not None
    if not any(ip.version == net.version and ip in net for net in ROUTED):
        assert address_verdict(address, private_ok=True) is not None


@given(anywhere)
def test_what_is_dialled_is_global_by_pythons_own_reading_too(address: str) -> None:
    ip = ip_address(address)
    if address_verdict(address, private_ok=False) is not None:
        return
    inner = ip if isinstance(ip, IPv4Address) else (ip.sixtofour or ip.ipv4_mapped or ip)

    assert inner.is_global


@given(quads, st.integers(0, 2**80 - 1))
def test_an_address_inside_another_counts_as_what_it_leads_to(inner: IPv4Address, low: int) -> None:
    mapped = IPv6Address((0xFFFF << 32) | int(inner))
    nat64 = IPv6Address((0x64FF9B << 96) | int(inner))
    six_to_four = IPv6Address((0x2002 << 112) | (int(inner) << 80) | low)

    for private_ok in (False, True):
        expected = address_verdict(str(inner), private_ok=private_ok)
        for outer in (mapped, nat64, six_to_four):
            assert address_verdict(str(outer), private_ok=private_ok) == expected
