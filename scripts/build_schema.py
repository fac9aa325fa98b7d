"""Build ``policy/schema.json`` from the policy's models, for editors that check YAML.

    .venv/bin/python scripts/build_schema.py

``tests/policy/test_schema.py`` fails if it was forgotten. The gateway itself reads the
models, never this file.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from awsgate.policy import schema as models

TARGET = Path(__file__).parent.parent / "policy/schema.json"


def schema() -> str:
    """Give the file's text."""
    return json.dumps(models.schema(), indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    TARGET.write_text(schema(), "utf-8")
    sys.stderr.write(f"{TARGET}\n")
