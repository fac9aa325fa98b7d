"""Build ``policy/schema.json`` from the policy's models, for editors that check YAML.

    .venv/bin/python scripts/build_schema.py

``tests/policy/test_schema.py`` fails if it was forgotten. The gateway itself reads the
models, never this file.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter

from awsgate.policy.resources import App, Gateway, Lock, Role, User

TARGET = Path(__file__).parent.parent / "policy/schema.json"


def schema() -> str:
    """Give the file's text."""
    adapter: TypeAdapter[object] = TypeAdapter(
        Annotated[Role | User | App | Lock | Gateway, Field(discriminator="kind")]
    )
    found = {"$schema": "https://json-schema.org/draft/2020-12/schema", **adapter.json_schema()}
    return json.dumps(found, indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    TARGET.write_text(schema(), "utf-8")
    sys.stderr.write(f"{TARGET}\n")
