"""``awsgate schema``: the JSON Schema of the policy, for editors."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from awsgate.policy.parse import KINDS
from awsgate.policy.schema import schema as schema_of


def schema(
    kind: Annotated[str, typer.Option(help=f"One of {', '.join(KINDS)}.")] = "",
) -> None:
    """Print the JSON Schema of the policy's documents, or of one kind.

    Example: awsgate schema > policy/schema.json
    """
    if kind and kind not in KINDS:
        raise typer.BadParameter(f"{kind!r} is not one of {', '.join(KINDS)}")
    print(json.dumps(schema_of(kind), indent=2, sort_keys=True))
