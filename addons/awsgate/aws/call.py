"""The AWS call that a request makes: operation, IAM actions, level, resources. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from awsgate.aws.action import action_of
from awsgate.aws.endpoint import Endpoint

type AccessLevel = Literal["Read", "List", "Write", "Tagging", "Permissions management"]


@dataclass(frozen=True, slots=True)
class Call:
    """What a request asks of AWS, as far as it can be told."""

    service: str
    """IAM prefix; the endpoint's service where the operation is not known."""
    operation: str = ""
    """API operation; empty: not known."""
    actions: tuple[str, ...] = ()
    """IAM actions, the main one first; empty: not known."""
    access_level: AccessLevel = "Write"
    resources: tuple[str, ...] = ()
    """ARNs; empty: they cannot be derived."""

    @property
    def name(self) -> str:
        """Give ``service:operation``; empty if the operation is not known."""
        return f"{self.service}:{self.operation}" if self.operation else ""


def call_of(
    endpoint: Endpoint,
    *,
    signing_name: str,  # noqa: ARG001
    method: str,  # noqa: ARG001
    target: bytes,
    headers: Mapping[bytes, Sequence[bytes]],
    body: bytes | None,
    account: str,  # noqa: ARG001
) -> Call:
    """Give the call of a request. Total. ``body`` None: not at hand."""
    amz_target = (headers.get(b"x-amz-target") or [b""])[0]
    name = action_of(endpoint, target=target, amz_target=amz_target, body=body or b"")
    return Call(endpoint.service, name.partition(":")[2])


def needs_body(
    endpoint: Endpoint,
    *,
    signing_name: str,  # noqa: ARG001
    method: str,
    target: bytes,  # noqa: ARG001
    headers: Mapping[bytes, Sequence[bytes]],  # noqa: ARG001
    resources: bool,  # noqa: ARG001
) -> bool:
    """True if the operation stands in the body, or with ``resources`` the resource."""
    return method == "POST" and endpoint.protocol in ("query", "ec2")
