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
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from cachetools import LRUCache

from awsgate.credentials import (
    PER_REQUEST,
    AwsCredentials,
    CredentialCache,
    RoleRequest,
    unavailable,
)
from awsgate.errors import Code, Refusal
from awsgate.policy.handoff import Handoff
from awsgate.telling import Telling

MAX_LINE_BYTES = 256 * 1024  # a session policy has 2,048 characters, fifty tags 20 KiB
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
        answer: Future[dict[str, Any]] = Future()
        with self._sending:
            self._next += 1
            number = self._next
            self._waiting[number] = answer
            has_until = self._given.get(request, 0.0)
        try:
            self._send({"id": number, "ask": asdict(request), "has_until": has_until})
            if self._gone:  # since before it was asked: nobody reads any more
                answer.set_exception(OSError())
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

    def __init__(self, credentials: CredentialCache) -> None:
        self._credentials = credentials
        self._telling = Telling()
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, channel: socket.socket, on_ready: Callable[[], None]) -> None:
        """Answer one worker until it has gone."""
        reader, writer = await asyncio.open_connection(sock=channel, limit=MAX_LINE_BYTES)
        try:
            while line := await reader.readline():
                said = json.loads(line)
                if "ask" in said:
                    task = asyncio.ensure_future(self._answer(said, writer))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)
                elif "forget" in said:
                    role_arn, session_name = said["forget"]
                    self._credentials.forget(role_arn=role_arn, session_name=session_name)
                elif "ready" in said:
                    on_ready()
        except (OSError, ValueError, KeyError, TypeError):
            return  # a worker that died in the middle of a line, or writes nonsense
        finally:
            writer.close()

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
    return RoleRequest(**{**said, "handoff": handoff})


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
