"""Every form of the variables, read by the real shell or program, with hostile values.

bash is everywhere. The others run where they are installed; ``scripts/shells`` installs
them, and there a shell that is missing is a failure. PowerShell and cmd are in none of
the registries that this uses: their rule is checked by a reader of its documentation.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest

from awsgate.cli.shells import (
    Format,
    Unwritable,
    fish_quoted,
    login_shell,
    powershell_quoted,
    written,
)
from awsgate.variables import Change

HOSTILE = {
    "A_PLAIN": "/etc/ssl/ca.pem",
    "A_EMPTY": "",
    "A_SPACES": "  two  spaces ",
    "A_QUOTES": "it's \"quoted\" `x` 'y' ''",
    "A_DOLLAR": "$HOME ${HOME} $(touch pwned) `touch pwned` %PATH% !x ^y &z; touch pwned",
    "A_NEWLINES": "one\ntwo\n\n'; touch pwned\n",
    "A_BACKSLASHES": "C:\\dir\\'\\\\n\\",
    "A_GLOBS": "* ? [a] ~ {a,b} # no comment = -n",
    "A_UNICODE": "é ß 漢字 \u2018curly\u2019 \u201b\u201a",
}
CHANGE = Change(HOSTILE, ("B_GONE", "B_NEVER_THERE"))
SHOW = "import json, os; print(json.dumps(dict(os.environ)))"
NEEDED = os.environ.get("AWSGATE_NEED_SHELLS", "").split()

# How each shell takes the text in a file, and then runs Python.
EVALUATE = {
    "bash": ('set -eu; eval "$(cat "$OUT")"; exec "$PYTHON" -c "$SHOW"', Format.BASH),
    "dash": ('set -eu; eval "$(cat "$OUT")"; exec "$PYTHON" -c "$SHOW"', Format.BASH),
    "zsh": ('setopt rc_quotes; eval "$(cat "$OUT")"; exec "$PYTHON" -c "$SHOW"', Format.ZSH),
    "fish": ('cat "$OUT" | source; exec "$PYTHON" -c "$SHOW"', Format.FISH),
    "nu": ("open --raw $env.OUT | from json | load-env; ^$env.PYTHON -c $env.SHOW",
           Format.NUSHELL),
    "pwsh": ("Get-Content -Raw $Env:OUT | Invoke-Expression; & $Env:PYTHON -c $Env:SHOW",
             Format.POWERSHELL),
}  # fmt: skip


def program(name: str) -> str:
    found = shutil.which(os.environ.get(f"AWSGATE_{name.upper()}", name))
    if found is None and name not in NEEDED:
        pytest.skip(f"{name} is not installed (scripts/shells installs what it can)")
    assert found is not None, f"{name} is not installed"
    return found


def environment_after(shell: str, text: str, folder: Path) -> dict[str, str]:
    out = folder / "out"
    out.write_text(text + "\n", "utf-8")
    done = subprocess.run(
        [program(shell), "-c", EVALUATE[shell][0]],
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(folder),
            "LC_ALL": "C.UTF-8",
            "PYTHON": sys.executable,
            "SHOW": SHOW,
            "OUT": str(out),
            "B_GONE": "still here",
        },
        cwd=folder,
        capture_output=True,
        check=False,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("shell", EVALUATE)
def test_a_shell_has_the_very_values_and_none_of_the_unset(shell: str, tmp_path: Path) -> None:
    found = environment_after(shell, written(EVALUATE[shell][1], CHANGE), tmp_path)

    assert {name: found.get(name) for name in HOSTILE} == HOSTILE
    assert not {"B_GONE", "B_NEVER_THERE"} & set(found)
    assert not (tmp_path / "pwned").exists()


def test_fish_keeps_what_is_universal(tmp_path: Path) -> None:
    """``set -e`` without -g would erase a variable of all sessions, for good."""
    script = f"set -Ux C_ALL universal; {written(Format.FISH, Change({}, ('C_ALL',)))}; echo $C_ALL"

    done = subprocess.run(
        [program("fish"), "-c", script],
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        check=False,
        text=True,
    )

    assert done.stdout == "universal\n"


# --- files ------------------------------------------------------------------------------

SH_SAFE = {
    name: value
    for name, value in {**HOSTILE, "A_DOLLAR": "$HOME $(touch pwned) `touch pwned`; %x"}.items()
    if not re.search(r"[\n\\]|'.*\"|\".*'", value)
}


def dotenv_of_sh(file: Path) -> dict[str, str]:
    done = subprocess.run(
        ["bash", "-c", 'set -aeu; . "$1"; exec "$2" -c "$3"', "-", file, sys.executable, SHOW],
        env={"PATH": "/usr/bin:/bin"}, cwd=file.parent, capture_output=True, check=True, text=True,
    )  # fmt: skip
    found: dict[str, str] = json.loads(done.stdout)
    return found


def dotenv_of_node(file: Path) -> dict[str, str]:
    script = "console.log(JSON.stringify(process.env))"
    done = subprocess.run(
        [program("node"), f"--env-file={file}", "-e", script],
        env={"PATH": "/usr/bin:/bin"}, capture_output=True, check=True, text=True,
    )  # fmt: skip
    found: dict[str, str] = json.loads(done.stdout)
    return found


def dotenv_of_python(file: Path) -> dict[str, str]:
    module = pytest.importorskip("dotenv")
    found: dict[str, str] = module.dotenv_values(stream=StringIO(file.read_text("utf-8")))
    return found


READERS = {"sh": dotenv_of_sh, "node": dotenv_of_node, "python-dotenv": dotenv_of_python}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_every_reader_of_dotenv_files_has_the_same_values(
    read: Callable[[Path], dict[str, str]], tmp_path: Path
) -> None:
    file = tmp_path / ".env"
    file.write_text(written(Format.DOTENV, Change(SH_SAFE, ())) + "\n", "utf-8")

    found = read(file)

    assert len(SH_SAFE) >= 5
    assert {name: found.get(name) for name in SH_SAFE} == SH_SAFE
    assert not (tmp_path / "pwned").exists()


def test_a_docker_file_has_the_values_as_they_stand() -> None:
    """``docker run --env-file``: no quotes, no escapes, one line each."""
    values = {name: v for name, v in HOSTILE.items() if "\n" not in v}

    lines = written(Format.DOCKER, Change(values, ("B_GONE",))).split("\n")

    assert dict(line.split("=", 1) for line in lines) == values


UNWRITABLE = {
    "docker, a newline": (Format.DOCKER, "a\nb"),
    "docker, a carriage return": (Format.DOCKER, "a\rb"),
    "dotenv, both quotes": (Format.DOTENV, "'\""),
    "dotenv, a newline": (Format.DOTENV, "a\nb"),
    "dotenv, a backslash and a space": (Format.DOTENV, "a b\\n"),
    "dotenv, a name in braces": (Format.DOTENV, "${HOME}"),
    "dotenv, a quote and a dollar": (Format.DOTENV, "it's $x"),
    "cmd, a quote": (Format.CMD, 'a"&calc'),
    "cmd, a percent sign": (Format.CMD, "%PATH%"),
    "cmd, an exclamation mark": (Format.CMD, "a!b!"),
    "cmd, a newline": (Format.CMD, "a\r\ncalc"),
    "bash, a NUL": (Format.BASH, "a\0b"),
}


@pytest.mark.parametrize(("style", "value"), UNWRITABLE.values(), ids=UNWRITABLE)
def test_what_a_form_cannot_hold_is_not_written(style: Format, value: str) -> None:
    with pytest.raises(Unwritable, match=r"^A_NAME ") as caught:
        written(style, Change({"A_NAME": value}, ()))

    assert value not in str(caught.value)


def test_cmd_sets_between_quotes() -> None:
    text = written(Format.CMD, Change({"A": "C:\\a b&c^|<>"}, ("B",)))

    assert text == 'set "B="\nset "A=C:\\a b&c^|<>"'


# --- rules, without the shell -------------------------------------------------------------


def read_as_powershell(literal: str) -> str:
    """A single-quoted string of PowerShell, by its grammar.

    Language Specification 2.3.5.2: verbatim-string-literal is single-quote-character,
    then characters that are none, or a pair of them (which stands for the second), then
    one. single-quote-character: U+0027, U+2018, U+2019, U+201A, U+201B.
    """
    quotes = "'\u2018\u2019\u201a\u201b"
    assert literal[0] in quotes
    value, place = "", 1
    while True:
        character = literal[place]
        if character in quotes:
            if literal[place + 1 : place + 2] not in tuple(quotes):
                assert place == len(literal) - 1, "the string ends early"
                return value
            place += 1
            character = literal[place]
        value += character
        place += 1


def read_as_fish(literal: str) -> str:
    r"""A single-quoted string of fish: only \' and \\ are escapes."""
    assert re.fullmatch(r"'(?:[^'\\]|\\.)*'", literal, re.DOTALL)
    return re.sub(r"\\(['\\])", r"\1", literal[1:-1])


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
def test_what_is_quoted_reads_back(value: str) -> None:
    assert read_as_powershell(powershell_quoted(value)) == value
    assert read_as_fish(fish_quoted(value)) == value


def test_powershell_sets_and_removes() -> None:
    text = written(Format.POWERSHELL, Change({"A": "it's"}, ("B",)))

    assert text == "Remove-Item -ErrorAction SilentlyContinue Env:B\n$Env:A = 'it''s'"


LOGIN_SHELLS = {
    "/usr/bin/fish": Format.FISH,
    "/bin/zsh": Format.ZSH,
    "/opt/microsoft/powershell/7/pwsh": Format.POWERSHELL,
    "/usr/local/bin/nu": Format.NUSHELL,
    "/bin/bash": Format.BASH,
    "/bin/sh": Format.BASH,
    "": Format.BASH,
}


@pytest.mark.parametrize(("shell", "style"), LOGIN_SHELLS.items())
def test_auto_is_the_login_shell(shell: str, style: Format) -> None:
    assert login_shell({"SHELL": shell}) is style
