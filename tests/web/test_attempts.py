"""The buckets of attempts, and what waits: bounded in number and time."""

from __future__ import annotations

import pytest

from awsgate.connect.ways import LoginRefused
from awsgate.web import attempts
from awsgate.web.attempts import Attempts, LiveLogins
from awsgate.web.waiting import Full, Waiting
from web.served import Served


class Ticks:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def passed(bucket: Attempts, address: str, many: int = 100) -> int:
    return sum(1 for _ in range(many) if not bucket.wait_s(address))


SAME = {
    "IPv4": ("192.0.2.1", "192.0.2.1", True),
    "another IPv4": ("192.0.2.1", "192.0.2.2", False),
    "IPv4 in IPv6": ("192.0.2.1", "::ffff:192.0.2.1", True),
    "one network of 64 bits": ("2001:db8::1", "2001:db8::ffff:2", True),
    "two of them": ("2001:db8::1", "2001:db8:0:1::1", False),
    "with a zone": ("fe80::1%eth0", "fe80::1%eth0", True),
}


@pytest.mark.parametrize(("one", "other", "same"), SAME.values(), ids=SAME)
def test_each_address_has_a_bucket(one: str, other: str, same: bool) -> None:
    bucket = Attempts(per_minute=6, clock=Ticks())

    assert passed(bucket, one) == 6
    assert passed(bucket, other) == (0 if same else 6)


def test_it_fills_again_and_not_beyond_what_it_holds() -> None:
    ticks = Ticks()
    bucket = Attempts(per_minute=6, clock=ticks)
    passed(bucket, "192.0.2.1")

    assert bucket.wait_s("192.0.2.1") == pytest.approx(10.0)
    ticks.now += 10
    assert passed(bucket, "192.0.2.1") == 1
    ticks.now += 3600
    assert passed(bucket, "192.0.2.1") == 6


def test_this_machine_has_a_larger_one() -> None:
    bucket = Attempts(per_minute=6, clock=Ticks())

    assert passed(bucket, "127.0.0.1") == 60
    assert passed(bucket, "::1") == 0


def test_addresses_are_forgotten_before_they_fill_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(attempts, "MAX_ADDRESSES", 10)
    bucket = Attempts(per_minute=1, clock=Ticks())
    for number in range(100):
        bucket.wait_s(f"192.0.2.{number}")

    assert len(bucket._buckets) == 10


def test_what_waits_is_taken_once_and_not_after_its_time() -> None:
    ticks = Ticks()
    waiting: Waiting[str] = Waiting(life_s=60, most=3, clock=ticks)
    one, two, three = waiting.put("one"), waiting.put("two"), waiting.put("three", life_s=5)

    assert len({one, two, three}) == 3
    assert all(len(key) >= 43 for key in (one, two, three))
    assert (waiting.take(one), waiting.take(one)) == ("one", None)
    ticks.now = 6
    assert waiting.take(three) is None
    ticks.now = 60
    assert waiting.take(two) is None


def test_a_full_table_makes_room_for_nobody_but_by_time() -> None:
    ticks = Ticks()
    waiting: Waiting[int] = Waiting(life_s=60, most=2, clock=ticks)
    keys = [waiting.put(0), waiting.put(1)]

    with pytest.raises(Full):
        waiting.put(2)
    ticks.now = 60
    waiting.put(3)
    assert len(waiting) == 1
    assert [waiting.take(key) for key in keys] == [None, None]


def test_what_is_put_back_ends_when_it_would_have() -> None:
    ticks = Ticks()
    waiting: Waiting[str] = Waiting(life_s=60, most=2, clock=ticks)
    key = waiting.put("first")
    ticks.now = 50
    taken = waiting.take_with_end(key)
    assert taken == ("first", 60)
    waiting.put_back(key, "second", 60)
    waiting.amend(key, "third")
    waiting.amend("gone", "never")

    assert waiting.take(key) == "third"
    waiting.put_back(key, "fourth", 60)
    ticks.now = 60
    assert waiting.take(key) is None
    assert waiting.take("gone") is None


def test_whoever_has_many_networks_has_no_more_than_ten_of_them() -> None:
    bucket = Attempts(per_minute=6, clock=Ticks())

    of_one = [bucket.wait_s(f"2001:db8:1:{net:x}::1") for net in range(100)]

    assert of_one.count(0.0) == 60
    assert of_one[-1] == pytest.approx(1.0)
    assert bucket.wait_s("2001:db8:2::1") == 0.0


def test_one_user_has_a_bounded_number_of_logins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "MAX_LOGINS", 3)
    live = LiveLogins()

    begun = [live.begin("ann", "oidc/a", ends_at=end, now=1000) for end in (1600, 1100, 5000, 5000)]

    assert begun == [True, True, True, False]
    assert live.begin("bob", "oidc/a", ends_at=5000, now=1000), "others are not held by it"
    assert not live.begin("ann", "oidc/a", ends_at=5000, now=1099)
    assert live.begin("ann", "oidc/a", ends_at=5000, now=1100), "one has ended"
    assert not live.begin("ann", "oidc/a", ends_at=5000, now=1599)
    assert live.begin("ann", "oidc/a", ends_at=9000, now=5000)
    assert set(live._ends) == {("ann", "oidc/a")}, "who has none is forgotten"


def test_a_namesake_of_another_connector_uses_up_nobodys_logins(
    own: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two people, one name: each has as many logins as there may be."""
    monkeypatch.setattr(attempts, "MAX_LOGINS", 2)
    for connector in ("github/corp", "oidc/okta"):
        for _ in range(2):
            assert own.log_in("alice", connector)["user"] == "alice"

        with pytest.raises(LoginRefused) as caught:
            own.log_in("alice", connector)
        assert caught.value.reason == "too-many-logins"
