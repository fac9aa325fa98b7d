"""Who may open a tunnel, whose it is, and when it is cut."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from awsgate.addon import tripwire, tunnelshares
from awsgate.addon.tunnels import NOBODYS
from awsgate.audit import AuditUnavailable
from awsgate.errors import Code
from awsgate.login import CERTIFICATE, LoginFacts
from awsgate.policy.grants import Grant, GrantBook
from awsgate.session import SessionKeys
from calls import READER, WHEN
from hooking import refusal_of
from tunnelrig import (
    KNOWN,
    SSM,
    TunnelRig,
    asked,
    basic,
    connect,
    lock,
    metric,
    password,
    session,
    set_spec,
    users,
)


@pytest.fixture
def rig(tmp_path: Path) -> TunnelRig:
    return TunnelRig(tmp_path)


# --- by password ------------------------------------------------------------------------


async def test_a_session_says_who_opens_it_and_the_audit_and_the_metrics_too(
    rig: TunnelRig,
) -> None:
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
    rig: TunnelRig, values: Sequence[str], status: int, code: Code
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


async def test_a_password_of_another_session_is_none(rig: TunnelRig) -> None:
    alice, bob = session(), replace(session("bob"), key_id="GATEAAAAAAAAAAAAAAAA")
    mixed = base64.b64encode(f"{bob.key_id}:{password(alice)}".encode()).decode()

    assert refusal_of(await asked(rig, connect(SSM, f"Basic {mixed}")))[1] == Code.UNKNOWN_KEY


@pytest.mark.parametrize("target", [{"user": "alice"}, {"session": session().id}, {"role": "read"}])
async def test_who_is_locked_is_refused_whatever_the_lock_names(
    rig: TunnelRig, target: dict[str, str]
) -> None:
    rig.gateway.take_locks(lock(**target))

    flow = await asked(rig, connect(SSM, basic(session())))

    assert refusal_of(flow) == (403, Code.LOCKED)
    assert "gone" in (flow.response.text or "")  # type: ignore[union-attr]


async def test_where_anybody_may_a_good_password_is_noted_and_a_bad_one_ignored(
    rig: TunnelRig,
) -> None:
    set_spec(rig)

    for value in (basic(session()), FORGED, "Bearer x"):
        assert (await asked(rig, connect(SSM, value))).response is None
    assert (await asked(rig, connect(SSM))).response is None
    assert [line["user"] for line in rig.records()] == ["alice", "", "", ""]


async def test_aws_hosts_are_intercepted_without_a_caller(rig: TunnelRig) -> None:
    """Inside, each request is signed. A refusal here would be repeated for a minute."""
    for values in ((), ("Basic rubbish",)):
        flow = await asked(rig, connect("sts.eu-west-1.amazonaws.com", *values))

        assert flow.response is None


async def test_the_control_api_needs_no_caller(rig: TunnelRig) -> None:
    rig.gateway.control_address = "127.0.0.1:9443"

    flow = await asked(rig, connect("awsgate.internal"))

    assert flow.response is None
    rig.hooks.cut_locked()
    assert rig.cut == []


async def test_one_address_does_not_fill_the_control_api(
    rig: TunnelRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tunnelshares, "MAX_TO_CONTROL", 2)
    rig.gateway.control_address = "127.0.0.1:9443"
    opened = [await asked(rig, connect("awsgate.internal")) for _ in range(2)]

    assert [flow.response for flow in opened] == [None, None]
    over = await asked(rig, connect("awsgate.internal"))
    assert refusal_of(over) == (503, Code.THROTTLED)
    other = await asked(rig, connect("awsgate.internal", address="192.0.2.8"))
    assert other.response is None
    for flow in (over, opened[0]):
        rig.hooks.client_disconnected(flow.client_conn)
    assert (await asked(rig, connect("awsgate.internal"))).response is None


async def test_other_hosts_need_one_too(rig: TunnelRig) -> None:
    assert refusal_of(await asked(rig, connect("vault.corp.example")))[0] == 407
    allowed = await asked(rig, connect("vault.corp.example", basic(session())))
    assert allowed.response is None


# --- how many, and how long -------------------------------------------------------------


async def test_a_user_has_so_many_and_no_more_and_takes_none_of_anothers(rig: TunnelRig) -> None:
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


async def test_a_connect_that_comes_to_nothing_does_not_count(rig: TunnelRig) -> None:
    set_spec(rig, tunnels={"callers": KNOWN}, limits={"max_tunnels_per_user": 1})
    flow = connect(SSM, basic(session()))
    for _ in range(3):  # one connection: its server does not answer, and it asks again
        assert rig.hooks.http_connect(flow) is None
        assert flow.response is None
    rig.hooks.client_disconnected(flow.client_conn)

    assert (await asked(rig, connect(SSM, basic(session())))).response is None
    assert [line["event"] for line in rig.records()] == ["tunnel.open"]


async def test_a_lock_cuts_the_tunnels_of_whom_it_names_and_no_other(rig: TunnelRig) -> None:
    alices = await asked(rig, connect(SSM, basic(session())))
    await asked(rig, connect(SSM, basic(session("bob"))))
    rig.gateway.take_locks(lock(user="alice"))

    rig.hooks.cut_locked()
    rig.hooks.cut_locked()

    assert rig.cut == [alices.client_conn.id]
    rig.hooks.client_disconnected(alices.client_conn)
    line = rig.records()[-1]
    assert (line["event"], line["code"], line["user"]) == ("tunnel.close", "locked", "alice")
    assert (line["rule"], line["reason"]) == ("lock/l", "cut off: gone")


async def test_a_logout_cuts_the_tunnels_of_that_login_and_no_other(rig: TunnelRig) -> None:
    """A logout is a lock on the id of the login (``web.revoking``)."""
    rows = [{"subject": "*", "roles": ["read"]}]
    control = {"client_ca": "/ca.pem", "certificate_to_roles": rows}
    set_spec(rig, tunnels={"callers": KNOWN}, control=control)
    flows = []
    for number in (1, 2):
        facts = LoginFacts(f"{number:020x}", CERTIFICATE, ("read",))
        of = replace(session("ann@example.com"), login=facts)
        flows.append(await asked(rig, connect(SSM, basic(of))))
    assert [line["user"] for line in rig.records()] == ["ann@example.com"] * 2
    assert metric(rig, "awsgate_tunnels", user="ann@example.com") == 2
    rig.gateway.take_locks(lock(session=f"{1:020x}"))

    rig.hooks.cut_locked()

    assert rig.cut == [flows[0].client_conn.id]


async def test_a_tunnel_ends_with_its_session(
    rig: TunnelRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = connect(SSM, basic(session(age_s=3599)))
    monkeypatch.setattr(rig.hooks.tunnelling, "_clock", lambda: WHEN + timedelta(seconds=0.9))
    await asked(rig, flow)

    await asyncio.sleep(0.25)

    assert rig.cut == [flow.client_conn.id]
    rig.hooks.client_disconnected(flow.client_conn)
    assert rig.records()[-1]["code"] == "session-expired"


async def test_a_tunnel_by_a_granted_role_is_cut_when_the_grant_is_over(
    rig: TunnelRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = rig.gateway.policy.users["alice"].model_copy(
        update={"spec": rig.gateway.policy.users["alice"].spec.model_copy(update={"roles": ()})}
    )
    rig.gateway.policy = replace(rig.gateway.policy, users={"alice": nobody})
    rig.gateway.gate = replace(rig.gateway.gate, policy=rig.gateway.policy)
    assert (await asked(rig, connect(SSM, basic(session())))).response is not None
    until = int(WHEN.timestamp()) + 60
    rig.gateway.take_grants(GrantBook([Grant("ar-1", "alice", "local", "read", until)]))
    flow = await asked(rig, connect(SSM, basic(session())))
    assert flow.response is None

    rig.hooks.cut_locked()
    assert rig.cut == []
    monkeypatch.setattr(rig.hooks.tunnelling, "_clock", lambda: WHEN + timedelta(seconds=60))
    rig.hooks.cut_locked()

    assert rig.cut == [flow.client_conn.id]


@pytest.mark.parametrize("fails", ["the metrics", "the audit", "the hook"])
async def test_it_ends_with_its_session_also_if_nobody_could_note_it(
    rig: TunnelRig, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("canary")

    if fails == "the metrics":
        monkeypatch.setattr(rig.gateway.metrics, "tunnel_opened", fail)
    if fails == "the audit":
        monkeypatch.setattr(rig.hooks.recorder, "opened_tunnel", fail)
    flow = connect(SSM, basic(session(age_s=3599)))
    rig.hooks.http_connect(flow)
    if fails != "the hook":
        with pytest.raises(RuntimeError, match="canary"):  # the host logs it, and goes on
            rig.hooks.http_connected(flow)

    await asyncio.sleep(1.2)

    assert rig.cut == [flow.client_conn.id]


async def test_a_policy_that_takes_the_role_away_cuts(rig: TunnelRig) -> None:
    flow = await asked(rig, connect(SSM, basic(session())))
    rig.gateway.policy = replace(rig.gateway.policy, users=users("bob"))
    rig.gateway.gate = replace(rig.gateway.gate, policy=rig.gateway.policy)

    rig.hooks.cut_locked()

    assert rig.cut == [flow.client_conn.id]
    rig.gateway.metrics.know_users({"bob"})
    rig.hooks.client_disconnected(flow.client_conn)
    assert rig.records()[-1]["code"] == "denied"
    assert metric(rig, "awsgate_tunnels", user="alice") == 0


async def test_tunnels_of_nobody_are_cut_once_callers_must_be_known(rig: TunnelRig) -> None:
    set_spec(rig)
    flow = await asked(rig, connect(SSM))
    set_spec(rig, tunnels={"callers": KNOWN})

    rig.hooks.cut_locked()

    assert rig.cut == [flow.client_conn.id]


async def test_a_reload_of_the_script_knows_whose_they_are(rig: TunnelRig) -> None:
    flow = await asked(rig, connect(SSM, basic(session())))
    younger = type(rig.hooks)(rig.gateway, rig.wire, clock=lambda: WHEN)
    younger.cut = rig.cut.append
    younger.inherit(rig.hooks.leave())
    rig.gateway.take_locks(lock(user="alice"))

    younger.cut_locked()

    assert rig.cut == [flow.client_conn.id]
    younger.client_disconnected(flow.client_conn)
    assert rig.records()[-1]["event"] == "tunnel.close"


ANYBODY = {"callers": "anybody"}
STRANGER = "203.0.113.9"


async def opens(rig: TunnelRig, many: int, address: str, *values: str) -> int:
    """Open so many, and give how many were let in."""
    flows = [await asked(rig, connect(SSM, *values, address=address)) for _ in range(many)]
    assert {refusal_of(flow) for flow in flows if flow.response is not None} <= {
        (503, Code.THROTTLED)
    }
    return sum(flow.response is None for flow in flows)


ADDRESSES = {
    "an address": (["203.0.113.9"], 3),
    "a network of IPv6": (["2001:db8:1:2::3", "2001:db8:1:2::4"], 3),
    "a larger one": ([f"2001:db8:1:{number:x}::3" for number in range(20)], 30),
    "this machine": (["127.0.0.1"], 30),
}


@pytest.mark.parametrize("name", ADDRESSES)
async def test_who_is_not_known_has_as_many_by_address(rig: TunnelRig, name: str) -> None:
    """Also where the gateway is open to others and anybody may reach Session Manager."""
    addresses, most = ADDRESSES[name]
    limits = {"max_tunnels_per_user": 3}
    set_spec(rig, tunnels=ANYBODY, non_aws="refuse", limits=limits)

    assert sum([await opens(rig, 35, address) for address in addresses]) == most
    assert await opens(rig, 4, "198.51.100.1") == 3


async def test_strangers_take_no_share_of_a_user_at_their_address(rig: TunnelRig) -> None:
    set_spec(rig, tunnels=ANYBODY, limits={"max_tunnels_per_user": 2})
    assert await opens(rig, 3, STRANGER) == 2

    over = await asked(rig, connect(SSM, address=STRANGER))
    assert over.response is not None
    assert "2 tunnels of nobody known at this address" in str(over.response.text)
    assert "HTTPS_PROXY" in str(over.response.text)
    assert await opens(rig, 3, STRANGER, basic(session())) == 2


async def test_a_stranger_who_leaves_makes_room(rig: TunnelRig) -> None:
    set_spec(rig, tunnels=ANYBODY, limits={"max_tunnels_per_user": 1})
    for address in (STRANGER, "2001:db8::1"):
        for _ in range(12):
            flow = await asked(rig, connect(SSM, address=address))
            assert flow.response is None
            over = await asked(rig, connect(SSM, address=address))
            assert refusal_of(over) == (503, Code.THROTTLED)
            for each in (over, flow):
                rig.hooks.client_disconnected(each.client_conn)


@pytest.mark.parametrize("known", [True, False])
async def test_the_core_is_told_if_nobody_is_known_to_have_opened_it(
    rig: TunnelRig, known: bool
) -> None:
    set_spec(rig, tunnels=ANYBODY)
    flow = await asked(rig, connect(SSM, *([basic(session())] if known else [])))

    assert flow.metadata[NOBODYS] is not known


@pytest.mark.parametrize("limited", ["a user", "the control API", "a stranger"])
async def test_a_reload_of_the_script_goes_on_counting(
    rig: TunnelRig, monkeypatch: pytest.MonkeyPatch, limited: str
) -> None:
    callers = "anybody" if limited == "a stranger" else KNOWN
    set_spec(rig, tunnels={"callers": callers}, limits={"max_tunnels_per_user": 1})
    monkeypatch.setattr(tunnelshares, "MAX_TO_CONTROL", 1)
    rig.gateway.control_address = "127.0.0.1:9443"
    to = {
        "a user": (SSM, basic(session())),
        "the control API": ("awsgate.internal",),
        "a stranger": (SSM,),
    }[limited]
    assert (await asked(rig, connect(*to))).response is None
    younger = type(rig.hooks)(rig.gateway, rig.wire, clock=lambda: WHEN)
    younger.inherit(rig.hooks.leave())
    rig.hooks = younger

    assert refusal_of(await asked(rig, connect(*to))) == (503, Code.THROTTLED)


async def test_a_tunnel_ends_with_its_session_after_a_reload_of_the_script(rig: TunnelRig) -> None:
    flow = await asked(rig, connect(SSM, basic(session(age_s=3599))))
    younger = type(rig.hooks)(rig.gateway, rig.wire, clock=lambda: WHEN)
    cut: list[str] = []
    younger.cut = cut.append
    younger.inherit(rig.hooks.leave())

    await asyncio.sleep(1.2)

    assert (cut, rig.cut) == ([flow.client_conn.id], [])


async def test_without_an_audit_no_tunnel_is_opened(
    rig: TunnelRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise AuditUnavailable("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(type(rig.gateway.audit), "write", full)
        await asked(rig, connect(SSM, basic(session())))  # its line waits
        second = await asked(rig, connect(SSM, basic(session())))

    assert refusal_of(second) == (503, Code.GATEWAY_FAULT)
    assert tripwire.ROUTED not in second.metadata
    assert (await asked(rig, connect(SSM, basic(session())))).response is None
