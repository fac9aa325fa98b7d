"""Two people on one gateway at the same time: each is who they are, and nobody else.

``awsgate run`` with two workers, TLS to the proxy itself, tunnels for known callers.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import boto3
import pytest
from botocore.config import Config

from aws_server.server import StrictAws
from awsgate.aws.sigv4 import SigningKeys
from awsgate.demo.embedded_aws import ACCOUNT, POWER_ROLE, READ_ONLY_ROLE
from awsgate.demo.processes import GatewayProcess, free_port
from e2e.forms import gateway_before
from e2e.held import until
from e2e.overtls import (
    CORES,
    ask_connect,
    basic,
    in_origin_form,
    password_of,
    secured,
    with_core,
)
from e2e.serving import workers_of
from rawclient import Answer, Call, Wire, metric, mint_keys

SSM = "ssmmessages.us-east-1.amazonaws.com"
POLICY = f"""\
kind: role
version: v5
metadata: {{name: power}}
spec: {{allow: {{app_labels: {{'*': '*'}}, aws_role_arns: ['{POWER_ROLE}']}}}}
---
kind: role
version: v5
metadata: {{name: read}}
spec: {{allow: {{app_labels: {{'*': '*'}}, aws_role_arns: ['{READ_ONLY_ROLE}']}}}}
---
kind: app
version: v3
metadata: {{name: awsconsole-test, labels: {{aws_account_id: '{ACCOUNT}'}}}}
spec: {{uri: https://console.aws.amazon.com/}}
---
kind: user
version: v2
metadata: {{name: alice}}
spec: {{roles: [read]}}
---
kind: user
version: v2
metadata: {{name: bob}}
spec: {{roles: [power]}}
---
kind: gateway
spec:
  tls: true
  names: [gate.example.com]
  non_aws: refuse
  tunnels: {{callers: known}}
  limits: {{max_tunnels_per_user: 3}}
  upstreams: [{{hosts: ['{SSM}'], url: 'https://127.0.0.1:%d'}}]
"""
WHO = Call(
    "sts",
    "sts.us-east-1.amazonaws.com",
    headers=(("Content-Type", "application/x-www-form-urlencoded"),),
    body=b"Action=GetCallerIdentity&Version=2011-06-15",
)
START = Call(
    "ssm",
    "ssm.us-east-1.amazonaws.com",
    headers=(
        ("Content-Type", "application/x-amz-json-1.1"),
        ("X-Amz-Target", "AmazonSSM.StartSession"),
    ),
    body=b'{"Target": "i-0123456789abcdef0"}',
)


@dataclass
class Host:
    """A gateway that several people use, and what they say it with."""

    gateway: GatewayProcess
    aws: StrictAws

    def keys(self, user: str, **how: Any) -> SigningKeys:
        role = POWER_ROLE if user == "bob" else READ_ONLY_ROLE
        return mint_keys(self.gateway.state, user=user, role=role, entropy=os.urandom(32), **how)

    def password(self, keys: SigningKeys) -> str:
        return password_of(self.gateway.state, keys)

    def basic(self, keys: SigningKeys) -> str:
        return basic(keys.access_key_id, self.password(keys))

    @contextmanager
    def tunnel(self, *values: str, address: str = "127.0.0.1") -> Iterator[Wire]:
        """Open a tunnel to the echo server, and see that it is one."""
        with secured(self.gateway, address=address) as wire:
            answer = ask_connect(wire, f"{SSM}:443", *values)
            assert answer.status == 200, answer.body
            wire.send(b"hello")
            assert wire._exactly(5) == b"hello"
            yield wire

    def refused(self, *values: str, address: str = "127.0.0.1") -> Answer:
        with secured(self.gateway, address=address) as wire:
            answer = ask_connect(wire, f"{SSM}:443", *values)
            assert answer.status != 200
            return answer

    def who(self, keys: SigningKeys) -> Answer:
        return in_origin_form(self.gateway, WHO, keys)

    @contextmanager
    def locked(self, **target: str) -> Iterator[float]:
        """Lock with ``awsgate lock``; gives when that was."""
        options = [word for name, value in target.items() for word in (f"--{name}", value)]
        state = ["--state", str(self.gateway.state)]
        command = [sys.executable, "-m", "awsgate", "lock"]
        add = [*command, "add", "--name", "l", *options, *state, "--policy"]
        subprocess.run([*add, str(self.gateway.policy)], check=True, capture_output=True)
        try:
            yield time.monotonic()
        finally:
            subprocess.run([*command, "rm", "l", *state], check=True, capture_output=True)

    def lines(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.gateway.audit() if line["event"] == event]


def echo(listening: socket.socket) -> None:
    def serve(sock: socket.socket) -> None:
        with sock:
            while data := sock.recv(65536):
                sock.sendall(data)

    while True:
        try:
            sock, _ = listening.accept()
        except OSError:
            return
        threading.Thread(target=serve, args=(sock,), daemon=True).start()


@pytest.fixture(scope="module", params=CORES)
def host(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Host]:
    with (
        with_core(request.param) as core,
        socket.create_server(("127.0.0.1", free_port())) as listening,
        StrictAws() as aws,
    ):
        threading.Thread(target=echo, args=(listening,), daemon=True).start()
        policy = POLICY % listening.getsockname()[1]
        folder = tmp_path_factory.mktemp(core)
        with gateway_before(aws, folder, policy, workers=2) as gateway:
            gateway.proxy = f"https://127.0.0.1:{gateway.port}"
            yield Host(gateway, aws)


# --- at the same time -------------------------------------------------------------------


def test_each_has_their_own_role_session_name_audit_and_metrics(host: Host) -> None:
    roles = {"alice": READ_ONLY_ROLE, "bob": POWER_ROLE}
    before = len(host.gateway.audit())
    found: dict[str, set[bytes]] = {user: set() for user in roles}

    def work(user: str) -> None:
        keys = host.keys(user)
        for _ in range(10):
            found[user].add(host.who(keys).body)

    threads = [threading.Thread(target=work, args=(user,)) for user in roles]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    lines = host.gateway.audit(at_least=before + 20)[before:]
    for user, role in roles.items():
        arn = f"arn:aws:sts::{ACCOUNT}:assumed-role/{role.rpartition('/')[2]}/{user}"
        assert [arn.encode() in body for body in found[user]] == [True]
        own = [line for line in lines if line["user"] == user]
        assert len(own) == 10
        assert {line["role_arn"] for line in own} == {role}
        assert {line["session_name"] for line in own} == {user}
        counted = metric(host.gateway.metrics(), "awsgate_requests_total", user=user, code="200")
        assert counted >= 10


def test_nobody_can_use_anothers_credentials_in_a_session_of_their_own(host: Host) -> None:
    alice, bob = host.keys("alice"), host.keys("bob")
    mixed = {
        "bob's token": replace(alice, session_token=bob.session_token),
        "bob's secret": replace(alice, secret_access_key=bob.secret_access_key),
        "bob's key id": replace(alice, access_key_id=bob.access_key_id),
        "all but the token": replace(bob, session_token=alice.session_token),
    }
    codes = {name: host.who(keys).code for name, keys in mixed.items()}

    assert codes == {
        "bob's token": "unknown-key",
        "bob's secret": "bad-signature",
        "bob's key id": "unknown-key",
        "all but the token": "unknown-key",
    }
    for key_id, of in ((bob.access_key_id, alice), (alice.access_key_id, bob)):
        assert host.refused(basic(key_id, host.password(of))).status == 407


def test_a_lock_holds_one_of_them_and_cuts_what_is_theirs_within_a_second(host: Host) -> None:
    alice, bob = host.keys("alice"), host.keys("bob")
    with host.tunnel(host.basic(alice)) as alices, host.tunnel(host.basic(bob)) as bobs:
        with host.locked(user="alice") as since:
            alices.sock.settimeout(5)
            assert alices.at_end()
            assert time.monotonic() - since < 1.5  # the watch looks once a second
            bobs.send(b"still here")
            assert bobs._exactly(10) == b"still here"
            # Each worker has a watch of its own: one may be later than the other.
            assert until(lambda: host.who(alice).code == "locked", within=1.5)
            assert {host.who(alice).code for _ in range(8)} == {"locked"}
            assert host.who(bob).status == 200
            refused = host.refused(host.basic(alice))
            assert (refused.status, refused.code) == (403, "locked")
        assert until(lambda: host.who(alice).status == 200)
    assert until(lambda: len(closed(host, "alice")) > 0)
    assert closed(host, "alice")[-1]["rule"] == "lock/l"
    assert until(lambda: closed(host, "bob") != [])
    assert {line["code"] for line in closed(host, "bob")} == {""}


def closed(host: Host, user: str) -> list[dict[str, Any]]:
    return [line for line in host.lines("tunnel.close") if line["user"] == user]


# --- tunnels ----------------------------------------------------------------------------


def test_without_a_caller_there_is_no_tunnel_and_the_answer_says_how(host: Host) -> None:
    answer = host.refused(address="127.0.0.9")

    assert (answer.status, answer.code) == (407, "not-signed")
    assert answer.headers["proxy-authenticate"] == 'Basic realm="awsgate"'
    assert b"HTTPS_PROXY with user and password" in answer.body


def test_a_session_that_was_started_lately_opens_its_tunnel_at_any_worker(host: Host) -> None:
    """From the address of the call, and no other. Several times: workers take turns."""
    assert len(workers_of(host.gateway)) == 2
    for number in range(10, 18):
        address = f"127.0.0.{number}"
        assert host.refused(address=address).status == 407
        answer = in_origin_form(host.gateway, START, host.keys("bob"), address=address)
        assert answer.status == 200, answer.body
        with host.tunnel(address=address):
            pass

    assert host.refused(address="127.0.0.99").status == 407
    assert host.lines("tunnel.open")[-1]["user"] == "bob"


def test_a_call_that_was_refused_opens_none(host: Host) -> None:
    keys = replace(host.keys("bob"), secret_access_key="wrong")
    refused = in_origin_form(host.gateway, START, keys, address="127.0.0.30")

    assert refused.code == "bad-signature"
    assert host.refused(address="127.0.0.30").status == 407


@pytest.mark.parametrize("header", ["X-Forwarded-For", "X-Real-IP", "Forwarded"])
def test_no_header_makes_a_client_somebody_elses(host: Host, header: str) -> None:
    in_origin_form(host.gateway, START, host.keys("bob"), address="127.0.0.40")
    value = "for=127.0.0.40" if header == "Forwarded" else "127.0.0.40"
    with secured(host.gateway, address="127.0.0.41") as wire:
        wire.send(
            f"CONNECT {SSM}:443 HTTP/1.1\r\nHost: {SSM}:443\r\n{header}: {value}\r\n\r\n".encode()
        )
        assert wire._until(b"\r\n\r\n").split(b" ")[1] == b"407"


BAD = {
    "rubbish": (["Basic canary"], 407),
    "no base64": (["Basic canary!"], 407),
    "bearer": (["Bearer canary"], 407),
    "huge": (["Basic " + "QQ" * 20_000], 407),
}


@pytest.mark.parametrize(("values", "status"), BAD.values(), ids=BAD)
def test_a_bad_password_is_refused_and_is_in_no_log(
    host: Host, values: list[str], status: int
) -> None:
    answer = host.refused(*values)

    assert answer.status == status
    assert b"canary" not in answer.body
    assert "canary" not in host.gateway.log.read_text()
    assert "canary" not in (host.gateway.state / "audit.jsonl").read_text()


def test_two_passwords_are_none(host: Host) -> None:
    good = host.basic(host.keys("bob"))

    assert host.refused(good, good).status == 400


def test_an_ended_session_opens_none_and_ends_what_it_opened(host: Host) -> None:
    ended = host.keys("bob", ttl_s=2)
    value = host.basic(ended)
    with host.tunnel(value) as wire:
        wire.sock.settimeout(6)
        assert wire.at_end()

    answer = host.refused(value)
    assert (answer.status, answer.code) == (403, "session-expired")
    assert until(lambda: "session-expired" in {line["code"] for line in closed(host, "bob")})


def test_a_user_has_so_many_tunnels_in_a_worker_and_the_metrics_say_whose(host: Host) -> None:
    """The limit is that of one process; with two of them at most twice as many open."""
    value = host.basic(host.keys("alice"))
    opened: list[Wire] = []
    statuses = []
    stack = []
    for _ in range(7):
        context = secured(host.gateway)
        wire = context.__enter__()
        stack.append(context)
        statuses.append(ask_connect(wire, f"{SSM}:443", value).status)
        opened.append(wire)
    tunnels = metric(host.gateway.metrics(), "awsgate_tunnels", user="alice")
    for context in stack:
        context.__exit__(None, None, None)

    assert statuses[:3] == [200, 200, 200]
    assert 503 in statuses
    assert tunnels == statuses.count(200) <= 6
    assert until(lambda: metric(host.gateway.metrics(), "awsgate_tunnels", user="alice") == 0)


def test_aws_is_reached_without_a_password_and_with_a_wrong_one(host: Host) -> None:
    """The signature inside says who calls; a client that has no password is served too."""
    keys = host.keys("bob")
    for url in (host.gateway.proxy, host.gateway.proxy.replace("//", "//GATE:wrong@")):
        client = boto3.client(
            "sts",
            region_name="us-east-1",
            aws_access_key_id=keys.access_key_id,
            aws_secret_access_key=keys.secret_access_key,
            aws_session_token=keys.session_token,
            verify=str(host.gateway.certs / "ca-bundle.pem"),
            config=Config(
                proxies={"https": url},
                proxies_config={"proxy_ca_bundle": str(host.gateway.certs / "ca-bundle.pem")},
                retries={"total_max_attempts": 1},
            ),
        )
        assert client.get_caller_identity()["Arn"].endswith("/bob")
