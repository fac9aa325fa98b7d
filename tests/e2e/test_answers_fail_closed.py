"""Real credentials in AWS's answer: whatever fails in the gateway, they stay there.

A saboteur in the gateway's process makes its hooks raise or streams the answer; the
world behind it answers every request with credentials.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from e2e.recording import ASSUMED, http_answer
from e2e.test_fail_closed import FORM, STS_HOST, by_mitmdump, sabotaged
from e2e.test_fail_closed import Bench as Sabotaged
from rawclient import Answer, Call, secure

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


class Bench(Sabotaged):
    def ask(self, call: Call) -> Answer:
        with secure(self.gateway, call.host) as wire:
            wire.send(self.signed(call))
            return wire.read_answer()

    def assume(self) -> Answer:
        return self.ask(Call("sts", STS_HOST, headers=(FORM,), body=ASSUME))


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("answers")
    hosts, answer = ("*.us-east-1.amazonaws.com", *CONTROLS), http_answer(ASSUMED)
    with sabotaged(folder, by_mitmdump, hosts=hosts, answer=answer) as running:
        yield Bench(**vars(running))


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
