"""Who may open a tunnel, whose it is, and when it is cut."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from mitmproxy import http
from mitmproxy.test import tflow

from awsgate.addon import tripwire
from awsgate.addon.tickets import MAX_ADDRESSES, MAX_OF_ONE, Ticket, TicketBook, waiting
from awsgate.errors import Code
from awsgate.gate import Gate
from awsgate.policy import parse_policy
from awsgate.policy.locks import LockBook
from awsgate.policy.settings import GatewaySpec
from awsgate.session import Session, SessionKeys, SessionOpener, open_session
from awsgate.tunnelpass import mint_tunnel_pass
from calls import KEYS, NOW_S, POLICY, READER, WHEN, minted
from hooking import Rig, refusal_of

SSM = "ssmmessages.eu-west-1.amazonaws.com"
ENTROPY = bytes(range(32))
KNOWN = "known"


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    rig = Rig(tmp_path)
    rig.gateway.session_keys = KEYS
    rig.gateway.metrics.know_users({"alice", "bob"})
    set_spec(rig, tunnels={"callers": KNOWN})
    rig.cut: list[str] = []  # type: ignore[attr-defined, misc]
    rig.hooks.cut = rig.cut.append  # type: ignore[attr-defined]
    return rig


def set_spec(rig: Rig, **spec: Any) -> None:
    gateway = GatewaySpec.model_validate({"non_aws": "tunnel", **spec})
    policy = replace(POLICY, gateway=gateway, users=users("alice", "bob"))
    rig.gateway.policy, rig.gateway.gate = policy, Gate(policy, SessionOpener(KEYS))


def users(*names: str) -> Any:
    return dict.fromkeys(names, POLICY.users["alice"])


def session(user: str = "alice", *, age_s: int = 0) -> Session:
    made = minted(user=user, age_s=age_s)
    return open_session(
        KEYS,
        access_key_id=made.access_key_id,
        session_token=made.session_token,
        now=NOW_S - age_s,
    ).session


def password(of: Session, keys: SessionKeys = KEYS) -> str:
    return mint_tunnel_pass(keys, of, entropy=ENTROPY)


def basic(of: Session, keys: SessionKeys = KEYS) -> str:
    return "Basic " + base64.b64encode(f"{of.key_id}:{password(of, keys)}".encode()).decode()


def connect(host: str = SSM, *values: str, address: str = "192.0.2.7") -> http.HTTPFlow:
    flow = tflow.tflow()
    data = flow.request.data
    data.method, data.host, data.port = b"CONNECT", host, 443
    data.headers = http.Headers([(b"Proxy-Authorization", v.encode()) for v in values])
    flow.client_conn.peername = (address, 50000)
    return flow


async def asked(rig: Rig, flow: http.HTTPFlow) -> http.HTTPFlow:
    """Call what mitmproxy calls, in its order."""
    pending = rig.hooks.http_connect(flow)
    if pending is not None:
        await pending
    if flow.response is None:
        rig.hooks.http_connected(flow)
    return flow


def lock(name: str = "l", **target: str) -> LockBook:
    document = {
        "kind": "lock",
        "version": "v2",
        "metadata": {"name": name},
        "spec": {"target": target, "message": "gone"},
    }
    return LockBook(parse_policy([("l", document)], complete=False).locks.values())


# --- by password ------------------------------------------------------------------------


async def test_a_session_says_who_opens_it_and_the_audit_and_the_metrics_too(rig: Rig) -> None:
    flow = await asked(rig, connect(SSM, basic(session())))

    assert flow.response is None
    assert flow.metadata[tripwire.ROUTED] is True
    opened = rig.records()[-1]
    assert (opened["event"], opened["user"], opened["app"]) == ("tunnel.open", "alice", "console")
    assert (opened["session"], opened["role_arn"]) == (session().id, READER)
    assert metric(rig, "awsgate_tunnels", user="alice") == 1
    rig.hooks.client_disconnected(flow.client_conn)
    assert rig.records()[-1]["event"] == "tunnel.close"
    assert rig.records()[-1]["user"] == "alice"
    assert metric(rig, "awsgate_tunnels", user="alice") == 0


def metric(rig: Rig, name: str, **labels: str) -> float | None:
    return rig.gateway.metrics.registry.get_sample_value(name, labels)


OTHER = SessionKeys(bytes(range(1, 33)))
FORGED = basic(session(), OTHER)
BAD: dict[str, tuple[Sequence[str], int, Code]] = {
    "nothing": ((), 407, Code.NOT_SIGNED),
    "another scheme": (("Bearer canary",), 407, Code.NOT_SIGNED),
    "rubbish": (("Basic canary!",), 407, Code.UNKNOWN_KEY),
    "huge": (("Basic " + "QQ" * 100_000,), 407, Code.UNKNOWN_KEY),
    "another gateway's": ((FORGED,), 407, Code.UNKNOWN_KEY),
    "twice": ((basic(session()), basic(session())), 400, Code.UNSUPPORTED),
    "twice, one of them bad": ((basic(session()), "Basic canary"), 400, Code.UNSUPPORTED),
    "ended": ((basic(session(age_s=3600)),), 403, Code.SESSION_EXPIRED),
    "of nobody any more": ((basic(session("carol")),), 403, Code.DENIED),
}


@pytest.mark.parametrize(("values", "status", "code"), BAD.values(), ids=BAD)
async def test_who_is_not_known_gets_none_and_is_told_why(
    rig: Rig, values: Sequence[str], status: int, code: Code
) -> None:
    flow = await asked(rig, connect(SSM, *values))

    assert refusal_of(flow) == (status, code)
    assert flow.response is not None
    challenge = flow.response.headers.get("proxy-authenticate")
    assert challenge == ('Basic realm="awsgate"' if status == 407 else None)
    assert tripwire.ROUTED not in flow.metadata
    assert rig.wire._approved == {}
    (line,) = rig.records()
    assert (line["event"], line["code"], line["status"]) == ("tunnel.refuse", code, status)
    said = f"{flow.response.text}{line}"
    assert "canary" not in said
    assert all(value.partition(" ")[2] not in said for value in values)


async def test_a_password_of_another_session_is_none(rig: Rig) -> None:
    alice, bob = session(), replace(session("bob"), key_id="GATEAAAAAAAAAAAAAAAA")
    mixed = base64.b64encode(f"{bob.key_id}:{password(alice)}".encode()).decode()

    assert refusal_of(await asked(rig, connect(SSM, f"Basic {mixed}")))[1] == Code.UNKNOWN_KEY


@pytest.mark.parametrize("target", [{"user": "alice"}, {"session": session().id}, {"role": "read"}])
async def test_who_is_locked_is_refused_whatever_the_lock_names(
    rig: Rig, target: dict[str, str]
) -> None:
    rig.gateway.take_locks(lock(**target))

    flow = await asked(rig, connect(SSM, basic(session())))

    assert refusal_of(flow) == (403, Code.LOCKED)
    assert "gone" in (flow.response.text or "")  # type: ignore[union-attr]


async def test_where_anybody_may_a_good_password_is_noted_and_a_bad_one_ignored(rig: Rig) -> None:
    set_spec(rig)

    for value in (basic(session()), FORGED, "Bearer x"):
        assert (await asked(rig, connect(SSM, value))).response is None
    assert (await asked(rig, connect(SSM))).response is None
    assert [line["user"] for line in rig.records()] == ["alice", "", "", ""]


async def test_aws_hosts_are_intercepted_without_a_caller(rig: Rig) -> None:
    """Inside, each request is signed. A refusal here would be repeated for a minute."""
    for values in ((), ("Basic rubbish",)):
        flow = await asked(rig, connect("sts.eu-west-1.amazonaws.com", *values))

        assert flow.response is None


async def test_the_control_api_needs_no_caller(rig: Rig) -> None:
    rig.gateway.control_address = "127.0.0.1:9443"

    flow = await asked(rig, connect("awsgate.internal"))

    assert flow.response is None
    rig.hooks.cut_locked()
    assert rig.cut == []  # type: ignore[attr-defined]


async def test_other_hosts_need_one_too(rig: Rig) -> None:
    assert refusal_of(await asked(rig, connect("vault.corp.example")))[0] == 407
    allowed = await asked(rig, connect("vault.corp.example", basic(session())))
    assert allowed.response is None


# --- how many, and how long -------------------------------------------------------------


async def test_a_user_has_so_many_and_no_more_and_takes_none_of_anothers(rig: Rig) -> None:
    set_spec(rig, tunnels={"callers": KNOWN}, limits={"max_tunnels_per_user": 2})
    first, _ = [await asked(rig, connect(SSM, basic(session()))) for _ in range(2)]

    third = await asked(rig, connect(SSM, basic(session())))
    bobs = await asked(rig, connect(SSM, basic(session("bob"))))
    rig.hooks.client_disconnected(first.client_conn)
    again = await asked(rig, connect(SSM, basic(session())))

    assert refusal_of(third) == (503, Code.THROTTLED)
    assert "2 tunnels of alice are open already" in (third.response.text or "")  # type: ignore[union-attr]
    assert bobs.response is None
    assert again.response is None


async def test_a_connect_that_comes_to_nothing_does_not_count(rig: Rig) -> None:
    set_spec(rig, tunnels={"callers": KNOWN}, limits={"max_tunnels_per_user": 1})
    flow = connect(SSM, basic(session()))
    for _ in range(3):  # one connection: its server does not answer, and it asks again
        assert rig.hooks.http_connect(flow) is None
        assert flow.response is None
    rig.hooks.client_disconnected(flow.client_conn)

    assert (await asked(rig, connect(SSM, basic(session())))).response is None
    assert [line["event"] for line in rig.records()] == ["tunnel.open"]


async def test_a_lock_cuts_the_tunnels_of_whom_it_names_and_no_other(rig: Rig) -> None:
    alices = await asked(rig, connect(SSM, basic(session())))
    await asked(rig, connect(SSM, basic(session("bob"))))
    rig.gateway.take_locks(lock(user="alice"))

    rig.hooks.cut_locked()
    rig.hooks.cut_locked()

    assert rig.cut == [alices.client_conn.id]  # type: ignore[attr-defined]
    rig.hooks.client_disconnected(alices.client_conn)
    line = rig.records()[-1]
    assert (line["event"], line["code"], line["user"]) == ("tunnel.close", "locked", "alice")
    assert (line["rule"], line["reason"]) == ("lock/l", "cut off: gone")


async def test_a_tunnel_ends_with_its_session(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    flow = connect(SSM, basic(session(age_s=3599)))
    monkeypatch.setattr(rig.hooks.tunnelling, "_clock", lambda: WHEN + timedelta(seconds=0.9))
    await asked(rig, flow)

    await asyncio.sleep(0.25)

    assert rig.cut == [flow.client_conn.id]  # type: ignore[attr-defined]
    rig.hooks.client_disconnected(flow.client_conn)
    assert rig.records()[-1]["code"] == "session-expired"


async def test_a_policy_that_takes_the_role_away_cuts(rig: Rig) -> None:
    flow = await asked(rig, connect(SSM, basic(session())))
    rig.gateway.policy = replace(rig.gateway.policy, users=users("bob"))

    rig.hooks.cut_locked()

    assert rig.cut == [flow.client_conn.id]  # type: ignore[attr-defined]
    rig.gateway.metrics.know_users({"bob"})
    rig.hooks.client_disconnected(flow.client_conn)
    assert rig.records()[-1]["code"] == "denied"
    assert metric(rig, "awsgate_tunnels", user="alice") == 0


async def test_tunnels_of_nobody_are_cut_once_callers_must_be_known(rig: Rig) -> None:
    set_spec(rig)
    flow = await asked(rig, connect(SSM))
    set_spec(rig, tunnels={"callers": KNOWN})

    rig.hooks.cut_locked()

    assert rig.cut == [flow.client_conn.id]  # type: ignore[attr-defined]


async def test_a_reload_of_the_script_knows_whose_they_are(rig: Rig) -> None:
    flow = await asked(rig, connect(SSM, basic(session())))
    younger = type(rig.hooks)(rig.gateway, rig.wire, clock=lambda: WHEN)
    younger.cut = rig.cut.append  # type: ignore[attr-defined]
    younger.inherit(rig.hooks.leave())
    rig.gateway.take_locks(lock(user="alice"))

    younger.cut_locked()

    assert rig.cut == [flow.client_conn.id]  # type: ignore[attr-defined]
    younger.client_disconnected(flow.client_conn)
    assert rig.records()[-1]["event"] == "tunnel.close"


# --- by a call of lately ----------------------------------------------------------------


def called(rig: Rig, user: str = "alice", address: str = "192.0.2.7") -> None:
    """Do as a call to ssm:StartSession does."""
    of = session(user)
    rig.hooks.tunnelling.tickets.put(address, of.key_id, password(of))


async def test_a_call_of_lately_opens_a_data_channel_from_its_address_alone(rig: Rig) -> None:
    called(rig)

    assert (await asked(rig, connect())).response is None
    assert rig.records()[-1]["user"] == "alice"
    assert refusal_of(await asked(rig, connect(address="192.0.2.8")))[0] == 407
    assert refusal_of(await asked(rig, connect("vault.corp.example")))[0] == 407


async def test_no_header_says_where_a_client_is(rig: Rig) -> None:
    called(rig)
    flow = connect(address="203.0.113.1")
    for name in ("X-Forwarded-For", "X-Real-IP", "Client-IP", "True-Client-IP"):
        flow.request.headers[name] = "192.0.2.7"
    flow.request.headers["Forwarded"] = "for=192.0.2.7"

    assert refusal_of(await asked(rig, flow))[0] == 407


async def test_a_call_of_long_ago_opens_none(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    called(rig)
    later = time.time() + 301
    monkeypatch.setattr("awsgate.addon.tunnelling.time", lambda: later)

    assert refusal_of(await asked(rig, connect())) == (407, Code.NOT_SIGNED)


async def test_a_bad_password_is_not_made_good_by_a_call(rig: Rig) -> None:
    called(rig)

    assert refusal_of(await asked(rig, connect(SSM, FORGED))) == (407, Code.UNKNOWN_KEY)


async def test_who_was_locked_since_the_call_is_refused(rig: Rig) -> None:
    called(rig)
    rig.gateway.take_locks(lock(user="alice"))

    assert refusal_of(await asked(rig, connect())) == (403, Code.LOCKED)


async def test_of_two_users_at_an_address_the_one_who_waits_is_meant(rig: Rig) -> None:
    called(rig, "alice")
    await asked(rig, connect())
    called(rig, "bob")
    await asked(rig, connect())
    called(rig, "alice")
    await asked(rig, connect())

    assert [line["user"] for line in rig.records()] == ["alice", "bob", "alice"]


async def test_of_two_users_who_both_wait_nobody_is_meant(rig: Rig) -> None:
    called(rig, "alice")
    called(rig, "bob")

    flow = await asked(rig, connect())

    assert refusal_of(flow) == (407, Code.NOT_SIGNED)
    assert "not clear whose tunnel this is" in (flow.response.text or "")  # type: ignore[union-attr]


async def test_a_lock_on_one_of_two_leaves_the_others_call(rig: Rig) -> None:
    called(rig, "alice")
    called(rig, "bob")
    rig.gateway.take_locks(lock(user="alice"))

    assert (await asked(rig, connect())).response is None
    assert rig.records()[-1]["user"] == "bob"


class Silent:
    """The parent does not answer."""

    def put(self, *_: object) -> None:
        raise OSError

    async def of(self, *_: object) -> Sequence[Ticket]:
        raise OSError("canary")

    def used(self, *_: object) -> None:
        raise OSError


async def test_where_the_calls_cannot_be_asked_for_nothing_is_opened(rig: Rig) -> None:
    rig.hooks.tunnelling.tickets = Silent()

    flow = await asked(rig, connect())

    assert refusal_of(flow) == (503, Code.GATEWAY_FAULT)
    assert "canary" not in (flow.response.text or "")  # type: ignore[union-attr]


async def test_a_client_that_goes_while_it_is_asked_for_leaves_nothing(rig: Rig) -> None:
    called(rig)
    flow = connect()
    pending = rig.hooks.http_connect(flow)
    rig.hooks.client_disconnected(flow.client_conn)
    assert pending is not None
    await pending

    assert rig.hooks.routes.get(flow.client_conn.id) is None
    assert rig.hooks.tunnelling._tunnels == {}
    assert tripwire.ROUTED not in flow.metadata


def test_the_book_of_tickets_is_bounded() -> None:
    book = TicketBook()
    for number in range(MAX_ADDRESSES + 5):
        book.put(f"a{number}", "k", "p", now=0.0)
    for _ in range(MAX_OF_ONE + 5):
        book.put("one", "k", "p", now=0.0)

    assert book.of("a0") == ()
    assert len(book.of(f"a{MAX_ADDRESSES}")) == 1
    assert len(book.of("one")) == MAX_OF_ONE
    assert len(book._by_address) == MAX_ADDRESSES


def test_of_tickets_that_served_as_often_the_newest_is_first() -> None:
    tickets = [Ticket(n, "k", "p", 0.0, uses) for n, uses in ((1, 1), (2, 0), (3, 0), (4, 2))]

    assert [ticket.number for ticket in waiting(tickets)] == [3, 2]
    assert waiting([]) == []
    assert "canary" not in repr(replace(tickets[0], password="canary"))
