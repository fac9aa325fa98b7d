"""A gateway with no patch of mitmproxy but those that it does not start without.

``scripts/ways spared`` has gateways import this first. It is what an upgrade of mitmproxy
can leave of the patches, and still have a gateway.
"""

from __future__ import annotations

import sys

if "awsgate.server.worker" in sys.orig_argv or any("mitmdump" in word for word in sys.orig_argv):
    from awsgate.addon import patches

    for name in patches.KNOWN.keys() - patches.NEEDED:
        patches.KNOWN[name] = frozenset()
