"""What the operator is told on the terminal: each thing once a minute, not once a request."""

from __future__ import annotations

import logging

from awsgate.errors import Code, Refusal

TELL_AGAIN_S = 60.0
MAX_TOLD = 100
OPERATORS = frozenset({Code.ROLE_UNAVAILABLE})
"""Refusals that only the operator of the gateway can mend."""

log = logging.getLogger("awsgate")


class Telling:
    """Logs refusals that are the operator's to mend. Bounded."""

    def __init__(self) -> None:
        self._told: dict[str, float] = {}

    def tell(self, refusal: Refusal, now: float) -> None:
        """Log it, unless that was done within the last minute. ``now`` in epoch seconds."""
        if refusal.code not in OPERATORS:
            return
        text = f"{refusal.code}: {refusal.message}"
        if refusal.detail:
            text += f" ({refusal.detail})"
        if now - self._told.get(text, 0.0) < TELL_AGAIN_S:
            return
        if len(self._told) >= MAX_TOLD:
            self._told.clear()
        self._told[text] = now
        log.warning("%s", text)
