"""What can be seen of a login: whose it is, until when, and what its gateway says of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from awsgate.cli.remote import client_at
from awsgate.controlclient import ControlError, login_is_over
from awsgate.errors import SetupError
from awsgate.loginstore import Stored
from awsgate.timestamps import utc_seconds


@dataclass(slots=True)
class SeenLogin:
    """A login, never its token."""

    gateway: str
    user: str
    connector: str
    id: str
    ends: str
    ends_in_s: int
    proxy: str
    roles: list[str] = field(default_factory=list)
    version: str = ""
    """Of the gateway; empty: it does not answer."""


def look_at(stored: Stored, now: datetime) -> tuple[SeenLogin, list[str]]:
    """Look at a login, and ask its gateway; give what was seen, and what is wrong."""
    seen = SeenLogin(
        *(stored.gateway, stored.user, stored.connector, stored.id),
        ends=utc_seconds(datetime.fromtimestamp(stored.expires_at, UTC)),
        ends_in_s=stored.expires_at - int(now.timestamp()),
        proxy=stored.proxy,
    )
    if stored.has_ended(now.timestamp()):
        return seen, [f"the login has ended: {stored.again()}"]
    try:
        _, client = client_at(stored.gateway)
        seen.version = str(client.ping().get("version", ""))
        seen.roles = [str(role) for role in client.whoami().get("roles") or ()]
    except ControlError as no:
        more = f": {stored.again()}" if login_is_over(no) else ""
        return seen, [f"the gateway does not take the login: {no.message}{more}"]
    except SetupError as exc:
        return seen, [f"{exc.message} ({exc.hint})" if exc.hint else exc.message]
    return seen, []
