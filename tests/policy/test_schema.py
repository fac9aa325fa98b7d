"""The JSON schema for editors says what the models say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_schema_is_that_of_the_models() -> None:
    code = "import build_schema, sys; sys.stdout.write(build_schema.schema())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT / "scripts",
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == (ROOT / "policy/schema.json").read_text("utf-8")
