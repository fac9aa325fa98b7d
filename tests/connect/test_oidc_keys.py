"""The issuer's keys: rotated, missing, unfit; and how often they are asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from awsgate.connect.oidc import OidcConnector
from awsgate.connect.ways import LoginRefused
from oidcissuer import Issuer, Signer, b64, rsa_key
from oidclogin import Connect

OLD, NEW, NEXT = (Signer(name, rsa_key(name)) for name in ("k1", "k2", "k3"))


class Clock:
    now = 2_000_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(issuer: Issuer) -> Clock:
    clock = Clock()
    issuer.now = clock
    return clock


@pytest.fixture
def connector(connect: Connect, clock: Clock) -> OidcConnector:
    return connect(clock=clock, id_tokens={"audiences": ["awsgate"]})


async def reason_for(connector: OidcConnector, token: str) -> str:
    try:
        await connector.prove_id_token(token)
    except LoginRefused as refused:
        return refused.reason
    return ""


async def test_a_new_key_is_fetched_when_a_token_names_it(
    issuer: Issuer, connector: OidcConnector, clock: Clock
) -> None:
    assert await reason_for(connector, issuer.token()) == ""
    before = issuer.token()
    issuer.signer = NEW
    clock.now += 11

    assert await reason_for(connector, issuer.token()) == ""
    assert issuer.asked.count("/keys") == 2
    # The issuer has taken the old key out of its set: its tokens are good no more.
    assert await reason_for(connector, before) == "unknown-key"


async def test_unknown_keys_cause_one_fetch_and_no_more_for_a_while(
    issuer: Issuer, connector: OidcConnector, clock: Clock
) -> None:
    await connector.prove_id_token(issuer.token())
    clock.now += 11
    tokens = [Signer(f"x{n}", rsa_key("k2")).sign(issuer.claims()) for n in range(20)]

    reasons = await asyncio.gather(*(reason_for(connector, token) for token in tokens))

    assert set(reasons) == {"unknown-key"}
    assert issuer.asked.count("/keys") == 2
    clock.now += 9
    assert await reason_for(connector, tokens[0]) == "unknown-key"
    assert issuer.asked.count("/keys") == 2
    clock.now += 2
    assert await reason_for(connector, tokens[0]) == "unknown-key"
    assert issuer.asked.count("/keys") == 3


async def test_a_token_of_another_issuer_causes_no_fetch(
    issuer: Issuer, connector: OidcConnector
) -> None:
    issuer.change = {"iss": "https://evil.example.com"}

    assert await reason_for(connector, issuer.token()) == "wrong-issuer"
    assert issuer.asked == []


async def test_many_at_once_are_one_question(issuer: Issuer, connector: OidcConnector) -> None:
    token = issuer.token()

    reasons = await asyncio.gather(*(reason_for(connector, token) for _ in range(20)))

    assert set(reasons) == {""}
    assert sorted(issuer.asked) == ["/.well-known/openid-configuration", "/keys"]


async def test_keys_are_asked_for_again_after_a_while_so_that_a_revoked_one_ends(
    issuer: Issuer, connector: OidcConnector, clock: Clock
) -> None:
    token = issuer.token(exp=int(clock.now) + 9000)
    assert await reason_for(connector, token) == ""
    issuer.signer = NEW
    clock.now += 599
    assert await reason_for(connector, token) == ""

    clock.now += 2

    assert await reason_for(connector, token) == "unknown-key"


async def test_a_provider_that_is_down_stops_nobody_whose_key_is_known_but_not_for_ever(
    issuer: Issuer, connector: OidcConnector, clock: Clock
) -> None:
    token = issuer.token(exp=int(clock.now) + 90_000)
    assert await reason_for(connector, token) == ""
    issuer.replies = dict.fromkeys(("/keys", "/.well-known/openid-configuration"), (503, {}))

    clock.now += 3600
    assert await reason_for(connector, token) == ""
    clock.now += 6 * 3600

    for _ in range(3):
        assert await reason_for(connector, token) == "provider-failed"
        clock.now += 1


async def test_a_clock_that_was_set_back_makes_no_old_key_fresh(
    issuer: Issuer, connector: OidcConnector, clock: Clock
) -> None:
    assert await reason_for(connector, issuer.token()) == ""
    clock.now -= 86_400
    token = issuer.token()
    issuer.signer = NEW

    assert await reason_for(connector, token) == "unknown-key"


async def test_a_provider_that_fails_is_not_asked_by_everybody(
    issuer: Issuer, connector: OidcConnector, clock: Clock
) -> None:
    issuer.replies["/keys"] = (503, {})
    token = issuer.token()

    for _ in range(5):
        assert await reason_for(connector, token) == "provider-failed"

    assert issuer.asked.count("/keys") == 1
    del issuer.replies["/keys"]
    clock.now += 11
    assert await reason_for(connector, token) == ""


SMALL = rsa_key("small", 1024)
PADDED = b64(SMALL.public_key().public_numbers().n.to_bytes(256, "big"))
# what the set holds -> (keys, the token's signer, its header's change, reason)
SETS: dict[str, tuple[Callable[[], list[Any]], Signer, dict[str, Any], str]] = {
    "one key, and no kid": (lambda: [OLD.jwk()], OLD, {"kid": None}, ""),
    "several keys, and no kid": (lambda: [NEW.jwk(), OLD.jwk()], OLD, {"kid": None}, ""),
    "two keys of one kid": (lambda: [NEW.jwk(kid="k1"), OLD.jwk()], OLD, {}, ""),
    "a key that does not say its algorithm": (lambda: [OLD.jwk(alg="")], OLD, {}, ""),
    "what nobody knows beside it": (
        lambda: ["x", {}, {"kty": "AKP"}, {"kty": "RSA", "n": "!", "e": 3}, OLD.jwk()],
        OLD,
        {},
        "",
    ),
    "a key for encryption": (lambda: [OLD.jwk(use="enc")], OLD, {}, "unknown-key"),
    "a key for wrapping": (lambda: [OLD.jwk(key_ops=["wrapKey"])], OLD, {}, "unknown-key"),
    "a short key": (
        lambda: [Signer("k1", SMALL).jwk()],
        Signer("k1", SMALL),
        {},
        "unknown-key",
    ),
    "a short key, written as a long one": (
        lambda: [Signer("k1", SMALL).jwk(n=PADDED)],
        Signer("k1", SMALL),
        {},
        "unknown-key",
    ),
    "a shared secret": (
        lambda: [{"kty": "oct", "k": "AAAA", "kid": "k1"}],
        OLD,
        {},
        "unknown-key",
    ),
    "no key": (list, OLD, {}, "unknown-key"),
    "no list": (lambda: {"k1": OLD.jwk()}, OLD, {}, "unknown-key"),  # type: ignore[dict-item, return-value]
    "a key after a hundred": (
        lambda: [*[NEW.jwk(kid=f"x{n}") for n in range(100)], OLD.jwk()],
        OLD,
        {},
        "unknown-key",
    ),
}


@pytest.mark.filterwarnings("ignore:Key size should be")
@pytest.mark.parametrize(("keys", "signer", "header", "reason"), SETS.values(), ids=SETS)
async def test_a_key_set(
    issuer: Issuer,
    connector: OidcConnector,
    keys: Callable[[], list[Any]],
    signer: Signer,
    header: dict[str, Any],
    reason: str,
) -> None:
    issuer.jwks = lambda: {"keys": keys()}

    assert await reason_for(connector, signer.sign(issuer.claims(), **header)) == reason


async def test_a_point_that_is_on_no_curve_is_no_key(
    issuer: Issuer, connector: OidcConnector
) -> None:
    signer = Signer("k1", ec.generate_private_key(ec.SECP256R1()), "ES256")
    issuer.jwks = lambda: {"keys": [signer.jwk(y=signer.jwk()["x"])]}

    assert await reason_for(connector, signer.sign(issuer.claims())) == "unknown-key"


async def test_who_gives_up_takes_nobody_along(issuer: Issuer, connector: OidcConnector) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reason_for(connector, issuer.token()), 0.001)

    assert await reason_for(connector, issuer.token()) == ""
