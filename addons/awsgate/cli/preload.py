"""``awsgate preload``: where the file is that makes Node programs obey HTTPS_PROXY."""

from __future__ import annotations

from pathlib import Path

import awsgate


def preload() -> None:
    """Print the path of the preload for Node; the AWS SDK for JavaScript needs it.

    Example: NODE_OPTIONS="--require=$(awsgate preload)" node app.js
    """
    print(Path(awsgate.__path__[0]) / "clients" / "preload.cjs")
