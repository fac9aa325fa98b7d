"""``awsgate demo``: the main job, end to end, on this machine alone."""

from __future__ import annotations

from importlib.util import find_spec

import typer

from awsgate.errors import SetupError

# What the extra brings and a plain install does not. Most of it is imported by the
# processes that the demo starts, so it is looked for before any of them is.
_NEEDED = ("moto", "flask_cors", "awscli")


def demo() -> None:
    """Start an embedded AWS and a gateway, send real calls, show what became of them.

    Example: awsgate demo
    """
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise SetupError(
            f"the demo needs packages that are not installed: {', '.join(missing)}",
            hint="pip install 'awsgate[demo]' (in a checkout: pip install -e '.[demo]'), "
            "or run scripts/demo",
        )
    from awsgate.demo.story import tell

    raise typer.Exit(tell())
