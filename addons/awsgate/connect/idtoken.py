"""Checks an ID token: that the issuer signed it, for us, and that it is good now.

Signatures are joserfc's work, with the algorithms and the key that are chosen here:

- asymmetric algorithms alone, so that no public key is ever taken for a shared secret;
- a key of the issuer's own key set that fits ``kid``, algorithm and use. What a token says
  of keys elsewhere (``jwk``, ``jku``, ``x5u``, ``x5c``) is not looked at.

Sources: OpenID Connect Core 3.1.3.7, RFC 7519, RFC 8725 (JWT best current practices).
"""

from __future__ import annotations

import hmac
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from authlib.oidc.core.util import create_half_hash
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwa import JWSAlgModel
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey, import_key

from awsgate.connect.ways import LoginRefused

LEEWAY_S = 60
"""How far the provider's clock and ours may be apart."""
MAX_TOKEN_CHARS = 32 * 1024
MAX_KEYS = 64
_MAX_KID_CHARS = 512
_MIN_RSA_BITS = 2048
_MIN_RSA_CHARS = 342  # of a modulus; joserfc warns of shorter ones
_FAR = 2**40  # a time after this is no time
_KEY_TYPES: Mapping[str, type[Key]] = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), RSAKey),
    **dict.fromkeys(("ES256", "ES384", "ES512"), ECKey),
    **dict.fromkeys(("EdDSA", "Ed25519"), OKPKey),
}
ALGORITHMS = tuple(_KEY_TYPES)
_SAME = dict.fromkeys(("EdDSA", "Ed25519"), ("EdDSA", "Ed25519"))
"""Two names of one algorithm, the older one first."""
_PUBLIC = ("kty", "n", "e", "crv", "x", "y")
_TOKEN = re.compile(r"[A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]*){2}")
_TYPES = frozenset({"", "jwt", "jose"})
"""Of a header; others are tokens for something else (``at+jwt``, ``logout+jwt``)."""

type Claims = Mapping[str, object]


class _Registry(jws.JWSRegistry):
    # joserfc's own 512 is less than a header with a certificate in it.
    max_header_length = 8 * 1024
    max_payload_length = MAX_TOKEN_CHARS

    def get_alg(self, name: str) -> JWSAlgModel:
        # The older name, which all providers use; joserfc warns of it with every token.
        return super().get_alg("Ed25519" if name == "EdDSA" else name)


_REGISTRY = _Registry(algorithms=ALGORITHMS, strict_check_header=False)


@dataclass(frozen=True, slots=True)
class Parsed:
    """A token that has the form of one. Nothing in it is proved."""

    algorithm: str
    kid: str | None
    claims: Claims = field(repr=False)
    signed: jws.CompactSignature = field(repr=False)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a token must say."""

    issuer: str
    audiences: frozenset[str]
    client_id: str = ""
    """Of a person's login; empty: a machine's, which was issued to nobody in particular."""
    nonce: str = ""
    max_age_s: int | None = None
    acr_values: tuple[str, ...] = ()
    access_token: str = field(default="", repr=False)


def parse_token(token: str) -> Parsed:
    """Read a token. Raises ``LoginRefused`` for what can be no good one, whoever signed it."""
    if len(token) > MAX_TOKEN_CHARS:
        raise LoginRefused("oversized", f"the token is longer than {MAX_TOKEN_CHARS} characters")
    if token.count(".") == 4:
        raise LoginRefused(
            "encrypted", "the token is encrypted", hint="have the provider sign it only"
        )
    if not _TOKEN.fullmatch(token):
        raise _malformed()
    header, signed = _header(token)
    kid = header.get("kid")
    if kid is not None and (not isinstance(kid, str) or len(kid) > _MAX_KID_CHARS):
        raise _malformed()
    # With crit a header says what must be understood, and none of it is.
    if "crit" in header or "b64" in header or str(header.get("typ", "")).lower() not in _TYPES:
        raise LoginRefused("wrong-type", "the token is for something other than a login")
    algorithm = _algorithm(header.get("alg"), token)
    try:
        claims = json.loads(signed.payload)
    except (ValueError, RecursionError):
        raise _malformed() from None
    if not isinstance(claims, dict):
        raise _malformed()
    return Parsed(algorithm, kid, claims, signed)


def _header(token: str) -> tuple[Mapping[str, object], jws.CompactSignature]:
    try:
        signed = jws.extract_compact(token.encode(), registry=_REGISTRY)
        header: object = signed.headers()
    except (JoseError, ValueError, TypeError, AttributeError, RecursionError):
        raise _malformed() from None
    if not isinstance(header, dict):
        raise _malformed()
    return header, signed


def _algorithm(name: object, token: str) -> str:
    if token.endswith(".") or str(name).lower() == "none":
        raise LoginRefused("not-signed", "the token is not signed")
    if not isinstance(name, str) or name not in _KEY_TYPES:
        raise LoginRefused(
            "bad-algorithm",
            f"the token is signed with {str(name)[:40]!r}, which proves no issuer",
            hint=f"have the provider sign with one of {', '.join(ALGORITHMS)}",
        )
    return name


@dataclass(frozen=True, slots=True)
class IssuerKey:
    """A public key of the issuer's."""

    kid: str
    algorithm: str
    """Empty: the key set does not say."""
    key: Key = field(repr=False)


def keys_of(key_set: Mapping[str, object]) -> tuple[IssuerKey, ...]:
    """Give the keys of a JWKS that can check signatures; others are passed over."""
    entries = key_set.get("keys")
    if not isinstance(entries, list):
        return ()
    return tuple(key for entry in entries[:MAX_KEYS] if (key := _key(entry)) is not None)


def _key(entry: object) -> IssuerKey | None:
    if not isinstance(entry, dict) or entry.get("kty") not in ("RSA", "EC", "OKP"):
        return None
    operations = entry.get("key_ops")
    if entry.get("use", "sig") != "sig":
        return None
    if operations is not None and not (isinstance(operations, list) and "verify" in operations):
        return None
    if entry["kty"] == "RSA" and len(str(entry.get("n"))) < _MIN_RSA_CHARS:
        return None
    try:
        key = import_key({name: entry[name] for name in _PUBLIC if name in entry})
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    if isinstance(key, RSAKey) and key.public_key.key_size < _MIN_RSA_BITS:
        return None
    return IssuerKey(str(entry.get("kid", "")), str(entry.get("alg", "")), key)


def fitting(keys: Sequence[IssuerKey], parsed: Parsed) -> tuple[IssuerKey, ...]:
    """Give the keys that the token can be signed with: of its ``kid``, if it has one."""
    algorithms = {"", *_SAME.get(parsed.algorithm, (parsed.algorithm,))}
    return tuple(
        key
        for key in keys
        if isinstance(key.key, _KEY_TYPES[parsed.algorithm])
        and (parsed.kid is None or key.kid == parsed.kid)
        and key.algorithm in algorithms
    )


def check_signature(parsed: Parsed, keys: Sequence[IssuerKey]) -> None:
    """Check that one of ``keys`` signed the token. Raises ``LoginRefused`` (bad-signature)."""
    if not any(_signed_by(parsed, key) for key in keys):
        raise LoginRefused(
            "bad-signature",
            "the token is not as its issuer signed it",
            hint="it was changed, or another signed it in the issuer's name",
        )


def _signed_by(parsed: Parsed, key: IssuerKey) -> bool:
    try:
        return jws.validate_compact(parsed.signed, key.key, registry=_REGISTRY)
    except (JoseError, ValueError, TypeError):
        return False


def check_claims(parsed: Parsed, wanted: Wanted, *, now: float) -> int:
    """Check a token whose signature was, and give its end. Raises ``LoginRefused``."""
    claims = parsed.claims
    check_issuer(claims, wanted.issuer)
    _check_audience(claims, wanted)
    ends_at = _check_times(claims, now=now, is_person=bool(wanted.client_id))
    if not isinstance(claims.get("sub"), str) or not claims["sub"]:
        raise _missing("sub")
    if wanted.nonce and not _is(claims.get("nonce"), wanted.nonce):
        raise LoginRefused(
            "replayed", "the token was not issued for this login", hint="log in again"
        )
    _check_strength(claims, wanted, now=now)
    if wanted.access_token and "at_hash" in claims:
        _check_access_token(parsed, wanted.access_token)
    return ends_at


def _is(claim: object, wanted: str) -> bool:
    """True if a claim is this text. In constant time."""
    if not isinstance(claim, str):
        return False
    return hmac.compare_digest(claim.encode("utf-8", "replace"), wanted.encode())


def check_issuer(claims: Claims, issuer: str) -> None:
    """Check who says to have issued it. Raises ``LoginRefused`` (wrong-issuer)."""
    if claims.get("iss") != issuer:
        raise LoginRefused(
            "wrong-issuer",
            f"the token is of the issuer {str(claims.get('iss'))[:200]!r}, not of {issuer!r}",
        )


def _check_audience(claims: Claims, wanted: Wanted) -> None:
    said = claims.get("aud")
    audiences = [said] if isinstance(said, str) else said
    if not isinstance(audiences, list) or not all(isinstance(a, str) for a in audiences):
        raise _missing("aud")
    party = claims.get("azp")
    if wanted.client_id:
        fits = wanted.client_id in audiences
        party_fits = party == wanted.client_id or (party is None and len(audiences) == 1)
    else:
        # Each audience holds the token, and could log in with it.
        fits = bool(audiences) and wanted.audiences.issuperset(audiences)
        party_fits = True
    if not fits:
        raise LoginRefused(
            "wrong-audience",
            f"the token is meant for {', '.join(map(repr, audiences))[:300]}",
            hint=f"it must be for {', '.join(sorted(wanted.audiences))} and nobody else",
        )
    if not party_fits:
        raise LoginRefused(
            "wrong-party", f"the token was issued to {str(party)[:200]!r}, another client (azp)"
        )


def _check_times(claims: Claims, *, now: float, is_person: bool) -> int:
    expires_at = _time(claims, "exp", needed=True)
    if expires_at is not None and now >= expires_at + LEEWAY_S:
        raise LoginRefused(
            "expired", f"the token ended {int(now - expires_at)} seconds ago", hint="get a new one"
        )
    for name in ("nbf", "iat"):
        begins_at = _time(claims, name, needed=is_person and name == "iat")
        if begins_at is not None and begins_at > now + LEEWAY_S:
            raise LoginRefused(
                "not-yet-valid",
                f"the token is good in {int(begins_at - now)} seconds ({name})",
                hint="compare the clocks of the identity provider and the gateway",
            )
    # Within the leeway it has ended by our clock, and not by the provider's.
    end = int(expires_at or 0)
    return end if end > now else end + LEEWAY_S


def _check_strength(claims: Claims, wanted: Wanted, *, now: float) -> None:
    """Check how, and how long ago, somebody has authenticated."""
    if wanted.max_age_s is not None:
        since = _time(claims, "auth_time", needed=True)
        if since is not None and now - since > wanted.max_age_s + LEEWAY_S:
            raise LoginRefused(
                "too-old",
                f"you last authenticated to the provider {int(now - since)} seconds ago",
                hint=f"log out there and in again: at most {wanted.max_age_s} are allowed",
            )
    if wanted.acr_values and claims.get("acr") not in wanted.acr_values:
        raise LoginRefused(
            "too-weak",
            f"the provider says acr {str(claims.get('acr'))[:80]!r} of how you authenticated",
            hint=f"needed: {' or '.join(wanted.acr_values)}",
        )


def _check_access_token(parsed: Parsed, access_token: str) -> None:
    # authlib's hash goes by the digits of the name, and these name no hash.
    algorithm = "EdDSA" if parsed.algorithm == "Ed25519" else parsed.algorithm
    wanted = create_half_hash(access_token, algorithm)
    if wanted is None or not _is(parsed.claims["at_hash"], wanted.decode()):
        raise LoginRefused(
            "bad-access-token", "the provider's access token is not that of its ID token (at_hash)"
        )


def _time(claims: Claims, name: str, *, needed: bool) -> float | None:
    value = claims.get(name)
    if value is None and not needed:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _missing(name)
    # Every comparison with NaN is false: such a token would never end.
    if not (math.isfinite(value) if isinstance(value, float) else True) or abs(value) > _FAR:
        raise _missing(name)
    return value


def _missing(name: str) -> LoginRefused:
    return LoginRefused(
        "missing-claim", f"the token has no {name!r}, or one that is not of the right form"
    )


def _malformed() -> LoginRefused:
    return LoginRefused(
        "malformed",
        "this is no ID token",
        hint="an ID token is three texts of base64url with dots between",
    )
