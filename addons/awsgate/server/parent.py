"""The parent: binds the port, starts the workers, keeps them alive, and ends them.

    SIGTERM, SIGINT   workers take no more connections and let end what is under way
    SIGHUP            workers read policy and locks again

It handles no request. It holds the listening sockets, so the port is open while a worker
is replaced, and the one cache of role credentials. A worker that dies is started again,
at once the first time and later the slower the more often.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic

from awsgate.announcement import say
from awsgate.credentials import CredentialCache
from awsgate.server.broker import Broker
from awsgate.server.notify import Notifier
from awsgate.server.orders import Orders
from awsgate.tunnelclients import TunnelClients

BACK_OFF_S = (0.0, 0.2, 1.0, 3.0, 10.0)
"""Before the replacement of a worker that died young once, twice, and so on."""
STABLE_S = 30.0
"""A worker that lived so long may die once more without waiting."""
START_TIMEOUT_S = 60.0


@dataclass
class Worker:
    """One of the places for a worker."""

    number: int
    process: asyncio.subprocess.Process | None = None
    deaths: int = 0
    ready: asyncio.Event = field(default_factory=asyncio.Event)


class Parent:
    """Runs workers until it is told to stop.

    ``on_death`` gets the process id of a worker that has ended.
    """

    def __init__(
        self,
        orders: Callable[[int, int], Orders],
        *,
        workers: int,
        sockets: list[socket.socket],
        tls: int,
        credentials: CredentialCache,
        clients: TunnelClients,
        notifier: Notifier,
        on_death: Callable[[int], None],
        drain_s: float,
        start_timeout_s: float = START_TIMEOUT_S,
    ) -> None:
        self._orders, self._sockets = orders, sockets
        self._tls = [tls] if tls >= 0 else []
        self._broker = Broker(credentials, clients)
        self._notifier, self._on_death, self._drain_s = notifier, on_death, drain_s
        self._start_timeout_s = start_timeout_s
        self._workers = [Worker(number) for number in range(workers)]
        self._stopping = asyncio.Event()
        self._running = False
        self._failed = 0

    async def run(self, announce: Callable[[], None]) -> int:
        """Serve until a signal; give the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        keeping = [asyncio.ensure_future(self._keep(worker)) for worker in self._workers]
        ready = asyncio.ensure_future(self._all_ready())
        stopping = asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait({ready, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not self._stopping.is_set():
            self._running = True
            announce()
            self._notifier.ready(self._status())
            await stopping
        ready.cancel()
        self._notifier.stopping()
        await self._stop(keeping)
        return self._failed

    async def _all_ready(self) -> None:
        await asyncio.gather(*(worker.ready.wait() for worker in self._workers))

    async def _keep(self, worker: Worker) -> None:
        """Start a worker, and another one whenever it dies."""
        while not self._stopping.is_set():
            began = monotonic()
            try:
                code = await self._live(worker)
            except OSError as exc:  # no process, or no file, is to be had
                code, how = 1, exc.strerror or str(exc)
            else:
                how = _how(code)
            if self._stopping.is_set():
                return
            if not self._running:  # nobody is served yet: the start has failed
                say(f"worker {worker.number} did not start ({how})")
                self._failed = code if code > 0 else 1
                self._stopping.set()
                return
            worker.deaths = 0 if monotonic() - began > STABLE_S else worker.deaths + 1
            wait_s = BACK_OFF_S[min(worker.deaths, len(BACK_OFF_S)) - 1] if worker.deaths else 0.0
            say(f"worker {worker.number} ended ({how}): another one in {wait_s:g} s")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), wait_s)

    async def _live(self, worker: Worker) -> int:
        """Run one process of a worker from its start to its end. Raises ``OSError``."""
        worker.ready.clear()
        ours, theirs = socket.socketpair()
        try:
            worker.process = process = await self._spawn(worker.number, theirs)
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        if self._stopping.is_set():  # it began meanwhile
            process.terminate()
        serving = asyncio.ensure_future(self._broker.serve(ours, worker.ready.set))
        waiting = asyncio.ensure_future(process.wait())
        starting = asyncio.ensure_future(worker.ready.wait())
        await asyncio.wait(
            {waiting, starting},
            timeout=self._start_timeout_s,
            return_when=asyncio.FIRST_COMPLETED,
        )
        if not (waiting.done() or starting.done()):
            process.kill()  # it hangs
        starting.cancel()
        code = await waiting
        worker.ready.clear()
        await asyncio.wait({serving})
        self._on_death(process.pid)
        return code

    async def _spawn(self, number: int, channel: socket.socket) -> asyncio.subprocess.Process:
        listening = [sock.fileno() for sock in self._sockets]
        orders = self._orders(number, channel.fileno())
        return await asyncio.create_subprocess_exec(
            sys.executable, "-O", "-m", "awsgate.server.worker", orders.text(),
            pass_fds=(*listening, *self._tls, channel.fileno()),
            stdin=asyncio.subprocess.DEVNULL,
            # The gateway's own AWS credentials are the parent's alone.
            env={name: v for name, v in os.environ.items() if not name.startswith("AWS_")},
        )  # fmt: skip

    def _reload(self) -> None:
        self._notifier.reloading()
        self._signal(signal.SIGHUP)
        self._notifier.ready(self._status())

    async def _stop(self, keeping: Sequence[asyncio.Future[None]]) -> None:
        """End all workers: politely, and when their time is over, not."""
        for sock in self._sockets:
            sock.close()
        self._signal(signal.SIGTERM)
        _, late = await asyncio.wait(keeping, timeout=self._drain_s + 5)
        if late:
            self._signal(signal.SIGKILL)
            await asyncio.wait(late)

    def _signal(self, number: signal.Signals) -> None:
        for worker in self._workers:
            if worker.process is None or worker.process.returncode is not None:
                continue
            # One that is starting reads the policy anyway, and would die of a SIGHUP.
            if number is not signal.SIGHUP or worker.ready.is_set():
                worker.process.send_signal(number)

    def _status(self) -> str:
        return f"{len(self._workers)} workers"


def _how(code: int) -> str:
    if code >= 0:
        return f"exit {code}"
    return f"signal {signal.Signals(-code).name}"


def default_workers() -> int:
    """Give one worker for each processor that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
