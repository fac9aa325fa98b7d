"""Access requests as people use them: ask, look, answer, take back. For the API and the CLI.

And as calls use them that need an approval: each asks for itself, once.

Each is judged by the policy in force, recorded before it counts, and told to the webhook
after. What cannot be recorded does not happen.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from awsgate.audit import AuditRecord
from awsgate.policy import Policy
from awsgate.policy.accessrequest import (
    LIVE,
    MAX_TEXT_CHARS,
    AccessRequest,
    NotNow,
    Review,
    State,
    asked,
    asked_for,
    reviewed,
    revoked,
    same_person,
)
from awsgate.policy.approvals import AskedCall, Need
from awsgate.policy.grants import GrantBook
from awsgate.policy.requests import Terms, may_review, terms_for
from awsgate.policy.rules import RoleSpec
from awsgate.policy.standing import roles_of
from awsgate.requestlines import CREATE as CREATE
from awsgate.requestlines import ENDED, GRANTED, line
from awsgate.requestlines import REVIEW as REVIEW
from awsgate.requestplace import RequestPlace
from awsgate.requestwords import (
    became,
    described_call,
    how_long,
    in_words,
    said,
    slack_text,
    what,
    whose,
)
from awsgate.requestwords import described_terms as described_terms
from awsgate.timestamps import utc_seconds_of

if TYPE_CHECKING:
    from awsgate.requeststore import RequestStore

_ID = re.compile(r"ar-[0-9a-f]{10}")
MAX_OPEN = 20
"""Requests of one user that wait or are granted."""
DAY_S, MAX_A_DAY = 24 * 3600, 500
"""Requests of one user within a day, whatever became of them: else who asks and takes back
without end fills the database, and everybody's lists."""


class NotDone(Exception):
    """What was asked for is not done. ``code`` is stable."""

    def __init__(self, code: str, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.code, self.message, self.hint = code, message, hint


NOT_REQUESTABLE, NOT_REVIEWER = "not-requestable", "not-reviewer"
NO_SUCH, NOT_NOW, EXISTS, TOO_MANY = "not-found", "not-now", "exists", "too-many"


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, with the policy as it is for them."""

    user: str
    connector: str
    policy: Policy
    is_admin: bool = False
    """May see all requests, and take any back."""
    is_operator: bool = False
    """Has the gateway's state folder at hand: may answer whatever the roles say."""
    client: str = ""
    login: str = ""

    @property
    def rules(self) -> list[RoleSpec]:
        """Give the rules of the asker's roles."""
        who = self.policy.users.get(self.user)
        return [] if who is None else [role.spec for role in roles_of(self.policy, who)]

    def may_review(self, request: AccessRequest) -> bool:
        """True if the asker's roles, or the place they ask from, let them answer it."""
        return self.is_operator or may_review(self.rules, request.role)

    def may_see(self, request: AccessRequest) -> bool:
        """True if it is theirs, or theirs to answer."""
        return self.is_admin or self.owns(request) or self.may_review(request)

    def owns(self, request: AccessRequest) -> bool:
        """True if it is theirs."""
        return (request.user, request.connector) == (self.user, self.connector)


class Asking:
    """The requests of one gateway. Any thread may ask.

    All raise ``NotDone``, and ``SetupError`` if the database does not answer.
    """

    def __init__(
        self,
        place: RequestPlace,
        *,
        record: Callable[[AuditRecord], None],
        count: Callable[[str], None],
        tell: Callable[[str], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``record`` writes an audit line, or raises what keeps the thing from being done."""
        self.place = place
        self._record, self._count, self._tell, self._clock = record, count, tell, clock

    def requestable(self, asker: Asker) -> list[tuple[str, Terms]]:
        """Give the roles of the policy that the asker may ask for and has not, with the terms."""
        rules, who = asker.rules, asker.policy.users.get(asker.user)
        has = who.spec.roles if who is not None else ()
        names = sorted(set(asker.policy.roles) - set(has))
        return [(name, terms) for name in names if (terms := terms_for(rules, name)) is not None]

    def create(self, asker: Asker, role: str, *, reason: str, duration_s: int) -> AccessRequest:
        """Ask for a role."""
        terms = terms_for(asker.rules, role) if role in asker.policy.roles else None
        if terms is None:
            some = ", ".join(name for name, _ in self.requestable(asker)[:10])
            raise NotDone(
                NOT_REQUESTABLE,
                f"{asker.user} may not ask for {role[:255]!r}",
                hint=f"to ask for: {some}" if some else "the policy lets this user ask for no role",
            )
        if role in asker.policy.users[asker.user].spec.roles:
            raise NotDone(EXISTS, f"{asker.user} has the role {role} already")
        now = int(self._clock())
        try:
            request = asked(
                _new_id(),
                asker.user,
                asker.connector,
                role,
                terms=terms,
                reason=_bounded(reason),
                duration_s=duration_s,
                now=now,
            )
        except NotNow as exc:
            raise NotDone(NOT_NOW, str(exc), hint="see the terms: awsgate request roles") from None

        def check(mine: list[AccessRequest]) -> None:
            for one in mine:
                same = one.call is None and one.role == role
                if same and one.state_at(now) is State.PENDING:
                    raise NotDone(EXISTS, f"{one.id} asks for {role} already")

        on_terms = f"for {how_long(request)}{said(reason)}"
        self._add(
            asker,
            request,
            check,
            noted=f"asked {on_terms}",
            told=f"asks for {what(request)} {on_terms}",
        )
        return request

    def ask_for_call(self, asker: Asker, need: Need) -> AskedCall:
        """Ask for a call, unless that has been done: give what has become of it.

        At all gateways of one database it is asked for once.
        """
        now, store = int(self._clock()), self.place.store()

        def known() -> AskedCall | None:
            book = GrantBook(asked=store.calls(now, asker.user))
            return book.asked(asker.user, asker.connector, need.call, now)

        if (found := known()) is not None:
            return found
        request = asked_for(_new_id(), asker.user, asker.connector, need, now=now)

        def check(mine: list[AccessRequest]) -> None:
            if any(one.call == need.call for one in mine):
                raise NotDone(EXISTS, "another gateway or process was first")

        try:
            self._add(
                asker,
                request,
                check,
                noted=f"asked for {what(request)}, {how_long(request)}",
                told=f"asks for an approval of {what(request)}, for {how_long(request)}",
            )
        except NotDone as no:
            if no.code == EXISTS and (found := known()) is not None:
                return found
            raise
        return AskedCall(
            request.id, asker.user, asker.connector, need.call, "pending", request.expires_at
        )

    def all_for(self, asker: Asker) -> list[AccessRequest]:
        """Give what the asker may see, the newest first."""
        if not self.place.is_there():
            return []
        return [one for one in self.place.store().newest() if asker.may_see(one)]

    def waiting_for(self, asker: Asker) -> int:
        """Count the requests that wait for the asker's answer: cheap for who answers none."""
        if not any(rule.allow.review_requests for rule in asker.rules) or not self.place.is_there():
            return 0
        now = self._clock()
        return sum(waits_for(one, asker, now) for one in self.place.store().pending())

    def get(self, asker: Asker, request_id: str) -> AccessRequest:
        """Give one request."""
        known = _ID.fullmatch(request_id) and self.place.is_there()
        found = self.place.store().get(request_id) if known else None
        if found is None or not asker.may_see(found):
            raise _none(request_id)
        return found

    def review(self, asker: Asker, request_id: str, *, approve: bool, reason: str) -> AccessRequest:
        """Answer a request."""
        now = int(self._clock())
        review = Review(asker.user, asker.connector, approve, _bounded(reason), now)

        def judge(request: AccessRequest) -> AccessRequest:
            if not asker.may_see(request):
                raise _none(request_id)
            if not asker.may_review(request):
                raise NotDone(
                    NOT_REVIEWER,
                    f"{asker.user} may not answer requests for {request.role}",
                    hint="it takes a role with allow.review_requests",
                )
            try:
                return reviewed(request, review)
            except NotNow as exc:
                raise NotDone(NOT_NOW, str(exc)) from None

        def note(after: AccessRequest) -> None:
            verdict = "approved" if approve else "denied"
            self._write(REVIEW, asker, after, f"{verdict} that of {whose(after)}{said(reason)}")
            if after.state is State.APPROVED:
                self._write(GRANTED, _of(after), after, f"until {utc_seconds_of(after.until)}")
            elif after.state is State.DENIED:
                self._write(ENDED, _of(after), after, "denied")

        return self._changed(request_id, judge, note)

    def revoke(self, asker: Asker, request_id: str) -> AccessRequest:
        """Take a request back, or what it has granted: its own user, reviewers and admins may."""
        now = int(self._clock())

        def judge(request: AccessRequest) -> AccessRequest:
            if not asker.may_see(request):
                raise _none(request_id)
            try:
                return revoked(request, by=asker.user, now=now)
            except NotNow as exc:
                raise NotDone(NOT_NOW, str(exc)) from None

        def note(after: AccessRequest) -> None:
            self._write(ENDED, asker, after, f"revoked by {asker.user}: that of {whose(after)}")

        return self._changed(request_id, judge, note)

    def _add(
        self,
        asker: Asker,
        request: AccessRequest,
        check: Callable[[list[AccessRequest]], None],
        *,
        noted: str,
        told: str,
    ) -> None:
        """Keep a new request, unless its asker has too many, or ``check``, of theirs, raises."""
        store, now = self.place.store(), request.asked_at
        _check_day(asker, store, now)

        def check_all(live: list[AccessRequest]) -> None:
            mine = [one for one in live if asker.owns(one) and one.state_at(now) in LIVE]
            check(mine)
            _check_few(asker, mine)

        store.add(request, check_all, lambda _: self._write(CREATE, asker, request, noted))
        self._count("created")
        self._say(f"{whose(request)} {told}\nawsgate request approve {request.id}")

    def _changed(
        self,
        request_id: str,
        judge: Callable[[AccessRequest], AccessRequest],
        note: Callable[[AccessRequest], None],
    ) -> AccessRequest:
        if not (_ID.fullmatch(request_id) and self.place.is_there()):
            raise _none(request_id)
        after = self.place.store().change(request_id, judge, note)
        if after is None:
            raise _none(request_id)
        if after.state is not State.PENDING:
            self.place.refresh()  # this process at once, the others within a second
            self._count(after.state.value)
            self._say(f"{after.id}: {what(after)} for {whose(after)} is {became(after)}")
        return after

    def _write(self, kind: str, asker: Asker, request: AccessRequest, text: str) -> None:
        self._record(line(kind, request, text, user=asker.user, client=asker.client,
                          session=asker.login))  # fmt: skip

    def _say(self, text: str) -> None:
        self._tell(slack_text(text))


def waits_for(request: AccessRequest, asker: Asker, now: float) -> bool:
    """True if the asker may answer it now: it is somebody else's, and they have not yet."""
    if request.state_at(now) is not State.PENDING or not asker.may_review(request):
        return False
    people = (request.user, *(one.reviewer for one in request.reviews))
    return not any(same_person(asker.user, name) for name in people)


def described(request: AccessRequest, asker: Asker, now: float) -> dict[str, Any]:
    """Give a request as the API and ``--json`` have it, for one who sees it."""
    return {
        "id": request.id,
        "user": request.user,
        "connector": request.connector,
        "role": request.role,
        "reason": request.reason,
        "duration_s": request.duration_s,
        "state": request.state_at(now).value,
        "asked_at": request.asked_at,
        "expires_at": request.expires_at,
        "decided_at": request.decided_at,
        "until": request.until,
        "revoked_by": request.revoked_by,
        "reviews": [asdict(one) for one in request.reviews],
        "suggested_reviewers": list(request.suggested),
        "own": asker.owns(request),
        "what": in_words(request),
        "call": described_call(request.call) if request.call is not None else None,
        "may_review": waits_for(request, asker, now),
    }


def _of(request: AccessRequest) -> Asker:
    """Give the asker of a request, for the audit."""
    return Asker(request.user, request.connector, Policy())


def _new_id() -> str:
    return f"ar-{secrets.token_hex(5)}"


def _check_few(asker: Asker, mine: list[AccessRequest]) -> None:
    if len(mine) >= MAX_OPEN:
        raise NotDone(
            TOO_MANY,
            f"{asker.user} has {len(mine)} requests open",
            hint="awsgate request ls shows them, awsgate request revoke takes one back",
        )


def _check_day(asker: Asker, store: RequestStore, now: int) -> None:
    if store.made_since(asker.user, asker.connector, now - DAY_S) >= MAX_A_DAY:
        raise NotDone(
            TOO_MANY,
            f"{asker.user} has made {MAX_A_DAY} requests within a day",
            hint="what is open goes on; ask again tomorrow",
        )


def _bounded(text: str) -> str:
    if len(text) > MAX_TEXT_CHARS:
        raise NotDone(NOT_NOW, f"a reason has {MAX_TEXT_CHARS} characters at most")
    if not "".join(text.split()).isprintable():  # nor would a database take all of them
        raise NotDone(NOT_NOW, "the reason holds characters that cannot be shown")
    return text


def _none(request_id: str) -> NotDone:
    text = f"there is no request {request_id[:64]!r} that you may see"
    return NotDone(NO_SUCH, text, hint="awsgate request ls has those that there are")
