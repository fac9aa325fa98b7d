"""The folder of the locks: whole files, every fault, and none that hides another."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import pytest

from awsgate import locks
from awsgate.errors import SetupError
from awsgate.locks import MAX_FILE_BYTES, LockStore


def document(name: str = "one", **target: str) -> dict[str, Any]:
    return {
        "kind": "lock",
        "version": "v1",
        "metadata": {"name": name, "labels": {"by": "ada"}},
        "spec": {"target": target or {"user": "alice"}},
    }


@pytest.fixture
def store(tmp_path: Path) -> LockStore:
    made = LockStore(tmp_path / "state" / "locks")
    made.open()
    return made


def names(store: LockStore) -> list[str]:
    return [lock.metadata.name for lock in store.read().locks]


def test_what_is_added_is_there_for_any_other_process(store: LockStore) -> None:
    added = store.add(document("b", user="bob"))
    store.add(document("a"))

    again = LockStore(store.folder)
    assert names(again) == ["a", "b"]
    assert again.open()[1] == added
    assert added.spec.target.user == "bob"


def test_only_its_owner_may_read_it(store: LockStore) -> None:
    store.add(document())

    assert stat.S_IMODE(store.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((store.folder / "one.json").stat().st_mode) == 0o600


def test_a_lock_is_never_written_over(store: LockStore) -> None:
    store.add(document(user="alice"))

    with pytest.raises(SetupError, match="there is a lock 'one' already"):
        store.add(document(user="bob"))

    assert store.open()[0].spec.target.user == "alice"
    assert [p.name for p in store.folder.iterdir()] == ["one.json"], "no temporary file stays"


def test_of_two_that_add_at_once_one_is_told(store: LockStore) -> None:
    ready, told = Barrier(8), []

    def add(number: int) -> None:
        ready.wait(5)
        try:
            store.add(document(user=f"user-{number}"))
        except SetupError:
            told.append(number)

    threads = [Thread(target=add, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)

    assert len(told) == 7
    assert names(store) == ["one"]


def test_a_lock_is_taken_away_once(store: LockStore) -> None:
    store.add(document("one"))
    store.add(document("two"))

    assert [store.remove("one"), store.remove("one")] == [True, False]
    assert names(store) == ["two"]


@pytest.mark.parametrize("name", ["", "../one", "a/b", ".hidden", "-x", "a b", "a\n", "x" * 101])
def test_a_name_that_is_no_file_name_is_refused(store: LockStore, name: str) -> None:
    for act in (lambda: store.add(document(name)), lambda: store.remove(name)):
        with pytest.raises(SetupError, match="cannot be the name of a lock"):
            act()

    assert list(store.folder.iterdir()) == []


def test_a_document_that_is_no_lock_is_refused_before_it_is_kept(store: LockStore) -> None:
    bad = document()
    bad["spec"]["target"] = {"usr": "alice"}

    with pytest.raises(SetupError) as caught:
        store.add(bad)

    assert any("usr" in fault and "did you mean" in fault for fault in caught.value.faults)
    assert list(store.folder.iterdir()) == []


BROKEN = {
    "not JSON": ("x.json", b"{", "x.json: is not JSON"),
    "deep": ("x.json", b"[" * 60_000, "x.json: is not JSON"),
    "not UTF-8": ("x.json", b'{"kind": "\xff"}', "x.json: is not JSON"),
    "big": ("x.json", b" " * (MAX_FILE_BYTES + 1), f"x.json: is over {MAX_FILE_BYTES} bytes"),
    "another kind": (
        "x.json",
        b'{"kind": "user", "version": "v2", "metadata": {"name": "x"}, "spec": {}}',
        "x.json: is not a lock of the name 'x'",
    ),
    "another name": (
        "x.json",
        json.dumps(document("y")).encode(),
        "x.json: is not a lock of the name 'x'",
    ),
    "another suffix": (
        "x.yaml",
        json.dumps(document("x")).encode(),
        "x.yaml: is no lock: move it out of the folder",
    ),
}


@pytest.mark.parametrize(("name", "content", "fault"), BROKEN.values(), ids=BROKEN)
def test_what_is_no_lock_is_a_fault_and_hides_no_lock(
    store: LockStore, name: str, content: bytes, fault: str
) -> None:
    store.add(document("good"))
    store.add(document("zeta"))
    file = store.folder / name
    file.write_bytes(content)
    file.chmod(0o600)

    found = store.read()

    assert [lock.metadata.name for lock in found.locks] == ["good", "zeta"]
    assert found.faults == (fault,)
    assert found.unread == (frozenset({"x"}) if name.endswith(".json") else frozenset())
    with pytest.raises(SetupError) as caught:
        store.open()
    assert caught.value.faults == (fault,)


def test_every_fault_is_reported_at_once(store: LockStore) -> None:
    for name in ("x.json", "y.json"):
        (store.folder / name).touch(mode=0o600)

    with pytest.raises(SetupError, match="2 faults in the locks of ") as caught:
        store.open()

    assert caught.value.faults == ("x.json: is not JSON", "y.json: is not JSON")


@pytest.mark.parametrize("kind", ["link", "open to others", "folder"])
def test_a_file_that_others_may_have_made_is_no_lock(
    store: LockStore, tmp_path: Path, kind: str
) -> None:
    file = store.folder / "x.json"
    if kind == "link":
        (tmp_path / "elsewhere").write_text(json.dumps(document("x")))
        file.symlink_to(tmp_path / "elsewhere")
    elif kind == "folder":
        file.mkdir()
    else:
        file.write_text(json.dumps(document("x")))
        file.chmod(0o644)

    found = store.read()

    assert list(found.locks) == []
    assert len(found.faults) == 1
    assert found.unread == {"x"}


def test_hidden_files_are_not_read(store: LockStore) -> None:
    (store.folder / ".one.json.abc").write_text("{")

    assert store.read().faults == ()


def test_a_folder_that_is_gone_is_not_an_empty_one(store: LockStore) -> None:
    store.add(document())
    store.folder.rename(store.folder.with_name("away"))

    with pytest.raises(SetupError, match="the folder of the locks is gone"):
        store.read()

    assert not store.folder.exists(), "it is not made again"


def test_the_fingerprint_changes_with_every_change(store: LockStore) -> None:
    seen = [store.fingerprint()]
    store.add(document("one"))
    seen.append(store.fingerprint())
    store.add(document("two"))
    seen.append(store.fingerprint())
    (store.folder / "two.json").chmod(0o644)
    seen.append(store.fingerprint())
    store.remove("one")
    seen.append(store.fingerprint())
    store.folder.rename(store.folder.with_name("away"))
    seen.append(store.fingerprint())

    assert len(set(map(repr, seen))) == len(seen)
    assert store.fingerprint() == seen[-1]


def test_one_more_lock_costs_one_more_file(
    store: LockStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    stock = locks.read_private

    def counting(path: Path) -> bytes | None:
        read.append(path.name)
        return stock(path)

    monkeypatch.setattr(locks, "read_private", counting)
    store.add(document("one"))
    store.add(document("two"))
    assert names(store) == ["one", "two"]
    store.add(document("three"))
    assert names(store) == ["one", "three", "two"]
    assert read == ["one.json", "two.json", "three.json"]

    # By hand, as nobody should: it is seen all the same.
    (store.folder / "two.json").write_text(json.dumps(document("two", user="eve")))
    assert store.read().locks[2].spec.target.user == "eve"
    (store.folder / "one.json").write_text("{")
    assert store.read().unread == {"one"}
