"""What a provider says of somebody -> roles: the reference's patterns, and nothing opened."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from awsgate.policy import parse_policy
from awsgate.policy.connectors import ClaimToRoles, TeamToRoles
from awsgate.policy.rolemapping import (
    MAX_ROLES,
    TooMany,
    roles_by_claims,
    roles_by_teams,
    traits_named,
)
from awsgate.policy.valuepattern import _fit_glob

# id -> (rows, claims, roles)
CASES: dict[str, tuple[list[dict[str, object]], dict[str, tuple[str, ...]], tuple[str, ...]]] = {
    "the value": (
        [{"claim": "groups", "value": "admins", "roles": ["admin"]}],
        {"groups": ("users", "admins")},
        ("admin",),
    ),
    "no such value": (
        [{"claim": "groups", "value": "admins", "roles": ["admin"]}],
        {"groups": ("admins2", "Admins", "xadmins")},
        (),
    ),
    "no such claim": ([{"claim": "groups", "value": "*", "roles": ["admin"]}], {}, ()),
    "a glob": (
        [{"claim": "groups", "value": "team-*", "roles": ["reader"]}],
        {"groups": ("team-a",)},
        ("reader",),
    ),
    "what the glob stands for": (
        [{"claim": "groups", "value": "team-*", "roles": ["of-$1", "reader"]}],
        {"groups": ("team-a", "team-b")},
        ("of-a", "reader", "of-b"),
    ),
    "a group of a regular expression": (
        [{"claim": "groups", "value": "^(?P<who>[a-z]+)-(dev|ops)$", "roles": ["${2}-${who}"]}],
        {"groups": ("acme-ops", "acme-boss")},
        ("ops-acme",),
    ),
    "each branch must fit all of it": (
        [{"claim": "groups", "value": "^admin|root$", "roles": ["admin"]}],
        {"groups": ("admin-wannabe", "not-root")},
        (),
    ),
    "a line break at the end": (
        [{"claim": "groups", "value": "^admin$", "roles": ["admin"]}],
        {"groups": ("admin\n",)},
        (),
    ),
    "a glob sent by the provider is no pattern": (
        [{"claim": "groups", "value": "admins", "roles": ["admin"]}],
        {"groups": ("*", "^.*$")},
        (),
    ),
    "several claims": (
        [
            {
                "claims": {"repository": "acme/shop", "ref": "refs/heads/main"},
                "roles": ["deployer"],
            }
        ],
        {"repository": ("acme/shop",), "ref": ("refs/heads/main",)},
        ("deployer",),
    ),
    "several claims, one of them another": (
        [
            {
                "claims": {"repository": "acme/shop", "ref": "refs/heads/main"},
                "roles": ["deployer"],
            }
        ],
        {"repository": ("acme/shop",), "ref": ("refs/heads/feature",)},
        (),
    ),
    "each role once, in the order of the rows": (
        [
            {"claim": "a", "value": "1", "roles": ["x", "y"]},
            {"claim": "b", "value": "2", "roles": ["y", "z"]},
        ],
        {"b": ("2",), "a": ("1",)},
        ("x", "y", "z"),
    ),
    "a dollar": ([{"claim": "a", "value": "1", "roles": ["$$x"]}], {"a": ("1",)}, ("$x",)),
    "a group that is not there makes no role": (
        [{"claim": "a", "value": "1", "roles": ["$1"]}],
        {"a": ("1",)},
        (),
    ),
}


@pytest.mark.parametrize(("rows", "claims", "roles"), CASES.values(), ids=CASES)
def test_roles(
    rows: list[dict[str, object]], claims: dict[str, tuple[str, ...]], roles: tuple[str, ...]
) -> None:
    assert roles_by_claims([ClaimToRoles.model_validate(row) for row in rows], claims) == roles


@given(st.dictionaries(st.text(), st.lists(st.text(), max_size=5).map(tuple), max_size=5))
def test_no_claim_gives_a_role_that_no_row_names(claims: dict[str, tuple[str, ...]]) -> None:
    rows = [ClaimToRoles.model_validate({"claim": "g", "value": "x", "roles": ["r"]})]

    assert roles_by_claims(rows, claims) == (("r",) if "x" in claims.get("g", ()) else ())


def test_a_role_is_not_pushed_out_by_groups_of_ones_own() -> None:
    """The last one may be the one that denies."""
    rows = [
        ClaimToRoles(claim="g", value="team-*", roles=("$1",)),
        ClaimToRoles(claim="g", value="contractors", roles=("deny-prod",)),
    ]
    few, many = (tuple(f"team-{n}" for n in range(number)) for number in (MAX_ROLES - 1, MAX_ROLES))

    assert "deny-prod" in roles_by_claims(rows, {"g": (*few, "contractors")})
    with pytest.raises(TooMany, match="over 64 roles"):
        roles_by_claims(rows, {"g": (*many, "contractors")})


def test_what_would_have_to_be_tried_is_bounded() -> None:
    row = ClaimToRoles(claims={"a": "*", "b": "*"}, roles=("r",))
    claims = {"a": tuple(map(str, range(64))), "b": tuple(map(str, range(65)))}

    with pytest.raises(TooMany, match="'a', 'b'"):
        roles_by_claims([row], claims)
    assert roles_by_claims([row], claims | {"b": claims["b"][1:]}) == ("r",)


def test_teams_of_github_know_no_case() -> None:
    rows = [
        TeamToRoles(organization="Acme", team="ops", roles=("admin",)),
        TeamToRoles(organization="acme", team="dev", roles=("reader",)),
        TeamToRoles(organization="other", team="ops", roles=("root",)),
    ]

    assert roles_by_teams(rows, [("acme", "OPS"), ("acme", "dev")]) == ("admin", "reader")


def test_the_traits_that_roles_ask_for() -> None:
    arn = "arn:aws:iam::123456789012:role/{{external.team}}"
    allow = {
        "app_labels": {"env": '{{internal["stage"]}}'},
        "aws_role_arns": [arn],
        "aws_resources": ["arn:aws:s3:::x-{{email.local(external.mail)}}/*"],
    }
    role = {"kind": "role", "version": "v5", "metadata": {"name": "r"}, "spec": {"allow": allow}}

    assert traits_named(parse_policy([("role", role)])) == {"team", "stage", "mail"}


@given(st.text("ab*", max_size=8), st.text("ab\n", max_size=12))
@example("a*a", "a")
@example("**", "")
@example("ab*ba", "aba")
def test_a_glob_finds_what_a_regular_expression_finds(pattern: str, value: str) -> None:
    expression = "(.*)".join(map(re.escape, pattern.split("*")))
    match = re.compile(expression, re.DOTALL).fullmatch(value)

    found = _fit_glob(tuple(pattern.split("*")), value)

    assert (found is not None) == (match is not None)
    if found is not None and match is not None:
        assert found.groups == (match[0], *match.groups())
        assert found.some == bool(match.groups())


def test_whoever_chooses_a_value_does_not_choose_how_long_it_takes() -> None:
    """The issuers of CI give tokens to anybody, with branches of any name in them."""
    row = ClaimToRoles(claim="ref", value="*-*-*-*-*-x", roles=("r",))

    began = time.process_time()
    assert roles_by_claims([row], {"ref": ("-" * 1024,)}) == ()
    assert time.process_time() - began < 1
