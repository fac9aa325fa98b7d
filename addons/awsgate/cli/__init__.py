"""The command line: one subcommand a file.

Results on stdout, all else on stderr. Exit 0: done; 1: the answer is no; 2: used
wrongly, or awsgate is not set up.

A command's module is imported when that command is called, and not before: an
``exec`` in a shell loop must not pay for the demo, nor for typer (``quick``).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING

from awsgate.errors import SetupError
from awsgate.version import __version__

if TYPE_CHECKING:
    import typer

COMMANDS = {
    "run": "run",
    "login": "login",
    "logout": "logout",
    "env": "env",
    "exec": "exec_",
    "aws": "aws",
    "credentials": "credentials",
    "profiles": "profiles",
    "check": "check",
    "explain": "explain",
    "schema": "schema",
    "status": "status",
    "lock": "lock",
    "request": "request",
    "users": "users",
    "audit": "audit",
    "ca": "ca",
    "session-key": "session_key",
    "console": "console",
    "presign": "presign",
    "eks-token": "eks_token",
    "rds-token": "rds_token",
    "codecommit": "codecommit",
    "init": "init",
    "doctor": "doctor",
    "preload": "preload",
    "demo": "demo",
    "completion": "completion",
}
"""Command -> module here. It holds the command as a function of its name, or as ``app``."""

VERSION = frozenset({"version", "--version"})

QUICK = frozenset({"exec", "aws", "credentials"})
"""Commands that others call in a loop: ``quick`` reads them, if it can."""


def application(names: Iterable[str] = COMMANDS) -> typer.Typer:
    """Give the program with these commands alone."""
    import typer

    app = typer.Typer(
        name="awsgate",
        help="AWS access without AWS keys: an intercepting gateway for AWS.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,  # its tracebacks show local variables: secrets
    )

    def options(
        version: bool = typer.Option(
            False, "--version", help="Print the version.", is_eager=True, callback=_print_version
        ),
    ) -> None:
        del version  # it has been printed, and that was all

    app.callback()(options)  # with one command alone it is a program of commands too
    app.command()(version)
    for name in names:
        module = import_module(f"awsgate.cli.{COMMANDS[name]}")
        if isinstance(getattr(module, "app", None), typer.Typer):
            app.add_typer(module.app, name=name)
        else:
            context = getattr(module, "CONTEXT", None)
            app.command(name, context_settings=context)(getattr(module, COMMANDS[name]))
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise SystemExit(0)


def version() -> None:
    """Print the version.

    Example: awsgate version
    """
    print(__version__)


def main() -> None:
    """Run the command line and end the process."""
    called = sys.argv[1] if len(sys.argv) > 1 else ""
    names = [called] if called in COMMANDS else () if called in VERSION else COMMANDS
    try:
        if "_AWSGATE_COMPLETE" in os.environ:
            import_module("awsgate.cli.completion").complete()
        if called in QUICK:
            import_module("awsgate.cli.quick").call(called, sys.argv[2:])
        application(names)(prog_name="awsgate")
    except SetupError as exc:
        from awsgate.cli.terminal import printable_lines

        sys.stderr.write(printable_lines(exc.render()) + "\n")
        sys.exit(2)
