"""The dashboard and the alert rules show what the gateway has, all of it, and nothing else."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from awsgate.errors import Code

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def builder(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "scripts")  # its table of alerts stands beside it
    spec = importlib.util.spec_from_file_location(
        "build_dashboard", ROOT / "scripts/build_dashboard.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


def test_the_files_are_what_the_builder_writes(builder: ModuleType) -> None:
    written = {path.name: content for path, content in builder.files().items()}

    assert {name: (ROOT / "deploy" / name).read_text("utf-8") for name in written} == written


def test_a_metric_in_no_panel_is_told(builder: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    names = builder.metric_names()
    monkeypatch.setattr(builder, "metric_names", lambda: {*names, "awsgate_new_total"})

    with pytest.raises(SystemExit, match="in no panel: awsgate_new_total"):
        builder.check()


def test_a_metric_that_is_not_there_is_told(
    builder: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = builder.metric_names()
    monkeypatch.setattr(builder, "metric_names", lambda: names - {"awsgate_refusals_total"})

    with pytest.raises(SystemExit, match="no such metric: awsgate_refusals_total"):
        builder.check()


# What ``addon.record`` writes into audit lines and labels; of codes the refusals', and AWS's.
COUNTED = {
    "decision": r"allowed|refused",
    "code": "|".join([r"5\.\.", *Code]),
    "result": r"ok|hit|miss|refresh|denied|failed",
}


def test_what_is_picked_by_a_label_is_what_the_gateway_counts(builder: ModuleType) -> None:
    rules = yaml.safe_load(builder.panels_as_rules())["groups"] + builder.alerts()["groups"]
    exprs = " ".join(rule["expr"] for group in rules for rule in group["rules"])
    picked = re.findall(r'(decision|code|result)=~?"([^"]*)"', exprs)

    assert {label for label, _ in picked} == set(COUNTED)
    for label, values in picked:
        for value in values.split("|"):
            assert re.fullmatch(COUNTED[label], value), f"nothing is counted as {label}={value}"


def test_no_panel_lies_over_another() -> None:
    panels = json.loads((ROOT / "deploy/grafana-dashboard.json").read_text("utf-8"))["panels"]
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in taken, panel["title"]
                taken.add((x, y))


def test_every_alert_says_what_to_do() -> None:
    rules = yaml.safe_load((ROOT / "deploy/alerts.yaml").read_text("utf-8"))["groups"][0]["rules"]

    assert len(rules) >= 9
    assert all(rule["annotations"]["description"].endswith(".") for rule in rules)
