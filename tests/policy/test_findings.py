"""A finding is its line, and its parts."""

from __future__ import annotations

import copy
import pickle

import pytest

from awsgate.policy.findings import Finding

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
    found = Finding.parse(line)

    assert found == line
    assert (found.place, found.path, found.what, found.todo) == (*parts, "")


def test_a_finding_stays_what_it_is() -> None:
    finding = Finding("place", "spec", "what", "todo")

    assert finding == "place: spec: what: todo"
    assert Finding.parse(finding) is finding
    for again in (copy.deepcopy(finding), pickle.loads(pickle.dumps(finding))):  # noqa: S301 - ours
        assert (again, again.path, again.todo) == (finding, "spec", "todo")
