"""People log in with Chromium at pysaml2's own provider, through the real gateway, to AWS."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from awsgate.demo.embedded_aws import EmbeddedAws
from identity.browser import Browser, browsing
from identity.samlgateway import Gateway, gateway_with_saml
from identity.samlidp import PASSWORD
from samlforge import Said, form, pair, signed

KEYS = {"private_key": pair("sp").key, "cert": pair("sp").cert}


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedAws]:
    running = EmbeddedAws(tmp_path_factory.mktemp("aws"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def gateway(aws: EmbeddedAws, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with gateway_with_saml(tmp_path_factory.mktemp("saml"), aws) as running:
        yield running


@pytest.fixture
def window(gateway: Gateway, chromedriver: httpx.Client, tmp_path: Path) -> Iterator[Browser]:
    """A browser that trusts the gateway's certificate."""
    folder = tmp_path / "browser"
    with browsing(chromedriver, folder, trusted=gateway.trusted) as opened:
        yield opened


def log_in(browser: Browser, url: str, user: str, password: str = PASSWORD) -> None:
    browser.go(url)
    browser.fill("[name=login]", user)
    browser.fill("[name=password]", password)
    browser.click("#go")


# user -> (roles, the role at AWS)
PEOPLE = {
    "ann": (["power", "read"], "ExamplePowerAccess"),
    "bob": (["read"], "ExampleReadOnlyAccess"),
}


@pytest.mark.parametrize(("user", "roles", "at_aws"), [(u, *p) for u, p in PEOPLE.items()])
def test_a_person_logs_in_and_aws_sees_who(
    gateway: Gateway, window: Browser, user: str, roles: list[str], at_aws: str
) -> None:
    with gateway.logging_in() as login:
        log_in(window, login.url, user)
        window.wait_for("Logged in")
        code, out, err = login.ended()

    assert code == 0, err
    said = json.loads(out)
    name = f"{user}@example.com"
    assert (said["user"], said["connector"], said["roles"]) == (name, "saml/corp", roles)
    assert gateway.whoami("--role", at_aws).endswith(f":assumed-role/{at_aws}/{name}")
    line = gateway.logins()[-1]
    assert (line["user"], line["decision"]) == (name, "allowed")
    assert 'awsgate_logins_total{connector="saml/corp",result="ok"}' in gateway.process.metrics()


def test_a_person_without_a_role_is_told_so(gateway: Gateway, window: Browser) -> None:
    with gateway.logging_in() as login:
        log_in(window, login.url, "eve")
        window.wait_for("Not logged in")
        code, out, err = login.ended()

    assert (code, out) == (1, "")
    assert "[no-role]" in err


def test_a_wrong_password_does_not_come_back_to_us(gateway: Gateway, window: Browser) -> None:
    before = len(gateway.logins())
    with gateway.logging_in() as login:
        log_in(window, login.url, "ann", "wrong")
        window.wait_for("wrong password")

    assert len(gateway.logins()) == before


@pytest.mark.parametrize("encrypt", ["gcm", "cbc"])
def test_with_signed_requests_and_encrypted_assertions(
    aws: EmbeddedAws, chromedriver: httpx.Client, tmp_path: Path, encrypt: str
) -> None:
    """Under ``awsgate run``; the provider refuses requests that are not signed."""
    keys = {"assertion_key_pair": KEYS, "signing_key_pair": KEYS}
    with (
        gateway_with_saml(tmp_path / "gate", aws, encrypt=encrypt, workers=1, **keys) as gateway,
        browsing(chromedriver, tmp_path / "browser", trusted=gateway.trusted) as window,
        gateway.logging_in() as login,
    ):
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.get(login.url.partition("&SigAlg=")[0], trust_env=False)
        log_in(window, login.url, "ann")
        window.wait_for("Logged in")
        code, _, err = login.ended()

        assert code == 0, err
        arn = gateway.whoami("--role", "ExampleReadOnlyAccess")
    assert arn.endswith(":assumed-role/ExampleReadOnlyAccess/ann@example.com")


# -- what a browser could bring instead, by HTTP alone -----------------------------


class Attempt:
    """A login up to the answer of the provider, which tests then change."""

    def __init__(self, gateway: Gateway, http: httpx.Client, user: str = "ann") -> None:
        asked = {"connector": "saml/corp", "challenge": "c" * 43, "port": 4321}
        begun = http.post("/v1/login/browser", json=asked).raise_for_status().json()
        self._http = http
        page = httpx.get(begun["url"], trust_env=False).text
        fields = {**_hidden(page), "login": user, "password": PASSWORD}
        page = httpx.post(f"{gateway.idp.url}/login", data=fields, trust_env=False).text
        self.fields = _hidden(page)

    @property
    def text(self) -> str:
        """The provider's answer."""
        return base64.b64decode(self.fields["SAMLResponse"]).decode()

    def bring(self, text: str = "") -> str:
        """Give why it is refused, or nothing."""
        fields = self.fields if not text else {**self.fields, "SAMLResponse": form(text)}
        answer = self._http.post("/v1/saml/acs/corp", data=fields)
        if answer.status_code != 303:
            return answer.text
        query = parse_qs(urlsplit(answer.headers["location"]).query)
        return "" if "code" in query else query["error"][0]


def _hidden(page: str) -> dict[str, str]:
    found = re.findall(r'name="(SAML\w+|RelayState)"\s+value="([^"]*)"', page)
    return {name: html.unescape(value) for name, value in found}


@pytest.fixture
def http(gateway: Gateway) -> Iterator[httpx.Client]:
    with gateway.client() as client:
        yield client


def test_an_answer_is_good_once_and_for_its_own_login(gateway: Gateway, http: httpx.Client) -> None:
    first, second = Attempt(gateway, http), Attempt(gateway, http)
    answer = first.text

    assert first.bring() == ""
    assert "no login waits" in first.bring()
    assert second.bring(answer) == "wrong-request"


def weakened(text: str) -> str:
    return text.replace("xmldsig-more#rsa-sha256", "xmldsig-more#rsa-sha1")


FORGED: dict[str, tuple[str, Any]] = {
    "tampered": ("tampered", lambda text: text.replace("ann@", "root@")),
    "weak algorithm": ("weak-algorithm", weakened),
    "comment": ("comment", lambda text: text.replace("ann@", "ann@<!---->")),
    "DTD": ("dtd", lambda text: f"<!DOCTYPE x>{text.partition('?>')[2]}"),
    "signature taken away": (
        "not-signed",
        lambda text: re.sub(r"<(\w+):Signature .*</\1:Signature>", "", text, flags=re.DOTALL),
    ),
}


@pytest.mark.parametrize(("reason", "change"), FORGED.values(), ids=FORGED)
def test_a_forged_answer_is_refused_and_recorded(
    gateway: Gateway, http: httpx.Client, reason: str, change: Any
) -> None:
    attempt = Attempt(gateway, http)
    forged = change(attempt.text)
    assert forged != attempt.text

    assert attempt.bring(forged) == reason
    line = gateway.logins()[-1]
    assert (line["decision"], line["code"]) == ("refused", reason)
    sample = f'awsgate_logins_total{{connector="saml/corp",result="{reason}"}}'
    assert sample in gateway.process.metrics()


def test_an_answer_of_somebody_else_is_refused(gateway: Gateway, http: httpx.Client) -> None:
    """All right but for the key, which is another's."""
    attempt = Attempt(gateway, http)
    found = re.search(r'InResponseTo="([^"]+)"', attempt.text)
    assert found is not None
    acs, issuer = f"{gateway.url}/v1/saml/acs/corp", gateway.idp.metadata
    said = Said(
        issuer=issuer,
        response_issuer=issuer,
        audiences=[acs],
        recipient=acs,
        destination=acs,
        request=found[1],
        confirmed_request=found[1],
    )

    assert attempt.bring(signed(said.text(), by="mallory")) == "bad-signature"


def test_nothing_of_an_answer_is_in_the_log_or_the_audit(
    gateway: Gateway, http: httpx.Client
) -> None:
    attempt = Attempt(gateway, http)
    packed = attempt.fields["SAMLResponse"]
    attempt.bring(attempt.text.replace("ann@", "root@"))

    kept = gateway.process.log.read_text() + json.dumps(gateway.process.audit())
    values = re.findall(r"SignatureValue>([^<\s]+)", attempt.text)
    assert values
    assert not [value for value in [*values, packed[:200]] if value in kept]
