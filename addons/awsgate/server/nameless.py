"""Files without a name, in memory: for what takes a path alone, as OpenSSL's loading does.

No full disk keeps one from being made, and nothing of it is left when it is closed.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def nameless(content: bytes) -> int:
    """Give a file descriptor of a file that holds this; it is not inherited."""
    if hasattr(os, "memfd_create"):
        handle = os.memfd_create("awsgate-tls", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as file:  # 0600, and already without a name
            handle = os.dup(file.fileno())
    os.write(handle, content)
    return handle


def path_of(handle: int) -> Path:
    """Give a path by which this process can open it, from its beginning."""
    os.lseek(handle, 0, os.SEEK_SET)  # on some systems what is opened is the same open file
    return Path("/proc/self/fd" if Path("/proc/self/fd").is_dir() else "/dev/fd") / str(handle)
