"""What the tests of the audit log share: fill one, read one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from awsgate.audit import AuditLog, AuditRecord

GENESIS = "0" * 64


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines() if line]


def fill(log: AuditLog, count: int, *, start: int = 0) -> None:
    for number in range(start, start + count):
        log.write(AuditRecord(id=str(number), event="request", path=f"/{number}", status=200))
