"""systemd's protocols, as sd_listen_fds(3) and sd_notify(3) have them."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from awsgate.server.notify import Notifier, handed_sockets


@pytest.mark.parametrize("prefix", ["", "@"])
def test_what_is_told(tmp_path: Path, prefix: str) -> None:
    name = f"{prefix}{tmp_path}/notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(name.replace("@", "\0", 1) if prefix else name)
        told.settimeout(5)
        notifier = Notifier({"NOTIFY_SOCKET": name})
        notifier.ready("2 workers")
        notifier.reloading()
        notifier.stopping()

        assert told.recv(1000) == b"READY=1\nSTATUS=2 workers"
        assert told.recv(1000).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
        assert told.recv(1000) == b"STOPPING=1\nSTATUS=draining"


def test_without_systemd_nobody_is_told(tmp_path: Path) -> None:
    Notifier({}).ready("x")
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready("x")


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"LISTEN_PID": "1", "LISTEN_FDS": "1"},
        {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "many"},
        {"LISTEN_PID": str(os.getpid())},
    ],
)
def test_sockets_for_another_process_are_left_alone(environ: dict[str, str]) -> None:
    assert handed_sockets(environ) == []
