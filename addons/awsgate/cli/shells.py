r"""Variables in the words of each shell: quoted so that a value is never anything but one.

What a form cannot hold (a newline in a file of ``docker --env-file``, say) raises
``Unwritable`` with the name of the variable: better none than a wrong one.

The rules, and where they stand:

    bash, zsh   '...' is literal; ' is written '"'"' (POSIX.1-2017, XCU 2.2.2)
    fish        in '...' only \\ and \' are escapes ("Quotes", fish documentation)
    powershell  in '...' a quote is doubled; so are the typographic ones, which PowerShell
                reads as quotes too ("about_Quoting_Rules")
    nushell     a record for load-env; null unsets
    cmd         set "NAME=value"; no value with " % ! or a line break is safe there
    dotenv      plain, or '...', or "..." without what any reader would expand
    docker      the rest of the line, as it stands ("docker run", --env-file)
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import PurePath

from awsgate.variables import Change


class Format(StrEnum):
    """How the variables are written."""

    AUTO = "auto"
    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"
    POWERSHELL = "powershell"
    CMD = "cmd"
    NUSHELL = "nushell"
    JSON = "json"
    DOTENV = "dotenv"
    DOCKER = "docker"
    ATHENA_ODBC = "athena-odbc"
    ATHENA_JDBC = "athena-jdbc"


CANNOT_UNSET = frozenset({Format.JSON, Format.DOTENV})
"""What is left over in the reader's own environment stays. Docker's has none of it."""

_LOGIN_SHELLS = {
    "fish": Format.FISH,
    "nu": Format.NUSHELL,
    "pwsh": Format.POWERSHELL,
    "powershell": Format.POWERSHELL,
    "zsh": Format.ZSH,
}


class Unwritable(Exception):
    """A value that a form cannot hold. The text names the variable, never the value."""


def login_shell(environment: Mapping[str, str]) -> Format:
    """Give the form for ``$SHELL``: the shell of the login, whatever runs just now."""
    return _LOGIN_SHELLS.get(PurePath(environment.get("SHELL", "")).name, Format.BASH)


def written(style: Format, change: Change) -> str:
    """Give the text for one of the shells and files. Raises ``Unwritable``."""
    for name, value in change.assign.items():
        if "\0" in value:
            raise Unwritable(f"{name} holds a NUL")
    return _WRITERS[style](change)


def fish_quoted(value: str) -> str:
    """Give a fish literal."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def powershell_quoted(value: str) -> str:
    """Give a PowerShell literal."""
    # U+2018 to U+201B are quotes to its parser, wherever ' is one.
    return "'" + re.sub("(['\u2018-\u201b])", r"\1\1", value) + "'"


def dotenv_quoted(name: str, value: str) -> str:
    """Give a value as every reader of such files understands it: they differ in escapes."""
    if re.fullmatch(r"[A-Za-z0-9_./:@%+,=~-]*", value):
        return value
    # ${...} is filled in by python-dotenv between any quotes.
    if not re.search(r"['\\\n\r]|\$\{", value):
        return f"'{value}'"
    if not re.search(r'["\\$`\n\r]', value):
        return f'"{value}"'
    raise Unwritable(f"{name} holds characters that readers of .env files take differently")


def _posix(change: Change) -> str:
    lines = [f"unset {' '.join(change.unset)}"] if change.unset else []
    return "\n".join(
        [*lines, *(f"export {name}={shlex.quote(v)}" for name, v in change.assign.items())]
    )


def _fish(change: Change) -> str:
    # Global ones alone: without -g a universal variable would be erased for good.
    lines = [f"set -eg {' '.join(change.unset)}"] if change.unset else []
    assign = (f"set -gx {name} {fish_quoted(value)}" for name, value in change.assign.items())
    return "\n".join([*lines, *assign])


def _powershell(change: Change) -> str:
    unset = (f"Remove-Item -ErrorAction SilentlyContinue Env:{name}" for name in change.unset)
    assign = (f"$Env:{name} = {powershell_quoted(v)}" for name, v in change.assign.items())
    return "\n".join([*unset, *assign])


def _cmd(change: Change) -> str:
    for name, value in change.assign.items():
        if re.search(r'["%!\r\n]', value):
            raise Unwritable(f"{name} holds a quote, %, ! or a line break, which cmd cannot keep")
    unset = (f'set "{name}="' for name in change.unset)
    return "\n".join([*unset, *(f'set "{name}={v}"' for name, v in change.assign.items())])


def _nushell(change: Change) -> str:
    return json.dumps({**dict.fromkeys(change.unset), **change.assign})


def _json(change: Change) -> str:
    return json.dumps(change.assign, indent=2)


def _dotenv(change: Change) -> str:
    return "\n".join(f"{name}={dotenv_quoted(name, v)}" for name, v in change.assign.items())


def _docker(change: Change) -> str:
    for name, value in change.assign.items():
        if re.search(r"[\r\n]", value):
            raise Unwritable(f"{name} holds a line break, which --env-file cannot hold")
    return "\n".join(f"{name}={value}" for name, value in change.assign.items())


_WRITERS: dict[Format, Callable[[Change], str]] = {
    Format.BASH: _posix,
    Format.ZSH: _posix,
    Format.FISH: _fish,
    Format.POWERSHELL: _powershell,
    Format.CMD: _cmd,
    Format.NUSHELL: _nushell,
    Format.JSON: _json,
    Format.DOTENV: _dotenv,
    Format.DOCKER: _docker,
}
