"""``awsgate exec``: a command as an AWS role, with nothing left in the shell.

The command takes the place of this process (``becoming``). ``awsgate aws`` is the same
for the AWS CLI. ``quick`` calls both without this module.
"""

from __future__ import annotations

from typing import Annotated

import typer

from awsgate.cli.options import (
    AppOption,
    CertsOption,
    GatewayOption,
    MaxRequestsOption,
    PolicyOption,
    ProxyOption,
    ReadOnlyOption,
    RegionOption,
    RoleOption,
    StateOption,
    TtlOption,
    UserOption,
)
from awsgate.cli.running import Told, run

CONTEXT = {"allow_interspersed_args": False, "ignore_unknown_options": True}
"""What follows the command is the command's own."""

StaticOption = Annotated[
    bool,
    typer.Option(
        "--static",
        help="Keys in variables, for programs that read nothing else (curl). Not renewed.",
    ),
]
LocalOption = Annotated[
    bool, typer.Option("--local", help="Start a gateway if none answers; stop it at the end.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="With --local: name=value, an option of the addon."),
]


def exec_(
    command: Annotated[list[str], typer.Argument(help="The command, after --.")],
    user: UserOption = "",
    app: AppOption = "",
    role: RoleOption = "",
    ttl: TtlOption = "",
    region: RegionOption = "",
    proxy: ProxyOption = "",
    static: StaticOption = False,
    local: LocalOption = False,
    settings: SetOption = None,
    policy: PolicyOption = None,
    state: StateOption = None,
    certs: CertsOption = None,
    gateway: GatewayOption = "",
    read_only: ReadOnlyOption = False,
    max_requests: MaxRequestsOption = 0,
) -> None:
    """Run a command as an AWS role, and end as it ends; exit 1 if the policy says no.

    Its environment is that of awsgate env. AWS SDKs get their credentials from an endpoint
    on 127.0.0.1, which renews them for as long as the command runs.

    Example: awsgate exec --app awsconsole-test -- aws s3 ls

    For an agent: awsgate exec --read-only --ttl 15m --max-requests 500 -- agent
    """
    run(
        command,
        Told(
            *(user, app, role, ttl, region, proxy, policy, state, certs),
            *(gateway, read_only, max_requests),
        ),
        static=static,
        local=local,
        settings=tuple(settings or ()),
    )
