"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from awsgate.cli.places import certs_folder as certs_folder
from awsgate.cli.places import certs_folder_in_use as certs_folder_in_use
from awsgate.cli.places import policy_path as policy_path
from awsgate.cli.places import state_folder as state_folder

PolicyOption = Annotated[
    Path | None, typer.Option("--policy", help="Policy file or folder.", envvar="AWSGATE_POLICY")
]
UserOption = Annotated[
    str,
    typer.Option(
        "--user",
        help="Name of a kind: user document. Default: your login name, or the only user.",
        envvar="AWSGATE_USER",
    ),
]
AppOption = Annotated[
    str,
    typer.Option(
        "--app",
        help="Name of a kind: app document. Default: the only one you may use.",
        envvar="AWSGATE_APP",
    ),
]
RoleOption = Annotated[
    str,
    typer.Option(
        "--role",
        help="Role ARN, or its name. Default: the only one you may have.",
        envvar="AWSGATE_ROLE",
    ),
]
TtlOption = Annotated[
    str, typer.Option("--ttl", help="Life, like 30m or 8h. Default: the policy's.")
]
RegionOption = Annotated[
    str, typer.Option("--region", help="Sets AWS_REGION as well, like us-east-1.")
]
ProxyOption = Annotated[
    str, typer.Option("--proxy", help="URL of the gateway. Default: where the policy says.")
]
GatewayOption = Annotated[
    str,
    typer.Option(
        "--gateway",
        help="URL of a gateway where you are logged in. Default: that of the newest login.",
        envvar="AWSGATE_GATEWAY",
    ),
]
ReadOnlyOption = Annotated[
    bool, typer.Option("--read-only", help="Credentials that can read and list, and no more.")
]
MaxRequestsOption = Annotated[
    int,
    typer.Option(
        "--max-requests", min=0, help="Credentials for so many requests; they are not renewed."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="For programs.")]
StateOption = Annotated[
    Path | None,
    typer.Option(
        "--state",
        help="The gateway's state folder (session key, audit, locks).",
        envvar="AWSGATE_STATE",
    ),
]
CertsOption = Annotated[
    Path | None, typer.Option("--certs", help="Folder of the CA.", envvar="AWSGATE_CERTS")
]
