"""The audit lines of commands: written as the gateway writes its own."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from auditing import fill, records
from awsgate.audit import AuditLog, AuditRecord, AuditUnavailable
from awsgate.cli.recording import record_here
from awsgate.errors import SetupError
from awsgate.policy import GatewaySpec
from awsgate.policy.settings import MIN_ROTATE_BYTES


def of(**audit: object) -> GatewaySpec:
    return GatewaySpec.model_validate({"audit": audit})


def test_a_line_has_a_time_and_an_id_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    record_here(path, of(), AuditRecord(event="console"))
    record_here(path, of(), AuditRecord(event="console"))

    one, other = records(path)
    assert str(one["time"]).endswith("Z")
    assert one["id"] != other["id"] != ""


def test_a_file_that_is_full_is_replaced_as_the_policy_says(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    with closing(AuditLog(path)) as log:
        while path.stat().st_size < MIN_ROTATE_BYTES:
            fill(log, 100)

    record_here(path, of(rotate_bytes=MIN_ROTATE_BYTES), AuditRecord(event="console"))

    assert records(path)[-1]["event"] == "console"
    assert len(list(tmp_path.glob("audit*"))) == 2


def test_without_its_line_nothing_is_done_unless_the_policy_does_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: AuditLog, __: AuditRecord) -> None:
        raise AuditUnavailable("no space left")

    monkeypatch.setattr(AuditLog, "write", full)

    with pytest.raises(SetupError, match="the audit log cannot be written: no space left"):
        record_here(tmp_path / "audit.jsonl", of(on_failure="refuse"), AuditRecord())
    record_here(tmp_path / "audit.jsonl", of(on_failure="continue"), AuditRecord())
