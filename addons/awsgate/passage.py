"""Requests that carry no gateway credentials, and which of them may pass unsigned.

Each kind has a switch in ``kind: gateway``, ``spec.unsigned``:

    apis               sign-in and web identities: AWS asks for no signature (on)
    anonymous_s3       S3 without any signature (off)
    foreign_presigned  S3 URLs and forms that somebody else signed (off)
    bearer_tokens      ``Authorization: Bearer``, such as Bedrock API keys (off)
    websockets         upgrades that are not signed (off)

What passes goes on as it came, with no credentials of ours: a session token of a gateway's,
left over in a client's settings, is refused. It is still held to the wire and endpoint rules,
and audited. Pure.
"""

from __future__ import annotations

from enum import StrEnum

from awsgate import wire
from awsgate.aws import unsigned
from awsgate.aws.endpoint import Endpoint
from awsgate.caller import EXPRESS_TOKEN, S3_SERVICES, Claim, Form, Headers, header
from awsgate.errors import Code, Refusal
from awsgate.policy import UnsignedSpec
from awsgate.session import looks_like_gateway_key, looks_like_gateway_token
from awsgate.wire import RequestFacts

MAX_FIELDS = 200
"""Of a query or form that nobody signed. STS's have 20, with all session policies there can be."""
MAX_BYTES = 128 * 1024
"""Likewise. The longest is a SAML assertion: 100,000 characters, before their encoding."""

_CONFIGURE = "configure gateway credentials (awsgate env) and sign the request"


class Passage(StrEnum):
    """Why a request may pass unsigned: the name of its switch."""

    APIS = "apis"
    ANONYMOUS_S3 = "anonymous_s3"
    FOREIGN_PRESIGNED = "foreign_presigned"
    BEARER_TOKENS = "bearer_tokens"
    WEBSOCKETS = "websockets"


_TOKENS = (b"x-amz-security-token", EXPRESS_TOKEN)
_FOREIGN_FORMS = frozenset({Form.QUERY, Form.QUERY_V4A, Form.QUERY_V2, Form.POST_FORM})


def is_foreign(claim: Claim) -> bool:
    """True if somebody else made this URL or form: it is signed with no key of ours."""
    return (
        claim.form in _FOREIGN_FORMS
        and claim.service in S3_SERVICES
        and not looks_like_gateway_key(claim.access_key_id)
    )


def check_tokens(headers: Headers, claim: Claim | None = None) -> None:
    """Refuse what passes unsigned with a token that is none of AWS's. Raises ``Refusal``."""
    given = [value for name in _TOKENS for value in headers.get(name, ())]
    tokens = [value.decode("latin-1") for value in given]
    if claim is not None:
        tokens.append(claim.session_token)
    if any(map(looks_like_gateway_token, tokens)):
        raise Refusal(
            Code.NOT_SIGNED,
            "the request carries a session token of a gateway's, and no signature of its key",
            hint="sign it with all three of awsgate env, or leave the token out",
        )


def find_passage(
    facts: RequestFacts, headers: Headers, found: Endpoint, named: str, rules: UnsignedSpec
) -> Passage:
    """Give why a request without a signature may pass. Raises ``Refusal`` if it may not.

    ``named`` is the operation that the envelope names, if it does.
    """
    path = facts.target.partition(b"?")[0]
    authorization = header(headers, b"authorization")
    bearer = authorization[:7].lower() == b"bearer "
    if authorization and not bearer:
        raise Refusal(
            Code.NOT_SIGNED, "the Authorization header is not an AWS signature", hint=_CONFIGURE
        )
    if wire.is_upgrade(headers):
        return _switched(rules.websockets, Passage.WEBSOCKETS, "this WebSocket carries")
    if unsigned.unsigned_operation(found, method=facts.method, path=path, named=named):
        return _switched(rules.apis, Passage.APIS, "this call to sign in carries")
    if bearer:
        return _switched(rules.bearer_tokens, Passage.BEARER_TOKENS, "a bearer token is")
    if found.service in S3_SERVICES:
        return _switched(rules.anonymous_s3, Passage.ANONYMOUS_S3, "the request carries")
    raise Refusal(Code.NOT_SIGNED, "the request carries no AWS signature", hint=_CONFIGURE)


def check_fields(form: bytes) -> None:
    """Refuse a query or form that is nobody's yet and takes longer to read than any client's."""
    if form.count(b"&") + form.count(b";") >= MAX_FIELDS or len(form) > MAX_BYTES:
        raise Refusal(
            Code.UNSUPPORTED,
            f"an unsigned request may have {MAX_FIELDS} fields, of {MAX_BYTES} bytes together",
            hint=_CONFIGURE,
        )


def _switched(on: bool, passage: Passage, what: str) -> Passage:
    if on:
        return passage
    raise Refusal(
        Code.NOT_SIGNED,
        f"{what} no AWS signature",
        hint=f"{_CONFIGURE}, or ask the operator for unsigned.{passage} in kind: gateway",
    )
