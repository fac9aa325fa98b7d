"""SAML answers with real signatures, by xmlsec1: one is taken, all that is wrong is refused.

Each refusal is by its reason. The answers are made by text and xmlsec1 alone (``samlforge``).
"""

from __future__ import annotations

import asyncio
import functools
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from awsgate.connect import samlcrypto
from awsgate.connect.saml import Replays, SamlConnector
from awsgate.connect.ways import LoginRefused
from awsgate.login import Identity
from awsgate.policy.connectors import Saml
from samlforge import (
    ACS,
    ASSERTION_NODE,
    NOW,
    REQUEST,
    RESPONSE_NODE,
    RSA_1_5,
    Said,
    answer,
    as_entra,
    as_okta,
    as_shibboleth,
    document,
    encrypted,
    form,
    metadata,
    pair,
    signature,
    signed,
    wrappings,
)

SP = {"assertion_key_pair": {"private_key": pair("sp").key, "cert": pair("sp").cert}}
XMLDSIG = "http://www.w3.org/2000/09/xmldsig#"
type LogIn = Callable[..., Any]


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    async with httpx.AsyncClient(trust_env=False, verify=context) as client:
        yield client


@pytest.fixture
def log_in(http: httpx.AsyncClient) -> LogIn:
    """Give a connector an answer to its own request, or to another."""

    async def done(
        text: str, *, request: str = REQUEST, replays: Replays | None = None, **changes: Any
    ) -> Identity:
        made = Saml.model_validate(document(**{**SP, **changes}))
        connector = SamlConnector(made, http=http, clock=lambda: NOW, replays=replays or Replays())
        memory = {"request": request} if request else {}
        return await connector.finish({"SAMLResponse": form(text), "RelayState": "s"}, memory)

    return done


@pytest.fixture
def refused(log_in: LogIn) -> LogIn:
    async def reason(text: str, **options: Any) -> str:
        with pytest.raises(LoginRefused) as caught:
            await log_in(text, **options)
        return caught.value.reason

    return reason


def sealed(said: Said, *, by: str = "idp", to: str = "sp", **how: str) -> str:
    """An answer with its assertion signed, then encrypted."""
    text = said.assertion()
    inner = signed(text, by=by, id=said.id) if said.sign_assertion else text
    whole = said.text(encrypted(inner, to=to, **how))
    return signed(whole, by=by, id=said.response_id) if said.sign_response else whole


TAKEN: dict[str, Callable[[], str]] = {
    "signed assertion": lambda: answer(Said()),
    "signed assertion in a signed answer": lambda: answer(Said(sign_response=True)),
    "encrypted": lambda: sealed(Said()),
    "encrypted in CBC": lambda: sealed(Said(), block="cbc"),
    "encrypted, and signed as a whole": lambda: sealed(Said(sign_response=True)),
    "as Okta writes": lambda: styled(as_okta),
    "as Entra ID writes": lambda: styled(as_entra),
    "as Shibboleth writes, encrypted": lambda: styled(as_shibboleth, encrypt=True),
    "RSA with SHA-512": lambda: answer(Said(signs=RSA_SHA512)),
}


RSA_SHA512 = {
    "method": "http://www.w3.org/2001/04/xmldsig-more#rsa-sha512",
    "digest": "http://www.w3.org/2001/04/xmlenc#sha512",
}
ECDSA = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256"


def styled(style: Callable[[str], str], *, encrypt: bool = False) -> str:
    """An answer in the style of a provider, signed in it, twice if it is not encrypted."""
    if encrypt:
        return Said().text(encrypted(signed(style(Said().assertion())), to="sp"))
    text = signed(style(Said(sign_response=True).text()), id="_assertion1")
    return signed(text, id="_response1")


@pytest.mark.parametrize("make", TAKEN.values(), ids=TAKEN)
async def test_an_answer_that_is_right_is_taken(make: Callable[[], str], log_in: LogIn) -> None:
    identity = await log_in(make())

    assert (identity.user, identity.connector) == ("alice@example.com", "saml/corp")
    assert identity.roles == ("admin",)
    assert identity.ends_at == int(NOW) + 3600


async def test_a_key_of_an_elliptic_curve_signs_too(log_in: LogIn) -> None:
    text = answer(Said(signs={"method": ECDSA}), by="curve")

    assert (await log_in(text, cert=pair("curve", 0).cert)).user == "alice@example.com"


# what is wrong -> (reason, answer, changes of the connector)
Case = tuple[str, Callable[[], str], dict[str, Any]]
REFUSED: dict[str, Case] = {
    "unsigned": ("not-signed", lambda: answer(Said(sign_assertion=False)), {}),
    "only the answer is signed": (
        "not-signed",
        lambda: answer(Said(sign_assertion=False, sign_response=True)),
        {},
    ),
    "encrypted, unsigned": ("not-signed", lambda: sealed(Said(sign_assertion=False)), {}),
    "wrong issuer": ("wrong-issuer", lambda: answer(Said(issuer="https://evil.example")), {}),
    "wrong issuer, encrypted": (
        "wrong-issuer",
        lambda: sealed(Said(issuer="https://evil.example")),
        {},
    ),
    "wrong audience": ("wrong-audience", lambda: answer(Said(audiences=["https://x"])), {}),
    "no audience": ("wrong-audience", lambda: answer(Said(audiences=[])), {}),
    "audience of the acs, another is set": (
        "wrong-audience",
        lambda: answer(Said()),
        {"audience": "urn:awsgate"},
    ),
    "expired": ("expired", lambda: answer(Said(ends=-60)), {}),
    "session expired": ("expired", lambda: answer(Said(session_ends=-1)), {}),
    "not yet": ("not-yet-valid", lambda: answer(Said(begins=61)), {}),
    "tampered name": ("tampered", lambda: answer(Said()).replace("alice", "mallory"), {}),
    "tampered group": (
        "tampered",
        lambda: answer(Said(attributes={"groups": ["users"]})).replace("users", "admins"),
        {},
    ),
    "tampered digest": (
        "tampered",
        lambda: answer(Said()).replace("<ds:DigestValue>", "<ds:DigestValue>AAAA"),
        {},
    ),
    "tampered envelope of a signed answer": (
        "tampered",
        lambda: answer(Said(sign_response=True, request="_x")).replace('"_x"', f'"{REQUEST}"'),
        {},
    ),
    "another's key": ("bad-signature", lambda: answer(Said(), by="mallory"), {}),
    "another's key, with its certificate": (
        "bad-signature",
        lambda: with_certificate("mallory"),
        {},
    ),
    "another's key for the whole": (
        "bad-signature",
        lambda: signed(
            Said(sign_response=True).text(signed(Said().assertion())),
            by="mallory",
            id="_response1",
        ),
        {},
    ),
    "wrong recipient": ("wrong-recipient", lambda: answer(Said(recipient=ACS + "/x")), {}),
    "wrong destination": ("wrong-recipient", lambda: answer(Said(destination=ACS + "/x")), {}),
    "unsolicited": (
        "unsolicited",
        lambda: answer(Said(request=None, confirmed_request=None)),
        {"request": ""},
    ),
    "unsolicited within a login": (
        "unsolicited",
        lambda: answer(Said(request=None, confirmed_request=None)),
        {},
    ),
    "another request": ("wrong-request", lambda: answer(Said()), {"request": "_another"}),
    "another request in the assertion alone": (
        "wrong-request",
        lambda: answer(Said(confirmed_request="_stolen")),
        {},
    ),
    "a request, where the provider may begin": (
        "wrong-request",
        lambda: answer(Said()),
        {"request": "", "allow_idp_initiated": True},
    ),
    "SHA-1": (
        "weak-algorithm",
        lambda: answer(Said(signs={"method": XMLDSIG + "rsa-sha1", "digest": XMLDSIG + "sha1"})),
        {},
    ),
    "SHA-1 for the whole": ("weak-algorithm", lambda: sha1_for_the_whole("_response1"), {}),
    "DTD": ("dtd", lambda: f"<!DOCTYPE x>{answer(Said())}", {}),
    "entity": (
        "dtd",
        lambda: (
            '<!DOCTYPE x [<!ENTITY who "alice@example.com">]>'
            + answer(Said()).replace("alice@example.com", "&who;")
        ),
        {},
    ),
    "comment in NameID": (
        "comment",
        lambda: answer(Said(name="alice@example.com.evil.example")).replace(
            ".evil.example", "<!---->.evil.example"
        ),
        {},
    ),
    "encrypted to another key": ("not-decrypted", lambda: sealed(Said(), to="other"), {}),
    "encrypted, without a key": (
        "not-decrypted",
        lambda: sealed(Said()),
        {"assertion_key_pair": None},
    ),
    "encrypted, another's key": ("bad-signature", lambda: sealed(Said(), by="mallory"), {}),
    "encrypted with 3DES": ("weak-algorithm", lambda: sealed(Said(), block="3des"), {}),
    "encrypted with RSA 1.5": ("weak-algorithm", lambda: sealed(Said(), transport=RSA_1_5), {}),
    "in CBC, another's key": (
        "not-decrypted",
        lambda: sealed(Said(), by="mallory", block="cbc"),
        {},
    ),
    "in CBC, unsigned": (
        "not-decrypted",
        lambda: sealed(Said(sign_assertion=False), block="cbc"),
        {},
    ),
    "no role": ("no-role", lambda: answer(Said(attributes={"groups": ["users"]})), {}),
    "no name": (
        "bad-name",
        lambda: answer(Said(format="urn:oasis:names:tc:SAML:2.0:nameid-format:transient")),
        {},
    ),
    "the provider says no": (
        "provider-refused",
        lambda: Said(status="urn:oasis:names:tc:SAML:2.0:status:Responder").text(""),
        {},
    ),
    "nothing": ("malformed", lambda: "", {}),
}


def with_certificate(name: str) -> str:
    """Signed by somebody whose certificate lies by: it is not to be believed."""
    info = (
        "<ds:KeyInfo><ds:X509Data><ds:X509Certificate>"
        f"{pair(name).base64}</ds:X509Certificate></ds:X509Data></ds:KeyInfo>"
    )
    text = Said().text().replace(signature("_assertion1"), signature("_assertion1", more=info))
    return signed(text, by=name)


def sha1_for_the_whole(about: str) -> str:
    weak = signature(about, method=XMLDSIG + "rsa-sha1", digest=XMLDSIG + "sha1")
    whole = Said(sign_response=True).text(signed(Said().assertion()))
    return signed(whole.replace(signature(about), weak), id=about)


@pytest.mark.parametrize(("wanted", "make", "options"), REFUSED.values(), ids=REFUSED)
async def test_refused(
    wanted: str, make: Callable[[], str], options: Mapping[str, Any], refused: LogIn
) -> None:
    assert await refused(make(), **options) == wanted


# -- signature wrapping -----------------------------------------------------------


# xmlsec1 leaves all that stands in a signature out of what it signs; other libraries do not.
IN_THE_SIGNATURE = frozenset({"XSW1", "XSW6", "XSW8"})


@pytest.mark.parametrize("name", [f"XSW{number}" for number in range(1, 9)])
async def test_a_wrapped_signature_is_refused_though_it_holds(
    name: str, refused: LogIn, tmp_path: Path
) -> None:
    text = wrappings()[name]
    assert "mallory" in text
    assert holds(text, tmp_path) == (name not in IN_THE_SIGNATURE)

    assert await refused(text) == "wrapped"


def holds(text: str, folder: Path) -> bool:
    """True if xmlsec1 alone says that there is a good signature of the provider's in it."""
    (folder / "cert.pem").write_text(pair().cert)
    (folder / "answer.xml").write_text(text)
    command = ["xmlsec1", "--verify", "--pubkey-cert-pem", str(folder / "cert.pem")]
    command += ["--id-attr:ID", ASSERTION_NODE, "--id-attr:ID", RESPONSE_NODE]
    command += ["--enabled-key-data", "raw-x509-cert", str(folder / "answer.xml")]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


async def test_a_wrapped_assertion_inside_an_encrypted_one_is_refused(refused: LogIn) -> None:
    evil = Said(id="_evil", name="mallory@example.com", sign_assertion=False).assertion()
    inner = evil.replace("</saml:Assertion>", f"{signed(Said().assertion())}</saml:Assertion>")

    assert await refused(Said().text(encrypted(inner, to="sp"))) == "wrapped"


# -- once -------------------------------------------------------------------------


async def test_an_answer_is_good_once(log_in: LogIn, refused: LogIn) -> None:
    text, replays = answer(Said()), Replays()
    await log_in(text, replays=replays)

    assert await refused(text, replays=replays) == "replayed"


async def test_of_many_at_once_one_is_taken(log_in: LogIn) -> None:
    text, replays = answer(Said()), Replays()

    done = await asyncio.gather(
        *(log_in(text, replays=replays) for _ in range(8)), return_exceptions=True
    )

    assert [type(d) for d in done].count(Identity) == 1
    assert {d.reason for d in done if isinstance(d, LoginRefused)} == {"replayed"}


async def test_a_refused_answer_does_not_use_up_the_right_one(
    log_in: LogIn, refused: LogIn
) -> None:
    text, replays = answer(Said()), Replays()
    assert await refused(text.replace("alice", "mallory"), replays=replays) == "tampered"

    assert (await log_in(text, replays=replays)).user == "alice@example.com"


async def test_what_the_provider_began_is_good_once_where_it_may_begin(
    log_in: LogIn, refused: LogIn
) -> None:
    text, replays = answer(Said(request=None, confirmed_request=None)), Replays()
    options = {"request": "", "allow_idp_initiated": True, "replays": replays}

    assert (await log_in(text, **options)).user == "alice@example.com"
    assert await refused(text, **options) == "replayed"


# -- keys -------------------------------------------------------------------------


async def test_a_provider_that_changes_its_key_is_asked_again() -> None:
    now = [NOW]
    asked: list[str] = []
    certificates = [pair("old").base64, pair().base64]

    def web(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        text = metadata(cert=certificates[min(len(asked), 2) - 1])
        return httpx.Response(200, stream=httpx.ByteStream(text.encode()))

    by_url = {"issuer": None, "sso": None, "cert": None, "entity_descriptor_url": "https://idp/m"}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    async with httpx.AsyncClient(transport=httpx.MockTransport(web), verify=context) as client:
        connector = SamlConnector(
            Saml.model_validate(document(**by_url)),
            http=client,
            clock=lambda: now[0],
            replays=Replays(),
        )
        await connector.begin(state="s", redirect_url="")
        now[0] += 30
        identity = await connector.finish(
            {"SAMLResponse": form(answer(Said()))}, {"request": REQUEST}
        )
        with pytest.raises(LoginRefused) as caught:
            await connector.finish(
                {"SAMLResponse": form(answer(Said(id="_b"), by="mallory"))}, {"request": REQUEST}
            )

    assert identity.user == "alice@example.com"
    assert caught.value.reason == "bad-signature"
    assert len(asked) == 2


async def test_nothing_of_an_answer_is_logged(
    refused: LogIn, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """An assertion is worth a login; pysaml2 would log it, and what xmlsec1 says of it."""
    with caplog.at_level("DEBUG"):
        await refused(answer(Said(), by="mallory"))
        await refused(sealed(Said(), to="other"))

    assert "alice" not in caplog.text + "".join(capfd.readouterr())
    assert "xmlsec" not in caplog.text


async def test_an_xmlsec1_that_hangs_is_ended(
    refused: LogIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "xmlsec1"
    program.write_text(
        "#!/bin/sh\n[ $1 = --version ] && echo xmlsec1 1.2.37 && exit\nexec sleep 60\n"
    )
    program.chmod(0o755)
    text = answer(Said())
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(samlcrypto, "TIMEOUT_S", 0.2)

    async with asyncio.timeout(10):
        assert await refused(text) == "bad-signature"


# -- anything at all --------------------------------------------------------------


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_whatever_is_changed_nobody_becomes_somebody_else(data: st.DataObject) -> None:
    """One cut, one copy or one byte anywhere: it is refused, or says what was signed."""
    text = _signed_once()
    at, end = sorted(data.draw(st.tuples(*[st.integers(0, len(text))] * 2)))
    to = data.draw(st.integers(0, len(text)))
    byte = data.draw(st.sampled_from("<>\"'/=&;# aZ0\x00\n-"))
    changed = data.draw(
        st.sampled_from(
            [
                text[:at] + text[end:],
                text[:to] + text[at:end] + text[to:],
                text[:at] + byte + text[at + 1 :],
                text[:at] + byte + text[at:],
            ]
        )
    )

    try:
        identity = asyncio.run(_taken(changed))
    except LoginRefused:
        return
    assert (identity.user, identity.roles) == ("alice@example.com", ("admin",))


@functools.cache
def _signed_once() -> str:
    return answer(Said(sign_response=True))


async def _taken(text: str) -> Identity:
    made = Saml.model_validate(document())
    client = httpx.AsyncClient(verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    connector = SamlConnector(made, http=client, clock=lambda: NOW, replays=Replays())
    return await connector.finish({"SAMLResponse": form(text)}, {"request": REQUEST})
