"""Where an order for the gateway itself goes: what client and gateway agree on.

``orders`` reads such a request, ``gatewaycall`` sends one; neither imports the other, so
that a command which sends one does not load the policy.
"""

from __future__ import annotations

PREFIX = "/.awsgate"
"""On an STS endpoint, everything from here on is the gateway's own."""
TARGET = "/.awsgate/v1/artefact"
CONTENT_TYPE = "application/x-amz-json-1.1"
"""Also says that refusals are to come as JSON."""
