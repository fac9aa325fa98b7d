"""Access requests over the API: asked, answered by others, in force at once, and over in time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from awsgate.asking import Asker, NotDone
from awsgate.audit import AuditLog, AuditUnavailable
from awsgate.login import LOCAL, Identity
from awsgate.policy.approvals import MarkedCall, Need
from awsgate.policy.requests import Terms
from web.believing import POLICY, READ, WRITE
from web.paging import signed_in
from web.served import Served

TWO = POLICY.replace(
    "request: {roles: [writer], max_duration: 2h, suggested_reviewers: [olga]}",
    "request: {roles: [writer], thresholds: [{approve: 2, deny: 1}], max_duration: 2h}",
).replace("review_requests: {roles: [writer]}", 'review_requests: {roles: ["wri*"]}')


class People:
    """Clients of people, logged in once each."""

    def __init__(self, served: Served, stack: ExitStack) -> None:
        self._served, self._stack = served, stack
        self._clients: dict[str, httpx.Client] = {}

    def __getitem__(self, who: str) -> httpx.Client:
        if who not in self._clients:
            token = self._served.log_in(who)["login"]
            self._clients[who] = self._stack.enter_context(self._served.client(token))
        return self._clients[who]

    def ask(self, who: str, role: str = "writer", **more: object) -> httpx.Response:
        return self[who].post("/v1/requests", json={"role": role, **more})

    def answer(self, who: str, request: str, *, approve: bool = True) -> httpx.Response:
        path = f"/v1/requests/{request}/review"
        return self[who].post(path, json={"approve": approve, "reason": "fine"})


@pytest.fixture
def people(own: Served) -> Iterator[People]:
    with ExitStack() as stack:
        yield People(own, stack)


def codes(*answers: httpx.Response) -> list[tuple[int, str]]:
    return [(one.status_code, one.json().get("error", {}).get("code", "")) for one in answers]


def roles(http: httpx.Client) -> list[str]:
    return [one["role_arn"] for one in http.get("/v1/roles").json()["roles"]]


def test_a_role_is_there_without_a_new_login_and_ends_by_itself(
    own: Served, people: People
) -> None:
    assert roles(people["alice"]) == [READ]
    asked = people.ask("alice", reason="an incident", duration_s=600)
    assert asked.status_code == 201
    request = asked.json()
    assert (request["state"], request["duration_s"], request["own"]) == ("pending", 600, True)
    assert (request["may_review"], request["suggested_reviewers"]) == (False, ["olga"])
    (seen,) = people["olga"].get("/v1/requests").json()["requests"]
    assert (seen["id"], seen["may_review"], seen["reason"]) == (request["id"], True, "an incident")

    granted = people.answer("olga", request["id"])

    assert granted.json()["state"] == "approved"
    assert granted.json()["until"] - granted.json()["decided_at"] == 600
    assert roles(people["alice"]) == [READ, WRITE]
    keys = people["alice"].post("/v1/credentials", json={"role": WRITE})
    assert keys.status_code == 200, keys.text
    assert "writer" in people["alice"].get("/v1/whoami").json()["roles"]
    own.clock.ahead_s += 600
    assert roles(people["alice"]) == [READ]
    path = f"/v1/requests/{request['id']}"
    assert people["alice"].get(path).json()["state"] == "ended"
    refused = people["alice"].post("/v1/credentials", json={"role": WRITE})
    assert codes(refused) == [(403, "denied")]


def test_a_role_for_a_while_opens_no_console_which_would_outlast_it(
    own: Served, people: People
) -> None:
    request = people.ask("alice", duration_s=600).json()["id"]
    people.answer("olga", request)

    refused = people["alice"].post("/v1/console", json={"app": "main", "role": WRITE})

    assert codes(refused) == [(403, "denied")]
    assert own.console.wanted == []
    assert roles(people["alice"]) == [READ, WRITE]
    page = signed_in(own).get("/").text
    assert f'value="{READ}"' in page
    assert f'value="{WRITE}"' not in page
    assert page.count("No console:") == 1


def test_everything_is_recorded_counted_and_told(own: Served, people: People) -> None:
    request = people.ask("alice", reason="a <!channel> & more", duration_s=600).json()["id"]
    people.answer("bob", request)
    people.answer("olga", request)
    people["alice"].post(f"/v1/requests/{request}/revoke", json={})

    lines = [line for line in own.lines() if line["event"].startswith("request.")]
    assert [(one["event"], one["user"], one["decision"], one["rule"]) for one in lines] == [
        ("request.create", "alice", "allowed", "role/writer"),
        ("request.review", "bob", "refused", "oidc/okta"),
        ("request.review", "olga", "allowed", "role/writer"),
        ("request.granted", "alice", "allowed", "role/writer"),
        ("request.ended", "alice", "allowed", "role/writer"),
    ]
    assert all(request in one["reason"] for one in lines if one["decision"] == "allowed")
    assert lines[2]["reason"] == f"{request}: approved that of alice (oidc/okta): fine"
    counted = [
        own.metrics.registry.get_sample_value("awsgate_access_requests_total", {"result": result})
        for result in ("created", "approved", "revoked")
    ]
    assert counted == [1, 1, 1]
    assert own.told[0] == (
        "alice (oidc/okta) asks for the role writer for 10m: a &lt;!channel&gt; &amp; more\n"
        f"awsgate request approve {request}"
    )
    assert [text.partition(": ")[2].partition(" until")[0] for text in own.told[1:]] == [
        "the role writer for alice (oidc/okta) is approved by olga",
        "the role writer for alice (oidc/okta) is revoked by alice",
    ]


def test_nobody_answers_their_own_by_whatever_login(own: Served, people: People) -> None:
    request = people.ask("olga", reason="mine").json()["id"]
    other = own.log_in("olga")["login"]
    path = f"/v1/requests/{request}/review"
    with own.client(other) as second:
        by_second = second.post(path, json={"approve": True})
    with own.client(_same_name_elsewhere(own)) as elsewhere:
        by_namesake = elsewhere.post(path, json={"approve": True})

    assert codes(people.answer("olga", request), by_second, by_namesake) == [(409, "not-now")] * 3
    assert people["olga"].get(f"/v1/requests/{request}").json()["may_review"] is False


def _same_name_elsewhere(own: Served) -> str:
    """Give the token of an olga whom another connector vouches for."""
    desk = own.api.desk
    login = desk.admit(Identity(user="olga", connector="github/corp", roles=("ops",)))
    return desk.token(login)


def test_a_grant_is_not_for_the_same_name_of_another_connector(own: Served, people: People) -> None:
    desk = own.api.desk
    login = desk.admit(Identity(user="alice", connector="github/corp", roles=("reader",)))
    people.answer("olga", people.ask("alice").json()["id"])

    with own.client(desk.token(login)) as namesake:
        assert roles(namesake) == [READ]
        assert namesake.get("/v1/requests").json()["requests"] == []
    assert roles(people["alice"]) == [READ, WRITE]


def test_who_may_not_see_a_request_is_not_told_of_it(people: People) -> None:
    request = people.ask("alice").json()["id"]
    answers = [
        people["bob"].get(f"/v1/requests/{request}"),
        people.answer("bob", request),
        people["bob"].post(f"/v1/requests/{request}/revoke", json={}),
        people["bob"].get("/v1/requests/ar-0000000000"),
        people["bob"].get("/v1/requests/%00"),
        people.answer("bob", "%00"),
    ]

    assert codes(*answers) == [(404, "not-found")] * 6
    assert people["bob"].get("/v1/requests").json()["requests"] == []


def test_an_admin_sees_all_and_may_take_back_but_not_answer(people: People) -> None:
    request = people.ask("olga", role="teamed", reason="x").json()["id"]

    assert codes(people.answer("olga", request)) == [(403, "not-reviewer")]
    assert people["olga"].post(f"/v1/requests/{request}/revoke", json={}).status_code == 200


REFUSED = {
    "a role of no rule": ("alice", {"role": "ops"}, 403, "not-requestable"),
    "a role that is not in the policy": ("alice", {"role": "none"}, 403, "not-requestable"),
    "one that a rule names and the policy has not": (
        "olga",
        {"role": "later-on", "reason": "x"},
        403,
        "not-requestable",
    ),
    "for too long": ("alice", {"role": "writer", "duration_s": 7201}, 409, "not-now"),
    "without the reason": ("olga", {"role": "writer"}, 409, "not-now"),
    "by who may ask for none": ("carol", {"role": "writer"}, 403, "not-requestable"),
    "a role that one has": ("bob", {"role": "writer"}, 409, "exists"),
    "a reason without end": ("alice", {"role": "writer", "reason": "x" * 513}, 400, "bad-request"),
    "what nobody could read": (
        "alice",
        {"role": "writer", "reason": "\x00\x1b[2J"},
        409,
        "not-now",
    ),
    "a misspelt limit": ("alice", {"role": "writer", "duration": 5}, 400, "bad-request"),
}  # fmt: skip


@pytest.mark.parametrize("row", REFUSED.values(), ids=REFUSED)
def test_what_may_not_be_asked_is_refused_and_recorded(
    own: Served, people: People, row: tuple[str, dict[str, object], int, str]
) -> None:
    who, asked, status, code = row

    assert codes(people[who].post("/v1/requests", json=asked)) == [(status, code)]
    line = own.lines(event="request.create", decision="refused")[-1]
    assert (line["user"], line["code"]) == (who, code)
    assert people["olga"].get("/v1/requests").json()["requests"] == []


def test_the_terms_are_told(people: People) -> None:
    (alice,) = people["alice"].get("/v1/requestable").json()["roles"]
    olga = people["olga"].get("/v1/requestable").json()["roles"]

    assert (alice["role"], alice["max_duration_s"], alice["reason_required"]) == (
        "writer", 7200, False,
    )  # fmt: skip
    assert [(one["role"], one["prompt"]) for one in olga] == [
        ("teamed", "which ticket"),
        ("writer", "which ticket"),
    ]
    assert people["bob"].get("/v1/requestable").json()["roles"] == []


def test_one_asks_once_and_not_without_end(
    own: Served, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("awsgate.asking.MAX_OPEN", 3)
    assert people.ask("alice").status_code == 201
    assert codes(people.ask("alice")) == [(409, "exists")]
    own.take_policy(
        POLICY.replace("request: {roles: [writer], max", 'request: {roles: ["*"], max')
        + "".join(
            f"---\nkind: role\nversion: v5\nmetadata: {{name: r{n}}}\nspec: {{}}\n"
            for n in range(3)
        )
    )
    answers = [people.ask("alice", role=f"r{n}") for n in range(3)]

    assert [one.status_code for one in answers] == [201, 201, 429]


def test_who_asks_and_takes_back_without_end_is_stopped_for_a_day(
    own: Served, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("awsgate.asking.MAX_A_DAY", 3)
    for _ in range(3):
        asked = people.ask("alice").json()["id"]
        assert people["alice"].post(f"/v1/requests/{asked}/revoke", json={}).status_code == 200
    assert codes(people.ask("alice")) == [(429, "too-many")]
    need = Need(
        MarkedCall("writer", WRITE, ("iam:DeleteUser",), ()),
        Terms(((1, 1),), 600, reason_required=False),
    )
    with pytest.raises(NotDone, match="within a day"):
        own.api.asking.ask_for_call(Asker("alice", "oidc/okta", own.policy[0]), need)

    assert people.ask("bob", role="ops").status_code != 429, "others ask all the same"
    monkeypatch.setattr("awsgate.asking.DAY_S", -1)
    assert people.ask("alice").status_code == 201, "the next day"


def test_it_takes_as_many_as_the_rule_says(own: Served, people: People) -> None:
    own.take_policy(TWO + "\n---\nkind: user\nversion: v2\nmetadata: {name: zoe}\n"
                    "spec: {roles: [ops]}\n")  # fmt: skip
    desk = own.api.desk
    zoe = desk.token(desk.admit(Identity(user="zoe", connector=LOCAL)))
    request = people.ask("alice").json()["id"]

    assert people.answer("olga", request).json()["state"] == "pending"
    assert codes(people.answer("olga", request)) == [(409, "not-now")]
    assert roles(people["alice"]) == [READ]
    with own.client(zoe) as http:
        answer = http.post(f"/v1/requests/{request}/review", json={"approve": True})
    assert answer.json()["state"] == "approved"
    assert roles(people["alice"]) == [READ, WRITE]


def test_a_no_is_a_no(people: People) -> None:
    request = people.ask("alice").json()["id"]

    assert people.answer("olga", request, approve=False).json()["state"] == "denied"
    assert codes(people.answer("olga", request)) == [(409, "not-now")]
    assert roles(people["alice"]) == [READ]
    assert people.ask("alice").status_code == 201


def test_a_request_waits_for_a_day(own: Served, people: People) -> None:
    request = people.ask("alice").json()["id"]
    own.clock.ahead_s += 24 * 3600
    with own.client(own.log_in("olga")["login"]) as olga:
        late = olga.post(f"/v1/requests/{request}/review", json={"approve": True})
        state = olga.get(f"/v1/requests/{request}").json()["state"]

    assert (codes(late), state) == ([(409, "not-now")], "expired")


def test_what_was_granted_is_taken_back(people: People) -> None:
    request = people.ask("alice").json()["id"]
    people.answer("olga", request)
    back = people["olga"].post(f"/v1/requests/{request}/revoke", json={})

    assert (back.json()["state"], back.json()["revoked_by"]) == ("revoked", "olga")
    assert roles(people["alice"]) == [READ]
    again = people["olga"].post(f"/v1/requests/{request}/revoke", json={})
    assert codes(again) == [(409, "not-now")]


def test_whoever_is_locked_out_answers_nothing(own: Served, people: People) -> None:
    request = people.ask("alice").json()["id"]
    people["olga"].get("/v1/whoami")
    own.lock("olga", user="olga")

    assert codes(people.answer("olga", request)) == [(403, "locked")]
    assert roles(people["alice"]) == [READ]


def test_a_lock_on_a_granted_role_holds_who_has_it(own: Served, people: People) -> None:
    own.lock("writers", role="writer")
    assert people["alice"].get("/v1/whoami").status_code == 200
    people.answer("olga", people.ask("alice").json()["id"])

    assert codes(people["alice"].get("/v1/whoami")) == [(403, "locked")]


def test_what_cannot_be_recorded_is_not_done(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = people.ask("alice").json()["id"]
    people["olga"].get("/v1/whoami")

    def full(*_: object) -> None:
        raise AuditUnavailable("no space left")

    monkeypatch.setattr(AuditLog, "write", full)
    answers = [people.answer("olga", request), people.ask("alice", role="reader")]
    monkeypatch.undo()

    assert answers[0].status_code == 503
    assert answers[1].status_code in (403, 503)
    state = people["alice"].get(f"/v1/requests/{request}").json()
    assert (state["state"], state["reviews"]) == ("pending", [])
    assert roles(people["alice"]) == [READ]


def test_without_a_database_nothing_is_added_and_grants_go_on(own: Served, people: People) -> None:
    people.answer("olga", people.ask("alice", duration_s=600).json()["id"])
    (own.folder / "state/requests.db").unlink()

    assert codes(people.ask("alice"), people["olga"].get("/v1/requests")) == [
        (409, "exists"),
        (503, "gateway-fault"),
    ]
    assert roles(people["alice"]) == [READ, WRITE]
    own.clock.ahead_s += 600
    assert roles(people["alice"]) == [READ]
