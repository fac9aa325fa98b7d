"""Policy, CA, session key and audit: planted faults on a real disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from awsgate.aws.partitions import all_suffixes
from awsgate.ca import BUNDLE_NAME, CA_NAME, CERT_NAME, ensure_ca, rotate_ca
from awsgate.doctor.files import StateFacts, check_ca, check_policy, check_state
from awsgate.doctor.finding import Finding, Severity
from awsgate.doctor.gather import ca_facts, policy_facts, state_facts, trust_in
from awsgate.session import ENTROPY_BYTES, mint, open_session
from awsgate.state import open_state
from commandline import POLICY

NOW = datetime.now(UTC)


@pytest.fixture
def certs(tmp_path: Path) -> Path:
    return ensure_ca(tmp_path / "certs", suffixes=all_suffixes(), now=NOW).folder


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return open_state(tmp_path / "state").folder


def bad(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(f.id, f.fix) for f in findings if f.severity is not Severity.OK]


def listing(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {p.name: (p.read_bytes(), p.stat().st_mode) for p in folder.iterdir()}


def test_a_healthy_ca_and_state_are_left_as_they_are(certs: Path, state: Path) -> None:
    before = listing(certs), listing(state)

    facts, root = ca_facts(certs)
    found = [*check_ca(facts, NOW), *check_state(state_facts(state)[0])]

    assert [f.id for f in found] == ["ca", "state"]
    assert root in (certs / CERT_NAME).read_bytes()
    keys = state_facts(state)[1]
    assert keys is not None
    made = mint(
        open_state(state).session_keys,
        user="u", app="a", role_arn="r", ttl_s=60, now=0, entropy=bytes(ENTROPY_BYTES),
    )  # fmt: skip
    opened = open_session(
        keys, access_key_id=made.access_key_id, session_token=made.session_token, now=0
    )
    assert opened.session.user == "u"
    assert (listing(certs), listing(state)) == before


@pytest.mark.parametrize(
    ("plant", "later", "id_", "fix"),
    [
        (lambda c: c.chmod(0o755), 0, "ca-unusable", "chmod 700 "),
        (lambda c: (c / CA_NAME).chmod(0o644), 0, "ca-unusable", "chmod 600 "),
        (lambda c: (c / CA_NAME).write_text("x"), 0, "ca-unusable", "awsgate ca rotate"),
        (lambda c: (c / CA_NAME).unlink(), 0, "ca-missing", "awsgate ca show --certs "),
        (lambda _: None, 731, "ca-expired", "awsgate ca rotate --certs "),
        (lambda _: None, 710, "ca-expiring", "awsgate ca rotate --certs "),
        (lambda _: None, -3, "ca-not-yet-valid", "timedatectl set-ntp true"),
        (lambda c: (c / BUNDLE_NAME).write_text(""), 0, "ca-unpublished", "awsgate ca show "),
        (lambda c: (c / CERT_NAME).unlink(), 0, "ca-unpublished", "awsgate ca show "),
    ],
)
def test_a_fault_of_the_ca(
    certs: Path, plant: Callable[[Path], object], later: int, id_: str, fix: str
) -> None:
    plant(certs)
    facts, _ = ca_facts(certs)

    ((found, command),) = bad(list(check_ca(facts, NOW + timedelta(days=later))))

    assert found == id_
    assert fix in command


def test_a_bundle_from_before_a_rotation(certs: Path, tmp_path: Path) -> None:
    shutil.copy(certs / BUNDLE_NAME, tmp_path / "kept.pem")
    rotate_ca(certs, suffixes=all_suffixes(), now=NOW)
    root = ca_facts(certs)[1]

    assert trust_in(tmp_path / "kept.pem", root) == "earlier"
    assert trust_in(certs / BUNDLE_NAME, root) == "ours"
    assert trust_in(tmp_path / "absent.pem", root) == "unreadable"
    (tmp_path / "other.pem").write_text("no certificate")
    assert trust_in(tmp_path / "other.pem", root) == "foreign"


@pytest.mark.parametrize(
    ("plant", "id_", "fix"),
    [
        (lambda s: s.chmod(0o750), "state-unusable", "chmod 700 "),
        (lambda s: (s / "session.key").chmod(0o640), "state-unusable", "chmod 600 "),
        (lambda s: (s / "session.key").write_text("zz"), "state-unusable", "restore it"),
        (lambda s: (s / "session.key").unlink(), "session-key-missing", ""),
    ],
)
def test_a_fault_of_the_state(
    state: Path, plant: Callable[[Path], object], id_: str, fix: str
) -> None:
    plant(state)

    ((found, command),) = bad(list(check_state(state_facts(state)[0])))

    assert found == id_
    assert fix in command


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_audit_that_cannot_be_written(state: Path) -> None:
    (state / "audit.jsonl").touch(mode=0o400)

    ((found, _),) = bad(list(check_state(state_facts(state)[0])))

    assert found == "audit-unwritable"


@pytest.mark.parametrize(
    ("facts", "id_", "fix"),
    [
        ({"audit_writable": False}, "audit-unwritable", "chmod 600 /s/audit.jsonl"),
        ({"free_bytes": 1024**2}, "audit-disk-full", "df -h /s"),
        ({"free_bytes": 500 * 1024**2}, "audit-disk-scarce", "df -h /s"),
    ],
)
def test_the_disk(facts: dict[str, object], id_: str, fix: str) -> None:
    given = StateFacts("/s", audit="/s/audit.jsonl", **facts)  # type: ignore[arg-type]

    ((found, command),) = bad(list(check_state(given)))

    assert found == id_
    assert fix in command


def test_the_policy(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(POLICY)
    assert bad(list(check_policy(policy_facts(file)[0]))) == []

    file.write_text(POLICY.replace("roles: [read]", "roles: [reed]"))
    ((found, fix),) = bad(list(check_policy(policy_facts(file)[0])))
    assert (found, fix.split("   ")[0]) == ("policy-fault", f"awsgate check {file}")

    file.write_text(POLICY.replace(", labels: {aws_account_id: '123456789012'}", ""))
    assert [id_ for id_, _ in bad(list(check_policy(policy_facts(file)[0])))] == ["policy-warning"]

    file.unlink()
    ((found, fix),) = bad(list(check_policy(policy_facts(file)[0])))
    assert (found, fix) == ("policy-missing", f"awsgate init --policy {file}")
