"""systemd's two small protocols: sockets that it hands down, and what it is told.

Source: sd_listen_fds(3), sd_notify(3). Without systemd both do nothing.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping

FIRST_FD = 3


def handed_sockets(environ: Mapping[str, str]) -> list[socket.socket]:
    """Give the listening sockets that systemd opened for this process."""
    if environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = environ.get("LISTEN_FDS", "0")
    if not count.isdecimal():
        return []
    return [socket.socket(fileno=fd) for fd in range(FIRST_FD, FIRST_FD + int(count))]


class Notifier:
    """Tells systemd how this process is."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        # "@" stands for the zero byte of an abstract name.
        self._address = "\0" + address[1:] if address.startswith("@") else address

    def ready(self, status: str) -> None:
        """All workers take connections."""
        self._send(f"READY=1\nSTATUS={status}")

    def reloading(self) -> None:
        """The policy is being read again; ``ready`` follows."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """No more connections are taken; what is under way ends."""
        self._send("STOPPING=1\nSTATUS=draining")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            try:
                channel.connect(self._address)
                channel.sendall(text.encode())
            except OSError:
                return  # whoever asked to be told has gone
