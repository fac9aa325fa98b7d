"""``awsgate rds-token``: the password of a database user, signed by the gateway."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from awsgate.aws.partitions import region_partition
from awsgate.cli.ordering import ordered, region_meant


def rds_token(
    hostname: Annotated[str, typer.Option(help="Endpoint of the database, cluster or proxy.")],
    port: Annotated[int, typer.Option(min=1, max=65535, help="Its port.")],
    username: Annotated[str, typer.Option(help="The database user.")],
    resource_id: Annotated[
        str,
        typer.Option(help="Like db-ABC: for rules that name it. The token is for no other then."),
    ] = "",
    region: Annotated[
        str, typer.Option(help="Region, like eu-west-1. Default: the host's, or AWS_REGION.")
    ] = "",
) -> None:
    """Print an IAM password for an RDS database, good for 15 minutes; exit 1 if the policy says no.

    Example: awsgate rds-token --hostname db.c9akx.eu-west-1.rds.amazonaws.com --port 5432 --username app
    """  # noqa: E501 - the example is a line to copy
    parameters = {"kind": "rds", "host": hostname, "port": port, "user": username}
    if resource_id:
        parameters["resource_id"] = resource_id
    print(ordered(region_meant(region or region_of(hostname)), parameters)["token"])


def region_of(hostname: str) -> str:
    """Give the region that stands in the name of an RDS endpoint; empty: none does."""
    found = re.search(r"\.([a-z0-9-]+)\.rds\.amazonaws\.com(?:\.cn)?$", hostname.lower())
    return found[1] if found and region_partition(found[1]) else ""
