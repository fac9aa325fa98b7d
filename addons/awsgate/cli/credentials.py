"""``awsgate credentials``: what an SDK's ``credential_process`` asks for.

Source: "Process credential provider", AWS SDKs and Tools Reference Guide.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from awsgate.cli.options import (
    AppOption,
    CertsOption,
    GatewayOption,
    MaxRequestsOption,
    PolicyOption,
    ReadOnlyOption,
    RoleOption,
    StateOption,
    TtlOption,
    UserOption,
)
from awsgate.cli.running import Told, print_credentials


class Form(StrEnum):
    """How credentials are printed."""

    PROCESS = "process"


def credentials(
    user: UserOption = "",
    app: AppOption = "",
    role: RoleOption = "",
    form: Annotated[  # noqa: ARG001 - there is one, and scripts may name it
        Form, typer.Option("--format", help="process: as credential_process wants it.")
    ] = Form.PROCESS,
    ttl: TtlOption = "",
    policy: PolicyOption = None,
    state: StateOption = None,
    certs: CertsOption = None,
    gateway: GatewayOption = "",
    read_only: ReadOnlyOption = False,
    max_requests: MaxRequestsOption = 0,
) -> None:
    """Print gateway credentials for credential_process; exit 1 if the policy says no.

    They have more than half of their life left. awsgate profiles writes the profiles that
    call this.

    Example: awsgate credentials --app awsconsole-test --role ExampleReadOnlyAccess
    """
    print_credentials(
        Told(
            *(user, app, role, ttl, "", "", policy, state, certs),
            *(gateway, read_only, max_requests),
        )
    )
