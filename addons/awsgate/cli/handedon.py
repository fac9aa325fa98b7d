"""Gateway credentials for a command, where the gateway here hands calls to another one.

Who may be what the gateway ahead says: it is asked for credentials as for any command with
a login there, so the choice, its table and its no are the same. What it gives is thrown
away: the gateway here asks again, with the same login, and keeps what it is given to
itself. The command gets credentials of the gateway here, which can be used nowhere else.
"""

from __future__ import annotations

import time

from awsgate.cli.choice import Choice
from awsgate.cli.durations import duration_of
from awsgate.cli.issuing import Issued, Wanted, mint_here
from awsgate.cli.no import No
from awsgate.cli.remote import asking
from awsgate.cli.where import ended
from awsgate.controlclient import ControlClient, IssuedAnswer
from awsgate.errors import SetupError
from awsgate.login import LoginFacts
from awsgate.loginstore import Stored
from awsgate.nextgateway import log_in
from awsgate.onward import connector_of
from awsgate.policy import Policy, UpstreamGateway
from awsgate.upstreamkeys import root_of, stored_login


def issue_handed_on(wanted: Wanted, rules: Policy, spec: UpstreamGateway) -> Issued:
    """Ask the gateway ahead, and mint here. Raises ``No`` and ``SetupError``."""
    stored = stored_login(spec)
    if stored is None:
        raise SetupError(
            f"calls go to the gateway at {spec.url}, and nobody is logged in there",
            hint=log_in(spec),
        )
    if stored.has_ended(time.time()):
        raise ended(stored)
    if wanted.user not in ("", stored.user):
        raise No(
            f"the login at {stored.gateway} is that of {stored.user}, not {wanted.user}",
            hints=[f"leave --user out, or log in as {wanted.user}: {stored.again()}"],
        )
    given = _chosen(stored, wanted)
    life_s = _life(wanted, rules, stored)
    facts = LoginFacts(stored.id, connector_of(spec))
    choice = Choice(stored.user, given.app, given.role_arn)
    return mint_here(wanted, rules, choice, life_s, facts)


def _chosen(stored: Stored, wanted: Wanted) -> IssuedAnswer:
    client = ControlClient(stored.gateway, root_of(stored), login=stored.login)
    with asking(stored):
        return client.credentials(
            app=wanted.app, role=wanted.role, ttl_s=0, read_only=wanted.read_only, max_requests=0
        )


def _life(wanted: Wanted, rules: Policy, stored: Stored) -> int:
    """Give the seconds for which to mint: not longer than the login, nor than is let here."""
    session = rules.gateway.session
    if wanted.ttl_s > session.max_ttl_s:
        most = duration_of(session.max_ttl_s)
        raise No(
            f"credentials of this gateway do not last {duration_of(wanted.ttl_s)}",
            hints=[f"at most {most}: spec.session.max_ttl of kind: gateway (--ttl {most})"],
        )
    left_s = stored.expires_at - int(time.time())
    return max(1, min(wanted.ttl_s or session.default_ttl_s, left_s))
