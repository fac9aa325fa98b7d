"""An OpenID Connect issuer of our own, over real HTTP, that can be told to do wrong.

Tokens are signed with ``cryptography`` alone, as the RFCs have it, so that what the gateway
reads with joserfc was not written by joserfc. What a client does wrong it refuses: PKCE,
redirect URL, client secret and codes are checked.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, unquote_plus, urlsplit

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from httpserving import QuietHandler, http_server

type PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

CLIENT_ID = "awsgate"
CLIENT_SECRET = "canary client/secret+"


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def b64_json(value: object) -> str:
    return b64(json.dumps(value).encode())


def _number(value: int) -> str:
    return b64(value.to_bytes((value.bit_length() + 7) // 8, "big"))


@cache
def rsa_key(name: str, bits: int = 2048) -> rsa.RSAPrivateKey:  # noqa: ARG001 - one each name
    return rsa.generate_private_key(65537, bits)


NOW = 1_795_428_930
"""When all of it happens: the issuer's clock, and the connector's."""


@dataclass(frozen=True)
class Signer:
    """A key with its name, and the algorithm that it signs with."""

    kid: str
    key: PrivateKey
    algorithm: str = "RS256"

    def jwk(self, **more: object) -> dict[str, object]:
        public = self.key.public_key()
        about: dict[str, object] = {"kid": self.kid, "use": "sig", "alg": self.algorithm}
        if isinstance(public, rsa.RSAPublicKey):
            numbers = public.public_numbers()
            shape: dict[str, object] = {"kty": "RSA", "n": _number(numbers.n), "e": "AQAB"}
        elif isinstance(public, ec.EllipticCurvePublicKey):
            point = public.public_numbers()
            x, y = (b64(v.to_bytes(32, "big")) for v in (point.x, point.y))
            shape = {"kty": "EC", "crv": "P-256", "x": x, "y": y}
        else:
            shape = {"kty": "OKP", "crv": "Ed25519", "x": b64(public.public_bytes_raw())}
        return {**shape, **about, **more}

    def sign(self, claims: object, **header: object) -> str:
        head = {"alg": self.algorithm, "kid": self.kid, "typ": "JWT", **header}
        kept = {name: value for name, value in head.items() if value is not None}
        text = f"{b64_json(kept)}.{b64_json(claims)}"
        return f"{text}.{b64(self._signature(text.encode()))}"

    def _signature(self, text: bytes) -> bytes:
        if isinstance(self.key, rsa.RSAPrivateKey):
            if self.algorithm.startswith("PS"):
                pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
                return self.key.sign(text, pss, hashes.SHA256())
            return self.key.sign(text, padding.PKCS1v15(), hashes.SHA256())
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            r, s = decode_dss_signature(self.key.sign(text, ec.ECDSA(hashes.SHA256())))
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")
        return self.key.sign(text)


def half_hash(text: str) -> str:
    """OIDC Core 3.1.3.6, for the algorithms with SHA-256."""
    return b64(hashlib.sha256(text.encode()).digest()[:16])


type Claims = dict[str, Any]
type Reply = tuple[int, object]


@dataclass
class Issuer:
    """What it says can be changed before it is asked."""

    url: str = ""
    signer: Signer = field(default_factory=lambda: Signer("k1", rsa_key("k1")))
    person: Claims = field(
        default_factory=lambda: {
            "sub": "ann-1",
            "email": "ann@example.com",
            "email_verified": True,
            "groups": ["admins", "staff"],
        }
    )
    change: Claims = field(default_factory=dict)
    """Over the claims of the ID token; None takes one away."""
    make_token: Callable[[Claims], str] | None = None
    metadata: Claims = field(default_factory=dict)
    """Over its metadata; None takes one away."""
    jwks: Callable[[], object] | None = None
    userinfo: object = None
    """None: it has no such endpoint."""
    replies: dict[str, Reply] = field(default_factory=dict)
    """Path -> answer in place of its own; the content may be bytes."""
    headers: dict[str, str] = field(default_factory=dict)
    device_steps: list[Reply] = field(default_factory=list)
    access_token: str = "access-token.1"
    now: Callable[[], float] = time.time
    asked: list[str] = field(default_factory=list)
    seen_headers: list[dict[str, str]] = field(default_factory=list)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    device_form: dict[str, str] = field(default_factory=dict)

    def claims(self, **more: object) -> Claims:
        now = int(self.now())
        about = {"iss": self.url, "aud": CLIENT_ID, "iat": now, "exp": now + 300}
        claims = {**about, **self.person, **more, **self.change}
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, **more: object) -> str:
        claims = self.claims(**more)
        return self.make_token(claims) if self.make_token else self.signer.sign(claims)

    def answer(self, method: str, target: str, body: str, headers: dict[str, str]) -> Reply:
        parts = urlsplit(target)
        self.asked.append(parts.path)
        self.seen_headers.append(headers)
        if parts.path in self.replies:
            return self.replies[parts.path]
        if parts.path == "/.well-known/openid-configuration":
            return 200, self._metadata()
        if parts.path == "/keys":
            return 200, self.jwks() if self.jwks else {"keys": [self.signer.jwk()]}
        if parts.path == "/authorize":
            return self._authorize(dict(parse_qsl(parts.query)))
        if parts.path == "/userinfo":
            fits = headers.get("authorization") == f"Bearer {self.access_token}"
            return (200, self.userinfo) if fits else (401, {})
        if method != "POST":
            return 404, {}
        form = dict(parse_qsl(body))
        if not _is_client(form, headers):
            return 401, {"error": "invalid_client"}
        return self._device(form) if parts.path == "/device" else self._tokens(form)

    def _metadata(self) -> Claims:
        said = {
            "issuer": self.url,
            **{f"{name}_endpoint": f"{self.url}/{name}" for name in ("token", "userinfo")},
            "authorization_endpoint": f"{self.url}/authorize?tenant=1",
            "device_authorization_endpoint": f"{self.url}/device",
            "jwks_uri": f"{self.url}/keys",
            **({} if self.userinfo is not None else {"userinfo_endpoint": None}),
            **self.metadata,
        }
        return {name: value for name, value in said.items() if value is not None}

    def _authorize(self, query: dict[str, str]) -> Reply:
        code = secrets.token_urlsafe(8)
        self.codes[code] = query
        return 302, {"code": code, "state": query["state"]}

    def _tokens(self, form: dict[str, str]) -> Reply:
        if form["grant_type"].endswith("device_code"):
            if form["device_code"] != "device-1" or not self._proves(form, self.device_form):
                return 400, {"error": "invalid_grant"}
            return self.device_steps.pop(0) if self.device_steps else (200, self._pair())
        query = self.codes.pop(form["code"], None)
        if query is None:
            return 400, {"error": "invalid_grant", "error_description": "used\x1b[31m already"}
        if not self._proves(form, query) or query["redirect_uri"] != form["redirect_uri"]:
            return 400, {"error": "invalid_grant"}
        return 200, self._pair(nonce=query["nonce"])

    @staticmethod
    def _proves(form: dict[str, str], asked: dict[str, str]) -> bool:
        """RFC 7636, in the device flow too, as Keycloak has it."""
        challenge = b64(hashlib.sha256(form["code_verifier"].encode()).digest())
        return (asked["code_challenge_method"], asked["code_challenge"]) == ("S256", challenge)

    def _pair(self, **more: object) -> Claims:
        return {
            "token_type": "Bearer",
            "access_token": self.access_token,
            "id_token": self.token(**more),
        }

    def _device(self, form: dict[str, str]) -> Reply:
        assert "openid" in form["scope"]
        self.device_form = form
        return 200, {
            "device_code": "device-1",
            "user_code": "BDWP-HQPK",
            "verification_uri": f"{self.url}/type",
            "verification_uri_complete": f"{self.url}/type?user_code=BDWP-HQPK",
            "expires_in": 600,
            "interval": 2,
        }


def _is_client(form: dict[str, str], headers: dict[str, str]) -> bool:
    scheme, _, pair = headers.get("authorization", "").partition(" ")
    if scheme == "Basic":
        client_id, _, secret = base64.b64decode(pair).decode().partition(":")
        return (unquote_plus(client_id), unquote_plus(secret)) == (CLIENT_ID, CLIENT_SECRET)
    return form.get("client_id") == CLIENT_ID and form.get("client_secret") in (None, CLIENT_SECRET)


@contextmanager
def serving(issuer: Issuer) -> Iterator[Issuer]:
    """Serve ``issuer`` on loopback; its ``url`` is set."""

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("content-length", 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(length).decode()
            status, content = issuer.answer(self.command, self.path, body, headers)
            raw = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            for name, value in issuer.headers.items():
                self.send_header(name, value)
            if status == 302:
                self.send_header("location", f"{issuer.url}/.well-known/openid-configuration")
            self.send_header("content-length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        do_POST = do_GET

    with http_server(Handler) as issuer.url:
        yield issuer
