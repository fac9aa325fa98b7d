"""A remark is its line, and its parts."""

from __future__ import annotations

import copy
import pickle

import pytest

from awsgate.policy.remark import Remark

LINES = {
    "p.yaml document 1: spec.a[0].b: is missing": (
        "p.yaml document 1",
        "spec.a[0].b",
        "is missing",
    ),
    "p.yaml document 1: kind: is: odd": ("p.yaml document 1", "kind", "is: odd"),
    "p.yaml document 1: user 'a' is there": ("p.yaml document 1", "", "user 'a' is there"),
    "p.yaml:3:5: key 'specs' is there twice": ("p.yaml:3:5", "", "key 'specs' is there twice"),
    "no place at all": ("", "", "no place at all"),
}


@pytest.mark.parametrize(("line", "parts"), LINES.items(), ids=LINES)
def test_a_line_is_taken_apart(line: str, parts: tuple[str, str, str]) -> None:
    found = Remark.parse(line)

    assert found == line
    assert (found.place, found.path, found.what, found.todo) == (*parts, "")


def test_a_finding_stays_what_it_is() -> None:
    remark = Remark("place", "spec", "what", "todo")

    assert remark == "place: spec: what: todo"
    assert Remark.parse(remark) is remark
    for again in (copy.deepcopy(remark), pickle.loads(pickle.dumps(remark))):  # noqa: S301 - ours
        assert (again, again.path, again.todo) == (remark, "spec", "todo")
