"""What the fuzzer found: forms that were not seen for what they are, in every way to run it."""

from __future__ import annotations

import pytest

from awsgate.aws.sigv4 import SigningKeys
from awsgate.demo.embedded_aws import EmbeddedAws
from awsgate.demo.processes import GatewayProcess
from rawclient import Call, head, keys_of, plain, secure
from refused import CALLS

S3 = CALLS["s3"]
PUT = Call("s3", S3.host, "PUT", "/hidden", sign_body=False)

# mitmproxy takes these away from a value's ends, so that the gate sees a good one.
HIDDEN = {
    "a vertical tab after the coding": (b"Transfer-Encoding: chunked\x0b", b"0\r\n\r\n"),
    "a form feed before the coding": (b"Transfer-Encoding: \x0cchunked", b"0\r\n\r\n"),
    "a CR before the coding": (b"Transfer-Encoding:\rchunked", b"0\r\n\r\n"),
    "a CR after the length": (b"Content-Length: 5\r", b"hello"),
    "a vertical tab before the length": (b"Content-Length:\x0b5", b"hello"),
}


@pytest.fixture(scope="module")
def keys(bob: dict[str, str]) -> SigningKeys:
    return keys_of(bob)


def to_s3(aws: EmbeddedAws) -> int:
    """Count what arrived, but for what the gateway asks of STS itself."""
    return sum(request["path"] != "/" for request in aws.requests())


@pytest.mark.parametrize(("line", "body"), HIDDEN.values(), ids=HIDDEN)
def test_a_framing_with_a_control_character_is_none(
    gateway: GatewayProcess, aws: EmbeddedAws, keys: SigningKeys, line: bytes, body: bytes
) -> None:
    fields = [(n, v) for n, v in PUT.signed(keys) if n.lower() != b"content-length"]
    raw = head("PUT", "/hidden", fields)[:-2] + line + b"\r\n\r\n" + body
    seen = to_s3(aws)

    with secure(gateway, S3.host) as wire:
        wire.send(raw + S3.wire(S3.signed(keys)))
        answer = wire.read_answer()
        closed = wire.at_end()

    assert (answer.status, closed) == (400, True)
    assert to_s3(aws) == seen, "nor may what follows it go on"


def test_a_connection_ends_where_the_client_says_so(
    gateway: GatewayProcess, aws: EmbeddedAws, keys: SigningKeys
) -> None:
    last = [*S3.signed(keys), (b"Connection", b"close")]
    seen = to_s3(aws)

    with secure(gateway, S3.host) as wire:
        wire.send(head("GET", S3.target, last) + S3.wire(S3.signed(keys)))
        answer = wire.read_answer()
        closed = wire.at_end()

    assert (answer.status, answer.headers.get("connection"), closed) == (200, "close", True)
    assert to_s3(aws) == seen + 1, "what follows is of nobody (RFC 9112, 9.6)"


@pytest.mark.parametrize("before", ["https://evil.example.com", "http://169.254.169.254"])
def test_an_absolute_form_does_not_pass_beside_x_forwarded_host(
    gateway: GatewayProcess, aws: EmbeddedAws, keys: SigningKeys, before: str
) -> None:
    call = Call("s3", S3.host, "GET", S3.target, headers=(("X-Forwarded-Host", S3.host),))
    fields = call.signed(keys)
    seen = to_s3(aws)

    with plain(gateway) as wire:
        wire.send(head("GET", before + S3.target, fields))
        answer = wire.read_answer()
    with plain(gateway) as wire:
        wire.send(head("GET", S3.target, fields))
        good = wire.read_answer()

    assert (answer.status, answer.code) == (400, "unsupported")
    assert good.status == 200
    assert to_s3(aws) == seen + 1
