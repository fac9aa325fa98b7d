"""One cache of role credentials for all workers: it is the parent's, and they ask it.

    worker   CredentialCache -> BrokerAssumer
                                   | socket pair
    parent                      Broker -> CredentialCache -> STS

So STS is asked once for each role and session, however many workers there are. Each
worker keeps what it was given in a cache of its own; when it is time to renew, it asks
again, and says when those end that it has: the parent waits for later ones then. The
messages are JSON, one a line, over a socket pair that only these two hold.

    {"id": 1, "ask": {<RoleRequest>}, "has_until": 0.0}
    {"forget": [role_arn, session_name]}     {"id": 1, "keys": {<AwsCredentials>}}
    {"ready": true}                          {"id": 1, "refusal": {code, message, ...}}

A call that leads to a tunnel is noted here too (``addon.tickets``): the tunnel may be
opened at another worker.

    {"ticket": [address, key id, password]}
    {"used": [address, number]}
    {"id": 2, "tickets": address}            {"id": 2, "tickets": [<Ticket>, ...]}

And who is behind a tunnel to the control API, which is the parent's (``tunnelclients``):

    {"tunnel": [[host, port], [host, port]]}     where it was dialled from, and the client
    {"tunnel_end": [host, port]}
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from cachetools import LRUCache

from awsgate.addon.tickets import Ticket, TicketBook
from awsgate.credentials import (
    PER_REQUEST,
    AwsCredentials,
    CredentialCache,
    RoleRequest,
    unavailable,
)
from awsgate.errors import Code, Refusal
from awsgate.outgoing import Hop
from awsgate.policy.handoff import Handoff
from awsgate.telling import Telling
from awsgate.tunnelclients import Address, TunnelClients

MAX_LINE_BYTES = 256 * 1024  # a session policy has 2,048 characters, fifty tags 20 KiB
TICKETS_TIMEOUT_S = 5.0
MAX_GIVEN = 1024
ANSWER_TIMEOUT_S = 60.0  # longer than the parent waits for STS


class BrokerAssumer:
    """The worker's side: an ``Assumer`` that asks the parent. Called from several threads."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._sending = threading.Lock()
        self._waiting: dict[int, Future[dict[str, Any]]] = {}
        self._next = 0
        self._given: LRUCache[RoleRequest, float] = LRUCache(MAX_GIVEN)
        """When those end that were given last."""
        self._gone = False
        self._on_gone: Callable[[], object] = _nothing
        threading.Thread(target=self._read, name="awsgate-broker", daemon=True).start()

    def assume(self, request: RoleRequest) -> AwsCredentials:
        """Give credentials, or raise ``Refusal`` as the parent's own assumer does."""
        number, answer = self._expect()
        with self._sending:
            has_until = self._given.get(request, 0.0)
        try:
            self._ask(number, answer, {"ask": asdict(request), "has_until": has_until})
            said = answer.result(ANSWER_TIMEOUT_S)
        except (OSError, TimeoutError):
            raise unavailable(
                request, "the gateway is restarting", detail="the parent does not answer"
            ) from None
        finally:
            self._waiting.pop(number, None)
        if "refusal" in said:
            raise Refusal(**{**said["refusal"], "code": Code(said["refusal"]["code"])})
        given = AwsCredentials(**said["keys"])
        with self._sending:
            self._given[request] = given.expires_at
        return given

    def _expect(self) -> tuple[int, Future[dict[str, Any]]]:
        answer: Future[dict[str, Any]] = Future()
        with self._sending:
            self._next += 1
            self._waiting[self._next] = answer
            return self._next, answer

    def _ask(self, number: int, answer: Future[dict[str, Any]], what: dict[str, Any]) -> None:
        self._send({"id": number, **what})
        if self._gone:  # since before it was asked: nobody reads any more
            answer.set_exception(OSError())

    # --- tickets: see ``addon.tickets.Tickets`` ------------------------------------------

    def put(self, address: str, key_id: str, password: str) -> None:
        """Have the parent keep a ticket."""
        self._send({"ticket": [address, key_id, password]})

    def used(self, address: str, number: int) -> None:
        """Have the parent note that one has served."""
        with suppress(OSError):
            self._send({"used": [address, number]})

    async def of(self, address: str) -> Sequence[Ticket]:
        """Ask the parent for those of an address. Raises ``Refusal``."""
        number, answer = self._expect()
        try:
            self._ask(number, answer, {"tickets": address})
            said = await asyncio.wait_for(asyncio.wrap_future(answer), TICKETS_TIMEOUT_S)
        except (OSError, TimeoutError):
            raise Refusal(
                Code.GATEWAY_FAULT, "the gateway is restarting", hint="try again", status=503
            ) from None
        finally:
            self._waiting.pop(number, None)
        return tuple(Ticket(**ticket) for ticket in said["tickets"])

    # --- see ``tunnelclients.TellsOfTunnels`` ---------------------------------------------

    def tunnel_begun(self, ours: Address, client: Address) -> None:
        """Have the parent know who is behind a connection of ours."""
        with suppress(OSError):
            self._send({"tunnel": [ours, client]})

    def tunnel_ended(self, ours: Address) -> None:
        """Have the parent forget it."""
        with suppress(OSError):
            self._send({"tunnel_end": ours})

    def missing(self) -> list[str]:
        """The parent has looked already."""
        return []

    def forget(self, role_arn: str | None, session_name: str | None) -> None:
        """Have the parent drop credentials too."""
        with self._sending:
            self._given.clear()
        self._send({"forget": [role_arn, session_name]})

    def ready(self) -> None:
        """Tell the parent that this worker takes connections."""
        self._send({"ready": True})

    def on_parent_gone(self, then: Callable[[], object]) -> None:
        """Have ``then`` called, in another thread, when the parent has ended."""
        self._on_gone = then
        if self._gone:
            then()

    def _send(self, message: dict[str, Any]) -> None:
        line = json.dumps(message).encode() + b"\n"
        with self._sending:
            self._channel.sendall(line)

    def _read(self) -> None:
        # A parent that is killed resets the pair, if something of ours was unread.
        with suppress(OSError), self._channel.makefile("rb") as lines:
            for line in lines:
                said = json.loads(line)
                waiting = self._waiting.get(said["id"])
                if waiting is not None and not waiting.done():
                    waiting.set_result(said)
        self._gone = True
        for waiting in list(self._waiting.values()):
            if not waiting.done():
                waiting.set_exception(OSError())
        self._on_gone()


def _nothing() -> None:
    pass


class WorkerCredentials(CredentialCache):
    """The worker's own cache; what it forgets, the parent forgets too."""

    def __init__(
        self, assumer: BrokerAssumer, *, on_result: Callable[[str], None], **_: object
    ) -> None:
        # What becomes of a call to STS, and how long it takes, the parent counts.
        super().__init__(assumer, on_result=lambda r: on_result(r) if r in PER_REQUEST else None)
        self._broker = assumer

    def forget(self, *, role_arn: str | None, session_name: str | None) -> int:
        """See ``CredentialCache.forget``."""
        dropped = super().forget(role_arn=role_arn, session_name=session_name)
        with suppress(OSError):  # the parent has gone, and its cache with it
            self._broker.forget(role_arn, session_name)
        return dropped


class Broker:
    """The parent's side, for one worker after the other."""

    def __init__(self, credentials: CredentialCache, clients: TunnelClients | None = None) -> None:
        self._credentials = credentials
        self._clients = clients or TunnelClients()
        self._book = TicketBook()
        self._telling = Telling()
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, channel: socket.socket, on_ready: Callable[[], None]) -> None:
        """Answer one worker until it has gone."""
        reader, writer = await asyncio.open_connection(sock=channel, limit=MAX_LINE_BYTES)
        try:
            while line := await reader.readline():
                said = json.loads(line)
                if "ask" in said:
                    self._begin(self._answer(said, writer))
                elif "tickets" in said:
                    # A task, so that what has come of other workers is read before.
                    self._begin(self._give_tickets(said, writer))
                elif "ticket" in said:
                    address, key_id, password = said["ticket"]
                    self._book.put(address, key_id, password, now=time.time())
                elif "used" in said:
                    self._book.used(*said["used"])
                elif "tunnel" in said:
                    ours, client = said["tunnel"]
                    self._clients.tunnel_begun(tuple(ours), tuple(client), by=writer)
                elif "tunnel_end" in said:
                    self._clients.tunnel_ended(tuple(said["tunnel_end"]), by=writer)
                elif "forget" in said:
                    role_arn, session_name = said["forget"]
                    self._credentials.forget(role_arn=role_arn, session_name=session_name)
                elif "ready" in said:
                    on_ready()
        except (OSError, ValueError, KeyError, TypeError):
            return  # a worker that died in the middle of a line, or writes nonsense
        finally:
            self._clients.forget(writer)
            writer.close()

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _give_tickets(self, said: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        tickets = [asdict(ticket) for ticket in self._book.of(said["tickets"])]
        if not writer.is_closing():
            writer.write(json.dumps({"id": said["id"], "tickets": tickets}).encode() + b"\n")

    async def _answer(self, said: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        answer: dict[str, Any] = {"id": said["id"]}
        try:
            held = await self._credentials.later(request_of(said["ask"]), said["has_until"])
        except Refusal as exc:
            self._telling.tell(exc, time.time())
            answer["refusal"] = {
                "code": exc.code.value, "message": exc.message, "hint": exc.hint,
                "status": exc.status, "detail": exc.detail,
            }  # fmt: skip
        else:
            answer["keys"] = asdict(held)
        if not writer.is_closing():
            writer.write(json.dumps(answer).encode() + b"\n")


def request_of(said: dict[str, Any]) -> RoleRequest:
    """Make a ``RoleRequest`` of what JSON made of one: its tuples are lists there."""
    handoff = Handoff(**{name: _tuples(value) for name, value in said["handoff"].items()})
    hop = Hop(**said["hop"]) if said["hop"] is not None else None
    return RoleRequest(**{**said, "handoff": handoff, "hop": hop})


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
