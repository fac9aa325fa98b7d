"""Whatever is wrong with an ID token, it is refused, and for that reason."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from awsgate.connect.ways import LoginRefused
from oidcissuer import NOW, Claims, Issuer, Signer, b64, b64_json, rsa_key
from oidclogin import Connect, LogIn

ISSUER = Signer("k1", rsa_key("k1"))
STRANGER = Signer("k1", rsa_key("stranger"))


def over(**changes: object) -> Callable[[Claims], str]:
    """Sign the claims rightly, with these changes; None takes one away."""
    return lambda claims: ISSUER.sign(
        {k: v for k, v in {**claims, **changes}.items() if v is not None}
    )


def headed(**header: object) -> Callable[[Claims], str]:
    return lambda claims: ISSUER.sign(claims, **header)


def unsigned(alg: str) -> Callable[[Claims], str]:
    return lambda claims: f"{b64_json({'alg': alg})}.{b64_json(claims)}."


def hmac_with_the_public_key(claims: Claims) -> str:
    pem = ISSUER.key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    text = f"{b64_json({'alg': 'HS256', 'kid': 'k1'})}.{b64_json(claims)}"
    return f"{text}.{b64(hmac.digest(pem, text.encode(), 'sha256'))}"


def tampered(claims: Claims) -> str:
    head, _, signature = ISSUER.sign(claims).split(".")
    return f"{head}.{b64_json({**claims, 'groups': ['admins', 'root']})}.{signature}"


def tampered_signature(claims: Claims) -> str:
    head, payload, signature = ISSUER.sign(claims).split(".")
    raw = bytearray(base64.urlsafe_b64decode(signature + "=="))
    raw[0] ^= 1
    return f"{head}.{payload}.{b64(bytes(raw))}"


def signature_cut_off(claims: Claims) -> str:
    return ISSUER.sign(claims).rpartition(".")[0] + "."


def with_a_key_of_its_own(claims: Claims) -> str:
    return STRANGER.sign(claims, jwk=STRANGER.jwk(), kid=None)


def headers_that_name_keys_elsewhere(claims: Claims) -> str:
    where = f"{claims['iss']}/evil"
    return STRANGER.sign(claims, jku=where, x5u=where)


def of_an_elliptic_key(claims: Claims) -> str:
    return Signer("k1", ec.generate_private_key(ec.SECP256R1()), "ES256").sign(claims)


# what is wrong -> (the token for these claims, reason)
TOKENS: dict[str, tuple[Callable[[Claims], str], str]] = {
    "for another audience": (over(aud="another-client"), "wrong-audience"),
    "for no audience": (over(aud=None), "missing-claim"),
    "audience is a number": (over(aud=[1]), "missing-claim"),
    "audiences, none of them us": (over(aud=["a", "b"]), "wrong-audience"),
    "audience begins alike": (over(aud="awsgate-2"), "wrong-audience"),
    "several audiences and no party": (over(aud=["awsgate", "b"]), "wrong-party"),
    "issued to another party": (over(azp="another-client"), "wrong-party"),
    "several audiences, another party": (over(aud=["awsgate", "b"], azp="b"), "wrong-party"),
    "expired": (over(exp=NOW - 61), "expired"),
    "no expiry": (over(exp=None), "missing-claim"),
    "expiry is NaN": (over(exp=float("nan")), "missing-claim"),
    "expiry is infinite": (over(exp=float("inf")), "missing-claim"),
    "expiry is true": (over(exp=True), "missing-claim"),
    "expiry is a text": (over(exp=str(NOW + 300)), "missing-claim"),
    "expiry is beyond all time": (over(exp=10**400), "missing-claim"),
    "not yet valid": (over(nbf=NOW + 120), "not-yet-valid"),
    "issued in the future": (over(iat=NOW + 120), "not-yet-valid"),
    "no time of issue": (over(iat=None), "missing-claim"),
    "of another login": (over(nonce="of-another-login"), "replayed"),
    "without a nonce": (over(nonce=None), "replayed"),
    "of another issuer": (over(iss="https://evil.example.com"), "wrong-issuer"),
    "issuer with a slash": (
        lambda claims: ISSUER.sign({**claims, "iss": claims["iss"] + "/"}),
        "wrong-issuer",
    ),
    "no subject": (over(sub=None), "missing-claim"),
    "subject is a number": (over(sub=1), "missing-claim"),
    "alg none": (unsigned("none"), "not-signed"),
    "alg nOnE": (unsigned("nOnE"), "not-signed"),
    "signature cut off": (signature_cut_off, "not-signed"),
    "HMAC with the public key": (hmac_with_the_public_key, "bad-algorithm"),
    "alg that nobody knows": (headed(alg="RS1"), "bad-algorithm"),
    "alg is a list": (headed(alg=["RS256"]), "bad-algorithm"),
    "claims changed": (tampered, "bad-signature"),
    "signature changed": (tampered_signature, "bad-signature"),
    "signed by a stranger": (STRANGER.sign, "bad-signature"),
    "stranger with jku and x5u": (headers_that_name_keys_elsewhere, "bad-signature"),
    "stranger with a key in the header": (with_a_key_of_its_own, "bad-signature"),
    "key of another type": (of_an_elliptic_key, "unknown-key"),
    "another algorithm than the key's": (headed(alg="RS512"), "unknown-key"),
    "unknown kid": (headed(kid="k2"), "unknown-key"),
    "kid is a path": (headed(kid="../../../../dev/null"), "unknown-key"),
    "kid is a URL": (headed(kid="http://127.0.0.1/evil"), "unknown-key"),
    "kid is empty": (headed(kid=""), "unknown-key"),
    "kid is no text": (headed(kid=["k1"]), "malformed"),
    "kid without end": (headed(kid="k" * 600), "malformed"),
    "critical header": (headed(crit=["exp"]), "wrong-type"),
    "payload not encoded": (headed(b64=False), "malformed"),
    "an access token": (headed(typ="at+jwt"), "wrong-type"),
    "a logout token": (headed(typ="logout+jwt"), "wrong-type"),
    "encrypted": (lambda _: "a.b.c.d.e", "encrypted"),
    "no token": (lambda _: "hello", "malformed"),
    "not base64": (lambda claims: ISSUER.sign(claims) + "=", "malformed"),
    "with a line break": (lambda claims: ISSUER.sign(claims) + "\n", "malformed"),
    "claims are a list": (lambda _: ISSUER.sign(["x"]), "malformed"),
    "header is a text": (lambda c: f"{b64_json('alg')}.{b64_json(c)}.eA", "malformed"),
    "oversized": (over(x="x" * 40_000), "oversized"),
    "too many values": (over(x=list(range(4200))), "oversized"),
    "too many claims": (over(**{f"c{n}": 1 for n in range(520)}), "oversized"),
    "email not verified": (over(email_verified=False), "email-not-verified"),
    "email of which nothing is said": (over(email_verified=None), "email-not-verified"),
    "email verified, in a way": (over(email_verified="yes"), "email-not-verified"),
    "no email": (over(email=None), "missing-claim"),
    "two emails": (over(email=["a@b.c", "d@e.f"]), "bad-name"),
    "name with a control character": (over(email="a@b.c\x1b[31m"), "bad-name"),
    "name with a line break": (over(email="a@b.c\nadmin"), "bad-name"),
    "name of half a surrogate": (over(email="a@b.c\ud800"), "missing-claim"),
    "name too long": (over(email="a" * 256), "bad-name"),
    "name with spaces around": (over(email=" a@b.c"), "bad-name"),
    "no group": (over(groups=None), "no-role"),
    "no group that gives a role": (over(groups=["admin", "admins-2", "ADMINS"]), "no-role"),
    "group by the word of others": (
        over(
            groups=None,
            _claim_names={"groups": "g"},
            _claim_sources={"g": {"JWT": STRANGER.sign({"groups": ["admins"]})}},
        ),
        "no-role",
    ),
}


@pytest.mark.parametrize(("make", "reason"), TOKENS.values(), ids=TOKENS)
async def test_a_token_that_is_wrong(
    issuer: Issuer,
    connect: Connect,
    log_in: LogIn,
    make: Callable[[Claims], str],
    reason: str,
) -> None:
    issuer.make_token = make
    evil = {"keys": [STRANGER.jwk()]}
    issuer.replies["/evil"] = (200, evil)

    with pytest.raises(LoginRefused) as caught:
        await log_in(connect())

    assert caught.value.reason == reason
    assert "/evil" not in issuer.asked
    assert caught.value.message.isprintable()


async def test_without_the_fault_each_of_them_would_log_in(connect: Connect, log_in: LogIn) -> None:
    assert (await log_in(connect())).roles == ("admin",)


async def test_who_is_in_too_many_groups_is_told(
    issuer: Issuer, connect: Connect, log_in: LogIn
) -> None:
    issuer.make_token = TOKENS["group by the word of others"][0]

    with pytest.raises(LoginRefused) as caught:
        await log_in(connect())

    assert "'groups'" in caught.value.hint
    assert "too many groups" in caught.value.hint


async def test_userinfo_of_somebody_else_is_refused(
    issuer: Issuer, connect: Connect, log_in: LogIn
) -> None:
    issuer.userinfo = {"sub": "bob-2", "groups": ["admins"]}

    with pytest.raises(LoginRefused) as caught:
        await log_in(connect())

    assert caught.value.reason == "wrong-subject"


# what is wrong -> (metadata's change, reason)
METADATA: dict[str, tuple[dict[str, Any], str]] = {
    "another issuer": ({"issuer": "https://evil.example.com"}, "wrong-issuer"),
    "no issuer": ({"issuer": None}, "wrong-issuer"),
    "token endpoint in the clear": ({"token_endpoint": "http://a.example.com"}, "provider-failed"),
    "keys in a file": ({"jwks_uri": "file:///etc/passwd"}, "provider-failed"),
    "userinfo with a password": (
        {"userinfo_endpoint": "https://a:b@example.com"},
        "provider-failed",
    ),
    "no token endpoint": ({"token_endpoint": None}, "provider-failed"),
    "no keys": ({"jwks_uri": None}, "provider-failed"),
    "authorization endpoint is a script": (
        {"authorization_endpoint": "javascript:alert(1)"},
        "provider-failed",
    ),
}


@pytest.mark.parametrize(("change", "reason"), METADATA.values(), ids=METADATA)
async def test_a_provider_that_is_wrong(
    issuer: Issuer, connect: Connect, log_in: LogIn, change: dict[str, Any], reason: str
) -> None:
    issuer.metadata = change

    with pytest.raises(LoginRefused) as caught:
        await log_in(connect())

    assert caught.value.reason == reason


async def test_too_many_roles_are_no_login_with_some_of_them(
    issuer: Issuer, connect: Connect, log_in: LogIn
) -> None:
    issuer.change = {"groups": [f"team-{n}" for n in range(65)]}
    rows = [{"claim": "groups", "value": "team-*", "roles": ["$1"]}]

    with pytest.raises(LoginRefused) as caught:
        await log_in(connect(claims_to_roles=rows))

    assert caught.value.reason == "oversized"
