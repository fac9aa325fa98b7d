"""Calls that need an approval, asked for: once, by whomever, and kept as they were put."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from awsgate.asking import CREATE, MAX_OPEN, TOO_MANY, Asker, Asking, NotDone
from awsgate.audit import AuditRecord
from awsgate.policy import Policy
from awsgate.policy.accessrequest import DENIED_S, PENDING_S, State, asked
from awsgate.policy.approvals import AskedCall, MarkedCall, Need
from awsgate.policy.requests import Terms
from awsgate.policy.settings import RequestsSpec
from awsgate.requestdb import META, MIGRATIONS
from awsgate.requestplace import RequestPlace
from awsgate.requeststore import RequestStore

NOW = 1_800_000_000
KEY = "arn:aws:s3:::b/Störung \x00\u2603 ' \"; --"
CALL = MarkedCall("dev", "arn:aws:iam::123456789012:role/Dev", ("s3:DeleteObject",), (KEY,))
NEED = Need(CALL, Terms(((1, 1),), 600, reason_required=False, reviewers=("bob",)))
ALICE = Asker("alice", "oidc/okta", Policy(), client="10.0.0.1")
BOB = Asker("bob", "state", Policy(), is_operator=True)


class Desk:
    """One gateway's, with what it has written and told."""

    def __init__(self, url: str, folder: Path, now: int = NOW) -> None:
        self.now, self.lines, self.told, self.counts = now, list[AuditRecord](), [""], [""]
        self.full = False
        spec = RequestsSpec.model_validate({"database_url": url})
        self.place = RequestPlace(folder, spec, clock=lambda: self.now)
        self.asking = Asking(
            self.place,
            record=self._record,
            count=self.counts.append,
            tell=self.told.append,
            clock=lambda: self.now,
        )

    def _record(self, record: AuditRecord) -> None:
        if self.full:
            raise OSError("no room")
        self.lines.append(record)

    def ask(self, need: Need = NEED, asker: Asker = ALICE) -> AskedCall:
        return self.asking.ask_for_call(asker, need)

    def answer(self, request: str, *, approve: bool, reason: str = "") -> None:
        self.asking.review(BOB, request, approve=approve, reason=reason)

    def known(self, need: Need = NEED, asker: Asker = ALICE) -> AskedCall | None:
        """What a process that reads the database anew knows."""
        book, _ = self.place.grants()
        return book.asked(asker.user, asker.connector, need.call, self.now)


@pytest.fixture
def another(url: str, tmp_path: Path) -> Iterator[Callable[[], Desk]]:
    """Makes desks of gateways, or workers, that share one database."""
    made: list[Desk] = []

    def make() -> Desk:
        made.append(Desk(url, tmp_path))
        return made[-1]

    yield make
    for one in made:
        one.place.forget()


@pytest.fixture
def desk(another: Callable[[], Desk]) -> Desk:
    return another()


def test_a_call_is_asked_for_once(desk: Desk, another: Callable[[], Desk]) -> None:
    first = desk.ask()
    other = another()

    assert (first.state, first.until) == ("pending", NOW + PENDING_S)
    assert (desk.ask(), other.ask(), other.known()) == (first, first, first)
    kept = desk.place.store().get(first.request)
    assert kept is not None
    assert (kept.call, kept.role, kept.duration_s, kept.suggested) == (CALL, "dev", 600, ("bob",))
    (line,) = desk.lines
    assert (line.event, line.user, line.client, line.rule) == (
        CREATE, "alice", "10.0.0.1", "role/dev",
    )  # fmt: skip
    assert line.reason.startswith(
        f"{first.request}: asked for s3:DeleteObject on arn:aws:s3:::b/St"
    )
    assert other.lines == []
    (_, said) = desk.told
    assert said.startswith("alice (oidc/okta) asks for an approval of s3:DeleteObject on arn:aws:")
    assert said.endswith(f"for 10m\nawsgate request approve {first.request}")
    assert "\x00" not in said


def test_many_at_once_ask_once(another: Callable[[], Desk]) -> None:
    desks = [another() for _ in range(3)]
    found: list[AskedCall] = []
    threads = [
        threading.Thread(target=lambda d=desks[n % 3]: found.append(d.ask())) for n in range(9)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 9
    assert len({one.request for one in found}) == 1
    assert sum(len(one.lines) for one in desks) == 1


OTHERS = {
    "another user": (NEED, replace(ALICE, user="carol")),
    "the same name of another connector": (NEED, replace(ALICE, connector="local")),
    "another object": (replace(NEED, call=replace(CALL, resources=("arn:x",))), ALICE),
    "another role": (replace(NEED, call=replace(CALL, role_arn="arn:y")), ALICE),
}


@pytest.mark.parametrize(("need", "asker"), OTHERS.values(), ids=OTHERS)
def test_what_is_another_call_is_another_request(need: Need, asker: Asker, desk: Desk) -> None:
    first = desk.ask()
    assert desk.ask(need, asker).request != first.request
    desk.answer(first.request, approve=True)
    assert desk.ask(need, asker).state == "pending"


def test_it_grants_the_call_and_no_role_until_its_end(desk: Desk) -> None:
    first = desk.ask()
    desk.answer(first.request, approve=True)

    approved = AskedCall(first.request, "alice", "oidc/okta", CALL, "approved", NOW + 600)
    assert desk.known() == desk.ask() == approved
    book, deadline = desk.place.grants()
    assert (list(book), deadline) == ([], NOW + 600)  # no role
    desk.now = NOW + 600
    assert desk.known() is None
    assert desk.ask().request != first.request
    (ended,) = desk.place.store().close_ended(desk.now)
    assert (ended.id, ended.state) == (first.request, State.ENDED)


def test_a_denied_call_is_not_asked_for_again_for_an_hour(desk: Desk) -> None:
    first = desk.ask()
    desk.answer(first.request, approve=False, reason="not on a Friday")

    denied = desk.known()
    assert denied == desk.ask()
    assert denied is not None
    assert (denied.state, denied.by, denied.reason) == ("denied", "bob", "not on a Friday")
    desk.now = NOW + DENIED_S - 1
    assert desk.ask() == denied
    desk.now += 1
    assert desk.known() is None
    assert desk.ask().request != first.request


@pytest.mark.parametrize("approved", [False, True])
def test_what_is_taken_back_is_over(approved: bool, desk: Desk) -> None:
    first = desk.ask()
    if approved:
        desk.answer(first.request, approve=True)
    desk.asking.revoke(ALICE, first.request)

    assert desk.known() is None
    assert desk.ask().request != first.request


def test_nobody_approves_a_call_of_their_own(desk: Desk) -> None:
    first = desk.ask()

    with pytest.raises(NotDone, match="of their own"):
        desk.asking.review(replace(BOB, user="Alice"), first.request, approve=True, reason="")


def test_calls_and_roles_of_a_user_are_so_many_at_most(desk: Desk) -> None:
    for number in range(MAX_OPEN):
        desk.ask(replace(NEED, call=replace(CALL, resources=(f"arn:{number}",))))

    with pytest.raises(NotDone) as caught:
        desk.ask()
    assert caught.value.code == TOO_MANY
    assert len(desk.lines) == MAX_OPEN
    desk.ask(asker=replace(ALICE, user="carol"))


def test_what_cannot_be_recorded_is_not_asked(desk: Desk) -> None:
    desk.full = True
    with pytest.raises(OSError, match="no room"):
        desk.ask()
    desk.full = False

    assert desk.known() is None
    assert len(desk.told) == 1


OLD_ROW = """
INSERT INTO awsgate_requests VALUES (
    'ar-1', 'alice', 'local', 'dba', 'x', 600, 1800000000, 1800086400,
    '{"thresholds": [[1, 1]], "suggested": []}', 'pending', 0, 0, 0, '')
"""


def test_a_database_of_the_version_before_is_brought_up_to_date(url: str) -> None:
    def before(connection: Connection) -> None:
        MIGRATIONS[0](connection)
        connection.execute(text('ALTER TABLE awsgate_requests DROP COLUMN "call"'))

    terms = Terms(((1, 1),), 7200, reason_required=False)
    role = asked("ar-1", "alice", "local", "dba", terms=terms, reason="x", duration_s=600, now=NOW)
    old = RequestStore(url, migrations=[before])
    with old._engine.begin() as connection:
        connection.execute(text(OLD_ROW))
        assert connection.execute(META.select()).one().version == 1
    old.close()

    store = RequestStore(url)
    assert store.get("ar-1") == role
    assert store.calls(NOW) == []
    store.close()
