"""Locks for tests."""

from __future__ import annotations

from datetime import datetime

from awsgate.policy.resources import Lock


def lock(
    name: str = "one",
    *,
    expires: datetime | str | None = None,
    message: str = "",
    **target: str | None,
) -> Lock:
    """Give a lock that ada made, on all of ``target``."""
    metadata = {"name": name, "labels": {"by": "ada"}}
    spec = {"target": target, "message": message, "expires": expires}
    return Lock.model_validate(
        {"kind": "lock", "version": "v2", "metadata": metadata, "spec": spec}
    )
