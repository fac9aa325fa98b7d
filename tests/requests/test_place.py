"""What a gateway knows of grants: nothing it need not ask for, and never less for a failure."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest
from pydantic import SecretStr

from awsgate.errors import SetupError
from awsgate.grantwatch import GrantWatch
from awsgate.policy.accessrequest import Review as Verdict
from awsgate.policy.accessrequest import State, asked, reviewed, revoked
from awsgate.policy.grants import GrantBook
from awsgate.policy.requests import Terms
from awsgate.policy.settings import RequestsSpec
from awsgate.requestplace import RequestPlace

NOW = 1_800_000_000


class Clock:
    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now


def grant(place: RequestPlace, request_id: str = "ar-1", duration_s: int = 60) -> None:
    terms = Terms(((1, 1),), 7200, reason_required=False)
    request = asked(
        *(request_id, "alice", "local", "dba"),
        terms=terms, reason="", duration_s=duration_s, now=NOW,
    )  # fmt: skip
    store = place.store()
    store.add(request, lambda _: None, lambda _: None)
    yes = Verdict("bob", "local", True, "", NOW)
    store.change(request_id, lambda r: reviewed(r, yes), lambda _: None)


@pytest.fixture
def spec(url: str) -> RequestsSpec:
    return RequestsSpec(database_url=SecretStr(url))


def test_who_has_no_requests_pays_nothing(tmp_path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from awsgate.grantwatch import GrantWatch
from awsgate.requestplace import RequestPlace
from awsgate.policy.settings import RequestsSpec
import awsgate.wiring, awsgate.addon.reloading
place = RequestPlace(Path({str(tmp_path)!r}), RequestsSpec(), reads=True)
watch = GrantWatch(place, closes=True)
assert watch.fingerprint() is None and len(watch.load()) == 0
print([name for name in ('sqlalchemy', 'psycopg', 'sqlite3') if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (done.stdout, done.stderr) == ("[]\n", "")
    assert list(tmp_path.iterdir()) == []


def test_a_grant_is_seen_and_its_end_too(tmp_path: Path, spec: RequestsSpec) -> None:
    place, other, clock = RequestPlace(tmp_path, spec), RequestPlace(tmp_path, spec), Clock()
    watch = GrantWatch(place, closes=False, clock=clock)
    seen = [watch.fingerprint()]
    assert len(watch.load()) == 0
    grant(other)
    seen.append(watch.fingerprint())
    book = watch.load()
    seen.append(watch.fingerprint())
    clock.now += 60
    seen.append(watch.fingerprint())

    assert [book.roles("alice", "local", NOW + s) for s in (59, 60)] == [("dba",), ()]
    # So that whoever may not stay is cut, though nothing has changed in the database.
    assert all(before != after for before, after in pairwise(seen))
    assert watch.take_ended() == []
    place.forget(), other.forget()


def test_one_of_them_notes_the_end(tmp_path: Path, spec: RequestsSpec) -> None:
    clock, places = Clock(), [RequestPlace(tmp_path, spec) for _ in range(2)]
    watches = [GrantWatch(place, closes=True, clock=clock) for place in places]
    grant(places[0])
    for watch in watches:
        watch.load()
    clock.now += 60
    for _ in range(2):
        for watch in watches:
            watch.fingerprint()

    ended = [one for watch in watches for one in watch.take_ended()]
    assert [(one.id, one.state) for one in ended] == [("ar-1", State.ENDED)]
    assert [one for watch in watches for one in watch.take_ended()] == []
    for place in places:
        place.forget()


def test_without_its_file_what_was_granted_stays(tmp_path: Path) -> None:
    place = RequestPlace(tmp_path, RequestsSpec())
    watch = GrantWatch(place, closes=True)
    grant(place)
    place.refresh()
    held, file = place.book, tmp_path / "requests.db"
    moved = file.rename(tmp_path / "elsewhere")

    away = watch.fingerprint()
    assert away == watch.fingerprint() == "away"
    with pytest.raises(SetupError, match="is gone"):
        watch.load()
    place.refresh()
    assert place.book == held
    assert not file.exists()
    moved.rename(file)
    assert watch.fingerprint() not in (None, "away")
    assert watch.load() == held
    place.forget()


def test_a_server_that_is_away_is_told_once_and_delays_no_start(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    url = tmp_path / "url"
    url.write_text("postgresql://u:canary@127.0.0.1:1/x\n")
    spec = RequestsSpec(database_url=SecretStr(f"file://{url}"))
    place = RequestPlace(tmp_path, spec, reads=True)
    watch = GrantWatch(place, closes=True)

    assert len(place.book) == 0
    assert watch.fingerprint() == watch.fingerprint() == "away"
    with pytest.raises(SetupError, match="does not answer") as caught:
        watch.load()
    assert "canary" not in caught.value.render()
    assert "canary" not in repr(spec)


def test_what_was_taken_back_is_gone(tmp_path: Path, spec: RequestsSpec) -> None:
    place = RequestPlace(tmp_path, spec)
    grant(place)
    place.refresh()
    assert len(place.book) == 1
    place.store().change("ar-1", lambda r: revoked(r, by="x", now=NOW), lambda _: None)
    place.refresh()

    assert len(place.book) == 0
    place.forget()


def test_what_was_read_before_a_grant_was_taken_back_does_not_stay(
    tmp_path: Path, spec: RequestsSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, other = RequestPlace(tmp_path, spec), RequestPlace(tmp_path, spec)
    grant(other, duration_s=3600)
    read, readings = place.grants, list[int]()

    def interrupted() -> tuple[GrantBook, int]:
        found = read()
        readings.append(len(found[0]))
        if len(readings) == 1:  # it is taken back, and heard of, before this is taken
            other.store().change("ar-1", lambda r: revoked(r, by="bob", now=NOW), lambda _: None)
            place.book = read()[0]
        return found

    monkeypatch.setattr(place, "grants", interrupted)
    place.refresh()

    assert (readings, len(place.book)) == ([1, 0], 0)
    place.forget(), other.forget()


def test_who_waits_for_a_database_that_hangs_waits_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("awsgate.requestplace.SLOW_S", 0.05)
    tried: list[int] = []

    def hang(_: str) -> None:
        tried.append(1)
        time.sleep(0.1)
        raise SetupError("the database of access requests does not answer: timeout")

    monkeypatch.setattr("awsgate.requeststore.RequestStore", hang)
    place = RequestPlace(tmp_path, RequestsSpec(database_url=SecretStr("postgresql://nobody/x")))

    def ask(_: int) -> str:
        with pytest.raises(SetupError) as no:
            place.store()
        return no.value.message

    with ThreadPoolExecutor(8) as crowd:
        said = set(crowd.map(ask, range(8)))

    assert (len(tried), len(said)) == (1, 1)
    monkeypatch.setattr("awsgate.requestplace.time.monotonic", lambda: float(2**40))
    ask(0)
    assert len(tried) == 2, "after a rest it is asked again"
