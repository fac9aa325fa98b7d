"""Watches the policy and the locks, and reads them when they change.

    files --watchfiles, or a look every half second--> thread --> the event loop

Validation is done in the thread; what comes to the loop is whole and checked, or a
fault. Nothing is put in force here (``wiring.Gateway``), and nothing is said.

A change is what changes the files that are read, through whatever links: an editor's
rename, a config map's ``..data``, a file that is written in place. The look every half
second also covers a system that has no events left to give.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path

from pydantic import BaseModel
from watchfiles import watch

from awsgate.errors import SetupError
from awsgate.policy import Policy
from awsgate.policyfile import SUFFIXES

POLL_S = 0.5
DEBOUNCE_MS = 100  # an editor or a config map changes several files at a time


@dataclass(frozen=True, slots=True)
class Source[T]:
    """Something on disk that is read whole when it has changed."""

    name: str
    folder: Path
    """Where its changes show."""
    fingerprint: Callable[[], object]
    load: Callable[[], T]
    """Raises ``SetupError``."""


@dataclass(frozen=True, slots=True)
class Outcome[T]:
    """What came of reading a source again."""

    source: str
    value: T | None
    """None: there is a fault."""
    fault: SetupError | None
    asked: bool
    """Somebody asked for it: it is told in any case."""


class Watch:
    """A thread that reads sources when they change, and tells the loop.

    The first look reads everything, so that nothing is missed that changed since the
    gateway read it; ``tell`` is to ignore what is in force already.
    """

    def __init__(
        self,
        sources: Sequence[Source[object]],
        tell: Callable[[Outcome[object]], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._sources = tuple(sources)
        self._tell, self._loop = tell, loop
        self._seen: dict[str, object] = {}
        self._stop, self._asked = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="awsgate-watch", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def ask(self) -> None:
        """Read everything again, changed or not. May be called from a signal handler."""
        self._asked.set()

    def close(self) -> None:
        """End the thread; what it still finds is not told."""
        self._stop.set()
        self._thread.join(5.0)

    def _run(self) -> None:
        for _ in self._wakeups():
            asked = self._asked.is_set()
            self._asked.clear()
            for source in self._sources:
                outcome = self._look(source, asked=asked)
                if outcome is not None and not self._stop.is_set():
                    with suppress(RuntimeError):  # the loop is closed: nobody is left to tell
                        self._loop.call_soon_threadsafe(self._deliver, outcome)

    def _deliver(self, outcome: Outcome[object]) -> None:
        if not self._stop.is_set():
            self._tell(outcome)

    def _look(self, source: Source[object], *, asked: bool) -> Outcome[object] | None:
        """Read a source if it has changed since the last look."""
        # Before it is read: what changes meanwhile is seen by the next look.
        now = source.fingerprint()
        if not asked and source.name in self._seen and self._seen[source.name] == now:
            return None
        self._seen[source.name] = now
        try:
            return Outcome(source.name, source.load(), None, asked)
        except SetupError as exc:
            return Outcome(source.name, None, exc, asked)
        except Exception as exc:  # noqa: BLE001 - the thread must live, and say so
            fault = SetupError(f"the {source.name} cannot be read: {type(exc).__name__}")
            return Outcome(source.name, None, fault, asked)

    def _wakeups(self) -> Iterator[None]:
        """Give control at once, at each change, and twice a second."""
        yield
        while not self._stop.is_set():
            try:
                yield from self._events()
            except (OSError, RuntimeError):  # no such folder, or no more watches to be had
                self._stop.wait(POLL_S)
                yield

    def _events(self) -> Iterator[None]:
        """Watch until something changes, then end: a folder may be another one by now."""
        for changes in watch(
            *{source.folder for source in self._sources},
            watch_filter=None,
            debounce=DEBOUNCE_MS,
            stop_event=self._stop,
            rust_timeout=int(POLL_S * 1000),
            yield_on_timeout=True,
            raise_interrupt=False,
            recursive=False,
        ):
            before = dict(self._seen)
            yield
            if changes and before != self._seen:
                return


def policy_source(path: Path, load: Callable[[], object]) -> Source[object]:
    """Give the source for a policy: a file, or a folder of files."""
    folder = path if path.is_dir() else path.parent
    return Source("policy", folder, lambda: policy_fingerprint(path), load)


def policy_fingerprint(path: Path) -> object:
    """Give what differs whenever a file of the policy differs. Never raises."""
    try:
        if not path.is_dir():
            return _stamp(path)
        with os.scandir(path) as entries:
            names = sorted(
                entry.name
                for entry in entries
                if Path(entry.name).suffix.lower() in SUFFIXES and not entry.name.startswith(".")
            )
        return (path.stat().st_mode, [(name, _stamp(path / name)) for name in names])
    except OSError as exc:
        return exc.errno


def _stamp(file: Path) -> object:
    try:
        s = file.stat()  # of what a link leads to
    except OSError as exc:
        return exc.errno
    return (s.st_dev, s.st_ino, s.st_mode, s.st_size, s.st_mtime_ns, s.st_ctime_ns)


def digest_of(policy: Policy) -> str:
    """Give the SHA-256, in hex, of what a policy says: comments and files do not matter."""
    return hashlib.sha256(
        json.dumps(_plain(policy), sort_keys=True, separators=(",", ":"), default=str).encode()
    ).hexdigest()


def _plain(value: object) -> object:
    if isinstance(value, Policy):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value) if f.compare}
    if isinstance(value, BaseModel):
        return {name: _plain(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, frozenset | set):
        return sorted(map(str, value))
    return value
