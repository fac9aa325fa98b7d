"""Do the patches fit the mitmproxy that is installed? ``python -m awsgate.addon.fitting``.

``awsgate doctor`` asks in a process of its own: mitmproxy is the addon's to import. The
answer is JSON: the version, and the names of the patches that would be left out.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version

from awsgate.addon import patches


def answer() -> str:
    """Give the answer."""
    return json.dumps([version("mitmproxy"), patches.unknown()])


if __name__ == "__main__":
    sys.stdout.write(f"{answer()}\n")
