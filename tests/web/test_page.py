"""The page: what somebody who is signed in sees and can do, and what they are told."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit

import pytest

from awsgate.audit import AuditLog, AuditRecord
from awsgate.web.page import calls, guard
from awsgate.web.problems import Problem
from consoleway import TOKEN
from web.believing import PASSWORD, READ, WRITE
from web.paging import HOME, HOST, Browser, signed_in, words_of
from web.served import Served


def test_without_a_login_there_are_the_ways_in(shared: Served) -> None:
    answer = Browser(shared).get("/")

    assert answer.status_code == 200
    words = words_of(answer)
    for expected in ("Continue with Okta", "Password", "Code of your authenticator", "Sign in"):
        assert expected in words
    assert "alice" not in words


def test_a_password_signs_in_with_a_cookie_and_nothing_in_the_page(own: Served) -> None:
    browser = Browser(own)

    answer = browser.send("/sign-in/password", user="lola", password=PASSWORD, totp="123 456")

    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    token = browser.cookies[guard.LOGIN]
    assert token.startswith("gatelogin.")
    kept = {part.strip() for part in browser.attributes[guard.LOGIN].split(";")}
    assert {"httponly", "secure", "path=/", "samesite=lax"} <= kept
    assert not any(part.startswith("domain") for part in kept)
    page = browser.get("/")
    assert token not in page.text
    assert PASSWORD not in page.text
    assert "lola" in words_of(page)
    (line,) = own.lines(event="login")
    assert (line["user"], line["decision"]) == ("lola", "allowed")


def test_a_wrong_password_is_told_where_it_was_typed(own: Served) -> None:
    browser = Browser(own)

    answer = browser.send("/sign-in/password", user="lola", password="wrong")

    assert answer.status_code == 401
    assert "User, password or code are wrong" in words_of(answer)
    assert "wrong" not in answer.text.partition("<form")[2]
    assert guard.LOGIN not in browser.cookies


def test_apps_stand_by_account_with_their_labels_and_roles(shared: Served) -> None:
    words = words_of(signed_in(shared, "bob").get("/"))

    assert "Account 111122223333 main env: prod read 111122223333 Launch" in words
    assert "write 111122223333 Launch" in words
    assert "side" not in words.partition("Apps")[2].partition("awsgate")[0].split()
    pin = "sha256:" + "ab" * 32
    line = (
        f"awsgate login --gateway {HOME} --ca-pin {pin} && "
        'eval "$(awsgate env --app main --role read)"'
    )
    assert line in words


@pytest.mark.parametrize(
    ("search", "found"),
    [("main", True), ("PROD", True), ("1111 write", True), ("main nothing", False)],
)
def test_the_search_looks_at_all_that_can_be_read(search: str, found: bool, shared: Served) -> None:
    browser = signed_in(shared, "bob")
    whole = browser.get("/", q=search)
    part = browser.get("/", {"HX-Request": "true"}, q=search)

    for answer in (whole, part):
        assert ("Launch" in words_of(answer)) is found
        assert ("Nothing fits" in words_of(answer)) is not found
    assert "<html" in whole.text
    assert "<html" not in part.text


def test_a_launch_leads_to_aws_and_leaves_nothing_behind(own: Served) -> None:
    browser = signed_in(own, "bob")

    answer = browser.send("/launch", app="main", role=WRITE, service="s3", region="eu-west-1")

    assert answer.status_code == 303
    url = urlsplit(answer.headers["location"])
    assert url.netloc == "eu-west-1.signin.aws.amazon.com"
    assert parse_qs(url.query)["SigninToken"] == [TOKEN]
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.text == ""
    (line,) = own.lines(event="console")
    assert (line["user"], line["role_arn"], line["decision"]) == ("bob", WRITE, "allowed")
    assert TOKEN not in json.dumps(line)
    assert own.console.wanted[0].login_ends_in_s in (28799, 28800)


def test_who_may_not_is_told_why_on_a_page(own: Served) -> None:
    browser = signed_in(own)
    denied = browser.send("/launch", app="main", role=WRITE)
    own.console.sts.away = True
    away = browser.send("/launch", app="main", role=READ)

    assert denied.status_code == 403
    assert "Not allowed alice may have no role in main as" in words_of(denied)
    assert away.status_code == 502
    assert "Not available now STS gave no answer" in words_of(away)
    for answer in (denied, away):
        assert "Back to the apps" in words_of(answer)
        assert answer.headers["content-type"].startswith("text/html")
    first, second = own.lines(event="console")
    assert (first["decision"], first["user"], first["code"]) == ("refused", "alice", "denied")
    assert (second["decision"], second["code"]) == ("refused", "upstream-failed")


def test_an_ended_login_is_told_and_forgotten(own: Served) -> None:
    browser = signed_in(own)
    token = browser.form_token()
    own.clock.ahead_s += 9 * 3600

    answer = browser.post("/launch", {"form_token": token, "app": "main", "role": READ})

    assert answer.status_code == 401
    assert "Your login has ended" in words_of(answer)
    assert guard.LOGIN not in browser.cookies
    assert own.console.wanted == []


def test_the_locked_are_told_what_the_lock_says(own: Served) -> None:
    browser = signed_in(own)
    own.lock("shut", user="alice")

    answer = browser.get("/")

    assert answer.status_code == 403
    assert "You are locked out Talk to security." in words_of(answer)


def test_my_login_shows_its_end_and_ends(own: Served) -> None:
    browser = signed_in(own)
    words = words_of(browser.get("/login"))
    token = browser.cookies[guard.LOGIN]

    answer = browser.send("/sign-out", page="/login")

    assert "7 h 59 min left" in words
    assert "oidc/okta" in words
    assert answer.headers["location"] == "/signed-out"
    assert guard.LOGIN not in browser.cookies
    assert "You are signed out" in words_of(browser.get("/signed-out"))
    assert Browser(own).have(token).get("/login").status_code == 403  # revoked, not forgotten


def note(served: Served, user: str, **more: object) -> None:
    log = AuditLog(served.audit_path)
    fields = {"time": "2026-11-27T10:15:30.123Z", "event": "request", "decision": "allowed"}
    log.write(AuditRecord(user=user, **{**fields, **more}))  # type: ignore[arg-type]
    log.close()


def test_calls_are_the_users_own_with_why_one_was_refused(own: Served) -> None:
    note(own, "alice", id="1", action="s3:GetObject", status=200, ms=31.4)
    note(own, "bob", id="2", action="kms:Decrypt")
    note(own, "alice", id="3", action="s3:PutObject", decision="refused", status=403,
         code="denied", reason="no rule allows <this>")  # fmt: skip
    note(own, "alice-not", id="4", action="iam:GetUser", reason='"user":"alice"')

    answer = signed_in(own).get("/calls")
    words = words_of(answer)

    assert "s3:GetObject allowed status 200 31 ms" in words
    assert "s3:PutObject refused status 403 no rule allows <this> denied" in words
    assert words.index("s3:PutObject") < words.index("s3:GetObject")
    assert "kms" not in words
    assert "iam" not in words
    assert "<this>" not in answer.text


def test_calls_come_live_from_where_the_page_ended(own: Served) -> None:
    note(own, "alice", id="1", action="s3:GetObject")
    note(own, "alice", id="2", action="s3:PutObject")
    browser = signed_in(own)
    seen = []
    headers = {
        "Host": "gate.example.com:8444",
        "Cookie": f"{guard.LOGIN}={browser.cookies[guard.LOGIN]}",
    }
    with own.client() as http, http.stream("GET", "/calls/stream?after=1", headers=headers) as got:
        assert got.headers["content-type"].startswith("text/event-stream")
        note(own, "bob", id="3", action="kms:Decrypt")
        note(own, "alice", id="4", action="sqs:SendMessage")
        for line in got.iter_lines():
            if line.startswith("id: "):
                seen.append(line)
            assert "kms" not in line
            if seen[-1:] == ["id: 4"] and "SendMessage" in line.replace("<wbr>", ""):
                break

    assert seen == ["id: 2", "id: 4"]


def test_a_lock_ends_what_is_shown_live(own: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "LOOK_S", 0.01)
    browser = signed_in(own)
    headers = {"Host": HOST, "Cookie": f"{guard.LOGIN}={browser.cookies[guard.LOGIN]}"}
    with own.client() as http, http.stream("GET", "/calls/stream", headers=headers) as got:
        lines = got.iter_lines()
        assert next(lines) == "retry: 2000"
        own.lock("shut", user="alice")
        rest = list(lines)

    assert rest[-3:-1] == ["event: over", "data: over"]


def test_the_pages_that_show_calls_live_are_bounded_of_one_user_and_in_all() -> None:
    streams = calls.Streams()
    for user in range(calls.MAX_STREAMS // calls.MAX_STREAMS_OF_ONE):
        for _ in range(calls.MAX_STREAMS_OF_ONE):
            streams.enter(f"user-{user}")
        with pytest.raises(Problem, match="too many pages"):
            streams.enter(f"user-{user}")
    for user in range(calls.MAX_STREAMS % calls.MAX_STREAMS_OF_ONE):
        streams.enter(f"another-{user}")
    with pytest.raises(Problem, match="too many pages"):
        streams.enter("one more")
    streams.leave("user-0")
    streams.enter("one more")


def test_the_gateways_page_is_for_its_admins(own: Served) -> None:
    note(own, "alice", id="1", action="s3:GetObject", role_arn=READ)
    olga = signed_in(own, "olga")

    refused = signed_in(own).get("/gateway")
    words = words_of(olga.get("/gateway"))

    assert refused.status_code == 403
    assert "Alice may not do this" in words_of(refused)
    assert "Gateway" not in words_of(signed_in(own).get("/")).partition("Apps")[0]
    assert "alice 2026-11-27 10:15:30 read 1 0" in words
    assert "Nobody is locked out" in words
    assert "The CA ends" in words


def test_an_admin_locks_and_unlocks(own: Served) -> None:
    olga = signed_in(own, "olga")

    added = olga.send(
        "/gateway/locks",
        page="/gateway",
        kind="user",
        value="alice",
        message="call me",
        ttl_s="3600",
    )
    words = words_of(olga.get("/gateway"))
    (lock,) = own.store.read().locks
    denied = signed_in(own, "bob").send("/gateway/locks", kind="user", value="olga", ttl_s="0")
    removed = olga.send("/gateway/locks/remove", page="/gateway", name=lock.metadata.name)

    assert added.headers["location"] == "/gateway#locks"
    assert lock.spec.target.user == "alice"
    assert "user alice call me until" in words
    assert denied.status_code == 403
    assert removed.status_code == 303
    assert len(own.store.read().locks) == 0
