"""What an ill-meaning client tries at CONNECT where tunnels need a caller. Both cores."""

from __future__ import annotations

import pytest

from e2e.held import until
from e2e.overtls import ask_connect, in_origin_form, secured
from e2e.test_shared_host import SSM, START, Host
from e2e.test_shared_host import host as host

TARGET = f"{SSM}:443"


def answered(host: Host, raw: bytes, *, address: str = "127.0.0.1") -> bytes:
    """Send these bytes in TLS; give the first line of the answer, or nothing."""
    with secured(host.gateway, address=address) as wire:
        wire.send(raw)
        try:
            return wire._until(b"\r\n").strip()
        except (ConnectionError, AssertionError, OSError):
            return b""


def connect(*lines: str) -> bytes:
    return "\r\n".join([f"CONNECT {TARGET} HTTP/1.1", f"Host: {TARGET}", *lines, "", ""]).encode()


def test_a_refused_client_may_say_who_it_is_on_the_same_connection(host: Host) -> None:
    """As clients do that wait for a challenge."""
    value = host.basic(host.keys("bob"))
    with secured(host.gateway, address="127.0.0.50") as wire:
        first = ask_connect(wire, TARGET)
        if first.headers.get("connection", "").lower() == "close":
            pytest.skip("it is told to open another")
        second = ask_connect(wire, TARGET, value)

        assert (first.status, second.status) == (407, 200)
        wire.send(b"hello")
        assert wire._exactly(5) == b"hello"


def test_what_follows_a_refused_connect_goes_nowhere(host: Host) -> None:
    before = len(host.aws.requests)
    junk = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + b"x" * 300_000

    said = answered(host, connect() + junk, address="127.0.0.51")

    assert said.split(b" ")[1:2] in ([b"407"], [])
    assert len(host.aws.requests) == before
    assert "tunnel.open" not in {
        line["event"] for line in host.gateway.audit() if line["client"].startswith("127.0.0.51:")
    }


def test_what_is_sent_early_arrives_once_the_caller_is_known(host: Host) -> None:
    """The gateway asks its parent meanwhile."""
    in_origin_form(host.gateway, START, host.keys("bob"), address="127.0.0.52")
    with secured(host.gateway, address="127.0.0.52") as wire:
        wire.send(connect() + b"early" * 1000)
        assert wire._until(b"\r\n\r\n").split(b" ")[1] == b"200"
        assert wire._exactly(5000) == b"early" * 1000


ODD = {
    "folded": "Proxy-Authorization: Basic\r\n {}",
    "a blank before the colon": "Proxy-Authorization : Basic {}",
    "a zero byte": "Proxy-Authorization: Basic \0{}",
    "a bare CR": "Proxy-Authorization: Basic {}\rX: y",
    "in another header": "Authorization: Basic {}",
    "in a cookie": "Cookie: Proxy-Authorization=Basic {}",
}


@pytest.mark.parametrize("line", ODD.values(), ids=ODD)
def test_a_password_in_an_odd_form_is_none(host: Host, line: str) -> None:
    """Or the connection ends: nothing here may be a tunnel for one reader and not the next."""
    keys = host.keys("bob")
    value = host.basic(keys).partition(" ")[2]

    said = answered(host, connect(line.format(value)), address="127.0.0.53")

    assert b" 200" not in said


TARGETS = ["awsgate.internal:80", "awsgate.internal:22", "127.0.0.1:22", "169.254.169.254:80"]


@pytest.mark.parametrize("target", [*TARGETS, "[::1]:22", "localhost:22", "x.example:443"])
def test_no_other_host_is_reached_with_a_good_password(host: Host, target: str) -> None:
    with secured(host.gateway) as wire:
        answer = ask_connect(wire, target, host.basic(host.keys("bob")))

    assert (answer.status, answer.code) == (403, "not-an-aws-endpoint")


def test_a_tunnel_of_one_is_not_reached_by_another_connection(host: Host) -> None:
    """The caller is the connection's: the next client of the same address is asked anew."""
    with host.tunnel(host.basic(host.keys("bob")), address="127.0.0.54"):
        assert host.refused(address="127.0.0.54").status == 407


def test_many_that_are_not_known_leave_nothing_behind(host: Host) -> None:
    for _ in range(50):
        host.refused(address="127.0.0.55")

    assert until(lambda: host.who(host.keys("bob")).status == 200)
    with host.tunnel(host.basic(host.keys("bob"))):
        pass
