"""Answers that AWS does not give, or seldom: nothing of the role's keys reaches a client.

And time that passes between the head of a request and its signature.
"""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from awsgate.aws.sigv4 import SigningKeys
from awsgate.demo.embedded_aws import POWER_ROLE
from awsgate.demo.processes import GatewayProcess
from e2e.recording import bob_of, http_answer, wait_until, write_policy
from e2e.scripted import TOKEN, Scripted, scripted
from rawclient import Answer, Call, ask, mint_keys, secure

EXPRESS = "bk--use1-az4--x-s3.s3express-use1-az4.us-east-1.amazonaws.com"
S3 = Call("s3", "data.s3.us-east-1.amazonaws.com", "GET", "/k")
ITEM = Call(
    "dynamodb",
    "dynamodb.us-east-1.amazonaws.com",
    headers=(
        ("X-Amz-Target", "DynamoDB_20120810.DeleteItem"),
        ("Content-Type", "application/x-amz-json-1.0"),
    ),
    body=b'{"TableName": "t", "Key": {"a": {"S": "b"}}}',
)
ASSUME = Call(
    "sts",
    "sts.us-east-1.amazonaws.com",
    headers=(("Content-Type", "application/x-www-form-urlencoded"),),
    body=b"Action=AssumeRole&Version=2011-06-15&RoleArn=%b&RoleSessionName=bob"
    % POWER_ROLE.encode(),
)
ISSUED = (
    b"<R><Credentials><SessionToken>REAL-TOKEN</SessionToken><SecretAccessKey>REAL-SECRET"
    b"</SecretAccessKey><AccessKeyId>ASIAREALKEY</AccessKeyId>"
    b"<Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></R>"
)


def refusal(status: int, body: bytes) -> bytes:
    return http_answer(body).replace(b"HTTP/1.1 200 OK", b"HTTP/1.1 %d No" % status, 1)


def sent(gateway: GatewayProcess, call: Call, keys: SigningKeys) -> Answer:
    return ask(gateway, call.host, call.wire(call.signed(keys)), method=call.method)


@pytest.mark.parametrize("interim", [b"100 Continue", b"103 Early Hints", b"199 Odd"])
@pytest.mark.parametrize("pause_s", [0.0, 0.4])
def test_what_comes_before_an_answer_is_not_taken_for_it(
    tmp_path: Path, interim: bytes, pause_s: float
) -> None:
    """Else the answer, with the credentials in it, would be that of the next request."""

    def answer(head: bytes, sock: socket.socket) -> bytes:
        if b"session" not in head.split(b"\r\n")[0]:
            return http_answer(b"object")
        sock.sendall(b"HTTP/1.1 %b\r\nLink: </x>\r\n\r\n" % interim)
        time.sleep(pause_s)
        return http_answer(ISSUED)

    policy = write_policy(tmp_path / "policy.yaml")
    with scripted(tmp_path, policy, Scripted(answer)) as gateway:
        keys = bob_of(gateway)
        create = Call("s3express", EXPRESS, "GET", "/?session")
        get = Call("s3express", EXPRESS, "GET", "/key")
        with secure(gateway, EXPRESS) as wire:
            wire.send(create.wire(create.signed(keys)) + get.wire(get.signed(keys)))
            first, second = wire.read_answer(), wire.read_answer()

    assert (first.status, second.status, second.body) == (200, 200, b"object")
    assert b"<AccessKeyId>GATE" in first.body
    assert b"REAL" not in first.body + second.body


def test_interim_answers_without_end_close(tmp_path: Path) -> None:
    flood = b"HTTP/1.1 102 Processing\r\n\r\n" * 100
    policy = write_policy(tmp_path / "policy.yaml")
    with scripted(tmp_path, policy, Scripted(lambda *_: flood)) as gateway:
        assert sent(gateway, S3, bob_of(gateway)).code == "upstream-failed"


@pytest.mark.parametrize("status", [302, 400, 500])
def test_an_error_that_holds_credentials_is_withheld(tmp_path: Path, status: int) -> None:
    policy = write_policy(tmp_path / "policy.yaml")
    script = Scripted(lambda *_: refusal(status, ISSUED))
    with scripted(tmp_path, policy, script) as gateway:
        answer = sent(gateway, ASSUME, bob_of(gateway))

    assert (answer.status, answer.code) == (500, "gateway-fault")
    assert b"REAL" not in answer.body


HIDDEN = gzip.compress(ISSUED)
UNSEEN: dict[str, tuple[bytes, str]] = {
    "compressed, and it is not said": (http_answer(HIDDEN), "gateway-fault"),
    "an error that is": (refusal(500, HIDDEN), "gateway-fault"),
    "compressed on its way": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
        % (len(HIDDEN), HIDDEN),
        "upstream-failed",
    ),
    "to the end of the connection": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n" + HIDDEN,
        "upstream-failed",
    ),
}


@pytest.mark.parametrize("name", UNSEEN)
def test_credentials_in_an_answer_that_cannot_be_read_are_withheld(
    tmp_path: Path, name: str
) -> None:
    raw, code = UNSEEN[name]

    def say(_head: bytes, sock: socket.socket) -> None:
        sock.sendall(raw)
        sock.shutdown(socket.SHUT_WR)

    policy = write_policy(tmp_path / "policy.yaml")
    with scripted(tmp_path, policy, Scripted(say)) as gateway:
        answer = sent(gateway, ASSUME, bob_of(gateway))
        (line,) = gateway.audit(at_least=1)

    assert answer.status == (502 if code == "upstream-failed" else 500)
    assert line["code"] == code
    assert HIDDEN[:20] not in answer.body
    assert "transfer-encoding" not in answer.headers


ECHOES: dict[str, Callable[[], bytes]] = {
    "as it stands": lambda: (
        b"<CanonicalRequest>x-amz-security-token:" + TOKEN + b"</CanonicalRequest>"
    ),
    "in hex, with spaces": lambda: b"<B>" + TOKEN.hex(" ").encode() + b"</B>",
    "in hex, in capitals": lambda: TOKEN.hex().upper().encode(),
    "compressed, and it is not said": lambda: gzip.compress(TOKEN, mtime=0),
}


@pytest.mark.parametrize("form", ECHOES.values(), ids=ECHOES)
@pytest.mark.parametrize("call", [S3, ITEM], ids=["s3", "json"])
def test_an_answer_that_repeats_the_roles_token_is_withheld(
    tmp_path: Path, form: Callable[[], bytes], call: Call
) -> None:
    policy = write_policy(tmp_path / "policy.yaml")
    script = Scripted(lambda *_: refusal(403, b"<Error>" + form() + b"</Error>"))
    with scripted(tmp_path, policy, script) as gateway:
        answer = sent(gateway, call, bob_of(gateway))

    assert script.heads, "it was asked"
    assert (answer.status, answer.code) == (502, "gateway-fault")
    assert form() not in answer.body


def test_another_refusal_of_awss_comes_through_as_it_is(tmp_path: Path) -> None:
    policy = write_policy(tmp_path / "policy.yaml")
    words = b"<Error><Code>AccessDenied</Code></Error>"
    with scripted(tmp_path, policy, Scripted(lambda *_: refusal(403, words))) as gateway:
        answer = sent(gateway, S3, bob_of(gateway))
        (line,) = gateway.audit(at_least=1)

    assert (answer.status, answer.body, answer.code) == (403, words, "")
    assert (line["decision"], line["status"], line["bytes_out"]) == ("allowed", 403, len(words))


def test_a_body_that_ends_after_the_session_is_not_signed(tmp_path: Path) -> None:
    script = Scripted()
    with scripted(tmp_path, write_policy(tmp_path / "policy.yaml"), script) as gateway:
        keys = mint_keys(gateway.state, user="bob", role=POWER_ROLE, entropy=b"e" * 32, ttl_s=2)
        raw = ITEM.wire(ITEM.signed(keys))
        with secure(gateway, ITEM.host) as wire:
            wire.send(raw[:-5])
            time.sleep(3)
            wire.send(raw[-5:])
            answer = wire.read_answer()

    assert answer.code == "session-expired"
    assert script.heads == []


def test_what_waits_for_sts_is_decided_by_the_policy_then_in_force(tmp_path: Path) -> None:
    go_on = threading.Event()
    script = Scripted(before_sts=lambda: go_on.wait(20))
    policy = write_policy(tmp_path / "policy.yaml")
    with scripted(tmp_path, policy, script) as gateway, secure(gateway, ITEM.host) as wire:
        wire.send(ITEM.wire(ITEM.signed(bob_of(gateway))))
        time.sleep(0.5)
        policy.write_text(policy.read_text("utf-8").replace('"bob"', '"rob"'), "utf-8")
        assert wait_until(lambda: any(x["event"] == "policy.reload" for x in gateway.audit()))
        go_on.set()
        answer = wire.read_answer()

    assert answer.code == "denied"
    assert script.heads == []
