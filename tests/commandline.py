"""What the tests of the command line share: a policy, and how to read an answer."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from awsgate.session import OpenedSession, open_session
from awsgate.state import open_state

READ_ONLY = "arn:aws:iam::123456789012:role/ReadOnly"
POWER = "arn:aws:iam::123456789012:role/Power"
RIGHTS = f"""\
kind: role
version: v5
metadata: {{name: read}}
spec:
  allow: {{app_labels: {{'*': '*'}}, aws_role_arns: ['{READ_ONLY}']}}
  options: {{max_session_ttl: 2h}}
---
kind: role
version: v5
metadata: {{name: power}}
spec:
  allow: {{app_labels: {{'*': '*'}}, aws_role_arns: ['{POWER}']}}
---
kind: app
version: v3
metadata: {{name: test, labels: {{aws_account_id: '123456789012'}}}}
spec: {{uri: https://console.aws.amazon.com/}}
---
"""
"""What may be granted: two roles, in an app."""
POLICY = f"""\
{RIGHTS}\
kind: user
version: v2
metadata: {{name: alice}}
spec: {{roles: [read]}}
---
kind: user
version: v2
metadata: {{name: bob}}
spec: {{roles: [read, power]}}
---
kind: gateway
version: v1
metadata: {{name: gateway}}
spec: {{listen: '0.0.0.0:3128'}}
"""


@dataclass
class Result:
    code: int
    out: str
    err: str


Run = Callable[..., Result]


ALICE = ("env", "--user", "alice", "--app", "test", "--role", READ_ONLY)


DOWN = re.compile(r"awsgate: warning: nothing answers at \S+ \(awsgate run[^)]*\)\n")


def without_down(err: str) -> str:
    """Leave out that no gateway runs: it is none of these tests' business."""
    return DOWN.sub("", err)


def variables(result: Result) -> dict[str, str]:
    assert (result.code, result.err) == (0, "")
    found: dict[str, str] = json.loads(result.out)
    return found


def opened_by_the_gateway(found: dict[str, str], home: Path) -> OpenedSession:
    return open_session(
        open_state(home / "it's state").session_keys,
        access_key_id=found["AWS_ACCESS_KEY_ID"],
        session_token=found["AWS_SESSION_TOKEN"],
        now=int(datetime.now(UTC).timestamp()),
    )
