"""AWS's names lead where they must not: to the metadata service, to the gateway's own network.

The resolver of the gateway's processes is the test's own: it gives what a table says, one
answer a look-up, and writes down who was asked for.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from aws_server.server import StrictAws
from awsgate.aws.sigv4 import SigningKeys
from awsgate.demo.processes import SITE_VARIABLE, GatewayProcess
from e2e.held import OBJECT, POWER, app, cut_within, gateway, role, user
from e2e.held import Bench as Held
from rawclient import Call, ask, plain

SITE = """\
import json, pathlib, socket

stock, here = socket.getaddrinfo, pathlib.Path(__file__).parent


def getaddrinfo(host, port, *more, **also):
    table = json.loads((here / "table.json").read_text())
    name = host.decode() if isinstance(host, bytes) else host
    if name not in table:
        return stock(host, port, *more, **also)
    with (here / "asked").open("a") as out:
        out.write(name + "\\n")
    answers = table[name]
    now = answers.pop(0) if len(answers) > 1 else answers[0]
    (here / "table.json").write_text(json.dumps(table))
    # As after a chain of CNAMEs: another name, and the addresses of that.
    return [
        (socket.AF_INET6 if ":" in one else socket.AF_INET, socket.SOCK_STREAM, 6,
         "evil.example", (one, port, 0, 0) if ":" in one else (one, port))
        for one in now
    ]


socket.getaddrinfo = getaddrinfo
"""
NOWHERE = "52.94.236.248"
"""An address of AWS's that nothing here answers on."""

pytestmark = pytest.mark.skipif(SITE_VARIABLE in os.environ, reason="it has a site of its own")


class Astray:
    """A gateway without upstream, whose names lead where the test says."""

    def __init__(self, held: Held, site: Path) -> None:
        self.held, self.site = held, site

    def lead(self, name: str, *answers: list[str]) -> None:
        (self.site / "asked").write_text("")
        (self.site / "table.json").write_text(json.dumps({name: answers}))

    def asked(self) -> list[str]:
        return (self.site / "asked").read_text().split()

    def call(self, keys: SigningKeys, call: Call = OBJECT) -> tuple[str, str]:
        answer = ask(self.held.gateway, call.host, call.wire(call.signed(keys)))
        return answer.code, answer.body.decode()


@pytest.fixture(scope="module")
def astray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Astray]:
    folder = tmp_path_factory.mktemp("astray")
    site, policy = folder / "site", folder / "policy"
    site.mkdir()
    policy.mkdir()
    (site / "sitecustomize.py").write_text(SITE)
    (site / "table.json").write_text("{}")
    with StrictAws() as aws, pytest.MonkeyPatch.context() as patch:
        spec = (
            f"{{non_aws: tunnel, sts: {{endpoint_url: '{aws.url}'}},"
            " limits: {connect_timeout_s: 0.5}}"
        )
        documents = role("power", POWER), user("alice", "power"), app("main"), gateway(spec)
        (policy / "all.yaml").write_text("---\n".join(documents))
        patch.setenv(SITE_VARIABLE, str(site))
        running = GatewayProcess(folder, policy=policy, keys=aws.gateway_keys)
        try:
            yield Astray(Held(aws, running, policy), site)
        finally:
            running.stop()


WHERE = {
    "the metadata service": (["169.254.169.254"], "link-local"),
    "the metadata service of tasks": (["169.254.170.2"], "link-local"),
    "the metadata service in IPv6": (["fd00:ec2::254"], "metadata"),
    "the metadata service, mapped": (["::ffff:169.254.169.254"], "link-local"),
    "the metadata service through NAT64": (["64:ff9b::a9fe:a9fe"], "link-local"),
    "the metadata service through 6to4": (["2002:a9fe:a9fe::1"], "link-local"),
    "another cloud's": (["168.63.129.16"], "metadata"),
    "this machine": (["127.0.0.1"], "loopback"),
    "this machine in IPv6": (["::1"], "loopback"),
    "any address": (["0.0.0.0"], "unusable"),
    "the network here": (["10.0.0.5"], "private"),
    "the network here in IPv6": (["fd12::1"], "private"),
    "several of them": (["192.168.1.1", "169.254.169.254"], "private"),
}


@pytest.mark.parametrize(("addresses", "word"), WHERE.values(), ids=WHERE)
def test_an_aws_name_that_leads_there_is_refused_by_its_address(
    astray: Astray, addresses: list[str], word: str
) -> None:
    astray.lead(OBJECT.host, addresses)

    code, said = astray.call(astray.held.keys("alice"))

    assert code == "upstream-failed"
    assert f"resolves to a {word} address, which awsgate does not dial" in said
    assert set(astray.asked()) == {OBJECT.host}


def test_a_name_is_looked_up_once_and_what_was_checked_is_dialled(astray: Astray) -> None:
    """Rebinding: each look-up after the first would give this machine."""
    astray.lead(OBJECT.host, [NOWHERE], ["127.0.0.1"])

    code, said = astray.call(astray.held.keys("alice"))

    assert code == "upstream-failed"
    assert "does not dial" not in said
    assert astray.asked() == [OBJECT.host]


def test_a_tunnel_leads_to_no_metadata_service_either(astray: Astray) -> None:
    astray.lead("evil.example", ["169.254.169.254"], ["127.0.0.1"])

    with plain(astray.held.gateway) as wire:
        wire.send(b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n")
        if not (first := wire.sock.recv(1024)).startswith(b"HTTP/1.1 502"):
            # Said before it is dialled: for that, something has to be sent.
            assert first.startswith(b"HTTP/1.1 200")
            wire.send(b"GET /latest/meta-data/ HTTP/1.1\r\nHost: x\r\n\r\n")
            assert cut_within(wire, 5)
    assert astray.asked() == ["evil.example"]


def test_another_host_gets_its_own_look_up(astray: Astray) -> None:
    other = replace(OBJECT, host="other.s3.us-east-1.amazonaws.com")
    astray.lead(other.host, ["127.0.0.1"])

    code, _ = astray.call(astray.held.keys("alice"), other)

    assert (code, astray.asked()) == ("upstream-failed", [other.host])
