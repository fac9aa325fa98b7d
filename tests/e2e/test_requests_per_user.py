"""A user may have so many requests under way, and no more: counted exactly, however they end."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime

import boto3
import pytest
from botocore.config import Config

from awsgate.aws.sigv4 import SigningKeys
from e2e.held import BUCKET, OBJECT, POWER, STREAM, Bench, app, bench_in, gateway, role, until, user
from rawclient import Call, Wire, head, metric, secure
from refused import CALLS, error_of
from signers import botocore_sign

LIMIT = 2
UPLOAD = Call("s3", BUCKET, "PUT", "/upload", body=b"x" * 1000)
AWS_WORDS = {
    "s3": "SlowDown",
    "query": "Throttling",
    "ec2": "RequestLimitExceeded",
    "json 1.0": "ThrottlingException",
    "json 1.1": "ThrottlingException",
    "rest-json": "ThrottlingException",
    "rest-xml": "Throttling",
    "cbor": "ThrottlingException",
}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    documents = {
        "power.yaml": role("power", POWER),
        "users.yaml": user("alice", "power") + "---\n" + user("bob", "power"),
        "gateway.yaml": gateway(f"{{limits: {{max_requests_per_user: {LIMIT}}}}}"),
        "app.yaml": app("main"),
    }
    with bench_in(tmp_path_factory.mktemp("throttled"), documents) as made:
        yield made


def begin(wire: Wire, keys: SigningKeys, call: Call = UPLOAD) -> None:
    """Send all of an upload but its last byte: it is under way until that comes."""
    wire.send(call.wire(call.signed(keys))[:-1])


def under_way(bench: Bench, opened: ExitStack, who: str = "alice") -> list[Wire]:
    """Fill the share of a user with uploads; give their connections."""
    keys, seen = bench.keys(who), len(bench.aws.requests)
    wires = [opened.enter_context(secure(bench.gateway, BUCKET)) for _ in range(LIMIT)]
    for wire in wires:
        begin(wire, keys)
    # AWS has both heads by then, so both are counted.
    assert until(lambda: len(bench.aws.requests) >= seen + LIMIT, within=5)
    return wires


def finish(wire: Wire) -> int:
    wire.send(UPLOAD.body[-1:])
    return wire.read_answer().status


def test_one_too_many_is_throttled_and_another_user_is_not(bench: Bench) -> None:
    before = metric(bench.gateway.metrics(), "awsgate_refusals_total", code="throttled")
    with ExitStack() as opened:
        first, second = under_way(bench, opened)
        alice, bob = (opened.enter_context(bench.held(who)) for who in ("alice", "bob"))
        arrived = len(bench.aws.requests)

        answer = alice.ask()
        assert (answer.status, answer.code) == (503, "throttled")
        assert len(bench.aws.requests) == arrived, "AWS was asked"
        assert bob.verdict() == "200"
        assert finish(first) == 200
        assert alice.verdict() == "200", "there is room again"
        assert finish(second) == 200

    (line,) = bench.lines(code="throttled")
    assert (line["user"], line["decision"], line["status"]) == ("alice", "refused", 503)
    assert "2 requests of alice are under way" in line["reason"]
    counted = metric(bench.gateway.metrics(), "awsgate_refusals_total", code="throttled")
    assert counted == before + 1


@pytest.mark.parametrize("protocol", AWS_WORDS)
def test_it_is_said_as_aws_says_it(bench: Bench, protocol: str) -> None:
    with ExitStack() as opened:
        wires = under_way(bench, opened)
        call = CALLS[protocol]
        answer = opened.enter_context(bench.held("alice", call)).ask()
        assert (answer.status, answer.code) == (503, "throttled")
        assert error_of(answer, protocol)["Code"] == AWS_WORDS[protocol]
        assert [finish(wire) for wire in wires] == [200] * LIMIT


def test_boto3_waits_and_tries_again(bench: Bench) -> None:
    keys = bench.keys("alice")
    client = boto3.client(
        "s3", region_name="us-east-1",
        aws_access_key_id=keys.access_key_id, aws_secret_access_key=keys.secret_access_key,
        aws_session_token=keys.session_token, verify=str(bench.gateway.certs / "ca-cert.pem"),
        config=Config(
            proxies={"https": bench.gateway.proxy},
            retries={"mode": "standard", "total_max_attempts": 10},
        ),
    )  # fmt: skip
    refused = len(bench.lines(code="throttled"))
    with ExitStack() as opened:
        first, second = under_way(bench, opened)

        def make_room() -> None:
            until(lambda: len(bench.lines(code="throttled")) > refused, within=10)
            finish(first)

        freeing = threading.Thread(target=make_room)
        freeing.start()
        answer = client.head_object(Bucket="held", Key="generated/5")
        freeing.join()
        finish(second)

    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert answer["ResponseMetadata"]["RetryAttempts"] >= 1


# --- however a request ends, it is counted no more -------------------------------------------


def left_in_the_upload(bench: Bench, keys: SigningKeys) -> None:
    with secure(bench.gateway, BUCKET) as wire:
        begin(wire, keys)
        time.sleep(0.1)


def left_in_the_download(bench: Bench, keys: SigningKeys) -> None:
    with secure(bench.gateway, BUCKET) as wire:
        wire.send(STREAM.wire(STREAM.signed(keys)))
        assert wire.sock.recv(1000)


def left_before_the_body(bench: Bench, keys: SigningKeys) -> None:
    call = CALLS["query"]
    with secure(bench.gateway, call.host) as wire:
        wire.send(head(call.method, call.target, call.signed(keys)) + call.body[:5])
        time.sleep(0.1)


def spoilt(bench: Bench, keys: SigningKeys) -> None:
    """A signed chunk that is not what was signed: refused midway."""
    body = b"5;chunk-signature=%b\r\nhello\r\n" % (b"0" * 64)
    headers = [
        ("Content-Length", str(len(body))),
        ("Content-Encoding", "aws-chunked"),
        ("X-Amz-Decoded-Content-Length", "5"),
    ]
    fields = botocore_sign(
        "PUT", BUCKET, "/spoilt", headers, b"", service="s3", region="us-east-1", keys=keys,
        when=datetime.now(UTC), payload="STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
    )  # fmt: skip
    with secure(bench.gateway, BUCKET) as wire:
        wire.send(head("PUT", "/spoilt", fields) + body)
        assert wire.read_answer().code == "bad-signature"


def forged(bench: Bench, keys: SigningKeys) -> None:
    """Somebody who has the token and not the secret."""
    with secure(bench.gateway, BUCKET) as wire:
        wrong = SigningKeys(keys.access_key_id, "wrong", keys.session_token)
        wire.send(OBJECT.wire(OBJECT.signed(wrong)))
        assert wire.read_answer().code == "bad-signature"


def failed(bench: Bench, keys: SigningKeys) -> None:
    """AWS breaks off before it has answered."""
    with secure(bench.gateway, BUCKET) as wire:
        call = Call("s3", BUCKET, "GET", "/no-such-key")
        wire.send(call.wire(call.signed(keys)))
        assert wire.read_answer().status == 404


ENDS: tuple[Callable[[Bench, SigningKeys], None], ...] = (
    left_in_the_upload, left_in_the_download, left_before_the_body, spoilt, forged, failed,
)  # fmt: skip


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
def test_what_is_over_is_counted_no_more(
    bench: Bench, end: Callable[[Bench, SigningKeys], None]
) -> None:
    keys = bench.keys("alice")
    for _ in range(2 * LIMIT):
        end(bench, keys)
        time.sleep(0.05)
    with ExitStack() as opened, bench.held("alice") as asking:
        assert until(lambda: asking.verdict() == "200", within=2)
        wires = under_way(bench, opened)
        assert asking.verdict() == "throttled", "and none was counted twice"
        assert [finish(wire) for wire in wires] == [200] * LIMIT
        assert until(lambda: asking.verdict() == "200", within=2)


def test_what_is_forged_takes_nobodys_share(bench: Bench) -> None:
    keys = bench.keys("alice")
    wrong = SigningKeys(keys.access_key_id, os.urandom(8).hex(), keys.session_token)
    with ExitStack() as opened, bench.held("alice") as asking:
        for _ in range(2 * LIMIT):
            wire = opened.enter_context(secure(bench.gateway, BUCKET))
            begin(wire, wrong)
        time.sleep(0.2)
        assert asking.verdict() == "200"
