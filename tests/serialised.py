"""Every operation of botocore, as botocore itself puts it on the wire.

``serialised`` gives each with what is required, ``serialised(..., full=True)`` with all
optional members too. Texts take turns: plain ones, ARNs, and what has to be encoded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import botocore.session
from botocore.model import ServiceModel, Shape
from botocore.serialize import create_serializer

from awsgate.aws.endpoint import Endpoint, resolve_endpoint

REGION = "us-east-1"
TEXTS = (
    "Zq9 é+/%x",
    "arn:aws:iam::123456789012:role/a/b-c_d",
    "a&b=c?d#e",
    "plain-1.2_3~",
    "%2F%2f%00x",
    "日本語 \"'<>",
)
SESSION = botocore.session.get_session()
LOADER = SESSION.get_component("data_loader")
RESOLVER = SESSION.get_component("endpoint_resolver")


@dataclass(frozen=True, slots=True)
class Wire:
    """One operation in one protocol."""

    service: str
    operation: str
    protocol: str
    endpoint: Endpoint
    signing_name: str
    method: str
    target: bytes
    headers: dict[bytes, list[bytes]]
    body: bytes


def service_names() -> list[str]:
    """Give the names of all service models."""
    return list(LOADER.list_available_services("service-2"))


def serialised(service: str, *, full: bool = False) -> Iterator[Wire]:
    """Give every operation of a service, in each of its protocols, with generated values."""
    raw = LOADER.load_service_model(service, "service-2")
    meta = raw["metadata"]
    signing = meta.get("signingName") or meta["endpointPrefix"]
    endpoint = endpoint_of(service, meta["endpointPrefix"], signing)
    for protocol in meta.get("protocols") or [meta["protocol"]]:
        # botocore's serialiser reads the protocol from the model, not from its caller.
        told = {**raw, "metadata": {**meta, "protocol": protocol, "protocols": [protocol]}}
        model = ServiceModel(told, service)
        serializer = create_serializer(protocol, include_validation=False)
        for number, name in enumerate(model.operation_names):
            operation = model.operation_model(name)
            place = endpoint
            if name == "ListDirectoryBuckets":  # the one operation of S3 that is elsewhere
                place = resolve_endpoint(f"s3express-control.{REGION}.amazonaws.com") or endpoint
            values = Values(TEXTS[(number + len(service)) % len(TEXTS)], full=full)
            params = values.of(operation.input_shape) if operation.input_shape else {}
            if service in ("s3", "s3control") and "Bucket" in params:
                params["Bucket"] = "a-bucket.of-1"
            made = serializer.serialize_to_request(params, operation)
            yield _wire(service, operation.name, protocol, place, signing, made)


def endpoint_of(service: str, prefix: str, signing: str) -> Endpoint:
    """Give the endpoint as the gateway knows it; where it has none, one that is made up."""
    known = RESOLVER.construct_endpoint(service, REGION) or {}
    for host in (
        f"{prefix}.{REGION}.amazonaws.com",
        known.get("hostname"),
        f"{prefix}.amazonaws.com",
    ):
        found = resolve_endpoint(host) if host else None
        if found is not None and signing in found.signing_names:
            return found
    host = f"{prefix.lower()}.{REGION}.amazonaws.com"
    return Endpoint(host, signing, (signing,), REGION, (REGION,), "aws", "")


def _wire(
    service: str, operation: str, protocol: str, endpoint: Endpoint, signing: str, made: Any
) -> Wire:
    query = made["query_string"]
    if isinstance(query, dict):
        pairs = [(k, v) for k, vs in query.items() for v in (vs if isinstance(vs, list) else [vs])]
        query = "&".join(f"{quote(str(k), safe='')}={quote(str(v), safe='')}" for k, v in pairs)
    path, _, inner = made["url_path"].partition("?")
    query = "&".join(part for part in (inner, query) if part)
    body = made["body"]
    if isinstance(body, dict):
        body = "&".join(f"{quote(k, safe='')}={quote(str(v), safe='')}" for k, v in body.items())
    if isinstance(body, str):
        body = body.encode()
    headers = {str(k).lower().encode(): [str(v).encode()] for k, v in made["headers"].items()}
    return Wire(
        service, operation, protocol, endpoint, signing, made["method"],
        (urlsplit(path).path + (f"?{query}" if query else "")).encode(), headers,
        body if isinstance(body, bytes) else b"",
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Values:
    """Makes values of shapes: what is required, or at the top all; enums have their first."""

    text: str
    full: bool

    def of(self, shape: Shape, depth: int = 0) -> Any:
        """Give a value of a shape."""
        kind = shape.type_name
        if kind == "structure":
            return self._structure(shape, depth)
        if kind == "list":
            return [self.of(shape.member, depth + 1)] if depth < 6 else []  # type: ignore[attr-defined]
        if kind == "map":
            key, value = shape.key, shape.value  # type: ignore[attr-defined]
            return {self.of(key): self.of(value, depth + 1)} if self.full and depth < 3 else {}
        if kind == "string":
            enum = getattr(shape, "enum", ())
            least = int(shape.metadata.get("min", 1))
            return enum[0] if enum else self.text.ljust(least, "z")
        if kind in ("integer", "long"):
            return int(shape.metadata.get("min", 7))
        if kind in ("double", "float", "bigdecimal"):
            return 1.5
        if kind == "timestamp":
            return "2026-11-24T00:00:00Z"
        return True if kind == "boolean" else b"blob"

    def _structure(self, shape: Any, depth: int) -> dict[str, Any]:
        wanted = list(shape.required_members) if depth < 6 else []
        if self.full and depth == 0:
            wanted = list(shape.members)
        return {
            name: "abc123"
            if shape.members[name].serialization.get("hostLabel")
            else self.of(shape.members[name], depth + 1)
            for name in wanted
        }
