"""The commands that order artefacts, where there is no gateway to ask, or they are misused.

With a gateway: ``tests/e2e/test_artefacts.py``.
"""

from __future__ import annotations

import io
import json
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPResponse

import pytest

from awsgate.aws.sigv4 import SigningKeys
from awsgate.cli.ordering import without_hint
from awsgate.cli.rds_token import region_of
from awsgate.errors import SetupError
from awsgate.gatewaycall import _read, caller_from
from commandline import Run
from httpserving import QuietHandler, http_server

KEYS = {
    "AWS_ACCESS_KEY_ID": "GATEABCDEFGHIJKLMNOP",
    "AWS_SECRET_ACCESS_KEY": "canary-secret",
    "AWS_SESSION_TOKEN": "canary-token",
}
ENVIRONMENT = {**KEYS, "HTTPS_PROXY": "http://127.0.0.1:1", "AWS_REGION": "eu-west-1"}
PRESIGN = ("presign", "s3://reports/a")
COMMANDS = {
    "presign": PRESIGN,
    "eks-token": ("eks-token", "--cluster-name", "dev"),
    "rds-token": ("rds-token", "--hostname", "db.example", "--port", "5432", "--username", "app"),
}


@pytest.fixture(autouse=True)
def environment(home: object, monkeypatch: pytest.MonkeyPatch) -> None:
    assert home
    for name in (
        "https_proxy", "AWS_DEFAULT_REGION", "AWS_CA_BUNDLE", "SSL_CERT_FILE",
        "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    ):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


# --- not set up -----------------------------------------------------------------------------

NOT_SET_UP: dict[str, tuple[dict[str, str], str]] = {
    "no proxy": ({"HTTPS_PROXY": ""}, "HTTPS_PROXY is not set, so there is no gateway to ask"),
    "a proxy without a port": ({"HTTPS_PROXY": "http://canary@gw"}, "HTTPS_PROXY is not a URL"),
    "a proxy with no sense": ({"HTTPS_PROXY": "http://canary@[gw"}, "HTTPS_PROXY is not a URL"),
    "a proxy of another kind": (
        {"HTTPS_PROXY": "socks5://canary@gw:1080"},
        "HTTPS_PROXY is not a URL",
    ),
    "no keys": ({"AWS_ACCESS_KEY_ID": ""}, "there are no gateway credentials"),
    "real keys": (
        {"AWS_ACCESS_KEY_ID": "AKIACANARY"},
        "the AWS credentials here are none of a gateway's",
    ),
    "no region": ({"AWS_REGION": ""}, "no region is known"),
    "nobody there": ({}, "no answer from the gateway at 127.0.0.1:1: "),
    "no CA": ({"AWS_CA_BUNDLE": "/nowhere/ca.pem"}, "cannot read the CA bundle /nowhere/ca.pem"),
    "credentials from elsewhere": (
        {
            "AWS_ACCESS_KEY_ID": "",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.2/canary",
        },
        "AWS_CONTAINER_CREDENTIALS_FULL_URI is not on this machine",
    ),
}


@pytest.mark.parametrize(("changes", "words"), NOT_SET_UP.values(), ids=NOT_SET_UP)
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_what_is_not_set_up_is_said(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
    changes: dict[str, str],
    words: str,
) -> None:
    for name, value in changes.items():
        monkeypatch.setenv(name, value)

    result = run(*command)

    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(f"awsgate: error: {words}")
    assert "awsgate: hint: " in result.err
    assert "canary" not in result.err.lower()


@contextmanager
def proxy_that_says(line: bytes) -> Iterator[str]:
    """Answer every CONNECT so, and close."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    connection.sendall(line)

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize(
    "line",
    [b"HTTP/1.1 403 Forbidden\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\nno TLS", b"\x00\x01\r\n\r\n", b""],
    ids=["no", "no tls", "no http", "nothing"],
)
def test_a_proxy_that_is_no_gateway_is_said_to_be_none(
    run: Run, monkeypatch: pytest.MonkeyPatch, line: bytes
) -> None:
    with proxy_that_says(line) as url:
        monkeypatch.setenv("HTTPS_PROXY", url)
        result = run(*PRESIGN)

    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("awsgate: error: no answer from the gateway at 127.0.0.1:")
    assert "Traceback" not in result.err


def test_no_proxy_does_not_lead_past_the_gateway(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")

    assert "no answer from the gateway at 127.0.0.1:1" in run(*PRESIGN).err


# --- used wrongly ---------------------------------------------------------------------------

WRONG = {
    "no uri": ("presign", "reports/a"),
    "no key": ("presign", "s3://reports"),
    "no bucket": ("presign", "s3:///a"),
    "no method": (*PRESIGN, "--method", "POST"),
    "no time": (*PRESIGN, "--expires-in", "0"),
    "no duration": (*PRESIGN, "--expires-in", "1 hour"),
    "no such region": (*PRESIGN, "--region", "eu-west-1.evil.example"),
    "no port": (*COMMANDS["rds-token"], "--port", "0"),
    "no cluster": ("eks-token",),
    "no operation": ("codecommit", "guess"),
}


@pytest.mark.parametrize("arguments", WRONG.values(), ids=WRONG)
def test_used_wrongly_is_exit_2_and_nobody_is_asked(run: Run, arguments: tuple[str, ...]) -> None:
    result = run(*arguments)

    assert (result.code, result.out) == (2, "")
    assert "no answer from the gateway" not in result.err
    assert "Traceback" not in result.err


TOKENS = {
    "one that moves the cursor": "db:5432/?X-Amz\x1b[2J",
    "one of two lines": "secret\nhost=git.evil.example",
}


@pytest.mark.parametrize("token", TOKENS.values(), ids=TOKENS)
def test_what_cannot_be_printed_as_it_is_is_no_artefact(token: str) -> None:
    body = json.dumps({"token": token}).encode()
    near, far = socket.socketpair()
    with near, far:
        far.sendall(b"HTTP/1.1 200 OK\r\nx-awsgate-request-id: 1\r\n\r\n" + body)
        far.close()
        answer = HTTPResponse(near)
        answer.begin()
        with pytest.raises(SetupError, match="is no gateway that makes artefacts") as no:
            _read(answer, answer.read())

    assert token not in str(no.value)


# --- git ------------------------------------------------------------------------------------


def test_git_is_told_to_quit_where_nothing_can_be_made(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = "protocol=https\nhost=git-codecommit.eu-west-1.amazonaws.com\npath=v1/repos/tools\n\n"
    monkeypatch.setattr(sys, "stdin", io.StringIO(asked))

    result = run("codecommit", "get")

    assert (result.code, result.out) == (2, "quit=1\n")
    assert "no answer from the gateway" in result.err


@pytest.mark.parametrize(
    "asked",
    [
        "",
        "protocol=https\nhost=github.com\npath=a/b\n",
        "protocol=http\nhost=git-codecommit.eu-west-1.amazonaws.com\npath=v1/repos/tools\n",
        "protocol=https\nhost=git-codecommit.nowhere.amazonaws.com\npath=v1/repos/tools\n",
    ],
    ids=["nothing", "another host", "plain http", "no region"],
)
def test_what_is_not_codecommits_is_left_to_other_helpers(
    run: Run, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(asked))

    result = run("codecommit", "get")

    assert (result.code, result.out, result.err) == (0, "", "")


# --- keys of awsgate exec -------------------------------------------------------------------


@contextmanager
def credentials_endpoint(body: bytes, heard: list[str]) -> Iterator[str]:
    class Handler(QuietHandler):
        def do_GET(self) -> None:
            heard.append(f"{self.path} {self.headers.get('Authorization')}")
            self.answer(200, body)

    with http_server(Handler) as url:
        yield f"{url}/keys"


def test_keys_come_from_the_endpoint_of_a_child_of_exec() -> None:
    said = {"AccessKeyId": "GATEX", "SecretAccessKey": "s", "Token": "t", "Expiration": "x"}
    heard: list[str] = []

    with credentials_endpoint(json.dumps(said).encode(), heard) as url:
        caller = caller_from(
            {
                "HTTPS_PROXY": "http://127.0.0.1:8080",
                "AWS_CONTAINER_CREDENTIALS_FULL_URI": url,
                "AWS_CONTAINER_AUTHORIZATION_TOKEN": "canary",
            }
        )

    assert caller.keys == SigningKeys("GATEX", "s", "t")
    assert heard == ["/keys canary"]
    assert "'s'" not in repr(caller)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"AccessKeyId": "GATEX"}', b'"canary"'])
def test_an_endpoint_that_gives_none_is_said(body: bytes) -> None:
    with (
        credentials_endpoint(body, []) as url,
        pytest.raises(SetupError, match="no credentials from AWS_CONTAINER"),
    ):
        caller_from({"HTTPS_PROXY": "gw:1", "AWS_CONTAINER_CREDENTIALS_FULL_URI": url})


@pytest.mark.parametrize("end", ["\n", "\r\nX-Other: 1", "é"])
def test_a_token_that_no_header_can_hold_is_not_repeated(
    end: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**ENVIRONMENT, "AWS_SESSION_TOKEN": f"canary-token{end}"}.items():
        monkeypatch.setenv(name, value)

    result = run(*PRESIGN)

    assert result.code == 2
    assert "no header can hold" in result.err
    assert "canary" not in result.err + result.out


HINTED = {
    "a hint": ("no (hint: do this (or that))", ("no", "do this (or that)")),
    "none": ("alice may not do this: denied", ("alice may not do this: denied", "")),
}


@pytest.mark.parametrize(("message", "parts"), HINTED.values(), ids=HINTED)
def test_a_refusals_hint_stands_on_its_own_line(message: str, parts: tuple[str, str]) -> None:
    assert without_hint(message) == parts


HOSTS = {
    "db.c9akx.eu-west-1.rds.amazonaws.com": "eu-west-1",
    "DB.c9akx.cn-north-1.rds.amazonaws.com.cn": "cn-north-1",
    "db.c9akx.nowhere.rds.amazonaws.com": "",
    "db.eu-west-1.rds.amazonaws.com.example": "",
    "db.example": "",
}


@pytest.mark.parametrize(("host", "region"), HOSTS.items())
def test_the_region_of_a_database_stands_in_its_name(host: str, region: str) -> None:
    assert region_of(host) == region
