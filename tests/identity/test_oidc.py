"""The OIDC connector against the certified provider, with a browser in between."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest

from awsgate.connect.oidc import OidcConnector
from awsgate.connect.ways import LoginRefused, Pending
from awsgate.login import Identity
from awsgate.policy.connectors import Oidc
from identity.browser import Browser
from identity.landing import Landing, landing
from identity.provider import CLIENT, Provider, log_in, provider

ROWS = [
    {"claim": "groups", "value": "admins", "roles": ["admin"]},
    {"claim": "groups", "value": "staff", "roles": ["reader"]},
]
STATE = "of-the-api"

type Connect = Callable[..., OidcConnector]


@pytest.fixture
def landed() -> Iterator[Landing]:
    with landing() as page:
        yield page


@pytest.fixture
def idp(landed: Landing) -> Iterator[Provider]:
    with provider(landed.url) as running:
        yield running


@pytest.fixture
async def connect(idp: Provider) -> AsyncIterator[Connect]:
    async with httpx.AsyncClient(trust_env=False) as http:

        def made(**changes: Any) -> OidcConnector:
            spec = {
                **CLIENT,
                "issuer_url": idp.url,
                "scope": ["openid", "email", "groups"],
                "claims_to_roles": ROWS,
                **changes,
            }
            about = {"kind": "oidc", "version": "v3", "metadata": {"name": "corp"}, "spec": spec}
            return OidcConnector(Oidc.model_validate(about), http=http)

        yield made


async def through(
    connector: OidcConnector, browser: Browser, landed: Landing, user: str
) -> Identity:
    begun = await connector.begin(state=STATE, redirect_url=landed.url)
    browser.go(begun.url)
    log_in(browser, user)
    browser.wait_for("landed")
    return await connector.finish(landed.came[-1], begun.memory)


async def test_a_person_logs_in_and_the_roles_follow_the_claims(
    connect: Connect, browser: Browser, landed: Landing
) -> None:
    identity = await through(connect(), browser, landed, "ann")

    assert (identity.user, identity.connector) == ("ann@example.com", "oidc/corp")
    assert identity.roles == ("admin", "reader")
    assert identity.traits["groups"] == ("admins", "staff")
    assert identity.ends_at is not None


@pytest.mark.parametrize(("user", "roles"), [("bob", ("reader",)), ("ann", ("admin", "reader"))])
async def test_another_person_has_the_roles_of_their_own_claims(
    connect: Connect, browser: Browser, landed: Landing, user: str, roles: tuple[str, ...]
) -> None:
    assert (await through(connect(), browser, landed, user)).roles == roles


async def test_a_claim_that_changes_changes_the_roles_of_the_next_login(
    connect: Connect, browser: Browser, landed: Landing, idp: Provider
) -> None:
    idp.change("ann", groups=["nobody"])

    with pytest.raises(LoginRefused) as caught:
        await through(connect(), browser, landed, "ann")

    assert caught.value.reason == "no-role"


async def test_an_address_that_is_not_verified_names_nobody(
    connect: Connect, browser: Browser, landed: Landing
) -> None:
    with pytest.raises(LoginRefused) as caught:
        await through(connect(), browser, landed, "eve")

    assert caught.value.reason == "email-not-verified"


async def test_a_wrong_password_does_not_come_back_to_us(
    connect: Connect, browser: Browser, landed: Landing
) -> None:
    begun = await connect().begin(state=STATE, redirect_url=landed.url)
    browser.go(begun.url)

    log_in(browser, "ann", "wrong")

    browser.wait_for("wrong password")
    assert landed.came == []


async def test_a_person_who_says_no_is_refused_in_their_words(
    connect: Connect, browser: Browser, landed: Landing
) -> None:
    connector = connect()
    begun = await connector.begin(state=STATE, redirect_url=landed.url)
    browser.go(begun.url)
    browser.click("#no")
    browser.wait_for("landed")

    with pytest.raises(LoginRefused, match="the person said no") as caught:
        await connector.finish(landed.came[-1], begun.memory)

    assert caught.value.reason == "denied"


async def test_a_code_is_good_once_and_for_its_own_login(
    connect: Connect, browser: Browser, landed: Landing
) -> None:
    connector = connect()
    identity = await through(connector, browser, landed, "ann")
    answer = landed.came[-1]
    other = await connector.begin(state=STATE, redirect_url=landed.url)
    browser.go(other.url)
    browser.wait_for("landed")
    assert len(landed.came) == 2, "the provider knows ann, and asks nothing"

    # The answer of the first login in the second: another verifier, and another nonce.
    for stolen in (answer, landed.came[-1]):
        wrong = {**other.memory, "verifier": "x" * 64} if stolen is not answer else other.memory
        with pytest.raises(LoginRefused) as caught:
            await connector.finish(stolen, wrong)
        assert caught.value.reason == "code-used"
    assert identity.user == "ann@example.com"


async def test_the_provider_refuses_a_client_with_another_secret(
    connect: Connect, browser: Browser, landed: Landing
) -> None:
    with pytest.raises(LoginRefused) as caught:
        await through(connect(client_secret="another"), browser, landed, "ann")

    assert caught.value.reason == "provider-refused"
    assert "invalid_client" in caught.value.message


async def test_the_code_of_another_client_is_refused(
    connect: Connect, browser: Browser, landed: Landing
) -> None:
    """A client that the provider knows, too, sends its own answer to our callback."""
    ours, other = connect(), connect(client_id="other", client_secret="of-another")
    begun = await other.begin(state=STATE, redirect_url=landed.url)
    browser.go(begun.url)
    log_in(browser, "ann")
    browser.wait_for("landed")

    with pytest.raises(LoginRefused) as caught:
        await ours.finish(landed.came[-1], begun.memory)

    assert caught.value.reason == "code-used"


async def test_somebody_types_the_code_of_a_device_elsewhere(
    connect: Connect, browser: Browser
) -> None:
    connector = connect()
    code = await connector.start_device()
    with pytest.raises(Pending):
        await connector.poll_device(code.memory)

    browser.go(code.verification_uri)
    browser.fill("[name=user_code]", code.user_code)
    browser.click("[form='op.deviceInputForm']")
    browser.click("[form='op.deviceConfirmForm']")
    log_in(browser, "bob")
    browser.wait_for("done")

    identity = await connector.poll_device(code.memory)
    assert (identity.user, identity.roles) == ("bob@example.com", ("reader",))
    with pytest.raises(LoginRefused) as caught:
        await connector.poll_device(code.memory)
    assert caught.value.reason == "code-used"


async def test_the_address_with_the_code_in_it_needs_no_typing(
    connect: Connect, browser: Browser
) -> None:
    connector = connect()
    code = await connector.start_device()

    browser.go(code.verification_uri_complete)
    if not browser.has("[form='op.deviceConfirmForm']"):
        browser.click("[form='op.deviceInputForm']")
    browser.click("[form='op.deviceConfirmForm']")
    log_in(browser, "ann")
    browser.wait_for("done")

    assert (await connector.poll_device(code.memory)).user == "ann@example.com"


async def test_a_key_that_is_rotated_while_the_gateway_runs(
    connect: Connect, browser: Browser, landed: Landing, idp: Provider
) -> None:
    clock = [2_000_000_000.0]
    machines = connect(id_tokens={"audiences": ["https://gate"]})
    job = {"sub": "job-1", "aud": "https://gate", "groups": ["staff"]}
    before = idp.machine_token(**job)
    assert (await machines.prove_id_token(before)).user == "job-1"
    assert (await through(machines, browser, landed, "ann")).user == "ann@example.com"

    idp.rotate("k2")

    # Within ten seconds of the last fetch there is no other: the clock goes on.
    machines._keys._clock = lambda: clock[0]
    assert (await machines.prove_id_token(idp.machine_token(**job))).roles == ("reader",)
    assert (await through(machines, browser, landed, "bob")).roles == ("reader",)
    with pytest.raises(LoginRefused) as caught:
        await machines.prove_id_token(before)
    assert caught.value.reason == "unknown-key"
