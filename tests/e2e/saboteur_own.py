"""The saboteur of ``saboteur.py`` in a worker of ``awsgate run`` with its own core.

A ``sitecustomize`` on the worker's PYTHONPATH imports this before the worker begins. What
fails, and which nets are away, is read from SABOTEUR_CONTROL as there. The upstream's
certificate is the one of SABOTEUR_TRUSTED.
"""

from __future__ import annotations

import os

from awsgate.server import front
from awsgate.server.core.tls import Trust
from e2e.saboteur import Halts, Rewrites

front.OwnFront.before = (Halts(),)
front.OwnFront.after = (Rewrites(),)
front.Trust = lambda _: Trust(lambda: os.environ["SABOTEUR_TRUSTED"])  # type: ignore[assignment,misc]
