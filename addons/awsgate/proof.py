"""Where a request goes, what of it the client signed, and whether that holds. Pure."""

from __future__ import annotations

import hashlib

from awsgate import caller, wire
from awsgate.aws import presign, sigv4, sigv4a
from awsgate.aws.endpoint import Endpoint, bucket_of, resolve_endpoint, scope_fits
from awsgate.caller import UNSIGNED_PAYLOAD, Claim, Form
from awsgate.errors import Code, Refusal
from awsgate.forwarded import parse_forwarded_host
from awsgate.outgoing import RESIGNED_PAYLOADS
from awsgate.review import Review
from awsgate.session import Session

# Keywords that stand for the body in the signature and leave its bytes alone.
VERBATIM_PAYLOADS = frozenset({UNSIGNED_PAYLOAD, "STREAMING-UNSIGNED-PAYLOAD-TRAILER"})
KEYWORDS = VERBATIM_PAYLOADS | RESIGNED_PAYLOADS

# Transcribe's WebSockets; every other AWS API is on 443 alone.
UPGRADE_PORTS = frozenset({443, 8443})


def find_target(review: Review) -> None:
    """Say where a request is to go, and to which endpoint that is. Raises ``Refusal``."""
    facts = review.facts
    if facts.connect_host is not None:
        review.host = facts.connect_host
    else:
        values = [v for name, v in facts.headers if name.lower() == b"x-forwarded-host"]
        review.host = parse_forwarded_host(values)
    review.endpoint = resolve_endpoint(review.host)


def check_forwarded(review: Review) -> None:
    """X-Forwarded-Host and CONNECT may not name two targets, nor may Host."""
    facts = review.facts
    values = review.headers.get(b"x-forwarded-host")
    if facts.connect_host is not None:
        if values is None:
            return
        if len(values) != 1 or wire.host_of(values[0]) != facts.connect_host:
            raise Refusal(
                Code.BAD_FORWARDED_HOST,
                "X-Forwarded-Host differs from the CONNECT host",
                hint="leave the header out: the gateway sets it from CONNECT",
            )
    elif not (facts.tls or facts.local):
        raise Refusal(
            Code.UNSUPPORTED,
            "plain HTTP from another machine is not accepted",
            hint="set HTTPS_PROXY instead of an endpoint URL",
        )


def payload_of(review: Review, claim: Claim) -> str | None:
    """Give the hash or keyword for the body; None: the body is to be hashed."""
    value = review.header(b"x-amz-content-sha256").strip().decode("latin-1")
    if isinstance(claim.proof, presign.Presigned):
        value = value or claim.proof.payload
    if not value:
        in_query = claim.form in (Form.QUERY, Form.QUERY_V4A, Form.QUERY_V2)
        if claim.form is Form.POST_FORM:
            return UNSIGNED_PAYLOAD
        # "You don't include a payload hash in the Canonical Request, because when you
        # create a presigned URL, you don't know the payload content" (S3).
        return UNSIGNED_PAYLOAD if in_query and claim.service in caller.S3_SERVICES else None
    if review.needs_body and value in KEYWORDS:
        raise Refusal(Code.BAD_SIGNATURE, "the body of this request must be signed, and is not")
    if value in VERBATIM_PAYLOADS or (len(value) == 64 and not value.strip("0123456789abcdef")):
        return value
    if value in RESIGNED_PAYLOADS and claim.form is Form.HEADER:
        return value
    if value.startswith("STREAMING-AWS4-"):
        raise Refusal(
            Code.UNSUPPORTED,
            f"{value[:64]} (signed chunks) is not supported in this form",
            hint="send unsigned trailers or a body hash: over TLS no SDK signs chunks by default",
        )
    raise Refusal(
        Code.BAD_SIGNATURE, "x-amz-content-sha256 is neither a SHA-256 in hex nor a known keyword"
    )


def announces_body(review: Review) -> bool:
    """True if the head says that a body follows."""
    length = review.header(b"content-length").strip(b"0 ")
    return length != b"" or b"transfer-encoding" in review.headers


def check_payload(review: Review) -> None:
    """Refuse a body that was signed as none, and none that was signed as one."""
    if review.payload == sigv4.EMPTY_SHA256 and announces_body(review):
        raise Refusal(Code.BAD_SIGNATURE, "there is a body, and it was signed as empty")
    if review.payload in RESIGNED_PAYLOADS and not announces_body(review):
        raise Refusal(Code.BAD_SIGNATURE, "there is no body, and it was signed in chunks")


def check_signature(review: Review, body: bytes | None) -> str:
    """Check that the client signed this request, and give the payload hash or keyword.

    Raises ``Refusal``.
    """
    claim, payload = review.claim, review.payload
    if claim is None:
        raise Refusal(Code.GATEWAY_FAULT, "request was not received before it was authorised")
    if body is not None and payload not in KEYWORDS:
        actual = hashlib.sha256(body).hexdigest()
        if payload is not None and payload != actual:
            raise Refusal(Code.BAD_SIGNATURE, "x-amz-content-sha256 is not the SHA-256 of the body")
        payload = actual
    if payload is None:
        raise Refusal(Code.GATEWAY_FAULT, "the body is needed for the signature and is not there")
    path, _, query = review.facts.target.partition(b"?")
    request = sigv4.SignedRequest(
        method=review.facts.method.decode("ascii"), path=path, query=query, headers=review.headers
    )
    bucket = bucket_of(review.found) or ""
    if not caller.proves(claim, request, secret=review.secret, payload=payload, bucket=bucket):
        raise Refusal(
            Code.BAD_SIGNATURE,
            "the signature does not match the request",
            hint="check the gateway secret key, and that nothing between client and gateway "
            "changes signed headers or the path; curl -T needs "
            "-H 'x-amz-content-sha256: UNSIGNED-PAYLOAD'",
        )
    return payload


def check_scope(claim: Claim, found: Endpoint) -> None:
    """Refuse a request that is signed for another service or region than the endpoint's."""
    if not (claim.region or claim.region_set):
        return  # SigV2 has no scope
    if claim.form in (Form.HEADER_V4A, Form.QUERY_V4A):
        regions = found.regions or (found.region,)
        fits = claim.service in found.signing_names and all(
            not region or sigv4a.region_set_allows(claim.region_set, region) for region in regions
        )
        where = claim.region_set[:64]
    else:
        fits = scope_fits(found, claim.service, claim.region)
        where = claim.region
    if not fits:
        raise Refusal(
            Code.SCOPE_MISMATCH,
            f"signed for {claim.service} in {where}, sent to {found.host}",
            hint="the region and service of the client must be those of the endpoint",
        )


def check_express(claim: Claim, session: Session, found: Endpoint) -> None:
    """Keys of an S3 Express session are good for its bucket, in its own header."""
    express = session.issued if session.issued is not None and session.issued.express else None
    if (express is not None) != claim.express:
        raise Refusal(Code.UNKNOWN_KEY, "the session token is in the header of another kind")
    if express is not None and express.bucket_host != found.host:
        raise Refusal(Code.UNKNOWN_KEY, "this S3 Express session is of another bucket")


def check_port(review: Review) -> None:
    """Refuse a port on which no AWS API is."""
    port = review.facts.connect_port
    if port == 443 or (port in UPGRADE_PORTS and wire.is_upgrade(review.headers)):
        return
    raise Refusal(Code.UNSUPPORTED, f"port {port} of an AWS endpoint", status=421)


def check_partition(found: Endpoint, role_arn: str) -> None:
    """Refuse a role of another partition than the endpoint's. Empty: there is none."""
    if role_arn and role_arn.split(":")[1] != found.partition:
        raise Refusal(
            Code.SCOPE_MISMATCH,
            f"{role_arn} is no role of the partition of {found.host}",
            hint="choose a role of the partition that the endpoint belongs to",
        )
