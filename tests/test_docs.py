"""Docs that cannot rot: what they name is there, and what is there they name."""

from __future__ import annotations

import ast
import re
from dataclasses import fields
from pathlib import Path

import pytest
from botocore.credentials import EnvProvider
from typer.main import get_command

from awsgate.addon.entry import OPTIONS
from awsgate.addon.patches import KNOWN
from awsgate.audit import AuditRecord
from awsgate.cli import application
from awsgate.errors import Code
from awsgate.metrics import Metrics

ROOT = Path(__file__).parent.parent
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
README = (ROOT / "README.md").read_text("utf-8")
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "policy/README.md"])
NAMING = ("ARCHITECTURE.md", "SECURITY.md", "docs/reliability.md")
NAMED_TESTS = sorted(
    {
        named
        for page in NAMING
        for named in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / page).read_text("utf-8"))
    }
)


@pytest.mark.parametrize("page", NAMING)
def test_what_holds_is_told_with_its_test(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    named = re.findall(r"`(tests/[^`]*::[^`]*)`", text)

    assert len(named) > 20
    # Else nobody would look if it is there.
    assert [name for name in named if tuple(name.split("::")) not in NAMED_TESTS] == []


def test_each_attack_of_the_threat_model_has_a_test() -> None:
    model = (ROOT / "SECURITY.md").read_text("utf-8").partition("\n## Who attacks")[2]
    rows = re.findall(r"^\| (?!attack |---)(.+) \|$", model, re.MULTILINE)

    assert len(rows) > 30
    assert [row for row in rows if "`tests/" not in row.rpartition(" | ")[2]] == []


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
    commands = get_command(application()).commands  # type: ignore[attr-defined]

    assert len(commands) >= 5
    assert [name for name in commands if f"`awsgate {name}" not in README] == []
    assert [name for name in OPTIONS if f"`{name}`" not in README] == []


def test_what_botocore_says_of_ended_credentials_is_in_the_docs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", "2020-01-01T00:00:00Z")

    credentials = EnvProvider().load()
    assert credentials is not None
    with pytest.raises(RuntimeError) as caught:
        credentials.get_frozen_credentials()

    assert f"`{caught.value}`" in (ROOT / "docs/refusals.md").read_text("utf-8")


def test_the_readme_gives_curl_the_session_token() -> None:
    blocks = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    calls = [block for block in blocks if "--aws-sigv4" in block]

    assert calls
    assert [
        call for call in calls if '"x-amz-security-token: $AWS_SESSION_TOKEN"' not in call
    ] == []


def test_the_readme_says_how_to_start_without_aws() -> None:
    (url,) = re.findall(r"mitmdump .*--set awsgate_upstream=http://127\.0\.0\.1:(\d+)\n", README)

    assert f"\n$ moto_server -p {url} &\n$ AWS_ACCESS_KEY_ID=" in README


def test_every_option_of_env_is_in_the_readme() -> None:
    options = [
        option for p in get_command(application()).commands["env"].params for option in p.opts
    ]  # type: ignore[attr-defined]

    assert "--region" in options
    assert [option for option in options if f"`{option}" not in README] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://)([^)#]+)", page.read_text("utf-8"))

    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_readme_leads_to_every_page() -> None:
    pages = {str(page.relative_to(ROOT)) for page in PAGES} - {"README.md", "CHANGELOG.md"}

    assert {"docs/audit.md", "policy/README.md"} <= pages
    assert [page for page in pages if f"]({page}" not in README] == []


def test_every_patch_is_listed_in_the_architecture() -> None:
    assert [name for name in KNOWN if f"`{name}`" not in ARCHITECTURE] == []
