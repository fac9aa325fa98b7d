"""Ways to have a request go unrecorded, or recorded as what it was not. None works.

A gateway of the test's own, an AWS that answers at once or never, and the log's place
taken by a folder where it must not be writable.
"""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from awsgate.addon.backlog import DROPPED, MAX_REFUSALS
from awsgate.auditchain import verify
from awsgate.aws.sigv4 import SigningKeys
from awsgate.demo.processes import GatewayProcess
from e2e.recording import (
    ASSUMED,
    BASE_KEYS,
    Recorder,
    bob_of,
    http_answer,
    wait_until,
    write_policy,
)
from rawclient import Call, Wire, head, metric, plain, secure

S3 = Call("s3", "bkt.s3.us-east-1.amazonaws.com", "GET", "/object")
SLOW = "slow.s3.us-east-1.amazonaws.com"
UNSIGNED = head("GET", "/", [(b"Host", S3.host.encode())])


@dataclass
class Bench:
    gateway: GatewayProcess
    keys: SigningKeys
    log: Path

    def send(self, wire: Wire, call: Call) -> int:
        wire.send(call.wire(call.signed(self.keys)))
        return wire.read_answer().status

    def take_log_away(self) -> None:
        """Once the line of the request before is in it."""
        assert wait_until(lambda: len(self.gateway.audit()) == 1)
        self.log.rename(self.log.with_suffix(".kept"))
        self.log.mkdir()

    def give_log_back(self) -> None:
        self.log.rmdir()
        self.log.with_suffix(".kept").rename(self.log)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    world, sts = Recorder(), Recorder(answer=http_answer(ASSUMED))
    never = Recorder(answer=b"")
    gateway = GatewayProcess(
        tmp_path,
        policy=write_policy(
            tmp_path / "policy.yaml",
            sts={"endpoint_url": sts.url},
            upstreams=[
                {"hosts": [SLOW], "url": never.url},
                {"hosts": ["*.amazonaws.com"], "url": world.url},
            ],
            non_aws="tunnel",
        ),
        keys=BASE_KEYS,
    )
    yield Bench(gateway, bob_of(gateway), gateway.state / "audit.jsonl")
    gateway.stop()
    for each in (world, sts, never):
        each.close()


def test_a_forwarded_request_is_recorded_however_many_are_refused_meanwhile(
    bench: Bench,
) -> None:
    with secure(bench.gateway, S3.host) as wire:
        assert bench.send(wire, S3) == 200
        bench.take_log_away()
        assert bench.send(wire, replace(S3, target="/unrecorded")) == 200
        assert wait_until(lambda: bench.send(wire, S3) == 503), "nothing more is forwarded"
        for _ in range(MAX_REFUSALS + 100):
            wire.send(UNSIGNED)
            assert wire.read_answer().status == 403
        bench.give_log_back()
        assert wait_until(lambda: bench.send(wire, S3) == 200)

    lines = bench.gateway.audit()
    assert [x["decision"] for x in lines if x["path"] == "/unrecorded"] == ["allowed"]
    (dropped,) = [x for x in lines if x["event"] == DROPPED]
    assert re.match(r"1\d\d lines from ", dropped["reason"])
    assert verify(bench.log)[1] is None


def test_no_tunnel_opens_while_nothing_can_be_recorded(bench: Bench) -> None:
    with secure(bench.gateway, S3.host) as wire:
        assert bench.send(wire, S3) == 200
        bench.take_log_away()
        assert bench.send(wire, S3) == 200
        assert wait_until(lambda: bench.send(wire, S3) == 503)

    with plain(bench.gateway) as wire:
        wire.send(b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n")
        answer = wire.read_answer()

    assert (answer.status, answer.code) == (503, "gateway-fault")


def test_a_request_that_is_under_way_is_recorded_when_the_gateway_ends(bench: Bench) -> None:
    call = replace(S3, host=SLOW, target="/waiting")
    with secure(bench.gateway, SLOW) as wire:
        wire.send(call.wire(call.signed(bench.keys)))
        time.sleep(1.5)
        bench.gateway.process.send_signal(signal.SIGTERM)
        assert bench.gateway.process.wait(15) == 0

    (line,) = [x for x in bench.gateway.audit() if x["path"] == "/waiting"]
    assert (line["decision"], line["user"], line["status"]) == ("allowed", "bob", 0)
    assert line["reason"] == "the gateway was stopped before the answer was complete"


@pytest.mark.parametrize(
    "body", [b"zz\r\nnot a chunk\r\n", b"5\r\nhel"], ids=["badly chunked", "cut off"]
)
def test_what_was_never_proved_is_not_recorded_as_allowed(bench: Bench, body: bytes) -> None:
    call = Call("lambda", "lambda.us-east-1.amazonaws.com", "POST", "/2015-03-31/functions/f/x",
                chunked=True)  # fmt: skip
    wrong = SigningKeys(bench.keys.access_key_id, "w" * 43, bench.keys.session_token)
    with secure(bench.gateway, call.host) as wire, suppress(OSError):
        wire.send(head("POST", call.target, call.signed(wrong)) + body)
        if body.startswith(b"zz"):
            wire.read_answer()

    assert wait_until(lambda: len(bench.gateway.audit()) == 1)
    (line,) = bench.gateway.audit()
    assert line["decision"] == "refused"
    assert line["reason"]
    counted = bench.gateway.metrics()
    assert metric(counted, "awsgate_requests_total", decision="allowed") == 0


def test_actions_that_nobody_proved_do_not_fill_the_metrics(bench: Bench) -> None:
    host = "dynamodb.us-east-1.amazonaws.com"
    with secure(bench.gateway, host) as wire:
        for number in range(300):
            fields = [(b"Host", host.encode()), (b"Content-Length", b"0"),
                      (b"X-Amz-Target", b"DynamoDB_20120810.Junk%d" % number)]  # fmt: skip
            wire.send(head("POST", "/", fields))
            assert wire.read_answer().status == 403
        call = Call("dynamodb", host, headers=(("X-Amz-Target", "DynamoDB_20120810.ListTables"),))
        assert bench.send(wire, call) == 200

    assert wait_until(lambda: "dynamodb:ListTables" in bench.gateway.metrics())
    assert "Junk" not in bench.gateway.metrics()


def test_a_header_name_of_50_kib_does_not_fill_log_and_answer(bench: Bench) -> None:
    fields = [*S3.signed(bench.keys), (b"X-Amz-" + b"a" * 50_000, b"x")]
    with secure(bench.gateway, S3.host) as wire:
        wire.send(head("GET", S3.target, fields))
        answer = wire.read_answer()

    assert answer.code == "bad-signature"
    assert len(answer.body) < 1000
    assert wait_until(lambda: len(bench.gateway.audit()) == 1)
    assert len(bench.gateway.audit()[0]["reason"]) <= 500
