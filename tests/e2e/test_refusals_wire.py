"""What is refused for its form on the wire, byte by byte through a real gateway.

All of it is ``unsupported``: requests with two readings, and ways to sign or to talk
that this version does not know.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from awsgate.aws.sigv4 import SigningKeys
from awsgate.demo.embedded_aws import EmbeddedAws
from awsgate.demo.processes import GatewayProcess
from rawclient import Call, ask, audit_after, head, keys_of, replaced, secure, served, tunnel
from refused import CALLS, Probe, error_of
from signers import Fields

S3, QUERY = CALLS["s3"], CALLS["query"]

Spoil = Callable[[Fields], bytes]
"""Makes a request of the header fields of a good, signed GET."""


@pytest.fixture(scope="module")
def keys(bob: dict[str, str]) -> SigningKeys:
    return keys_of(bob)


def _get(*more: tuple[bytes, bytes], method: str = "GET", target: str = "/hello.txt") -> Spoil:
    return lambda fields: head(method, target, [*fields, *more])


def _raw_lines(*lines: bytes) -> Spoil:
    """Add header lines as they are, colons, folds and all."""
    return lambda fields: head("GET", "/hello.txt", fields)[:-2] + b"\r\n".join(lines) + b"\r\n\r\n"


def _authorised_by(value: bytes) -> Spoil:
    return lambda fields: head("GET", "/hello.txt", replaced(fields, b"authorization", value))


SPOILED: dict[str, tuple[Spoil, int]] = {
    "a presigned URL": (
        _get(target="/hello.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=" + "0" * 64),
        400,
    ),
    "a presigned URL of old": (_get(target="/hello.txt?AWSAccessKeyId=GATE&Signature=abc"), 400),
    "Signature Version 2": (_authorised_by(b"AWS AKIAIOSFODNN7EXAMPLE:c2lnbmF0dXJl"), 400),
    "chunks signed with SigV4a": (
        lambda f: head(
            "GET",
            "/hello.txt",
            replaced(f, b"x-amz-content-sha256", b"STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"),
        ),
        400,
    ),
    "half of a WebSocket": (_get((b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")), 400),
    "absolute form": (_get(target=f"https://{S3.host}/hello.txt"), 400),
    "absolute form to elsewhere": (_get(target="http://169.254.169.254/latest"), 400),
    "Host twice": (_get((b"Host", b"iam.amazonaws.com")), 400),
    "Authorization twice": (_get((b"Authorization", b"AWS4-HMAC-SHA256 x")), 400),
    "another Host": (
        lambda f: head("GET", "/hello.txt", replaced(f, b"host", b"iam.amazonaws.com")),
        421,
    ),
    "no Host": (
        lambda f: head("GET", "/hello.txt", [(n, v) for n, v in f if n.lower() != b"host"]),
        400,
    ),
    "TRACE": (_get(method="TRACE"), 405),
    "OPTIONS": (_get(method="OPTIONS"), 405),
    "a method in small letters": (_get(method="get"), 405),
    "a fragment": (_get(target="/hello.txt#here"), 400),
    "a path of other than ASCII": (_get(target="/h\xe9llo.txt"), 400),
    "the asterisk form": (_get(target="*"), 400),
    "a target over 32 KiB": (_get(target="/" + "a" * 33_000), 414),
    "a folded header": (_raw_lines(b"X-Folded: one", b" two"), 400),
    "a bare CR in a header": (_raw_lines(b"X-Bare: one\rX-Two: two"), 400),
    "a NUL in a header": (_raw_lines(b"X-Nul: one\0two"), 400),
    "a transfer coding but chunked": (_get((b"Transfer-Encoding", b"gzip, chunked")), 400),
    "too many headers": (_get(*[(b"X-Many", b"1")] * 130), 431),
    "a head of 70 KiB": (_get((b"X-Long", b"a" * 70_000)), 431),
}


@pytest.mark.parametrize(("spoil", "status"), SPOILED.values(), ids=SPOILED)
def test_a_form_that_is_not_supported_is_refused(
    gateway: GatewayProcess, aws: EmbeddedAws, keys: SigningKeys, spoil: Spoil, status: int
) -> None:
    raw = spoil(S3.signed(keys))
    probe = Probe(gateway, aws)

    answer = ask(gateway, S3.host, raw)

    probe.left(answer, "unsupported", status)
    assert error_of(answer, "s3")["Message"].startswith("awsgate unsupported: ")
    assert error_of(answer, "s3")["Code"] == "NotImplemented"


# What mitmproxy refuses before the gate is asked, in its own words: no SDK sends these.
BROKEN: dict[str, Spoil] = {
    "a space before the colon": _raw_lines(b"X-Space : one"),
    "gzip alone": _get((b"Transfer-Encoding", b"gzip")),
    "two framings": _get((b"Transfer-Encoding", b"chunked"), (b"Content-Length", b"5")),
    "two lengths": _get((b"Content-Length", b"5"), (b"Content-Length", b"6")),
    "a negative length": _get((b"Content-Length", b"-5")),
    "a length with a sign": _get((b"Content-Length", b"+5")),
}


@pytest.mark.parametrize("spoil", BROKEN.values(), ids=BROKEN)
def test_a_broken_form_is_refused_recorded_and_the_connection_closed(
    gateway: GatewayProcess, aws: EmbeddedAws, keys: SigningKeys, spoil: Spoil
) -> None:
    raw = spoil(S3.signed(keys))
    probe = Probe(gateway, aws)

    with secure(gateway, S3.host) as wire:
        wire.send(raw)
        answer = wire.read_answer()
        closed = wire.at_end()

    assert (answer.status, closed) == (400, True)
    audit_after(gateway, probe.lines, lines=1)
    line = probe.recorded("unsupported", 400)
    assert (line["host"], line["path"]) == (S3.host, "/hello.txt")


def test_a_request_that_breaks_off_after_its_head_is_recorded(
    gateway: GatewayProcess, keys: SigningKeys
) -> None:
    """HTTP trailers end a connection, and mitmproxy tells no hook of it."""
    call = Call("s3", S3.host, "PUT", "/trailing", chunked=True, sign_body=False)
    lines = len(gateway.audit())

    with secure(gateway, S3.host) as wire:
        wire.send(call.wire(call.signed(keys)) + b"5\r\nhello\r\n0\r\nX-Trailer: 1\r\n\r\n")
        wire.sock.settimeout(0.3)
        assert wire.at_end()

    (line,) = audit_after(gateway, lines, lines=1)
    assert (line["user"], line["path"], line["status"]) == ("bob", "/trailing", 0)
    assert "before the answer was complete" in line["reason"]


def test_what_is_no_request_at_all_leaves_no_line(
    gateway: GatewayProcess, aws: EmbeddedAws, keys: SigningKeys
) -> None:
    raw = head("GET", "/no-request", S3.signed(keys))[:-2] + b"not a header\r\n\r\n"

    with secure(gateway, S3.host) as wire:
        wire.send(raw)
        answer = wire.read_answer()
        closed = wire.at_end()

    assert (answer.status, closed) == (400, True)
    # By its path: what the request before has left may arrive any time.
    assert "/no-request" not in {line["path"] for line in (*gateway.audit(), *aws.requests())}


def test_the_good_request_that_is_spoiled_here_is_good(
    gateway: GatewayProcess, keys: SigningKeys
) -> None:
    assert served(gateway, S3, S3.signed(keys)) == 200


def test_a_head_without_an_end_is_cut_off(gateway: GatewayProcess, aws: EmbeddedAws) -> None:
    seen = len(aws.requests())

    with secure(gateway, S3.host) as wire:
        wire.send(b"GET / HTTP/1.1\r\n" + b"X-Endless: " + b"a" * 200_000)
        answer = wire.read_answer()
        closed = wire.at_end()

    assert (answer.status, answer.code, closed) == (431, "unsupported", True)
    assert len(aws.requests()) == seen


def test_plain_http_in_a_tunnel_is_refused(
    gateway: GatewayProcess, aws: EmbeddedAws, keys: SigningKeys
) -> None:
    probe = Probe(gateway, aws)

    with tunnel(gateway, S3.host) as wire:
        wire.send(S3.wire(S3.signed(keys)))
        answer = wire.read_answer()

    probe.left(answer, "unsupported", 421)


def test_the_tls_name_must_be_the_connect_host(
    gateway: GatewayProcess, aws: EmbeddedAws, keys: SigningKeys
) -> None:
    probe = Probe(gateway, aws)

    with secure(gateway, S3.host, sni=QUERY.host) as wire:
        wire.send(S3.wire(S3.signed(keys)))
        answer = wire.read_answer()

    probe.left(answer, "unsupported", 421)


def test_an_aws_host_has_one_port(
    gateway: GatewayProcess, aws: EmbeddedAws, keys: SigningKeys
) -> None:
    call = Call("s3", S3.host, "GET", "/hello.txt")
    probe = Probe(gateway, aws)

    with secure(gateway, S3.host, port=8443) as wire:
        wire.send(call.wire(call.signed(keys)))
        answer = wire.read_answer()

    probe.left(answer, "unsupported", 421)
