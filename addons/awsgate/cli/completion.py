"""``awsgate completion``: what a shell needs to complete awsgate's words. Typer's scripts."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, NoReturn

import typer

VARIABLE = "_AWSGATE_COMPLETE"
"""Set by the scripts when they ask for the words that fit."""


class Shell(StrEnum):
    """Shells that typer has a script for."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(shell: Annotated[Shell, typer.Argument(help="Which shell.")]) -> None:
    """Print the completion script of a shell.

    Example: eval "$(awsgate completion bash)"

    For good: put that line into ~/.bashrc, the same with zsh into ~/.zshrc after compinit;
    fish: awsgate completion fish > ~/.config/fish/completions/awsgate.fish
    """
    from typer._completion_shared import get_completion_script

    print(get_completion_script(prog_name="awsgate", complete_var=VARIABLE, shell=shell.value))


def complete() -> NoReturn:
    """Print the words that fit, as a script asked for them, and end."""
    from typer._completion_classes import completion_init

    from awsgate.cli import COMMANDS, application

    completion_init()
    called = _command_typed()
    app = application([called]) if called in COMMANDS else _bare([*COMMANDS, "version"])
    app(prog_name="awsgate")
    sys.exit(0)


def _command_typed() -> str:
    """Give the command that stands there already: its module alone is imported."""
    # A word that is still being typed is no command yet.
    if "COMP_CWORD" in os.environ:  # bash
        words = os.environ.get("COMP_WORDS", "").split()
        typed = os.environ["COMP_CWORD"] not in ("0", "1")
    else:
        line = os.environ.get("_TYPER_COMPLETE_ARGS", "")
        words = line.split()
        typed = len(words) > 2 or line.endswith(" ")
    return words[1] if len(words) > 1 and typed else ""


def _bare(names: Iterable[str]) -> typer.Typer:
    """Give a program with the names of the commands, and nothing to import behind them."""
    app = typer.Typer(add_completion=False)
    for name in names:
        app.command(name)(lambda: None)
    return app
