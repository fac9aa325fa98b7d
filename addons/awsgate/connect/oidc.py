"""OpenID Connect: people by browser or by device code, machines by the tokens they hold.

    browser    authorization code with PKCE (S256), nonce, state        OIDC Core 3.1
    device     the code is typed on another device                      RFC 8628
    id token   what CI or Kubernetes gave to a job; checked alone       no round trip

However it came, a token passes ``idtoken``; then its claims, and userinfo's if it speaks of
the same subject, give the user's name, the roles and the traits.
"""

from __future__ import annotations

import re
import secrets
import time
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast
from urllib.parse import quote_plus

import httpx
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri

from awsgate.connect import oauth
from awsgate.connect.claims import flat
from awsgate.connect.fetching import Answer, Fetcher, Remembered
from awsgate.connect.idtoken import (
    Claims,
    IssuerKey,
    Parsed,
    Wanted,
    check_claims,
    check_issuer,
    check_signature,
    fitting,
    keys_of,
    parse_token,
)
from awsgate.connect.keyfile import key_set_in
from awsgate.connect.person import identity_of
from awsgate.connect.secrets import FILE_PREFIX, secret_text
from awsgate.connect.ways import Begun, DeviceCode, LoginRefused, Pending
from awsgate.login import Identity
from awsgate.policy.connectors import Oidc

_DISCOVERY = "/.well-known/openid-configuration"
_LONGEST_CODE_S = 1800
_EMAIL, _VERIFIED = "email", "email_verified"
_text = partial(oauth.text_in, of="the provider", most=4096)
_BEARER = re.compile(r"[A-Za-z0-9._~+/-]+=*")


@dataclass(frozen=True, slots=True)
class Provider:
    """What its metadata says, each URL checked when it is used."""

    metadata: Mapping[str, object]

    def text(self, name: str) -> str:
        """Give a text of the metadata, or nothing."""
        value = self.metadata.get(name)
        return value if isinstance(value, str) else ""

    def list(self, name: str) -> Sequence[object]:
        """Give a list of the metadata; empty if there is none."""
        value = self.metadata.get(name)
        return value if isinstance(value, list) else []


class OidcConnector:
    """One ``kind: oidc`` document at work. A ``BrowserWay``, ``DeviceWay`` and ``IdTokenWay``.

    Raises ``SetupError`` if the client secret cannot be read.
    """

    def __init__(
        self, document: Oidc, *, http: httpx.AsyncClient, clock: Callable[[], float] = time.time
    ) -> None:
        self._document = document
        self._spec = document.spec
        self._secret = secret_text(document.spec.client_secret)
        self._clock = clock
        self._fetcher = Fetcher(http, document.spec.issuer_url)
        self._provider = Remembered(self._discover, clock)
        self._keys = Remembered(self._fetch_keys, clock)

    async def begin(self, *, state: str, redirect_url: str) -> Begun:
        """Give where the browser goes, and what ``finish`` needs."""
        self._need_client()
        provider = await self._provider.get()
        endpoint = self._endpoint(provider, "authorization_endpoint")
        spec = self._spec
        memory = {
            "state": state,
            "nonce": secrets.token_urlsafe(32),
            "verifier": oauth.new_verifier(),
            "redirect_url": redirect_url,
        }
        url = prepare_grant_uri(
            endpoint,
            client_id=spec.client_id,
            response_type="code",
            redirect_uri=redirect_url,
            scope=self._scope(),
            state=state,
            nonce=memory["nonce"],
            **oauth.challenge_of(memory["verifier"]),
            prompt=spec.prompt or None,
            acr_values=spec.acr_values or None,
            max_age=None if spec.max_age_s is None else str(spec.max_age_s),
        )
        return Begun(cast(str, url), memory)

    async def finish(self, answer: Mapping[str, str], memory: Mapping[str, str]) -> Identity:
        """Give who came back from the provider. Raises ``LoginRefused``."""
        oauth.check_state(answer, memory)
        provider = await self._provider.get()
        self._check_sender(provider, answer)
        if "error" in answer:
            raise _refusal_of(answer)
        if not answer.get("code"):
            raise LoginRefused("provider-failed", "the provider sent neither a code nor an error")
        tokens = await self._token(
            provider,
            {
                "grant_type": "authorization_code",
                "code": answer["code"],
                "redirect_uri": memory["redirect_url"],
                "code_verifier": memory["verifier"],
            },
        )
        if tokens.status != 200:
            raise _refusal_of(tokens.content)
        return await self._person(provider, tokens.content, nonce=memory["nonce"])

    async def start_device(self) -> DeviceCode:
        """Ask for a code to be typed elsewhere. Raises ``LoginRefused``."""
        self._need_client()
        provider = await self._provider.get()
        if not self._spec.device or not provider.text("device_authorization_endpoint"):
            raise LoginRefused(
                "unsupported", "this provider has no device login", hint="log in with a browser"
            )
        endpoint = self._endpoint(provider, "device_authorization_endpoint")
        verifier = oauth.new_verifier()
        # RFC 8628 has no PKCE; Keycloak asks for it, and others ignore what they do not know.
        form = {"scope": self._scope(), **oauth.challenge_of(verifier)}
        answer = await self._post(provider, endpoint, form)
        if answer.status != 200:
            raise _refusal_of(answer.content)
        said = answer.content
        # A browser is sent there: it is checked like an endpoint.
        where = said.get("verification_uri", said.get("verification_url"))
        complete = said.get("verification_uri_complete")
        return DeviceCode(
            user_code=_text(said, "user_code"),
            verification_uri=self._fetcher.checked(where, "verification_uri"),
            verification_uri_complete=(
                self._fetcher.checked(complete, "verification_uri_complete") if complete else ""
            ),
            interval_s=oauth.seconds(said.get("interval"), oauth.USUAL_INTERVAL_S, most=60),
            expires_in_s=oauth.seconds(said.get("expires_in"), 300, most=_LONGEST_CODE_S),
            memory={"device_code": _text(said, "device_code"), "verifier": verifier},
        )

    async def poll_device(self, memory: Mapping[str, str]) -> Identity:
        """Give who typed the code. Raises ``Pending`` or ``LoginRefused``."""
        provider = await self._provider.get()
        form = {
            "grant_type": oauth.DEVICE_GRANT,
            "device_code": memory["device_code"],
            "code_verifier": memory["verifier"],
        }
        tokens = await self._token(provider, form)
        error = tokens.content.get("error")
        if tokens.status == 200:
            return await self._person(provider, tokens.content, nonce="")
        if error in ("authorization_pending", "slow_down"):
            raise Pending(slow_down=error == "slow_down")
        raise _refusal_of(tokens.content)

    async def prove_id_token(self, token: str) -> Identity:
        """Give which machine a token speaks of. Raises ``LoginRefused``.

        A token is good again until it ends: a job logs in as often as it has steps.
        """
        allowed = self._spec.id_tokens
        if allowed is None:
            raise LoginRefused(
                "unsupported",
                "this connector takes no ID tokens",
                hint="spec.id_tokens allows them",
            )
        wanted = Wanted(self._spec.issuer_url, frozenset(allowed.audiences))
        parsed, ends_at = await self._checked(token, wanted)
        return self._identity(parsed.claims, ends_at, is_machine=True)

    async def _person(
        self, provider: Provider, tokens: Mapping[str, object], *, nonce: str
    ) -> Identity:
        token, access_token = tokens.get("id_token"), tokens.get("access_token")
        if not isinstance(token, str):
            raise LoginRefused("provider-failed", "the provider gave no ID token")
        if not isinstance(access_token, str) or not _BEARER.fullmatch(access_token):
            access_token = ""
        spec = self._spec
        wanted = Wanted(
            issuer=spec.issuer_url,
            audiences=frozenset({spec.client_id}),
            client_id=spec.client_id,
            nonce=nonce,
            max_age_s=spec.max_age_s,
            acr_values=tuple(spec.acr_values.split()),
            access_token=access_token,
        )
        parsed, ends_at = await self._checked(token, wanted)
        claims = parsed.claims
        if access_token and provider.text("userinfo_endpoint"):
            claims = _together(await self._userinfo(provider, access_token, claims), claims)
        return self._identity(claims, ends_at, is_machine=False)

    async def _userinfo(self, provider: Provider, access_token: str, claims: Claims) -> Claims:
        """Give what userinfo adds: what the signed token says itself goes before it."""
        endpoint = self._endpoint(provider, "userinfo_endpoint")
        said = await self._fetcher.get(endpoint, bearer=access_token)
        if said.get("sub") != claims["sub"]:
            raise LoginRefused(
                "wrong-subject", "the provider's userinfo speaks of somebody else than its ID token"
            )
        return said

    def _identity(self, claims: Claims, ends_at: int, *, is_machine: bool) -> Identity:
        if self._spec.login_ttl_s is not None:
            ends_at = int(self._clock()) + self._spec.login_ttl_s
        return identity_of(
            self._document, flat(claims), claims, ends_at=ends_at, is_machine=is_machine
        )

    async def _checked(self, token: str, wanted: Wanted) -> tuple[Parsed, int]:
        """Give the token, checked in full, and its end."""
        parsed = parse_token(token)
        # Before the keys: a token of another issuer makes nobody fetch anything.
        check_issuer(parsed.claims, wanted.issuer)
        candidates = fitting(await self._keys.get(), parsed)
        if not candidates:
            candidates = fitting(await self._keys.get(newer=True), parsed)
        if not candidates:
            raise LoginRefused(
                "unknown-key",
                f"the issuer {wanted.issuer} has no key that the token can be signed with",
                hint="if it has just changed its keys, try again in a few seconds",
            )
        check_signature(parsed, candidates)
        return parsed, check_claims(parsed, wanted, now=self._clock())

    async def _discover(self) -> Provider:
        issuer = self._spec.issuer_url
        metadata = await self._fetcher.get(issuer.rstrip("/") + _DISCOVERY)
        if metadata.get("issuer") != issuer:
            raise LoginRefused(
                "wrong-issuer",
                f"the provider at {issuer} calls itself {str(metadata.get('issuer'))[:200]!r}",
                hint="issuer_url of the connector must be exactly what the provider calls itself",
            )
        return Provider(metadata)

    async def _fetch_keys(self) -> tuple[IssuerKey, ...]:
        url = self._spec.jwks_url
        if url.startswith(FILE_PREFIX):
            return keys_of(key_set_in(url))
        if not url:
            url = self._endpoint(await self._provider.get(), "jwks_uri")
        return keys_of(await self._fetcher.get(url))

    async def _token(self, provider: Provider, form: Mapping[str, str]) -> Answer:
        return await self._post(provider, self._endpoint(provider, "token_endpoint"), form)

    async def _post(self, provider: Provider, endpoint: str, form: Mapping[str, str]) -> Answer:
        """Post as the client that we are to the provider."""
        client_id, secret = self._spec.client_id, self._secret
        methods = provider.list("token_endpoint_auth_methods_supported")
        if not secret:
            return await self._fetcher.post(endpoint, {**form, "client_id": client_id})
        if methods and "client_secret_basic" not in methods:
            in_form = {"client_id": client_id, "client_secret": secret}
            return await self._fetcher.post(endpoint, {**form, **in_form})
        # RFC 6749, 2.3.1: each is form-encoded first.
        pair = f"{quote_plus(client_id)}:{quote_plus(secret)}".encode()
        authorization = f"Basic {b64encode(pair).decode()}"
        return await self._fetcher.post(endpoint, form, authorization=authorization)

    def _endpoint(self, provider: Provider, name: str) -> str:
        return self._fetcher.checked(provider.metadata.get(name), name)

    def _scope(self) -> str:
        return " ".join(dict.fromkeys(("openid", *self._spec.scope)))

    def _need_client(self) -> None:
        if not self._spec.client_id:
            raise LoginRefused(
                "unsupported",
                "this connector is for machines alone",
                hint="log in with --id-token-file, or with another connector",
            )

    def _check_sender(self, provider: Provider, answer: Mapping[str, str]) -> None:
        """RFC 9207: an answer that says who sent it must be of our provider."""
        promised = provider.metadata.get("authorization_response_iss_parameter_supported") is True
        if ("iss" in answer or promised) and answer.get("iss") != self._spec.issuer_url:
            raise LoginRefused(
                "wrong-issuer", "the answer is of another provider", hint="log in again"
            )


def _together(said: Claims, claims: Claims) -> Claims:
    """Give userinfo's claims and the token's, which go before them.

    That an address is verified counts for that address alone: of two, one may be anybody's.
    """
    found = {**said, **claims}
    whose = claims if _EMAIL in claims else said
    words = [one.get(_VERIFIED) for one in (claims, said) if one.get(_EMAIL) == whose.get(_EMAIL)]
    found[_VERIFIED] = next((word for word in words if word is not None), None)
    return found


def _refusal_of(said: Mapping[str, object]) -> LoginRefused:
    """Give the refusal for an OAuth error."""
    slug, text = oauth.error_in(said), oauth.printable(said.get("error_description"))
    reasons = {"access_denied": "denied", "expired_token": "expired", "invalid_grant": "code-used"}
    words = f"the provider refused the login: {slug}" + (f" ({text})" if text else "")
    return LoginRefused(reasons.get(slug, "provider-refused"), words, hint="log in again")
