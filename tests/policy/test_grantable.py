"""All that a user may ask for, found at once, is what deciding each pair by itself gives."""

from __future__ import annotations

import time
from itertools import product
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from awsgate.policy import Policy, decide, grantable_roles, parse_policy
from awsgate.policy.globs import parts_match, plain_start
from awsgate.policy.grantable import Grantable
from awsgate.policy.meant import short_roles
from awsgate.policy.standing import roles_of, standing_of
from awsgate.policy.templates import expand

HERE, THERE = "123456789012", "210987654321"
ARNS = [f"arn:{p}:iam::{a}:role/{n}" for p in ("aws", "aws-cn") for a in (HERE, THERE)
        for n in ("Read", "Dev", "x/Dev")]  # fmt: skip
PATTERNS = [
    *ARNS, f"arn:aws:iam::{HERE}:role/*", f"arn:aws:iam::{HERE}:role/D*", f"arn:aws:iam::{HERE}:*",
    "arn:*:iam::*:role/Read", "arn:aws*:iam::21098765432?:role/?ev",
    f"arn:aws:iam::{HERE}:role/x*/Dev",
    "{{internal.arns}}", "arn:aws:iam::{{external.account}}:role/Dev",
    f"arn:aws:iam::{HERE}:role/{{{{internal.role}}}}", "arn:aws:iam::*:role/{{internal.role}}",
]  # fmt: skip
LABELS: list[dict[str, Any]] = [
    {}, {"*": "*"}, {"env": "test"}, {"env": ["test", "prod"]}, {"env": "{{internal.env}}"},
    {"env": "{{regexp.not_match(\"^p\")}}"}, {"env": "t*"}, {"team": "a"}, {"env": "^p|x$"},
    {"env": "prod", "aws_account_id": HERE},
]  # fmt: skip
TRAITS: list[dict[str, list[str]]] = [
    {},
    {"env": ["test"], "account": [HERE], "role": ["Read", "*", "x/Dev"]},
    {"arns": [*ARNS[:4], "*", "Read", "arn:aws:iam::*:role/Dev"], "account": [HERE, "*"]},
]
URIS = ["https://console.aws.amazon.com/", "https://console.amazonaws.cn/",
        "https://s3.amazonaws.com/", "https://eu-west-1.quicksight.aws.amazon.com/"]  # fmt: skip
CONDITIONS: list[dict[str, Any]] = [
    {}, {"aws_actions": ["s3:*"]}, {"aws_regions": ["eu-*"]}, {"source_networks": ["10.0.0.0/8"]},
]  # fmt: skip


def scopes(conditions: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(
        lambda labels, arns, more: {"app_labels": labels, "aws_role_arns": arns, **more},
        st.sampled_from(LABELS),
        st.lists(st.sampled_from(PATTERNS), max_size=4, unique=True),
        conditions,
    )


SOME = st.sampled_from(CONDITIONS)
DENY = st.one_of(st.just({}), st.just({}), scopes(st.just({})), scopes(SOME), SOME)
SPECS = st.builds(lambda allow, deny: {"allow": allow, "deny": deny}, scopes(SOME), DENY)
APPS = st.tuples(
    st.sampled_from(URIS),
    st.fixed_dictionaries(
        {},
        optional={
            "env": st.sampled_from(["test", "prod"]),
            "team": st.sampled_from(["a", "b"]),
            "aws_account_id": st.sampled_from([HERE, THERE]),
        },
    ),
)


def document(kind: str, name: str, spec: dict[str, Any], labels: Any = ()) -> dict[str, Any]:
    version = {"role": "v5", "user": "v2", "app": "v3"}[kind]
    metadata = {"name": name, **({"labels": labels} if labels else {})}
    return {"kind": kind, "version": version, "metadata": metadata, "spec": spec}


def policy_of(*documents: dict[str, Any]) -> Policy:
    return parse_policy([(str(number), one) for number, one in enumerate(documents)])


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    specs = draw(st.lists(SPECS, min_size=1, max_size=5))
    names = [f"r{number}" for number in range(len(specs))]
    apps = draw(st.lists(APPS, min_size=1, max_size=5))
    # Of several, some have no role of the policy, and one may stand there twice.
    mine = draw(st.lists(st.sampled_from(names), min_size=1, max_size=6))
    return policy_of(
        *(document("role", name, spec) for name, spec in zip(names, specs, strict=True)),
        *(document("app", f"a{n}", {"uri": uri}, labels) for n, (uri, labels) in enumerate(apps)),
        document("user", "u", {"roles": mine, "traits": draw(st.sampled_from(TRAITS))}),
        document("user", "other", {"roles": names}),
    )


def by_pairs(policy: Policy, user: str) -> list[tuple[str, str]]:
    """Give the list in the plain way: every app with every ARN that a role names."""
    who = policy.users[user]
    arns = {
        arn
        for role in roles_of(policy, who)
        for listed in role.spec.allow.aws_role_arns
        for arn in expand(listed, who.spec.traits)
    }
    return sorted(
        (app, arn)
        for app, arn in product(policy.apps, arns)
        if decide(
            policy,
            user=user,
            app=app,
            role_arn=arn,
            endpoint_service="",
            tenant_controlled=False,
        ).allowed
    )


@settings(max_examples=400)
@given(policies())
def test_the_list_is_what_deciding_each_pair_gives(policy: Policy) -> None:
    expected = by_pairs(policy, "u")
    found = Grantable(policy, "u")

    assert list(found.pairs()) == grantable_roles(policy, "u") == expected
    assert found.count() == len(expected)
    for app in [*policy.apps, "nowhere"]:
        there = [pair for pair in expected if pair[0] == app]
        assert list(found.pairs(app)) == grantable_roles(policy, "u", app) == there
        assert found.count(app) == len(there)


@settings(max_examples=400)
@given(policies())
def test_each_standing_is_the_one_that_is_found_by_itself(policy: Policy) -> None:
    found = Grantable(policy, "u")

    for who, app, arn in product(
        ("u", "other", "nobody"),
        [*policy.apps, "nowhere"],
        [*ARNS, f"arn:aws:iam::{HERE}:role/x*/Dev", "x"],
    ):
        assert found.of(who, app, arn) == standing_of(policy, who, app, arn), (who, app, arn)


@given(
    st.lists(st.tuples(st.text("ab*?", max_size=3), st.booleans()), max_size=3).map(tuple),
    st.text("ab*?", max_size=6),
)
def test_what_matches_a_pattern_begins_as_it_does(
    parts: tuple[tuple[str, bool], ...], text: str
) -> None:
    start, is_whole = plain_start(parts)

    if parts_match(parts, text):
        assert text.startswith(start)
    if is_whole:
        assert parts_match(parts, text) == (text == start)


@given(st.lists(st.sampled_from(ARNS)))
def test_the_short_names_of_many_are_those_of_each(arns: list[str]) -> None:
    short = short_roles(arns)

    assert set(short) == set(arns)
    for arn in arns:
        twins = {other for other in arns if other.rpartition("/")[2] == arn.rpartition("/")[2]}
        assert short[arn] == (arn if len(twins) > 1 else arn.rpartition("/")[2])


def test_the_list_of_many_apps_roles_and_accounts_takes_no_time_to_speak_of() -> None:
    """Ten million pairs, that no account keeps apart: decided one by one, that is an hour."""
    arns = [[f"arn:aws:iam::{n:012d}:role/x{i}" for i in range(50)] for n in range(200)]
    policy = policy_of(
        *(
            document("role", f"r{n}", {"allow": {"app_labels": {"*": "*"}, "aws_role_arns": some}})
            for n, some in enumerate(arns)
        ),
        *(document("app", f"a{n}", {"uri": URIS[0]}) for n in range(1000)),
        document("user", "u", {"roles": [f"r{n}" for n in range(200)]}),
    )
    began = time.process_time()
    found = Grantable(policy, "u")

    assert found.count() == 1000 * 200 * 50
    assert next(found.pairs()) == ("a0", arns[0][0])
    assert found.size < 50_000
    assert time.process_time() - began < 5
