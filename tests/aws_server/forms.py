"""S3's browser uploads: a multipart form whose policy is signed.

Source: "Authenticating requests in browser-based uploads using POST" and "Creating a POST
policy", S3 API Reference. The file streams; the fields before it are small.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import Message
from typing import Any

from aws_server.canonical import HMAC, hmac_check, hmac_key
from aws_server.chunks import PIECE, Payload, Wire
from aws_server.hosts import Endpoint
from aws_server.model import Fault, Head, Identity
from aws_server.verify import HEX

MAX_FIELDS = 64 * 1024
_FREE = {"x-amz-signature", "file", "policy", "awsaccesskeyid", "submit"}


@dataclass
class Form:
    """A form whose policy holds; its file has not been read yet."""

    fields: dict[str, str] = field(repr=False)
    """Names in lower case; ``${filename}`` is replaced in the key."""
    identity: Identity
    region: str
    low: int
    high: int
    bucket: str


def boundary_of(head: Head) -> bytes | None:
    """Give the boundary if the request is a multipart form."""
    message = Message()
    message["content-type"] = head.get("content-type") or ""
    if head.method != "POST" or message.get_content_type() != "multipart/form-data":
        return None
    boundary = message.get_param("boundary")
    return boundary.encode("latin-1") if isinstance(boundary, str) and boundary else None


def read_form(
    wire: Wire,
    boundary: bytes,
    bucket: str,
    endpoint: Endpoint,
    keys: Mapping[str, Identity],
    now: datetime,
) -> Form:
    """Read up to the file, and check the policy; raises ``Fault``."""
    fields = _fields(wire, boundary)
    if "${filename}" in fields.get("key", ""):
        fields["key"] = fields["key"].replace("${filename}", fields.get("file", ""))
    if not fields.get("key"):
        raise Fault("form-malformed", "no key before the file")
    identity, region = _check_signature(fields, endpoint, keys, now)
    low, high = _check_policy(fields, bucket, now)
    return Form(fields, identity, region, low, high, bucket)


def read_file(wire: Wire, boundary: bytes, form: Form, payload: Payload) -> None:
    """Read the file of a form up to the closing boundary; raises ``Fault``."""
    for piece in _up_to(wire, b"\r\n--" + boundary):
        payload.add(piece)
        if payload.record.body_bytes > form.high:
            raise Fault("form-too-large")
    rest = wire.readline()
    if rest not in (b"--\r\n", b"--"):
        # S3 wants the file to be the last field.
        raise Fault("form-malformed", "something after the file")
    if payload.record.body_bytes < form.low:
        raise Fault("form-too-small")


def _fields(wire: Wire, boundary: bytes) -> dict[str, str]:
    """Read the fields before the file; ``file`` is then the file's name."""
    if wire.readline().rstrip(b"\r\n") != b"--" + boundary:
        raise Fault("form-malformed", "no boundary")
    fields: dict[str, str] = {}
    size = 0
    while True:
        name, filename = _part_head(wire)
        if name == "file":
            return {**fields, "file": filename}
        value = b""
        while not (line := wire.readline()).startswith(b"--" + boundary):
            value += line
            size += len(line)
            if not line or size > MAX_FIELDS:
                raise Fault("form-malformed", "no file" if not line else "fields over 64 KiB")
        if name in fields or line.rstrip(b"\r\n").endswith(b"--"):
            raise Fault("form-malformed", f"{name[:64]} twice, or no file")
        fields[name] = value.removesuffix(b"\r\n").decode("utf-8", "replace")


def _part_head(wire: Wire) -> tuple[str, str]:
    message = Message()
    while (line := wire.readline()) not in (b"\r\n", b""):
        name, _, value = line.decode("utf-8", "replace").strip().partition(":")
        message[name] = value.strip()
    found = message.get_param("name", header="content-disposition")
    if not line or not isinstance(found, str):
        raise Fault("form-malformed", "a part without a name")
    return found.lower(), str(message.get_filename() or "")


def _up_to(wire: Wire, mark: bytes) -> Iterator[bytes]:
    held = b""
    while piece := wire.read(PIECE):
        held += piece
        at = held.find(mark)
        if at >= 0:
            wire.unread(held[at + len(mark) :])
            yield held[:at]
            return
        sure = max(0, len(held) - len(mark) + 1)  # the mark may begin in what is left
        yield held[:sure]
        held = held[sure:]
    raise Fault("form-malformed", "no closing boundary")


def _check_signature(
    fields: Mapping[str, str], endpoint: Endpoint, keys: Mapping[str, Identity], now: datetime
) -> tuple[Identity, str]:
    if fields.get("x-amz-algorithm") != HMAC:
        raise Fault("algorithm-unsupported", "expected AWS4-HMAC-SHA256")
    scope = fields.get("x-amz-credential", "").split("/")
    timestamp, signature = fields.get("x-amz-date", ""), fields.get("x-amz-signature", "")
    if len(scope) != 5 or scope[4] != "aws4_request" or HEX.fullmatch(signature) is None:
        raise Fault("authorization-malformed", "the credential or signature of a form")
    key_id, day, region, service, _ = scope
    if re.fullmatch(r"\d{8}T\d{6}Z", timestamp) is None or timestamp[:8] != day:
        raise Fault("scope-day")
    if service not in (endpoint.services or {"s3", "s3express"}):
        raise Fault("scope-service", service)
    if endpoint.region not in ("", region):
        raise Fault("scope-region", f"{region}, not {endpoint.region}")
    identity = keys.get(key_id)
    if identity is None:
        raise Fault("key-unknown", key_id[:32])
    _check_token(fields, identity, now)
    check = hmac_check(hmac_key(identity.secret, day, region, service))
    if not check(fields.get("policy", ""), signature):
        raise Fault("signature-wrong")
    return identity, region


def _check_token(fields: Mapping[str, str], identity: Identity, now: datetime) -> None:
    express = identity.kind == "express"
    token = fields.get("x-amz-s3session-token" if express else "x-amz-security-token")
    if identity.token is None and token is not None:
        raise Fault("token-unexpected", "a long-lived key has none")
    if identity.token is not None and token is None:
        raise Fault("token-missing")
    if token != identity.token:
        raise Fault("token-wrong")
    if identity.expires is not None and now >= identity.expires:
        raise Fault("token-expired")


def _check_policy(fields: Mapping[str, str], bucket: str, now: datetime) -> tuple[int, int]:
    """Check expiration and conditions; gives the least and the greatest size of the file."""
    try:
        policy = json.loads(base64.b64decode(fields.get("policy", ""), validate=True))
        until = datetime.fromisoformat(policy["expiration"])
        conditions = list(_flat(policy["conditions"]))
    except (ValueError, KeyError, TypeError, binascii.Error):
        raise Fault("form-policy-malformed") from None
    if now >= (until if until.tzinfo else until.replace(tzinfo=UTC)):
        raise Fault("form-expired")
    low, high, covered = 0, 5 * 1024**3, set(_FREE)
    values = {**fields, "bucket": bucket}
    for kind, name, value in conditions:
        if kind == "content-length-range":
            low, high = int(name), int(value)
            continue
        covered.add(name)
        has = values.get(name)
        if has is None or not (has == value if kind == "eq" else has.startswith(value)):
            raise Fault("form-condition", f"{kind} {name}")
    uncovered = sorted(n for n in fields if n not in covered and not n.startswith("x-ignore-"))
    if uncovered:
        raise Fault("form-field-uncovered", str(uncovered))
    return low, high


def _flat(conditions: list[Any]) -> Iterator[tuple[str, str, str]]:
    for condition in conditions:
        if isinstance(condition, dict):
            for name, value in condition.items():
                yield "eq", name.lower(), str(value)
            continue
        kind, name, value = condition
        kind = kind.lower()
        if kind not in ("eq", "starts-with", "content-length-range"):
            raise ValueError(kind)
        if kind == "content-length-range":
            yield kind, str(int(name)), str(int(value))
        else:
            yield kind, name.removeprefix("$").lower(), str(value)
