"""Who and what is meant where it was not told: what is clear is taken, the rest is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from commandline import POLICY, POWER, READ_ONLY, Run, opened_by_the_gateway, variables

pytestmark = pytest.mark.usefixtures("gateway_ca")

SECOND_APP = """\
---
kind: app
version: v3
metadata: {name: 'other app', labels: {aws_account_id: '123456789012'}}
spec: {uri: https://console.aws.amazon.com/}
"""
BY_PATTERN = POLICY.replace(f"['{POWER}']", "['arn:aws:iam::123456789012:role/Team*']")


def session(run: Run, home: Path, *told: str) -> tuple[str, str, str]:
    opened = opened_by_the_gateway(variables(run("env", "--format", "json", *told)), home).session
    return opened.user, opened.app, opened.role_arn


def test_the_only_pair_is_taken(run: Run, home: Path) -> None:
    assert session(run, home, "--user", "alice") == ("alice", "test", READ_ONLY)


def test_the_login_name_is_the_user(run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "alice")

    assert session(run, home) == ("alice", "test", READ_ONLY)


def test_the_environment_names_all_three(
    run: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"USER": "bob", "APP": "test", "ROLE": "Power"}.items():
        monkeypatch.setenv(f"AWSGATE_{name}", value)

    assert session(run, home) == ("bob", "test", POWER)
    assert session(run, home, "--role", "ReadOnly") == ("bob", "test", READ_ONLY)


def test_the_only_user_is_taken(run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "nobody-here")
    without_bob = POLICY.split("---\nkind: user\nversion: v2\nmetadata: {name: bob}")[0]
    (home / "policy.yaml").write_text(without_bob)

    assert session(run, home) == ("alice", "test", READ_ONLY)


def test_users_are_listed_if_none_is_meant(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "mallory")

    result = run("env")

    assert (result.code, result.out) == (1, "")
    assert result.err.splitlines() == [
        "awsgate: no: the policy has 2 users, and none is called 'mallory' as you are here",
        "  alice",
        "  bob",
        "awsgate: hint: say who with --user, or set AWSGATE_USER",
    ]


def test_what_may_be_had_is_shown_as_a_table(run: Run, home: Path) -> None:
    (home / "policy.yaml").write_text(POLICY + SECOND_APP)

    result = run("env", "--user", "bob")

    assert (result.code, result.out) == (1, "")
    assert result.err.splitlines() == [
        "awsgate: no: bob may have 4 roles: say which with --app and --role",
        "  APP        ACCOUNT       ROLE",
        "  other app  123456789012  Power",
        "  other app  123456789012  ReadOnly",
        "  test       123456789012  Power",
        "  test       123456789012  ReadOnly",
        "awsgate: hint: for the first: --user bob --app 'other app' --role Power",
    ]


LEFT = {
    "the role": (("--app", "test"), "bob may have 2 roles in test: say which with --role"),
    "the app": (("--role", "Power"), "bob may have 2 roles as Power: say which with --app"),
}


@pytest.mark.parametrize(("told", "answer"), LEFT.values(), ids=LEFT)
def test_what_is_left_to_say_is_named(
    run: Run, home: Path, told: tuple[str, ...], answer: str
) -> None:
    (home / "policy.yaml").write_text(POLICY + SECOND_APP)

    result = run("env", "--user", "bob", *told)

    assert (result.code, result.err.splitlines()[0]) == (1, f"awsgate: no: {answer}")


def test_a_role_that_a_pattern_allows_finds_its_app(run: Run, home: Path) -> None:
    (home / "policy.yaml").write_text(BY_PATTERN)
    arn = "arn:aws:iam::123456789012:role/TeamRed"

    assert session(run, home, "--user", "bob", "--role", arn) == ("bob", "test", arn)


def test_two_roles_of_one_name_are_shown_by_arn(run: Run, home: Path) -> None:
    twin = "arn:aws:iam::123456789012:role/path/ReadOnly"
    (home / "policy.yaml").write_text(POLICY.replace(POWER, twin))

    lines = run("env", "--user", "bob").err.splitlines()

    assert [line.split()[-1] for line in lines[2:4]] == sorted([READ_ONLY, twin])


def test_nothing_at_all_is_said_too(run: Run) -> None:
    result = run("env", "--user", "bob", "--app", "nowhere")

    assert (result.code, result.err.splitlines()[0]) == (
        1,
        "awsgate: no: the policy has no app 'nowhere' (test)",
    )
