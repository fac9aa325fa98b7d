"""What the commands that order an artefact have in common: whom they ask, and a no."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from awsgate.aws.partitions import region_partition
from awsgate.errors import Code, Refusal, SetupError
from awsgate.gatewaycall import caller_from, send_order

RegionOption = Annotated[
    str, typer.Option(help="Region, like eu-west-1. Default: AWS_REGION, AWS_DEFAULT_REGION.")
]

# The answer is no; all else is something to be set up or mended.
_NO = frozenset({Code.DENIED, Code.LOCKED})


def region_meant(given: str) -> str:
    """Give the region of the option or the environment."""
    region = given or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or ""
    if not region:
        raise SetupError("no region is known", hint="--region eu-west-1, or set AWS_REGION")
    if region_partition(region) is None:
        raise typer.BadParameter(f"{region!r} is not a region like eu-west-1")
    return region


def ordered(region: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Give the gateway's answer to an order; ends the program with its no."""
    try:
        return send_order(caller_from(os.environ), region, parameters, now=datetime.now(UTC))
    except Refusal as refusal:
        if refusal.code in _NO:
            sys.stderr.write(f"awsgate: no: {refusal.message} [{refusal.code}]\n")
            raise typer.Exit(1) from None
        raise SetupError(f"{refusal.message} [{refusal.code}]") from None
