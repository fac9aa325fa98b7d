"""Command lines that are read without typer mean what typer reads in them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from awsgate import cli
from awsgate.cli import QUICK, application, aws, credentials, exec_, quick, running
from awsgate.cli.running import Told


@pytest.mark.parametrize("command", sorted(QUICK))
def test_the_table_has_typers_options(command: str) -> None:
    group: Any = typer.main.get_command(application([command]))
    options = [p for p in group.commands[command].params if p.param_type_name == "option"]
    of_typer = {
        option.opts[0]: (option.envvar or "", option.is_flag)
        for option in options
        if option.opts[0] not in ("--set", "--format", "--help")
    }

    values, flags = quick.OF_COMMANDS[command]

    assert of_typer == {
        **{name: (quick.VALUES[name], False) for name in values},
        **dict.fromkeys(flags, ("", True)),
    }


class Seen(Exception):
    """What would have been run."""


def by_typer(command: str, words: list[str], patch: pytest.MonkeyPatch) -> Any:
    """Give what a command would have done, read by typer; None if it was used wrongly."""

    def run(words: list[str], told: Told, **more: Any) -> None:
        raise Seen(list(words), told, {n: more[n] for n in ("static", "local")})

    def print_credentials(told: Told) -> None:
        raise Seen([], told, {})

    with patch.context() as patched:
        patched.setattr(exec_, "run", run)
        patched.setattr(credentials, "print_credentials", print_credentials)
        try:
            typer.main.get_command(application([command])).main(
                [command, *words], prog_name="awsgate", standalone_mode=False
            )
        except Seen as seen:
            return seen.args
        except Exception:  # noqa: BLE001 - typer has several for a wrong use
            return None
    return None


OPTIONS = sorted(quick.VALUES)
WORDS = st.lists(
    st.one_of(
        st.sampled_from([*OPTIONS, *quick.FLAGS, "--", "-", "", "--help", "--set", "--format"]),
        st.sampled_from([f"{name}=x y" for name in OPTIONS]),
        st.sampled_from(["--user=", "--static=1", "-x", "--unknown", "--us", "process"]),
        st.sampled_from(["alice", "s3", "ls", "--region", "eu-west-1", "/a b"]),
    ),
    max_size=7,
)


@settings(max_examples=150,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(command=st.sampled_from(sorted(QUICK)), words=WORDS, named=st.booleans())
def test_what_is_read_quickly_is_what_typer_reads(
    command: str, words: list[str], named: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in filter(None, quick.VALUES.values()):
        monkeypatch.delenv(variable, raising=False)
    if named:
        monkeypatch.setenv("AWSGATE_APP", "from the environment")
        monkeypatch.setenv("AWSGATE_STATE", "/state")
        monkeypatch.setenv("AWSGATE_ROLE", "")

    line = quick.read(command, words)

    if line is not None:
        rest = [*(["aws"] if command == "aws" else []), *line.rest]
        assert by_typer(command, words, monkeypatch) == (rest, Told(**line.told), line.flags)


LEFT_TO_TYPER = {
    "help": ("exec", ["--help"]),
    "no command": ("exec", ["--user", "alice"]),
    "an option that is none": ("exec", ["--usr", "alice", "true"]),
    "an option without a value": ("exec", ["--user"]),
    "an option in the place of a value": ("exec", ["--user", "--static", "true"]),
    "a rare option": ("exec", ["--local", "--set", "a=b", "true"]),
    "words where none belong": ("credentials", ["alice"]),
}


@pytest.mark.parametrize(("command", "words"), LEFT_TO_TYPER.values(), ids=LEFT_TO_TYPER)
def test_what_is_not_plainly_right_is_left_to_typer(command: str, words: list[str]) -> None:
    assert quick.read(command, words) is None


def test_what_is_plainly_right_is_read() -> None:
    line = quick.read("exec", ["--user", "a", "--static", "--policy=p", "--", "aws", "--user"])

    assert line == quick.Line(
        {"user": "a", "policy": Path("p")}, {"static": True, "local": False}, ("aws", "--user")
    )


@pytest.mark.parametrize("wrong", [("--ttl", "x"), ("--region", "x"), ("--proxy", "x")])
def test_a_value_that_is_wrong_is_told_by_typer(
    wrong: tuple[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["awsgate", "exec", *wrong, "--", "true"])

    with pytest.raises(SystemExit) as ended:
        cli.main()

    assert ended.value.code == 2
    assert "Usage: awsgate exec" in capsys.readouterr().err


@pytest.mark.usefixtures("gateway_ca")
def test_nothing_slow_is_imported_for_the_second_command(home: Path) -> None:
    script = (
        "import sys, os, awsgate.cli\n"
        "sys.argv = ['awsgate', 'exec', '--user', 'alice', '--', 'true']\n"
        "def shown(*_):\n"
        "    slow = ('typer', 'pydantic', 'yaml', 'cryptography')\n"
        "    print([name for name in slow if name in sys.modules])\n"
        "    sys.exit(0)\n"
        "os.execvpe = shown\n"
        "awsgate.cli.main()"
    )

    said = [
        subprocess.run([sys.executable, "-c", script], cwd=home, capture_output=True, check=True,
                       text=True).stdout.strip()
        for _ in range(2)
    ]  # fmt: skip

    assert said == ["['pydantic', 'yaml', 'cryptography']", "[]"]


def test_the_modules_are_those_of_the_commands() -> None:
    """So that the tests above have tested something."""
    assert (exec_.run, credentials.print_credentials) == (running.run, running.print_credentials)
    assert aws.exec_ is exec_.exec_
