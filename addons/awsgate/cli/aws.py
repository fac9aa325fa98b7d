"""``awsgate aws``: the AWS CLI as an AWS role. The same as ``awsgate exec -- aws``."""

from __future__ import annotations

from typing import Annotated

import typer

from awsgate.cli.exec_ import CONTEXT as CONTEXT
from awsgate.cli.exec_ import LocalOption, SetOption, StaticOption, exec_
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


def aws(
    arguments: Annotated[list[str], typer.Argument(help="What the AWS CLI is to do.")],
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
    """Run the AWS CLI as an AWS role: awsgate exec -- aws.

    Options of awsgate come first. Those that both have, like --region, mean the same.

    Example: awsgate aws --app awsconsole-test s3 ls
    """
    exec_(
        ["aws", *arguments],
        *(user, app, role, ttl, region, proxy, static, local, settings),
        *(policy, state, certs, gateway, read_only, max_requests),
    )
