"""What users may ask for is remembered; what was, and holds no more, is neither shown nor given."""

from __future__ import annotations

from dataclasses import replace

import pytest

from awsgate.login import Login, LoginFacts
from awsgate.policy import Policy, parse_policy
from awsgate.policy.grantable import Grantable
from awsgate.policy.grants import Grant, GrantBook
from awsgate.standing import policy_of
from awsgate.web import granted
from awsgate.web.choosing import Asked, Caller, pair_meant
from awsgate.web.desk import Desk
from awsgate.web.granted import Granted
from awsgate.web.problems import Problem
from web.believing import POLICY, READ, WRITE
from web.paging import Browser, signed_in, words_of
from web.served import Served

ONLY_OTHERS = POLICY.replace(f'aws_role_arns: ["{READ}"]', f'aws_role_arns: ["{READ}2"]')
DENIED = POLICY.replace(
    f'allow: {{app_labels: {{env: prod}}, aws_role_arns: ["{WRITE}"]}}',
    f'allow: {{app_labels: {{env: prod}}, aws_role_arns: ["{WRITE}"]}}\n'
    f'  deny: {{aws_role_arns: ["{WRITE}"]}}',
)


def roles(served: Served, token: str) -> list[str]:
    with served.client(token) as http:
        return [one["role"] for one in http.get("/v1/roles").json().get("roles", ())]


def shown(browser: Browser) -> list[str]:
    """Give which of two roles the page of the apps has."""
    text = browser.get("/").text
    return [arn for arn in (READ, WRITE) if f'value="{arn}"' in text]


def test_a_policy_that_gives_less_shows_and_gives_less_at_once(own: Served) -> None:
    bob, page = own.log_in("bob")["login"], signed_in(own, "bob")
    assert roles(own, bob) == ["read", "write"]
    assert shown(page) == [READ, WRITE]

    own.take_policy(DENIED)

    with own.client(bob) as http:
        refused = http.post("/v1/credentials", json={"app": "main", "role": WRITE})
        clear = http.post("/v1/credentials", json={})
    assert roles(own, bob) == ["read"]
    assert shown(page) == [READ]
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "denied")
    assert clear.json()["role_arn"] == READ

    own.take_policy(POLICY)
    assert roles(own, bob) == ["read", "write"]


def test_a_grant_is_there_while_it_lasts_and_not_a_moment_longer(
    own: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, page = own.log_in("alice")["login"], signed_in(own)
    assert roles(own, alice) == ["read"]
    book = [GrantBook([Grant("ar-1", "alice", "oidc/okta", "writer", int(own.clock()) + 60)])]
    monkeypatch.setattr(own.api.desk, "_granted", lambda: book[0])

    assert roles(own, alice) == ["read", "write"]
    assert "write" in words_of(page.get("/"))
    own.clock.ahead_s += 61
    assert roles(own, alice) == ["read"]
    own.clock.ahead_s -= 61
    assert roles(own, alice) == ["read", "write"]
    book[0] = GrantBook()  # taken back
    assert roles(own, alice) == ["read"]
    with own.client(alice) as http:
        assert http.post("/v1/credentials", json={"role": WRITE}).status_code == 403


def test_a_lock_holds_at_once_whatever_is_remembered(own: Served) -> None:
    bob, page = own.log_in("bob")["login"], signed_in(own, "bob")
    assert roles(own, bob) == ["read", "write"]
    assert shown(page) == [READ, WRITE]

    own.lock("write", aws_role_arn=WRITE)
    with own.client(bob) as http:
        locked = http.post("/v1/credentials", json={"app": "main", "role": "write"})
    own.lock("bob", user="bob")

    assert locked.json()["error"]["code"] == "locked"
    assert roles(own, bob) == []
    assert shown(page) == []


def caller(policy: Policy, *names: str, known: Granted, login: str = "ab" * 10) -> Caller:
    facts = LoginFacts(login, "oidc/okta", names)
    return Caller(Login("u", facts, 0, 2**40), policy_of(policy, "u", facts), known)


def policies() -> tuple[Policy, Policy]:
    """Give two policies: the one lists a role in one app, the other in none."""

    def made(label: str) -> Policy:
        allow = {"app_labels": {"env": label}, "aws_role_arns": [READ]}
        okta = {
            "issuer_url": "https://idp.example.com",
            "client_id": "g",
            "claims_to_roles": [{"claim": "a", "value": "b", "roles": ["$1"]}],
        }
        uri = "https://console.aws.amazon.com/"
        documents = [
            {"kind": "role", "version": "v5", "metadata": {"name": "r"}, "spec": {"allow": allow}},
            {"kind": "app", "version": "v3", "metadata": {"name": "a", "labels": {"env": "x"}},
             "spec": {"uri": uri}},
            {"kind": "oidc", "version": "v3", "metadata": {"name": "okta"}, "spec": okta},
        ]  # fmt: skip
        return parse_policy([(str(number), one) for number, one in enumerate(documents)])

    return made("x"), made("y")


def test_a_list_that_is_stale_gives_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the list says: the one pair is decided anew, by the policy in force."""
    wide, narrow = policies()
    stale = caller(wide, "r", known=Granted()).granted
    assert pair_meant(caller(wide, "r", known=Granted()), Asked())[:2] == ("a", READ)
    monkeypatch.setattr(Granted, "of", lambda *_: stale)

    for asked in (Asked(), Asked("a"), Asked("", READ), Asked("", "read"), Asked("a", READ)):
        with pytest.raises(Problem) as no:
            pair_meant(caller(narrow, "r", known=Granted()), asked)
        assert (no.value.status, no.value.code) == (403, "denied")


def test_two_logins_of_one_name_have_each_their_own() -> None:
    wide, narrow = policies()
    known = Granted()

    for _ in range(2):
        assert caller(wide, "r", known=known).granted.count() == 1
        assert caller(wide, known=known).granted.count() == 0
        assert caller(narrow, "r", known=known).granted.count() == 0


def test_it_is_found_once_a_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    wide, _ = policies()
    known, made = Granted(), list[str]()

    class Counted(Grantable):
        def __init__(self, policy: Policy, user: str) -> None:
            made.append(user)
            super().__init__(policy, user)

    monkeypatch.setattr(granted, "Grantable", Counted)
    for number in range(5):  # another login of the same person, who may do the same
        caller(wide, "r", known=known, login=f"{number}" * 20).granted.count()
    assert len(made) == 1

    changed = replace(wide, apps=dict(wide.apps))
    for _ in range(5):
        caller(changed, "r", known=known).granted.count()
    assert len(made) == 2


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    wide, _ = policies()
    size = caller(wide, "r", known=Granted()).granted.size
    monkeypatch.setattr(granted, "MAX_KEPT", 3 * size)
    known = Granted()

    for number in range(10):
        assert caller(wide, "r", f"other{number}", known=known).granted.count() == 1
    assert known._kept.currsize <= 3 * size
    monkeypatch.setattr(granted, "MAX_KEPT", size - 1)
    too_large = Granted()
    assert caller(wide, "r", known=too_large).granted.count() == 1
    assert not too_large._kept


def test_the_desk_remembers_for_all_its_callers(own: Served) -> None:
    desk: Desk = own.api.desk
    login = own.log_in("bob")
    first, second = (desk.opened(login["login"]) for _ in range(2))

    assert first.granted is second.granted
