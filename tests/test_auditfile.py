"""The files of a log: which they are, and reading them from either end."""

from __future__ import annotations

import fcntl
import gzip
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditing import fill
from awsgate import auditfile
from awsgate.audit import AuditLog
from awsgate.auditfile import opened, opened_log, rotated_files, rotated_name
from awsgate.auditline import resource_list, resource_text
from awsgate.errors import SetupError

LINES = st.lists(st.sampled_from([b"", b"x", b"y" * 40, b"a\rb", b"z" * 500]), max_size=30)


@settings(max_examples=200)
@given(LINES, st.booleans(), st.integers(1, 64))
def test_backwards_is_forwards_turned_round(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], torn: bool, block: int
) -> None:
    path = tmp_path_factory.mktemp("backwards") / "log"
    path.write_bytes(b"\n".join(lines) + (b"" if torn else b"\n"))
    with pytest.MonkeyPatch.context() as patch, opened([path]) as (file,):
        patch.setattr(auditfile, "_TAIL", block)

        assert list(file.lines_backwards()) == list(file.lines())[::-1]


def test_a_compressed_file_reads_like_any_other(tmp_path: Path) -> None:
    path = tmp_path / "log.gz"
    with gzip.open(path, "wb") as packed:
        packed.write(b"one\ntwo\nthree")

    with opened([path]) as (file,):
        assert list(file.lines()) == [b"one\n", b"two\n", b"three"]
        assert list(file.lines_backwards()) == [b"three", b"two\n", b"one\n"]


def test_what_is_written_later_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    log = AuditLog(path)
    fill(log, 2)
    with opened([path]) as (file,):
        fill(log, 2)
        assert len(list(file.lines())) == len(list(file.lines_backwards())) == 2
    log.close()


BELONG = [
    "audit.jsonl.1", "audit.jsonl.12.gz", "audit.jsonl-20261127", "audit.jsonl-20261126.gz",
    "audit-20261127.jsonl", "audit-20261127T101530.123456Z.jsonl", "audit.2026-11.jsonl.gz",
]  # fmt: skip
DO_NOT = [
    "audit.jsonl", "audit.json", "audits.jsonl.1", "my-audit.jsonl.1", ".audit.jsonl.abc",
    "session.key", "audit.jsonl.7.gz",
]  # fmt: skip


def test_which_files_belong_together(tmp_path: Path) -> None:
    for name in [*BELONG, *DO_NOT]:
        (tmp_path / name).touch()
    (tmp_path / "audit.jsonl.7").touch()  # gzip has not finished with it

    found = {path.name for path in rotated_files(tmp_path / "audit.jsonl")}

    assert found == {*BELONG, "audit.jsonl.7"}


def test_a_name_in_use_is_not_given_twice(tmp_path: Path) -> None:
    now = datetime(2026, 11, 27, 10, 15, 30, 999999, UTC)
    names = []
    for suffix in ("", ".gz", ""):
        path = rotated_name(tmp_path / "audit.jsonl", now)
        path.with_name(path.name + suffix).touch()
        names.append(path.name)

    assert names == [
        "audit-20261127T101530.999999Z.jsonl",
        "audit-20261127T101531.000000Z.jsonl",
        "audit-20261127T101531.000001Z.jsonl",
    ]


def test_a_file_with_two_names_is_read_once(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    path.write_bytes(b"x\n")
    (tmp_path / "audit.jsonl.1").hardlink_to(path)

    with opened_log(path) as files:
        assert len(files) == 1


def test_the_current_file_is_the_last(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    for name in ("audit.jsonl", "audit.jsonl.2", "audit.jsonl.1"):
        (tmp_path / name).write_bytes(b"x\n")

    with opened_log(path) as files:
        assert [file.path.name for file in files][-1] == "audit.jsonl"


def test_what_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "audit.jsonl.1.xz").touch()
    for path, message in (
        (tmp_path / "audit.jsonl.1.xz", r"awsgate reads plain files and \.gz"),
        (tmp_path / "nowhere", "nowhere: No such file or directory"),
        (tmp_path, "Is a directory"),
    ):
        with pytest.raises(SetupError, match=message), opened([path]):
            pass
    with pytest.raises(SetupError, match="no audit log at"), opened_log(tmp_path / "x/a.jsonl"):
        pass

    held = tmp_path / "audit.jsonl"
    held.touch()
    monkeypatch.setattr(auditfile, "MAX_WAIT_S", 0.02)
    with held.open("rb") as stuck:
        fcntl.flock(stuck, fcntl.LOCK_EX)
        with pytest.raises(SetupError, match="locked by another"), opened([held], wait_s=0.02):
            pass


ARNS = st.lists(
    st.text(st.sampled_from("ab %25.é\t*"), min_size=1, max_size=12).map(lambda t: f"arn:{t}"),
    max_size=6,
)


@given(ARNS)
def test_resources_read_back_as_they_were_written(arns: list[str]) -> None:
    assert resource_list(resource_text(arns)) == (tuple(arns), True)


def test_resources_that_are_too_many_end_in_a_whole_one() -> None:
    arns = [f"arn:aws:s3:::bucket/{'k' * 90}{number:02}" for number in range(60)]
    text = resource_text(arns)

    found, whole = resource_list(text)

    assert len(text) <= 4096
    assert not whole
    assert 30 < len(found) < 60
    assert found == tuple(arns[: len(found)])
