"""Learn mode: what a policy is made of, what is left out, and that it is said."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
import yaml

from awsgate.learn import aws_grants, difference, gateway_grants, iam_policy, role_documents
from awsgate.learn.grants import Arn
from awsgate.learn.patterns import for_iam, for_terraform
from lessons import (
    ACTIONS,
    BASE,
    FURTHER,
    PLAIN,
    REGIONS,
    ROLE,
    applied,
    base_policy,
    lesson_of,
    line,
    lines_of,
    passes,
    policy_of,
)

# --- what a rule is made of -------------------------------------------------------------------


def test_actions_with_the_same_resources_share_a_document() -> None:
    table = "arn:aws:dynamodb:us-east-1:123456789012:table/notes"
    lines = [line(f"dynamodb:{name}", table) for name in ("GetItem", "PutItem", "Query")]
    lines.append(line("dynamodb:ListTables"))

    text, notes = role_documents(lesson_of(lines), gateway_grants(lesson_of(lines)), base_policy())

    first, second = yaml.safe_load_all(text)
    assert first["metadata"]["name"] == "learned-alice-dynamodb"
    assert first["spec"]["allow"] == {
        "app_labels": {"aws_account_id": ["123456789012"], "tier": ["^a\\*b$"]},
        "aws_role_arns": [ROLE],
        "aws_actions": ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query"],
        "aws_resources": [table],
        "aws_regions": ["us-east-1"],
    }
    assert "aws_resources" not in second["spec"]["allow"]
    assert notes == ["on any resource, since none is known: dynamodb:ListTables"]


def test_it_holds_in_the_app_and_the_role_where_it_was_done() -> None:
    policy, _ = applied(lesson_of([line("s3:GetObject", PLAIN[0])]))

    assert passes(policy, "s3:GetObject", PLAIN[0])
    assert not passes(policy, "s3:GetObject", PLAIN[0], app="other"), "a label is no pattern"
    assert not passes(policy, "s3:GetObject", PLAIN[0], role=FURTHER)


def test_an_endpoint_that_anybody_can_own_is_named() -> None:
    arn = "arn:aws:execute-api:us-east-1:123456789012:abcde12345/prod/GET/x"
    host = "abcde12345.execute-api.us-east-1.amazonaws.com"
    policy, _ = applied(lesson_of([line("execute-api:Invoke", arn, host=host)]))

    assert passes(policy, "execute-api:Invoke", arn, tenant="execute-api")


def test_the_account_of_an_api_is_not_known_and_stays_open() -> None:
    arn = "arn:aws:execute-api:us-east-1:*:abcde12345/prod/GET/*"
    rule = "arn:aws:execute-api:us-east-1:*:abcde12345/prod/GET/?"
    host = "abcde12345.execute-api.us-east-1.amazonaws.com"
    lesson = lesson_of([line("execute-api:Invoke", arn, host=host)])
    policy, _ = applied(lesson)

    assert [role.spec.allow.aws_resources for role in policy.roles.values()].count((rule,)) == 1
    assert passes(policy, "execute-api:Invoke", arn, tenant="execute-api")
    other = arn.replace("abcde12345", "abcde12346")
    assert not passes(policy, "execute-api:Invoke", other, tenant="execute-api")
    assert for_iam(Arn(arn)) == (f"{rule[:-1]}${{*}}", True)
    assert for_terraform(Arn(arn)) == (f"{rule[:-1]}&{{*}}", True)


def test_a_call_needs_every_level_of_its_actions() -> None:
    lines = [line("s3:PutObject s3:PutObjectTagging", PLAIN[0], access_level="Write"),
             line("eks:AccessKubernetesApi", access_level="Write")]  # fmt: skip
    wide = f"aws_role_arns: ['{ROLE}']"

    def refused(levels: str) -> list[str]:
        policy = policy_of(BASE.replace(wide, f"{wide}, aws_access_levels: {levels}"))
        return [each.use.actions[0] for each in difference(policy, lesson_of(lines)).not_granted]

    assert refused("[Write, Tagging, Read]") == []
    assert refused("[Write]") == ["s3:PutObject"]
    assert refused("[Read, Tagging]") == ["eks:AccessKubernetesApi", "s3:PutObject"]


def test_of_a_role_that_the_client_assumed_the_policy_gives_the_first() -> None:
    lesson = lesson_of([line("s3:GetObject", PLAIN[0], role_arn=FURTHER)])

    policy, _ = applied(lesson)

    assert passes(policy, "s3:GetObject", PLAIN[0])
    assert [grant.scope.role_arn for grant in aws_grants(lesson)] == [FURTHER]


@pytest.mark.parametrize(
    ("region", "asked"), [("*", "*"), ("us-*", "us-*"), ("us-east-1,eu-west-1", "eu-west-1")]
)
def test_a_signature_for_several_regions(region: str, asked: str) -> None:
    lesson = lesson_of([line("s3:GetObject", PLAIN[0], region=region)])
    policy, _ = applied(lesson)

    assert passes(policy, "s3:GetObject", PLAIN[0], region=asked)
    assert ("Condition" in iam_policy(aws_grants(lesson))[0]) == ("*" not in region)


def test_a_region_that_is_not_known_is_said() -> None:
    lesson = lesson_of([line("s3:GetObject", PLAIN[0], region="", host="s3.amazonaws.com")])
    _, notes = applied(lesson)

    assert notes == ["in any region, since none is known: s3:GetObject"]
    assert iam_policy(aws_grants(lesson))[1] == notes


def test_an_app_without_labels_is_said() -> None:
    lesson = lesson_of([line("s3:GetObject", PLAIN[0], app="gone")])
    text, notes = role_documents(lesson, gateway_grants(lesson), base_policy())

    assert next(yaml.safe_load_all(text))["spec"]["allow"]["app_labels"] == {"*": ["*"]}
    assert notes == ["in any app, since app 'gone' is not in the policy"]


def test_an_arn_that_no_pattern_can_say_is_left_out_and_said() -> None:
    odd = "arn:aws:s3:US:x:b/y"
    lesson = lesson_of([line("s3:GetObject", odd), line("s3:PutObject", odd, PLAIN[0])])

    policy, notes = applied(lesson)

    assert notes == [
        f"not in the policy, since no pattern can say it: {names} on {odd!r}"
        for names in ("s3:GetObject", "s3:PutObject")
    ]
    assert not passes(policy, "s3:GetObject", PLAIN[0]), "not widened to any resource"
    assert passes(policy, "s3:PutObject", PLAIN[0])


# --- compact ----------------------------------------------------------------------------------


def keys(*names: str) -> list[dict[str, Any]]:
    return [line("s3:GetObject", f"arn:aws:s3:::b/{name}") for name in names]


COMPACTED = {
    "two keys of a folder stay": (("d/1", "d/2"), ("d/1", "d/2")),
    "three become the folder": (("d/1", "d/2", "d/3", "e/1"), ("d/*", "e/1")),
    "never a whole bucket": (("1", "2", "3", "4"), ("1", "2", "3", "4")),
    "not the folder above": (("a/1/x", "a/2/x", "a/3/x"), ("a/1/x", "a/2/x", "a/3/x")),
    "what is below is in it": (("d/1", "d/2", "d/3", "d/e/1", "d/e/2", "d/e/3"), ("d/*",)),
    "a name that begins alike is not": (("d/1", "d/2", "d/3", "dd/1"), ("d/*", "dd/1")),
}


@pytest.mark.parametrize(("made", "expected"), COMPACTED.values(), ids=COMPACTED)
def test_compact(made: tuple[str, ...], expected: tuple[str, ...]) -> None:
    lesson = lesson_of(keys(*made))
    text, _ = role_documents(lesson, gateway_grants(lesson, compact=True), base_policy())
    document = json.loads(iam_policy(aws_grants(lesson, compact=True))[0])

    wanted = [f"arn:aws:s3:::b/{name}" for name in expected]
    (found,) = yaml.safe_load_all(text)
    assert found["spec"]["allow"]["aws_resources"] == wanted
    assert document["Statement"][0]["Resource"] == wanted


def test_compact_leaves_all_but_s3_as_it_is() -> None:
    arns = [f"arn:aws:ssm:us-east-1:123456789012:parameter/app/{n}" for n in range(5)]
    lesson = lesson_of([line("ssm:GetParameter", arn) for arn in arns])

    assert gateway_grants(lesson, compact=True) == gateway_grants(lesson)


# --- what is left out -------------------------------------------------------------------------


def test_only_lines_that_were_allowed_to_this_user_count() -> None:
    lines = [
        line("s3:GetObject", PLAIN[0]),
        line("s3:PutObject", PLAIN[0], decision="refused"),
        line("s3:DeleteObject", PLAIN[0], user="bob"),
        line("s3:ListBucket", event="tunnel.open"),
        {"event": 7, "user": ["alice"], "decision": None},
    ]

    assert [use.actions for use in lesson_of(lines).uses] == [("s3:GetObject",)]


@pytest.mark.parametrize(
    "wanted",
    [
        {"session": "s2"},
        {"app": "other"},
        {"role": FURTHER},
        {"role": "Further"},
        {"since": "2026-11-27T11:00:00.000Z"},
    ],
)
def test_what_is_asked_for_narrows_it(wanted: dict[str, str]) -> None:
    lines = [
        line("s3:GetObject", PLAIN[0]),
        line("s3:PutObject", PLAIN[0], session="s2", app="other", role_arn=FURTHER,
             time="2026-11-27T12:00:00.000Z"),
    ]  # fmt: skip

    assert [use.actions for use in lesson_of(lines, **wanted).uses] == [("s3:PutObject",)]


def test_calls_of_unknown_action_and_those_that_aws_refused_are_counted() -> None:
    unknown = {"access_level": "", "method": "POST", "host": "glue.us-east-1.amazonaws.com"}
    lines = [
        line("glue:Frobnicate", **unknown),
        line("", service="glue", **unknown),
        line("s3:GetObject", PLAIN[0], status=403),
        line("s3:GetObject", PLAIN[1], status=403),
    ]

    lesson = lesson_of(lines)

    assert lesson.uses == {}
    assert dict(lesson.unknown) == {
        "glue:Frobnicate (POST glue.us-east-1.amazonaws.com/)": 1,
        "glue (POST glue.us-east-1.amazonaws.com/)": 1,
    }
    assert dict(lesson.refused_by_aws) == {"s3:GetObject": 2}


def test_of_a_list_that_was_too_long_to_record_those_that_are_there_are_taken() -> None:
    many = [f"arn:aws:s3:::b/{'x' * 100}{n}" for n in range(60)]

    lesson = lesson_of([line("s3:DeleteObject", *many)])
    policy, _ = applied(lesson.of_known_resources())

    assert dict(lesson.cut_short) == {"s3:DeleteObject": 1}
    (use,) = lesson.uses
    assert 0 < len(use.resources) < 60
    assert passes(policy, "s3:DeleteObject", many[0])
    assert not passes(policy, "s3:DeleteObject", many[-1])


def test_a_call_that_was_broken_off_is_none() -> None:
    lesson = lesson_of([line("s3:GetObject", PLAIN[0], status=0)])

    assert lesson.uses == {}
    assert dict(lesson.broken_off) == {"s3:GetObject": 1}


CRAFTED = {
    "no resource": line("s3:PutObject"),
    "too many for the line": line("s3:PutObject", *[f"{PLAIN[0]}{n:0500d}" for n in range(9)]),
    "in any region": line("s3:PutObject", PLAIN[0], region="*"),
    "in a glob of regions": line("s3:PutObject", PLAIN[0], region="us-?ast-1,eu-west-1"),
}


@pytest.mark.parametrize("crafted", CRAFTED.values(), ids=CRAFTED)
@pytest.mark.parametrize("style", ["awsgate", "iam"])
def test_one_crafted_call_does_not_widen_what_others_have_shown(
    crafted: dict[str, Any], style: str
) -> None:
    good = [line("s3:PutObject", arn) for arn in PLAIN[:2]]
    lesson = lesson_of([*good, crafted]).of_known_resources()
    grants = gateway_grants(lesson) if style == "awsgate" else aws_grants(lesson)

    known = tuple(Arn(arn) for arn in PLAIN[:2])
    assert [grant for grant in grants if set(grant.resources) >= set(known)]
    for grant in grants:
        assert grant.resources
        # In all regions for what was written to so, and nothing else.
        assert grant.regions == ("us-east-1",) or grant.resources == (Arn(PLAIN[0]),)


def test_calls_of_unknown_resource_are_left_out_unless_they_never_have_one() -> None:
    lines = [line("s3:GetObject", PLAIN[0]), line("s3:GetObject"), line("s3:ListAllMyBuckets")]

    whole = lesson_of(lines)
    kept = whole.of_known_resources()

    assert dict(kept.no_resource) == {"s3:GetObject": 1}
    assert (whole.calls, kept.calls) == (3, 2)
    narrow, _ = applied(kept)
    assert passes(narrow, "s3:ListAllMyBuckets")
    assert not passes(narrow, "s3:GetObject", PLAIN[1])
    wide, notes = applied(whole)
    assert passes(wide, "s3:GetObject", PLAIN[1])
    assert notes == ["on any resource, since none is known: s3:GetObject, s3:ListAllMyBuckets"]
    # What is known stays a rule of its own, to be kept when the other is struck out.
    assert (Arn(PLAIN[0]),) in [grant.resources for grant in gateway_grants(whole)]


# --- the difference ---------------------------------------------------------------------------

RULES = """kind: role
version: v7
metadata: {name: wide}
spec:
  allow:
    app_labels: {'*': '*'}
    aws_role_arns: ['ROLE']
    aws_actions: ['s3:GetObject', 's3:PutObject', 'dynamodb:*']
    aws_resources: ['arn:aws:s3:::b/*', 'arn:aws:s3:::c/*']
    aws_regions: ['us-*', 'eu-west-1']
---
kind: role
version: v7
metadata: {name: idle}
spec: {allow: {app_labels: {tier: gone}, aws_role_arns: ['ROLE']}}
---
""".replace("ROLE", ROLE)


def test_the_difference_goes_both_ways() -> None:
    app, _, rest = BASE.partition("---\nkind: role")
    user = rest.partition("---\n")[2].replace("[wide]", "[wide, idle]")
    policy = policy_of(f"{app}---\n{RULES}{user}")
    lines = [line("s3:GetObject", PLAIN[0]), line("s3:DeleteObject", PLAIN[0])]

    found = difference(policy, lesson_of(lines))

    assert [(each.use.actions, each.reason) for each in found.not_granted] == [
        (("s3:DeleteObject",), "no rule allows this call: aws_actions of role/wide")
    ]
    assert [(each.rule, each.field, each.value, each.what) for each in found.not_used] == [
        ("role/wide", "aws_actions", "s3:PutObject", "never used"),
        ("role/wide", "aws_actions", "dynamodb:*", "never used"),
        ("role/wide", "aws_resources", "arn:aws:s3:::c/*", "never used"),
        ("role/wide", "aws_regions", "eu-west-1", "never used"),
        ("role/idle", "", "", "never used"),
    ]


def test_a_rule_without_actions_grants_all_of_them() -> None:
    found = difference(base_policy(), lesson_of([line("s3:GetObject", PLAIN[0])]))

    assert found.not_granted == ()
    assert [each.what for each in found.not_used] == [
        "every action of every service is granted, 1 used"
    ]


def test_what_was_learned_and_applied_leaves_no_difference() -> None:
    lesson = lesson_of(lines_of(itertools.product(ACTIONS, PLAIN, REGIONS)))
    policy, _ = applied(lesson)

    assert difference(policy, lesson) == difference(policy, lesson)
    assert difference(policy, lesson).not_granted == ()
    assert difference(policy, lesson).not_used == ()
