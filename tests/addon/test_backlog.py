"""Lines that wait: those of forwarded requests stay, whoever is refused meanwhile."""

from __future__ import annotations

from awsgate.addon.backlog import DROPPED, MAX_REFUSALS, Backlog
from awsgate.audit import AuditRecord


def line(number: int, decision: str) -> AuditRecord:
    return AuditRecord(id=str(number), decision=decision, time=f"t{number}")


def written(backlog: Backlog) -> list[AuditRecord]:
    found = []
    while (record := backlog.first()) is not None:
        found.append(record)
        backlog.pop()
    return found


def test_refusals_never_push_out_what_was_forwarded() -> None:
    backlog = Backlog()
    backlog.add(line(0, "allowed"))
    for number in range(1, MAX_REFUSALS + 51):
        backlog.add(line(number, "refused"))
    backlog.add(line(9999, "allowed"))

    found = written(backlog)

    assert [r.id for r in found if r.decision == "allowed"] == ["0", "9999"]
    assert len(found) == MAX_REFUSALS + 3
    assert (found[-1].event, found[-1].reason.split()[0]) == (DROPPED, "50")
    assert f"from t{MAX_REFUSALS + 1} to t{MAX_REFUSALS + 50}" in found[-1].reason
    assert not backlog


def test_after_it_was_written_there_is_room_again() -> None:
    backlog = Backlog()
    for turn in range(2):
        for number in range(MAX_REFUSALS):
            backlog.add(line(number, "refused"))
        assert len(written(backlog)) == MAX_REFUSALS, turn


def test_an_heir_writes_the_older_lines_first() -> None:
    old, new = Backlog(), Backlog()
    for number in range(MAX_REFUSALS + 1):
        old.add(line(number, "refused"))
    new.add(line(7000, "allowed"))

    new.take_over(old)

    found = written(new)
    assert [r.id for r in (found[0], found[1], found[-2])] == ["0", "1", "7000"]
    assert found[-1].event == DROPPED
