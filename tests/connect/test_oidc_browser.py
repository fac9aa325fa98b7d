"""Logins in a browser: what they ask for, and who comes out."""

from __future__ import annotations

import hashlib
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from awsgate.connect.ways import LoginRefused
from oidcissuer import CLIENT_ID, CLIENT_SECRET, NOW, Issuer, Signer, b64, half_hash, rsa_key
from oidclogin import REDIRECT, STATE, Connect, LogIn


async def test_the_person_has_the_name_roles_and_end_that_the_token_says(
    issuer: Issuer, connect: Connect, log_in: LogIn
) -> None:
    issuer.now = lambda: 2_000_000_000.0

    identity = await log_in(connect(username_prefix="okta:"))

    assert identity.user == "okta:ann@example.com"
    assert identity.connector == "oidc/corp"
    assert identity.roles == ("admin",)
    assert identity.traits["groups"] == ("admins", "staff")
    assert identity.traits["email_verified"] == ("true",)
    assert identity.ends_at == 2_000_000_300
    assert "nonce" not in identity.traits


async def test_login_ttl_goes_before_the_end_of_the_token(
    issuer: Issuer, connect: Connect, log_in: LogIn
) -> None:
    issuer.now = lambda: 2_000_000_000.0

    identity = await log_in(connect(login_ttl="8h"))

    assert identity.ends_at == 2_000_000_000 + 8 * 3600


async def test_the_browser_is_sent_with_pkce_nonce_and_what_the_spec_asks(connect: Connect) -> None:
    connector = connect(
        scope=["email", "groups"], prompt="login", acr_values="mfa phr", max_age="1h"
    )

    begun = await connector.begin(state=STATE, redirect_url=REDIRECT)
    other = await connector.begin(state=STATE, redirect_url=REDIRECT)

    query = parse_qs(urlsplit(begun.url).query)
    challenge = hashlib.sha256(begun.memory["verifier"].encode()).digest()
    assert query["tenant"] == ["1"], "the endpoint's own query stays"
    assert {name: query[name][0] for name in query if name not in ("nonce", "code_challenge")} == {
        "tenant": "1",
        "response_type": "code",
        "client_id": CLIENT_ID,
        "redirect_uri": REDIRECT,
        "scope": "openid email groups",
        "state": STATE,
        "code_challenge_method": "S256",
        "prompt": "login",
        "acr_values": "mfa phr",
        "max_age": "3600",
    }
    assert query["code_challenge"] == [b64(challenge)]
    assert query["nonce"] == [begun.memory["nonce"]]
    assert len(begun.memory["verifier"]) >= 43
    for name in ("nonce", "verifier"):
        assert begun.memory[name] != other.memory[name]
    assert begun.memory["verifier"] not in begun.url + repr(begun)


SIGNERS = {
    "RS256": lambda: Signer("k", rsa_key("k1")),
    "PS256": lambda: Signer("k", rsa_key("k1"), "PS256"),
    "ES256": lambda: Signer("k", ec.generate_private_key(ec.SECP256R1()), "ES256"),
    "EdDSA": lambda: Signer("k", ed25519.Ed25519PrivateKey.generate(), "EdDSA"),
    "Ed25519": lambda: Signer("k", ed25519.Ed25519PrivateKey.generate(), "Ed25519"),
}


@pytest.mark.parametrize("algorithm", SIGNERS)
async def test_every_algorithm_that_is_allowed_is_read(
    issuer: Issuer, connect: Connect, log_in: LogIn, algorithm: str
) -> None:
    issuer.signer = SIGNERS[algorithm]()

    assert (await log_in(connect())).roles == ("admin",)


async def test_a_client_without_a_secret_is_known_by_pkce_alone(
    issuer: Issuer, connect: Connect, log_in: LogIn
) -> None:
    assert (await log_in(connect(client_secret=None))).roles == ("admin",)
    assert not any("authorization" in headers for headers in issuer.seen_headers)


async def test_the_secret_goes_in_the_form_if_the_provider_wants_it_there(
    issuer: Issuer, connect: Connect, log_in: LogIn
) -> None:
    issuer.metadata = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}

    assert (await log_in(connect())).roles == ("admin",)
    assert not any("authorization" in headers for headers in issuer.seen_headers)


async def test_userinfo_adds_claims_and_overrides_none(
    issuer: Issuer, connect: Connect, log_in: LogIn
) -> None:
    issuer.person = {"sub": "ann-1", "team": "signed"}
    issuer.userinfo = {
        "sub": "ann-1",
        "team": "unsigned",
        "email": "ann@example.com",
        "email_verified": "true",
        "groups": ["admins"],
        "iss": "https://other.example.com",
    }

    identity = await log_in(connect())

    assert identity.user == "ann@example.com"
    assert identity.traits["team"] == ("signed",)
    assert identity.traits["iss"] == (issuer.url,)
    assert identity.roles == ("admin",)


@pytest.mark.parametrize(
    ("token", "userinfo", "name"),
    [
        ({"email": "a@x.example"}, {"email": "b@x.example", "email_verified": True}, ""),
        ({"email": "a@x.example"}, {"email_verified": True}, ""),
        ({"email_verified": True}, {"email": "b@x.example"}, ""),
        ({"email_verified": True}, {"email": "b@x.example", "email_verified": False}, ""),
        ({"email": "a@x.example"}, {"email": "a@x.example", "email_verified": True}, "a"),
        ({"email": "a@x.example", "email_verified": True}, {"email": "b@x.example"}, "a"),
        ({}, {"email": "b@x.example", "email_verified": True}, "b"),
    ],
)
async def test_that_one_address_is_verified_says_nothing_of_another(
    issuer: Issuer,
    connect: Connect,
    log_in: LogIn,
    token: dict[str, Any],
    userinfo: dict[str, Any],
    name: str,
) -> None:
    issuer.person = {"sub": "ann-1", "groups": ["admins"], **token}
    issuer.userinfo = {"sub": "ann-1", **userinfo}

    if name:
        assert (await log_in(connect())).user == f"{name}@x.example"
        return
    with pytest.raises(LoginRefused) as caught:
        await log_in(connect())
    assert caught.value.reason == "email-not-verified"


async def test_nested_claims_give_roles_by_their_dotted_name(
    issuer: Issuer, connect: Connect, log_in: LogIn
) -> None:
    issuer.change = {"groups": None, "realm_access": {"roles": ["ops-prod", "x"]}}
    rows = [{"claim": "realm_access.roles", "value": "ops-*", "roles": ["$1"]}]

    assert (await log_in(connect(claims_to_roles=rows))).roles == ("prod",)


async def test_an_unverified_address_gives_no_role_under_another_name(
    issuer: Issuer, connect: Connect, log_in: LogIn
) -> None:
    issuer.change = {"email_verified": False}
    rows = [
        {"claim": "email", "value": "*@example.com", "roles": ["by-mail"]},
        {"claim": "groups", "value": "staff", "roles": ["by-group"]},
    ]

    identity = await log_in(connect(username_claim="sub", claims_to_roles=rows))

    assert (identity.user, identity.roles) == ("ann-1", ("by-group",))
    assert "email" not in identity.traits
    trusting = connect(allow_unverified_email=True, claims_to_roles=rows)
    assert (await log_in(trusting)).roles == ("by-mail", "by-group")


async def test_an_identity_within_the_leeway_has_an_end_that_is_not_past(
    issuer: Issuer, connect: Connect, log_in: LogIn
) -> None:
    issuer.change = {"exp": NOW - 30}

    identity = await log_in(connect())

    assert identity.ends_at == NOW - 30 + 60


async def test_the_hash_of_the_access_token_is_compared(
    issuer: Issuer, connect: Connect, log_in: LogIn
) -> None:
    issuer.change = {"at_hash": half_hash(issuer.access_token)}
    assert (await log_in(connect())).roles == ("admin",)

    issuer.access_token = "another"
    with pytest.raises(LoginRefused) as caught:
        await log_in(connect())

    assert caught.value.reason == "bad-access-token"


async def test_strength_and_age_that_were_asked_for_are_held_to(
    issuer: Issuer, connect: Connect, log_in: LogIn
) -> None:
    issuer.change = {"auth_time": NOW - 1800, "acr": "mfa"}

    assert (await log_in(connect(max_age="1h", acr_values="phr mfa"))).roles == ("admin",)
    for spec, reason in (({"max_age": "20m"}, "too-old"), ({"acr_values": "phr"}, "too-weak")):
        with pytest.raises(LoginRefused) as caught:
            await log_in(connect(**spec))
        assert caught.value.reason == reason


async def test_the_provider_says_who_answers_and_it_is_believed_for_itself_alone(
    issuer: Issuer, connect: Connect
) -> None:
    """RFC 9207."""
    issuer.metadata = {"authorization_response_iss_parameter_supported": True}
    connector = connect()
    begun = await connector.begin(state=STATE, redirect_url=REDIRECT)

    for more in ({}, {"iss": "https://other.example.com"}):
        with pytest.raises(LoginRefused) as caught:
            await connector.finish({"state": STATE, "code": "x", **more}, begun.memory)
        assert caught.value.reason == "wrong-issuer"
    assert "/token" not in issuer.asked


# id -> (the callback's query, reason, what is said)
ANSWERS: dict[str, tuple[dict[str, str], str, str]] = {
    "no state": ({"code": "x"}, "wrong-state", "not of the login"),
    "the state of another login": ({"code": "x", "state": "other"}, "wrong-state", "not of the"),
    "a state that is no ASCII": ({"code": "x", "state": "é\ud800"}, "wrong-state", "not of the"),
    "the person said no": ({"error": "access_denied", "state": STATE}, "denied", "access_denied"),
    "neither code nor error": ({"state": STATE}, "provider-failed", "neither"),
    "an error with escapes in it": (
        {"error": "x\x1b[31m", "error_description": "\x1b]0;a\x07b", "state": STATE},
        "provider-refused",
        "unknown error (]0;ab)",
    ),
    "a code that was used": ({"code": "used", "state": STATE}, "code-used", "used[31m already"),
}


@pytest.mark.parametrize(("answer", "reason", "said"), ANSWERS.values(), ids=ANSWERS)
async def test_an_answer_that_is_none(
    connect: Connect, answer: dict[str, str], reason: str, said: str
) -> None:
    connector = connect()
    begun = await connector.begin(state=STATE, redirect_url=REDIRECT)

    with pytest.raises(LoginRefused) as caught:
        await connector.finish(answer, begun.memory)

    assert caught.value.reason == reason
    assert said in caught.value.message
    assert caught.value.message.isprintable()


async def test_no_refusal_and_no_repr_shows_a_secret(
    issuer: Issuer, connect: Connect, log_in: LogIn
) -> None:
    issuer.change = {"groups": []}
    connector = connect()

    with pytest.raises(LoginRefused) as caught:
        await log_in(connector)

    shown: list[Any] = [caught.value, caught.value.message, caught.value.hint, connector]
    assert CLIENT_SECRET not in "".join(map(repr, shown))
    assert "eyJ" not in "".join(map(repr, shown))
