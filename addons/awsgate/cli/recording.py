"""Audit lines of what a command does itself, on the gateway's machine."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from pathlib import Path

from awsgate.audit import AuditLog, AuditRecord, AuditUnavailable, Rotation
from awsgate.errors import SetupError
from awsgate.policy import GatewaySpec
from awsgate.timestamps import utc_millis


def record_here(path: Path, spec: GatewaySpec, record: AuditRecord) -> None:
    """Write a line, with the time and an id of its own.

    Raises ``SetupError`` if it cannot be written, unless the policy does without.
    """
    record.time, record.id = utc_millis(datetime.now(UTC)), str(uuid.uuid4())
    log = AuditLog(path, Rotation(spec.audit.rotate_bytes, spec.audit.keep))
    try:
        log.write(record)
    except AuditUnavailable as exc:
        if spec.audit.on_failure == "refuse":
            raise SetupError(f"the audit log cannot be written: {exc}") from exc
    finally:
        log.close()
