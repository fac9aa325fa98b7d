"""The command line: one subcommand a file.

Results on stdout, all else on stderr. Exit 0: done; 1: the answer is no; 2: used
wrongly, or awsgate is not set up.

A command's module is imported when that command is called, and not before: an
``exec`` in a shell loop must not pay for the demo.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib import import_module

import typer

from awsgate.errors import SetupError
from awsgate.version import __version__

COMMANDS = {
    "env": "env",
    "check": "check",
    "lock": "lock",
    "ca": "ca",
    "demo": "demo",
}
"""Command -> module here. It holds the command as a function of its name, or as ``app``."""


def application(names: Iterable[str] = COMMANDS) -> typer.Typer:
    """Give the program with these commands alone."""
    app = typer.Typer(
        name="awsgate",
        help="AWS access without AWS keys: an intercepting gateway for AWS.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,  # its tracebacks show local variables: secrets
    )
    app.command()(version)
    for name in names:
        module = import_module(f"awsgate.cli.{COMMANDS[name]}")
        if isinstance(getattr(module, "app", None), typer.Typer):
            app.add_typer(module.app, name=name)
        else:
            app.command(name)(getattr(module, COMMANDS[name]))
    return app


def version() -> None:
    """Print the version.

    Example: awsgate version
    """
    print(__version__)


def main() -> None:
    """Run the command line and end the process."""
    called = sys.argv[1] if len(sys.argv) > 1 else ""
    try:
        application([called] if called in COMMANDS else COMMANDS)(prog_name="awsgate")
    except SetupError as exc:
        sys.stderr.write(exc.render() + "\n")
        sys.exit(2)
