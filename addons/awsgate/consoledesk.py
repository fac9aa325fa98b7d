"""Signs a user in to the console of AWS: decides, assumes the role, asks for a token. Blocks.

What the browser then does, the gateway neither sees nor stops: AWS alone holds it to the
role, and to the session policy that the role of the policy hands on. So a console session
is decided as a call of which nothing is known (``policy.conditions``): a rule that looks at
actions, resources or regions, or that counts requests, opens no console, and a deny rule
about any call closes it.

Used by the command line where the state folder is, and by the control API for its users.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from awsgate.auditline import AuditRecord
from awsgate.aws import signin
from awsgate.aws.call import Call
from awsgate.credentials import Assumer, RoleRequest
from awsgate.errors import Code, Refusal
from awsgate.federation import Federation
from awsgate.policy import CallFacts, Decision, Policy, decide, ttl_limit
from awsgate.policy.fields import account_and_partition
from awsgate.policy.handoff import NOTHING, Handoff, make_handoff
from awsgate.policy.standing import Known
from awsgate.session import session_name_for
from awsgate.sts import sts_region

EVENT = "console"
_COUNTLESS = 1 << 62


class ConsoleAssumer(Assumer, Protocol):
    """One that knows whether AWS will chain the roles that it assumes."""

    def chains(self, account: str) -> bool:
        """True if awsgate's own keys for an account are those of a role already."""
        ...


@dataclass(frozen=True, slots=True)
class Wanted:
    """Who wants to sign in as what, and where to land. Empty: what the app says."""

    user: str
    app: str
    role_arn: str
    service: str = ""
    region: str = ""
    destination: str = ""
    """A page of the console; with it ``service`` is not looked at."""
    duration_s: int = 0
    """0: as long as may be."""
    login_ends_in_s: int | None = None
    client: str = ""
    issuer: str = ""
    """Where AWS sends a person whose session has ended."""


@dataclass(frozen=True, slots=True)
class SignedIn:
    """The way in, and what it is worth."""

    url: str = field(repr=False)
    """Whoever opens it is the user."""
    switching_url: str = field(repr=False)
    """The same, after a sign-out: AWS takes one account a browser at a time."""
    page: str
    seconds: int
    because: str
    """Whose limit that is."""
    rule: str
    account: str
    access_key_id: str
    session_name: str
    source_identity: str


class ConsoleDesk:
    """``policy`` is given with each question: that of the user's login."""

    def __init__(
        self,
        assumer: ConsoleAssumer,
        federation: Federation,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._assumer, self._federation, self._clock = assumer, federation, clock

    def look(self, policy: Policy, wanted: Wanted, standings: Known | None = None) -> Decision:
        """Say whether the policy lets somebody in, and why not.

        ``standings`` are those of ``policy`` where they are known: for who looks at many.
        """
        return decide(
            policy,
            user=wanted.user,
            app=wanted.app,
            role_arn=wanted.role_arn,
            endpoint_service="signin",
            tenant_controlled=False,
            call=CallFacts(
                call=Call("signin"),
                regions=("*",),  # a browser can go to any
                client=wanted.client,
                now=datetime.fromtimestamp(self._clock(), UTC),
                requests=_COUNTLESS,
                bytes=_COUNTLESS,
            ),
            standings=standings,
        )

    def sign_in(self, policy: Policy, wanted: Wanted) -> SignedIn:
        """Give the way in. Raises ``Refusal``; locks are the caller's business."""
        app = policy.apps.get(wanted.app)
        found = signin.console_of(app.spec.uri) if app is not None else None
        decision = self.look(policy, wanted)
        if not decision.allowed:
            raise _denied(wanted, decision)
        if app is None or found is None:
            raise _unsupported(f"the app {wanted.app} is no console: its uri names none")
        console, region = found
        region = wanted.region or region
        try:
            page = _page(console, wanted, region, app.spec.uri)
            # Asked for and used at a regional host: the other one is no place to go on to.
            host = console.regional_host(region)
            limit = ttl_limit(
                policy,
                wanted.user,
                wanted.app,
                wanted.role_arn,
                login_ends_in_s=wanted.login_ends_in_s,
            )
            lasting = signin.duration(
                chained=self._assumer.chains(decision.account),
                limit_s=limit.seconds,
                because=limit.because,
                asked_s=wanted.duration_s,
            )
        except ValueError as exc:
            raise _unsupported(f"no console session: {exc}") from None
        request = self._request(policy, wanted, decision, console, region, lasting)
        keys = self._assumer.assume(request)
        token = self._federation.token(host, keys.signing_keys(), lasting.signin_s)
        url = signin.login_url(host, token, page=page, issuer=wanted.issuer)
        return SignedIn(
            url=url,
            switching_url=signin.switching_url(console, region, url),
            page=page,
            seconds=lasting.seconds,
            because=lasting.because,
            rule=decision.rule,
            account=decision.account,
            access_key_id=keys.access_key_id,
            session_name=request.session_name,
            source_identity=request.handoff.source_identity,
        )

    def _request(
        self,
        policy: Policy,
        wanted: Wanted,
        decision: Decision,
        console: signin.Console,
        region: str,
        lasting: signin.Duration,
    ) -> RoleRequest:
        _, partition = account_and_partition(wanted.role_arn) or ("", "")
        return RoleRequest(
            role_arn=wanted.role_arn,
            session_name=session_name_for(wanted.user),
            external_id=decision.external_id,
            region=sts_region(
                region or console.home, partition, regional=policy.gateway.sts.regional
            ),
            partition=partition,
            duration_s=lasting.assume_s,
            account=decision.account,
            handoff=_handoff(policy, decision, partition),
        )


def record_of(wanted: Wanted, became: SignedIn | Refusal) -> AuditRecord:
    """Give the audit line of an attempt, but for its time and id. No URL or token is in it."""
    record = AuditRecord(
        event=EVENT,
        user=wanted.user,
        app=wanted.app,
        role_arn=wanted.role_arn,
        account=wanted.role_arn.split(":")[4],
        service="signin",
        region=wanted.region,
    )
    if isinstance(became, Refusal):
        record.decision, record.code, record.reason = "refused", became.code.value, became.message
        record.rule = became.detail if became.detail.startswith(("role/", "lock/")) else ""
        return record
    record.decision, record.rule = "allowed", became.rule
    record.access_key_id, record.session_name = became.access_key_id, became.session_name
    record.source_identity = became.source_identity
    return record


def _handoff(policy: Policy, decision: Decision, partition: str) -> Handoff:
    role = policy.roles.get(decision.rule.removeprefix("role/"))
    user = policy.users.get(decision.user)
    if role is None or user is None:
        return NOTHING
    enforce = policy.gateway.mode == "enforce"
    return make_handoff(role, user, partition=partition, enforce=enforce)


def _page(console: signin.Console, wanted: Wanted, region: str, uri: str) -> str:
    if wanted.destination:
        return signin.checked_destination(console, wanted.destination)
    own = uri if wanted.region == "" else ""
    return signin.destination(console, region=region, service=wanted.service, uri=own)


def _denied(wanted: Wanted, decision: Decision) -> Refusal:
    hint = "awsgate console without --role shows the roles you may choose from"
    if decision.about_call:
        hint = (
            "a browser's calls are not seen by the gateway: a role that restricts calls opens no "
            "console; ask the operator for one that does not"
        )
    return Refusal(
        Code.DENIED,
        f"{wanted.user} may not sign in to the console as {wanted.role_arn}: {decision.reason}",
        hint=hint,
        detail=decision.rule,
    )


def _unsupported(message: str) -> Refusal:
    return Refusal(Code.UNSUPPORTED, message)
