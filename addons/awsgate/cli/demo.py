"""``awsgate demo``: the main job, end to end, on this machine alone."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated

import typer

from awsgate.cli.options import (
    CertsOption,
    PolicyOption,
    StateOption,
    certs_folder,
    policy_path,
    state_folder,
)
from awsgate.cli.places import options_of
from awsgate.cli.waiting import waiting
from awsgate.errors import SetupError

if TYPE_CHECKING:
    from awsgate.demo.serving import Serving

# What the extra brings and a plain install does not. Most of it is imported by the
# processes that the demo starts, so it is looked for before any of them is.
_NEEDED = ("moto", "flask_cors", "awscli")


def demo(
    start: Annotated[
        bool, typer.Option("--start", help="Leave an embedded AWS and a gateway running.")
    ] = False,
    stop: Annotated[bool, typer.Option("--stop", help="End what --start left running.")] = False,
    serve: Annotated[
        bool, typer.Option("--serve", help="Like --start, but stay in the foreground.")
    ] = False,
    policy: PolicyOption = None,
    state: StateOption = None,
    certs: CertsOption = None,
) -> None:
    """Start an embedded AWS and a gateway, send real calls, show what became of them.

    With --start both stay, with the policy and the CA of this set-up, for calls of your own.

    Example: awsgate demo
    """
    if start + stop + serve > 1:
        raise typer.BadParameter("--start, --stop and --serve: one of them")
    if not stop:
        _check_needed()
    if not (start or stop or serve):
        from awsgate.demo.story import tell

        raise typer.Exit(tell())
    from awsgate.demo import serving

    tell_of = _telling(options_of(policy, state, certs))
    places = serving.Places(policy_path(policy), state_folder(state), certs_folder(certs))
    if serve:
        serving.serve(places, tell_of)
    elif start:
        with waiting("starting an embedded AWS and a gateway"):
            found = serving.start_in_background(places)
        tell_of(found)
    elif serving.stop(places):
        print("ended")
    else:
        sys.stderr.write(
            f"awsgate: no: no demo runs with the state folder {places.state} "
            "(--state names another)\n"
        )
        raise typer.Exit(1)


def _check_needed() -> None:
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise SetupError(
            f"the demo needs packages that are not installed: {', '.join(missing)}",
            hint="pip install 'awsgate[demo]' (in a checkout: pip install -e '.[demo]'), "
            "or run scripts/demo",
        )


def _telling(options: list[str]) -> Callable[[Serving], None]:
    """Give what tells of a demo, with commands that find it."""
    return lambda found: print("\n".join(found.lines(options)), flush=True)
