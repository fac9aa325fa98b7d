"""The locks of a gateway where one is logged in as an admin: set, taken away and listed there."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from awsgate.cli.bounded import check_unbounded
from awsgate.cli.checking import bad_parameter
from awsgate.cli.no import saying_no
from awsgate.cli.remote import ControlClient, asking, client_at
from awsgate.controlclient import ControlError
from awsgate.errors import SetupError
from awsgate.loginstore import Stored

_NOT_FOUND = 404


def _admin_at(url: str) -> tuple[Stored, ControlClient]:
    """Give the login, and what asks with it. Raises ``No`` beside credentials for less."""
    check_unbounded("the login may")
    return client_at(url)


def add(url: str, target: Mapping[str, str], *, name: str, reason: str, ttl_s: int) -> str:
    """Set a lock, and give its name. Ends the program with the gateway's no."""
    asked = {"target": dict(target), "name": name, "message": reason, "ttl_s": ttl_s}
    with saying_no():
        stored, client = _admin_at(url)
        with asking(stored):
            return str(client.add_lock(asked).get("name", name))


def remove(url: str, name: str) -> bool:
    """Take a lock away. False: there is none of that name."""
    with saying_no():
        stored, client = _admin_at(url)
        with asking(stored):
            try:
                client.remove_lock(name)
            except ControlError as no:
                if no.status == _NOT_FOUND:
                    return False
                raise
    return True


def rows(url: str) -> list[dict[str, Any]]:
    """Give the locks, each as ``awsgate lock ls --json`` has it."""
    with saying_no():
        stored, client = _admin_at(url)
        with asking(stored):
            found = client.locks()
    try:
        return [_row(lock) for lock in found]
    except (KeyError, TypeError, AttributeError):
        raise SetupError(f"what {stored.gateway} says of its locks cannot be read") from None


def _row(lock: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": str(lock["name"]),
        "target": {str(k): str(v) for k, v in lock["target"].items()},
        "message": str(lock["message"]),
        "expires": None if lock["expires"] is None else str(lock["expires"]),
        "in_force": lock["in_force"] is True,
        "created": str(lock["created"]),
        "by": str(lock["by"]),
        **({"source": str(lock["source"])} if "source" in lock else {}),
    }


def seconds_until(expires: str, now: datetime) -> int:
    """Give how long it is until then; 0: for good. Raises ``typer.BadParameter``."""
    if not expires:
        return 0
    try:
        ends = datetime.fromisoformat(expires)
    except ValueError:
        raise bad_parameter(f"{expires!r} is not like 2026-12-24T18:00:00Z") from None
    left = int((ends.replace(tzinfo=ends.tzinfo or UTC) - now).total_seconds())
    if left <= 0:
        raise bad_parameter(f"{expires} is over")
    return left
