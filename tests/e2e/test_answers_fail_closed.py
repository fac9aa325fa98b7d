"""Real credentials in AWS's answer: whatever fails in the gateway, they stay there.

A saboteur in the gateway's process makes its hooks raise or streams the answer; the
world behind it answers every request with credentials.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from awsgate.aws.sigv4 import SigningKeys
from awsgate.demo.processes import GatewayProcess
from e2e.recording import (
    ASSUMED,
    BASE_KEYS,
    HERE,
    Recorder,
    bob_of,
    http_answer,
    throwaway_certificate,
    write_policy,
)
from rawclient import Answer, Call, secure

STS = "sts.us-east-1.amazonaws.com"
FORM = ("Content-Type", "application/x-www-form-urlencoded")
ASSUME = b"Action=AssumeRole&Version=2011-06-15&RoleArn=arn:aws:iam::1:role/x&RoleSessionName=bob"
SECRET = b"made-up-too"

VPCE = "vpce-1a2b3c4d-5e6f.s3.us-east-1.vpce.amazonaws.com"
CONTROLS = (f"control.{VPCE}", f"123456789012.control.{VPCE}")
ACCESS = "/v20180820/accessgrantsinstance/dataaccess?permission=READ&target=s3%3A%2F%2Fb%2F%2A"


def ssm(operation: str) -> Call:
    target = (("X-Amz-Target", f"AmazonSSM.{operation}"), ("Content-Type", JSON))
    return Call("ssm", "ssm.us-east-1.amazonaws.com", headers=target, body=b"{}")


JSON = "application/x-amz-json-1.1"
ISSUING = {
    "S3 Control behind a VPC endpoint": Call("s3", CONTROLS[0], "GET", ACCESS),
    "S3 Control behind one, as boto3 asks": Call("s3", CONTROLS[1], "GET", ACCESS),
    "an operation that no model has": ssm("RequestManagedInstanceRoleToken"),
    "an operation in other capitals": ssm("getaccesstoken"),
}

SABOTAGE = {
    "response raises": ("raise in response",),
    "responseheaders raises": ("raise in responseheaders", "raise in response"),
    "an addon streams the answer": ("stream the answer",),
    "an addon streams it and response raises": ("stream the answer", "raise in response"),
}


@dataclass
class Bench:
    gateway: GatewayProcess
    keys: SigningKeys
    control: Path

    def set(self, *does: str, off: tuple[str, ...] = ()) -> None:
        new = self.control.with_suffix(".new")
        new.write_text(json.dumps({"does": does, "off": off}), "utf-8")
        new.replace(self.control)

    def ask(self, call: Call) -> Answer:
        with secure(self.gateway, call.host) as wire:
            wire.send(call.wire(call.signed(self.keys)))
            return wire.read_answer()

    def assume(self) -> Answer:
        return self.ask(Call("sts", STS, headers=(FORM,), body=ASSUME))


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("answers")
    tls, trusted = throwaway_certificate(folder, ["*.us-east-1.amazonaws.com", *CONTROLS])
    answer = http_answer(ASSUMED)
    world, sts = Recorder(tls=tls, answer=answer), Recorder(answer=answer)
    control = folder / "control.json"
    control.write_text('{"does": [], "off": []}', "utf-8")
    gateway = GatewayProcess(
        folder,
        policy=write_policy(folder / "policy.yaml", sts={"endpoint_url": sts.url}),
        keys={**BASE_KEYS, "SABOTEUR_CONTROL": str(control), "SABOTEUR_WORLD": str(world.port)},
        script=HERE / "saboteur.py",
        options=("--set", f"ssl_verify_upstream_trusted_ca={trusted}"),
    )
    yield Bench(gateway, bob_of(gateway), control)
    gateway.stop()
    world.close()
    sts.close()


def test_without_sabotage_the_client_gets_surrogates(bench: Bench) -> None:
    bench.set()

    answer = bench.assume()

    assert answer.status == 200
    assert b"<AccessKeyId>GATE" in answer.body
    assert SECRET not in answer.body


@pytest.mark.parametrize("row", ISSUING)
def test_whoever_issues_credentials_the_client_gets_surrogates(bench: Bench, row: str) -> None:
    bench.set()

    answer = bench.ask(ISSUING[row])

    assert answer.status == 200
    assert b"<AccessKeyId>GATE" in answer.body
    assert SECRET not in answer.body


@pytest.mark.parametrize("row", SABOTAGE)
def test_an_answer_that_nobody_rewrote_is_withheld(bench: Bench, row: str) -> None:
    bench.set(*SABOTAGE[row])

    answer = bench.assume()

    assert SECRET not in answer.body
    assert answer.status == (200 if b"<AccessKeyId>GATE" in answer.body else 500)


@pytest.mark.parametrize("row", [row for row in SABOTAGE if "raise" in row])
def test_with_the_tripwire_removed_it_gets_out(bench: Bench, row: str) -> None:
    """The twin: the rows above are held by the tripwire, not by chance."""
    bench.set(*SABOTAGE[row], off=("answers",))

    assert SECRET in bench.assume().body
