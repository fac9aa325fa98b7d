"""Files that change under a running gateway: seen whatever changes them, read whole."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from awsgate.errors import SetupError
from awsgate.policyfile import load_policy
from awsgate.policywatch import (
    MAX_SETTLE_S,
    POLL_S,
    SETTLE_S,
    Outcome,
    Reading,
    Source,
    Watch,
    digest_of,
    policy_fingerprint,
    policy_source,
)
from calls import POLICY

USER = "kind: user\nversion: v2\nmetadata: {name: %s}\nspec: {}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "policy"
    made.mkdir()
    (made / "a.yaml").write_text(USER % "alice")
    return made


# --- what counts as a change ------------------------------------------------------------


def swap(folder: Path) -> None:
    new = folder / "new"
    new.mkdir()
    (new / "a.yaml").write_text(USER % "bob")
    (folder / "a.yaml").unlink()
    (folder / "a.yaml").symlink_to("new/a.yaml")


def keep_size_and_time(folder: Path) -> None:
    file = folder / "a.yaml"
    info = file.stat()
    file.write_text(USER % "alicf")
    os.utime(file, ns=(info.st_atime_ns, info.st_mtime_ns))


CHANGES: dict[str, Callable[[Path], object]] = {
    "written in place": lambda f: (f / "a.yaml").write_text(USER % "bob"),
    "renamed over": lambda f: (f / "b.txt").rename(f / "a.yaml"),
    "added": lambda f: (f / "b.yml").write_text(USER % "bob"),
    "removed": lambda f: (f / "a.yaml").unlink(),
    "a link, swapped": swap,
    "size and time as before": keep_size_and_time,
    "made writable for all": lambda f: (f / "a.yaml").chmod(0o666),
    "the folder made writable for all": lambda f: f.chmod(0o777),
    "the folder gone": lambda f: f.rename(f.with_name("away")),
}
NO_CHANGES: dict[str, Callable[[Path], object]] = {
    "nothing": lambda _: None,
    "a file that is not read": lambda f: (f / "b.txt").write_text("x"),
    "a hidden file": lambda f: (f / ".a.yaml.swp").write_text("x"),
    "read": lambda f: (f / "a.yaml").read_text(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_every_change_changes_the_fingerprint(folder: Path, change: Callable[[Path], str]) -> None:
    (folder / "b.txt").write_text(USER % "bob")
    before = policy_fingerprint(folder)
    time.sleep(0.02)  # a file system's clock has ticks

    change(folder)

    assert policy_fingerprint(folder) != before


@pytest.mark.parametrize("change", NO_CHANGES.values(), ids=NO_CHANGES)
def test_what_is_not_read_changes_nothing(folder: Path, change: Callable[[Path], str]) -> None:
    before = policy_fingerprint(folder)

    change(folder)

    assert policy_fingerprint(folder) == before


def test_a_policy_of_one_file_has_a_fingerprint_too(folder: Path) -> None:
    file = folder / "a.yaml"
    seen = [policy_fingerprint(file)]
    file.write_text(USER % "bobby")
    seen.append(policy_fingerprint(file))
    file.unlink()
    seen.append(policy_fingerprint(file))

    assert len(set(map(repr, seen))) == 3


# --- the digest ----------------------------------------------------------------------------


def test_the_digest_is_of_what_the_files_say_and_not_of_how(folder: Path) -> None:
    one = digest_of(load_policy(folder))
    (folder / "a.yaml").rename(folder / "z.yaml")
    (folder / "z.yaml").write_text("# of ada\n" + USER % "alice")

    assert digest_of(load_policy(folder)) == one
    (folder / "z.yaml").write_text(USER % "alicf")
    assert digest_of(load_policy(folder)) != one


def test_every_part_of_a_policy_is_in_the_digest() -> None:
    seen = {digest_of(POLICY)}
    for part in ("roles", "users", "apps"):
        seen.add(digest_of(replace(POLICY, **{part: {}})))
    report = POLICY.gateway.model_copy(update={"mode": "report"})
    seen.add(digest_of(replace(POLICY, gateway=report)))

    assert len(seen) == 5


# --- the watch -------------------------------------------------------------------------------


class Told:
    """What the loop was told."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome[object]] = []
        self._news = asyncio.Event()
        self.threads: set[int] = set()

    def __call__(self, outcome: Outcome[object]) -> None:
        self.outcomes.append(outcome)
        self.threads.add(threading.get_ident())
        self._news.set()

    async def one_more(self, *, within: float = 3.0) -> Outcome[object]:
        self._news.clear()
        async with asyncio.timeout(within):
            await self._news.wait()
        return self.outcomes[-1]

    async def silence(self, seconds: float = 2 * POLL_S) -> None:
        before = len(self.outcomes)
        await asyncio.sleep(seconds)
        assert self.outcomes[before:] == []


@asynccontextmanager
async def watching(*sources: Source[object]) -> AsyncIterator[tuple[Watch, Told]]:
    told = Told()
    watch = Watch(sources, told, asyncio.get_running_loop())
    watch.start()
    try:
        for _ in sources:
            await told.one_more()  # the first look reads everything
        yield watch, told
    finally:
        watch.close()


def quick(path: Path) -> Source[object]:
    """Give the source of a policy that rests sooner."""
    return replace(policy_source(path), settle_s=0.1)


def users_of(outcome: Outcome[object]) -> list[str]:
    assert isinstance(outcome.value, Reading), outcome.fault
    return list(outcome.value.policy.users)


async def test_a_change_is_read_and_told_to_the_loop(folder: Path) -> None:
    async with watching(quick(folder)) as (_, told):
        assert users_of(told.outcomes[0]) == ["alice"]
        (folder / "b.yaml").write_text(USER % "bob")

        outcome = await told.one_more(within=1.0)

        assert users_of(outcome) == ["alice", "bob"]
        assert (outcome.source, outcome.asked) == ("policy", False)
        assert told.threads == {threading.get_ident()}
        await told.silence()


async def test_a_fault_is_told_once_and_the_mending_too(folder: Path) -> None:
    async with watching(quick(folder)) as (_, told):
        (folder / "b.yaml").write_text("kind: {")
        outcome = await told.one_more()
        assert outcome.value is None
        assert outcome.fault is not None
        await told.silence()

        (folder / "b.yaml").unlink()
        assert users_of(await told.one_more()) == ["alice"]


async def test_who_asks_is_answered_at_once_though_nothing_changed(folder: Path) -> None:
    async with watching(quick(folder)) as (watch, told):
        for _ in range(3):
            watch.ask()
            assert (await told.one_more(within=POLL_S)).asked
        await told.silence()


async def test_a_folder_that_goes_and_comes_is_watched_again(folder: Path) -> None:
    away = folder.with_name("away")
    async with watching(quick(folder)) as (_, told):
        folder.rename(away)  # noqa: ASYNC240 - here nothing else waits
        assert (await told.one_more()).fault is not None
        await told.silence(POLL_S)
        away.rename(folder)
        assert users_of(await told.one_more()) == ["alice"]
        (folder / "b.yaml").write_text(USER % "bob")
        assert users_of(await told.one_more()) == ["alice", "bob"]


@pytest.mark.parametrize("pause_s", [0.05, 0.7])
async def test_what_is_half_written_is_not_read(folder: Path, pause_s: float) -> None:
    """Each half of it is a valid policy."""
    halves = [f"---\n{USER % name}" for name in ("bob", "carol")]
    async with watching(policy_source(folder)) as (_, told):
        with (folder / "b.yaml").open("w") as file:
            for half in halves:
                file.write(half)
                file.flush()
                await asyncio.sleep(pause_s)

        assert users_of(await told.one_more()) == ["alice", "bob", "carol"]
        assert len(told.outcomes) == 2


async def test_who_asks_does_not_wait_for_the_files_to_rest(folder: Path) -> None:
    async with watching(policy_source(folder)) as (watch, told):
        (folder / "b.yaml").write_text(USER % "bob")
        await asyncio.sleep(0.2)  # it has been seen, and is waited for
        watch.ask()
        outcome = await told.one_more(within=POLL_S)

        assert (users_of(outcome), outcome.asked) == (["alice", "bob"], True)
        await told.silence(SETTLE_S + POLL_S)


async def test_what_changes_while_it_is_read_is_read_again(folder: Path) -> None:
    """Else a policy of two files could be half old and half new."""
    reads: list[str] = []

    def load() -> object:
        text = (folder / "a.yaml").read_text()
        if len(reads) == 1:
            (folder / "a.yaml").write_text("third")
        reads.append(text)
        return text

    plain = replace(policy_source(folder), load=load, settle_s=0.0)
    async with watching(plain) as (_, told):
        (folder / "a.yaml").write_text("second")
        await told.one_more()

        assert reads[1:] == ["second", "third"]
        assert [outcome.value for outcome in told.outcomes[1:]] == ["third"]


async def test_a_file_that_never_rests_is_read_all_the_same(folder: Path) -> None:
    stop = threading.Event()

    def write() -> None:
        while not stop.wait(0.02):
            (folder / "b.yaml").write_text(USER % "bob")

    async with watching(quick(folder)) as (_, told):
        thread = threading.Thread(target=write)
        thread.start()
        try:
            await told.one_more(within=MAX_SETTLE_S + 2)
        finally:
            stop.set()
            thread.join()


async def test_one_source_does_not_wait_for_another(tmp_path: Path) -> None:
    going = threading.Event()

    def slow() -> object:
        going.wait(5)
        return "slow"

    still = Source("slow", tmp_path, lambda: 0, slow)
    quick = Source("quick", tmp_path, lambda: 0, lambda: "quick")
    told = Told()
    watch = Watch([still, quick], told, asyncio.get_running_loop())
    watch.start()

    assert (await told.one_more()).value == "quick"
    going.set()
    assert (await told.one_more()).value == "slow"
    watch.close()


async def test_whatever_a_reader_raises_the_watch_goes_on(folder: Path) -> None:
    results: list[object] = ["fine", ZeroDivisionError("s3cr3t"), SetupError("bad"), "fine again"]

    def load() -> object:
        result = results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    async with watching(Source("thing", folder, lambda: 0, load)) as (watch, told):
        for _ in range(3):
            watch.ask()
            await told.one_more()

    faults = [str(o.fault.message) if o.fault else "" for o in told.outcomes]
    assert faults == ["", "the thing cannot be read: ZeroDivisionError", "bad", ""]
    assert told.outcomes[-1].value == "fine again"


async def test_after_the_close_nothing_is_told_and_no_thread_is_left(folder: Path) -> None:
    others = set(threading.enumerate())
    async with watching(quick(folder)) as (watch, told):
        assert [t for t in watchers() if t not in others]
        watch.close()
        (folder / "b.yaml").write_text(USER % "bob")
        watch.ask()
        await told.silence()

        assert [t for t in watchers() if t not in others] == []


def watchers() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("awsgate-watch")]


async def test_without_a_folder_to_watch_it_looks(tmp_path: Path) -> None:
    file = tmp_path / "not" / "there" / "policy.yaml"
    async with watching(quick(file)) as (_, told):
        assert told.outcomes[0].fault is not None
        file.parent.mkdir(parents=True)
        file.write_text(USER % "alice")

        assert users_of(await told.one_more()) == ["alice"]


def test_the_log_beside_the_policy_is_not_fed_by_its_own_changes() -> None:
    assert not logging.getLogger("watchfiles.main").isEnabledFor(logging.INFO)


async def test_what_is_nowhere_on_disk_is_asked_for() -> None:
    state = ["one"]

    def load() -> object:
        return state[0].upper()

    source: Source[object] = Source("grants", None, lambda: state[0], load, poll_s=0.05)
    async with watching(source) as (watch, told):
        assert told.outcomes[0].value == "ONE"
        state[0] = "two"
        assert (await told.one_more(within=1.0)).value == "TWO"
        await told.silence(0.2)
        watch.ask()
        assert (await told.one_more(within=1.0)).asked
