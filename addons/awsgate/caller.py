"""Who says they call: the forms in which a request carries a signature, read as a claim.

    header      Authorization: AWS4-HMAC-SHA256 ...         SigV4
    header-v4a  Authorization: AWS4-ECDSA-P256-SHA256 ...   SigV4a, several regions
    query       ?X-Amz-Signature=...                        presigned, SigV4 or SigV4a
    query-v2    ?AWSAccessKeyId=...&Signature=...           presigned, SigV2, S3 only
    post-form   fields of a multipart form                  S3 POST policy

``read_claim`` and ``read_form`` parse and check what needs no secret: exactly one
form, every header signed that must be, the clock. ``proves`` checks the signature.
A request without any of these has no claim; ``passage`` says whether it may pass.

Pure: the caller passes the time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum

from awsgate import wire
from awsgate.aws import formplace, postform, presign, sigv2, sigv4, sigv4a, uri
from awsgate.aws.endpoint import Endpoint, bucket_of
from awsgate.errors import Code, Refusal
from awsgate.wire import RequestFacts

MAX_SKEW = timedelta(minutes=5)  # AWS's own window for most services; S3 allows 15

S3_SERVICES = uri.EXACT_PATH_SERVICES
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
EXPRESS_TOKEN = b"x-amz-s3session-token"

Headers = Mapping[bytes, Sequence[bytes]]
Proof = (
    sigv4.Authorization
    | sigv4a.Authorization4a
    | presign.Presigned
    | sigv2.SignedV2
    | postform.PostForm
)


class Form(StrEnum):
    """Where a request carries its signature, and by which algorithm."""

    HEADER = "header"
    HEADER_V4A = "header-v4a"
    QUERY = "query"
    QUERY_V4A = "query-v4a"
    QUERY_V2 = "query-v2"
    POST_FORM = "post-form"


@dataclass(frozen=True, slots=True)
class Claim:
    """What a request says of its caller. Nothing of it is proved."""

    form: Form
    access_key_id: str
    service: str
    region: str
    """Empty for SigV4a (see ``region_set``) and SigV2, which name none."""
    signed_headers: tuple[str, ...]
    timestamp: str
    """``YYYYMMDDTHHMMSSZ``; empty for SigV2, which has none."""
    rest: bytes = field(repr=False)
    """The query without its signature: what goes on to AWS."""
    session_token: str = field(repr=False)
    proof: Proof = field(repr=False)
    region_set: str = ""
    express: bool = False
    """The token is that of an S3 Express session."""


def header(headers: Headers, name: bytes) -> bytes:
    """Give the first value of a header, or nothing. ``name`` is lower-case."""
    values = headers.get(name)
    return values[0] if values else b""


def read_claim(
    facts: RequestFacts, headers: Headers, found: Endpoint, now: datetime
) -> Claim | None:
    """Read the claim of a request's head. None: its head carries no AWS signature.

    Raises ``Refusal`` for two claims, for one that is malformed or too old, and for
    headers that should be signed and are not.
    """
    authorization = header(headers, b"authorization")
    query = facts.target.partition(b"?")[2]
    if wire.has_query_auth(facts.target):
        if authorization:
            raise Refusal(
                Code.UNSUPPORTED,
                "the request carries two signatures, in its query and in a header",
                hint="leave the Authorization header out of requests to a presigned URL",
            )
        old = wire.has_query_v2(facts.target)
        claim = _read_query_v2(query, found) if old else _read_query(query)
    else:
        scheme = authorization.partition(b" ")[0].upper()
        if scheme == sigv4.ALGORITHM.encode():
            claim = _read_header(authorization, headers, query)
        elif scheme == sigv4a.ALGORITHM.encode():
            claim = _read_header_v4a(authorization, headers, query)
        elif scheme == b"AWS":
            raise Refusal(
                Code.UNSUPPORTED,
                "Signature Version 2 in a header is not supported",
                hint="set signature_version to s3v4 (AWS CLI: s3.signature_version = s3v4)",
            )
        elif authorization[:3].upper() == b"AWS":
            raise Refusal(Code.BAD_SIGNATURE, "malformed Authorization header")
        else:
            return None
    if claim.form is not Form.QUERY_V2:
        _check_signed_names(claim, facts, headers, found)
    _check_clock(claim, now)
    return claim


def may_be_form(facts: RequestFacts, headers: Headers, found: Endpoint) -> bool:
    """True if the request may be an S3 POST form, whose signature is in its body."""
    method, content_type = facts.method.decode("ascii"), header(headers, b"content-type")
    return found.service in S3_SERVICES and formplace.is_upload(method, content_type)


def read_form(
    facts: RequestFacts, headers: Headers, found: Endpoint, body: bytes, now: datetime
) -> Claim | None:
    """Read the claim of an S3 POST form. None: it has no signature. Raises ``Refusal``."""
    if wrong := formplace.misplaced(found, facts.target):
        raise Refusal(
            Code.UNSUPPORTED,
            f"a POST form goes to its bucket, and the URL of this one has {wrong}",
            hint="post the form to the URL that it was made for; the key is a field of it",
        )
    try:
        form = postform.parse(body, header(headers, b"content-type"))
        if form is None:
            return None
        ends = postform.expires_at(form)
    except postform.FormError as exc:
        raise Refusal(Code.BAD_SIGNATURE, f"malformed POST form: {exc}") from None
    if now >= ends:
        raise _expired("policy of this POST form", now - ends)
    return Claim(
        form=Form.POST_FORM,
        access_key_id=form.access_key_id,
        service=form.service or "s3",
        region=form.region,
        signed_headers=("content-type", "host"),
        timestamp=form.timestamp,
        rest=b"",
        session_token=form.session_token,
        proof=form,
    )


def proves(
    claim: Claim, request: sigv4.SignedRequest, *, secret: str, payload: str, bucket: str
) -> bool:
    """True if the claim's signature is that of ``request`` under ``secret``."""
    proof = claim.proof
    if isinstance(proof, sigv4.Authorization):
        return sigv4.matches(
            request, proof, secret=secret, timestamp=claim.timestamp, payload=payload
        )
    if isinstance(proof, sigv4a.Authorization4a):
        return sigv4a.matches(
            request, proof, secret=secret, timestamp=claim.timestamp, payload=payload
        )
    if isinstance(proof, postform.PostForm):
        return postform.matches(proof, secret=secret)
    if isinstance(proof, sigv2.SignedV2):
        return sigv2.matches(
            method=request.method,
            bucket=bucket,
            path=request.path,
            query=request.query,
            headers=request.headers,
            signed=proof,
            secret=secret,
        )
    if claim.form is Form.QUERY_V4A:
        signed = proof.authorization
        return sigv4a.matches(
            request,
            sigv4a.Authorization4a(
                signed.access_key_id,
                signed.day,
                signed.service,
                signed.signed_headers,
                signed.signature,
            ),
            secret=secret,
            timestamp=claim.timestamp,
            payload=payload,
            query=proof.signed_query,
        )
    return presign.matches(request, proof, secret=secret, payload=payload)


# --- the forms -------------------------------------------------------------------


def _read_header(value: bytes, headers: Headers, query: bytes) -> Claim:
    try:
        auth = sigv4.parse_authorization(value)
    except sigv4.SignatureSyntaxError as exc:
        raise Refusal(Code.BAD_SIGNATURE, f"malformed Authorization header: {exc}") from None
    express = EXPRESS_TOKEN in headers
    token = header(headers, EXPRESS_TOKEN if express else b"x-amz-security-token")
    if express and b"x-amz-security-token" in headers:
        raise Refusal(Code.UNSUPPORTED, "the request carries two session tokens")
    return Claim(
        form=Form.HEADER,
        access_key_id=auth.access_key_id,
        service=auth.service,
        region=auth.region,
        signed_headers=auth.signed_headers,
        timestamp=_timestamp(headers, auth.day),
        rest=query,
        session_token=token.decode("latin-1"),
        proof=auth,
        express=express,
    )


def _read_header_v4a(value: bytes, headers: Headers, query: bytes) -> Claim:
    try:
        auth = sigv4a.parse_authorization(value)
    except sigv4.SignatureSyntaxError as exc:
        raise Refusal(Code.BAD_SIGNATURE, f"malformed Authorization header: {exc}") from None
    return Claim(
        form=Form.HEADER_V4A,
        access_key_id=auth.access_key_id,
        service=auth.service,
        region="",
        region_set=header(headers, b"x-amz-region-set").decode("latin-1"),
        signed_headers=auth.signed_headers,
        timestamp=_timestamp(headers, auth.day),
        rest=query,
        session_token=header(headers, b"x-amz-security-token").decode("latin-1"),
        proof=auth,
    )


def _read_query(query: bytes) -> Claim:
    try:
        signed = presign.parse(query)
    except sigv4.SignatureSyntaxError as exc:
        raise Refusal(Code.BAD_SIGNATURE, f"malformed presigned URL: {exc}") from None
    auth = signed.authorization
    v4a = signed.algorithm == sigv4a.ALGORITHM
    return Claim(
        form=Form.QUERY_V4A if v4a else Form.QUERY,
        access_key_id=auth.access_key_id,
        service=auth.service,
        region="" if v4a else auth.region,
        region_set=signed.region_set,
        signed_headers=auth.signed_headers,
        timestamp=signed.timestamp,
        rest=signed.rest,
        session_token=signed.session_token,
        proof=signed,
    )


def _read_query_v2(query: bytes, found: Endpoint) -> Claim:
    if found.service != "s3" or bucket_of(found) is None:
        raise Refusal(
            Code.UNSUPPORTED,
            "Signature Version 2 is not supported here",
            hint="upgrade the client: AWS services other than S3 ask for Signature Version 4",
        )
    try:
        signed = sigv2.parse(query)
    except sigv4.SignatureSyntaxError as exc:
        raise Refusal(Code.BAD_SIGNATURE, f"malformed presigned URL: {exc}") from None
    loose = sigv2.unsigned_parameters(query)
    if loose:
        # One signature would fit many requests: SigV2 does not cover these.
        raise Refusal(
            Code.UNSUPPORTED,
            f"Signature Version 2 does not cover the parameter {loose[0][:64]!r}",
            hint="set signature_version to s3v4 (AWS CLI: s3.signature_version = s3v4)",
        )
    return Claim(
        form=Form.QUERY_V2,
        access_key_id=signed.access_key_id,
        service=found.service,
        region="",
        signed_headers=("content-md5", "content-type", "host"),
        timestamp="",
        rest=signed.rest,
        session_token=signed.session_token,
        proof=signed,
    )


# --- clock and headers -----------------------------------------------------------------


def _timestamp(headers: Headers, day: str) -> str:
    """Give the request's own time as ``YYYYMMDDTHHMMSSZ``, on the day of its scope."""
    value = header(headers, b"x-amz-date") or header(headers, b"date")
    try:
        timestamp = sigv4.amz_date(_parse_date(value.strip()).astimezone(UTC))
    except (ValueError, OverflowError):  # the latter: an offset of a million hours
        raise Refusal(
            Code.BAD_SIGNATURE, "no valid X-Amz-Date or Date header (YYYYMMDDTHHMMSSZ)"
        ) from None
    if day != timestamp[:8]:
        raise Refusal(Code.BAD_SIGNATURE, "date of the credential scope differs from the request")
    return timestamp


def _parse_date(value: bytes) -> datetime:
    if value[-1:] == b"Z":
        return sigv4.parse_amz_date(value)
    # Only clients older than SigV4 (Perl) sign a Date header instead.
    when = parsedate_to_datetime(value.decode("ascii"))
    return when if when.tzinfo is not None else when.replace(tzinfo=UTC)


def _check_clock(claim: Claim, now: datetime) -> None:
    proof = claim.proof
    if isinstance(proof, sigv2.SignedV2):
        ends = datetime.fromtimestamp(min(proof.expires, _LAST), UTC)
        if ends - now > timedelta(seconds=presign.MAX_EXPIRES_S):
            raise Refusal(Code.BAD_SIGNATURE, "presigned URL: Expires is over 7 days away")
        if now >= ends:
            raise _expired("presigned URL", now - ends)
        return
    when = sigv4.parse_amz_date(claim.timestamp.encode())
    if isinstance(proof, presign.Presigned) and proof.expires_s is not None:
        # Not when + ...: of the year 9999 there is no later.
        ago = (now - when) - timedelta(seconds=proof.expires_s)
        if ago >= timedelta(0):
            raise _expired("presigned URL", ago)
        if now >= when:
            return
    if abs(now - when) > MAX_SKEW:
        raise Refusal(
            Code.CLOCK_SKEW,
            f"signed at {claim.timestamp}, received at {sigv4.amz_date(now)}: "
            f"over {MAX_SKEW.seconds // 60} minutes apart",
            hint="set the clock of the client (NTP), or retry if the request was held back",
        )


_LAST = int(datetime(9999, 1, 1, tzinfo=UTC).timestamp())


def _expired(what: str, ago: timedelta) -> Refusal:
    return Refusal(
        Code.SESSION_EXPIRED,
        f"the {what} ended {int(ago.total_seconds())} seconds ago",
        hint="sign a new one",
    )


def _check_signed_names(
    claim: Claim, facts: RequestFacts, headers: Headers, found: Endpoint
) -> None:
    """Host, the date and every x-amz-* header must be covered by the signature."""
    signed = {name.encode() for name in claim.signed_headers}
    must = {name for name in headers if name.startswith(b"x-amz-")} | {b"host"}
    in_header = claim.form in (Form.HEADER, Form.HEADER_V4A)
    if in_header and b"x-amz-date" not in headers:
        must.add(b"date")
    # In origin form nothing but this header says where the request goes.
    if facts.connect_host is None:
        host = wire.host_of(header(headers, b"host"))
        if host != found.host and b"x-forwarded-host" not in signed:
            raise Refusal(
                Code.BAD_FORWARDED_HOST,
                "X-Forwarded-Host differs from Host and is not signed",
                hint="set HTTPS_PROXY instead of an endpoint URL",
            )
    missing = sorted(must - signed)
    if missing:
        raise Refusal(
            Code.BAD_SIGNATURE, f"header {wire.shown(missing[0])} must be signed and is not"
        )
    absent = sorted(signed - set(headers))
    if absent:
        raise Refusal(Code.BAD_SIGNATURE, f"signed header {wire.shown(absent[0])} is not there")
    if claim.form is Form.HEADER_V4A and not claim.region_set:
        raise Refusal(Code.BAD_SIGNATURE, "header x-amz-region-set is not there")
