"""The command line: one subcommand a file.

Results on stdout, all else on stderr. Exit 0: done; 1: the answer is no; 2: used
wrongly, or awsgate is not set up.
"""

from __future__ import annotations

import sys

import typer

from awsgate.cli import ca, check, demo, env
from awsgate.errors import SetupError
from awsgate.version import __version__

app = typer.Typer(
    name="awsgate",
    help="AWS access without AWS keys: an intercepting gateway for AWS.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # its tracebacks show local variables: secrets
)
app.command("env")(env.env)
app.command("check")(check.check)
app.command("demo")(demo.demo)
app.add_typer(ca.app, name="ca")


@app.command()
def version() -> None:
    """Print the version.

    Example: awsgate version
    """
    print(__version__)


def main() -> None:
    """Run the command line and end the process."""
    try:
        app(prog_name="awsgate")
    except SetupError as exc:
        sys.stderr.write(exc.render() + "\n")
        sys.exit(2)
