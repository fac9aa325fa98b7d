"""Requests for the strict AWS, signed by botocore or the CRT, and what became of them."""

from __future__ import annotations

from typing import Any

import boto3
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

from aws_server.deliver import Answered, Call, call_of, deliver, through
from aws_server.model import FAULTS, BaseKeys, Request
from aws_server.server import BASE_KEYS, StrictAws


def session(aws: StrictAws, name: str = "ann") -> Credentials:
    """Give credentials of a role, as the server's own STS makes them."""
    made = aws.keys.issue("role", seconds=3600, session_name=name)
    return Credentials(made.access_key_id, made.secret, made.token)


def sign(
    url: str,
    *,
    method: str = "PUT",
    body: bytes = b"hello",
    signer: Any = S3SigV4Auth,
    keys: Credentials | BaseKeys = BASE_KEYS,
    service: str = "s3",
    region: str = "eu-central-1",
    headers: tuple[tuple[str, str], ...] = (("x-amz-meta-owner", "ann"),),
    **more: int,
) -> Call:
    if isinstance(keys, BaseKeys):
        keys = Credentials(*keys)
    request = AWSRequest(method=method, url=url, data=body)
    for name, value in headers:
        request.headers[name] = value
    signer(keys, service, region, **more).add_auth(request)
    return call_of(request.prepare())


def last(aws: StrictAws, call: Call) -> tuple[Answered, Request]:
    answered = deliver(aws.port, call)
    return answered, aws.requests[-1]


def assert_refused(aws: StrictAws, call: Call, fault: str) -> None:
    answered, request = last(aws, call)

    status, _ = FAULTS[fault]
    assert (request.fault, answered.status) == (fault, status), request.detail
    assert not request.stored
    assert not aws.objects


def client(aws: StrictAws, service: str, keys: Credentials | None = None, **config: Any) -> Any:
    """A boto3 client that means AWS, and reaches the server."""
    make: Any = boto3.client
    made = make(
        service,
        region_name=config.pop("region", "eu-central-1"),
        aws_access_key_id=keys.access_key if keys else aws.base_keys.access_key_id,
        aws_secret_access_key=keys.secret_key if keys else aws.base_keys.secret_access_key,
        aws_session_token=keys.token if keys else None,
        config=Config(retries={"max_attempts": 0}, **config),
    )
    return through(aws.port, made)
