"""Tunnels of who has just started a session, from the same address."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from mitmproxy import http

from awsgate.addon import tripwire
from awsgate.addon.tickets import CALLS, MAX_ADDRESSES, MAX_OF_ONE, Ticket, TicketBook, waiting
from awsgate.errors import Code
from awsgate.session import SessionKeys
from hooking import refusal_of
from tunnelrig import SSM, TunnelRig, asked, basic, connect, lock, password, session, set_spec

OTHER = SessionKeys(bytes(range(1, 33)))


@pytest.fixture
def rig(tmp_path: Path) -> TunnelRig:
    return TunnelRig(tmp_path)


def called(rig: TunnelRig, user: str = "alice", address: str = "192.0.2.7") -> None:
    """Do as a call to ssm:StartSession does."""
    of = session(user)
    rig.hooks.tunnelling.tickets.put(address, of.key_id, password(of))


async def test_a_call_of_lately_opens_a_data_channel_from_its_address_alone(rig: TunnelRig) -> None:
    called(rig)

    assert (await asked(rig, connect())).response is None
    assert rig.records()[-1]["user"] == "alice"
    assert refusal_of(await asked(rig, connect(address="192.0.2.8")))[0] == 407
    assert refusal_of(await asked(rig, connect("vault.corp.example")))[0] == 407


def noted(rig: TunnelRig, *, action: str = "ssm:StartSession", status: int = 200) -> bool:
    """Have a call of alice's answered; give whether it is kept."""
    flow, call = connect(), SimpleNamespace(actions=(action,))
    flow.response = http.Response.make(status)
    review = SimpleNamespace(call=call, session=session())
    rig.hooks.tunnelling.note(flow, SimpleNamespace(review=review))  # type: ignore[arg-type]
    return bool(rig.hooks.tunnelling.tickets._book._by_address)  # type: ignore[attr-defined]


@pytest.mark.parametrize("action", sorted(CALLS))
def test_a_call_that_leads_to_a_data_channel_is_kept(rig: TunnelRig, action: str) -> None:
    assert noted(rig, action=action)


def test_no_other_call_is_kept_nor_one_that_aws_refused(rig: TunnelRig) -> None:
    assert not noted(rig, action="ssm:TerminateSession")
    for status in (400, 403, 500):
        assert not noted(rig, status=status)


def test_where_anybody_may_open_tunnels_no_call_is_kept(rig: TunnelRig) -> None:
    set_spec(rig)

    assert not noted(rig)


async def test_no_header_says_where_a_client_is(rig: TunnelRig) -> None:
    called(rig)
    flow = connect(address="203.0.113.1")
    for name in ("X-Forwarded-For", "X-Real-IP", "Client-IP", "True-Client-IP"):
        flow.request.headers[name] = "192.0.2.7"
    flow.request.headers["Forwarded"] = "for=192.0.2.7"

    assert refusal_of(await asked(rig, flow))[0] == 407


async def test_a_call_of_long_ago_opens_none(
    rig: TunnelRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    called(rig)
    later = time.time() + 301
    monkeypatch.setattr("awsgate.addon.tunnelling.time", lambda: later)

    assert refusal_of(await asked(rig, connect())) == (407, Code.NOT_SIGNED)


async def test_a_bad_password_is_not_made_good_by_a_call(rig: TunnelRig) -> None:
    called(rig)

    assert refusal_of(await asked(rig, connect(SSM, basic(session(), OTHER)))) == (
        407,
        Code.UNKNOWN_KEY,
    )


async def test_who_was_locked_since_the_call_is_refused(rig: TunnelRig) -> None:
    called(rig)
    rig.gateway.take_locks(lock(user="alice"))

    assert refusal_of(await asked(rig, connect())) == (403, Code.LOCKED)


async def test_of_two_users_at_an_address_the_one_who_waits_is_meant(rig: TunnelRig) -> None:
    called(rig, "alice")
    await asked(rig, connect())
    called(rig, "bob")
    await asked(rig, connect())
    called(rig, "alice")
    await asked(rig, connect())

    assert [line["user"] for line in rig.records()] == ["alice", "bob", "alice"]


async def test_of_two_users_who_both_wait_nobody_is_meant(rig: TunnelRig) -> None:
    called(rig, "alice")
    called(rig, "bob")

    flow = await asked(rig, connect())

    assert refusal_of(flow) == (407, Code.NOT_SIGNED)
    assert "not clear whose tunnel this is" in (flow.response.text or "")  # type: ignore[union-attr]


async def test_who_is_locked_gets_no_tunnel_in_the_name_of_another_at_the_address(
    rig: TunnelRig,
) -> None:
    called(rig, "alice")
    called(rig, "bob")
    rig.gateway.take_locks(lock(user="alice"))

    flow = await asked(rig, connect())

    assert refusal_of(flow)[0] == 407
    assert "not clear whose tunnel this is" in (flow.response.text or "")  # type: ignore[union-attr]
    assert (await asked(rig, connect(SSM, basic(session("bob"))))).response is None
    assert rig.records()[-1]["user"] == "bob"


class Silent:
    """The parent does not answer."""

    def put(self, *_: object) -> None:
        raise OSError

    async def of(self, *_: object) -> Sequence[Ticket]:
        raise OSError("canary")

    def used(self, *_: object) -> None:
        raise OSError


async def test_where_the_calls_cannot_be_asked_for_nothing_is_opened(rig: TunnelRig) -> None:
    rig.hooks.tunnelling.tickets = Silent()

    flow = await asked(rig, connect())

    assert refusal_of(flow) == (503, Code.GATEWAY_FAULT)
    assert "canary" not in (flow.response.text or "")  # type: ignore[union-attr]


async def test_a_client_that_goes_while_it_is_asked_for_leaves_nothing(rig: TunnelRig) -> None:
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
