"""The SAML connector without its signatures: start, requests, metadata, names and roles.

A stand-in for xmlsec1 is on PATH: nothing here may run it.
"""

from __future__ import annotations

import base64
import importlib.util
import re
import ssl
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from saml2 import samlp

from awsgate.connect import samlform
from awsgate.connect.saml import Replays, SamlConnector, identity_of
from awsgate.connect.samlassertion import Assertion
from awsgate.connect.ways import LoginRefused
from awsgate.errors import SetupError
from awsgate.login import Identity
from awsgate.policy.connectors import Saml
from samlforge import ACS, ISSUER, NOW, REQUEST, SSO, Said, document, form, metadata, pair

URL = "https://idp.example.com/metadata.xml"
BY_URL = {"issuer": None, "sso": None, "cert": None, "entity_descriptor_url": URL}


@pytest.fixture(autouse=True)
def _stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "xmlsec1"
    program.write_text("#!/bin/sh\nexit 9\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))


class Web:
    """Answers for the provider's URL, and counts."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.asked = 0
        # To read the roots of the system takes longer than a test.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        transport = httpx.MockTransport(self._answer)
        self.client = httpx.AsyncClient(transport=transport, verify=context)

    def _answer(self, _request: httpx.Request) -> httpx.Response:
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        stream = httpx.ByteStream(answer.content)
        return httpx.Response(answer.status_code, stream=stream, headers=answer.headers)


def good(text: str = "") -> httpx.Response:
    return httpx.Response(200, content=(text or metadata()).encode())


def connector(
    web: Web | None = None, clock: Callable[[], float] = lambda: NOW, **changes: Any
) -> SamlConnector:
    made = Saml.model_validate(document(**changes))
    client = (web or Web(good())).client
    return SamlConnector(made, http=client, clock=clock, replays=Replays())


async def test_the_request_is_for_this_login_alone() -> None:
    begun = await connector().begin(state="state-1", redirect_url="")
    again = await connector().begin(state="state-2", redirect_url="")

    query = parse_qs(urlsplit(begun.url).query)
    text = zlib.decompress(base64.b64decode(query["SAMLRequest"][0]), wbits=-15)
    request = samlp.authn_request_from_string(text)
    assert begun.url.startswith(SSO + "?")
    assert query["RelayState"] == ["state-1"]
    assert (request.destination, request.assertion_consumer_service_url) == (SSO, ACS)
    assert (request.issuer.text, request.issue_instant) == (ACS, "2026-11-18T11:06:40Z")
    assert begun.memory == {"request": request.id}
    assert again.memory != begun.memory


async def test_the_query_of_the_provider_stays() -> None:
    begun = await connector(sso=SSO + "?tenant=7").begin(state="s", redirect_url="")

    assert begun.url.startswith(SSO + "?tenant=7&SAMLRequest=")


async def test_a_request_is_signed_as_the_binding_has_it() -> None:
    keys = {"private_key": pair("sign").key, "cert": pair("sign").cert}
    begun = await connector(signing_key_pair=keys).begin(state="a state", redirect_url="")

    query, mark = urlsplit(begun.url).query.split("&Signature=")
    names = [name for name, _ in parse_qsl(query)]
    key = x509.load_pem_x509_certificate(pair("sign").cert.encode()).public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    assert names == ["SAMLRequest", "RelayState", "SigAlg"]
    made = base64.b64decode(parse_qs("s=" + mark)["s"][0])
    key.verify(made, query.encode(), padding.PKCS1v15(), hashes.SHA256())


async def test_a_state_that_saml_does_not_carry_is_refused() -> None:
    with pytest.raises(ValueError, match="80 bytes"):
        await connector().begin(state="x" * 81, redirect_url="")


async def test_an_answer_of_another_provider_is_told_as_such() -> None:
    """Before the signature: it needs no key of that provider."""
    made = connector()
    evil = "https://evil.example"
    said = Said(issuer=evil, response_issuer=evil, sign_response=True)

    with pytest.raises(LoginRefused) as caught:
        made._identity(form(said.text()), await made._source.get(), REQUEST)
    assert caught.value.reason == "wrong-issuer"


async def test_what_nobody_asked_for_is_refused_unless_allowed() -> None:
    with pytest.raises(LoginRefused) as caught:
        await connector().finish({"SAMLResponse": form(Said().text())}, {})
    assert caught.value.reason == "unsolicited"

    with pytest.raises(LoginRefused) as caught:
        await connector(allow_idp_initiated=True).finish({"SAMLResponse": "%"}, {})
    assert caught.value.reason == "malformed"


# -- start ----------------------------------------------------------------------


def test_without_xmlsec1_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")

    with pytest.raises(SetupError, match="needs the program xmlsec1") as caught:
        connector()
    assert "apt-get install xmlsec1" in caught.value.hint


def test_without_pysaml2_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "saml2" else find(name)
    )

    with pytest.raises(SetupError, match="needs pysaml2") as caught:
        connector()
    assert "awsgate[saml]" in caught.value.hint


KEYS = {
    "no key": ({"private_key": "canary", "cert": pair("sp").cert}, "no RSA key in PEM"),
    "no certificate": ({"private_key": pair("sp").key, "cert": "canary"}, "no PEM certificate"),
    "no file": (
        {"private_key": "file:///nowhere/key.pem", "cert": pair("sp").cert},
        "cannot read /nowhere/key.pem",
    ),
}


@pytest.mark.parametrize("which", ["signing_key_pair", "assertion_key_pair"])
@pytest.mark.parametrize(("keys", "said"), KEYS.values(), ids=KEYS)
def test_a_key_pair_that_is_none_ends_the_start(
    which: str, keys: Mapping[str, str], said: str
) -> None:
    with pytest.raises(SetupError, match=said) as caught:
        connector(**{which: keys})
    assert "canary" not in caught.value.render()


def test_metadata_that_is_none_ends_the_start(tmp_path: Path) -> None:
    by_text = {**BY_URL, "entity_descriptor_url": None}
    faulty = tmp_path / "idp.xml"
    faulty.write_text("<html/>")

    with pytest.raises(SetupError, match="no SAML metadata"):
        connector(**by_text, entity_descriptor="<html/>")
    with pytest.raises(SetupError, match="no SAML metadata"):
        connector(**by_text, entity_descriptor=f"file://{faulty}")
    with pytest.raises(SetupError, match="No such file"):
        connector(**by_text, entity_descriptor="file:///nowhere.xml")


# -- metadata -------------------------------------------------------------------


async def begun_at(made: SamlConnector) -> str:
    return (await made.begin(state="s", redirect_url="")).url.split("?")[0]


async def test_metadata_by_text_and_by_file(tmp_path: Path) -> None:
    by_text = {**BY_URL, "entity_descriptor_url": None}
    file = tmp_path / "idp.xml"
    file.write_text(metadata())

    assert await begun_at(connector(**by_text, entity_descriptor=metadata())) == SSO
    assert await begun_at(connector(**by_text, entity_descriptor=f"file://{file}")) == SSO


async def test_metadata_by_url_is_fetched_once_and_anew_when_it_is_old() -> None:
    now = [NOW]
    web = Web(good(), good(metadata(sso="https://idp.example.com/new")))
    made = connector(web, clock=lambda: now[0], **BY_URL)

    assert [await begun_at(made) for _ in range(3)] == [SSO] * 3
    assert web.asked == 1
    now[0] += 3600
    assert await begun_at(made) == "https://idp.example.com/new"


async def test_the_gateway_starts_without_its_provider_and_logins_say_so() -> None:
    web = Web(httpx.ConnectError("canary"), good())
    now = [NOW]
    made = connector(web, clock=lambda: now[0], **BY_URL)

    with pytest.raises(LoginRefused, match="cannot be read") as caught:
        await begun_at(made)
    assert caught.value.reason == "provider-failed"
    now[0] += 60
    assert await begun_at(made) == SSO


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (httpx.Response(302, headers={"location": "http://idp.example.com/"}), "status 302"),
        (good("x" * (1024**2 + 1)), "longer than"),
        (good("<html/>"), "no SAML metadata"),
    ],
)
async def test_an_answer_that_is_no_metadata(answer: httpx.Response, said: str) -> None:
    with pytest.raises(LoginRefused, match=said):
        await begun_at(connector(Web(answer), **BY_URL))


async def test_an_answer_of_an_unknown_issuer_fetches_nothing_anew() -> None:
    web = Web(good())
    made = connector(web, **BY_URL)

    answer = {"SAMLResponse": form(Said(issuer="https://evil.example").text())}
    for _ in range(3):
        with pytest.raises(LoginRefused) as caught:
            await made.finish(answer, {"request": "_request1"})
        assert caught.value.reason == "wrong-issuer"
    assert web.asked == 1


def test_every_reason_is_in_the_docs() -> None:
    folder = Path(samlform.__file__).parent
    text = "".join(path.read_text("utf-8") for path in folder.glob("saml*.py"))
    reasons = set(re.findall(r'(?:refuse|LoginRefused)\(\s*"([a-z-]+)"', text))
    page = (Path(__file__).parents[2] / "docs/login-saml.md").read_text("utf-8")

    assert len(reasons) > 18
    assert [reason for reason in reasons if f"`{reason}`" not in page] == []


# -- who it is ------------------------------------------------------------------


def proved(**changes: Any) -> Assertion:
    fields: dict[str, Any] = {
        "id": "_a",
        "name": "alice@example.com",
        "transient": False,
        "attributes": MappingProxyType({"groups": ("admins", "team-blue"), "uid": ("alice",)}),
        "session_ends_at": 1_795_003_600,
        "accepted_until": NOW + 300,
        **changes,
    }
    return Assertion(**fields)


def who(assertion: Assertion, **changes: Any) -> Identity:
    return identity_of(Saml.model_validate(document(**changes)), assertion, now=NOW)


def test_the_name_the_roles_the_traits_and_the_end() -> None:
    rows = [
        {"name": "groups", "value": "admins", "roles": ["admin"]},
        {"name": "groups", "value": "team-*", "roles": ["of-$1"]},
    ]

    assert who(proved(), attributes_to_roles=rows) == Identity(
        user="alice@example.com",
        connector="saml/corp",
        roles=("admin", "of-blue"),
        traits=proved().attributes,
        ends_at=1_795_003_600,
    )


def test_a_users_name_from_an_attribute_with_the_connectors_prefix() -> None:
    changes = {"username_attribute": "uid", "username_prefix": "corp:"}

    assert who(proved(), **changes).user == "corp:alice"
    assert who(proved(transient=True), **changes).user == "corp:alice"


def test_the_connectors_login_ttl_goes_before_the_session_of_the_provider() -> None:
    assert who(proved(), login_ttl="8h").ends_at == int(NOW) + 8 * 3600
    assert who(proved(session_ends_at=None)).ends_at is None


NAMES: dict[str, tuple[Assertion, dict[str, Any]]] = {
    "no NameID": (proved(name=""), {}),
    "another at every login": (proved(transient=True), {}),
    "no such attribute": (proved(), {"username_attribute": "mail"}),
    "two values": (proved(), {"username_attribute": "groups"}),
    "control characters": (proved(name="alice\x1b[2J"), {}),
    "too long": (proved(name="a" * 256), {}),
}


@pytest.mark.parametrize(("assertion", "changes"), NAMES.values(), ids=NAMES)
def test_a_name_that_names_nobody(assertion: Assertion, changes: dict[str, Any]) -> None:
    with pytest.raises(LoginRefused) as caught:
        who(assertion, **changes)
    assert caught.value.reason == "bad-name"


def test_nobody_logs_in_without_a_role() -> None:
    rows = [{"name": "dept", "value": "*", "roles": ["admin"]}]

    with pytest.raises(LoginRefused) as caught:
        who(proved(), attributes_to_roles=rows)
    assert caught.value.reason == "no-role"
    assert "'dept'" in caught.value.hint


# -- replays --------------------------------------------------------------------


def taken(replays: Replays, assertion: Assertion, *, issuer: str = ISSUER, now: float) -> str:
    try:
        replays.take(issuer, assertion, now=now)
    except LoginRefused as refused:
        return refused.reason
    return ""


def test_an_assertion_is_taken_once_while_it_lives() -> None:
    replays = Replays()

    assert taken(replays, proved(), now=NOW) == ""
    assert taken(replays, proved(), now=NOW + 300) == "replayed"
    assert taken(replays, proved(), issuer="https://other.example", now=NOW) == ""
    assert taken(replays, proved(id="_b"), now=NOW) == ""


def test_nothing_is_forgotten_before_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("awsgate.connect.saml._MAX_REMEMBERED", 2)
    replays = Replays()
    for name in ("_a", "_b"):
        assert taken(replays, proved(id=name), now=NOW) == ""

    assert taken(replays, proved(id="_c"), now=NOW) == "busy"
    assert taken(replays, proved(id="_a"), now=NOW) == "replayed"
    assert taken(replays, proved(id="_c", accepted_until=NOW + 900), now=NOW + 301) == ""


def test_what_was_encrypted_has_to_be_an_assertion(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody may encrypt anything: the connector's certificate is public."""
    made = connector()
    inside = "<saml:EncryptedAssertion><saml:Advice/></saml:EncryptedAssertion>"
    text = Said(sign_assertion=False).text(inside).encode()
    monkeypatch.setattr(made, "_crypto", SimpleNamespace(decrypt=lambda *_, **__: text))

    with pytest.raises(LoginRefused, match="what was encrypted is no assertion") as caught:
        made._opened(samlform.read_answer(Said().text().encode()))
    assert caught.value.reason == "malformed"
