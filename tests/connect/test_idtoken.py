"""What a token must say is asked of it by itself, whoever has asked before."""

from __future__ import annotations

from dataclasses import replace

import pytest

from awsgate.connect.idtoken import Parsed, Wanted, check_claims, parse_token
from awsgate.connect.ways import LoginRefused
from oidcissuer import Signer, rsa_key

NOW = 1_800_000_000
ISSUER = "https://idp.example.com"
WANTED = Wanted(ISSUER, frozenset({"gate"}), client_id="gate", nonce="n-1")
CLAIMS: dict[str, object] = {
    "iss": ISSUER, "aud": "gate", "sub": "ann", "iat": NOW, "exp": NOW + 60, "nonce": "n-1",
}  # fmt: skip


def parsed(**changes: object) -> Parsed:
    return parse_token(Signer("k1", rsa_key("k1")).sign({**CLAIMS, **changes}))


def test_a_token_that_says_all_of_it_is_good() -> None:
    assert check_claims(parsed(), WANTED, now=NOW) == NOW + 60


@pytest.mark.parametrize(
    "issuer", ["https://evil.example", f"{ISSUER}/", ISSUER.upper(), "", None, [ISSUER]]
)
def test_one_of_another_issuer_is_not(issuer: object) -> None:
    with pytest.raises(LoginRefused) as caught:
        check_claims(parsed(iss=issuer), WANTED, now=NOW)

    assert caught.value.reason == "wrong-issuer"


@pytest.mark.parametrize("nonce", ["n-2", "n-", "", None, ["n-1"], 1])
def test_one_of_another_login_is_not(nonce: object) -> None:
    with pytest.raises(LoginRefused) as caught:
        check_claims(parsed(nonce=nonce), WANTED, now=NOW)

    assert caught.value.reason == "replayed"
    assert check_claims(parsed(nonce=nonce), replace(WANTED, nonce=""), now=NOW)
