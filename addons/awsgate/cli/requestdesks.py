"""Where ``awsgate request`` works: at a gateway with a login there, or in the state folder here.

Both give requests as the control API describes them, and say no in the same words.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, override

from awsgate.asking import Asker, Asking, NotDone, described, described_terms
from awsgate.audit import AuditRecord
from awsgate.cli.bounded import check_unbounded
from awsgate.cli.choice import behind_sudo, default_user, login_name
from awsgate.cli.granted import with_grants
from awsgate.cli.no import No
from awsgate.cli.places import state_in_use
from awsgate.cli.recording import record_here
from awsgate.cli.remote import asking, client_at
from awsgate.login import LOCAL
from awsgate.policy import Policy
from awsgate.policy.accessrequest import MAX_TEXT_CHARS
from awsgate.policyfile import load_policy
from awsgate.requestplace import RequestPlace
from awsgate.webhook import Webhook

STATE = "state"
"""The connector of whoever works in the state folder itself."""
_TELL_S = 12.0


class RequestDesk(Protocol):
    """Where requests are made and answered. Raises ``No`` and ``SetupError``."""

    def roles(self) -> list[dict[str, Any]]:
        """Give the roles that may be asked for."""
        ...

    def create(self, role: str, *, reason: str, duration_s: int) -> dict[str, Any]:
        """Ask for one."""
        ...

    def all(self) -> list[dict[str, Any]]:
        """Give the requests that one may see."""
        ...

    def get(self, request_id: str) -> dict[str, Any]:
        """Give one."""
        ...

    def review(self, request_id: str, *, approve: bool, reason: str) -> dict[str, Any]:
        """Answer one."""
        ...

    def revoke(self, request_id: str) -> dict[str, Any]:
        """Take one back."""
        ...


class RemoteDesk(RequestDesk):
    """At a gateway, with the login there."""

    def __init__(self, url: str) -> None:
        self._stored, self._client = client_at(url)

    @override
    def roles(self) -> list[dict[str, Any]]:
        with asking(self._stored):
            return self._client.requestable()

    @override
    def create(self, role: str, *, reason: str, duration_s: int) -> dict[str, Any]:
        with asking(self._stored):
            return self._client.ask_for(role, reason=reason, duration_s=duration_s)

    @override
    def all(self) -> list[dict[str, Any]]:
        with asking(self._stored):
            return self._client.requests()

    @override
    def get(self, request_id: str) -> dict[str, Any]:
        with asking(self._stored):
            return self._client.request(request_id)

    @override
    def review(self, request_id: str, *, approve: bool, reason: str) -> dict[str, Any]:
        check_unbounded("their user may")
        with asking(self._stored):
            return self._client.review(request_id, approve=approve, reason=reason)

    @override
    def revoke(self, request_id: str) -> dict[str, Any]:
        check_unbounded("their user may")
        with asking(self._stored):
            return self._client.revoke(request_id)


class LocalDesk(RequestDesk):
    """In the state folder of a gateway, on its machine.

    Whoever may write there may do all, so no role is needed to answer: unless ``user`` is
    named, whose roles then count. Nobody answers their own there either.
    """

    def __init__(self, policy: Path, state: Path, user: str) -> None:
        there = state_in_use(
            state,
            "a request there would reach nobody",
            or_else=", or log in at a gateway: awsgate login",
        )
        self._rules, self._user, self._folder = load_policy(policy), user, state
        self._audit_path = there.audit_path
        self._place = RequestPlace(state, self._rules.gateway.requests)
        self._webhook = Webhook(self._rules.gateway.requests.webhook)
        self._asking = Asking(
            self._place, record=self._record, count=lambda _: None, tell=self._webhook.tell
        )

    @override
    def roles(self) -> list[dict[str, Any]]:
        found = self._asking.requestable(self._as_user())
        return [described_terms(role, terms) for role, terms in found]

    @override
    def create(self, role: str, *, reason: str, duration_s: int) -> dict[str, Any]:
        asker = self._as_user()
        with self._done():
            found = self._asking.create(asker, role, reason=reason, duration_s=duration_s)
        return described(found, asker, time.time())

    @override
    def all(self) -> list[dict[str, Any]]:
        asker, now = self._as_reviewer(), time.time()
        with self._done():
            return [described(one, asker, now) for one in self._asking.all_for(asker)]

    @override
    def get(self, request_id: str) -> dict[str, Any]:
        asker = self._as_reviewer()
        with self._done():
            return described(self._asking.get(asker, request_id), asker, time.time())

    @override
    def review(self, request_id: str, *, approve: bool, reason: str) -> dict[str, Any]:
        check_unbounded("their user may")
        asker = self._as_reviewer()
        with self._done():
            found = self._asking.review(asker, request_id, approve=approve, reason=reason)
        return described(found, asker, time.time())

    @override
    def revoke(self, request_id: str) -> dict[str, Any]:
        check_unbounded("their user may")
        asker = self._as_reviewer()
        with self._done():
            return described(self._asking.revoke(asker, request_id), asker, time.time())

    @contextmanager
    def _done(self) -> Iterator[None]:
        try:
            yield
        except NotDone as no:
            raise No(no.message, hints=[no.hint] if no.hint else []) from None
        finally:
            self._webhook.flush(_TELL_S)

    def _as_user(self) -> Asker:
        user = self._user or default_user(self._rules)
        return Asker(user, LOCAL, with_grants(self._rules, user, self._folder))

    def _as_reviewer(self) -> Asker:
        if self._user:
            return self._as_user()
        return Asker(operator_name(), STATE, Policy(), is_admin=True, is_operator=True)

    def _record(self, record: AuditRecord) -> None:
        record.reason = record.reason[:MAX_TEXT_CHARS]
        record_here(self._audit_path, self._rules.gateway, record)


def operator_name() -> str:
    """Give who runs this: behind sudo, whoever called it."""
    return behind_sudo() or login_name() or f"uid {os.getuid()}"
