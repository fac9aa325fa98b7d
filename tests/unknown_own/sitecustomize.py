"""A gateway of the own core that knows nothing of the mitmproxy that it finds.

``scripts/ways unknown`` has gateways import this first. Where a test starts mitmproxy's
layers whatever the way, they ask what they need, and get it: they would not start.
"""

from __future__ import annotations

import sys
from collections.abc import Collection

if "awsgate.server.worker" in sys.orig_argv or any("mitmdump" in word for word in sys.orig_argv):
    from awsgate.addon import patches

    known, asked = dict(patches.KNOWN), patches.unknown
    for name in known:
        patches.KNOWN[name] = frozenset()

    def unknown(among: Collection[str] = known) -> list[str]:
        patches.KNOWN.update(known)
        return asked(among)

    patches.unknown = unknown
