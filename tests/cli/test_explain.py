"""``awsgate explain``: what each rule says of a call, in words and for programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from awsgate.state import open_state
from commandline import POWER, READ_ONLY, Run

POLICY = f"""\
kind: role
version: v7
metadata: {{name: reader}}
spec:
  allow:
    app_labels: {{'*': '*'}}
    aws_role_arns: ['{READ_ONLY}']
    aws_access_levels: [Read, List]
    aws_regions: [eu-*]
---
kind: role
version: v7
metadata: {{name: no-deletes}}
spec:
  deny: {{aws_actions: ['*:Delete*']}}
---
kind: role
version: v7
metadata: {{name: power}}
spec:
  allow:
    app_labels: {{env: test}}
    aws_role_arns: ['{POWER}']
---
kind: app
version: v3
metadata: {{name: test, labels: {{aws_account_id: '123456789012', env: test}}}}
spec: {{uri: https://console.aws.amazon.com/}}
---
kind: app
version: v3
metadata: {{name: prod, labels: {{aws_account_id: '123456789012', env: prod}}}}
spec: {{uri: https://console.aws.amazon.com/}}
---
kind: user
version: v2
metadata: {{name: alice}}
spec: {{roles: [reader, no-deletes]}}
---
kind: user
version: v2
metadata: {{name: bob}}
spec: {{roles: [reader, no-deletes, power]}}
"""
AT = ("--at", "2026-11-27T12:00:00Z")
ALICE = ("explain", "--user", "alice", "--app", "test", "--role", "ReadOnly", *AT)


@pytest.fixture(autouse=True)
def policy(home: Path) -> Path:
    path = home / "policy.yaml"
    path.write_text(POLICY)
    return path


def test_a_denied_call_is_explained(run: Run) -> None:
    result = run(*ALICE, "--action", "s3:PutObject", "--region", "eu-west-1")

    assert (result.code, result.err) == (1, "")
    assert result.out == (
        "denied: no rule allows this call: aws_access_levels of role/reader\n"
        "  who       alice, in test\n"
        f"  as        {READ_ONLY}\n"
        "  call      s3:PutObject  [Write]\n"
        "  region    eu-west-1\n"
        "  at        2026-11-27T12:00:00Z\n"
        "rules, in the order in which they are asked:\n"
        "  deny   role/no-deletes  does not match: aws_actions\n"
        "  allow  role/reader      does not match: aws_access_levels\n"
        "nearest: role/reader (policy.yaml document 1) would allow it, but for\n"
        "  aws_access_levels: it is Write; the rule wants Read, List\n"
    )


def test_an_allowed_call_is_explained(run: Run) -> None:
    result = run(*ALICE, "--action", "s3:GetObject", "--region", "eu-west-1")

    assert result.code == 0
    assert result.out.startswith("allowed: an allow rule matches (role/reader)\n")
    assert "nearest" not in result.out


def test_what_is_not_given_is_asked_for(run: Run) -> None:
    result = run(*ALICE, "--action", "s3:GetObject")

    assert result.code == 1
    assert "aws_regions: it is not known (--region says it); the rule wants eu-*" in result.out


def test_a_deny_rule_is_named_and_the_rule_behind_it(run: Run) -> None:
    result = run(
        "explain", "--user", "bob", "--app", "test", "--role", "Power", "--action",
        "s3:DeleteObject",
    )  # fmt: skip

    assert result.code == 1
    assert result.out.startswith("denied: a deny rule matches this call: role/no-deletes\n")
    assert "nearest: role/power (policy.yaml document 3) would allow it\n" in result.out


def test_all_pairs_are_shown_and_the_best_in_full(run: Run) -> None:
    result = run("explain", "--user", "bob", "--action", "s3:PutObject", "--region", "eu-west-1")

    denied = "no rule allows this call: aws_access_levels of role/reader"
    assert result.code == 0
    assert result.out.startswith(
        "bob may have 3 pairs of app and role:\n"
        f"  denied   prod  {READ_ONLY}  {denied}\n"
        f"  allowed  test  {POWER}  role/power\n"
        f"  denied   test  {READ_ONLY}  {denied}\n"
        "\n"
        f"in test as {POWER}:\n"
        "allowed: an allow rule matches (role/power)\n"
    )


@pytest.mark.parametrize(
    ("named", "pairs"),
    [
        (("--app", "prod"), [("prod", READ_ONLY)]),
        (("--role", "Power"), [("test", POWER)]),
        (("--role", READ_ONLY), [("prod", READ_ONLY), ("test", READ_ONLY)]),
        (("--role", POWER, "--app", "prod"), [("prod", POWER)]),
        (("--role", "Nobody"), []),
    ],
)
def test_what_is_named_narrows_the_pairs(
    run: Run, named: tuple[str, ...], pairs: list[tuple[str, str]]
) -> None:
    result = run("explain", "--user", "bob", "--action", "s3:GetObject", "--json", *named)

    answers = json.loads(result.out)["answers"]
    assert [(answer["app"], answer["role_arn"]) for answer in answers] == pairs


def test_without_an_action_it_is_about_the_role(run: Run) -> None:
    result = run("explain", "--user", "bob", "--app", "prod", "--role", "Power")

    assert result.code == 1
    assert result.out.startswith("denied: no role of the user allows this role in this app\n")
    assert (
        "app_labels: it is aws_account_id: 123456789012, env: prod; the rule wants env: test"
        in (result.out)
    )


def test_an_operation_stands_for_its_actions(run: Run) -> None:
    result = run(*ALICE, "--action", "s3:CopyObject", "--region", "eu-west-1")

    assert result.err == (
        "awsgate: note: s3:CopyObject is an API operation; it needs s3:PutObject and s3:GetObject\n"
    )
    assert "  call      s3:PutObject, s3:GetObject  [Write, Read]\n" in result.out


def test_an_action_that_is_not_known_is_said_and_taken_as_a_write(run: Run) -> None:
    result = run(*ALICE, "--action", "s3:GetObjekt", "--region", "eu-west-1")

    assert result.code == 1
    assert "did you mean 's3:GetObject'; taken as a Write" in result.err


def test_names_that_are_not_there_are_said(run: Run) -> None:
    for arguments, said in (
        (("--user", "alise", "--app", "test", "--role", "ReadOnly"), "did you mean 'alice'"),
        (("--user", "alise"), "denied: the policy has no user 'alise' (alice, bob): did"),
        (("--user", "alice", "--app", "tset", "--role", READ_ONLY), "did you mean 'test'"),
        (("--user", "alice", "--role", "Nobody"), "alice may have no role that is meant here"),
    ):
        result = run("explain", "--action", "s3:GetObject", *arguments)

        assert result.code == 1, arguments
        assert said in result.out


WRONG = {
    "nothing": ((), "name --user and --action, or --request-id"),
    "no user": (("--action", "s3:GetObject"), "name --user and --action"),
    "no action": (("--user", "alice", "--action", "GetObject"), "is not an action"),
    "a pattern": (("--user", "alice", "--action", "s3:*"), "is not an action"),
    "no region": (("--user", "alice", "--region", "Ireland"), "is not a region"),
    "no address": (("--user", "alice", "--client", "here"), "is not an address"),
    "no time": (("--user", "alice", "--at", "noon"), "is not a time"),
    "a time of no zone": (("--user", "alice", "--at", "2026-11-27T12:00:00"), "is not a time"),
    "no arn": (("--user", "alice", "--action", "s3:GetObject", "--resource", "b"), "is not an ARN"),
    "both": (("--user", "alice", "--request-id", "5"), "leave the other options out"),
}


@pytest.mark.parametrize(("arguments", "said"), WRONG.values(), ids=WRONG)
def test_used_wrongly(run: Run, arguments: tuple[str, ...], said: str) -> None:
    result = run("explain", *arguments)

    assert (result.code, result.out) == (2, "")
    assert said in " ".join(result.err.split())


def test_a_lock_is_an_answer_too(run: Run, home: Path) -> None:
    open_state(home / "it's state")
    locked = run("lock", "add", "--user", "alice", "--reason", "laptop lost", "--name", "lost")
    assert locked.code == 0

    result = run(*ALICE, "--action", "s3:GetObject", "--region", "eu-west-1")

    assert result.code == 1
    assert result.out.startswith("denied: locked: laptop lost (lock/lost)\n")
    assert run(
        "explain", "--user", "bob", "--app", "test", "--role", "Power", "--action", "s3:GetObject"
    ).code == 0  # fmt: skip


def test_report_mode_allows_and_says_what_enforce_would_do(run: Run, policy: Path) -> None:
    policy.write_text(f"{POLICY}---\nkind: gateway\nspec: {{mode: report}}\n")

    result = run(*ALICE, "--action", "s3:PutObject", "--region", "eu-west-1")

    assert result.code == 0
    assert "report mode; enforce would refuse it: no rule allows this call" in result.out
    assert "nearest: role/reader" in result.out
