"""All checks at once: one that fails itself is a finding, and takes no other with it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from awsgate.aws.partitions import all_suffixes
from awsgate.ca import ensure_ca
from awsgate.doctor.examine import Patient, _Jobs, examine
from awsgate.doctor.finding import Group, Severity


def test_a_check_that_fails_itself_is_a_finding_among_the_others(tmp_path: Path) -> None:
    certs = tmp_path / "certs"
    ensure_ca(certs, suffixes=all_suffixes(), now=datetime.now(UTC))
    # No port at all: no way that a call can end has a name for that.
    patient = Patient(
        tmp_path / "policy", tmp_path / "state", certs, {}, proxy="127.0.0.1:x"
    )  # fmt: skip

    found = {finding.id: finding for finding in examine(patient)}

    broken = found["check-broken"]
    assert (broken.group, broken.severity) == (Group.GATEWAY, Severity.WARNING)
    assert "the check itself failed (ValueError in address.py, line " in broken.what
    assert {"ca", "policy-missing", "aws-not-asked"} <= set(found)


def test_what_an_error_says_is_not_repeated() -> None:
    def fails() -> None:
        raise ValueError("c4nary-p4ssw0rd")

    jobs = _Jobs(5)
    jobs.start("it", fails)

    assert jobs.result("it") is None
    finding = jobs.lacking("it", Group.TOOLS, "it")
    assert finding.id == "check-broken"
    assert "ValueError in test_examine.py, line " in finding.what
    assert "c4nary" not in str(finding)


def test_what_is_not_back_in_time_is_not_called_broken() -> None:
    assert _Jobs(0).lacking("it", Group.TOOLS, "it").id == "check-timed-out"
