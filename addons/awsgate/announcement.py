"""What a gateway says on standard error: that it runs, with what, and what is amiss."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from awsgate.ca import CertificateAuthority
from awsgate.policy import Policy


def say(*lines: str) -> None:
    """Write lines, each as awsgate's own."""
    sys.stderr.write("".join(f"awsgate: {line}\n" for line in lines))
    sys.stderr.flush()


def counted(policy: Policy) -> str:
    """Give how much a policy holds, for a person."""
    return f"{len(policy.users)} users, {len(policy.roles)} roles, {len(policy.apps)} apps"


def warned_of(missing: Iterable[str]) -> list[str]:
    """Give a line for each way in which the gateway has no AWS credentials."""
    return [f"warning: no AWS credentials: {text}" for text in missing]


def announcement(
    listening: str,
    policy: Policy,
    *,
    at: Path,
    ca: CertificateAuthority,
    audit: Path,
    metrics: str,
    control: str = "",
    warnings: Iterable[str],
) -> list[str]:
    """Give the lines that say that a gateway runs; ``at`` is where its policy is."""
    return [
        f"listening on {listening}",
        f"policy {at}: {counted(policy)}",
        *_handed_on(policy),
        f"CA {ca.root_cert}, until {ca.not_after:%Y-%m-%d}",
        f"audit {audit}",
        f"metrics {metrics or 'off'}",
        *([f"control API {control}"] if control else []),
        *(f"warning: {text}" for text in warnings),
    ]


def _handed_on(policy: Policy) -> list[str]:
    ahead = policy.gateway.upstream_gateway
    return [] if ahead is None else [f"all calls go to the gateway at {ahead.url}, which decides"]
