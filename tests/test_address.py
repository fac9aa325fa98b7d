"""Addresses: one reading of them for every command."""

from __future__ import annotations

import pytest

from awsgate.address import host_of, is_loopback, joined, proxy_address, reachable, split

ADDRESSES = {
    "127.0.0.1:8080": ("127.0.0.1", 8080),
    "[::1]:8080": ("::1", 8080),
    "gate.example:443": ("gate.example", 443),
    ":8080": ("", 8080),
}


@pytest.mark.parametrize(("address", "parts"), ADDRESSES.items())
def test_an_address_is_taken_apart_and_put_together(address: str, parts: tuple[str, int]) -> None:
    assert split(address) == parts
    assert host_of(address) == parts[0]
    assert joined(*parts) == address


@pytest.mark.parametrize("address", ["", "host", "host:", "host:http"])
def test_what_has_no_port_is_no_address(address: str) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        split(address)


@pytest.mark.parametrize(
    ("listen", "found"),
    [
        ("127.0.0.1:8080", "127.0.0.1:8080"),
        ("0.0.0.0:8080", "127.0.0.1:8080"),
        ("[::]:8080", "127.0.0.1:8080"),
        (":8080", "127.0.0.1:8080"),
        ("[::1]:8080", "[::1]:8080"),
        ("10.1.2.3:8080", "10.1.2.3:8080"),
    ],
)
def test_where_a_client_here_finds_it(listen: str, found: str) -> None:
    assert reachable(listen) == found


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("10.0.0.1", False),
        ("localhost.example", False),
        ("", False),
    ],
)
def test_this_machine(host: str, here: bool) -> None:
    assert is_loopback(host) is here


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://127.0.0.1:8080", "127.0.0.1:8080"),
        ("http://user:word@gate.example:3128/", "gate.example:3128"),
        ("gate.example:3128", "gate.example:3128"),
        ("http://[::1]:8080", "[::1]:8080"),
        ("http://gate.example:99999", ""),
        ("http://gate.example", "gate.example:80"),
        ("https://gate.example", "gate.example:443"),
        ("http://", ""),
        ("", ""),
        ("http://[::1", ""),
    ],
)
def test_the_address_of_a_proxy(url: str, address: str) -> None:
    assert proxy_address(url) == address
