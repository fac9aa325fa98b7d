"""docs/clients.md, the table of clients and the kept results say the same."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import awsgate
from clients import programs, tools
from clients.programs import followed
from conformance import docs, operations, table
from conformance.install import STEPS
from conformance.results import PASSED, load, regressions
from conformance.table import CLIENTS, Client

ROOT = Path(__file__).parent.parent
by_name = pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)


def test_the_page_is_what_the_table_and_the_kept_results_make() -> None:
    assert docs.kept_part() == docs.generated(), "scripts/conformance --keep writes it"


@by_name
def test_a_client_was_run_with_every_operation_of_its_own(client: Client) -> None:
    version, found = load()[client.name]

    assert re.fullmatch(r"\d+(\.\d+)+", version)
    assert found == dict.fromkeys(client.operations, PASSED)


def test_nothing_is_kept_of_clients_that_are_no_more() -> None:
    assert set(load()) == {client.name for client in CLIENTS}


@by_name
def test_a_client_can_do_what_it_is_asked_for(client: Client) -> None:
    kind = getattr(programs, client.tool, None) or getattr(tools, client.tool)

    assert set(client.operations) <= set(operations.OPERATIONS) == set(table.OPERATIONS)
    assert set(client.installs) <= {step.name for step in STEPS}
    assert not {"work", "websocket"} & set(client.operations) or kind is not tools.Tool


def test_no_two_clients_share_a_user_or_a_heading() -> None:
    assert len({client.user for client in CLIENTS}) == len(CLIENTS)
    assert len({docs.anchor(client) for client in CLIENTS}) == len(CLIENTS)


def test_a_result_that_is_lost_is_a_regression() -> None:
    kept = {"a": ("1.0", {"copy": PASSED, "parts": "the body is another"}), "b": ("1.0", {})}
    lost = {"a": ("1.1", {"copy": "exit 1", "parts": "exit 1"}), "c": ("1.0", {"copy": "exit 1"})}

    assert regressions(kept, lost) == ["a, copy: exit 1"]
    assert regressions(kept, {"a": ("1.1", {})}) == ["a, copy: was not run"]
    assert regressions(kept, kept) == []
    assert regressions(kept, {}) == [], "skipped"


def test_a_recipe_runs_as_it_is_printed(tmp_path: Path) -> None:
    home = tmp_path / "it's my $HOME"
    home.mkdir()
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "HTTPS_PROXY": "http://gateway.example:3128",
        "SSL_CERT_FILE": "/etc/it's here.pem",
    }
    (s3cmd,) = (client for client in CLIENTS if client.name == "s3cmd")

    left = followed(s3cmd, env)

    assert left == env
    assert (home / ".s3cfg").read_text("utf-8").splitlines() == [
        "[default]",
        "proxy_host = gateway.example",
        "proxy_port = 3128",
        "bucket_location = us-east-1",
        "ca_certs_file = /etc/it's here.pem",
    ]


def test_a_recipe_changes_the_environment(tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "AWS_CA_BUNDLE": "x"}
    (old,) = (client for client in CLIENTS if client.recipe == "unset AWS_CA_BUNDLE")

    assert followed(old, env) == {"PATH": env["PATH"], "HOME": env["HOME"]}


def test_the_preload_is_where_its_recipe_looks() -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "awsgate", "preload"], capture_output=True, text=True, check=True
    ).stdout

    assert "$(awsgate preload)" in table.NODE_PRELOAD
    assert Path(printed.rstrip("\n")) == Path(awsgate.__path__[0]) / "clients/preload.cjs"
    assert Path(printed.rstrip("\n")).is_file()


@pytest.mark.parametrize("name", ["conformance", "clients"])
def test_a_script_is_sound_bash_and_can_be_run(name: str) -> None:
    script = ROOT / "scripts" / name

    assert os.access(script, os.X_OK)
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0
