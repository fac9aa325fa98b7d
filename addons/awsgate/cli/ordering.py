"""What the commands that order an artefact have in common: whom they ask, and a no."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from awsgate.aws.partitions import region_partition
from awsgate.cli.terminal import printable
from awsgate.errors import Code, Refusal, SetupError
from awsgate.gatewaycall import caller_from, send_order

RegionOption = Annotated[
    str, typer.Option(help="Region, like eu-west-1. Default: AWS_REGION, AWS_DEFAULT_REGION.")
]

# The answer is no; all else is something to be set up or mended.
_NO = frozenset({Code.DENIED, Code.LOCKED})
_HINTED = re.compile(r"(.*?) \(hint: (.*)\)", re.DOTALL)


def region_meant(given: str) -> str:
    """Give the region of the option or the environment."""
    region = given or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or ""
    if not region:
        raise SetupError("no region is known", hint="--region eu-west-1, or set AWS_REGION")
    if region_partition(region) is None:
        raise typer.BadParameter(f"{region!r} is not a region like eu-west-1")
    return region


def without_hint(message: str) -> tuple[str, str]:
    """Part a refusal's message from its hint, as ``aws.faults`` joins them."""
    matched = _HINTED.fullmatch(message)
    return (matched[1], matched[2]) if matched else (message, "")


def ordered(region: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Give the gateway's answer to an order; ends the program with its no."""
    try:
        return send_order(caller_from(os.environ), region, parameters, now=datetime.now(UTC))
    except Refusal as refusal:
        said, hint = without_hint(refusal.message)
        if refusal.code in _NO:
            # In its own words, which may be another program's.
            sys.stderr.write(f"awsgate: no: {printable(said)} [{refusal.code}]\n")
            if hint:
                sys.stderr.write(f"awsgate: hint: {printable(hint)}\n")
            raise typer.Exit(1) from None
        raise SetupError(f"{printable(said)} [{refusal.code}]", hint=printable(hint)) from None
