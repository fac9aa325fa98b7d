"""The sequence of one request, as pure functions: facts in, a plan or a refusal out.

    receive    wire -> target -> endpoint -> claim -> clock -> session -> scope
    authorise  signature over headers and body hash -> policy -> what goes along
    sign       strip the client's signature, sign as the assumed role (``outgoing``)

``receive`` and ``authorise`` fill a ``Review`` as they learn, so that a refused
request is audited with all that was known of it. Between ``authorise`` and ``sign``
stands the one thing that is not pure: fetching the role's credentials.

Who calls is read by ``caller``, what may pass unsigned by ``passage``, what a client
may ask STS for by ``chaining``, what of the gateway itself by ``orders``. No mitmproxy,
no clock, no I/O: ``addon`` and the tests drive the same code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol

from cachetools import LRUCache

from awsgate import approving, artefacts, caller, chaining, lockout, onward, orders, passage, wire
from awsgate.aws import action, unsigned
from awsgate.aws.call import Call, call_of, head_of
from awsgate.caller import Claim
from awsgate.errors import Code, Refusal
from awsgate.orders import Order
from awsgate.outgoing import Plan, account_of, make_plan
from awsgate.policy import (
    CallFacts,
    ChainedSpec,
    Decision,
    Lock,
    Policy,
    UpstreamGateway,
    decide,
    decide_federated,
    denied_by,
)
from awsgate.policy.decide import DENIED_CALL
from awsgate.policy.grants import NO_GRANTS, GrantBook
from awsgate.policy.handoff import NOTHING, Handoff, make_handoff
from awsgate.policy.locks import NO_LOCKS, LockBook
from awsgate.policy.standing import DENIED
from awsgate.proof import (
    announces_body,
    check_express,
    check_forwarded,
    check_partition,
    check_payload,
    check_port,
    check_scope,
    check_signature,
    find_target,
    payload_of,
)
from awsgate.review import Review as Review
from awsgate.review import denied, passed
from awsgate.session import OpenedSession, Session, check_time
from awsgate.standing import WORDS, View, Views, beyond, granted
from awsgate.tunnelpass import TunnelCaller


class OpenSession(Protocol):
    """Opens gateway credentials, or refuses them. ``now`` in epoch seconds."""

    def __call__(self, *, access_key_id: str, session_token: str, now: int) -> OpenedSession:
        """See ``session.open_session``."""
        ...


def _uncounted(_session: str) -> tuple[int, int]:
    return 1, 0


def _untallied(_session: str) -> int:
    raise Refusal(Code.GATEWAY_FAULT, "requests of these credentials are not counted here")


@dataclass(frozen=True, slots=True)
class Gate:
    """The rules in force. Immutable: a reload makes a new one."""

    policy: Policy
    open_session: OpenSession
    locks: LockBook = NO_LOCKS
    """Those of the state folder; the policy's own count as well."""
    grants: GrantBook = NO_GRANTS
    """Roles that users have for a while, beside those of the policy; calls that are approved."""
    count: Callable[[str], tuple[int, int]] = _uncounted
    """Counts one more request of a session: its requests with this one, its bytes so far."""
    tally: Callable[[str], int] = _untallied
    """Counts one more of a session that was issued for so many; all processes share it."""
    _books: tuple[LockBook, ...] = field(init=False, repr=False)
    _views: Views = field(init=False, repr=False, compare=False)
    _handoffs: LRUCache[tuple[object, ...], Handoff] = field(
        init=False, repr=False, compare=False, default_factory=lambda: LRUCache(4096)
    )
    """By rule, user and partition."""

    def __post_init__(self) -> None:
        # Indexed once a reload: a request must not pay for each lock.
        books = self.locks, LockBook(self.policy.locks.values())
        object.__setattr__(self, "_books", tuple(filter(None, books)))
        object.__setattr__(self, "_views", Views(self.policy))

    def lock_of(self, session: Session, now: datetime) -> Lock | None:
        """Give the lock that holds a session, of the state folder or of the policy."""
        return lockout.lock_of(self._books, self._view(session, now).policy, session, now)

    def lock_of_caller(self, caller: TunnelCaller, now: datetime) -> Lock | None:
        """Give the lock that holds whoever opened a tunnel."""
        policy = self._view(caller.proved, now).policy
        return lockout.lock_of_caller(self._books, policy, caller, now)

    def may_stay(self, session: Session, now: datetime) -> bool:
        """True if the user of a session may still be its role at all."""
        return lockout.may_stay(self._view(session, now).policy, session)

    def _view(self, session: Session, now: datetime) -> View:
        more = granted(self.grants, session, now) if self.grants else ()
        return self._views.of(session.user, session.login, more)

    def receive(self, review: Review, now: datetime) -> None:
        """Check everything that the headers alone can answer. Raises ``Refusal``."""
        facts, limits = review.facts, self.policy.gateway.limits
        # The host first, even before the wire rules: it decides the protocol in
        # which a refusal is written.
        find_target(review)
        review.headers = wire.check_wire(facts, max_header_bytes=limits.max_header_bytes)
        check_forwarded(review)
        if self._ahead is not None:
            onward.refuse_forwarded(facts)
        found = review.found
        check_port(review)
        self._find_action(review, b"")
        review.needs_body = found.service == "sts"
        review.claim = caller.read_claim(facts, review.headers, found, now)
        if orders.is_order(found, facts.target) and self._ahead is None:
            review.orders = True
            orders.check_head(facts, review.headers, found, review.claim)
        if review.claim is not None:
            self._open(review, review.claim, now)
        elif caller.may_be_form(facts, review.headers, found):
            review.needs_body = True
        elif not (unsigned.names_in_body(found) and not review.header(b"authorization")):
            self._find_passage(review)
        if review.claim is None:
            passage.check_fields(facts.target.partition(b"?")[2])
        self._find_call(review, None if announces_body(review) else b"", now)

    def authorise(self, review: Review, body: bytes | None, now: datetime) -> Plan:
        """Check the signature, then ask the policy. Raises ``Refusal``.

        ``body`` is the body if it is at hand; it must be where ``review.streams``
        is false, since the signature then covers its hash.
        """
        if review.endpoint is None:
            raise Refusal(Code.GATEWAY_FAULT, "request was not received before it was authorised")
        facts, found = review.facts, review.endpoint
        if review.claim is None and unsigned.names_in_body(found):
            passage.check_fields(body or b"")
        if review.claim is None and review.passage is None:
            self._identify_by_body(review, body, now)
        if review.session is not None:  # its body may have taken its time
            check_time(review.session, int(now.timestamp()))
        payload = check_signature(review, body) if review.passage is None else ""
        if body is not None:  # reading it costs more than the signature: not before that
            self._find_action(review, body)
            self._find_call(review, body, now)
        lock = self.lock_of(review.session, now) if review.session is not None else None
        if lock is not None:
            raise lockout.locked(lock)
        order = self._read_order(review, body or b"") if review.orders else None
        decision = review.decision = self._decide(review, now)
        if not decision.allowed:
            raise denied(review, decision)
        session = review.session
        issued = session.issued if session is not None else None
        check_partition(found, (issued.role_arn if issued else "") or decision.role_arn)
        plan = make_plan(
            facts,
            review.headers,
            review.claim if review.passage is None else None,
            found,
            payload=payload,
            role_arn=decision.role_arn,
            external_id=decision.external_id,
            user=decision.user,
            issued=issued,
            handoff=self._handoff(decision, found.partition, session),
        )
        if self._ahead is not None:
            plan = onward.onward(plan, self._ahead, session)
            if orders.is_order(found, facts.target):
                return plan
        if order is not None:
            return replace(plan, handoff=artefacts.narrowed(plan.handoff, order), order=order)
        return chaining.hold(
            plan,
            found,
            facts.target,
            review.call or Call(found.service),
            review.action,
            content_type=review.header(b"content-type"),
            body=body or b"",
            session=session,
            spec=self.policy.gateway.chained if self._ahead is None else _FREE,
            now=now,
        )

    @property
    def _ahead(self) -> UpstreamGateway | None:
        """Give the gateway that all calls are handed to, or None: this one decides."""
        return self.policy.gateway.upstream_gateway

    # --- steps of receive ------------------------------------------------------

    def _open(self, review: Review, claim: Claim, now: datetime) -> None:
        """Open the session of a claim, and check what it says of the request."""
        rules = self.policy.gateway.unsigned
        if passage.is_foreign(claim) and rules.foreign_presigned:
            passage.check_tokens(review.headers, claim)
            review.passage = passage.Passage.FOREIGN_PRESIGNED
            return
        review.payload = payload_of(review, claim)
        check_payload(review)
        opened = self.open_session(
            access_key_id=claim.access_key_id,
            session_token=claim.session_token,
            now=int(now.timestamp()),
        )
        review.session, review.secret = opened.session, opened.secret_access_key
        check_scope(claim, review.found)
        check_express(claim, opened.session, review.found)

    def _find_passage(self, review: Review) -> None:
        review.passage = passage.find_passage(
            review.facts,
            review.headers,
            review.found,
            review.action.partition(":")[2],
            self.policy.gateway.unsigned,
        )
        passage.check_tokens(review.headers)  # last: what may not pass is told that first

    def _find_action(self, review: Review, body: bytes) -> None:
        if not review.action:
            named = b"" if body else review.header(b"x-amz-target")
            review.action = action.action_of(
                review.found, target=review.facts.target, amz_target=named, body=body
            )

    def _find_call(self, review: Review, body: bytes | None, now: datetime) -> None:
        """Say what the request asks of AWS, and whether that stands in its body."""
        if review.orders:
            return  # nothing; what it stands for is known once its signature is proved
        if review.call is not None and review.read == body:
            return  # the body was known to be empty
        review.read = body
        facts, session, claim = review.facts, review.session, review.claim
        about: dict[str, Any] = {
            "signing_name": claim.service if claim is not None else "",
            "method": facts.method.decode("ascii"),
            "target": facts.target,
            "headers": review.headers,
            "account": account_of(review.role_arn),
        }
        if body is None and session is not None and not review.flows:
            resources = self._view(session, now).standings.restricts_resources(session.user)
            review.call, needed = head_of(review.found, resources=resources, **about)
            review.needs_body |= needed
        else:
            review.call = call_of(review.found, body=body, **about)

    # --- steps of authorise ------------------------------------------------------

    def _read_order(self, review: Review, body: bytes) -> Order:
        """Read what is ordered, and let the policy judge the call that it stands for."""
        session = review.session
        if session is None or not session.user:
            raise Refusal(
                Code.DENIED,
                "artefacts are made for users of this gateway, and these credentials are of none",
                detail="gateway/artefacts",
            )
        order = orders.read_order(
            body,
            review.found,
            account=account_of(review.role_arn),
            chained=session.issued is not None,
            spec=self.policy.gateway.artefacts,
        )
        review.call, review.also = order.call, order.also
        return order

    def _handoff(self, decision: Decision, partition: str, session: Session | None) -> Handoff:
        """Give what AssumeRole is told beside the role, by the rule that allows the call."""
        if session is None or session.issued is not None:
            return NOTHING
        about = (decision.rule, decision.user, session.login, partition)
        if about not in self._handoffs:
            role = self.policy.roles.get(decision.rule.removeprefix("role/"))
            user = self._views.of(session.user, session.login).policy.users.get(decision.user)
            if role is None or user is None:
                return NOTHING
            enforce = self.policy.gateway.mode == "enforce"
            made = make_handoff(role, user, partition=partition, enforce=enforce)
            self._handoffs[about] = made
        return self._handoffs[about]

    def _identify_by_body(self, review: Review, body: bytes | None, now: datetime) -> None:
        """Read who calls from the body: a POST form, or an unsigned STS call."""
        if body is None:
            raise Refusal(Code.GATEWAY_FAULT, "the body is needed to say who calls")
        if caller.may_be_form(review.facts, review.headers, review.found):
            review.claim = caller.read_form(review.facts, review.headers, review.found, body, now)
        if review.claim is not None:
            self._open(review, review.claim, now)
        else:
            self._find_action(review, body)
            self._find_passage(review)

    def _decide(self, review: Review, now: datetime) -> Decision:
        found, session = review.found, review.session
        if review.passage is not None:
            return passed(review.passage)
        if session is None:
            raise Refusal(Code.GATEWAY_FAULT, "request was not received before it was authorised")
        if self._ahead is not None:
            decision = onward.hands_on(self._ahead, session)
            return self._within_bounds(decision, session, self._call_facts(review, session, now))
        issued = session.issued
        if issued is not None and not session.user:
            return decide_federated(
                self.policy, role_arn=issued.role_arn, tenant_controlled=found.tenant_controlled
            )
        call = self._call_facts(review, session, now)
        view = self._view(session, now)
        decision = decide(
            view.policy,
            user=session.user,
            app=session.app,
            role_arn=session.role_arn,
            endpoint_service=found.service,
            tenant_controlled=found.tenant_controlled,
            call=call,
            standings=view.standings,
        )
        decision, waits = approving.settled(decision, self.grants, session, now)
        decision = self._within_bounds(decision, session, call)
        if not decision.allowed:
            return decision
        further = [arn for arn in session.role_arns if arn != session.role_arn]
        if rule := _denying(view.policy, session, further, call):
            return replace(decision, allowed=False, reason=DENIED, rule=rule)
        if review.also is not None:
            also = replace(call, call=review.also)
            if rule := _denying(view.policy, session, session.role_arns, also):
                return replace(decision, allowed=False, reason=f"{DENIED_CALL}: {rule}", rule=rule)
        return waits or decision

    def _within_bounds(self, decision: Decision, session: Session, call: CallFacts) -> Decision:
        """Hold a call that is allowed to what its credentials were asked for with."""
        bound = beyond(session.bounds, call.call, call.requests) if decision.allowed else ""
        if not bound:
            return decision
        return replace(decision, allowed=False, reason=WORDS[bound][0], rule=bound)

    def _call_facts(self, review: Review, session: Session, now: datetime) -> CallFacts:
        claim, found = review.claim, review.found
        regions = {found.region}
        if claim is not None:
            regions.update(name.strip() for name in (claim.region_set or claim.region).split(","))
        requests, moved = self.count(session.id)
        if session.bounds.max_requests:  # not that of a process
            requests = self.tally(session.id)
        return CallFacts(
            call=review.call or Call(found.service),
            regions=tuple(sorted(filter(None, regions))),
            client=review.facts.client,
            now=now,
            requests=requests,
            bytes=moved,
        )


def _denying(policy: Policy, session: Session, role_arns: Iterable[str], call: CallFacts) -> str:
    """Give the first deny rule that holds a call by one of the roles; empty: none does."""
    about: dict[str, Any] = {"user": session.user, "app": session.app, "call": call}
    rules = (denied_by(policy, role_arn=arn, **about) for arn in role_arns)
    return next(filter(None, rules), "")


# Who may be called what is said by the gateway ahead.
_FREE = ChainedSpec(role_session_name="free")
