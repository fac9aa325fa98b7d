"""Logins: what is minted opens, ends with the identity, and opens as nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awsgate.aws.sigv4 import SigningKeys
from awsgate.errors import Code, Refusal
from awsgate.login import (
    LOCAL,
    MAX_TOKEN_CHARS,
    TOKEN_PREFIX,
    Identity,
    Login,
    LoginFacts,
    make_login,
    mint_login,
    open_login,
)
from awsgate.session import Bounds, IssuedKeys, SessionKeys, mint, mint_surrogate, open_session

NOW = 1_795_428_930
KEYS, OTHER_KEYS = SessionKeys(bytes(range(32))), SessionKeys(bytes(range(1, 33)))
ENTROPY = bytes(range(40, 72))
ARN = "arn:aws:iam::123456789012:role/Reader"
ALICE = Identity(
    user="alice@example.com",
    connector="oidc/okta",
    roles=("reader", "admin"),
    traits={"team": ("a", "b"), "groups": ("everybody",)},
)


def login(identity: Identity = ALICE, *, ttl_s: int = 3600) -> Login:
    return make_login(identity, ttl_s=ttl_s, now=NOW, entropy=ENTROPY, traits=frozenset({"team"}))


def token(of: Login) -> str:
    return mint_login(KEYS, of, entropy=ENTROPY)


def refusal(text: str, *, keys: SessionKeys = KEYS, now: int = NOW) -> Refusal:
    with pytest.raises(Refusal) as caught:
        open_login(keys, text, now=now)
    return caught.value


def test_a_login_opens_with_all_that_was_put_in_and_no_trait_that_nobody_asks_for() -> None:
    made = login()

    assert open_login(KEYS, token(made), now=NOW) == made
    assert made.facts.traits == (("team", ("a", "b")),)
    assert made.id == ENTROPY[22:].hex()
    assert made.expires_at == NOW + 3600


def test_a_login_ends_with_the_identity() -> None:
    made = login(Identity("ci", "oidc/ci", ends_at=NOW + 300))

    assert made.expires_at == NOW + 300
    assert refusal(token(made), now=NOW + 300).code is Code.SESSION_EXPIRED


def test_an_identity_that_has_ended_is_no_login() -> None:
    with pytest.raises(ValueError, match="has ended"):
        login(Identity("ci", "oidc/ci", ends_at=NOW))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "gatelogin.",
        "gatelogin.AAAA",
        token(login()).removeprefix(TOKEN_PREFIX),
        token(login()) + "A",
        token(login())[:-2],
        mint(
            KEYS, user="a", app="b", role_arn=ARN, ttl_s=60, now=NOW, entropy=ENTROPY
        ).session_token,
        TOKEN_PREFIX
        + mint(
            KEYS, user="a", app="b", role_arn=ARN, ttl_s=60, now=NOW, entropy=ENTROPY
        ).session_token,
    ],
    ids=["empty", "no text", "short", "no prefix", "longer", "cut", "session", "session dressed"],
)
def test_what_is_no_login_is_refused(text: str) -> None:
    assert refusal(text).code is Code.UNKNOWN_KEY


def test_a_login_of_another_gateway_is_refused() -> None:
    assert refusal(token(login()), keys=OTHER_KEYS).code is Code.UNKNOWN_KEY


@given(st.integers(0, len(token(login())) - 1), st.integers(1, 255))
def test_any_changed_character_is_refused(at: int, change: int) -> None:
    text = token(login())
    other = chr(ord(text[at]) ^ change)

    assert refusal(text[:at] + other + text[at + 1 :]).code is Code.UNKNOWN_KEY


def test_a_login_is_no_session() -> None:
    made = mint(KEYS, user="a", app="b", role_arn=ARN, ttl_s=60, now=NOW, entropy=ENTROPY)

    with pytest.raises(Refusal) as caught:
        open_session(
            KEYS,
            access_key_id=made.access_key_id,
            session_token=token(login()).removeprefix(TOKEN_PREFIX),
            now=NOW,
        )
    assert caught.value.code is Code.UNKNOWN_KEY


def test_too_much_for_a_token_is_said() -> None:
    many = Identity("a", "oidc/x", traits={"team": tuple(f"group-{n}" for n in range(1000))})

    with pytest.raises(ValueError, match=f"at most {MAX_TOKEN_CHARS}"):
        token(login(many))


def test_no_name_in_a_repr_is_a_secret() -> None:
    assert token(login()) not in repr(login())
    assert repr(KEYS) == "SessionKeys(1 keys, redacted)"


BOUNDS = Bounds(read_only=True, max_requests=500)


def test_a_session_carries_its_login_and_its_bounds_and_hands_them_to_its_surrogates() -> None:
    facts = login().facts
    made = mint(
        KEYS,
        user="alice",
        app="console",
        role_arn=ARN,
        ttl_s=600,
        now=NOW,
        entropy=ENTROPY,
        login=facts,
        bounds=BOUNDS,
    )
    session = open_session(
        KEYS, access_key_id=made.access_key_id, session_token=made.session_token, now=NOW
    ).session
    issued = IssuedKeys(SigningKeys("ASIA", "s", "t"), NOW + 600, ARN, "alice")
    surrogate = mint_surrogate(KEYS, session, issued, now=NOW, entropy=ENTROPY[::-1])
    further = open_session(
        KEYS, access_key_id=surrogate.access_key_id, session_token=surrogate.session_token, now=NOW
    ).session

    assert (session.login, session.bounds) == (facts, BOUNDS)
    assert (further.login, further.bounds) == (facts, BOUNDS)
    assert further.issued is not None


def test_a_login_by_the_gateways_own_password_is_the_policys() -> None:
    assert LoginFacts("0" * 20, LOCAL).of_policy
    assert not LoginFacts("0" * 20, "oidc/okta").of_policy


@pytest.mark.parametrize("size", [12, 31, 33])
def test_a_login_is_minted_of_fresh_bytes_and_enough(size: int) -> None:
    with pytest.raises(ValueError, match=f"entropy is {size} bytes"):
        mint_login(KEYS, login(), entropy=bytes(size))
