"""Docs that cannot rot: what they name is there, and what is there they name."""

from __future__ import annotations

import ast
import re
from dataclasses import fields
from pathlib import Path

import pytest
from typer.main import get_command

from awsgate.addon.entry import OPTIONS
from awsgate.addon.patches import KNOWN
from awsgate.audit import AuditRecord
from awsgate.cli import app
from awsgate.errors import Code
from awsgate.metrics import Metrics

ROOT = Path(__file__).parent.parent
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
README = (ROOT / "README.md").read_text("utf-8")
NAMED_TESTS = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", ARCHITECTURE)))


def test_architecture_names_tests() -> None:
    assert len(NAMED_TESTS) > 20


@pytest.mark.parametrize(("path", "name"), NAMED_TESTS)
def test_every_test_that_holds_an_invariant_exists(path: str, name: str) -> None:
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    functions = {
        n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)
    }

    assert name in functions


@pytest.mark.parametrize("code", list(Code))
def test_every_refusal_code_has_its_section(code: Code) -> None:
    assert f"\n## {code.value}\n" in (ROOT / "docs/refusals.md").read_text("utf-8")


def test_every_audit_field_is_explained() -> None:
    text = (ROOT / "docs/audit.md").read_text("utf-8")

    assert [f.name for f in fields(AuditRecord) if f"`{f.name}`" not in text] == []


def test_every_metric_is_explained() -> None:
    text = (ROOT / "docs/metrics.md").read_text("utf-8")
    metrics = Metrics(version="test", known_users=())
    names = {
        family.name + ("_total" if family.type == "counter" else "")
        for family in metrics.registry.collect()
    }

    assert len(names) > 10
    assert [name for name in names if f"`{name}`" not in text] == []


def test_every_command_and_option_is_in_the_readme() -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]

    assert len(commands) >= 5
    assert [name for name in commands if f"`awsgate {name}" not in README] == []
    assert [name for name in OPTIONS if f"`{name}`" not in README] == []


def test_every_patch_is_listed_in_the_architecture() -> None:
    assert [name for name in KNOWN if f"`{name}`" not in ARCHITECTURE] == []
