"""What TLS of asyncio costs in memory before anybody has proved to be somebody.

asyncio sets 256 KiB aside for each TLS connection as soon as it begins. One byte begins it,
so whoever can connect could have gigabytes set aside. A record has 16 KiB; more saves system
calls, and no time that could be measured.
"""

from __future__ import annotations

from asyncio import sslproto
from traceback import clear_frames

BUFFER_BYTES = 32 * 1024


def keep_small() -> None:
    """Have TLS connections of this process begin with little from now on."""
    sslproto.SSLProtocol.max_size = BUFFER_BYTES


def let_go(exc: BaseException) -> None:
    """Free what a handshake that failed holds.

    asyncio's future holds the exception, its traceback the frames, and one of these the
    future and the connection with its buffers: a circle that only the garbage collector
    would break, which looks at what has lived for a while after millions of objects.
    """
    clear_frames(exc.__traceback__)
    exc.__traceback__ = None
