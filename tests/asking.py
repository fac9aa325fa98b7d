"""Requests in one line, and the calls that they are."""

from __future__ import annotations

from awsgate.aws.call import Call, call_of
from awsgate.aws.endpoint import Endpoint, resolve_endpoint

ACCOUNT = "123456789012"
FORM = "application/x-www-form-urlencoded"


def at(host: str) -> Endpoint:
    """Give the endpoint of a host, or of a service in Ireland."""
    found = resolve_endpoint(host if "." in host else f"{host}.eu-west-1.amazonaws.com")
    assert found is not None
    return found


def call(
    host: str, asked: str, body: str | bytes | None = "", signing: str = "", **headers: str
) -> Call:
    """Give the call of ``METHOD target``. Headers have ``_`` for ``-``."""
    endpoint = at(host)
    method, _, target = asked.partition(" ")
    sent = {
        name.replace("_", "-").lower().encode(): [value.encode()] for name, value in headers.items()
    }
    return call_of(
        endpoint, signing_name=signing or endpoint.service, method=method, target=target.encode(),
        headers=sent, body=body.encode() if isinstance(body, str) else body, account=ACCOUNT,
    )  # fmt: skip
