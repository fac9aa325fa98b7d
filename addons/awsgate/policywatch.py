"""Watches the policy and the locks, and reads them when they change.

    files --watchfiles, or a look every half second--> thread --> the event loop

Validation is done in the thread; what comes to the loop is whole and checked, or a
fault. Nothing is put in force here (``wiring.Gateway``), and nothing is said. Each
source has a thread of its own: a lock does not wait for a long policy to be read.

A change is what changes the files that are read, through whatever links: an editor's
rename, a config map's ``..data``, a file that is written in place. The look every half
second also covers a system that has no events left to give.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path

from pydantic import BaseModel
from watchfiles import watch

from awsgate.errors import SetupError
from awsgate.paths import is_policy_file, stamp_of
from awsgate.policy import Policy
from awsgate.policyfile import load_policy

POLL_S = 0.5
DEBOUNCE_MS = 50  # more changes than the first are seen by the look at what is still moving
SETTLE_S = 1.0
"""How long a policy must rest. The first half of one may be valid, without its denials, and
whoever writes it in place may pause: a slow disk, a copy over the network, an editor."""
MAX_SETTLE_S = 5.0  # a file that never rests is read all the same
_STEP_S = 0.05

# It reports every change at INFO: a log beside the policy would be a change in its turn.
logging.getLogger("watchfiles").setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True)
class Source[T]:
    """Something that is read whole when it has changed."""

    name: str
    folder: Path | None
    """Where its changes show; None: nowhere on disk, it is asked for."""
    fingerprint: Callable[[], object]
    load: Callable[[], T]
    """Raises ``SetupError``."""
    settle_s: float = 0.0
    """How long it must have been unchanged; 0: its files appear whole."""
    poll_s: float = POLL_S
    """How often to look where no folder tells."""


@dataclass(frozen=True, slots=True)
class Outcome[T]:
    """What came of reading a source again."""

    source: str
    value: T | None
    """None: there is a fault."""
    fault: SetupError | None
    asked: bool
    """Somebody asked for it: it is told in any case."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A policy, and the digest of what stands in its files."""

    policy: Policy
    digest: str


class Watch:
    """Threads that read sources when they change, and tell the loop.

    The first look reads everything, so that nothing is missed that changed since the
    gateway read it; ``tell`` is to ignore what is in force already.
    """

    def __init__(
        self,
        sources: Sequence[Source[object]],
        tell: Callable[[Outcome[object]], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._tell, self._loop = tell, loop
        self._closed = False
        self._followers = [_Follower(source, self._hand_over) for source in sources]

    def start(self) -> None:
        """Begin to watch."""
        for follower in self._followers:
            follower.thread.start()

    def ask(self) -> None:
        """Read everything again, changed or not. May be called from a signal handler."""
        for follower in self._followers:
            follower.wake.set()

    def close(self) -> None:
        """End the threads; what they still find is not told."""
        self._closed = True
        for follower in self._followers:
            follower.stop.set()
            follower.wake.set()
        for follower in self._followers:
            follower.thread.join(1.0)  # one that reads on ends with the process

    def _hand_over(self, outcome: Outcome[object]) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody is left to tell
            self._loop.call_soon_threadsafe(self._deliver, outcome)

    def _deliver(self, outcome: Outcome[object]) -> None:
        if not self._closed:
            self._tell(outcome)


class _Follower:
    """The thread of one source."""

    def __init__(self, source: Source[object], tell: Callable[[Outcome[object]], None]) -> None:
        self.source = source
        self.stop, self.wake = threading.Event(), threading.Event()
        name = f"awsgate-watch-{source.name}"
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._tell = tell
        self._seen: object = self  # equal to no fingerprint

    def _run(self) -> None:
        for _ in self._wakeups():
            outcome = None if self.stop.is_set() else self._look()
            if outcome is not None:
                self._tell(outcome)

    def _wakeups(self) -> Iterator[None]:
        """Give control at once, at each change, when asked, and twice a second."""
        while not self.stop.is_set():
            yield
            if self.source.folder is None:
                self.wake.wait(self.source.poll_s)
                continue
            try:
                yield from self._events(self.source.folder)
            except (OSError, RuntimeError):  # no such folder, or no more watches to be had
                self.wake.wait(POLL_S)

    def _events(self, folder: Path) -> Iterator[None]:
        """Watch until something changes, then end: a folder may be another one by now."""
        for changes in watch(
            folder,
            watch_filter=None,
            debounce=DEBOUNCE_MS,
            step=DEBOUNCE_MS // 2,
            stop_event=self.wake,
            rust_timeout=int(POLL_S * 1000),
            yield_on_timeout=True,
            raise_interrupt=False,
            recursive=False,
        ):
            before = self._seen
            yield
            if changes and before != self._seen:
                return

    def _look(self) -> Outcome[object] | None:
        """Read the source if it has changed since the last look, or if somebody asks."""
        if not self.wake.is_set() and self.source.fingerprint() == self._seen:
            return None
        latest, asked = time.monotonic() + MAX_SETTLE_S, False
        while True:
            self._seen = self._settled(latest)
            if self.wake.is_set():
                self.wake.clear()
                asked = True
            outcome = self._read(asked=asked)
            # Files that changed while they were read were read half old, half new.
            if self.source.fingerprint() == self._seen or time.monotonic() > latest:
                return outcome

    def _settled(self, latest: float) -> object:
        """Wait until the files rest, for a while at most; who asks knows that they do."""
        now, since = self.source.fingerprint(), time.monotonic()
        while not self.wake.is_set():
            moment = time.monotonic()
            if moment >= min(since + self.source.settle_s, latest):
                break
            self.wake.wait(_STEP_S)
            before, now = now, self.source.fingerprint()
            if before != now:
                since = time.monotonic()
        return now

    def _read(self, *, asked: bool) -> Outcome[object]:
        source = self.source
        try:
            return Outcome(source.name, source.load(), None, asked)
        except SetupError as exc:
            return Outcome(source.name, None, exc, asked)
        except Exception as exc:  # noqa: BLE001 - the thread must live, and say so
            fault = SetupError(f"the {source.name} cannot be read: {type(exc).__name__}")
            return Outcome(source.name, None, fault, asked)


def policy_source(path: Path) -> Source[object]:
    """Give the source for a policy, a file or a folder of files: it loads a ``Reading``."""
    folder = path if path.is_dir() else path.parent
    return Source(
        "policy", folder, lambda: policy_fingerprint(path), lambda: _reading(path), SETTLE_S
    )


def _reading(path: Path) -> Reading:
    policy = load_policy(path)
    return Reading(policy, digest_of(policy))


def policy_fingerprint(path: Path) -> object:
    """Give what differs whenever a file of the policy differs. Never raises."""
    try:
        if not path.is_dir():
            return _stamp(path)
        with os.scandir(path) as entries:
            names = sorted(entry.name for entry in entries if is_policy_file(entry.name))
        return (path.stat().st_mode, [(name, _stamp(path / name)) for name in names])
    except OSError as exc:
        return exc.errno


def _stamp(file: Path) -> object:
    try:
        return stamp_of(file.stat())  # of what a link leads to
    except OSError as exc:
        return exc.errno


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
