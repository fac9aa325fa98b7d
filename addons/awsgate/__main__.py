"""``python -m awsgate``: the command line."""

from __future__ import annotations

from awsgate.cli import main

if __name__ == "__main__":
    main()
