"""Roles that may be asked for: which, on what terms, and who answers."""

from __future__ import annotations

from typing import Any

import pytest

from awsgate.errors import SetupError
from awsgate.policy import parse_policy
from awsgate.policy.requests import (
    DEFAULT_DURATION_S,
    MAX_DURATION_S,
    Terms,
    may_review,
    outcome,
    terms_for,
)
from awsgate.policy.rules import RoleSpec


def rules(*specs: dict[str, Any]) -> list[RoleSpec]:
    return [RoleSpec.model_validate(spec) for spec in specs]


def asks(**request: Any) -> dict[str, Any]:
    return {"allow": {"request": request}}


def test_a_role_that_no_rule_names_cannot_be_asked_for() -> None:
    assert terms_for(rules(asks(roles=["dba"]), {}), "root") is None
    assert terms_for([], "root") is None


@pytest.mark.parametrize(
    ("pattern", "role", "fits"),
    [
        ("dba", "dba", True),
        ("dba", "dba2", False),
        ("prod-*", "prod-dba", True),
        ("prod-*", "preprod-dba", False),
        ("^(dba|ops)$", "ops", True),
        ("^dba|ops$", "dba-root", False),
    ],
)
def test_roles_are_named_or_meant_by_a_pattern(pattern: str, role: str, fits: bool) -> None:
    assert (terms_for(rules(asks(roles=[pattern])), role) is not None) is fits


def test_a_deny_of_any_role_wins() -> None:
    denying = {"deny": {"request": {"roles": ["dba"]}}}

    assert terms_for(rules(asks(roles=["*"]), denying), "dba") is None
    assert terms_for(rules(asks(roles=["*"]), denying), "ops") is not None


def test_the_terms_of_one_rule_and_of_several() -> None:
    one = asks(roles=["dba"])
    two = asks(
        roles=["dba"],
        thresholds=[{"approve": 2, "deny": 1}, {"approve": 1, "deny": 3}],
        max_duration="1h",
        reason={"mode": "required", "prompt": "ticket?"},
        suggested_reviewers=["carol"],
    )
    long = asks(roles=["dba"], max_duration="999h")

    assert terms_for(rules(one), "dba") == Terms(((1, 1),), DEFAULT_DURATION_S, False)
    assert terms_for(rules(one, two), "dba") == Terms(
        ((1, 1), (2, 1), (1, 3)), 3600, True, "ticket?", ("carol",)
    )
    assert terms_for(rules(long), "dba") == Terms(((1, 1),), MAX_DURATION_S, False)


def test_who_may_answer() -> None:
    allowing = {"allow": {"review_requests": {"roles": ["dba", "prod-*"]}}}
    denying = {"deny": {"review_requests": {"roles": ["prod-root"]}}}

    assert may_review(rules(allowing), "dba")
    assert may_review(rules(allowing, denying), "prod-dba")
    assert not may_review(rules(allowing, denying), "prod-root")
    assert not may_review(rules(allowing), "ops")
    assert not may_review([], "dba")


TWO = Terms(((2, 1),), 3600, False)
EITHER = Terms(((3, 2), (1, 9)), 3600, False)


@pytest.mark.parametrize(
    ("terms", "verdicts", "expected"),
    [
        (TWO, {}, None),
        (TWO, {"a": True}, None),
        (TWO, {"a": True, "b": True}, True),
        (TWO, {"a": True, "b": False}, False),
        (EITHER, {"a": True}, True),
        (EITHER, {"a": False}, None),
        (EITHER, {"a": False, "b": False, "c": True}, False),
    ],
)
def test_what_verdicts_come_to(
    terms: Terms, verdicts: dict[str, bool], expected: bool | None
) -> None:
    assert outcome(terms.thresholds, verdicts) is expected


def test_the_references_document_loads_and_its_faults_are_said() -> None:
    def role(request: dict[str, Any]) -> tuple[str, object]:
        spec = {"allow": {"request": request}}
        return "r", {"kind": "role", "version": "v7", "metadata": {"name": "r"}, "spec": spec}

    parse_policy([role({"roles": ["dba"], "thresholds": [{"approve": 1, "deny": 1}]})])
    with pytest.raises(SetupError) as caught:
        parse_policy([role({"roles": ["^("], "thresholds": [{"approve": 0}], "max_duration": 5})])
    assert len(caught.value.faults) == 2  # ^( has no $, so it is a name
    with pytest.raises(SetupError) as caught:
        parse_policy([role({"roles": [r"^dba\$"]})])
    assert "is not a regular expression" in caught.value.faults[0]
