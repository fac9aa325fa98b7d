"""What a policy limits, on connections that stay open: report mode, session end, network."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from e2e.held import BUCKET, POWER, Bench, Held, app, bench_in, gateway, role, until, user
from rawclient import TIMEOUT_S, Call, Wire
from refused import CALLS, error_of

PUT = Call("s3", BUCKET, "PUT", "/limits", body=b"hello")
GET = Call("s3", BUCKET, "GET", "/generated/5")
READ_ONLY = role("reader", POWER, aws_access_levels="[Read, List]")


def networks(near: str, far: str) -> str:
    return "---\n".join(
        [
            role("near", POWER, source_networks=near),
            role("far", POWER, source_networks=far),
            user("nora", "near"),
            user("fred", "far"),
        ]
    )


LOOPBACK, ELSEWHERE = "['127.0.0.0/8']", "['10.0.0.0/8', '2001:db8::/32']"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    documents = {
        "readers.yaml": READ_ONLY + "---\n" + user("rita", "reader"),
        "power.yaml": role("power", POWER) + "---\n" + user("bob", "power"),
        "networks.yaml": networks(LOOPBACK, ELSEWHERE),
        "gateway.yaml": gateway("{mode: enforce}"),
        "app.yaml": app("main"),
    }
    with bench_in(tmp_path_factory.mktemp("limits"), documents) as made:
        yield made


# --- report mode --------------------------------------------------------------------------


def test_report_mode_lets_pass_what_enforce_refuses_and_says_so(bench: Bench) -> None:
    mode = bench.policy / "gateway.yaml"
    with bench.held("rita", PUT) as held, bench.held("rita", GET) as reading:
        seen = len(bench.lines(user="rita"))
        assert (held.verdict(), reading.verdict()) == ("denied", "200")
        with bench.taken("policy.reload"):
            mode.write_text(gateway("{mode: report}"), "utf-8")
        assert (held.verdict(), reading.verdict()) == ("200", "200")
        with bench.taken("policy.reload"):
            mode.write_text(gateway("{mode: enforce}"), "utf-8")
        assert (held.verdict(), reading.verdict()) == ("denied", "200")
        assert until(lambda: len(bench.lines(user="rita")) == seen + 6)

    lines = bench.lines(user="rita")[seen:]
    puts = [line for line in lines if line["method"] == "PUT"]
    assert [(line["decision"], line["code"]) for line in puts] == [
        ("refused", "denied"),
        ("allowed", ""),
        ("refused", "denied"),
    ]
    would = "no rule allows this call: aws_access_levels of role/reader"
    assert puts[1]["reason"] == f"report mode: enforce would refuse: {would} [role/reader]"
    assert would in puts[0]["reason"]
    assert puts[2]["reason"] == puts[0]["reason"]
    assert {line["reason"] for line in lines if line["method"] == "GET"} == {""}


# --- the end of a session -------------------------------------------------------------------


def test_a_session_ends_on_a_connection_that_is_open(bench: Bench) -> None:
    calls = {name: CALLS[name] for name in ("query", "ec2", "json 1.1", "rest-json", "cbor")}
    calls["s3"] = GET
    started = time.time()
    brief, long = bench.keys("bob", ttl_s=3), bench.keys("bob")
    ends = int(started) + 3
    with ExitStack() as opened:
        everyone = {name: opened.enter_context(bench.held(brief, c)) for name, c in calls.items()}
        other = opened.enter_context(bench.held(long))
        assert {held.verdict() for held in everyone.values()} == {"200"}
        assert time.time() < ends, "too slow to show anything"
        time.sleep(ends - time.time() + 1.01)  # the session may have begun a second later
        arrived = len(bench.aws.requests)
        answers = {name: held.ask() for name, held in everyone.items()}
        assert len(bench.aws.requests) == arrived, "AWS was asked after the end"
        assert other.verdict() == "200", "another session of the same user goes on"

    assert {(answer.status, answer.code) for answer in answers.values()} <= {
        (400, "session-expired"),
        (403, "session-expired"),
    }
    for name, answer in answers.items():
        error = error_of(answer, "s3" if name == "s3" else name)
        assert "Expired" in error["Code"], (name, error)
    lines = bench.lines(code="session-expired")
    assert len(lines) == len(calls)
    assert {line["decision"] for line in lines} == {"refused"}


# --- where the client is ----------------------------------------------------------------------


def test_a_network_lets_in_and_keeps_out_and_may_change(bench: Bench) -> None:
    file = bench.policy / "networks.yaml"
    with bench.held("nora") as near, bench.held("fred") as far:
        assert (near.verdict(), far.verdict()) == ("200", "denied")
        with bench.taken("policy.reload"):
            file.write_text(networks(ELSEWHERE, LOOPBACK), "utf-8")
        assert (near.verdict(), far.verdict()) == ("denied", "200")

    (first, *_) = bench.lines(user="fred", code="denied")
    assert "source_networks of role/far" in first["reason"]
    assert first["client"].startswith("127.0.0.1:")


def _has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@contextmanager
def held_over_ipv6(bench: Bench, who: str) -> Iterator[Held]:
    trusted = ssl.create_default_context(cafile=str(bench.gateway.certs / "ca-cert.pem"))
    with socket.create_connection(("::1", bench.gateway.port), TIMEOUT_S) as sock:
        wire = Wire(sock)
        wire.send(f"CONNECT {BUCKET}:443 HTTP/1.1\r\nHost: {BUCKET}:443\r\n\r\n".encode())
        assert b" 200 " in wire._until(b"\r\n\r\n")
        with trusted.wrap_socket(sock, server_hostname=BUCKET) as inside:
            yield Held(Wire(inside), bench.keys(who), GET)


@pytest.mark.skipif(not _has_ipv6(), reason="this machine has no IPv6")
def test_a_network_of_ipv6_lets_in_and_keeps_out(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Addresses of IPv4 inside IPv6 do not come by this way: tests/policy/test_conditions.py."""
    documents = {"networks.yaml": networks("['::1/128']", LOOPBACK), "app.yaml": app("main")}
    folder = tmp_path_factory.mktemp("ipv6")
    with (
        bench_in(folder, documents, options=["--listen-host", "::1"]) as bench,
        held_over_ipv6(bench, "nora") as near,
        held_over_ipv6(bench, "fred") as far,
    ):
        assert (near.verdict(), far.verdict()) == ("200", "denied")
