"""Programs that need a setting of their own, and mitmproxy."""

from __future__ import annotations

from pathlib import Path

import pytest

from awsgate.doctor.finding import Severity
from awsgate.doctor.gather import shell_facts, tool_facts
from awsgate.doctor.shell import Place, Shell
from awsgate.doctor.tools import PACKAGES, PROGRAMS, ToolFacts, check_mitmproxy, check_tools

PLACE = Place("127.0.0.1:8080", "/c/ca-cert.pem", "/c/ca-bundle.pem")
CLIENT = {"HTTPS_PROXY": PLACE.url, "AWS_CA_BUNDLE": PLACE.bundle}


def facts(environ: dict[str, str] | None = None, **more: object) -> ToolFacts:
    return ToolFacts(Shell(PLACE, CLIENT | (environ or {})), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("node", 'NODE_OPTIONS="--require=$(awsgate preload)"'),
        ("java", "-file /c/ca-cert.pem"),
        ("java", "-Dhttps.proxyPort=8080"),
        ("java", "-Dhttp.proxyHost=127.0.0.1"),
        ("s3cmd", "ca_certs_file = /c/ca-bundle.pem"),
        ("php", "-d curl.cainfo=/c/ca-bundle.pem"),
        ("ruby", 'Aws.config[:http_proxy] = "http://127.0.0.1:8080"'),
        ("pyarrow", 'proxy_options="http://127.0.0.1:8080"'),
        ("minio", "urllib3.ProxyManager("),
        ("amazon_transcribe", "boto3"),
        ("s3torchconnectorclient", "export SSL_CERT_FILE=/c/ca-bundle.pem"),
    ],
)
def test_a_program_that_needs_a_setting(name: str, fix: str) -> None:
    given = facts(programs=frozenset({name}), packages=frozenset({name}))

    (found,) = check_tools(given)

    assert found.id == f"tool-{name.replace('_', '-')}"
    assert found.severity is Severity.NOTE
    assert fix in found.fix


def test_every_setting_can_be_written_out() -> None:
    given = facts(programs=frozenset(PROGRAMS), packages=frozenset(PACKAGES))

    assert len(list(check_tools(given))) == len(PROGRAMS) + len(PACKAGES)


def test_a_setting_that_is_there_is_not_asked_for() -> None:
    given = facts({"NODE_OPTIONS": "--require ./preload.cjs"}, programs=frozenset({"node"}))

    assert list(check_tools(given)) == []


@pytest.mark.parametrize(
    ("version", "found"),
    [
        ("rclone v1.60.1-DEV", ["rclone-with-ca-bundle"]),
        ("rclone v1.61.0", []),
        ("rclone v1.75.2", []),
        ("", []),
    ],
)
def test_an_old_rclone(version: str, found: list[str]) -> None:
    assert [f.id for f in check_tools(facts(rclone=version))] == found
    operator = ToolFacts(Shell(PLACE, {"AWS_CA_BUNDLE": "x"}), rclone=version)
    assert list(check_tools(operator)) == []


def test_mitmproxy() -> None:
    def ids(**more: object) -> list[tuple[str, str]]:
        return [(f.id, str(f.severity)) for f in check_mitmproxy(facts(**more))]

    assert ids(mitmproxy="12.2.3") == [("mitmproxy", "ok")]
    assert ids(unpatched=("HttpStream.x",)) == [("mitmproxy-unknown", "warning")]
    assert ids(unpatched=None) == [("mitmproxy-unusable", "fault")]


def test_what_is_on_path_here_is_found(tmp_path: Path) -> None:
    for name in ("rclone", "s3cmd"):
        (tmp_path / name).write_text("#!/bin/sh\necho rclone v1.60.1\n")
        (tmp_path / name).chmod(0o755)
    shell = shell_facts({"PATH": f"{tmp_path}:/bin"} | CLIENT, PLACE, b"", None, 0)

    found = tool_facts(shell)

    assert "s3cmd" in found.programs
    assert found.rclone == "rclone v1.60.1"
    assert (found.unpatched, found.mitmproxy[:3]) == ((), "12.")
