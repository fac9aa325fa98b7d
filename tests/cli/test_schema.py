"""``awsgate schema``: what editors are given is what stands in the repository."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]  # comes with moto
import pytest

from commandline import Run

SHIPPED = Path(__file__).parents[2] / "policy/schema.json"
LOCK = {"kind": "lock", "version": "v1", "metadata": {"name": "l"}}


def test_it_prints_the_shipped_file(run: Run) -> None:
    result = run("schema")

    assert (result.code, result.err) == (0, "")
    assert result.out == SHIPPED.read_text("utf-8")


@pytest.mark.parametrize(
    "kind", ["role", "user", "app", "lock", "gateway", "oidc", "github", "saml"]
)
def test_one_kind_is_that_kind_alone(run: Run, kind: str) -> None:
    schema = json.loads(run("schema", "--kind", kind).out)
    validator = jsonschema.Draft202012Validator(schema)

    assert schema["properties"]["kind"]["const"] == kind
    good = LOCK | {"spec": {"target": {"user": "alice"}}}
    assert validator.is_valid(good) is (kind == "lock")
    assert not validator.is_valid(LOCK | {"spec": {"targets": {}}})


def test_another_kind_is_used_wrongly(run: Run) -> None:
    result = run("schema", "--kind", "ldap")

    assert (result.code, result.out) == (2, "")
    assert "'ldap' is not one of role, user, app, " in result.err
