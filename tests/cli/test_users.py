"""``awsgate users``: whom an operator lets in, what is shown once, and what is listed."""

from __future__ import annotations

import asyncio
import json
import shlex
import stat
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from awsgate.connect.local import LocalUsers
from awsgate.connect.ways import LoginRefused
from awsgate.servercert import ensure_server_certificate
from awsgate.state import open_state
from commandline import Run
from localusers import PASSWORD, QUICK


@pytest.fixture
def folder(home: Path) -> Path:
    """The folder of the users of a gateway that has run."""
    return open_state(home / "it's state").users_folder


def listed(run: Run) -> list[dict[str, Any]]:
    found = run("users", "ls", "--json")
    assert (found.code, found.err) == (0, "")
    rows: list[dict[str, Any]] = json.loads(found.out)
    return rows


def invited(run: Run, *arguments: str) -> str:
    made = run("users", *arguments, "--json")
    assert made.code == 0
    token: str = json.loads(made.out)["invitation"]
    return token


def accept(folder: Path, token: str) -> str:
    return asyncio.run(LocalUsers(folder, hasher=QUICK).accept(token, PASSWORD)).user


def test_the_invitation_is_shown_once_and_in_no_command_line(run: Run, folder: Path) -> None:
    added = run("users", "add", "alice", "--gateway", "https://gate.example.com:3081")

    command, token = added.out.splitlines()
    assert shlex.split(command) == [
        *("awsgate", "login", "--gateway", "https://gate.example.com:3081", "--invitation", "-")
    ]
    (row,) = listed(run)
    assert added.err == (
        f"awsgate: alice runs the first line by {row['invited_until']}, and pastes the second "
        "when asked; it works once, and is not shown again\n"
        "awsgate: warning: the gateway has no control API (control.listen), and without it nobody "
        "can log in\n"
    )
    assert token not in (folder / "alice.json").read_text()
    assert stat.S_IMODE((folder / "alice.json").stat().st_mode) == 0o600
    assert accept(folder, token) == "alice"


CONTROL = {
    "url": ("{control: {url: 'https://c.example.com'}}", "https://c.example.com"),
    "name and port": (
        "{names: [gate.example.com], control: {listen: '0.0.0.0:3081'}}",
        "https://gate.example.com:3081",
    ),
    "address": ("{names: ['fd00::1'], control: {listen: ':3081'}}", "https://[fd00::1]:3081"),
    "where it listens": ("{control: {listen: '10.0.0.7:3081'}}", "https://10.0.0.7:3081"),
    "nobody knows": ("{control: {listen: ':3081'}}", ""),
    "off": ("{names: [gate.example.com]}", ""),
}


@pytest.mark.parametrize(("spec", "url"), CONTROL.values(), ids=CONTROL)
def test_the_policy_says_where_the_gateway_is(
    run: Run, home: Path, folder: Path, spec: str, url: str
) -> None:
    assert folder.parent.is_dir()
    policy = home / "policy.yaml"
    documents = policy.read_text().split("---\n")
    gateway = f"kind: gateway\nversion: v1\nmetadata: {{name: gateway}}\nspec: {spec}\n"
    policy.write_text("---\n".join([*documents[:-1], gateway]))

    made = run("users", "add", "alice", "--json")
    shown = run("users", "reset", "alice")

    about = json.loads(made.out)
    assert about["gateway"] == url
    assert about["invitation"] not in about["command"]
    assert shlex.split(shown.out)[3] == (url or "https://GATEWAY")
    assert ("put the gateway's address in place of" in shown.err) == (not url)


def test_the_pin_goes_along_once_the_gateway_has_a_certificate(
    run: Run, home: Path, folder: Path
) -> None:
    assert folder.parent.is_dir()
    certs = home / "it's certs"
    before = json.loads(run("users", "add", "alice", "--json").out)
    own = ensure_server_certificate(certs, ["gate"], None, now=datetime.now(UTC))

    after = run("users", "reset", "alice", "--gateway", "https://gate:3081")

    assert (before["ca_pin"], "--ca-pin" in before["command"]) == ("", False)
    words = shlex.split(after.out)
    assert words[4:6] == ["--ca-pin", own.pin]
    assert sorted(path.name for path in certs.iterdir() if path.name != ".lock") == [
        "gateway-root.pem", "gateway.key", "gateway.pem",
    ]  # fmt: skip


def test_who_is_not_in_the_policy_is_added_with_a_warning(run: Run, folder: Path) -> None:
    added = run("users", "add", "carol", "--gateway", "https://g")

    assert added.code == 0
    assert (
        "awsgate: warning: the policy has no kind: user document 'carol', "
        "and until it does they cannot log in\n"
    ) in added.err
    assert (folder / "carol.json").exists()


def test_a_broken_policy_stops_nobody(run: Run, home: Path, folder: Path) -> None:
    (home / "policy.yaml").write_text("kind: {")

    added = run("users", "add", "alice", "--gateway", "https://g")

    assert added.code == 0
    assert "awsgate: warning: the policy cannot be read" in added.err
    assert (folder / "alice.json").exists()


def test_nobody_is_added_twice(run: Run, folder: Path) -> None:
    token = invited(run, "add", "alice")

    again = run("users", "add", "alice")

    assert (again.code, again.out) == (1, "")
    assert again.err == (
        "awsgate: no: there is a user 'alice' already\n"
        "awsgate: hint: awsgate users reset alice invites them anew\n"
    )
    assert accept(folder, token) == "alice"


@pytest.mark.parametrize("command", [("reset", "bob"), ("reset", "bob", "--unlock"), ("rm", "bob")])
def test_who_is_unknown_is_said(run: Run, folder: Path, command: tuple[str, ...]) -> None:
    assert folder.parent.is_dir()

    refused = run("users", *command)

    assert (refused.code, refused.out) == (1, "")
    assert refused.err == (
        "awsgate: no: there is no user 'bob'\nawsgate: hint: awsgate users ls lists them\n"
    )


LOCK_HINT = (
    "awsgate: hint: logins that they have go on; awsgate lock add --user alice ends them, "
    "and shuts the user out\n"
)


def test_a_reset_ends_what_was_there(run: Run, folder: Path) -> None:
    first = invited(run, "add", "alice")
    second = run("users", "reset", "alice", "--gateway", "https://g")

    with pytest.raises(LoginRefused, match="not good"):
        accept(folder, first)
    assert accept(folder, shlex.split(second.out)[-1]) == "alice"
    assert second.err.endswith(LOCK_HINT)


def test_rm_takes_the_user_away_and_says_how_to_lock(run: Run, folder: Path) -> None:
    invited(run, "add", "alice")

    removed = run("users", "rm", "alice")

    assert (removed.code, removed.out, removed.err) == (0, "", LOCK_HINT)
    assert listed(run) == []
    assert not (folder / "alice.json").exists()


def test_unlock_lets_in_again_and_changes_nothing_else(run: Run, folder: Path) -> None:
    accept(folder, invited(run, "add", "alice"))
    before = json.loads((folder / "alice.json").read_text())
    users = LocalUsers(folder, hasher=QUICK)
    for _ in range(5):
        users._try("alice", "wrong", "")
    (row,) = listed(run)
    assert row["state"] == "shut out"
    assert row["locked_until"] is not None

    unlocked = run("users", "reset", "alice", "--unlock")

    assert (unlocked.code, unlocked.out, unlocked.err) == (0, "", "")
    assert json.loads((folder / "alice.json").read_text()) == before


def test_the_list_says_who_is_in_which_state(run: Run, folder: Path) -> None:
    accept(folder, invited(run, "add", "alice"))
    invited(run, "add", "bob", "--without-totp")
    invited(run, "add", "carol")
    late = json.loads((folder / "carol.json").read_text())
    (folder / "carol.json").write_text(json.dumps({**late, "invited_until": int(time.time()) - 1}))

    rows = {row["user"]: (row["state"], row["totp"], row["last_login"]) for row in listed(run)}
    table = run("users", "ls").out.splitlines()

    assert rows == {
        "alice": ("active", True, None),
        "bob": ("invited", False, None),
        "carol": ("invitation ended", True, None),
    }
    assert table[0].split() == ["USER", "STATE", "UNTIL", "CODE", "LAST", "LOGIN", "FAILURES"]
    assert [line.split()[0] for line in table[1:]] == ["alice", "bob", "carol"]


def test_what_cannot_be_read_is_said_and_the_rest_listed(run: Run, folder: Path) -> None:
    invited(run, "add", "alice")
    invited(run, "add", "bob")
    (folder / "bob.json").write_text("{")

    shown = run("users", "ls")

    assert shown.code == 2
    assert "alice" in shown.out
    assert f"  {folder / 'bob.json'} is not JSON\n" in shown.err
    assert run("users", "rm", "bob").code == 0
    assert run("users", "ls").code == 0


def test_no_users_is_said(run: Run, folder: Path) -> None:
    assert folder.parent.is_dir()

    assert run("users", "ls").err == "awsgate: there are no users (awsgate users add)\n"
    assert listed(run) == []


def test_a_folder_that_no_gateway_uses_is_refused(run: Run, home: Path) -> None:
    refused = run("users", "add", "alice")

    assert (refused.code, refused.out) == (2, "")
    assert "no gateway keeps its state in" in refused.err
    assert not (home / "it's state").exists()


@pytest.mark.parametrize("name", ["", " alice", "a\nb"])
def test_what_is_no_name_is_refused(run: Run, folder: Path, name: str) -> None:
    refused = run("users", "add", name)

    assert (refused.code, refused.out) == (2, "")
    assert "cannot be the name of a user" in refused.err
    assert not list(folder.glob("*.json"))
