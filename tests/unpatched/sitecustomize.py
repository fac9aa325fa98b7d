"""A gateway that knows nothing of the mitmproxy that it finds: no patch of it is put in place.

``scripts/ways unpatched`` has gateways import this first. It is what would happen after an
upgrade of mitmproxy that changed every method that awsgate patches, if the gateway started.
"""

from __future__ import annotations

import sys

if "awsgate.server.worker" in sys.orig_argv or any("mitmdump" in word for word in sys.orig_argv):
    from awsgate.addon import patches

    for name in patches.KNOWN:
        patches.KNOWN[name] = frozenset()
    patches.NEEDED = frozenset()  # or it would not start, and nothing could be tested
