"""Other people's signers, as oracles for ours: botocore and the AWS CRT.

``botocore_sign`` and ``crt_sign`` give the header fields a client would send.
``accepts`` asks ``sigv4.matches`` in the way the gate does, from the wire alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from types import SimpleNamespace

import botocore.auth
import pytest
from awscrt import auth as crt
from awscrt.http import HttpHeaders, HttpRequest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from awsgate.aws import sigv4

WHEN = datetime(2026, 11, 23, 10, 15, 30, tzinfo=UTC)
REGION = "eu-central-1"
KEYS = sigv4.SigningKeys("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "")
SESSION_KEYS = sigv4.SigningKeys("ASIDEXAMPLE", "another/Secret+Key", "token//==")

Text = Sequence[tuple[str, str]]
Fields = list[tuple[bytes, bytes]]


def botocore_sign(
    method: str,
    host: str,
    target: str,
    headers: Text = (),
    body: bytes = b"",
    *,
    service: str,
    region: str = REGION,
    keys: sigv4.SigningKeys = KEYS,
    when: datetime = WHEN,
    sign_body: bool = True,
    payload: str = "",
) -> Fields:
    """Give all header fields, Host included, as botocore signs the request.

    ``host`` is not signed again if ``headers`` has a Host of its own. ``payload`` stands
    for the body in place of its hash.
    """
    signer = botocore.auth.S3SigV4Auth if service == "s3" else botocore.auth.SigV4Auth
    credentials = Credentials(keys.access_key_id, keys.secret_access_key, keys.session_token)
    request = AWSRequest(method=method, url=f"https://{host}{target}", data=body)
    if "host" not in {name.lower() for name, _ in headers}:
        request.headers["Host"] = host
    for name, value in headers:
        request.headers[name] = value  # appends
    request.context["payload_signing_enabled"] = sign_body
    if not sign_body:
        request.context["client_config"] = SimpleNamespace(s3={"payload_signing_enabled": False})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.auth, "get_current_datetime", lambda: when)
        made = signer(credentials, service, region)
        if payload:
            patch.setattr(made, "payload", lambda _: payload)
        made.add_auth(request)
    return to_bytes(list(request.headers.items()))


def crt_sign(
    method: str,
    target: str,
    headers: Text,
    *,
    service: str,
    payload: str,
    keys: sigv4.SigningKeys = KEYS,
    when: datetime = WHEN,
    encode_twice: bool,
    normalise: bool,
) -> Fields:
    """Give all header fields as the AWS CRT signs the request."""
    request = HttpRequest(method, target, HttpHeaders(list(headers)))
    config = crt.AwsSigningConfig(
        algorithm=crt.AwsSigningAlgorithm.V4,
        signature_type=crt.AwsSignatureType.HTTP_REQUEST_HEADERS,
        credentials_provider=crt.AwsCredentialsProvider.new_static(
            keys.access_key_id, keys.secret_access_key, keys.session_token or None
        ),
        region=REGION,
        service=service,
        date=when,
        use_double_uri_encode=encode_twice,
        should_normalize_uri_path=normalise,
        signed_body_value=payload,
        signed_body_header_type=crt.AwsSignedBodyHeaderType.X_AMZ_CONTENT_SHA_256,
    )
    crt.aws_sign_request(request, config).result(10)
    return to_bytes(list(request.headers))


def to_bytes(headers: Text) -> Fields:
    return [(name.encode(), value.encode()) for name, value in headers]


def value_of(fields: Sequence[tuple[bytes, bytes]], name: bytes) -> bytes:
    """Give the one value of a header. ``name`` is lower-case."""
    (value,) = [v for n, v in fields if n.lower() == name]
    return value


def accepts(
    method: str,
    target: bytes,
    fields: Sequence[tuple[bytes, bytes]],
    *,
    secret: str,
    body_sha256: str,
) -> bool:
    """True if the signature in ``fields`` is right: what cannot be parsed is not."""
    headers = sigv4.group_headers(fields)
    try:
        auth = sigv4.parse_authorization(headers[b"authorization"][0])
        when = sigv4.parse_amz_date(headers[b"x-amz-date"][0].strip())
        declared = headers.get(b"x-amz-content-sha256")
        path, _, query = target.partition(b"?")
        return sigv4.matches(
            sigv4.SignedRequest(method, path, query, headers),
            auth,
            secret=secret,
            timestamp=sigv4.amz_date(when),
            payload=declared[0].strip().decode("latin-1") if declared else body_sha256,
        )
    except (KeyError, sigv4.SignatureSyntaxError):
        return False
