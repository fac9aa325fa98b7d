"""``awsgate rds-token``: the password of a database user, signed by the gateway."""

from __future__ import annotations

from typing import Annotated

import typer

from awsgate.cli.ordering import RegionOption, ordered, region_meant


def rds_token(
    hostname: Annotated[str, typer.Option(help="Endpoint of the database, cluster or proxy.")],
    port: Annotated[int, typer.Option(min=1, max=65535, help="Its port.")],
    username: Annotated[str, typer.Option(help="The database user.")],
    resource_id: Annotated[
        str,
        typer.Option(help="Like db-ABC: for rules that name it. The token is for no other then."),
    ] = "",
    region: RegionOption = "",
) -> None:
    """Print an IAM password for an RDS database, good for 15 minutes; exit 1 if the policy says no.

    Example: awsgate rds-token --hostname db.c9akx.eu-west-1.rds.amazonaws.com --port 5432 --username app
    """  # noqa: E501 - the example is a line to copy
    parameters = {"kind": "rds", "host": hostname, "port": port, "user": username}
    if resource_id:
        parameters["resource_id"] = resource_id
    print(ordered(region_meant(region), parameters)["token"])
