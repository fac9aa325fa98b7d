"""A SAML 2.0 service provider: people log in with a browser at their identity provider.

    begin      an AuthnRequest by HTTP-Redirect, signed if the connector has a signing key
    finish     the answer by HTTP-POST: form, signatures, then what the assertion says

The assertion itself must be signed, and everything that counts is read from it. An answer
that is signed as a whole must be signed rightly too. What refuses a login, in this order:

    malformed oversized dtd comment wrapped weak-algorithm    its form (``samlform``)
    provider-refused wrong-issuer not-signed                  no answer of the provider's
    bad-signature tampered not-decrypted                      not proved (``samlcrypto``)
    wrong-recipient unsolicited wrong-request                 not for here, or not now
    wrong-audience not-yet-valid expired                      (``samlassertion``)
    replayed                                                  was taken before
    bad-name no-role                                          proved, and not enough

``provider-failed`` is the provider's metadata, ``busy`` too many answers at a time.

An answer is good once: its id is remembered for as long as it could be taken again, by all
connectors of the process, over reloads of the policy. Other gateways do not know of it: but
where the gateway began the login, which is all that is allowed unless the connector says
``allow_idp_initiated``, the answer fits only the request that this gateway remembers.
"""

from __future__ import annotations

import asyncio
import base64
import importlib.util
import secrets
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from types import ModuleType
from urllib.parse import quote_plus
from xml.etree.ElementTree import Element, SubElement, tostring

import httpx
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from awsgate.connect.samlassertion import (
    Assertion,
    Expected,
    check_issuers,
    check_response,
    read_assertion,
)
from awsgate.connect.samlform import (
    DSIG_MORE,
    SAML,
    SAMLP,
    Answer,
    read_answer,
    read_form,
    refuse,
    signature_of,
)
from awsgate.connect.samlmetadata import POST, Provider, entity_id, own_certificate, with_query
from awsgate.connect.samlprovider import ProviderSource
from awsgate.connect.secrets import secret_text
from awsgate.connect.ways import Begun, LoginRefused, roles_given
from awsgate.errors import SetupError
from awsgate.login import Identity
from awsgate.policy.connectors import KeyPair, Saml, name_of
from awsgate.policy.fields import is_name
from awsgate.policy.rolemapping import roles_by_claims

MAX_RELAY_STATE_BYTES = 80  # SAML bindings, section 3.4.3
_THREADS = 2
_MAX_WAITING = 32
_MAX_REMEMBERED = 100_000
_REQUEST = "request"


class Replays:
    """The assertions that were taken, each for as long as it could be taken again."""

    def __init__(self) -> None:
        self._until: dict[tuple[str, str], float] = {}
        self._one_at_a_time = threading.Lock()

    def take(self, issuer: str, assertion: Assertion, *, now: float) -> None:
        """Remember an assertion. Raises ``LoginRefused`` if it was taken before."""
        with self._one_at_a_time:
            self._take((issuer, assertion.id), assertion.accepted_until, now)

    def _take(self, key: tuple[str, str], until: float, now: float) -> None:
        if self._until.get(key, 0) >= now:
            refuse("replayed", "this answer was used before", hint="log in again")
        if len(self._until) >= _MAX_REMEMBERED:
            self._until = {k: end for k, end in self._until.items() if end >= now}
        if len(self._until) >= _MAX_REMEMBERED:
            # Nothing is forgotten before its time: that would let it in again.
            refuse("busy", "too many logins at this time", hint="try again in some minutes")
        self._until[key] = until


_REPLAYS = Replays()


class SamlConnector:
    """One identity provider. ``BrowserWay``."""

    def __init__(
        self,
        document: Saml,
        *,
        http: httpx.AsyncClient,
        clock: Callable[[], float] = time.time,
        replays: Replays = _REPLAYS,
    ) -> None:
        """Raise ``SetupError`` if the document's files, pysaml2 or xmlsec1 are not there."""
        self._crypto = _crypto()
        self._program: str = self._crypto.find_program()
        self._document = document
        self._clock = clock
        self._replays = replays
        self._source = ProviderSource(document.spec, http=http, clock=clock)
        self._signer = _signing_key(document.spec.signing_key_pair)
        self._decrypts_with = _checked_key(document.spec.assertion_key_pair)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="saml")
        self._waiting = 0

    async def begin(self, *, state: str, redirect_url: str) -> Begun:  # noqa: ARG002 - acs it is
        """Give where the browser goes, with a request that only this login's answer may name."""
        if len(state.encode()) > MAX_RELAY_STATE_BYTES:
            raise ValueError(f"state is over {MAX_RELAY_STATE_BYTES} bytes")
        provider = await self._source.get()
        request = f"_{secrets.token_hex(20)}"
        text = _authn_request(self._document, provider, request, self._clock())
        deflated = zlib.compress(text, wbits=-15)
        query = _query(SAMLRequest=base64.b64encode(deflated).decode(), RelayState=state)
        if self._signer is not None:
            query += "&" + _query(SigAlg=DSIG_MORE + "rsa-sha256")
            made = self._signer.sign(query.encode(), padding.PKCS1v15(), hashes.SHA256())
            query += "&" + _query(Signature=base64.b64encode(made).decode())
        return Begun(with_query(provider.sso, query), {_REQUEST: request})

    async def finish(self, answer: Mapping[str, str], memory: Mapping[str, str]) -> Identity:
        """Read the posted form. ``memory`` is empty for a login that the provider began."""
        request = memory.get(_REQUEST, "")
        if not request and not self._document.spec.allow_idp_initiated:
            refuse(
                "unsolicited",
                "the answer is to no request of this gateway",
                hint="begin the login with awsgate login",
            )
        form = answer.get("SAMLResponse", "")
        provider = await self._source.get()
        try:
            return await self._in_thread(lambda: self._identity(form, provider, request))
        except LoginRefused as refused:
            if refused.reason not in ("bad-signature", "not-decrypted"):
                raise
            renewed = await self._source.get(newer=True)
            if renewed == provider:
                raise
        return await self._in_thread(lambda: self._identity(form, renewed, request))

    async def _in_thread(self, work: Callable[[], Identity]) -> Identity:
        if self._waiting >= _MAX_WAITING:
            refuse("busy", "too many logins at a time", hint="try again in a minute")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1

    def _identity(self, form: str, provider: Provider, request: str) -> Identity:
        """Prove an answer. Blocks, in a thread."""
        answer = read_form(form)
        check_issuers(answer.response, answer.assertion, provider.issuer)
        self._check(answer, provider, whole=True)
        spec = self._document.spec
        now = self._clock()
        audiences = {spec.audience} if spec.audience else {spec.acs, entity_id(spec)}
        expected = Expected(provider.issuer, spec.acs, frozenset(audiences), request, now)
        check_response(answer.response, expected)
        element = self._proved(answer, provider)
        assertion = read_assertion(element, expected)
        identity = identity_of(self._document, assertion, now=now)
        self._replays.take(provider.issuer, assertion, now=now)
        return identity

    def _proved(self, answer: Answer, provider: Provider) -> Element:
        """Give the assertion, whose signature is the provider's."""
        if answer.assertion is not None:
            self._check(answer, provider, whole=False)
            return answer.assertion
        if not self._decrypts_with:
            refuse(
                "not-decrypted",
                "the assertion is encrypted, and the connector has no key for it",
                hint="give the connector an assertion_key_pair, or switch encryption off",
            )
        try:
            opened = self._opened(answer)
            self._check(opened, provider, whole=False)
        except LoginRefused:
            if answer.authenticated:
                raise
            # In CBC anybody can change what is encrypted, and could learn it from what is
            # said of the changes (padding oracle): so all that can go wrong is one thing.
            refuse(
                "not-decrypted",
                "the assertion cannot be decrypted, or what was in it is not signed rightly",
                hint="let the provider encrypt with AES-GCM to see which",
            )
        assert opened.assertion is not None  # noqa: S101 - _opened gives no other
        return opened.assertion

    def _opened(self, answer: Answer) -> Answer:
        text = self._crypto.decrypt(answer, key=self._decrypts_with, program=self._program)
        opened = read_answer(text, decrypted=True)
        if opened.assertion is None:
            refuse("malformed", "what was encrypted is no assertion")
        return opened

    def _check(self, answer: Answer, provider: Provider, *, whole: bool) -> None:
        """Check one signature. The assertion must have one, the answer as a whole may."""
        owner = answer.response if whole else answer.assertion
        if not whole:
            check_issuers(answer.response, owner, provider.issuer)
        if owner is None or signature_of(owner) is None:
            if whole:
                return
            refuse(
                "not-signed",
                "the assertion is not signed",
                hint="switch on signed assertions in the identity provider",
            )
        self._crypto.check_signature(
            answer,
            whole=whole,
            issuer=provider.issuer,
            certificates=provider.certificates,
            program=self._program,
        )


def identity_of(document: Saml, assertion: Assertion, *, now: float) -> Identity:
    """Give who an assertion speaks of, with the roles of the document. Pure.

    Raises ``LoginRefused`` with bad-name or no-role.
    """
    spec = document.spec
    name = _name(document, assertion)
    roles = roles_given(lambda: roles_by_claims(spec.attributes_to_roles, assertion.attributes))
    if not roles:
        wanted = dict.fromkeys(row.name for row in spec.attributes_to_roles)
        missing = [name for name in wanted if name not in assertion.attributes]
        hint = "ask the gateway's operator for a row in attributes_to_roles"
        if missing:
            hint += f"; the provider says nothing of {', '.join(map(repr, missing[:8]))}"
        refuse("no-role", "your identity is proved, and gives no role here", hint=hint)
    ends_at = assertion.session_ends_at
    if spec.login_ttl_s is not None:
        ends_at = int(now) + spec.login_ttl_s
    return Identity(name, name_of(document), roles, assertion.attributes, ends_at)


def _name(document: Saml, assertion: Assertion) -> str:
    spec = document.spec
    if spec.username_attribute is not None:
        values = assertion.attributes.get(spec.username_attribute, ())
        if len(values) != 1:
            refuse(
                "bad-name",
                f"the assertion has {len(values)} values of {spec.username_attribute!r}, "
                "which is to name the user",
            )
        name = values[0]
    elif assertion.transient or not assertion.name:
        refuse(
            "bad-name",
            "the assertion has no NameID that stays the same",
            hint="set another NameID format in the provider, or username_attribute here",
        )
    else:
        name = assertion.name
    user = spec.username_prefix + name
    if not is_name(user):
        refuse(
            "bad-name",
            f"the identity cannot name a user: {user[:80]!r}",
            hint="a name is one value of 1 to 255 printable characters",
        )
    return user


def _authn_request(document: Saml, provider: Provider, request: str, now: float) -> bytes:
    moment = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    root = Element(
        f"{{{SAMLP}}}AuthnRequest",
        {
            "ID": request,
            "Version": "2.0",
            "IssueInstant": moment,
            "Destination": provider.sso,
            "AssertionConsumerServiceURL": document.spec.acs,
            "ProtocolBinding": POST,
        },
    )
    SubElement(root, f"{{{SAML}}}Issuer").text = entity_id(document.spec)
    made: bytes = tostring(root, encoding="utf-8")
    return made


def _query(**fields: str) -> str:
    return "&".join(f"{name}={quote_plus(value)}" for name, value in fields.items())


def _crypto() -> ModuleType:
    if importlib.util.find_spec("saml2") is None:
        raise SetupError(
            "a saml connector needs pysaml2, which is not installed",
            hint="pip install 'awsgate[saml]', and the program xmlsec1",
        )
    from awsgate.connect import samlcrypto

    return samlcrypto


def _checked_key(pair: KeyPair | None) -> str:
    """Give the private key of a pair in PEM, nothing for none. Raises ``SetupError``."""
    if pair is None:
        return ""
    own_certificate(pair.cert)
    text = secret_text(pair.private_key)
    try:
        key = load_pem_private_key(text.encode(), password=None)
    except (ValueError, TypeError):
        # Not from it: its words may be of the key.
        key = None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise SetupError(
            "private_key of a key pair of a saml connector is no RSA key in PEM",
            hint="openssl req -x509 -newkey rsa:3072 -nodes -days 3650 -subj /CN=awsgate "
            "-keyout saml.key -out saml.crt",
        )
    return text


def _signing_key(pair: KeyPair | None) -> rsa.RSAPrivateKey | None:
    text = _checked_key(pair)
    key = load_pem_private_key(text.encode(), password=None) if text else None
    return key if isinstance(key, rsa.RSAPrivateKey) else None
