"""The JSON schema for editors says what the models say."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]  # comes with moto
import pytest
import yaml

ROOT = Path(__file__).parents[2]
EXAMPLES = {
    **{file.name: file.read_text("utf-8") for file in (ROOT / "policy").glob("*.yaml")},
    **{
        f"README block {number}": block
        for number, block in enumerate(
            re.findall(
                r"```yaml\n(.*?)```", (ROOT / "policy/README.md").read_text("utf-8"), re.DOTALL
            ),
            1,
        )
    },
}


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


def problems(text: str) -> list[str]:
    schema = json.loads((ROOT / "policy/schema.json").read_text("utf-8"))
    validator = jsonschema.Draft202012Validator(schema)
    return [
        error.message
        for document in yaml.safe_load_all(text)
        for error in validator.iter_errors(document)
    ]


@pytest.mark.parametrize("text", EXAMPLES.values(), ids=EXAMPLES)
def test_an_editor_shows_no_fault_in_the_examples(text: str) -> None:
    assert problems(text) == []


def test_an_editor_would_show_one() -> None:
    assert problems(EXAMPLES["roles.yaml"].replace("app_labels", "app_label"))
