"""Refusals that need a gateway set up for them: limits, broken servers, no STS, no audit.

One gateway has small limits and upstreams that fail, each in its own way; another has
an STS that nobody answers for.
"""

from __future__ import annotations

import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from awsgate.auditchain import verify
from awsgate.aws.sigv4 import SigningKeys
from awsgate.demo.embedded_aws import POWER_ROLE, EmbeddedAws
from awsgate.demo.processes import GatewayProcess, free_port
from e2e.serving import serving
from rawclient import Call, Wire, ask, audit_after, head, mint_keys, secure, served, without
from refused import CALLS, FORM, Probe, error_of

S3, QUERY, JSON = CALLS["s3"], CALLS["query"], CALLS["json 1.0"]
LIMIT = 64 * 1024
MIB = 1024 * 1024
ELSEWHERE = "arn:aws:iam::999999999999:role/NotOurs"

POLICY = """\
kind: role
version: v5
metadata: {{name: all}}
spec:
  allow:
    app_labels: {{'*': '*'}}
    aws_role_arns: ['{role}', '{elsewhere}']
---
kind: app
version: v3
metadata: {{name: awsconsole-test, labels: {{aws_account_id: '123456789012'}}}}
spec: {{uri: https://console.aws.amazon.com/}}
---
kind: app
version: v3
metadata: {{name: elsewhere, labels: {{aws_account_id: '999999999999'}}}}
spec: {{uri: https://console.aws.amazon.com/}}
---
kind: user
version: v2
metadata: {{name: bob}}
spec: {{roles: [all]}}
---
kind: gateway
version: v1
metadata: {{name: gateway}}
spec: {spec}
"""

# What the servers do with a connection, by the AWS host that they stand in for.
BAD_SERVERS = {
    "sqs.us-east-1.amazonaws.com": b"",
    "sns.us-east-1.amazonaws.com": b"canary-garbage, not HTTP at all\r\n\r\n",
    "logs.us-east-1.amazonaws.com": b"HTTP/1.1 200 OK\r\nContent-Le",
    "kms.us-east-1.amazonaws.com": b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this",
    "events.us-east-1.amazonaws.com": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
    ),
}
NOBODY = "lambda.us-east-1.amazonaws.com"


def _keys(
    gateway: GatewayProcess, *, app: str = "awsconsole-test", role: str = POWER_ROLE
) -> SigningKeys:
    return mint_keys(gateway.state, user="bob", app=app, role=role, entropy=b"k" * 32)


def _start(folder: Path, aws: EmbeddedAws, spec: str) -> GatewayProcess:
    policy = folder / "policy.yaml"
    policy.write_text(POLICY.format(role=POWER_ROLE, elsewhere=ELSEWHERE, spec=spec), "utf-8")
    return GatewayProcess(folder, policy=policy, keys=aws.gateway_keys, upstream=aws.url)


@contextmanager
def bad_server(answer: bytes) -> Iterator[int]:
    """Read what there is, say ``answer``, close; on every connection. Gives the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                with client:
                    client.recv(65536)
                    client.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="module")
def small(aws: EmbeddedAws, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with ExitStack() as stack:
        ports = {host: stack.enter_context(bad_server(a)) for host, a in BAD_SERVERS.items()}
        ports[NOBODY] = free_port()
        upstreams = ", ".join(
            f"{{hosts: [{host}], url: 'http://127.0.0.1:{port}'}}" for host, port in ports.items()
        )
        limits = f"{{max_body_bytes: {LIMIT}, max_buffered_bytes: {LIMIT + 1000}}}"
        running = _start(
            tmp_path_factory.mktemp("small"),
            aws,
            f"{{limits: {limits}, upstreams: [{upstreams}]}}",
        )
        stack.callback(running.stop)
        # So that no later request is the one that asks STS.
        assert served(running, QUERY, QUERY.signed(_keys(running))) == 200
        yield running


# --- body-too-large ------------------------------------------------------------------


def test_a_body_over_the_limit_is_refused_by_its_length(
    small: GatewayProcess, aws: EmbeddedAws
) -> None:
    call = Call("dynamodb", JSON.host, headers=JSON.headers, body=b"x" * (LIMIT + 1))
    probe = Probe(small, aws)

    answer = ask(small, call.host, call.wire(call.signed(_keys(small))))

    probe.left(answer, "body-too-large", 413)
    assert error_of(answer, "json 1.0")["Code"] == "RequestEntityTooLargeException"


def test_a_body_at_the_limit_is_not_refused(small: GatewayProcess) -> None:
    call = Call("dynamodb", JSON.host, headers=JSON.headers, body=b"{}" + b" " * (LIMIT - 2))

    assert served(small, call, call.signed(_keys(small))) == 200


def _chunked_head(gateway: GatewayProcess) -> bytes:
    call = Call("dynamodb", JSON.host, headers=JSON.headers, chunked=True)
    return call.wire(call.signed(_keys(gateway)))


def test_a_body_over_the_limit_is_refused_chunk_by_chunk(
    small: GatewayProcess, aws: EmbeddedAws
) -> None:
    probe = Probe(small, aws)

    with secure(small, JSON.host) as wire:
        wire.send(_chunked_head(small))
        for _ in range(LIMIT // 8192 + 1):
            wire.send(b"2000\r\n" + b"x" * 8192 + b"\r\n")
        answer = wire.read_answer()

    probe.left(answer, "body-too-large", 413)


def test_all_bodies_together_have_a_limit(small: GatewayProcess, aws: EmbeddedAws) -> None:
    call = Call("dynamodb", JSON.host, headers=JSON.headers, body=b"x" * (LIMIT // 2))
    probe = Probe(small, aws)

    with secure(small, JSON.host) as first, secure(small, JSON.host) as second:
        first.send(_chunked_head(small) + b"c000\r\n" + b"x" * 0xC000)
        # A second round trip on the same loop: the bytes of the first are in by then.
        assert served(small, S3, S3.signed(_keys(small))) == 200
        time.sleep(0.2)  # those that the window of its connection did not let through at once
        second.send(call.wire(call.signed(_keys(small))))
        answer = second.read_answer()

    assert (answer.status, answer.code) == (503, "body-too-large")
    assert probe.grew("awsgate_refusals_total", code="body-too-large") == 1


def test_expect_continue_is_answered_without_the_body(
    small: GatewayProcess, aws: EmbeddedAws
) -> None:
    call = Call("dynamodb", JSON.host, headers=JSON.headers, body=b"x" * (LIMIT + 1))
    fields = [*call.signed(_keys(small)), (b"Expect", b"100-continue")]
    probe = Probe(small, aws)

    with secure(small, call.host) as wire:
        wire.send(head("POST", "/", fields))
        answer = wire.read_answer()
        closed = wire.at_end()

    line = probe.left(answer, "body-too-large", 413)
    assert (line["bytes_in"], closed) == (0, True)


def test_expect_continue_of_a_good_upload_gets_its_100(small: GatewayProcess) -> None:
    call = Call("s3", S3.host, "PUT", "/expected.txt", body=b"x" * 1000)
    fields = [*call.signed(_keys(small)), (b"Expect", b"100-continue")]

    before = len(small.audit())
    with secure(small, call.host) as wire:
        wire.send(head("PUT", call.target, fields))
        interim = wire._until(b"\r\n\r\n")
        wire.send(call.body)
        answer = wire.read_answer()

    audit_after(small, before, lines=1)
    assert interim.startswith(b"HTTP/1.1 100")
    assert answer.status == 200


UPLOADS = {
    "too large": (JSON, False, "body-too-large", 413),
    "not signed": (JSON, True, "not-signed", 403),
}


@pytest.mark.parametrize(("call", "stripped", "code", "status"), UPLOADS.values(), ids=UPLOADS)
def test_a_refused_upload_of_50_mib_is_not_read(
    small: GatewayProcess, aws: EmbeddedAws, call: Call, stripped: bool, code: str, status: int
) -> None:
    fields = without(call.signed(_keys(small)), b"content-length", *([b"authorization"] * stripped))
    fields.append((b"Content-Length", str(50 * MIB).encode()))
    probe = Probe(small, aws)

    with secure(small, call.host) as wire:
        wire.send(head("POST", "/", fields))
        answer = wire.read_answer()
        sent = _push(wire, 50 * MIB)

    probe.left(answer, code, status)
    assert sent < 10 * MIB  # 1 MiB is drained; the rest is what the sockets hold


def _push(wire: Wire, size: int) -> int:
    """Send zeros until the other side is gone. Give how many bytes it took."""
    sent = 0
    try:
        while sent < size:
            wire.send(bytes(65536))
            sent += 65536
    except ConnectionError:
        pass
    return sent


# --- role-unavailable ------------------------------------------------------------------


def test_a_role_that_does_not_trust_the_gateway_is_unavailable(
    small: GatewayProcess, aws: EmbeddedAws
) -> None:
    keys = _keys(small, app="elsewhere", role=ELSEWHERE)
    seen = len(aws.requests())
    probe = Probe(small, None)

    answer = ask(small, QUERY.host, QUERY.wire(QUERY.signed(keys)))

    probe.left(answer, "role-unavailable", 403)
    assert "does not let awsgate assume" in error_of(answer, "query")["Message"]
    assert [row["action"] for row in aws.requests()[seen:]] == ["AssumeRole"]


def test_without_sts_every_role_is_unavailable(aws: EmbeddedAws, folder: Path) -> None:
    gateway = _start(folder, aws, f"{{sts: {{endpoint_url: 'http://127.0.0.1:{free_port()}'}}}}")
    try:
        probe = Probe(gateway, aws)

        answer = ask(gateway, S3.host, S3.wire(S3.signed(_keys(gateway))))

        probe.left(answer, "role-unavailable", 503)
        assert error_of(answer, "s3")["Code"] == "ServiceUnavailable"
    finally:
        gateway.stop()


# --- upstream-failed --------------------------------------------------------------------

FAILING = {
    "nobody listens": (NOBODY, "lambda"),
    "it closes without a word": ("sqs.us-east-1.amazonaws.com", "sqs"),
    "it does not speak HTTP": ("sns.us-east-1.amazonaws.com", "sns"),
    "it closes within the head": ("logs.us-east-1.amazonaws.com", "logs"),
}


@pytest.mark.parametrize(("host", "service"), FAILING.values(), ids=FAILING)
def test_a_server_that_fails_is_told_in_the_protocol_of_the_call(
    small: GatewayProcess, aws: EmbeddedAws, host: str, service: str
) -> None:
    call = Call(service, host, headers=(FORM,), body=b"Action=ListThings")
    probe = Probe(small, aws)

    answer = ask(small, host, call.wire(call.signed(_keys(small))))

    probe.left(answer, "upstream-failed", 502)
    assert b"canary" not in answer.body
    assert b"upstream-failed" in answer.body


def test_an_answer_with_two_readings_is_not_passed_on(
    small: GatewayProcess, aws: EmbeddedAws
) -> None:
    """Mitmproxy says so in its own words; the record is ours."""
    host = "events.us-east-1.amazonaws.com"
    call = Call("events", host, headers=JSON.headers[:1], body=b"{}")
    probe = Probe(small, aws)

    answer = ask(small, host, call.wire(call.signed(_keys(small))))

    assert answer.status == 502
    probe.recorded("upstream-failed", 502)


def test_a_server_that_stops_within_its_answer_leaves_a_cut_answer_and_a_line(
    small: GatewayProcess,
) -> None:
    """The status has gone out by then, so there is no code to give."""
    host = "kms.us-east-1.amazonaws.com"
    # An operation that is known: answers to others are held, and looked at.
    call = Call("kms", host, headers=(("X-Amz-Target", "TrentService.ListKeys"),), body=b"{}")
    lines = len(small.audit())

    answer = ask(small, host, call.wire(call.signed(_keys(small))))

    assert (answer.status, answer.complete) == (200, False)
    (line,) = audit_after(small, lines, lines=1)
    assert (line["status"], line["code"], line["bytes_out"]) == (200, "", 9)
    assert "closed the connection before the answer was complete" in line["reason"]


# --- gateway-fault -----------------------------------------------------------------------


@contextmanager
def _folder_in_its_place(gateway: GatewayProcess) -> Iterator[None]:
    audit = gateway.state / "audit.jsonl"
    kept = audit.rename(audit.with_suffix(".kept"))
    audit.mkdir()
    yield
    audit.rmdir()
    kept.rename(audit)


@contextmanager
def _full_disk(gateway: GatewayProcess) -> Iterator[None]:
    """Let no file of the gateway grow: a write ends short, or fails."""
    size = (gateway.state / "audit.jsonl").stat().st_size
    (pid,) = serving(gateway)
    soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size + 100, hard))
    yield
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))


TROUBLES = {"a folder is in its place": _folder_in_its_place, "the disk is full": _full_disk}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_what_cannot_be_recorded_is_not_forwarded_until_it_can(
    small: GatewayProcess, aws: EmbeddedAws, trouble: str
) -> None:
    raw = S3.wire(S3.signed(_keys(small)))
    path = small.state / "audit.jsonl"
    lines, seen = len(small.audit()), len(aws.requests())

    with TROUBLES[trouble](small):
        first = ask(small, S3.host, raw)  # under way before the trouble was known
        second = ask(small, S3.host, raw)
        third = ask(small, S3.host, raw)
        forwarded = len(aws.requests()) - seen
    after = ask(small, S3.host, S3.wire(S3.signed(_keys(small))))

    assert [a.status for a in (first, second, third, after)] == [200, 503, 503, 200]
    assert (second.code, forwarded) == ("gateway-fault", 1)
    assert error_of(second, "s3")["Code"] == "InternalError"
    assert [line["code"] for line in audit_after(small, lines, lines=4)] == [
        "", "gateway-fault", "gateway-fault", "",
    ]  # fmt: skip
    assert verify(path)[1] is None
