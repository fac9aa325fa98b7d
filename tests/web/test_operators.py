"""Locks and status: for roles with options.gateway_admin, and for nobody else."""

from __future__ import annotations

import pytest

from web.believing import POLICY
from web.served import Served

ADMIN = [
    ("GET", "/v1/locks", None),
    ("POST", "/v1/locks", {"target": {"user": "bob"}}),
    ("DELETE", "/v1/locks/x", None),
    ("GET", "/v1/status", None),
]


@pytest.mark.parametrize(("method", "path", "body"), ADMIN)
def test_it_takes_a_role_for_it(
    shared: Served, method: str, path: str, body: dict[str, object] | None
) -> None:
    with shared.client(shared.log_in("bob")["login"]) as http:
        answer = http.request(method, path, json=body)

    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "not-admin")
    if method != "GET":
        event = "lock.add" if method == "POST" else "lock.remove"
        line = shared.lines(event=event, decision="refused")[-1]
        assert (line["user"], line["code"]) == ("bob", "not-admin")
    assert shared.store.read().locks == ()


def test_a_lock_holds_the_next_call_and_is_taken_away_again(own: Served) -> None:
    bob, olga = own.log_in("bob"), own.log_in("olga")
    asked = {"name": "bob", "target": {"user": "bob"}, "message": "call me", "ttl_s": 3600}
    with own.client(olga["login"]) as admin, own.client(bob["login"]) as user:
        added = admin.post("/v1/locks", json=asked)
        held = user.get("/v1/whoami")
        listed = admin.get("/v1/locks").json()["locks"]
        removed = admin.delete("/v1/locks/bob")
        free = user.get("/v1/whoami")
        again = admin.delete("/v1/locks/bob")

    assert (added.status_code, removed.json()) == (201, {"name": "bob"})
    assert held.json()["error"]["message"] == "call me"
    assert (held.status_code, free.status_code, again.status_code) == (403, 200, 404)
    (row,) = listed
    assert row == added.json()
    assert (row["by"], row["target"], row["in_force"]) == ("olga", {"user": "bob"}, True)
    assert row["source"] == "state"


BAD = {
    "of nobody": ({"target": {}}, 400, "names nobody"),
    "with a name that leads elsewhere": (
        {"name": "../x", "target": {"user": "bob"}}, 400, "cannot be the name",
    ),
    "in the name of a logout": (
        {"name": "logout-x", "target": {"user": "bob"}}, 400, "of logouts",
    ),
    "of what no lock has": ({"target": {"group": "x"}}, 400, "target.group"),
}  # fmt: skip


@pytest.mark.parametrize("row", BAD.values(), ids=BAD)
def test_a_lock_is_refused(shared: Served, row: tuple[dict[str, object], int, str]) -> None:
    asked, status, text = row
    with shared.client(shared.log_in("olga")["login"]) as http:
        answer = http.post("/v1/locks", json=asked)

    assert answer.status_code == status
    assert text in answer.json()["error"]["message"]


def test_what_cannot_be_taken_away_says_so(own: Served) -> None:
    lock = """
---
kind: lock
version: v1
metadata: {name: of-policy}
spec: {target: {user: nobody}}
"""
    own.take_policy(POLICY + lock)
    bob, olga = own.log_in("bob"), own.log_in("olga")
    with own.client(bob["login"]) as user:
        user.post("/v1/logout")
    with own.client(olga["login"]) as admin:
        admin.post("/v1/locks", json={"name": "one", "target": {"user": "x"}})
        twice = admin.post("/v1/locks", json={"name": "one", "target": {"user": "x"}})
        logout = admin.delete(f"/v1/locks/logout-{bob['id']}")
        policy = admin.delete("/v1/locks/of-policy")
        sources = {row["name"]: row["source"] for row in admin.get("/v1/locks").json()["locks"]}

    codes = [(one.status_code, one.json()["error"]["code"]) for one in (twice, logout, policy)]
    assert codes == [(409, "exists"), (409, "permanent"), (409, "permanent")]
    assert sources == {"one": "state", f"logout-{bob['id']}": "state", "of-policy": "policy"}


def test_status_counts(own: Served) -> None:
    with own.client(own.log_in("olga")["login"]) as admin:
        own.lock("one", user="x")
        said = admin.get("/v1/status").json()

    numbers = {k: said[k] for k in ("users", "roles", "apps", "connectors", "locks")}
    assert numbers == {"users": 1, "roles": 4, "apps": 2, "connectors": 3, "locks": 1}
    assert (said["name"], said["mode"]) == ("gate.example.com", "enforce")
