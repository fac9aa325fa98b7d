"""The socket pair between a worker and its parent: what is asked is what is answered."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from awsgate.credentials import AwsCredentials, CredentialCache, RoleRequest
from awsgate.errors import Code, Refusal
from awsgate.policy.handoff import Handoff
from awsgate.server.broker import Broker, BrokerAssumer, WorkerCredentials
from awsgate.tunnelclients import TunnelClients

HANDOFF = Handoff(
    policy='{"Version":"2012-10-17"}',
    policy_arns=("arn:aws:iam::aws:policy/ReadOnlyAccess",),
    tags=(("team", "blue"), ("env", "é")),
    transitive_tag_keys=("team",),
    source_identity="ada",
)
REQUEST = RoleRequest(
    role_arn="arn:aws:iam::123456789012:role/Power",
    session_name="ada",
    external_id="ext",
    region="eu-west-1",
    partition="aws",
    duration_s=3600,
    account="123456789012",
    handoff=HANDOFF,
)
KEYS = AwsCredentials("ASIAEXAMPLE", "canary/secret+key", "canary-token//+==", 4e9)


class Sts:
    """Gives ``KEYS``, or the refusal it was told to; keeps what it was asked."""

    def __init__(self, refusal: Refusal | None = None) -> None:
        self.asked: list[RoleRequest] = []
        self.refusal = refusal
        self.hold = threading.Event()
        self.hold.set()

    def assume(self, request: RoleRequest) -> AwsCredentials:
        self.hold.wait(5)
        self.asked.append(request)
        if self.refusal is not None:
            raise self.refusal
        return KEYS


@asynccontextmanager
async def connected(
    sts: Sts, on_ready: Callable[[], None] = lambda: None
) -> AsyncIterator[tuple[BrokerAssumer, CredentialCache]]:
    ours, theirs = socket.socketpair()
    cache = CredentialCache(sts)
    serving = asyncio.ensure_future(Broker(cache).serve(ours, on_ready))
    assumer = BrokerAssumer(theirs)
    try:
        yield assumer, cache
    finally:
        cache.close()
        gone = threading.Event()
        assumer.on_parent_gone(gone.set)
        theirs.shutdown(socket.SHUT_RDWR)
        await serving
        await asyncio.to_thread(gone.wait, 5)
        theirs.close()


async def test_what_the_parent_is_asked_is_what_the_worker_asked() -> None:
    sts = Sts()
    async with connected(sts) as (assumer, _):
        given = await asyncio.to_thread(assumer.assume, REQUEST)

    assert given == KEYS
    assert sts.asked == [REQUEST]


async def test_two_that_ask_at_once_make_one_call() -> None:
    sts = Sts()
    sts.hold.clear()
    async with connected(sts) as (assumer, _):
        both = asyncio.gather(*(asyncio.to_thread(assumer.assume, REQUEST) for _ in range(2)))
        await asyncio.sleep(0.1)
        sts.hold.set()
        assert await both == [KEYS, KEYS]

    assert len(sts.asked) == 1


async def test_a_refusal_arrives_with_all_its_parts() -> None:
    no = Refusal(
        Code.ROLE_UNAVAILABLE, "AWS says no", hint="trust policy", status=403, detail="AccessDenied"
    )
    async with connected(Sts(no)) as (assumer, _):
        with pytest.raises(Refusal) as caught:
            await asyncio.to_thread(assumer.assume, REQUEST)

    got = caught.value
    assert (got.code, got.message, got.hint, got.status, got.detail) == (
        Code.ROLE_UNAVAILABLE, "AWS says no", "trust policy", 403, "AccessDenied",
    )  # fmt: skip


async def test_what_a_worker_forgets_the_parent_forgets() -> None:
    sts = Sts()
    async with connected(sts) as (assumer, _):
        own = WorkerCredentials(assumer, on_result=lambda _: None)
        await own.get(REQUEST)
        own.forget(role_arn=None, session_name="ada")
        await own.get(REQUEST)
        own.close()

    assert len(sts.asked) == 2


async def test_a_worker_says_that_it_is_ready() -> None:
    ready = asyncio.Event()
    async with connected(Sts(), ready.set) as (assumer, _):
        assert not ready.is_set()
        assumer.ready()
        await asyncio.wait_for(ready.wait(), 5)


async def test_a_worker_whose_parent_has_gone_refuses_and_says_so() -> None:
    gone = threading.Event()
    ours, theirs = socket.socketpair()
    assumer = BrokerAssumer(theirs)
    assumer.on_parent_gone(gone.set)
    waiting = asyncio.ensure_future(asyncio.to_thread(assumer.assume, REQUEST))
    await asyncio.sleep(0.05)
    ours.close()

    for pending in (waiting, asyncio.to_thread(assumer.assume, REQUEST)):
        with pytest.raises(Refusal) as caught:
            await pending
        assert (caught.value.code, caught.value.status) == (Code.ROLE_UNAVAILABLE, 503)
    assert await asyncio.to_thread(gone.wait, 5)
    theirs.close()


def test_no_repr_shows_the_keys() -> None:
    assert "canary" not in repr(KEYS)


# --- who is behind tunnels --------------------------------------------------------


async def test_the_parent_knows_who_is_behind_a_workers_tunnel_as_long_as_there_is_one() -> None:
    known = TunnelClients()
    broker = Broker(CredentialCache(Sts()), known)
    pairs = [socket.socketpair() for _ in range(2)]
    serving = [asyncio.ensure_future(broker.serve(ours, lambda: None)) for ours, _ in pairs]
    one, other = (BrokerAssumer(theirs) for _, theirs in pairs)
    client = ("192.0.2.1", 50000)

    async def told(worker: BrokerAssumer) -> list[int]:
        await worker.of("192.0.2.99")  # what was said before is read before
        ports = range(40000, 40004)
        return [port for port in ports if known.behind(("127.0.0.1", port)) == client]

    for port in (40000, 40001):
        one.tunnel_begun(("127.0.0.1", port), client)
    other.tunnel_begun(("127.0.0.1", 40002), client)
    assert (await told(one), await told(other))[1] == [40000, 40001, 40002]
    one.tunnel_ended(("127.0.0.1", 40000))
    one.tunnel_ended(("127.0.0.1", 40002))  # another's
    assert await told(one) == [40001, 40002]
    pairs[0][1].shutdown(socket.SHUT_RDWR)  # it dies
    await serving[0]
    assert await told(other) == [40002]
    pairs[1][1].shutdown(socket.SHUT_RDWR)
    await serving[1]
    for _, theirs in pairs:
        theirs.close()
    other.tunnel_begun(("127.0.0.1", 40003), client)  # nobody is there to be told
    other.tunnel_ended(("127.0.0.1", 40003))


# --- tickets --------------------------------------------------------------------


async def test_a_ticket_of_one_worker_is_known_at_another() -> None:
    """What was sent before is there before: a client goes to another worker at once."""
    broker = Broker(CredentialCache(Sts()))
    pairs = [socket.socketpair() for _ in range(2)]
    serving = [asyncio.ensure_future(broker.serve(ours, lambda: None)) for ours, _ in pairs]
    one, other = (BrokerAssumer(theirs) for _, theirs in pairs)
    for number in range(50):
        address = f"192.0.2.{number}"
        one.put(address, "GATEKEY", "canary")
        (ticket,) = await other.of(address)
        assert (ticket.key_id, ticket.password, ticket.uses) == ("GATEKEY", "canary", 0)
    other.used(address, ticket.number)
    assert [each.uses for each in await other.of(address)] == [1]
    assert await one.of("192.0.2.99") == ()
    for _, theirs in pairs:
        theirs.shutdown(socket.SHUT_RDWR)
    await asyncio.gather(*serving)
    for _, theirs in pairs:
        theirs.close()


async def test_without_a_parent_nobody_is_known() -> None:
    async with connected(Sts()) as (assumer, _):
        pass

    with pytest.raises(Refusal) as caught:
        await assumer.of("192.0.2.1")
    assert caught.value.code is Code.GATEWAY_FAULT


async def test_a_worker_that_renews_gets_later_ones() -> None:
    class Numbered(Sts):
        def assume(self, request: RoleRequest) -> AwsCredentials:
            super().assume(request)
            return replace(
                KEYS, access_key_id=f"ASIA{len(self.asked)}", expires_at=4e9 + len(self.asked)
            )

    sts = Numbered()
    async with connected(sts) as (assumer, cache):
        first = await asyncio.to_thread(assumer.assume, REQUEST)
        renewed = await asyncio.to_thread(assumer.assume, REQUEST)
        assert (first.access_key_id, renewed.access_key_id) == ("ASIA1", "ASIA2")
        assert cache.peek(REQUEST) == renewed

        assumer.forget(None, None)
        again = await asyncio.to_thread(assumer.assume, REQUEST)
        assert again.access_key_id == "ASIA3", "the parent has forgotten too"
    assert len(sts.asked) == 3
