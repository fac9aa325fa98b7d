"""What the commands that order an artefact have in common: whom they ask, and a no."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from awsgate.aws.partitions import region_partition
from awsgate.cli.bounded import check_within
from awsgate.cli.no import saying_no
from awsgate.cli.reuse import issued_lately
from awsgate.cli.running import Told
from awsgate.cli.terminal import printable
from awsgate.cli.where import gateway_meant
from awsgate.errors import Code, Refusal, SetupError
from awsgate.gatewaycall import GatewayCaller, caller_from, send_order
from awsgate.variables import ENDPOINT, access_by_keys

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


def _caller() -> GatewayCaller:
    """Give who calls: whose credentials are in the environment, else whoever has logged in.

    App and role are then those of AWSGATE_APP and AWSGATE_ROLE, or what is clear.
    """
    if any(os.environ.get(name) for name in ("AWS_ACCESS_KEY_ID", ENDPOINT[0])):
        return caller_from(os.environ)
    said = {n: os.environ[v] for n in _TOLD if os.environ.get(v := f"AWSGATE_{n.upper()}")}
    told = Told(**{n: Path(v) if n in _PLACES else v for n, v in said.items()})  # type: ignore[arg-type]
    if not gateway_meant(told.gateway, told.policy, told.state, told.certs):
        return caller_from(os.environ)  # it says what is missing
    with saying_no():
        issued = issued_lately(told.wanted())
        check_within(issued)
    return caller_from(access_by_keys(issued.way("", ""), issued.keys, {}).assign)


_PLACES = ("policy", "state", "certs")
_TOLD = ("user", "app", "role", "gateway", *_PLACES)


def ordered(region: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Give the gateway's answer to an order; ends the program with its no."""
    try:
        return send_order(_caller(), region, parameters, now=datetime.now(UTC))
    except Refusal as refusal:
        said, hint = without_hint(refusal.message)
        if refusal.code in _NO:
            # In its own words, which may be another program's.
            sys.stderr.write(f"awsgate: no: {printable(said)} [{refusal.code}]\n")
            if hint:
                sys.stderr.write(f"awsgate: hint: {printable(hint)}\n")
            raise typer.Exit(1) from None
        raise SetupError(f"{printable(said)} [{refusal.code}]", hint=printable(hint)) from None
