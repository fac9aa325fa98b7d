"""``awsgate presign``: a URL for one S3 object, signed by the gateway with the role.

``aws s3 presign`` signs with what it has, and nobody at AWS knows gateway keys.
"""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from typing import Annotated

import typer

from awsgate.cli.durations import seconds_of
from awsgate.cli.ordering import RegionOption, ordered, region_meant

_LIMITS = {
    "presign_max_ttl": "the gateway's presign_max_ttl",
    "session": "the gateway session ends then",
    "credentials": "the role's credentials end then",
}


class Method(StrEnum):
    """What the URL is for."""

    GET = "GET"
    HEAD = "HEAD"
    PUT = "PUT"
    DELETE = "DELETE"


def presign(
    uri: Annotated[str, typer.Argument(metavar="S3URI", help="s3://bucket/key")],
    method: Annotated[Method, typer.Option(help="What the URL is for.")] = Method.GET,
    expires_in: Annotated[str, typer.Option(help="How long it is good: 900, 15m, 1h.")] = "15m",
    region: RegionOption = "",
    as_json: Annotated[bool, typer.Option("--json", help="With expiry, for programs.")] = False,
) -> None:
    """Print a presigned URL for an S3 object; exit 1 if the policy says no.

    Example: awsgate presign s3://my-bucket/report.pdf --expires-in 10m
    """
    bucket, key = _parts(uri)
    asked_s = seconds_of(expires_in, bare=True)
    answer = ordered(
        region_meant(region),
        {"kind": "s3", "bucket": bucket, "key": key, "method": method.value, "expires_in": asked_s},
    )
    print(json.dumps(answer, indent=2) if as_json else answer["url"])
    limit = answer.get("limited_by")
    if limit and not as_json:
        sys.stderr.write(
            f"awsgate: note: good until {answer['expires']}, for {answer['expires_in']} s and not "
            f"{asked_s}: {_LIMITS.get(limit, limit)}\n"
        )


def _parts(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket or not key:
        raise typer.BadParameter(f"{uri!r} is not s3://bucket/key")
    return bucket, key
