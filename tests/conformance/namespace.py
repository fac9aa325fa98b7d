"""A network of loopback alone, so that a client that goes past the gateway fails at once.

Where the system does not permit that (no Linux, no namespaces for this user), all runs in
the network that is there: then a client that goes past the gateway fails only if it
reaches nothing, or is refused by AWS for its gateway keys.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from pathlib import Path

_GET_FLAGS, _SET_FLAGS = 0x8913, 0x8914
"""SIOCGIFFLAGS and SIOCSIFFLAGS of Linux."""
_UP = 0x1


def enter() -> str:
    """Enter a network namespace of this process's own. Gives what to tell the user."""
    if not hasattr(os, "unshare"):
        return "no network namespaces on this system: going on in its own network"
    reason = _tried()
    if reason:
        return f"no network namespace is permitted here ({reason}): going on without"
    _unshare()
    _loopback_up()
    return "in a network namespace with loopback alone"


def _tried() -> str:
    """Try it in a child, since half of it could not be undone. Gives why it fails."""
    child = os.fork()
    if child == 0:
        try:
            _unshare()
            _loopback_up()
        except OSError as exc:
            os._exit(exc.errno or errno.EPERM)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return os.strerror(code) if code > 0 else ""


def _unshare() -> None:
    try:
        os.unshare(os.CLONE_NEWNET)
    except PermissionError:
        # Not root: in a user namespace of its own, any user may.
        user, group = os.getuid(), os.getgid()
        os.unshare(os.CLONE_NEWUSER | os.CLONE_NEWNET)
        with contextlib.suppress(OSError):
            Path("/proc/self/setgroups").write_text("deny", "ascii")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1", "ascii")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1", "ascii")


def _loopback_up() -> None:
    import fcntl  # not on Windows, which never comes here

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        asked = struct.pack("16sh14x", b"lo", 0)
        (flags,) = struct.unpack_from("h", fcntl.ioctl(any_socket, _GET_FLAGS, asked), 16)
        fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sh14x", b"lo", flags | _UP))
