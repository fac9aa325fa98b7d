"""A gateway that finds a mitmproxy of which it knows nothing, as after an upgrade."""

from __future__ import annotations

import sys

if "awsgate.server.worker" in sys.orig_argv or any("mitmdump" in word for word in sys.orig_argv):
    from awsgate.addon import patches

    for name in patches.KNOWN:
        patches.KNOWN[name] = frozenset()
