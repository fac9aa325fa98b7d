"""The command line: its answers on stdout, its exit codes, its words on stderr."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import typer.main
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from awsgate import cli
from awsgate.version import __version__
from commandline import (
    ALICE,
    Result,
    Run,
    variables,
)

# --- demo -----------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["moto", "flask_cors", "awscli"])
def test_the_demo_says_what_it_needs_before_it_starts_anything(
    run: Run, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)  # what an import finds if it is not installed

    assert run("demo") == Result(
        2,
        "",
        f"awsgate: error: the demo needs packages that are not installed: {missing}\n"
        "awsgate: hint: pip install 'awsgate[demo]' (in a checkout: pip install -e '.[demo]'), "
        "or run scripts/demo\n",
    )


# --- ca -------------------------------------------------------------------------


def test_ca_show_makes_one_once_and_shows_the_truth(run: Run, home: Path) -> None:
    first, again = (json.loads(run("ca", "show", "--json").out) for _ in range(2))

    assert first == again
    root = x509.load_pem_x509_certificate(Path(first["root"]).read_bytes())
    digest = root.fingerprint(root.signature_hash_algorithm or pytest.fail("unsigned")).hex()
    assert first["fingerprint"].replace(":", "").lower() == digest
    assert datetime.fromisoformat(first["not_after"]) <= root.not_valid_after_utc
    assert Path(first["bundle"]).parent == home / "it's certs"
    assert first["warnings"] == []


def test_ca_show_for_people_names_the_same(run: Run) -> None:
    shown = run("ca", "show")
    facts = json.loads(run("ca", "show", "--json").out)

    assert (shown.code, shown.err) == (0, "")
    for name in ("root", "bundle", "fingerprint"):
        assert facts[name] in shown.out
    assert facts["not_after"][:10] in shown.out


def test_ca_rotate_makes_another_and_keeps_the_old_root_trusted(run: Run) -> None:
    before = json.loads(run("ca", "show", "--json").out)
    old_root = x509.load_pem_x509_certificate(Path(before["root"]).read_bytes())

    rotated = run("ca", "rotate", "--json")

    after = json.loads(rotated.out)
    assert rotated.code == 0
    assert after["fingerprint"] != before["fingerprint"]
    assert json.loads(run("ca", "show", "--json").out)["fingerprint"] == after["fingerprint"]
    # Not parsed whole: among the system's roots are some that cryptography warns of.
    bundle = Path(after["bundle"]).read_bytes()
    assert old_root.public_bytes(serialization.Encoding.PEM) in bundle
    assert Path(after["root"]).read_bytes().strip() in bundle


@pytest.mark.usefixtures("gateway_ca")
def test_no_command_shows_a_private_key(run: Run) -> None:
    for arguments in (("ca", "show"), ("ca", "rotate"), ALICE):
        result = run(*arguments)

        assert "PRIVATE KEY" not in result.out + result.err


# --- all ------------------------------------------------------------------------


def commands() -> dict[str, tuple[str, ...]]:
    """Give every command of the app itself, so that a new one is tested too."""
    found: dict[str, tuple[str, ...]] = {}

    def walk(command: Any, path: tuple[str, ...]) -> None:
        children = getattr(command, "commands", {})
        for name, child in children.items():
            walk(child, (*path, name))
        if not children:
            found[" ".join(path)] = path

    walk(typer.main.get_command(cli.application()), ())
    return found


@pytest.mark.parametrize("path", commands().values(), ids=commands())
def test_every_command_has_help_with_an_example(run: Run, path: tuple[str, ...]) -> None:
    result = run(*path, "--help")

    assert (result.code, result.err) == (0, "")
    text = " ".join(result.out.split())
    assert f"Usage: awsgate {' '.join(path)}" in text
    assert re.search(rf"Example: .*awsgate {' '.join(path)}", text)


def test_the_commands_are_found() -> None:
    assert {"env", "check", "demo", "version", "ca show", "ca rotate"} <= set(commands())


def test_version_prints_the_version(run: Run) -> None:
    assert run("version") == Result(0, f"{__version__}\n", "")


WRONG = {
    "no such command": ("fly",),
    "no such option": ("version", "--fast"),
    "an argument left out": ("exec", "--user", "alice"),
    "no such format": (*ALICE, "--format", "xml"),
}


@pytest.mark.parametrize("arguments", WRONG.values(), ids=WRONG)
def test_used_wrongly_is_exit_2(run: Run, arguments: tuple[str, ...]) -> None:
    result = run(*arguments)

    assert (result.code, result.out) == (2, "")
    assert "Traceback" not in result.err


def test_what_is_not_set_up_is_exit_2_with_a_hint(run: Run, home: Path) -> None:
    state = home / "it's state"
    state.mkdir(mode=0o755)
    (state / "session.key").touch(0o644)

    result = run(*ALICE)

    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("awsgate: error: ")
    assert "awsgate: hint: " in result.err
    assert "Traceback" not in result.err


def test_a_program_of_its_own_ends_the_same_way(home: Path) -> None:
    """Once for real: the module, as ``python -m awsgate`` runs it."""
    ended = subprocess.run(
        [sys.executable, "-m", "awsgate", *ALICE, "--policy", str(home / "nowhere")],
        capture_output=True,
        check=False,
        text=True,
    )

    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("awsgate: error: ")
    assert "Traceback" not in ended.stderr


@pytest.mark.usefixtures("gateway_ca")
def test_a_secret_is_on_stdout_or_nowhere(run: Run, home: Path) -> None:
    found = variables(run(*ALICE, "--format", "json"))
    secrets = [found["AWS_SECRET_ACCESS_KEY"], found["AWS_SESSION_TOKEN"]]

    kept = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())

    assert not any(secret.encode() in kept for secret in secrets)
