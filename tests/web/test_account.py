"""What a login is good for, what ends it, and what it can never be used for."""

from __future__ import annotations

import time
from typing import Any

import pytest

from awsgate.session import open_session
from awsgate.tunnelpass import open_tunnel_pass
from awsgate.web import attempts
from awsgate.web.choosing import life_of
from awsgate.web.problems import Problem
from web.believing import OTHER, PASSWORD, POLICY, READ, WRITE, id_token
from web.served import Served


def session_of(served: Served, keys: dict[str, Any]) -> Any:
    return open_session(
        served.state.session_keys,
        access_key_id=keys["access_key_id"],
        session_token=keys["session_token"],
        now=int(time.time()),
    ).session


def test_two_users_have_their_own_roles_and_nobody_elses(shared: Served) -> None:
    alice, bob, carol = (shared.log_in(who) for who in ("alice", "bob", "carol"))

    def roles(login: dict[str, Any]) -> list[dict[str, str]]:
        with shared.client(login["login"]) as http:
            found: list[dict[str, str]] = http.get("/v1/roles").json()["roles"]
        return found

    read = {"app": "main", "account": "111122223333", "role_arn": READ, "role": "read"}
    write = read | {"role_arn": WRITE, "role": "write"}
    other = {"app": "side", "account": "444455556666", "role_arn": OTHER, "role": "other"}
    assert roles(alice) == [read]
    assert roles(bob) == [read, write]
    assert roles(carol) == [other]
    with shared.client(alice["login"]) as http:
        refused = http.post("/v1/credentials", json={"app": "main", "role": WRITE})
    assert refused.status_code == 403
    assert refused.json()["error"]["code"] == "denied"
    assert refused.json()["error"]["choices"] == [read]
    (line,) = shared.lines(event="credentials", code="denied", session=alice["id"])
    assert (line["user"], line["decision"], line["rule"]) == ("alice", "refused", "oidc/okta")


def test_credentials_are_of_the_login_and_no_wider(shared: Served) -> None:
    login = shared.log_in("bob")
    asked = {"app": "main", "role": "write", "ttl_s": 600, "read_only": True, "max_requests": 5}
    with shared.client(login["login"]) as http:
        keys = http.post("/v1/credentials", json=asked).json()

    session = session_of(shared, keys)
    assert (session.user, session.app, session.role_arn) == ("bob", "main", WRITE)
    assert (keys["user"], keys["app"], keys["role_arn"]) == ("bob", "main", WRITE)
    assert (session.bounds.read_only, session.bounds.max_requests) == (True, 5)
    assert (session.login.id, session.login.connector) == (login["id"], "oidc/okta")
    assert session.login.roles == ("reader", "writer")
    assert keys["expires_at"] == session.expires_at
    assert 595 <= session.expires_at - time.time() <= 600
    caller = open_tunnel_pass(
        shared.state.session_keys,
        keys["access_key_id"],
        keys["proxy_password"],
        now=int(time.time()),
    )
    assert (caller.user, caller.proved.id, caller.login) == ("bob", session.id, login["id"])
    (line,) = shared.lines(event="credentials", session=session.id)
    assert (line["decision"], line["rule"], line["role_arn"]) == ("allowed", "role/writer", WRITE)
    assert f"login {login['id']}" in line["reason"]
    assert "; read-only; 5 requests" in line["reason"]


def test_what_is_clear_need_not_be_said(shared: Served) -> None:
    with shared.client(shared.log_in("alice")["login"]) as http:
        keys = http.post("/v1/credentials", json={}).json()
    with shared.client(shared.log_in("bob")["login"]) as http:
        unclear = http.post("/v1/credentials", json={})

    assert keys["role_arn"] == READ
    assert unclear.status_code == 409
    error = unclear.json()["error"]
    assert error["code"] == "ambiguous"
    assert [one["role"] for one in error["choices"]] == ["read", "write"]


LIFE: dict[str, tuple[str, dict[str, Any], int | str]] = {
    # who, what is asked -> seconds, or why not
    "the default": ("alice", {"role": "read"}, 3600),
    "as asked": ("alice", {"role": "read", "ttl_s": 60}, 60),
    "the most": ("alice", {"role": "read", "ttl_s": 4 * 3600}, 4 * 3600),
    "beyond the most": ("alice", {"role": "read", "ttl_s": 4 * 3600 + 1}, "session.max_ttl"),
    "the role's own limit": ("bob", {"role": "write"}, 1800),
    "beyond it": ("bob", {"role": "write", "ttl_s": 1801}, "max_session_ttl of role/writer"),
    "not beyond the login": ("brief", {"role": "read"}, 120),
    "asked beyond it": ("brief", {"role": "read", "ttl_s": 130}, "the login ends then"),
}


@pytest.mark.parametrize("row", LIFE.values(), ids=LIFE)
def test_no_session_outlives_its_limits(
    shared: Served, row: tuple[str, dict[str, Any], int | str]
) -> None:
    who, asked, wanted = row
    login = shared.log_in(who)

    with shared.client(login["login"]) as http:
        answer = http.post("/v1/credentials", json=asked | {"app": "main"})

    if isinstance(wanted, int):
        assert answer.status_code == 200
        lasts = answer.json()["expires_at"] - time.time()
        assert wanted - 3 < lasts <= wanted + 1
        assert answer.json()["expires_at"] <= login["expires_at"]
    else:
        assert answer.status_code == 403
        assert wanted in answer.json()["error"]["hint"]


BEARERS = {
    "none": (None, "not-signed"),
    "no bearer": ("Basic YTpi", "not-signed"),
    "no token": ("Bearer", "not-signed"),
    "no login": ("Bearer gatelogin.AAAA", "unknown-key"),
    "one bit changed": ("flip", "unknown-key"),
    "a session's token": ("session", "unknown-key"),
    "of another gateway": ("foreign", "unknown-key"),
}
CALLS = [("GET", "/v1/whoami"), ("GET", "/v1/roles"), ("POST", "/v1/credentials"),
         ("POST", "/v1/logout"), ("GET", "/v1/locks"), ("GET", "/v1/status"),
         ("POST", "/v1/locks"), ("DELETE", "/v1/locks/x")]  # fmt: skip


@pytest.fixture(scope="module")
def bearers(shared: Served) -> dict[str, str]:
    from awsgate.login import Login, LoginFacts, mint_login
    from awsgate.sealing import SessionKeys

    token = shared.log_in("alice")["login"]
    with shared.client(token) as http:
        session = http.post("/v1/credentials", json={}).json()["session_token"]
    last = "A" if token[40] != "A" else "B"
    login = Login("alice", LoginFacts("0" * 20, "oidc/okta", ("ops",)), 0, 2**40)
    foreign = mint_login(SessionKeys(b"x" * 32), login, entropy=b"y" * 32)
    return {
        "flip": f"Bearer {token[:40]}{last}{token[41:]}",
        "session": f"Bearer {session}",
        "foreign": f"Bearer {foreign}",
    }


@pytest.mark.parametrize("row", BEARERS.values(), ids=BEARERS)
def test_without_a_login_of_this_gateway_nothing_is_given(
    shared: Served, bearers: dict[str, str], row: tuple[str | None, str]
) -> None:
    given, code = row
    headers = {"Authorization": bearers.get(given, given)} if given else {}

    with shared.client() as http:
        answers = [
            http.request(
                method, path, headers=headers, **({"json": {}} if method == "POST" else {})
            )
            for method, path in CALLS
        ]

    assert {(one.status_code, one.json()["error"]["code"]) for one in answers} == {(401, code)}
    assert all(one.headers["www-authenticate"].startswith("Bearer") for one in answers)


def test_two_bearers_are_none(shared: Served) -> None:
    token = shared.log_in("alice")["login"]
    twice = [("Authorization", f"Bearer {token}"), ("Authorization", f"Bearer {token}")]

    with shared.client() as http:
        assert http.get("/v1/whoami", headers=twice).status_code == 401


def test_a_login_that_has_just_ended_gives_no_session_of_no_time(own: Served) -> None:
    own.log_in("alice")
    desk = own.api.desk
    caller = desk.caller(desk.admit(own.fakes["oidc/okta"].identity("alice")))

    with pytest.raises(Problem, match="for 0s at most") as caught:
        life_of(caller, "main", READ, 0, caller.login.expires_at)

    assert caught.value.status == 403


def test_a_login_ends_at_the_second(own: Served) -> None:
    login = own.log_in("brief")
    with own.client(login["login"]) as http:
        before = http.get("/v1/whoami")
        own.clock.ahead_s += 121
        after = http.get("/v1/whoami")

    assert (before.status_code, after.status_code) == (200, 401)
    assert after.json()["error"]["code"] == "session-expired"
    assert "awsgate login" in after.json()["error"]["hint"]


def test_whoami_says_who_it_is(shared: Served) -> None:
    login = shared.log_in("olga")
    with shared.client(login["login"]) as http:
        me = http.get("/v1/whoami").json()

    assert me == {
        **{k: login[k] for k in ("id", "user", "connector", "roles", "issued_at", "expires_at")},
        "gateway_admin": True,
    }


TARGETS = {
    # a lock's target -> does it hold alice, who has the role reader
    "the user": ({"user": "alice"}, True),
    "the login": ({"session": "<id>"}, True),
    "a role of hers": ({"role": "reader"}, True),
    "another user": ({"user": "bob"}, False),
    "a role that she has not": ({"role": "writer"}, False),
    "her in another role": ({"user": "alice", "role": "writer"}, False),
}


@pytest.mark.parametrize(("target", "holds"), TARGETS.values(), ids=TARGETS)
def test_a_lock_holds_at_once_whom_it_names(
    own: Served, target: dict[str, str], holds: bool
) -> None:
    login = own.log_in("alice")
    target = {kind: login["id"] if value == "<id>" else value for kind, value in target.items()}
    with own.client(login["login"]) as http:
        before = http.post("/v1/credentials", json={}).status_code
        own.lock("l", **target)
        held = [
            http.get("/v1/whoami"),
            http.get("/v1/roles"),
            http.post("/v1/credentials", json={}),
        ]
        own.store.remove("l")
        after = http.post("/v1/credentials", json={}).status_code

    assert (before, after) == (200, 200)
    assert {one.status_code for one in held} == {403 if holds else 200}
    if holds:
        errors = [one.json()["error"] for one in held]
        assert {(e["code"], e["message"]) for e in errors} == {("locked", "talk to security")}
        (line,) = own.lines(event="credentials", code="locked")
        assert (line["user"], line["session"], line["status"]) == ("alice", login["id"], 403)


@pytest.mark.parametrize("target", [{"app": "main"}, {"aws_role_arn": READ}])
def test_a_lock_on_what_is_asked_for_holds_that_alone(own: Served, target: dict[str, str]) -> None:
    login = own.log_in("alice")
    own.lock("l", **target)
    with own.client(login["login"]) as http:
        assert http.get("/v1/whoami").status_code == 200
        assert http.post("/v1/credentials", json={}).json()["error"]["code"] == "locked"


def test_who_is_locked_does_not_log_in(own: Served) -> None:
    own.lock("l", user="lola")
    asked = {"user": "lola", "password": PASSWORD}
    with own.client() as http:
        answer = http.post("/v1/login/password", json=asked)

    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "locked")
    assert own.count("local", "locked") == 1


def test_a_lock_that_cannot_be_read_any_more_holds_on(own: Served) -> None:
    login = own.log_in("alice")
    own.lock("l", user="alice")
    with own.client(login["login"]) as http:
        held = http.get("/v1/whoami").status_code
        (own.state.locks_folder / "l.json").write_text("{")
        still = http.get("/v1/whoami").status_code

    assert (held, still) == (403, 403)


def test_without_the_folder_of_the_locks_nothing_is_given(own: Served) -> None:
    login = own.log_in("alice")
    own.state.locks_folder.rename(own.folder / "elsewhere")
    with own.client(login["login"]) as http:
        answer = http.get("/v1/whoami")

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "gateway-fault")


def test_a_logout_ends_the_login_and_that_alone(own: Served) -> None:
    one, two = own.log_in("alice"), own.log_in("alice")
    with own.client(one["login"]) as http:
        out = http.post("/v1/logout")
        after = http.get("/v1/whoami")
        again = http.post("/v1/logout")
    with own.client(two["login"]) as http:
        other = http.get("/v1/whoami")

    assert (out.status_code, out.json()) == (200, {"id": one["id"]})
    assert (after.status_code, after.json()["error"]["code"]) == (403, "locked")
    assert (again.status_code, other.status_code) == (200, 200)
    (lock,) = own.store.read().locks
    assert lock.metadata.name == f"logout-{one['id']}"
    assert lock.spec.target.model_dump(exclude_none=True) == {"session": one["id"]}
    assert lock.spec.expires is not None
    assert int(lock.spec.expires.timestamp()) == one["expires_at"]
    assert [line["session"] for line in own.lines(event="logout")] == [one["id"]] * 2


def test_logging_in_and_out_for_ever_does_not_fill_the_folder_of_the_locks(
    own: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "MAX_LOGINS", 3)
    for _ in range(3):
        with own.client(own.log_in("alice", "oidc/ci")["login"]) as http:
            http.post("/v1/logout")
    asked = {"token": id_token("alice")}
    with own.client() as http:
        over = http.post("/v1/login/id-token", json=asked)
        own.clock.ahead_s += 8 * 3600
        later = http.post("/v1/login/id-token", json=asked)

    assert (over.status_code, over.json()["error"]["code"]) == (429, "too-many-logins")
    assert own.lines(event="login", code="too-many-logins", user="alice")
    assert later.status_code == 200


def test_logouts_whose_logins_have_ended_are_taken_away(own: Served) -> None:
    own.lock("kept", user="somebody")
    first = own.log_in("brief")
    with own.client(first["login"]) as http:
        http.post("/v1/logout")
    own.clock.ahead_s += 200
    second = own.log_in("alice")
    with own.client(second["login"]) as http:
        http.post("/v1/logout")

    names = {lock.metadata.name for lock in own.store.read().locks}
    assert names == {"kept", f"logout-{second['id']}"}


# --- the policy changes -------------------------------------------------------------------


def test_roles_are_those_of_the_policy_in_force(own: Served) -> None:
    login = own.log_in("alice")
    own.take_policy(POLICY.replace(READ, WRITE))
    with own.client(login["login"]) as http:
        (role,) = http.get("/v1/roles").json()["roles"]

    assert role["role_arn"] == WRITE


def test_a_login_ends_with_its_connector(own: Served) -> None:
    login = own.log_in("alice")
    own.take_policy(POLICY.replace("{name: okta}", "{name: other}"))
    with own.client(login["login"]) as http:
        answer = http.get("/v1/whoami")
        ping = http.get("/v1/ping").json()

    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unknown-key")
    assert "oidc/other" in {one["name"] for one in ping["connectors"]}


def test_a_local_login_ends_with_its_document(own: Served) -> None:
    asked = {"user": "lola", "password": PASSWORD}
    with own.client() as http:
        token = http.post("/v1/login/password", json=asked).json()["login"]
    with own.client(token) as http:
        before = http.post("/v1/credentials", json={})
        own.take_policy(POLICY.replace("{name: lola}", "{name: lona}"))
        after = http.get("/v1/whoami")

    assert (before.status_code, after.status_code) == (200, 401)


def test_a_document_of_the_same_name_gives_a_login_nothing(own: Served) -> None:
    login = own.log_in("alice")
    own.take_policy(
        POLICY.replace("{name: lola}", "{name: alice}").replace("[reader]}", "[writer]}", 1)
    )
    with own.client(login["login"]) as http:
        (role,) = http.get("/v1/roles").json()["roles"]

    assert role["role_arn"] == READ
