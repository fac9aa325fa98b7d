"""WebSockets that are signed at their upgrade: verified, signed again, relayed.

The client is the ``websockets`` library; URLs are signed by botocore, as IoT and
Transcribe document it. The strict AWS verifies the upgrade and echoes every frame.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

import pytest
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from e2e.forms import HOPS_VARIABLE, Stage, stage_in
from e2e.recording import wait_until

IOT = "abc123-ats.iot.us-east-1.amazonaws.com"
TRANSCRIBE = "transcribestreaming.us-east-1.amazonaws.com"
API = "abc123.execute-api.us-east-1.amazonaws.com"
MIB = 1 << 20


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage_in(tmp_path_factory.mktemp("websockets")) as made:
        yield made


def signed_url(
    stage: Stage, host: str, path: str, service: str, *, port: int = 443, secret: str = ""
) -> str:
    """Sign an upgrade. IoT's token comes after the signature, as its guide has it."""
    iot = service == "iotdevicegateway"
    keys = Credentials(
        stage.keys.access_key_id,
        secret or stage.keys.secret_access_key,
        None if iot else stage.keys.session_token,
    )
    netloc = host if port == 443 else f"{host}:{port}"
    request = AWSRequest("GET", f"https://{netloc}{path}")
    SigV4QueryAuth(keys, service, "us-east-1", expires=300).add_auth(request)
    url = request.url.replace("https://", "wss://")
    if iot:
        url += f"&X-Amz-Security-Token={quote(stage.keys.session_token, safe='')}"
    return url


@contextmanager
def opened(stage: Stage, url: str, **options: object) -> Iterator[ClientConnection]:
    trusted = ssl.create_default_context(cafile=str(stage.gateway.certs / "ca-cert.pem"))
    with connect(
        url, proxy=stage.gateway.proxy, ssl=trusted, max_size=4 * MIB, **options
    ) as client:  # type: ignore[arg-type]
        yield client


@pytest.mark.parametrize(
    ("host", "path", "service", "port"),
    [
        (IOT, "/mqtt", "iotdevicegateway", 443),
        (TRANSCRIBE, "/stream-transcription-websocket?language-code=en-US", "transcribe", 8443),
        (API, "/prod", "execute-api", 443),
    ],
    ids=["IoT", "Transcribe on 8443", "API Gateway"],
)
def test_a_signed_websocket_is_relayed_both_ways(
    stage: Stage, host: str, path: str, service: str, port: int
) -> None:
    if port != 443 and os.environ.get(HOPS_VARIABLE):
        pytest.skip("the way between two gateways names no port")
    before = len(stage.gateway.audit())
    binary = os.urandom(2 * MIB)
    with opened(stage, signed_url(stage, host, path, service, port=port)) as client:
        client.send("a text")
        assert client.recv(10) == "a text"
        client.send(binary)
        assert client.recv(10) == binary
        client.ping().wait(5)
        events = [line["event"] for line in stage.gateway.audit()[before:]]
        assert events == ["websocket.open"]

    last = stage.last()
    assert (last.fault, last.session_name, last.auth) == ("", "bob", "query")
    assert last.access_key_id != stage.keys.access_key_id
    assert quote(stage.keys.session_token, safe="") not in last.target
    assert wait_until(lambda: len(stage.gateway.audit()) == before + 2)
    line = stage.gateway.audit()[-1]
    assert (line["event"], line["status"], line["user"]) == ("request", 101, "bob")
    assert min(line["bytes_in"], line["bytes_out"]) > 2 * MIB
    assert line["path"] == path.partition("?")[0]


def test_a_subprotocol_is_negotiated_with_aws(stage: Stage) -> None:
    url = signed_url(stage, IOT, "/mqtt", "iotdevicegateway")

    with opened(stage, url, subprotocols=["mqtt"]) as client:
        assert client.subprotocol == "mqtt"


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda url: url.replace("/mqtt", "/mqtT"), "bad-signature"),
        (lambda url: url.replace("X-Amz-Signature=", "X-Amz-Signature=0"), "bad-signature"),
        (lambda url: url.partition("?")[0], "not-signed"),
        (lambda url: url + "A", "unknown-key"),
    ],
    ids=["another path", "another signature", "not signed", "another token"],
)
def test_a_websocket_that_is_not_signed_rightly_is_refused(
    stage: Stage, spoil: object, code: str
) -> None:
    assert callable(spoil)
    seen = len(stage.aws.requests)
    url = spoil(signed_url(stage, IOT, "/mqtt", "iotdevicegateway"))

    with pytest.raises(InvalidStatus) as caught, opened(stage, url):
        pass

    assert caught.value.response.headers["x-awsgate-code"] == code
    assert len(stage.aws.requests) == seen


def test_plain_requests_do_not_go_to_the_websocket_port(stage: Stage) -> None:
    url = signed_url(stage, TRANSCRIBE, "/x", "transcribe", port=8443)
    seen = len(stage.aws.requests)

    from rawclient import head, secure

    with secure(stage.gateway, TRANSCRIBE, port=8443) as wire:
        target = "/" + url.removeprefix("wss://").partition("/")[2]
        wire.send(head("GET", target, [(b"Host", f"{TRANSCRIBE}:8443".encode())]))
        answer = wire.read_answer()

    assert (answer.status, answer.code) == (421, "unsupported")
    assert len(stage.aws.requests) == seen


def test_unsigned_websockets_pass_where_the_operator_says_so(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("open")
    with stage_in(folder, spec="{unsigned: {websockets: true}}") as stage:
        with pytest.raises(InvalidStatus) as caught, opened(stage, f"wss://{IOT}/mqtt"):
            pass

        assert stage.aws.requests[-1].fault == "authorization-missing", "AWS was asked, unsigned"
        assert "x-awsgate-code" not in caught.value.response.headers
