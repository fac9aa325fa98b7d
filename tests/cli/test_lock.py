"""``awsgate lock``: what an operator types in a hurry, and what is said of it."""

from __future__ import annotations

import json
import os
import pwd
import re
import shlex
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from awsgate.cli.revoke import revoking
from awsgate.locks import LockStore
from awsgate.state import open_state
from commandline import POWER, READ_ONLY, Run

ME = pwd.getpwuid(os.getuid()).pw_name


@pytest.fixture
def folder(home: Path) -> Path:
    """The state folder of a gateway that has run."""
    return open_state(home / "it's state").folder / "locks"


def listed(run: Run) -> list[dict[str, Any]]:
    found = run("lock", "ls", "--json")
    assert (found.code, found.err) == (0, "")
    rows: list[dict[str, Any]] = json.loads(found.out)
    return rows


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


# --- add ------------------------------------------------------------------------------------


def test_a_lock_is_added_and_its_name_printed(run: Run, folder: Path) -> None:
    added = run("lock", "add", "--user", "alice", "--reason", "laptop lost", "--ttl", "8h")

    assert (added.code, added.err) == (0, "")
    assert re.fullmatch(r"alice-[0-9a-f]{6}\n", added.out)
    (row,) = listed(run)
    assert row["name"] == added.out.strip()
    assert row["target"] == {"user": "alice"}
    assert (row["message"], row["in_force"]) == ("laptop lost", True)
    assert at(row["expires"]) - at(row["created"]) == timedelta(hours=8)
    assert abs(datetime.now(UTC) - at(row["created"])) < timedelta(minutes=1)
    assert row["by"].endswith(ME)
    file = folder / f"{row['name']}.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("given", "target", "prefix"),
    [
        (["--role", "read"], {"role": "read"}, "read-"),
        (["--app", "test"], {"app": "test"}, "test-"),
        (["--session", "0" * 20], {"session": "0" * 20}, "0" * 20),
        (["--aws-role-arn", POWER], {"aws_role_arn": POWER}, "Power-"),
        (["--user", "bob", "--app", "test"], {"user": "bob", "app": "test"}, "bob-"),
    ],
)
def test_whatever_is_named_is_locked(
    run: Run, folder: Path, given: list[str], target: dict[str, str], prefix: str
) -> None:
    assert folder.parent.is_dir()
    added = run("lock", "add", *given)

    assert (added.code, added.err) == (0, "")
    assert added.out.startswith(prefix)
    assert [(row["target"], row["expires"]) for row in listed(run)] == [(target, None)]


def test_what_could_be_a_slip_is_said_and_locked_all_the_same(run: Run, folder: Path) -> None:
    added = run(
        "lock", "add", "--user", "alise", "--role", "red", "--app", "tst", "--session", "12",
        "--aws-role-arn", "Power", "--expires", "2020-01-01T00:00:00Z",
    )  # fmt: skip

    assert added.code == 0
    assert added.err.splitlines() == [
        f"awsgate: warning: the lock is set, but {line}"
        for line in (
            "there is no user 'alise', so this locks nobody: did you mean 'alice'",
            "there is no role 'red', so this locks nobody: did you mean 'read'",
            "there is no app 'tst', so this locks nobody: did you mean 'test'",
            "'12' is no session id, so this locks nobody: 20 hexadecimal digits, as in the audit",
            "'Power' is not the ARN of an IAM role, so this locks nobody: "
            "arn:aws:iam::<account>:role/<name>",
            "expired at 2020-01-01T00:00:00+00:00: take the lock out",
        )
    ]
    assert len(list(folder.iterdir())) == 1


def test_a_lock_does_not_need_a_policy_in_order(run: Run, home: Path, folder: Path) -> None:
    (home / "policy.yaml").write_text("kind: {")

    added = run("lock", "add", "--user", "alice")

    assert added.code == 0
    assert added.err == (
        "awsgate: warning: the policy cannot be read, so no name was checked; the lock is set\n"
    )
    assert len(list(folder.iterdir())) == 1


WRONG = {
    "nobody": ([], "name --user, --role, --app, --session or --aws-role-arn"),
    "two ends": (
        ["--user", "a", "--ttl", "1h", "--expires", "2030-01-01T00:00:00Z"],
        "--ttl and --expires are two ways to say one thing",
    ),
    "no duration": (["--user", "a", "--ttl", "soon"], "'soon' is not a duration like 30m"),
    "no time at all": (["--user", "a", "--ttl", "0h"], "'0h' is not a duration like 30m"),
    "no moment": (["--user", "a", "--expires", "tomorrow"], "'tomorrow'"),
    "a moment of no zone": (["--user", "a", "--expires", "2030-01-01T00:00:00"], "2030-01-01"),
    "a name that is a path": (["--user", "a", "--name", "../x"], "cannot be the name of a lock"),
    "a reason with an escape": (["--user", "a", "--reason", "\x1b[31m"], "control characters"),
}


@pytest.mark.parametrize(("given", "said"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_said_and_locks_nobody(
    run: Run, folder: Path, given: list[str], said: str
) -> None:
    wrong = run("lock", "add", *given)

    assert (wrong.code, wrong.out) == (2, "")
    assert said in " ".join(wrong.err.replace("│", " ").split())
    assert not folder.exists() or list(folder.iterdir()) == []


def test_a_name_is_used_once(run: Run, folder: Path) -> None:
    assert run("lock", "add", "--user", "alice", "--name", "mine").out == "mine\n"
    again = run("lock", "add", "--user", "bob", "--name", "mine")

    assert again.code == 2
    assert "there is a lock 'mine' already" in again.err
    assert "awsgate lock rm mine" in again.err
    assert [row["target"] for row in listed(run)] == [{"user": "alice"}]
    assert folder.is_dir()


@pytest.mark.parametrize("command", [["add", "--user", "alice"], ["rm", "x"], ["ls"]])
def test_a_folder_that_no_gateway_uses_is_not_taken_for_one(
    run: Run, home: Path, command: list[str]
) -> None:
    refused = run("lock", *command)

    assert (refused.code, refused.out) == (2, "")
    assert "a lock there would lock nobody" in refused.err
    assert not (home / "it's state").exists(), "and none is made"


# --- rm and ls ------------------------------------------------------------------------------


def test_a_lock_is_taken_away_once(run: Run, folder: Path) -> None:
    run("lock", "add", "--user", "alice", "--name", "mine")

    first, again = run("lock", "rm", "mine"), run("lock", "rm", "mine")

    assert (first.code, first.out, first.err) == (0, "", "")
    assert (again.code, again.out) == (1, "")
    assert again.err == "awsgate: no: there is no lock 'mine' (awsgate lock ls)\n"
    assert list(folder.iterdir()) == []


def test_locks_are_listed_in_columns(run: Run, folder: Path) -> None:
    assert folder.parent.is_dir()
    run("lock", "add", "--user", "alice", "--name", "a", "--reason", "laptop lost")
    run("lock", "add", "--app", "test", "--user", "bob", "--name", "longer",
        "--expires", "2020-01-01T00:00:00Z")  # fmt: skip

    shown = run("lock", "ls")

    assert (shown.code, shown.err) == (0, "")
    head, first, second = shown.out.splitlines()
    assert head.split() == ["NAME", "LOCKED", "OUT", "UNTIL", "BY", "ADDED", "REASON"]
    assert first.startswith("a       user=alice         for good ")
    assert first.endswith("  laptop lost")
    assert second.startswith("longer  user=bob app=test  2020-01-01T00:00:00Z (over) ")
    assert second.rstrip() == second


def test_no_locks_are_no_output(run: Run, folder: Path) -> None:
    assert folder.parent.is_dir()
    shown = run("lock", "ls")

    assert (shown.code, shown.out, shown.err) == (0, "", "awsgate: there are no locks\n")
    assert listed(run) == []


def test_what_cannot_be_read_is_said_and_the_rest_is_listed(run: Run, folder: Path) -> None:
    run("lock", "add", "--user", "alice", "--name", "good")
    (folder / "bad.json").touch(mode=0o600)

    shown = run("lock", "ls")

    assert shown.code == 2
    assert "good" in shown.out
    assert "bad.json: is not JSON" in shown.err
    assert "awsgate lock rm NAME takes a lock away" in shown.err
    assert run("lock", "rm", "bad").code == 0
    assert run("lock", "ls").code == 0


# --- what is revoked at AWS -----------------------------------------------------------------


def commands(text: str) -> list[dict[str, Any]]:
    """Read the output as a shell would: every command's options, the policy parsed."""
    found = []
    for line in text.splitlines():
        words = shlex.split(line, comments=True)
        if words:
            assert words[:3] == ["aws", "iam", "put-role-policy"]
            options = dict(zip(words[3::2], words[4::2], strict=True))
            options["--policy-document"] = json.loads(options["--policy-document"])
            found.append(options)
    return found


def test_the_sessions_of_a_user_are_revoked_in_each_of_his_roles(run: Run, folder: Path) -> None:
    assert folder.parent.is_dir()
    before = datetime.now(UTC)
    printed = run("lock", "add", "--user", "bob", "--name", "x", "--revoke-aws")

    assert (printed.code, printed.err) == (0, "")
    assert printed.out.splitlines()[0] == "# lock x", "a script for the shell, name and all"
    found = commands(printed.out)
    assert [options["--role-name"] for options in found] == ["Power", "ReadOnly"]
    assert {options["--policy-name"] for options in found} == {"AWSRevokeOlderSessions-bob"}
    (statement,) = found[0]["--policy-document"]["Statement"]
    moment = at(statement["Condition"].pop("DateLessThan")["aws:TokenIssueTime"])
    assert before < moment < before + timedelta(seconds=60)
    assert statement == {
        "Effect": "Deny",
        "Action": ["*"],
        "Resource": ["*"],
        "Condition": {"StringLike": {"aws:userid": ["*:bob"]}},
    }


def test_a_lock_on_a_role_of_the_policy_revokes_only_who_has_it(run: Run, folder: Path) -> None:
    """Others use the same IAM role through the gateway, with credentials that it holds."""
    assert folder.parent.is_dir()
    (power, read) = commands(run("lock", "add", "--role", "power", "--revoke-aws").out)

    assert (power["--role-name"], read["--role-name"]) == ("Power", "ReadOnly")
    condition = read["--policy-document"]["Statement"][0]["Condition"]
    assert condition["StringLike"] == {"aws:userid": ["*:bob"]}, "and not alice"


def test_a_lock_on_an_iam_role_revokes_everybody(run: Run, folder: Path) -> None:
    assert folder.parent.is_dir()
    (found,) = commands(run("lock", "add", "--aws-role-arn", READ_ONLY, "--revoke-aws").out)

    assert found["--policy-name"] == "AWSRevokeOlderSessions"
    (statement,) = found["--policy-document"]["Statement"]
    assert statement["Condition"].keys() == {"DateLessThan"}


def test_a_lock_on_a_session_says_what_it_lacks(run: Run, folder: Path) -> None:
    assert folder.parent.is_dir()
    printed = run("lock", "add", "--session", "0" * 20, "--revoke-aws")

    assert printed.code == 0
    assert "no AWS role is known that this lock is about" in printed.out
    assert commands(printed.out) == []


def test_what_began_in_the_second_of_the_lock_is_revoked_too() -> None:
    """AWS dates a session by the second, and compares with 'less than'."""
    now = datetime(2026, 11, 27, 12, 0, 0, 900_000, tzinfo=UTC)

    (statement,) = revoking(None, now)["Statement"]  # type: ignore[misc,attr-defined]

    assert statement["Condition"]["DateLessThan"] == {"aws:TokenIssueTime": "2026-11-27T12:00:01Z"}


def test_what_the_command_line_writes_a_gateway_reads(run: Run, folder: Path) -> None:
    run("lock", "add", "--user", "alice", "--reason", "zwölf €", "--ttl", "90s")

    (lock,) = LockStore(folder).open()

    assert lock.spec.target.user == "alice"
    assert lock.spec.message == "zwölf €"
