"""Gateway credentials for a command, minted here: whoever reads the session key may mint.

The policy is asked first, so that nobody is handed credentials that would be refused. Where
a gateway is named, it is asked instead (``remote``); where the policy hands calls on to
one, that one says and credentials are minted here (``handedon``).
``Wanted`` is what a command was told, ``Issued`` what it got. What asking costs (the
policy, its models, the CA) is imported when it is done: see ``reuse``.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from awsgate.address import gateway_url
from awsgate.variables import Keys, Way

if TYPE_CHECKING:
    from awsgate.cli.choice import Choice
    from awsgate.login import LoginFacts
    from awsgate.policy import Policy
    from awsgate.session import GatewayCredentials, SessionKeys


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whose credentials, and out of which folders. Empty: what is clear."""

    user: str
    app: str
    role: str
    ttl_s: int
    """0: the policy's."""
    policy: Path
    state: Path
    certs: Path
    make_ca: bool = True
    """Off for a folder that was named: a CA that no gateway signs with is of no use."""
    gateway: str = ""
    """URL of the gateway to ask, with the login there; empty: the policy here says."""
    read_only: bool = False
    max_requests: int = 0
    """0: as many as the policy lets it."""


@dataclass(frozen=True, slots=True)
class Issued:
    """Credentials, whom they are for, and the way to the gateway."""

    user: str
    app: str
    role_arn: str
    keys: Keys = field(repr=False)
    life_s: int
    listen: str
    """``spec.listen`` of the policy; empty: ``proxy`` says."""
    bundle: str
    root: str
    tls: bool = False
    """Clients speak TLS to the proxy itself."""
    proxy: str = ""
    proxy_user: str = field(default="", repr=False)
    """``key:password`` for a proxy that wants to know its caller, ready for a URL."""

    def way(self, proxy: str, region: str) -> Way:
        """Give the way to the gateway; ``proxy`` is empty for where it listens."""
        url = proxy or self.proxy or gateway_url(self.listen, tls=self.tls)
        if self.proxy_user:
            scheme, _, rest = url.partition("://")
            url = f"{scheme}://{self.proxy_user}@{rest}"
        return Way(url, self.bundle, self.root, region)

    def half_left(self, now: float) -> bool:
        """True while more than half of the life is left."""
        return self.keys.expires_at - now > self.life_s / 2


def issue(wanted: Wanted, rules: Policy | None = None) -> Issued:
    """Ask the policy, and mint. Raises ``No`` and ``SetupError``.

    ``rules`` is what ``wanted.policy`` holds, where it was read already.
    """
    if wanted.gateway:
        from awsgate.cli.remote import issue_remotely

        return issue_remotely(wanted)
    from awsgate.cli.choice import choose, default_user
    from awsgate.cli.granted import with_grants
    from awsgate.policyfile import load_policy

    if rules is None:
        rules = load_policy(wanted.policy)
    if rules.gateway.upstream_gateway is not None:
        from awsgate.cli.handedon import issue_handed_on

        return issue_handed_on(wanted, rules, rules.gateway.upstream_gateway)
    rules = with_grants(rules, wanted.user or default_user(rules), wanted.state)
    choice = choose(rules, wanted.user, wanted.app, wanted.role)
    return mint_here(wanted, rules, choice, _life_s(wanted, rules, choice))


def mint_here(
    wanted: Wanted, rules: Policy, choice: Choice, life_s: int, login: LoginFacts | None = None
) -> Issued:
    """Mint what somebody may have. Raises ``SetupError``."""
    import secrets
    from datetime import UTC, datetime

    from awsgate.aws.partitions import all_suffixes
    from awsgate.ca import ensure_ca
    from awsgate.cli.places import existing_ca
    from awsgate.session import ENTROPY_BYTES, Bounds, mint
    from awsgate.state import open_state

    if not wanted.make_ca:
        existing_ca(wanted.certs)
    session_keys = open_state(wanted.state).session_keys
    minted = mint(
        session_keys,
        user=choice.user,
        app=choice.app,
        role_arn=choice.role_arn,
        ttl_s=life_s,
        now=int(time.time()),
        entropy=secrets.token_bytes(ENTROPY_BYTES),
        login=login,
        bounds=Bounds(wanted.read_only, wanted.max_requests),
    )
    ca = ensure_ca(wanted.certs, suffixes=all_suffixes(), now=datetime.now(UTC))
    return Issued(
        user=choice.user,
        app=choice.app,
        role_arn=choice.role_arn,
        keys=Keys(
            minted.access_key_id,
            minted.secret_access_key,
            minted.session_token,
            minted.expires_at,
        ),
        life_s=life_s,
        listen=rules.gateway.listen,
        bundle=str(ca.bundle),
        root=str(ca.root_cert),
        tls=rules.gateway.tls,
        proxy_user=_proxy_user(rules, session_keys, minted),
    )


def _life_s(wanted: Wanted, rules: Policy, choice: Choice) -> int:
    """Give how long credentials are to live. Raises ``No`` if that is longer than they may."""
    from awsgate.cli.durations import duration_of
    from awsgate.cli.no import No
    from awsgate.policy import ttl_limit

    limit = ttl_limit(rules, choice.user, choice.app, choice.role_arn)
    most = limit.seconds
    if wanted.ttl_s > most:
        role = wanted.role or choice.role_arn
        raise No(
            f"{choice.user} may not have {role} in {choice.app} for {duration_of(wanted.ttl_s)}",
            hints=[f"at most {duration_of(most)}: {limit.because} (--ttl {duration_of(most)})"],
        )
    return wanted.ttl_s or min(rules.gateway.session.default_ttl_s, most)


def _proxy_user(rules: Policy, keys: SessionKeys, minted: GatewayCredentials) -> str:
    """Give what tunnels know their caller by, where they want to."""
    if rules.gateway.tunnels.callers != "known":
        return ""
    import secrets

    from awsgate.session import open_session
    from awsgate.tunnelpass import ENTROPY_BYTES, mint_tunnel_pass

    opened = open_session(
        keys,
        access_key_id=minted.access_key_id,
        session_token=minted.session_token,
        now=int(time.time()),
    )
    entropy = secrets.token_bytes(ENTROPY_BYTES)
    password = mint_tunnel_pass(keys, opened.session, entropy=entropy)
    return f"{minted.access_key_id}:{quote(password, safe='')}"
