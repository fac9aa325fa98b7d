"""Writes deploy/grafana-dashboard.json and deploy/alerts.yaml from the list of metrics.

    python scripts/build_dashboard.py

Fails if a panel or an alert names a metric that the gateway does not have, or if one that
it has is in no panel. tests/test_dashboard.py holds the files equal to what this writes;
scripts/dashboards has promtool check the rules.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from alert_rules import ALERTS_TABLE

from awsgate.metrics import Metrics

ROOT = Path(__file__).resolve().parent.parent
DASHBOARD = ROOT / "deploy" / "grafana-dashboard.json"
ALERTS = ROOT / "deploy" / "alerts.yaml"
COLUMNS, HEIGHT = 24, 8
SOURCE = {"type": "prometheus", "uid": "${source}"}
JOB = '{job=~"$job"}'


@dataclass(frozen=True)
class Panel:
    """One graph: a title, a unit of Grafana's, and expression -> legend."""

    title: str
    unit: str
    lines: dict[str, str]
    kind: str = "timeseries"
    width: int = 8
    why: str = ""
    """Shown at the panel's corner."""


def rate(metric: str, by: str, more: str = "", top: int = 0) -> str:
    """Give the rate of a counter, summed by labels; ``top``: the largest alone."""
    selector = f'{{job=~"$job"{more}}}'
    found = f"sum by ({by}) (rate({metric}{selector}[$__rate_interval]))"
    return f"topk({top}, {found})" if top else found


def quantiles(metric: str, by: str = "") -> dict[str, str]:
    """Give the median and the slow end of a histogram."""
    grouped = f"le, {by}" if by else "le"
    inner = f"sum by ({grouped}) (rate({metric}_bucket{JOB}[$__rate_interval]))"
    return {
        f"histogram_quantile({q}, {inner})": f"p{round(q * 100)}" + (f" {{{{{by}}}}}" if by else "")
        for q in (0.5, 0.95, 0.99)
    }


ROWS: dict[str, tuple[Panel, ...]] = {
    "Now": (
        Panel(
            "Requests a second",
            "reqps",
            {f"sum(rate(awsgate_requests_total{JOB}[$__rate_interval]))": "requests"},
            kind="stat",
            width=4,
        ),
        Panel(
            "Refused",
            "percentunit",
            {
                f'sum(rate(awsgate_requests_total{{job=~"$job", decision="refused"}}'
                f"[$__rate_interval])) / sum(rate(awsgate_requests_total{JOB}"
                "[$__rate_interval]))": "refused"
            },
            kind="stat",
            width=4,
        ),
        Panel(
            "Gateway's own time, p95",
            "s",
            {
                "histogram_quantile(0.95, sum by (le) (rate("
                f"awsgate_overhead_seconds_bucket{JOB}[$__rate_interval])))": "p95"
            },
            kind="stat",
            width=4,
        ),
        Panel("Open tunnels", "none", {f"sum(awsgate_tunnels{JOB})": "tunnels"}, "stat", 4),
        Panel(
            "CA ends in",
            "s",
            {f"min(awsgate_ca_expiry_seconds{JOB}) - time()": "left"},
            kind="stat",
            width=4,
        ),
        Panel(
            "Version",
            "none",
            {f"count by (version) (awsgate_build_info{JOB})": "{{version}}"},
            kind="stat",
            width=4,
            why="More than one while a fleet is being upgraded.",
        ),
    ),
    "Who does what": (
        Panel(
            "Requests by user",
            "reqps",
            {rate("awsgate_requests_total", "user", top=10): "{{user}}"},
        ),
        Panel(
            "Requests by service",
            "reqps",
            {rate("awsgate_requests_total", "service", top=10): "{{service}}"},
        ),
        Panel(
            "Requests by IAM role",
            "reqps",
            {rate("awsgate_requests_total", "role", ', role!=""', top=10): "{{role}}"},
        ),
        Panel(
            "AWS actions", "reqps", {rate("awsgate_actions_total", "action", top=15): "{{action}}"}
        ),
        Panel(
            "Body bytes",
            "Bps",
            {rate("awsgate_bytes_total", "direction"): "{{direction}}"},
            why="in: from clients. out: to them.",
        ),
        Panel("Bytes by user", "Bps", {rate("awsgate_bytes_total", "user", top=10): "{{user}}"}),
    ),
    "Refused": (
        Panel(
            "Refusals by code",
            "reqps",
            {rate("awsgate_refusals_total", "code"): "{{code}}"},
            why="docs/refusals.md explains each.",
        ),
        Panel(
            "Refused requests by user",
            "reqps",
            {rate("awsgate_requests_total", "user", ', decision="refused"', top=10): "{{user}}"},
        ),
        Panel(
            "Errors of AWS by service",
            "reqps",
            {
                rate("awsgate_requests_total", "service, code", ', code=~"5.."', top=10): (
                    "{{service}} {{code}}"
                )
            },
        ),
    ),
    "How fast": (
        Panel("Requests, head to end", "s", quantiles("awsgate_request_seconds")),
        Panel(
            "The gateway's own work",
            "s",
            quantiles("awsgate_overhead_seconds"),
            why="Waiting for STS or for AWS is not in it.",
        ),
        Panel("STS", "s", quantiles("awsgate_sts_seconds")),
    ),
    "Credentials, logins and tunnels": (
        Panel(
            "Role credentials asked for",
            "reqps",
            {rate("awsgate_credentials_total", "result"): "{{result}}"},
        ),
        Panel(
            "Role credentials end in",
            "s",
            {f"awsgate_credential_expiry_seconds{JOB} - time()": "{{role}}"},
            why="Each line jumps up when it is renewed; one that reaches 0 was not.",
        ),
        Panel(
            "Logins",
            "reqps",
            {rate("awsgate_logins_total", "connector, result", top=10): "{{connector}} {{result}}"},
            why="ok, or why one was refused: docs/control-api.md.",
        ),
        Panel(
            "Access requests",
            "none",
            {
                "sum by (result) (increase(awsgate_access_requests_total"
                f"{JOB}[$__rate_interval]))": "{{result}}"
            },
            why="Roles asked for, and what became of it: docs/access-requests.md.",
        ),
        Panel(
            "Tunnels opened",
            "reqps",
            {rate("awsgate_tunnels_total", "user, reason", top=10): "{{user}} {{reason}}"},
        ),
        Panel("Tunnels open", "none", {f"sum by (user) (awsgate_tunnels{JOB})": "{{user}}"}),
        Panel(
            "Connections that came to no TLS",
            "reqps",
            {rate("awsgate_tls_failures_total", "cause"): "{{cause}}"},
            why="plain-http: HTTPS_PROXY of a client begins with http://.",
        ),
        Panel(
            "Policy reloads",
            "none",
            {
                "sum by (result) (increase(awsgate_policy_reloads_total"
                f"{JOB}[$__rate_interval]))": "{{result}}"
            },
        ),
    ),
}


def metric_names() -> set[str]:
    """Give every metric that the gateway has, as Prometheus knows it."""
    families = Metrics(version="x", known_users=()).registry.collect()
    return {f.name + ("_total" if f.type == "counter" else "") for f in families}


def named_in(text: str) -> set[str]:
    """Give the metrics that an expression names."""
    found = set(re.findall(r"awsgate_[a-z_]+", text))
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in found}


def dashboard() -> dict[str, Any]:
    """Give Grafana's dashboard."""
    panels: list[dict[str, Any]] = []
    y = 0
    for row, graphs in ROWS.items():
        place = {"h": 1, "w": COLUMNS, "x": 0, "y": y}
        panels.append({"type": "row", "title": row, "gridPos": place, "collapsed": False})
        x, y = 0, y + 1
        for graph in graphs:
            if x + graph.width > COLUMNS:
                x, y = 0, y + _height(graph)
            place = {"h": _height(graph), "w": graph.width, "x": x, "y": y}
            panels.append(_panel(graph, place))
            x += graph.width
        y += _height(graphs[-1])
    for number, panel in enumerate(panels, 1):
        panel["id"] = number
    return {
        "title": "awsgate",
        "uid": "awsgate",
        "description": "AWS access without AWS keys: who asks for what, and what is refused.",
        "tags": ["aws", "awsgate"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": [_source(), _job()]},
        "panels": panels,
    }


def _height(panel: Panel) -> int:
    return HEIGHT // 2 if panel.kind == "stat" else HEIGHT


def _panel(panel: Panel, place: dict[str, int]) -> dict[str, Any]:
    targets = [
        {"datasource": SOURCE, "expr": expr, "legendFormat": legend, "refId": chr(65 + number)}
        for number, (expr, legend) in enumerate(panel.lines.items())
    ]
    options: dict[str, Any] = {"legend": {"displayMode": "list", "placement": "bottom"}}
    if panel.kind == "stat":
        options = {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "none"}
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.why,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": options,
        "targets": targets,
    }


def _source() -> dict[str, Any]:
    return {"type": "datasource", "name": "source", "label": "Source", "query": "prometheus"}


def _job() -> dict[str, Any]:
    return {
        "type": "query",
        "name": "job",
        "label": "Job",
        "datasource": SOURCE,
        "query": {"query": "label_values(awsgate_build_info, job)", "refId": "job"},
        "includeAll": True,
        "multi": True,
        "current": {"text": "All", "value": "$__all"},
    }


def alerts() -> dict[str, Any]:
    """Give Prometheus's rules."""
    rules = [
        {
            "alert": alert.name,
            "expr": alert.expr,
            "for": alert.wait,
            "labels": {"severity": alert.severity},
            "annotations": {"summary": alert.summary, "description": alert.todo},
        }
        for alert in ALERTS_TABLE
    ]
    return {"groups": [{"name": "awsgate", "rules": rules}]}


def check() -> None:
    """Raise ``SystemExit`` if a metric is named that is not there, or one is not shown."""
    known = metric_names()
    shown = {n for row in ROWS.values() for p in row for e in p.lines for n in named_in(e)}
    alerted = {name for alert in ALERTS_TABLE for name in named_in(alert.expr)}
    if unknown := (shown | alerted) - known:
        raise SystemExit(f"no such metric: {', '.join(sorted(unknown))}")
    if missing := known - shown:
        raise SystemExit(f"in no panel: {', '.join(sorted(missing))}")


def files() -> dict[Path, str]:
    """Give what is to be written."""
    check()
    head = (
        "# Written by scripts/build_dashboard.py: change it there. scripts/dashboards checks it.\n"
    )
    rules = yaml.safe_dump(alerts(), sort_keys=False, width=4096)
    return {DASHBOARD: json.dumps(dashboard(), indent=1) + "\n", ALERTS: head + rules}


def panels_as_rules() -> str:
    """Give the panels' expressions as recording rules, which promtool can check."""
    exprs = [e for row in ROWS.values() for panel in row for e in panel.lines]
    filled = [e.replace("$__rate_interval", "5m").replace("$job", ".*") for e in exprs]
    rules = [{"record": f"panel:{n}", "expr": e} for n, e in enumerate(filled)]
    return str(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))


if __name__ == "__main__":
    if sys.argv[1:] == ["--panels-as-rules"]:
        sys.stdout.write(panels_as_rules())
        raise SystemExit
    for path, content in files().items():
        path.write_text(content, "utf-8")
        sys.stdout.write(f"{path}\n")
