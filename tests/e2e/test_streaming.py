"""Bodies of any size in constant memory, and bytes that arrive as they were sent.

The upstream issues the role's keys itself (``strictaws``), so it can verify each
signature that the gateway makes, with botocore.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from botocore.config import Config

from awsgate.aws.sigv4 import SigningKeys
from awsgate.demo.embedded_aws import POWER_ROLE
from awsgate.demo.processes import GatewayProcess
from e2e.serving import Memory
from rawclient import Call, ask, audit_after, head, mint_keys, secure
from refused import CALLS
from strictaws import BIG, BLOCK, KEYS, Arrived, StrictAws

HOST = "awsgate-demo.s3.us-east-1.amazonaws.com"
MAX_GROWTH = 30 * 1024 * 1024

POLICY = f"""\
kind: role
version: v5
metadata: {{name: all}}
spec: {{allow: {{app_labels: {{'*': '*'}}, aws_role_arns: ['{POWER_ROLE}']}}}}
---
kind: app
version: v3
metadata: {{name: awsconsole-test, labels: {{aws_account_id: '123456789012'}}}}
spec: {{uri: https://console.aws.amazon.com/}}
---
kind: user
version: v2
metadata: {{name: bob}}
spec: {{roles: [all]}}
"""


@pytest.fixture(scope="module")
def strict() -> Iterator[StrictAws]:
    running = StrictAws()
    yield running
    running.close()


@pytest.fixture(scope="module")
def gate(strict: StrictAws, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("streaming")
    policy = folder / "policy.yaml"
    policy.write_text(POLICY, "utf-8")
    base = {"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": "made-up"}
    running = GatewayProcess(folder, policy=policy, keys=base, upstream=strict.url)
    # So that what is loaded once (STS client, certificate) is no growth.
    warm = Call("s3", HOST, "GET", "/warm")
    ask(running, HOST, warm.wire(warm.signed(_keys(running))))
    yield running
    running.stop()


@pytest.fixture
def keys(gate: GatewayProcess) -> SigningKeys:
    return _keys(gate)


def _keys(gateway: GatewayProcess) -> SigningKeys:
    return mint_keys(gateway.state, user="bob", role=POWER_ROLE, entropy=b"S" * 32)


# --- size --------------------------------------------------------------------------


def test_an_unsigned_upload_streams(
    gate: GatewayProcess, strict: StrictAws, keys: SigningKeys
) -> None:
    call = Call("s3", HOST, "PUT", "/up", body=BLOCK * (BIG // len(BLOCK)), sign_body=False)
    fields = call.signed(keys)
    lines, memory = len(gate.audit()), Memory(gate)

    answer = ask(gate, HOST, call.wire(fields))

    arrived = strict.arrived[-1]
    assert (answer.status, arrived.fault) == (200, "")
    assert arrived.values("x-amz-content-sha256") == ["UNSIGNED-PAYLOAD"]
    assert (arrived.body_bytes, arrived.body_sha256) == (BIG, _sha256(call.body))
    assert memory.growth() < MAX_GROWTH
    (line,) = audit_after(gate, lines, lines=1)
    assert (line["bytes_in"], line["bytes_out"], line["status"]) == (BIG, 0, 200)


def test_an_upload_as_boto3_sends_it_streams(
    gate: GatewayProcess, strict: StrictAws, keys: SigningKeys, tmp_path: Path
) -> None:
    """Chunked, with an unsigned trailer that holds the checksum, after a 100."""
    file = tmp_path / "body"
    file.write_bytes(BLOCK * (BIG // len(BLOCK)))
    client = boto3.client(
        "s3",
        region_name="us-east-1",
        aws_access_key_id=keys.access_key_id,
        aws_secret_access_key=keys.secret_access_key,
        aws_session_token=keys.session_token,
        verify=str(gate.certs / "ca-cert.pem"),
        config=Config(proxies={"https": gate.proxy}),
    )
    lines, memory = len(gate.audit()), Memory(gate)
    strict.keep_bodies = True

    with file.open("rb") as body:
        client.put_object(Bucket="awsgate-demo", Key="up", Body=body)
    client.close()

    strict.keep_bodies = False
    arrived = strict.arrived[-1]
    assert arrived.fault == ""
    assert arrived.values("x-amz-content-sha256") == ["STREAMING-UNSIGNED-PAYLOAD-TRAILER"]
    assert arrived.values("expect") == []
    content, trailer = _decoded(arrived)
    assert (len(content), _sha256(content)) == (BIG, _sha256(file.read_bytes()))
    assert trailer.startswith(b"x-amz-checksum-crc32:")
    assert memory.growth() < MAX_GROWTH
    (line,) = audit_after(gate, lines, lines=1)
    assert line["bytes_in"] == arrived.body_bytes > BIG


def test_a_download_streams(gate: GatewayProcess, strict: StrictAws, keys: SigningKeys) -> None:
    call = Call("s3", HOST, "GET", "/big")
    lines, memory = len(gate.audit()), Memory(gate)

    answer = ask(gate, HOST, call.wire(call.signed(keys)))

    assert (answer.status, len(answer.body), answer.complete) == (200, BIG, True)
    assert _sha256(answer.body) == _sha256(BLOCK * (BIG // len(BLOCK)))
    assert memory.growth() < MAX_GROWTH
    (line,) = audit_after(gate, lines, lines=1)
    assert (line["bytes_in"], line["bytes_out"]) == (0, BIG)
    assert strict.arrived[-1].fault == ""


def test_what_must_be_hashed_first_is_held(
    gate: GatewayProcess, strict: StrictAws, keys: SigningKeys
) -> None:
    """The control of the three above: this is how growth looks."""
    json = CALLS["json 1.0"]
    call = Call("dynamodb", json.host, headers=json.headers, body=b" " * (BIG // 2))
    memory = Memory(gate)

    answer = ask(gate, json.host, call.wire(call.signed(keys)))

    assert (answer.status, strict.arrived[-1].body_bytes) == (200, BIG // 2)
    assert memory.growth() > BIG // 2


def test_a_body_that_does_not_match_its_hash_arrives_with_the_hash_that_was_signed(
    gate: GatewayProcess, strict: StrictAws, keys: SigningKeys
) -> None:
    """The gateway streams it, so AWS compares; the hash it is told must be the client's."""
    call = Call("s3", HOST, "PUT", "/up", body=b"the body as it was signed")
    raw = call.wire(call.signed(keys))

    ask(gate, HOST, raw[:-1] + b"!")

    arrived = strict.arrived[-1]
    assert arrived.fault == ""
    assert arrived.values("x-amz-content-sha256") == [_sha256(call.body)]
    assert arrived.body_sha256 != _sha256(call.body)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _decoded(arrived: Arrived) -> tuple[bytes, bytes]:
    """Give the content and the trailer of an aws-chunked body."""
    content, at = bytearray(), 0
    while True:
        end = arrived.body.index(b"\r\n", at)
        size = int(arrived.body[at:end], 16)
        at = end + 2
        if size == 0:
            return bytes(content), arrived.body[at:]
        content += arrived.body[at : at + size]
        at += size + 2


# --- bytes ---------------------------------------------------------------------------

TARGETS = [
    "/",
    "/a//b",
    "//a",
    "/a/../b",
    "/a/./b/",
    "/..",
    "/a%2Fb",
    "/a%2fb",
    "/a+b",
    "/a%20b",
    "/a%2Bb",
    "/%E2%82%AC",
    "/a~b_c-d.e",
    "/a%25252Fb",
    "/a?acl",
    "/a?acl=",
    "/a?list-type=2&prefix=x%2Fy",
    "/a?b=2&a=1&a=0",
    "/a?prefix=x%2By",
    "/a?prefix=%E2%82%AC&delimiter=%2F",
    "/a?",
]


@pytest.mark.parametrize("target", TARGETS)
def test_path_and_query_arrive_as_they_were_sent(
    gate: GatewayProcess, strict: StrictAws, keys: SigningKeys, target: str
) -> None:
    call = Call("s3", HOST, "GET", target)

    answer = ask(gate, HOST, call.wire(call.signed(keys)))

    arrived = strict.arrived[-1]
    assert (answer.status, arrived.target, arrived.fault) == (200, target, "")


@pytest.mark.parametrize("signed_as", ["as it is sent", "encoded"])
def test_a_path_that_is_not_encoded_arrives_as_s3_signs_it(
    gate: GatewayProcess, strict: StrictAws, keys: SigningKeys, signed_as: str
) -> None:
    """OpenDAL and aws4fetch send one spelling of ``'`` and sign the other."""
    raw, encoded = "/!*'();:@&=$,/x%27+y", "/%21%2A%27%28%29%3B%3A%40%26%3D%24%2C/x%27+y"
    signed = Call("s3", HOST, "GET", raw if signed_as == "as it is sent" else encoded).signed(keys)

    answer = ask(gate, HOST, Call("s3", HOST, "GET", raw).wire(signed))

    arrived = strict.arrived[-1]
    assert (answer.status, arrived.target, arrived.fault) == (200, encoded, "")


def test_another_key_has_another_signature(
    gate: GatewayProcess, strict: StrictAws, keys: SigningKeys
) -> None:
    signed = Call("s3", HOST, "GET", "/it%2527s").signed(keys)
    seen = len(strict.arrived)

    answers = [
        ask(gate, HOST, Call("s3", HOST, "GET", target).wire(signed))
        for target in ("/it%27s", "/it's")
    ]

    assert [answer.code for answer in answers] == ["bad-signature", "bad-signature"]
    assert len(strict.arrived) == seen


def test_a_plus_in_a_query_is_signed_as_a_space_and_sent_as_a_plus(
    gate: GatewayProcess, strict: StrictAws, keys: SigningKeys
) -> None:
    signed = Call("s3", HOST, "GET", "/a?prefix=x%20y").signed(keys)

    answer = ask(gate, HOST, head("GET", "/a?prefix=x+y", signed))

    arrived = strict.arrived[-1]
    assert (answer.status, arrived.target, arrived.fault) == (200, "/a?prefix=x+y", "")


@pytest.mark.parametrize("protocol", CALLS)
def test_every_protocol_is_signed_again_rightly(
    gate: GatewayProcess, strict: StrictAws, keys: SigningKeys, protocol: str
) -> None:
    call = CALLS[protocol]

    answer = ask(gate, call.host, call.wire(call.signed(keys)))

    arrived = strict.arrived[-1]
    assert (answer.status, arrived.fault, arrived.body) == (200, "", call.body)
    assert arrived.values("host") == [call.host]


def test_what_is_between_two_hops_does_not_arrive(
    gate: GatewayProcess, strict: StrictAws, keys: SigningKeys
) -> None:
    call = Call("s3", HOST, "GET", "/a", headers=(("X-Amz-Meta-Signed", "1"),))
    hop = {
        "Connection": "keep-alive, X-Named, X-Amz-Meta-Signed",
        "X-Named": "1",
        "Keep-Alive": "timeout=5",
        "Proxy-Connection": "keep-alive",
        "Proxy-Authorization": "Basic canary",
        "TE": "trailers",
        "Via": "1.1 other",
        "Forwarded": "for=10.0.0.1",
        "X-Forwarded-For": "10.0.0.1",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": HOST,
        "X-Real-IP": "10.0.0.1",
    }
    kept = {"User-Agent": "raw/1", "If-None-Match": '"e"', "traceparent": "00-1-2-01"}
    fields = call.signed(keys) + [(n.encode(), v.encode()) for n, v in {**hop, **kept}.items()]

    answer = ask(gate, HOST, head("GET", "/a", fields))

    arrived = strict.arrived[-1]
    assert (answer.status, arrived.fault) == (200, "")
    assert {name for name in hop if arrived.values(name.lower())} == set()
    assert {name: arrived.values(name.lower()) for name in kept} == {
        name: [value] for name, value in kept.items()
    }
    assert arrived.values("x-amz-meta-signed") == ["1"]


def test_the_clients_own_credentials_do_not_arrive(
    gate: GatewayProcess, strict: StrictAws, keys: SigningKeys
) -> None:
    call = Call("s3", HOST, "GET", "/a")

    ask(gate, HOST, call.wire(call.signed(keys)))

    text = repr(strict.arrived[-1])
    assert KEYS.access_key_id in text
    assert keys.access_key_id not in text
    assert keys.session_token not in text


def test_one_connection_carries_many_requests(
    gate: GatewayProcess, strict: StrictAws, keys: SigningKeys
) -> None:
    seen = len(strict.arrived)
    upload = Call("s3", HOST, "PUT", "/up", body=b"x" * 100_000, sign_body=False)
    calls = [Call("s3", HOST, "GET", "/a"), upload, Call("s3", HOST, "GET", "/b"), upload]

    with secure(gate, HOST) as wire:
        for call in calls:
            wire.send(call.wire(call.signed(keys)))
            assert wire.read_answer().status == 200

    got = [(a.method, a.body_bytes, a.fault) for a in strict.arrived[seen:]]
    assert got == [(call.method, len(call.body), "") for call in calls]
