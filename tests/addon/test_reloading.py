"""What becomes of a policy and of locks that were read again, and of who is under way."""

from __future__ import annotations

import asyncio
import sys
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from mitmproxy import http

from awsgate.addon.record import TRACE
from awsgate.addon.reloading import Reloader, describe
from awsgate.addon.tunnels import Route, Way
from awsgate.credentials import AwsCredentials, RoleRequest
from awsgate.errors import Code, Refusal, SetupError
from awsgate.grantwatch import GRANTS
from awsgate.locks import Found
from awsgate.policy import Lock, Policy
from awsgate.policy.accessrequest import asked, closed
from awsgate.policy.grants import Grant, GrantBook
from awsgate.policy.locks import LockBook
from awsgate.policy.requests import Terms
from awsgate.policywatch import Outcome, Reading, digest_of
from calls import POLICY, READER
from hooking import INVOKE, PUT, STREAMED, FakeSts, Rig
from locking import lock
from signers import WHEN


class Bench:
    """A reloader over the rig's gateway, and what it says and cuts."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.cut: list[str] = []
        rig.hooks.cut = self.cut.append
        rig.gateway.policy = POLICY
        self.reloader = Reloader(rig.hooks)

    def locks(self, *locks: Lock, faults: tuple[str, ...] = (), unread: str = "") -> None:
        found = Found(LockBook(locks), faults, frozenset(filter(None, [unread])))
        self.reloader.take(Outcome("locks", found, None, asked=False))

    def policy(self, policy: Policy, *, asked: bool = False) -> None:
        self.reloader.take(Outcome("policy", Reading(policy, digest_of(policy)), None, asked))

    def fault(self, source: str, message: str = "bad", *, asked: bool = False) -> None:
        self.reloader.take(Outcome(source, None, SetupError(message), asked))

    def events(self) -> list[tuple[str, str, str]]:
        return [(r["event"], r["decision"], r["rule"]) for r in self.rig.records()]

    def reloads(self) -> dict[str, float]:
        samples = {}
        for family in self.rig.gateway.metrics.registry.collect():
            if family.name == "awsgate_policy_reloads":
                samples = {s.labels["result"]: s.value for s in family.samples if s.value}
        return samples


@pytest.fixture
def bench(rig: Rig) -> Bench:
    return Bench(rig)


# --- what is under way -------------------------------------------------------------------


async def under_way(rig: Rig) -> http.HTTPFlow:
    flow = rig.flow(STREAMED)
    await rig.pass_through(flow)
    return flow


async def test_who_is_locked_is_cut_and_recorded_once(bench: Bench) -> None:
    flow = await under_way(bench.rig)

    bench.locks(lock(user="alice", message="stop"))
    bench.locks(lock(user="alice", message="stop"), lock("two", role="read"))
    bench.rig.hooks.error(flow)
    bench.rig.hooks.client_disconnected(flow.client_conn)

    assert bench.cut == [flow.client_conn.id]
    (record,) = [r for r in bench.rig.records() if r["event"] == "request"]
    assert (record["decision"], record["code"], record["user"]) == ("refused", "locked", "alice")
    assert record["reason"] == "cut off: stop [lock/one]"


@pytest.mark.parametrize(
    "other",
    [
        lock(user="bob"),
        lock(user="alice", app="other"),
        lock(user="alice", expires=(WHEN - timedelta(seconds=1)).isoformat()),
    ],
    ids=["another user", "another app", "a lock that is over"],
)
async def test_nobody_else_is_cut(bench: Bench, other: Lock) -> None:
    flow = await under_way(bench.rig)

    bench.locks(other)

    assert bench.cut == []
    assert flow.metadata[TRACE].refusal is None


async def test_a_connection_that_waits_for_its_next_request_is_not_cut(bench: Bench) -> None:
    """It is refused in words then."""
    flow = await under_way(bench.rig)
    flow.response = http.Response.make(200)
    bench.rig.hooks.response(flow)

    bench.locks(lock(user="alice"))

    assert bench.cut == []


async def test_who_waits_for_keys_is_never_signed_for(bench: Bench) -> None:
    rig = bench.rig
    sts = SlowSts()
    rig.gateway.credentials._assumer = sts
    flow = rig.flow(STREAMED)
    pending = rig.hooks.requestheaders(flow)
    assert pending is not None
    waiting = asyncio.ensure_future(pending)
    await asyncio.sleep(0.05)

    bench.locks(lock(user="alice"))
    sts.go.set()
    await waiting

    assert bench.cut == [flow.client_conn.id]
    assert flow.metadata[TRACE].refusal.code is Code.LOCKED
    assert b"ASIAROLE" not in bytes(flow.request.headers)
    assert flow.response is not None, "mitmproxy must not send what the client sent"


class SlowSts(FakeSts):
    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()

    def assume(self, request: RoleRequest) -> AwsCredentials:
        assert self.go.wait(5)
        return super().assume(request)


@pytest.mark.parametrize(
    ("locked", "asked_again"),
    [
        (lock(user="alice"), True),
        (lock(user="alice", aws_role_arn=READER), True),
        (lock(aws_role_arn=READER), True),
        (lock(role="read"), True),
        (lock(user="bob"), False),
        (lock(aws_role_arn=READER + "2"), False),
        (lock(user="alice", expires=(WHEN - timedelta(1)).isoformat()), False),
    ],
    ids=lambda value: describe(value) if isinstance(value, Lock) else "",
)
async def test_the_credentials_of_the_locked_are_dropped(
    bench: Bench, locked: Lock, asked_again: bool
) -> None:
    rig = bench.rig
    await rig.pass_through(rig.flow(PUT))
    bench.locks(locked)
    bench.locks()

    await rig.pass_through(rig.flow(INVOKE))

    assert len(rig.sts.calls) == (2 if asked_again else 1)


# --- locks --------------------------------------------------------------------------------


def test_locks_that_come_and_go_are_recorded(bench: Bench) -> None:
    bench.locks(lock(user="bob", message="m"), lock("two", app="x"))
    bench.locks(lock("two", app="x"))
    bench.locks(lock("two", app="x"))

    assert bench.events() == [
        ("lock.add", "allowed", "lock/one"),
        ("lock.add", "allowed", "lock/two"),
        ("lock.remove", "allowed", "lock/one"),
    ]
    assert bench.rig.records()[0]["reason"] == "user=bob for good by ada: m"
    assert bench.reloads() == {}


def test_a_lock_that_cannot_be_read_any_more_stays_and_others_come(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.locks(lock(user="bob"))
    for _ in range(3):
        bench.locks(lock("two", user="eve"), faults=("one.json: is not JSON",), unread="one")

    assert [x.metadata.name for x in bench.rig.gateway.gate.locks] == ["one", "two"]
    said = capsys.readouterr().err
    assert said.count("one.json: is not JSON") == 1
    assert "the others are in force" in said
    bench.locks(lock("two", user="eve"))
    assert [x.metadata.name for x in bench.rig.gateway.gate.locks] == ["two"], "it was removed"
    assert bench.events()[-1] == ("locks.reload", "allowed", "")


def test_locks_stay_when_their_folder_is_gone(bench: Bench) -> None:
    bench.locks(lock(user="bob"))
    bench.fault("locks", "the folder of the locks is gone")

    assert [x.metadata.name for x in bench.rig.gateway.gate.locks] == ["one"]
    assert bench.events()[-1] == ("locks.reload", "refused", "")
    assert bench.reloads() == {"failed": 1.0}


# --- the policy -----------------------------------------------------------------------------


def test_a_changed_policy_is_in_force_told_counted_and_recorded(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    without = replace(POLICY, users={})
    bench.policy(without)

    gateway = bench.rig.gateway
    assert (gateway.policy.users, gateway.gate.policy.users) == ({}, {})
    assert gateway.digest == digest_of(without)
    assert capsys.readouterr().err == ("awsgate: policy read again: 0 users, 1 roles, 1 apps\n")
    (record,) = bench.rig.records()
    assert (record["event"], record["decision"]) == ("policy.reload", "allowed")
    assert record["reason"] == (f"0 users, 1 roles, 1 apps; in force: sha256:{digest_of(without)}")
    assert bench.reloads() == {"ok": 1.0}


def test_what_is_in_force_already_is_not_told_unless_somebody_asks(bench: Bench) -> None:
    bench.policy(POLICY)
    assert bench.events() == []

    bench.policy(POLICY, asked=True)
    assert bench.events() == [("policy.reload", "allowed", "")]


def test_a_fault_is_said_once_and_each_attempt_counted(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    before = bench.rig.gateway.policy
    for _ in range(3):
        bench.fault("policy")
    assert capsys.readouterr().err == (
        "awsgate: error: bad\nawsgate: the policy in force stays as it was\n"
    )
    bench.fault("policy", asked=True)
    bench.fault("policy", "worse")
    said = capsys.readouterr().err
    assert said.count("error: bad") == said.count("error: worse") == 1

    assert bench.rig.gateway.policy is before
    assert bench.rig.gateway.faults == ("worse",)
    assert bench.reloads() == {"failed": 5.0}
    assert bench.events() == [("policy.reload", "refused", "")] * 5
    bench.policy(POLICY)
    assert bench.rig.gateway.faults == ()
    assert bench.events()[-1] == ("policy.reload", "allowed", ""), "it was mended"


def test_a_lock_of_the_policy_is_one_of_the_gate(bench: Bench) -> None:
    bench.policy(replace(POLICY, locks={"one": lock(user="alice")}))
    bench.locks(lock("two", user="bob"))
    bench.policy(replace(POLICY, locks={"one": lock(user="alice")}, apps={}))

    gate = bench.rig.gateway.gate
    assert [x.metadata.name for x in gate.locks] == ["two"], "those of the state folder stay"
    assert list(gate.policy.locks) == ["one"]


def test_what_needs_a_restart_is_said_once_and_kept(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    old = POLICY.gateway
    limits = old.limits.model_copy(update={"connect_timeout_s": 1.0, "max_body_bytes": 9})
    new = old.model_copy(update={"listen": "127.0.0.1:1", "limits": limits, "non_aws": "refuse"})
    bench.policy(replace(POLICY, gateway=new))
    bench.policy(replace(POLICY, gateway=new, users={}))

    said = capsys.readouterr().err
    for name in ("listen", "limits.connect_timeout_s"):
        assert said.count(f"warning: {name} of kind: gateway needs a restart") == 1
    inside = bench.rig.gateway.policy.gateway
    assert (inside.listen, inside.limits.connect_timeout_s) == (
        old.listen,
        old.limits.connect_timeout_s,
    )
    assert (inside.non_aws, inside.limits.max_body_bytes) == ("refuse", 9)
    bench.policy(POLICY)
    bench.policy(replace(POLICY, gateway=new))
    assert capsys.readouterr().err.count("listen of kind: gateway needs a restart") == 1


def test_a_bypass_that_lets_everything_past_is_warned_of_when_it_comes(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    [entry] = (
        type(POLICY.gateway)
        .model_validate({"bypass": [{"hosts": ["*.amazonaws.com"], "reason": "oops"}]})
        .bypass
    )
    open_door = POLICY.gateway.model_copy(update={"bypass": (entry,)})
    for users in (POLICY.users, {}):
        bench.policy(replace(POLICY, gateway=open_door, users=users))

    assert capsys.readouterr().err.count("past the policy, unseen") == 1


@pytest.mark.parametrize("ending", [OSError(5, "gone"), ValueError("closed")])
def test_a_terminal_that_is_gone_keeps_no_lock_from_being_enforced(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, ending: Exception
) -> None:
    class Gone:
        def write(self, _: str) -> None:
            raise ending

    monkeypatch.setattr(sys, "stderr", Gone())
    bench.policy(replace(POLICY, locks={"one": lock(user="alice")}))
    bench.fault("policy")

    assert list(bench.rig.gateway.policy.locks) == ["one"]
    assert bench.reloads() == {"ok": 1.0, "failed": 1.0}


def test_what_cannot_be_taken_leaves_what_is_in_force(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: object) -> None:
        raise ZeroDivisionError("s3cr3t")

    monkeypatch.setattr(bench.rig.gateway.metrics, "know_users", fail)
    before = bench.rig.gateway.gate
    bench.policy(replace(POLICY, users={}))

    assert bench.rig.gateway.gate is before
    assert capsys.readouterr().err == (
        "awsgate: error: the policy cannot be taken: ZeroDivisionError\n"
        "awsgate: the policy in force stays as it was\n"
    )
    assert bench.events() == [("policy.reload", "refused", "")]


# --- connections ------------------------------------------------------------------------------


def test_a_tunnel_that_would_not_be_opened_any_more_is_cut(bench: Bench) -> None:
    routes = bench.rig.hooks.routes
    routes.put("tunnel", Route(Way.TUNNEL, "vault.corp.example", 443, "non-aws"))
    routes.put("ssm", Route(Way.TUNNEL, "ssmmessages.us-east-1.amazonaws.com", 443, "ssm"))
    routes.put("aws", Route(Way.INTERCEPT, "s3.us-east-1.amazonaws.com", 443, "aws"))
    bench.policy(replace(POLICY, users={}))
    assert bench.cut == []

    refusing = POLICY.gateway.model_copy(update={"non_aws": "refuse"})
    bench.policy(replace(POLICY, gateway=refusing))

    assert bench.cut == ["tunnel"]


def test_a_refusal_is_no_policy(bench: Bench, tmp_path: Path) -> None:
    """Nothing that is not known is put in force."""
    before = bench.rig.gateway.gate
    bench.reloader.take(Outcome("policy", Refusal(Code.DENIED, "x"), None, asked=True))
    bench.reloader.take(Outcome("locks", tmp_path, None, asked=True))

    assert bench.rig.gateway.gate is before


# --- what was granted on request -----------------------------------------------------------


def grants(*more: Grant) -> Outcome[object]:
    return Outcome(GRANTS, GrantBook(more), None, asked=False)


async def test_grants_are_in_force_from_one_request_to_the_next(bench: Bench) -> None:
    one = Grant("ar-1", "alice", "local", "dba", int(WHEN.timestamp()) + 60)
    bench.reloader.take(grants(one))

    assert bench.rig.gateway.gate.grants == bench.rig.gateway.requests.book == GrantBook([one])
    bench.reloader.take(grants())
    assert len(bench.rig.gateway.gate.grants) == 0
    assert bench.events() == []  # whoever granted it has written that


async def test_a_database_that_is_away_is_told_once_and_changes_nothing(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    one = Grant("ar-1", "alice", "local", "dba", int(WHEN.timestamp()) + 60)
    bench.reloader.take(grants(one))
    for _ in range(3):
        bench.fault(GRANTS, "the database is away")

    assert len(bench.rig.gateway.gate.grants) == 1
    assert capsys.readouterr().err.count("the database is away") == 1
    bench.reloader.take(grants(one))
    assert "grants read again: 1 in force" in capsys.readouterr().err
    assert bench.events()[0] == ("grants.reload", "refused", "")
    assert bench.events()[-1] == ("grants.reload", "allowed", "")
    assert bench.reloads() == {}


async def test_the_end_of_a_grant_is_recorded_by_one(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    terms = Terms(((1, 1),), 60, reason_required=False)
    asked_for = asked(
        *("ar-1", "alice", "local", "dba"), terms=terms, reason="", duration_s=60, now=0
    )
    ended = [closed(asked_for, 10**9)]
    monkeypatch.setattr(bench.reloader._grants, "take_ended", lambda: ended)
    bench.reloader.take(grants())

    (record,) = bench.rig.records()
    assert (record["event"], record["user"], record["rule"], record["reason"]) == (
        *("request.ended", "alice", "role/dba"),
        "ar-1: expired",
    )
    labels = {"result": "expired"}
    registry = bench.rig.gateway.metrics.registry
    assert registry.get_sample_value("awsgate_access_requests_total", labels) == 1
