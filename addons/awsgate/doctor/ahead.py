"""The login at the gateway ahead, where calls are handed to one: in place of AWS's keys."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from awsgate.doctor.finding import Finding, Group, fault, ok
from awsgate.errors import SetupError
from awsgate.nextgateway import log_in
from awsgate.policy import UpstreamGateway
from awsgate.timestamps import utc_seconds
from awsgate.upstreamkeys import root_of, stored_login

_WHY = "its gateway signs for AWS; without a login there every call is session-expired"


def check_ahead(spec: UpstreamGateway, now: float) -> Iterator[Finding]:
    """Give what there is to say of the stored login. Asks nobody, and no keyring."""
    try:
        stored = stored_login(spec, with_login=False)
        if stored is not None:
            root_of(stored)
    except SetupError as exc:
        yield fault(Group.AWS, "ahead-unreadable", exc.message, _WHY, exc.hint or log_in(spec))
        return
    if stored is None:
        yield fault(
            Group.AWS, "ahead-no-login", f"nobody is logged in at {spec.url}", _WHY, log_in(spec)
        )
    elif stored.has_ended(now):
        yield fault(
            Group.AWS,
            "ahead-login-ended",
            f"the login of {stored.user} at {stored.gateway} has ended",
            _WHY,
            stored.again(),
        )
    else:
        until = utc_seconds(datetime.fromtimestamp(stored.expires_at, UTC))
        yield ok(
            Group.AWS,
            "ahead-login",
            f"calls go to {spec.url} as {stored.user}, whose login lasts until {until}",
        )
