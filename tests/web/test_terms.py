"""What the API asks of everybody before anything else, and its noes that few ever see."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from awsgate.connect.ways import LoginRefused
from awsgate.errors import SetupError
from awsgate.listening import bind
from awsgate.policy.settings import ControlSpec
from awsgate.web import desk, server
from awsgate.web.certificates import identity_of
from awsgate.web.page import guard
from awsgate.web.problems import Problem
from awsgate.web.server import serve
from awsgate.web.table import OPERATIONS
from web.believing import challenge, id_token
from web.paging import signed_in, words_of
from web.served import Served, Stage, served_on

BROWSER = {"connector": "oidc/okta", "challenge": challenge(), "port": 4321}
ATTEMPTS = {
    "/v1/login/browser", "/v1/login/code", "/v1/login/device", "/v1/login/password",
    "/v1/login/invitation", "/v1/login/id-token", "/v1/login/certificate",
}  # fmt: skip


def test_each_way_to_log_in_is_an_attempt(stage: Stage, tmp_path: Path) -> None:
    """All of one address share one bucket, and where a browser comes back is an attempt too."""
    with served_on(stage, tmp_path, logins_per_minute=1) as own, own.client() as http:
        first = [http.get("/v1/callback?state=x&code=y").status_code for _ in range(10)]
        then = {path: http.post(path, json={}).status_code for path in ATTEMPTS}
        back = http.get("/v1/callback?state=x&code=y")
        assertion = http.post("/v1/saml/acs/adfs", data={"SAMLResponse": "x", "RelayState": "y"})

    assert first == [400] * 10
    assert then == dict.fromkeys(ATTEMPTS, 429)
    assert (back.status_code, assertion.status_code) == (429, 429)
    assert {one.path for one in OPERATIONS if one.attempt} == ATTEMPTS


# --- the page ---------------------------------------------------------------------------


def test_a_browser_without_a_secret_has_no_form() -> None:
    """The token of no secret is the same for everybody: anybody can reckon it."""
    with pytest.raises(Problem, match="too old"):
        guard.check_form({guard.FIELD: guard.form_token("")}, "")
    guard.check_form({guard.FIELD: guard.form_token("secret")}, "secret")


@pytest.mark.parametrize("size", [512, 513])
def test_a_reason_has_an_end_in_what_is_asked_and_in_what_is_answered(
    size: int, own: Served
) -> None:
    alice, olga = signed_in(own), signed_in(own, "olga")
    fields = {"role": "writer", "reason": "an incident", "duration_s": "600"}
    asked = alice.send("/requests", **fields)
    request = asked.headers["location"].removeprefix("/requests#")

    answers = [
        alice.send("/requests", **{**fields, "role": "teamed", "reason": "x" * size}),
        olga.send("/requests/answer", id=request, verdict="deny", reason="x" * size),
    ]

    if size == 512:
        assert answers[1].status_code == 303
        return
    assert [one.status_code for one in answers] == [400, 400]
    assert all("512 characters at most" in words_of(one) for one in answers)
    found = own.api.asking.place.store().get(request)
    assert found is not None
    assert found.reviews == ()


# --- certificates -----------------------------------------------------------------------


def certificate(name: str) -> bytes:
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    builder = x509.CertificateBuilder(
        subject, subject, key.public_key(), 7, now, now + timedelta(hours=1)
    )
    return (
        builder.add_extension(usage, critical=False)
        .sign(key, hashes.SHA256())
        .public_bytes(Encoding.DER)
    )


SPEC = ControlSpec.model_validate(
    {"client_ca": "ca.pem", "certificate_to_roles": [{"subject": "ann", "roles": ["reader"]}]}
)


def test_a_certificate_gives_the_roles_of_its_row() -> None:
    assert identity_of(certificate("ann"), SPEC).roles == ("reader",)


@pytest.mark.parametrize(
    ("der", "reason"), [(certificate("bob"), "no-role"), (b"\x30\x03abc", "malformed"),
                        (b"", "malformed")],
    ids=["of no row", "that is none", "that is empty"],
)  # fmt: skip
def test_another_gives_nothing(der: bytes, reason: str) -> None:
    with pytest.raises(LoginRefused) as caught:
        identity_of(der, SPEC)

    assert caught.value.reason == reason


# --- noes -------------------------------------------------------------------------------


def test_who_takes_no_certificates_says_so(shared: Served) -> None:
    with shared.client() as http:
        answer = http.post("/v1/login/certificate", json={})

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "no-such-way")


def test_who_has_no_users_of_its_own_takes_no_invitation(stage: Stage, tmp_path: Path) -> None:
    with served_on(stage, tmp_path, local=False) as own, own.client() as http:
        answer = http.post("/v1/login/invitation", json={"token": "invited", "password": "x" * 12})

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "no-such-way")


def test_of_several_connectors_that_take_a_token_one_must_be_named(
    own: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = [SimpleNamespace(name=name) for name in ("oidc/one", "oidc/two")]
    monkeypatch.setattr(own.api.connectors, "of_issuer", lambda *_: both)
    with own.client() as http:
        answer = http.post("/v1/login/id-token", json={"token": id_token("alice")})

    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (409, "ambiguous")
    assert error["hint"] == "say which with connector: oidc/one, oidc/two"


def test_an_app_that_is_not_there_is_named_with_those_that_are(shared: Served) -> None:
    with shared.client(shared.log_in("alice")["login"]) as http:
        answer = http.post("/v1/credentials", json={"app": "nothing"})

    assert answer.status_code == 403
    assert "the policy has no app 'nothing' (main" in answer.json()["error"]["message"]


def test_a_session_that_does_not_fit_in_a_token_is_told_as_such(
    own: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_long(*_: object, **__: object) -> None:
        raise ValueError("token is 4097 characters")

    monkeypatch.setattr(desk, "mint", too_long)
    with own.client(own.log_in("alice")["login"]) as http:
        answer = http.post("/v1/credentials", json={"app": "main"})

    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "too-large")


def test_what_can_be_no_name_of_a_lock_is_the_callers_fault(shared: Served) -> None:
    with shared.client(shared.log_in("olga")["login"]) as http:
        answer = http.delete("/v1/locks/.hidden")

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad-request")


def test_logins_that_wait_to_be_fetched_are_bounded(
    own: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own.api.proved, "_most", 0)
    with own.client() as http:
        url = httpx.URL(http.post("/v1/login/browser", json=BROWSER).json()["url"])
        back = http.get("/v1/callback", params={"state": url.params["state"], "code": "alice"})

    where = httpx.URL(back.headers.get("location", ""))
    told = where.params.get("message", "") or back.text
    assert "too many logins wait to be fetched" in told


# --- starting ---------------------------------------------------------------------------


async def _nothing() -> None: ...


async def _no_app(_scope: object, _receive: object, _send: object) -> None: ...


def begin(begun: Callable[..., object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Serve, with ``begun`` in the place of uvicorn."""
    monkeypatch.setattr(server._Server, "serve", begun)
    sock = bind("127.0.0.1:0")
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with pytest.raises(SetupError, match=r"does not start on 127\.0\.0\.1:1"):
            serve(_no_app, sock, "127.0.0.1:1", context, at_end=_nothing)
    finally:
        sock.close()


def test_an_api_that_ends_at_once_ends_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*_: object, **__: object) -> None:
        raise OSError("no")

    begin(fails, monkeypatch)


def test_one_that_does_not_begin_in_time_too(monkeypatch: pytest.MonkeyPatch) -> None:
    async def waits(*_: object, **__: object) -> None:
        await asyncio.sleep(0.3)

    monkeypatch.setattr(server, "START_TIMEOUT_S", 0.02)
    begin(waits, monkeypatch)
