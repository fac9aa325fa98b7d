"""The chain over all files of a log: their order, and the first place where it breaks."""

from __future__ import annotations

import gzip
import random
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from auditing import GENESIS, fill, records
from awsgate.audit import AuditLog
from awsgate.auditchain import Chain, verify_files
from awsgate.auditfile import opened, opened_log


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


def checked(paths: Sequence[Path], *, wanted: Sequence[str] = (), after: str = "") -> Chain:
    with opened(paths) as files:
        return verify_files(files, wanted=wanted, after=after)


def three_files(path: Path) -> list[Path]:
    """Two files that were renamed away, and the one that is written: 3, 4 and 2 lines."""
    log = AuditLog(path)
    files = []
    for number, count in enumerate((3, 3, 1)):
        fill(log, count, start=10 * number)
        if number < 2:
            files.append(path.rename(path.with_name(f"audit.jsonl.{2 - number}")))
    log.close()
    return [*files, path]


def edit(path: Path, line: int, old: bytes, new: bytes) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    assert old in lines[line - 1]
    lines[line - 1] = lines[line - 1].replace(old, new)
    path.write_bytes(b"".join(lines))


def test_all_files_are_one_chain_whatever_their_order(path: Path) -> None:
    files = three_files(path)
    for _ in range(6):
        random.shuffle(files)

        chain = checked(files)

        assert (chain.fault, chain.lines) == (None, 9)
        assert [f.path.name for f in chain.files] == [
            "audit.jsonl.2",
            "audit.jsonl.1",
            "audit.jsonl",
        ]
        assert chain.head == records(path)[-1]["hash"]
        assert chain.begins_after == GENESIS


def test_the_files_of_a_folder_are_found_compressed_or_not(path: Path) -> None:
    oldest, middle, _ = three_files(path)
    with gzip.open(oldest.with_name(oldest.name + ".gz"), "wb") as packed:
        packed.write(oldest.read_bytes())
    oldest.unlink()
    middle.rename(path.with_name("audit.jsonl-20261127"))
    (path.parent / "session.key").touch()
    (path.parent / "other.jsonl").write_text("{}\n")

    with opened_log(path) as files:
        chain = verify_files(files)

    assert (chain.fault, chain.lines) == (None, 9)
    assert len(chain.files) == 3


def test_a_file_that_gzip_is_still_writing_does_not_count(path: Path) -> None:
    oldest, *_ = three_files(path)
    oldest.with_name(oldest.name + ".gz").write_bytes(b"\x1f\x8b\x08 not yet whole")

    with opened_log(path) as files:
        assert verify_files(files).fault is None


def test_an_edit_in_an_older_file_is_named_with_file_and_line(path: Path) -> None:
    files = three_files(path)
    edit(files[1], 3, b'"/11"', b'"/99"')

    chain = checked(files)

    assert str(chain.fault) == f"{files[1]}: line 3: its content does not match its hash"
    assert chain.lines == 5


def test_the_first_of_several_faults_is_named_in_the_order_of_the_chain(path: Path) -> None:
    files = three_files(path)
    edit(files[2], 2, b'"/20"', b'"/99"')
    edit(files[0], 2, b'"/1"', b'"/9"')

    assert str(checked(files[::-1]).fault).startswith(f"{files[0]}: line 2: ")


def test_a_missing_file_is_found(path: Path) -> None:
    oldest, middle, newest = three_files(path)

    chain = checked([oldest, newest])

    assert str(chain.fault) == (
        f"{newest}: line 1: it goes on from a line that no file here ends with: "
        "lines before it are missing"
    )
    assert chain.lines == 3
    # Older files may be gone: that is what keeping a number of them means.
    assert checked([middle, newest]).fault is None
    assert checked([middle, newest]).begins_after == records(oldest)[-1]["hash"]


def test_lines_cut_off_an_older_file_are_found(path: Path) -> None:
    oldest, middle, newest = three_files(path)
    middle.write_bytes(b"".join(middle.read_bytes().splitlines(keepends=True)[:-1]))

    chain = checked([oldest, middle, newest])

    assert chain.fault is not None
    assert (chain.fault.path, chain.fault.line) == (newest, 1)


def test_a_file_that_is_there_twice_is_found(path: Path) -> None:
    files = three_files(path)
    copy = path.with_name("audit.jsonl.copy")
    shutil.copy(files[1], copy)

    assert "another file goes on from the same line" in str(checked([*files, copy]).fault)


def test_a_log_made_anew_beside_the_old_one_is_found(path: Path) -> None:
    files = three_files(path)
    other = path.parent / "elsewhere"
    other.mkdir()
    log = AuditLog(other / "audit.jsonl")
    fill(log, 2)
    log.close()

    assert "nothing links it to a file before" in str(
        checked([*files, other / "audit.jsonl"]).fault
    )


def test_a_file_that_cannot_be_decompressed_is_named_with_the_line(path: Path) -> None:
    oldest, *others = three_files(path)
    packed = oldest.with_name(oldest.name + ".gz")
    with gzip.open(packed, "wb") as file:
        file.write(oldest.read_bytes())
    packed.write_bytes(packed.read_bytes()[:-30])
    oldest.unlink()

    chain = checked([packed, *others])

    assert "cannot be decompressed from here on" in str(chain.fault)


# --- a head that was noted elsewhere --------------------------------------------------------


def test_a_noted_head_shows_that_the_end_was_cut_off(path: Path) -> None:
    files = three_files(path)
    head = checked(files).head
    assert checked(files, wanted=[head]).has(head)

    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))

    cut = checked(files, wanted=[head])
    assert cut.fault is None, "the chain itself does not show it"
    assert not cut.has(head)


def test_a_noted_head_is_found_in_the_middle_and_before_the_oldest_file(path: Path) -> None:
    oldest, middle, newest = three_files(path)
    noted = [records(middle)[1]["hash"], records(oldest)[-1]["hash"]]

    for hashed in noted:
        assert checked([middle, newest], wanted=[hashed]).has(hashed)


def test_what_follows_a_noted_line_is_checked_and_what_precedes_it_is_not(path: Path) -> None:
    files = three_files(path)
    noted = records(files[1])[1]["hash"]
    edit(files[0], 2, b'"/1"', b'"/9"')
    edit(files[1], 1, b"audit.continued", b"audit.CONTINUED")
    assert checked(files).fault is not None

    chain = checked(files, after=noted)

    assert (chain.fault, chain.lines, chain.begins_after) == (None, 4, noted)
    edit(files[1], 3, b'"/11"', b'"/99"')
    assert str(checked(files, after=noted).fault).startswith(f"{files[1]}: line 3: ")


def test_a_hash_that_no_line_has_is_not_there(path: Path) -> None:
    assert not checked(three_files(path), after="f" * 64).has("f" * 64)
