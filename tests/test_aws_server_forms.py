"""The strict AWS: browser forms, WebSockets, and answers that are slow, early or in pieces."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from typing import Any

import pytest
import urllib3
from botocore.auth import S3SigV4PostAuth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from aws_server.deliver import Call, send
from aws_server.server import StrictAws
from aws_server.signing import assert_refused, client, last, session, sign

HOST = "bkt.s3.eu-central-1.amazonaws.com"
IOT = "abc-ats.iot.eu-central-1.amazonaws.com"
DYNAMO = "dynamodb.eu-central-1.amazonaws.com"

Fields = dict[str, str]


@pytest.fixture(scope="module")
def server() -> Iterator[StrictAws]:
    with StrictAws() as running:
        yield running


@pytest.fixture
def aws(server: StrictAws) -> StrictAws:
    server.reset()
    return server


# -- browser forms --------------------------------------------------------------------------


def form(aws: StrictAws, keys: Credentials | None = None, **more: Any) -> Fields:
    """Give the fields that boto3 makes for a browser."""
    made = client(aws, "s3", keys).generate_presigned_post(
        "bkt",
        "in/${filename}",
        Fields={"acl": "private", "success_action_status": "201"},
        Conditions=[
            {"acl": "private"},
            ["starts-with", "$success_action_status", "2"],
            ["content-length-range", 2, 200_000],
        ],
        ExpiresIn=60,
        **more,
    )
    fields: Fields = made["fields"]
    return fields


def posted(fields: Fields, body: bytes = b"hello", name: str = "a.txt") -> Call:
    parts: list[Any] = [*fields.items(), ("file", (name, body, "text/plain"))]
    data, kind = urllib3.encode_multipart_formdata(parts)
    return Call("POST", "/", (("Host", HOST), ("Content-Type", kind)), data)


@pytest.mark.parametrize("size", [2, 5, 65_536, 131_000, 200_000])
def test_a_browser_form_is_taken(aws: StrictAws, size: int) -> None:
    body = (b"\r\n--" * size)[:size]

    answered, request = last(aws, posted(form(aws, session(aws)), body))

    assert (request.fault, answered.status) == ("", 201)
    assert (request.auth, request.session_name, request.stored) == ("form", "ann", True)
    assert aws.objects["bkt", "in/a.txt"].body == body


FORMS: dict[str, tuple[Callable[[Fields], Fields], str]] = {
    "another policy": (lambda f: {**f, "policy": "e30="}, "signature-wrong"),
    "another signature": (lambda f: {**f, "x-amz-signature": "0" * 64}, "signature-wrong"),
    "no signature": (
        lambda f: {n: v for n, v in f.items() if n != "x-amz-signature"},
        "authorization-malformed",
    ),
    "another algorithm": (lambda f: {**f, "x-amz-algorithm": "AWS"}, "algorithm-unsupported"),
    "another region": (
        lambda f: {**f, "x-amz-credential": f["x-amz-credential"].replace("central", "west")},
        "scope-region",
    ),
    "another service": (
        lambda f: {**f, "x-amz-credential": f["x-amz-credential"].replace("/s3/", "/sts/")},
        "scope-service",
    ),
    "another day": (lambda f: {**f, "x-amz-date": "20200101T000000Z"}, "scope-day"),
    "an unknown key": (
        lambda f: {**f, "x-amz-credential": "AKIAX" + f["x-amz-credential"][20:]},
        "key-unknown",
    ),
    "a value that the policy does not allow": (
        lambda f: {**f, "acl": "public-read"},
        "form-condition",
    ),
    "a value without the policy's beginning": (
        lambda f: {**f, "success_action_status": "303"},
        "form-condition",
    ),
    "another key": (lambda f: {**f, "key": "out/${filename}"}, "form-condition"),
    "a field that the policy does not name": (
        lambda f: {**f, "x-amz-meta-a": "b"},
        "form-field-uncovered",
    ),
    "a token of nobody": (lambda f: {**f, "x-amz-security-token": "t"}, "token-unexpected"),
    "no key": (lambda f: {n: v for n, v in f.items() if n != "key"}, "form-malformed"),
}


@pytest.mark.parametrize(("change", "fault"), FORMS.values(), ids=FORMS)
def test_a_twin_of_the_form_is_refused(
    aws: StrictAws, change: Callable[[Fields], Fields], fault: str
) -> None:
    assert_refused(aws, posted(change(form(aws))), fault)


def test_a_form_has_a_time_a_size_a_bucket_and_a_token(aws: StrictAws) -> None:
    keys = session(aws)
    fields = form(aws, keys)
    without = {n: v for n, v in fields.items() if n != "x-amz-security-token"}
    call = posted(fields)

    assert_refused(aws, posted(fields, b"x"), "form-too-small")
    assert_refused(aws, posted(fields, b"x" * 200_001), "form-too-large")
    assert_refused(aws, posted(without), "token-missing")
    assert_refused(aws, posted({**fields, "x-amz-security-token": "t"}), "token-wrong")
    assert_refused(aws, call.rewritten("bkt.s3", "other.s3"), "form-condition")
    aws.clock = lambda: datetime.now(UTC) + timedelta(seconds=61)
    assert_refused(aws, call, "form-expired")


def test_the_file_is_the_last_field_and_comes_whole(aws: StrictAws) -> None:
    call = posted(form(aws))
    end = call.body.rindex(b"\r\n--")
    boundary = call.body[end + 4 : -4]
    more = call.body[:end] + b"\r\n--" + boundary + b"\r\n" + call.body[: call.body.index(b"--", 9)]

    for body in (more, call.body[:end], call.body[: end + 3]):
        assert_refused(aws, Call("POST", "/", call.fields, body), "form-malformed")


def test_a_policy_says_until_when_it_holds(aws: StrictAws) -> None:
    request = AWSRequest(method="POST", url=f"https://{HOST}/")
    request.context["s3-presign-post-fields"] = {"key": "in/a.txt"}
    request.context["s3-presign-post-policy"] = {"conditions": [{"key": "in/a.txt"}]}
    S3SigV4PostAuth(Credentials(*aws.base_keys), "s3", "eu-central-1").add_auth(request)

    fields = request.context["s3-presign-post-fields"]
    assert_refused(aws, posted(fields), "form-policy-malformed")


# -- WebSockets -----------------------------------------------------------------------------


def socket_uri(keys: Credentials, *, token: bool = True) -> str:
    """Presign a WebSocket as AWS IoT has it: the token comes after the signature."""
    call = sign(
        f"wss://{IOT}/mqtt",
        method="GET",
        body=b"",
        signer=SigV4QueryAuth,
        keys=Credentials(keys.access_key, keys.secret_key),
        service="iotdevicegateway",
        headers=(),
    )
    return f"ws://{IOT}{call.target}" + (f"&X-Amz-Security-Token={_quoted(keys)}" if token else "")


def _quoted(keys: Credentials) -> str:
    return (keys.token or "").replace("/", "%2F").replace("+", "%2B").replace("=", "%3D")


def dial(aws: StrictAws, uri: str) -> ClientConnection:
    wire = socket.create_connection(("127.0.0.1", aws.port), timeout=5)
    return connect(uri, sock=wire, subprotocols=["mqtt"], proxy=None)  # type: ignore[list-item]


def test_a_websocket_with_a_presigned_uri_echoes(aws: StrictAws) -> None:
    messages: list[str | bytes] = ["text", b"binary" * 20_000, "é" * 200, b""]

    with dial(aws, socket_uri(session(aws))) as echo:
        for message in messages:
            echo.send(message)
            assert echo.recv(timeout=5) == message
        echo.send(["in ", "three ", "frames"])
        assert echo.recv(timeout=5) == "in three frames"
        assert echo.ping().wait(5)
        assert echo.subprotocol == "mqtt"

    assert echo.close_code == 1000
    request = aws.requests[-1]
    assert (request.fault, request.auth, request.session_name) == ("", "query", "ann")


def test_a_websocket_with_a_wrong_signature_is_refused(aws: StrictAws) -> None:
    keys = session(aws)
    right = socket_uri(keys)
    wrong = {
        "signature-wrong": right.replace("/mqtt?", "/other?"),
        "token-missing": socket_uri(keys, token=False),
        "token-wrong": right.replace("X-Amz-Security-Token=", "X-Amz-Security-Token=x"),
        "authorization-missing": right.partition("?")[0],
    }

    for fault, uri in wrong.items():
        with pytest.raises(InvalidStatus):
            dial(aws, uri)
        assert aws.requests[-1].fault == fault


def test_a_handshake_has_its_fields(aws: StrictAws) -> None:
    target = socket_uri(session(aws)).partition(IOT)[2]
    fields = {
        "Host": IOT,
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
    }
    call = Call("GET", target, tuple(fields.items()))

    assert_refused(aws, call.having("Sec-WebSocket-Version", "12"), "websocket-malformed")
    assert_refused(aws, call.having("Connection", "keep-alive"), "websocket-malformed")


# -- slow, early, in pieces -----------------------------------------------------------------


def post(target: str, body: bytes = b"") -> Call:
    return sign(
        f"https://{DYNAMO}{target}", method="POST", body=body, service="dynamodb", headers=()
    )


def opened(aws: StrictAws, call: Call) -> Any:
    connection = HTTPConnection("127.0.0.1", aws.port, timeout=5)
    send(connection, call)
    return connection


def test_a_stream_comes_piece_by_piece_with_the_time_it_was_sent(aws: StrictAws) -> None:
    connection = opened(aws, post("/stream?chunks=4&delay=0.05&size=100"))
    response = connection.getresponse()
    seen = [(json.loads(response.readline()), time.time()) for _ in range(4)]
    rest = response.read()
    connection.close()

    assert (response.getheader("transfer-encoding"), rest) == ("chunked", b"")
    assert [line["n"] for line, _ in seen] == [0, 1, 2, 3]
    assert all(0 <= at - line["sent"] < 0.04 for line, at in seen)
    assert seen[3][1] - seen[0][1] >= 0.15


def test_a_stream_can_be_one_of_events(aws: StrictAws) -> None:
    answered, _ = last(aws, post("/stream?chunks=2&delay=0&type=events"))

    assert answered.body.count(b":event-type") == 2
    assert int.from_bytes(answered.body[:4], "big") * 2 == pytest.approx(len(answered.body), abs=8)


def test_a_slow_answer_comes_late(aws: StrictAws) -> None:
    before = time.monotonic()
    answered, _ = last(aws, post("/slow?seconds=0.1"))

    assert answered.body == b"late"
    assert time.monotonic() - before >= 0.1


def test_an_early_answer_does_not_wait_for_the_body(aws: StrictAws) -> None:
    call = sign(f"https://{HOST}/early").having("Content-Length", "1000000")
    connection = HTTPConnection("127.0.0.1", aws.port, timeout=5)
    connection.putrequest(call.method, call.target, skip_host=True, skip_accept_encoding=True)
    for name, value in call.fields:
        connection.putheader(name, value)
    connection.endheaders()
    response = connection.getresponse()
    connection.close()

    assert (response.status, response.getheader("connection")) == (413, "close")
    assert aws.requests[-1].wire_bytes == 0


def test_a_special_path_is_verified_like_any_other(aws: StrictAws) -> None:
    for target in ("/stream", "/slow?seconds=9"):
        assert_refused(aws, post(target).rewritten("/dynamodb/", "/sts/"), "scope-service")


# -- HTTP -----------------------------------------------------------------------------------


def test_a_connection_goes_on_after_a_refused_head_and_ends_after_a_refused_body(
    aws: StrictAws,
) -> None:
    good = sign(f"https://{HOST}/key")
    connection = opened(aws, good)
    connection.getresponse().read()
    send(connection, good.having("x-amz-meta-owner", "eve"))
    first = connection.getresponse()
    first.read()
    send(connection, Call(good.method, good.target, good.fields, b"jello"))
    second = connection.getresponse()
    second.read()
    connection.close()

    assert (first.status, first.getheader("connection")) == (403, None)
    assert (second.status, second.getheader("connection")) == (400, "close")
    assert aws.faults() == ["signature-wrong", "content-sha256-wrong"]


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET https://x/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
        b"GET / HTTP/1.1\nHost: x\n\n",
    ],
)
def test_what_is_not_plain_http_is_refused(aws: StrictAws, raw: bytes) -> None:
    with socket.create_connection(("127.0.0.1", aws.port), timeout=5) as wire:
        wire.sendall(raw)
        assert wire.recv(65536).startswith(b"HTTP/1.1 400 ")

    assert aws.faults() == ["bad-request"]


@pytest.mark.parametrize(("owner", "status"), [("ann", 100), ("eve", 403)])
def test_a_body_is_asked_for_once_the_head_is_right(
    aws: StrictAws, owner: str, status: int
) -> None:
    call = sign(f"https://{HOST}/key").having("x-amz-meta-owner", owner)
    head = [f"{call.method} {call.target} HTTP/1.1", *(f"{n}: {v}" for n, v in call.fields)]
    with socket.create_connection(("127.0.0.1", aws.port), timeout=5) as wire:
        wire.sendall(("\r\n".join([*head, "Expect: 100-continue"]) + "\r\n\r\n").encode())
        answer = wire.recv(65536)

    assert answer.startswith(b"HTTP/1.1 %d " % status)


def test_big_bodies_are_hashed_and_not_kept(aws: StrictAws) -> None:
    _, request = last(aws, sign(f"https://{HOST}/key", body=b"x" * 1_048_577))

    assert (request.fault, request.body, request.body_bytes) == ("", None, 1_048_577)
    assert aws.objects["bkt", "key"].body is None


def test_a_public_bucket_is_read_unsigned_and_written_signed(aws: StrictAws) -> None:
    aws.anonymous_buckets.add("bkt")
    last(aws, sign(f"https://{HOST}/key"))
    fields = (("Host", HOST),)

    assert last(aws, Call("GET", "/key", fields))[0].body == b"hello"
    aws.objects.clear()
    assert_refused(aws, Call("PUT", "/key", fields, b"x"), "authorization-missing")
    aws.anonymous_buckets.clear()
    assert_refused(aws, Call("GET", "/key", fields), "authorization-missing")
