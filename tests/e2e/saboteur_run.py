"""The saboteur of ``saboteur.py`` in a worker of ``awsgate run``, with mitmproxy's layers.

A ``sitecustomize`` on the worker's PYTHONPATH imports this before the worker begins. What
fails, and which nets are away, is read from SABOTEUR_CONTROL as there. The upstream's
certificate is the one of SABOTEUR_TRUSTED.
"""

from __future__ import annotations

import os
from functools import partial
from typing import Any

from mitmproxy import options

from awsgate.server.front import MitmproxyFront
from e2e.saboteur import Halts, Rewrites

_build = MitmproxyFront.__init__


def _with_saboteurs(self: MitmproxyFront, *arguments: Any) -> None:
    _build(self, *arguments)
    self.before = (Halts(), *self.before)  # type: ignore[assignment]
    self.after = (*self.after, Rewrites())  # type: ignore[assignment]


MitmproxyFront.__init__ = _with_saboteurs  # type: ignore[method-assign]
options.Options = partial(  # type: ignore[misc,assignment]
    options.Options, ssl_verify_upstream_trusted_ca=os.environ["SABOTEUR_TRUSTED"]
)
