"""A shared host and a client of another network: addresses are what they are, and TLS holds.

Alice is in a network namespace of her own, bob is on the gateway's machine. Where no
namespace may be made (that takes root) there is nothing to see that tests/e2e does not show.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from aws_server.server import StrictAws
from awsgate.demo.embedded_aws import POWER_ROLE, READ_ONLY_ROLE
from awsgate.demo.processes import clean_env, free_port
from e2e.forms import gateway_before
from e2e.hopsapart import HERE, THERE, Namespace, namespace
from e2e.overtls import CORES, ask_connect, trusting, with_core
from e2e.test_shared_host import POLICY, SSM, START, WHO, Host, echo
from rawclient import Answer, Call, Wire

LOOP = (
    "import boto3, time\n"
    "until = time.time() + 4\n"
    "sts = boto3.client('sts', region_name='us-east-1')\n"
    "while time.time() < until:\n"
    "    print(sts.get_caller_identity()['Arn'])\n"
)


@pytest.fixture(scope="module", params=CORES)
def apart(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Host, Namespace]]:
    port = free_port()
    with (
        namespace() as there,
        with_core(request.param) as core,
        socket.create_server(("127.0.0.1", free_port())) as listening,
        StrictAws() as aws,
    ):
        if there is None:
            pytest.skip("no network namespace may be made here")
        threading.Thread(target=echo, args=(listening,), daemon=True).start()
        policy = (POLICY % listening.getsockname()[1]).replace(
            "names: [gate.example.com]", f"names: [gate.example.com, {HERE}]"
        )
        folder = tmp_path_factory.mktemp(core)
        extra = ["--listen", f"0.0.0.0:{port}"]
        with gateway_before(aws, folder, policy, workers=2, extra=extra) as gateway:
            gateway.port, gateway.proxy = port, f"https://{HERE}:{port}"
            yield Host(gateway, aws), there


def said(host: Host, request: bytes, method: str = "POST") -> Answer:
    """Send it from where we are, in origin form, over TLS with the gateway's address."""
    context = trusting(host.gateway)
    with (
        socket.create_connection((HERE, host.gateway.port), 10) as sock,
        context.wrap_socket(sock, server_hostname=HERE) as tls,
    ):
        wire = Wire(tls)
        wire.send(request)
        return wire.read_answer(method=method)


def signed(host: Host, call: Call, user: str) -> bytes:
    fields = call.signed(host.keys(user))
    return call.wire([*fields, (b"X-Forwarded-Host", call.host.encode())])


def opened(host: Host) -> int:
    """Ask for a tunnel with no password; give the status."""
    context = trusting(host.gateway)
    with (
        socket.create_connection((HERE, host.gateway.port), 10) as sock,
        context.wrap_socket(sock, server_hostname=HERE) as tls,
    ):
        return ask_connect(Wire(tls), f"{SSM}:443").status


def test_two_people_of_two_networks_work_at_the_same_time(apart: tuple[Host, Namespace]) -> None:
    host, there = apart
    before = len(host.gateway.audit())
    roles = {"alice": READ_ONLY_ROLE, "bob": POWER_ROLE}
    found: dict[str, str] = {}

    def work(user: str) -> None:
        env = host.gateway.env(user=user, app="awsconsole-test", role=roles[user])
        done = subprocess.run(
            [sys.executable, "-c", LOOP],
            env=clean_env(host.gateway.home, env),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        found[user] = done.stdout or done.stderr

    threads = [
        threading.Thread(target=there.inside, args=(lambda: work("alice"),)),
        threading.Thread(target=work, args=("bob",)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)

    lines = [line for line in host.gateway.audit()[before:] if line["event"] == "request"]
    for user, address in (("alice", THERE), ("bob", HERE)):
        arns = set(found[user].split())
        assert len(arns) == 1, found[user]
        assert arns.pop().endswith(f"{roles[user].rpartition('/')[2]}/{user}")
        own = [line for line in lines if line["user"] == user]
        assert {line["client"].rpartition(":")[0] for line in own} == {address}
        assert {line["role_arn"] for line in own} == {roles[user]}
        assert len(own) > 5


def test_a_session_that_somebody_started_opens_no_tunnel_of_another_network(
    apart: tuple[Host, Namespace],
) -> None:
    host, there = apart
    assert said(host, signed(host, START, "bob")).status == 200
    assert there.inside(lambda: opened(host)) == 407

    assert there.inside(lambda: said(host, signed(host, START, "alice"))).status == 200
    assert there.inside(lambda: opened(host)) == 200
    assert host.lines("tunnel.open")[-1]["user"] == "alice"
    assert host.lines("tunnel.open")[-1]["client"].startswith(THERE)


def test_an_address_in_a_header_is_nobodys(apart: tuple[Host, Namespace]) -> None:
    host, there = apart
    before = len(host.gateway.audit())
    request = signed(host, WHO, "alice").replace(
        b"\r\n\r\n", f"\r\nX-Forwarded-For: {HERE}\r\nForwarded: for={HERE}\r\n\r\n".encode(), 1
    )

    assert there.inside(lambda: said(host, request)).status == 200
    (line,) = host.gateway.audit(at_least=before + 1)[before:]
    assert line["client"].startswith(THERE)


def test_in_plain_nobody_gets_anywhere(apart: tuple[Host, Namespace]) -> None:
    host, there = apart

    def plain() -> bytes:
        with socket.create_connection((HERE, host.gateway.port), 10) as sock:
            sock.sendall(signed(host, WHO, "alice"))
            answer = b""
            while more := sock.recv(4096):
                answer += more
            return answer

    assert b"this port speaks TLS" in there.inside(plain)


def test_a_lock_cuts_alice_over_there_and_leaves_bob(apart: tuple[Host, Namespace]) -> None:
    host, there = apart
    alice, bob = host.keys("alice"), host.keys("bob")
    context = trusting(host.gateway)

    def connected() -> Wire:
        sock = socket.create_connection((HERE, host.gateway.port), 10)
        return Wire(context.wrap_socket(sock, server_hostname=HERE))

    hers, his = there.inside(connected), connected()
    with hers.sock, his.sock:
        for wire, keys in ((hers, alice), (his, bob)):
            assert ask_connect(wire, f"{SSM}:443", host.basic(keys)).status == 200
        with host.locked(user="alice") as since:
            hers.sock.settimeout(5)
            assert hers.at_end()
            assert time.monotonic() - since < 1.5
            his.send(b"still")
            assert his._exactly(5) == b"still"
