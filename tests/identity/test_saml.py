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
from identity.gateway import Person
from identity.samlgateway import CONNECTOR, Both, gateway_with_saml
from identity.samlidp import PASSWORD
from samlforge import Said, form, pair, signed

KEYS = {"private_key": pair("sp").key, "cert": pair("sp").cert}


@pytest.fixture(scope="module")
def both(aws: EmbeddedAws, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    with gateway_with_saml(tmp_path_factory.mktemp("saml"), aws) as running:
        yield running


@pytest.fixture
def window(both: Both, chromedriver: httpx.Client, tmp_path: Path) -> Iterator[Browser]:
    """A browser that trusts the gateway's certificate."""
    folder = tmp_path / "browser"
    with browsing(chromedriver, folder, trusted=both.gateway.trusted) as opened:
        yield opened


BY_SAML = ("--connector", CONNECTOR, "--no-browser")


def go_in(person: Person, window: Browser, user: str, shown: str) -> tuple[int, str, str]:
    """Log in with a browser until it shows something; give how the command ended."""
    with person.logging_in(*BY_SAML) as login:
        log_in(window, login.url(), user)
        window.wait_for(shown)
        return login.ended()


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
    both: Both, window: Browser, user: str, roles: list[str], at_aws: str
) -> None:
    person = both.gateway.person(user)
    code, out, err = go_in(person, window, user, "Logged in")

    assert code == 0, err
    said = json.loads(out)
    name = f"{user}@example.com"
    assert (said["user"], said["connector"], said["roles"]) == (name, "saml/corp", roles)
    assert person.whoami("--role", at_aws).endswith(f":assumed-role/{at_aws}/{name}")
    line = both.gateway.logins()[-1]
    assert (line["user"], line["decision"]) == (name, "allowed")
    assert (
        'awsgate_logins_total{connector="saml/corp",result="ok"}' in both.gateway.process.metrics()
    )


def test_a_person_without_a_role_is_told_so(both: Both, window: Browser) -> None:
    code, out, err = go_in(both.gateway.person("eve"), window, "eve", "Not logged in")

    assert (code, out) == (1, "")
    assert "[no-role]" in err


def test_a_wrong_password_does_not_come_back_to_us(both: Both, window: Browser) -> None:
    before = len(both.gateway.logins())
    with both.gateway.person("ann").logging_in(*BY_SAML) as login:
        log_in(window, login.url(), "ann", "wrong")
        window.wait_for("wrong password")

    assert len(both.gateway.logins()) == before


@pytest.mark.parametrize("encrypt", ["gcm", "cbc"])
def test_with_signed_requests_and_encrypted_assertions(
    aws: EmbeddedAws, chromedriver: httpx.Client, tmp_path: Path, encrypt: str
) -> None:
    """Under ``awsgate run``; the provider refuses requests that are not signed."""
    keys = {"assertion_key_pair": KEYS, "signing_key_pair": KEYS}
    with (
        gateway_with_saml(tmp_path / "gate", aws, encrypt=encrypt, workers=1, **keys) as both,
        browsing(chromedriver, tmp_path / "browser", trusted=both.gateway.trusted) as window,
        both.client() as http,
    ):
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.get(begun(http).partition("&SigAlg=")[0], trust_env=False)
        person = both.gateway.person("ann")
        code, _, err = go_in(person, window, "ann", "Logged in")

        assert code == 0, err
        arn = person.whoami("--role", "ExampleReadOnlyAccess")
    assert arn.endswith(":assumed-role/ExampleReadOnlyAccess/ann@example.com")


# -- what a browser could bring instead, by HTTP alone -----------------------------


def begun(http: httpx.Client) -> str:
    """Give where a browser would go."""
    asked = {"connector": CONNECTOR, "challenge": "c" * 43, "port": 4321}
    return str(http.post("/v1/login/browser", json=asked).raise_for_status().json()["url"])


class Attempt:
    """A login up to the answer of the provider, which tests then change."""

    def __init__(self, both: Both, http: httpx.Client) -> None:
        self._http = http
        page = httpx.get(begun(http), trust_env=False).text
        fields = {**_hidden(page), "login": "ann", "password": PASSWORD}
        page = httpx.post(f"{both.idp.url}/login", data=fields, trust_env=False).text
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
def http(both: Both) -> Iterator[httpx.Client]:
    with both.client() as client:
        yield client


def test_an_answer_is_good_once_and_for_its_own_login(both: Both, http: httpx.Client) -> None:
    first, second = Attempt(both, http), Attempt(both, http)
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
    both: Both, http: httpx.Client, reason: str, change: Any
) -> None:
    attempt = Attempt(both, http)
    forged = change(attempt.text)
    assert forged != attempt.text

    assert attempt.bring(forged) == reason
    line = both.gateway.logins()[-1]
    assert (line["decision"], line["code"]) == ("refused", reason)
    sample = f'awsgate_logins_total{{connector="saml/corp",result="{reason}"}}'
    assert sample in both.gateway.process.metrics()


def test_an_answer_of_somebody_else_is_refused(both: Both, http: httpx.Client) -> None:
    """All right but for the key, which is another's."""
    attempt = Attempt(both, http)
    found = re.search(r'InResponseTo="([^"]+)"', attempt.text)
    assert found is not None
    acs, issuer = both.acs, both.idp.metadata
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


def test_nothing_of_an_answer_is_in_the_log_or_the_audit(both: Both, http: httpx.Client) -> None:
    attempt = Attempt(both, http)
    packed = attempt.fields["SAMLResponse"]
    attempt.bring(attempt.text.replace("ann@", "root@"))

    kept = both.gateway.process.log.read_text() + json.dumps(both.gateway.process.audit())
    values = re.findall(r"SignatureValue>([^<\s]+)", attempt.text)
    assert values
    assert not [value for value in [*values, packed[:200]] if value in kept]
