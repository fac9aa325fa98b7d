"""``awsgate demo``: the main job, end to end, on this machine alone."""

from __future__ import annotations

import typer

from awsgate.errors import SetupError


def demo() -> None:
    """Start an embedded AWS and a gateway, send real calls, show what became of them.

    Example: awsgate demo
    """
    try:
        from awsgate.demo.story import tell
    except ModuleNotFoundError as exc:
        raise SetupError(
            f"the demo needs the module {exc.name}", hint="pip install 'awsgate[demo]'"
        ) from None
    raise typer.Exit(tell())
