"""Which resolved addresses may be dialled."""

from __future__ import annotations

import pytest

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
}


@pytest.mark.parametrize(("address", "expected"), TABLE.items(), ids=TABLE)
def test_verdict(address: str, expected: tuple[str | None, str | None]) -> None:
    strict = address_verdict(address, private_ok=False)
    private = address_verdict(address, private_ok=True)

    assert (strict, private) == expected
