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
from identity.samlcases import REFUSED, TAKEN, sealed
from samlforge import (
    ASSERTION_NODE,
    NOW,
    REQUEST,
    RESPONSE_NODE,
    Said,
    answer,
    document,
    encrypted,
    form,
    metadata,
    pair,
    signed,
    wrappings,
)

SP = {"assertion_key_pair": {"private_key": pair("sp").key, "cert": pair("sp").cert}}
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


@pytest.mark.parametrize("make", TAKEN.values(), ids=TAKEN)
async def test_an_answer_that_is_right_is_taken(make: Callable[[], str], log_in: LogIn) -> None:
    identity = await log_in(make())

    assert (identity.user, identity.connector) == ("alice@example.com", "saml/corp")
    assert identity.roles == ("admin",)
    assert identity.ends_at == int(NOW) + 3600


ECDSA = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256"


async def test_a_key_of_an_elliptic_curve_signs_too(log_in: LogIn) -> None:
    text = answer(Said(signs={"method": ECDSA}), by="curve")

    assert (await log_in(text, cert=pair("curve", 0).cert)).user == "alice@example.com"


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
@settings(max_examples=150)
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
