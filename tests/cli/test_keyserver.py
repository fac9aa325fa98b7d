"""The endpoint's credentials: renewed at half of their life, and the policy's no in between."""

from __future__ import annotations

from dataclasses import replace

from awsgate.cli.issuing import Issued
from awsgate.cli.keyserver import KeySource
from awsgate.cli.no import No
from awsgate.errors import SetupError
from awsgate.variables import Keys

NOW = 1_800_000_000


def issued(number: int, ends: int) -> Issued:
    keys = Keys(f"GATE{number}", f"secret{number}", f"token{number}", ends)
    return Issued("alice", "test", "arn:aws:iam::1:role/R", keys, 3600, "127.0.0.1:8080", "", "")


class Policy:
    """Gives the next credentials, or says no, or cannot be read."""

    def __init__(self) -> None:
        self.now = NOW
        self.failure: Exception | None = None
        self.asked = 0

    def renew(self, old: Issued) -> Issued:
        if self.failure is not None:
            raise self.failure
        self.asked += 1
        return replace(issued(self.asked, self.now + 3600), user=old.user)

    def source(self) -> KeySource:
        return KeySource(issued(0, NOW + 3600), self.renew, lambda: self.now)


def test_the_same_until_half_of_the_life_is_over_then_new_ones() -> None:
    policy = Policy()
    source = policy.source()

    seen = []
    for after in (0, 1799, 1800, 1801, 3599, 3600):
        policy.now = NOW + after
        seen.append(source.answer()[1]["AccessKeyId"])

    assert seen == ["GATE0", "GATE0", "GATE1", "GATE1", "GATE1", "GATE2"]


def test_a_no_of_the_policy_is_given_as_sdks_show_it() -> None:
    policy = Policy()
    source = policy.source()
    policy.now, policy.failure = NOW + 1800, No("alice may not have R in test: a deny rule matches")

    status, body = source.answer()

    assert status == 403
    assert body == {
        "code": "AccessDenied",
        "message": "awsgate: alice may not have R in test: a deny rule matches",
    }


def test_a_policy_that_cannot_be_read_costs_nothing_while_the_keys_live() -> None:
    policy = Policy()
    source = policy.source()
    policy.failure = SetupError("2 faults in policy")

    policy.now = NOW + 3599
    alive = source.answer()
    policy.now = NOW + 3600
    ended = source.answer()
    policy.failure = None
    mended = source.answer()

    assert (alive[0], alive[1]["AccessKeyId"]) == (200, "GATE0")
    assert ended == (500, {"code": "InternalServerError", "message": "awsgate: 2 faults in policy"})
    assert (mended[0], mended[1]["AccessKeyId"]) == (200, "GATE1")
