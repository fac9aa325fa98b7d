"""``awsgate env``: forms that are no shell's, and the way back."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from commandline import ALICE, Run, opened_by_the_gateway

pytestmark = pytest.mark.usefixtures("gateway_ca")


def test_unset_takes_back_what_env_set(run: Run, home: Path) -> None:
    out = run(*ALICE, "--region", "eu-west-1").out
    script = """
    set -eu; before=$(env -0 | sort -z | tr '\\0' '\\n'); eval "$OUT"
    undo=$("$PYTHON" -m awsgate env --unset); eval "$undo"
    after=$(env -0 | sort -z | tr '\\0' '\\n'); [ "$before" = "$after" ] || {
      echo "$before"; echo ---; echo "$after"; exit 1; }
    """
    environment = {"PATH": "/usr/bin:/bin", "PYTHON": sys.executable, "OUT": out, "AWS_PAGER": ""}

    done = subprocess.run(
        ["bash", "-c", script], env=environment, cwd=home, capture_output=True, check=False,
        text=True,
    )  # fmt: skip

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_unset_with_nothing_to_take_back_prints_nothing_to_eval(run: Run) -> None:
    result = run("env", "--unset")

    assert (result.code, result.out) == (0, "")
    assert "AWSGATE_ENV is not set" in result.err
    assert run("env", "--unset", "--format", "json").code == 2


def test_a_value_that_a_form_cannot_hold_is_an_error_and_nothing_is_printed(
    run: Run, home: Path, gateway_ca: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certs = home / "two\nlines"
    shutil.copytree(gateway_ca, certs)
    certs.chmod(0o700)
    monkeypatch.setenv("AWSGATE_CERTS", str(certs))

    result = run(*ALICE, "--format", "docker")

    assert (result.code, result.out) == (2, "")
    assert "AWS_CA_BUNDLE holds a line break" in result.err


def test_athena_odbc_is_a_connection_string(run: Run, home: Path) -> None:
    text = run(*ALICE, "--format", "athena-odbc", "--region", "eu-west-1").out.strip()

    pairs = dict(part.split("=", 1) for part in text.removesuffix(";").split(";"))
    opened = opened_by_the_gateway(
        {"AWS_ACCESS_KEY_ID": pairs["UID"], "AWS_SESSION_TOKEN": pairs["SessionToken"]}, home
    )
    assert opened.secret_access_key == pairs["PWD"]
    where = (pairs["UseProxy"], pairs["ProxyScheme"], pairs["ProxyHost"], pairs["ProxyPort"])
    assert where == ("1", "http", "127.0.0.1", "3128")
    assert (pairs["AwsRegion"], pairs["Workgroup"]) == ("eu-west-1", "primary")
    assert Path(pairs["TrustedCerts"]).is_file()


def test_athena_jdbc_is_a_url(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("ATHENA_WORKGROUP", "mine")

    text = run(*ALICE, "--format", "athena-jdbc").out.strip()

    assert text.startswith("jdbc:athena://Region=eu-west-1;WorkGroup=mine;User=GATE")
    assert ";ProxyHost=127.0.0.1;ProxyPort=3128;" in text


def test_athena_without_a_region_is_used_wrongly(run: Run) -> None:
    result = run(*ALICE, "--format", "athena-odbc")

    assert (result.code, result.out) == (2, "")
    assert "region" in result.err
