"""POST /v1/console: a way in for a login, no wider and no longer, and recorded."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

from consoleway import TOKEN
from web.believing import READ, WRITE
from web.served import Served


def ask(served: Served, who: str, **asked: Any) -> tuple[int, dict[str, Any]]:
    with served.client(served.log_in(who)["login"]) as http:
        answer = http.post("/v1/console", json=asked)
    return answer.status_code, answer.json()


def test_the_way_in_is_for_the_login_and_ends_with_the_policys_limit(own: Served) -> None:
    status, said = ask(own, "alice", service="s3", region="eu-west-1")

    assert status == 200
    url = urlsplit(said["url"])
    assert (url.scheme, url.netloc) == ("https", "eu-west-1.signin.aws.amazon.com")
    fields = parse_qs(url.query)
    assert fields["Issuer"] == ["https://gate.example.com:8444/"]
    assert fields["SigninToken"] == [TOKEN]
    assert (
        said["destination"] == "https://eu-west-1.console.aws.amazon.com/s3/home?region=eu-west-1"
    )
    assert (said["user"], said["app"], said["role_arn"]) == ("alice", "main", READ)
    assert (said["expires_in"], said["limited_by"]) == (4 * 3600, "session.max_ttl of the gateway")
    (wanted,) = own.console.wanted
    assert wanted.login_ends_in_s in (28799, 28800)
    assert wanted.client == "127.0.0.1"
    (request,) = own.console.sts.asked
    assert (request.role_arn, request.session_name) == (READ, "alice")


def test_it_ends_with_the_login(own: Served) -> None:
    token = own.log_in("alice")["login"]
    own.clock.ahead_s += 7 * 3600
    with own.client(token) as http:
        said = http.post("/v1/console", json={}).json()

    assert 3590 <= said["expires_in"] <= 3600
    assert said["limited_by"] == "the login ends then"


def test_who_has_several_roles_says_which(shared: Served) -> None:
    status, said = ask(shared, "bob")

    assert (status, said["error"]["code"]) == (409, "ambiguous")
    assert {one["role_arn"] for one in said["error"]["choices"]} == {READ, WRITE}


def test_it_is_recorded_without_the_url(own: Served) -> None:
    ask(own, "alice")
    ask(own, "alice", region="cn-north-1")
    own.console.sts.away = True
    ask(own, "alice")

    done, wrong, failed = own.lines(event="console")
    assert (done["decision"], done["user"], done["app"]) == ("allowed", "alice", "main")
    assert (done["role_arn"], done["rule"], done["status"]) == (READ, "role/reader", 200)
    assert (done["access_key_id"], done["session_name"]) == ("ASIAEXAMPLE", "alice")
    assert done["client"].startswith("127.0.0.1:")
    assert (wrong["decision"], wrong["code"], wrong["status"]) == ("refused", "unsupported", 400)
    assert (failed["code"], failed["status"]) == ("upstream-failed", 502)
    assert TOKEN not in own.audit_path.read_text()
    assert "canary" not in own.audit_path.read_text()


def test_the_denied_the_locked_and_the_ended_get_none(own: Served) -> None:
    token = own.log_in("alice")["login"]
    denied = ask(own, "alice", app="main", role=WRITE)
    own.lock("shut", app="main")
    with own.client(token) as http:
        locked = http.post("/v1/console", json={})
        own.clock.ahead_s += 9 * 3600
        ended = http.post("/v1/console", json={})

    assert (denied[0], denied[1]["error"]["code"]) == (403, "denied")
    assert (locked.status_code, locked.json()["error"]["code"]) == (403, "locked")
    assert (ended.status_code, ended.json()["error"]["code"]) == (401, "session-expired")
    assert own.console.wanted == []
    lines = own.lines(event="console")
    assert [line["decision"] for line in lines] == ["refused"] * 3


def test_a_lock_that_cannot_be_read_opens_no_console(own: Served) -> None:
    (own.state.locks_folder / "l.json").write_text('{"kind": "lock", "spec": {"target": {"user"')
    status, said = ask(own, "alice")

    assert (status, said["error"]["code"]) == (403, "locked")
    assert "cannot be read" in said["error"]["message"]
    assert own.console.wanted == []


def test_a_gateway_that_hands_its_calls_on_has_none(own: Served) -> None:
    own.api.console = None
    status, said = ask(own, "alice")

    assert (status, said["error"]["code"]) == (400, "unsupported")
