"""Signed event-stream frames: not read by this version, so every one is refused."""

from __future__ import annotations

from awsgate.aws.chunked import ChunkError, ChunkSigner


class EventResigner:
    """Refuses every body."""

    def __init__(self, client: ChunkSigner, ours: ChunkSigner) -> None:
        self._parties = (client, ours)

    def feed(self, data: bytes) -> bytes:
        """Raise ``ChunkError``."""
        raise ChunkError("signed event streams are not supported by this version")

    def finish(self) -> bytes:
        """Raise ``ChunkError``."""
        return self.feed(b"")
