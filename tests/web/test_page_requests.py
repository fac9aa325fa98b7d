"""Access requests on the page: asked and answered as by the API, and seen as they change."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping

import httpx
import pytest

from awsgate.asking import Asker
from awsgate.policy.approvals import MarkedCall, Need
from awsgate.policy.requests import Terms
from awsgate.web import access
from awsgate.web.page import attention
from awsgate.web.page.guard import LOGIN
from awsgate.web.page.requests import spans
from web.believing import POLICY
from web.paging import Browser, signed_in, words_of
from web.served import Served

HTMX = {"HX-Request": "true"}
ID = re.compile(r"ar-[0-9a-f]{10}")


def ask(browser: Browser, role: str = "writer", **more: str) -> str:
    """Ask by the form of the page; give the id."""
    fields = {"role": role, "reason": "an incident", "duration_s": "600", **more}
    answer = browser.send("/requests", **fields)
    assert answer.status_code == 303, words_of(answer)
    return answer.headers["location"].removeprefix("/requests#")


def review(browser: Browser, request: str, verdict: str = "approve", **more: str) -> httpx.Response:
    return browser.send("/requests/answer", id=request, verdict=verdict, **more)


def state(served: Served, request: str) -> tuple[str, int]:
    """Give the state, and how many have answered."""
    found = served.api.asking.place.store().get(request)
    assert found is not None
    return found.state_at(served.clock()).value, len(found.reviews)


def test_a_reviewer_sees_what_would_not_be_seen(own: Served) -> None:
    ask(signed_in(own), reason="of\u2800bob\nand \u65e5\u3000\u672c")

    seen = signed_in(own, "olga").get("/requests").text
    assert '<blockquote class="reason">of\\u2800bob\nand \u65e5\u3000\u672c</blockquote>' in seen


def test_asked_answered_there_and_taken_back(own: Served) -> None:
    alice, olga = signed_in(own), signed_in(own, "olga")
    terms = words_of(alice.get("/requests"))
    assert "writer up to 2 h For 15 min 30 min 1 h 2 h Reason (if you like)" in terms
    assert "Mostly answered by olga" in terms
    assert "You have asked for nothing yet" in terms

    request = ask(alice)

    assert "writer for 10 min pending an incident" in words_of(alice.get("/requests"))
    assert "Requests , 1 waits for you" in words_of(olga.get("/"))
    seen = words_of(olga.get("/requests"))
    assert "alice (oidc/okta) asks for writer for 10 min an incident" in seen
    done = review(olga, request, reason="go ahead")
    assert (done.status_code, done.headers["location"]) == (303, f"/requests#{request}")
    granted = words_of(alice.get("/requests"))
    assert "writer for 10 min approved an incident olga approved it" in granted
    assert "go ahead" in granted
    assert "Nothing waits for you" in words_of(olga.get("/requests"))
    assert 'aria-label="Use in terminal: write in main"' in alice.get("/").text

    back = alice.send("/requests/revoke", id=request)

    assert back.status_code == 303
    assert "revoked" in words_of(alice.get("/requests"))
    assert "write in main" not in alice.get("/").text


def test_the_lines_of_the_audit_are_those_of_the_api(own: Served) -> None:
    def lines() -> list[tuple[str, ...]]:
        found = [one for one in own.lines() if one["event"].startswith("request.")]
        names = ("event", "user", "decision", "rule", "code")
        return [(*(one[name] for name in names), ID.sub("ID", one["reason"])) for one in found]

    alice, olga, bob = signed_in(own), signed_in(own, "olga"), signed_in(own, "bob")
    request = ask(alice)
    review(bob, request, reason="fine")
    review(olga, request, reason="fine")
    alice.send("/requests/revoke", id=request)
    by_page = lines()
    tokens = [browser.cookies[LOGIN] for browser in (alice, olga, bob)]
    with own.client(tokens[0]) as a, own.client(tokens[1]) as o, own.client(tokens[2]) as b:
        asked = {"role": "writer", "reason": "an incident", "duration_s": 600}
        path = f"/v1/requests/{a.post('/v1/requests', json=asked).json()['id']}"
        for one in (b, o):
            one.post(f"{path}/review", json={"approve": True, "reason": "fine"})
        a.post(f"{path}/revoke", json={})
    by_api = lines()[len(by_page) :]

    def timeless(found: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
        return [(*one[:-1], re.sub(r"\d{4}-\d\d-\d\dT[\d:]+Z", "T", one[-1])) for one in found]

    assert len(by_page) == 5
    assert timeless(by_page) == timeless(by_api)
    assert len(own.told) == 6


ASKED: Mapping[str, str] = {"role": "writer", "reason": "x", "duration_s": "600"}
REFUSED = {
    "a role of no rule": ("alice", {**ASKED, "role": "ops"}, 403, "not-requestable"),
    "a role that one has": ("bob", {**ASKED}, 409, "exists"),
    "for too long": ("alice", {**ASKED, "duration_s": "7201"}, 409, "not-now"),
    "for no time": ("alice", {**ASKED, "duration_s": "soon"}, 400, "bad-request"),
    "for less than no time": ("alice", {**ASKED, "duration_s": "-1"}, 400, "bad-request"),
    "without the reason": ("olga", {**ASKED, "reason": " "}, 409, "not-now"),
    "a reason without end": ("alice", {**ASKED, "reason": "x" * 513}, 400, "bad-request"),
    "what nobody could read": ("alice", {**ASKED, "reason": "\x1b[2J"}, 409, "not-now"),
}  # fmt: skip


@pytest.mark.parametrize("row", REFUSED.values(), ids=REFUSED)
def test_what_may_not_be_asked_is_told_on_a_page_and_recorded(
    row: tuple[str, dict[str, str], int, str], own: Served
) -> None:
    who, fields, status, code = row

    answer = signed_in(own, who).send("/requests", **fields)

    assert answer.status_code == status
    assert f"Code: {code}" in words_of(answer)
    assert "Back to the requests" in words_of(answer)
    (line,) = own.lines(event="request.create")
    assert (line["user"], line["decision"], line["code"]) == (who, "refused", code)
    assert not own.api.asking.place.is_there() or own.api.asking.place.store().newest() == []


def test_nobody_is_shown_a_way_to_answer_their_own_nor_has_one(own: Served) -> None:
    olga = signed_in(own, "olga")
    request = ask(olga)

    page = olga.get("/requests")
    assert "/requests/answer" not in page.text
    assert "wait for you" not in words_of(page).replace("0 wait for you", "")
    answer = review(olga, request)

    assert answer.status_code == 409
    assert "Nobody reviews a request of their own." in words_of(answer)
    assert state(own, request) == ("pending", 0)
    (line,) = own.lines(event="request.review")
    assert (line["user"], line["decision"], line["code"]) == ("olga", "refused", "not-now")


def test_who_is_no_reviewer_is_told_so_and_who_may_not_see_it_nothing(own: Served) -> None:
    olga, bob = signed_in(own, "olga"), signed_in(own, "bob")
    request = ask(olga, role="teamed")

    unseen = [review(bob, request), bob.send("/requests/revoke", id=request)]
    admins = signed_in(own, "olga")
    not_theirs = review(admins, request)

    assert [one.status_code for one in unseen] == [404, 404]
    assert all("There is no request" in words_of(one) for one in unseen)
    assert not_theirs.status_code == 403
    assert "it takes a role with allow.review_requests" in words_of(not_theirs).lower()
    assert request not in bob.get("/requests").text
    assert state(own, request) == ("pending", 0)
    assert [one["code"] for one in own.lines(event="request.revoke")] == ["not-found"]


def test_an_admin_sees_all_and_may_take_back_but_not_answer(own: Served) -> None:
    own.take_policy(POLICY.replace("review_requests: {roles: [writer]}", ""))
    alice, olga = signed_in(own), signed_in(own, "olga")
    request = ask(alice)

    page = olga.get("/requests")
    assert "Requests of others alice (oidc/okta) · writer for 10 min pending" in words_of(page)
    assert "/requests/answer" not in page.text
    assert "Nothing waits for you" in words_of(page)
    assert review(olga, request).status_code == 403
    assert olga.send("/requests/revoke", id=request).status_code == 303

    assert state(own, request) == ("revoked", 0)
    assert "Taken back by olga" in words_of(alice.get("/requests"))


@pytest.mark.parametrize("verdict", ["", "yes", "Approve"])
def test_an_answer_that_is_neither_yes_nor_no_is_none(verdict: str, own: Served) -> None:
    request = ask(signed_in(own))

    assert review(signed_in(own, "olga"), request, verdict).status_code == 400
    assert state(own, request) == ("pending", 0)


def test_of_two_windows_the_second_is_told_what_the_first_did(own: Served) -> None:
    alice, first = signed_in(own), signed_in(own, "olga")
    second = signed_in(own, "olga")
    request = ask(alice)
    fields = {"id": request, "verdict": "approve", "form_token": second.form_token("/requests")}
    review(first, request, "deny")

    late = second.post("/requests/answer", fields)

    assert late.status_code == 409
    assert f"The request {request} is denied already." in words_of(late)
    assert state(own, request) == ("denied", 1)
    assert alice.send("/requests/revoke", id=request).status_code == 409


def test_whoever_is_locked_out_answers_nothing(own: Served) -> None:
    request, olga = ask(signed_in(own)), signed_in(own, "olga")
    token = olga.form_token("/requests")
    own.lock("shut", user="olga")

    fields = {"form_token": token, "id": request, "verdict": "approve"}
    assert olga.post("/requests/answer", fields).status_code == 403
    assert state(own, request) == ("pending", 0)


@pytest.mark.parametrize("path", ["/requests", "/requests/answer", "/requests/revoke"])
@pytest.mark.parametrize("how", ["no token", "another login's", "another site"])
def test_a_form_is_of_this_page_and_this_login(path: str, how: str, own: Served) -> None:
    request, olga = ask(signed_in(own)), signed_in(own, "olga")
    fields = {"id": request, "verdict": "approve", "role": "teamed", "duration_s": "60",
              "reason": "x", "form_token": olga.form_token()}  # fmt: skip
    if how == "no token":
        del fields["form_token"]
    if how == "another login's":
        fields["form_token"] = signed_in(own).form_token()
    foreign = {"headers": {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example.com"}}

    answer = olga.post(path, fields, **(foreign if how == "another site" else {}))

    assert answer.status_code == 403
    assert len(own.api.asking.place.store().newest()) == 1
    assert state(own, request) == ("pending", 0)


def test_what_somebody_writes_is_text_to_all_others(own: Served) -> None:
    evil = "</textarea><img src=x onerror=alert(1)>\"'{{ 7*7 }}"
    alice, olga = signed_in(own), signed_in(own, "olga")
    request = ask(alice, reason=evil)
    before = olga.get("/requests")
    review(olga, request, "deny", reason=evil)
    refused = alice.send("/requests", role=evil, reason="", duration_s="60")

    seen = (before, alice.get("/requests"), olga.get("/requests/live", HTMX))
    assert all(evil in words_of(answer) for answer in seen)
    assert not any("<img" in answer.text for answer in (*seen, refused))
    assert words_of(alice.get("/requests")).count(evil) == 2


def test_a_long_reason_of_many_lines_is_as_long_as_its_author_sees(own: Served) -> None:
    alice = signed_in(own)
    lines = "\r\n".join(["abc"] * 128)  # 511 characters, and 127 more on the way

    request = ask(alice, reason=lines)

    found = own.api.asking.place.store().get(request)
    assert found is not None
    assert found.reason == "\n".join(["abc"] * 128)


def test_who_waits_longest_is_first_so_that_whoever_comes_moves_nobody(own: Served) -> None:
    first = ask(signed_in(own))
    own.clock.ahead_s += 60
    namesake = Browser(own).have(own.log_in("alice", "github/corp")["login"])
    second = ask(namesake)

    page = signed_in(own, "olga").get("/requests")

    assert page.text.index(f'id="{first}"') < page.text.index(f'id="{second}"')
    assert "2 wait for you" in words_of(page)


def test_the_lists_come_anew_if_something_has_changed(own: Served) -> None:
    alice, olga = signed_in(own), signed_in(own, "olga")
    whole = olga.get("/requests")

    def again(page: httpx.Response) -> httpx.Response:
        found = re.search(r'hx-get="/requests/live\?seen=([0-9a-f]+)"', page.text)
        assert found is not None
        return olga.get("/requests/live", HTMX, seen=found[1])

    assert again(whole).status_code == 204
    request = ask(alice)
    asked = again(whole)
    own.clock.ahead_s += 30
    assert again(asked).status_code == 204
    review(olga, request)
    granted = again(asked)
    own.clock.ahead_s += 600
    ended = again(granted)

    assert "<html" not in asked.text
    assert "alice (oidc/okta) asks for writer" in words_of(asked)
    assert re.search(r'<span id="waits" class="badge" hx-swap-oob="true">', asked.text)
    assert "approved" in words_of(granted)
    assert re.search(r'<span id="waits" class="badge" hidden hx-swap-oob="true">', granted.text)
    assert "ended" in words_of(ended)
    own.clock.ahead_s += 9 * 3600
    gone = again(ended)
    assert (gone.status_code, gone.headers["hx-refresh"]) == (204, "true")


def test_what_is_over_is_shown_up_to_a_number(own: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("awsgate.web.page.requests.MAX_OVER", 2)
    alice = signed_in(own)
    over = []
    for _ in range(4):
        over.append(ask(alice))
        alice.send("/requests/revoke", id=over[-1])
        own.clock.ahead_s += 60
    waiting = ask(alice)

    page = alice.get("/requests")

    assert [one in page.text for one in (*over, waiting)] == [False, False, True, True, True]
    assert "And 2 older ones" in words_of(page)


@pytest.mark.parametrize(
    ("most_s", "expected"),
    [(60, [60]), (900, [900]), (5400, [900, 1800, 3600, 5400]), (7200, [900, 1800, 3600, 7200])],
)
def test_no_duration_is_offered_that_the_terms_do_not_allow(
    most_s: int, expected: list[int]
) -> None:
    assert spans(most_s) == expected


# --- the number in the navigation ---------------------------------------------------------


def test_who_answers_none_is_counted_nothing(own: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(signed_in(own))
    store = own.api.asking.place.store()
    asked = []
    monkeypatch.setattr(store, "pending", lambda: asked.append(1) or [])

    signed_in(own).get("/")
    assert asked == []
    signed_in(own, "olga").get("/")
    assert asked == [1]


def test_a_database_that_has_gone_keeps_no_page_away_but_the_one_of_the_requests(
    own: Served,
) -> None:
    ask(signed_in(own))
    (own.folder / "state/requests.db").unlink()
    olga = signed_in(own, "olga")

    assert olga.get("/").status_code == 200
    away = olga.get("/requests")
    assert away.status_code == 503
    assert "Not available now" in words_of(away)


def test_a_database_that_is_slow_holds_no_page_up(
    own: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "PATIENCE_S", 0.05)
    goes_on, asked = threading.Event(), []

    def slow(_: object) -> int:
        asked.append(1)
        goes_on.wait(30)
        return 5

    monkeypatch.setattr(access, "waiting", slow)
    olga = signed_in(own, "olga")
    try:
        for _ in range(attention.MAX_UNDER_WAY + 2):
            assert "5 wait" not in words_of(olga.get("/"))
    finally:
        goes_on.set()

    assert len(asked) == attention.MAX_UNDER_WAY


def test_a_call_that_asks_for_itself_is_shown_as_a_call_and_not_as_a_role(own: Served) -> None:
    key = "arn:aws:s3:::b/<b>k</b>"
    call = MarkedCall(
        "writer", "arn:aws:iam::111122223333:role/write", ("s3:DeleteObject",), (key,)
    )
    need = Need(call, Terms(((1, 1),), 600, reason_required=False))
    alice, olga = signed_in(own), signed_in(own, "olga")
    asker = Asker("alice", "oidc/okta", own.policy[0])
    request = own.api.asking.ask_for_call(asker, need).request
    asked = f"s3:DeleteObject on {key} as {call.role_arn}"

    answer = olga.get("/requests")

    assert f"alice (oidc/okta) asks for {asked} for 10 min" in words_of(answer)
    assert "asks for writer" not in words_of(answer)
    assert "role/writer marks it" in words_of(answer)
    assert "<b>k" not in answer.text
    assert review(olga, request).status_code == 303
    seen = words_of(alice.get("/requests"))
    assert f"{asked} for 10 min approved" in seen
    assert "send the call again" in seen
    assert "see its apps" not in seen
