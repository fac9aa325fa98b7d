"""The router against botocore's own serialiser: every operation, in every protocol.

Prints its counts (``pytest -s``). An operation may be named by the model of another
service at the same endpoint (rds, docdb, neptune) if the IAM actions are the same.
"""

from __future__ import annotations

from collections import Counter

import botocore
import pytest

from awsgate.aws.operations import services_signing_as
from awsgate.aws.request import Asked
from awsgate.aws.router import Routed, route
from serialised import Wire, serialised, service_names

# service.Operation of requests that two operations could have sent: unknown, so refused.
AMBIGUOUS: frozenset[str] = frozenset()


@pytest.mark.parametrize("full", [False, True], ids=["what is required", "all members"])
def test_the_router_names_every_operation_that_botocore_can_send(full: bool) -> None:
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    unknown: set[str] = set()
    for name in service_names():
        for wire in serialised(name, full=full):
            verdict = judged(wire)
            counts[verdict] += 1
            if verdict == "wrong":
                wrong.append(f"{name}.{wire.operation}: {wire.method} {wire.target!r}")
            if verdict == "unknown":
                unknown.add(f"{name}.{wire.operation}")
    print(f"botocore {botocore.__version__}: {dict(counts)}")

    assert wrong == []
    assert unknown == AMBIGUOUS
    assert counts["right"] + counts["right, with the actions of another reading"] > 21_000
    assert counts["not in the table"] <= counts["right"] // 20  # botocore is newer than the table


def judged(wire: Wire) -> str:
    """Compare what the router says with what was sent."""
    asked = Asked(wire.endpoint, wire.method, wire.target, wire.headers, wire.body)
    own = [s for s in services_signing_as(wire.signing_name.lower()) if s.id == wire.service]
    if not own or wire.operation not in own[0].actions:
        return "not in the table"
    found = route(asked, wire.signing_name)
    if found is None:
        return "unknown"
    if not is_right(found, wire, own[0].actions[wire.operation]):
        return "wrong"
    return "right, with the actions of another reading" if found.also else "right"


def is_right(found: Routed, wire: Wire, actions: tuple[str, ...]) -> bool:
    """True for the operation itself, or another name of S3's for the same actions."""
    named = found.service.actions[found.operation]
    same = found.operation == wire.operation or wire.service == "s3"
    return same and named == actions and (found.service.id == wire.service or actions == named)
