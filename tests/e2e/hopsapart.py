"""Two network namespaces: the near gateway and its clients in one, the jump host here.

    this namespace    10.213.77.1   the jump host, its control API, AWS
    the other one     10.213.77.2   the gateway that hands on, and what runs ``inside``

Needs root, and a kernel that lets it; else ``available`` says no.
"""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE, THERE = "10.213.77.1", "10.213.77.2"


@dataclass(frozen=True)
class Namespace:
    """A network of its own, with one way out."""

    name: str

    def inside[T](self, work: Callable[[], T]) -> T:
        """Do something there: sockets, processes and threads that it opens are there too."""
        done: list[T] = []
        failed: list[BaseException] = []

        def run() -> None:
            with Path(f"/run/netns/{self.name}").open("rb") as handle:
                os.setns(handle.fileno(), os.CLONE_NEWNET)
            try:
                done.append(work())
            except BaseException as exc:  # noqa: BLE001 - it is raised where it was asked for
                failed.append(exc)

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        if failed:
            raise failed[0]
        return done[0]


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=30)


@contextmanager
def namespace() -> Iterator[Namespace | None]:
    """Make one; None: it may not be made here."""
    name, ours, theirs = (f"{word}{os.getpid() % 100_000}" for word in ("gate", "gv", "gw"))
    try:
        _ip("netns", "add", name)
    except (OSError, subprocess.CalledProcessError):
        yield None
        return
    try:
        try:
            _ip("link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", name)
            _ip("addr", "add", f"{HERE}/30", "dev", ours)
            _ip("link", "set", ours, "up")
            for words in (
                ("addr", "add", f"{THERE}/30", "dev", theirs),
                ("link", "set", theirs, "up"),
                ("link", "set", "lo", "up"),
            ):
                _ip("-n", name, *words)
        except subprocess.CalledProcessError:
            yield None
            return
        yield Namespace(name)
    finally:
        _ip("netns", "del", name)  # and with it both ends of the pair
