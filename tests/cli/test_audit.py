"""``awsgate audit``: verify, tail and policy, as somebody at a shell meets them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from auditing import killed_after
from awsgate.audit import AuditLog, AuditRecord, Rotation
from commandline import READ_ONLY, Run

NOW = datetime.now(UTC)


def stamp(minutes_ago: float) -> str:
    moment = NOW - timedelta(minutes=minutes_ago)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def record(minutes_ago: float, action: str = "s3:GetObject", **fields: Any) -> AuditRecord:
    given = {
        "event": "request", "user": "alice", "session": "s1", "app": "test",
        "client": "10.0.0.1:50000", "role_arn": READ_ONLY, "granted_role_arn": READ_ONLY,
        "service": "s3", "region": "us-east-1", "host": "s3.us-east-1.amazonaws.com",
        "action": action, "resource": "arn:aws:s3:::b/k", "access_level": "Read",
        "method": "GET", "path": "/b/k", "decision": "allowed", "status": 200, "ms": 12.3,
    }  # fmt: skip
    return AuditRecord(time=stamp(minutes_ago), **{**given, **fields})


@pytest.fixture
def state(home: Path) -> Path:
    folder = home / "it's state"
    folder.mkdir(mode=0o700)
    return folder


def write(state: Path, *records: AuditRecord, rotation: Rotation = Rotation()) -> Path:  # noqa: B008
    log = AuditLog(state / "audit.jsonl", rotation)
    for each in records:
        log.write(each)
    log.close()
    return state / "audit.jsonl"


def many(state: Path, count: int = 40) -> Path:
    """Write several files of lines, the oldest of them an hour old."""
    lines = [record(60 - n, id=str(n)) for n in range(count)]
    return write(state, *lines, rotation=Rotation(9000))


# --- verify -------------------------------------------------------------------------------


def test_verify_says_how_many_lines_from_when_to_when_and_the_head(run: Run, state: Path) -> None:
    path = many(state)
    head = json.loads(path.read_bytes().splitlines()[-1])["hash"]

    result = run("audit", "verify")
    found = json.loads(run("audit", "verify", "--json").out)

    assert (result.code, result.err) == (0, "")
    files = len(found["files"])
    assert files > 3
    assert f"\nunbroken: {40 + files - 1} lines in {files} files\nhead: {head}\n" in result.out
    assert (found["unbroken"], found["fault"], found["head"]) == (True, None, head)
    assert (found["first"], found["last"]) == (stamp(60), stamp(21))


def test_verify_names_the_first_broken_line_and_ends_with_1(run: Run, state: Path) -> None:
    many(state)
    oldest = min(state.glob("audit-*.jsonl"))
    oldest.write_bytes(oldest.read_bytes().replace(b'"id":"3"', b'"id":"8"'))

    result = run("audit", "verify")
    found = json.loads(run("audit", "verify", "--json").out)

    assert result.code == 1
    assert f"broken: {oldest}: line 4: its content does not match its hash\n" in result.out
    assert "3 lines before it hold" in result.out
    assert found["fault"] == {
        "path": str(oldest), "line": 4, "what": "its content does not match its hash",
    }  # fmt: skip


def test_verify_takes_files_in_any_order(run: Run, state: Path) -> None:
    path = many(state)
    files = [str(file) for file in sorted(state.glob("audit-*"))]

    assert run("audit", "verify", *[str(path), *files[::-1]]).code == 0
    assert run("audit", "verify", files[0], str(path)).code == 1


def test_a_noted_head_shows_that_the_end_is_gone(run: Run, state: Path) -> None:
    path = many(state)
    head = json.loads(run("audit", "verify", "--json").out)["head"]
    assert run("audit", "verify", "--expect-head", head).code == 0
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))

    result = run("audit", "verify", "--expect-head", head)

    assert run("audit", "verify").code == 0, "nothing else shows it"
    assert result.code == 1
    assert f"broken: no line has the hash {head}: it was cut off" in result.out


def test_from_a_noted_head_on(run: Run, state: Path) -> None:
    many(state, 10)
    head = json.loads(run("audit", "verify", "--json").out)["head"]
    write(state, record(1), record(0))

    found = json.loads(run("audit", "verify", "--from", head, "--json").out)

    assert (found["unbroken"], found["lines"], found["begins_after"]) == (True, 2, head)
    assert run("audit", "verify", "--from", "f" * 64).code == 1


@pytest.mark.parametrize("option", ["--expect-head", "--from"])
def test_what_is_no_hash_is_refused(option: str, run: Run, state: Path) -> None:
    many(state, 1)

    assert run("audit", "verify", option, "abc").code == 2


def test_no_log_is_exit_2_with_a_hint(run: Run, state: Path) -> None:
    for command in (("verify",), ("tail",), ("policy", "--user", "alice")):
        result = run("audit", *command)

        assert (result.code, result.out) == (2, "")
        assert f"awsgate: error: no audit log at {state / 'audit.jsonl'}\n" in result.err


# --- tail ---------------------------------------------------------------------------------


def test_tail_shows_the_last_lines_over_all_files(run: Run, state: Path) -> None:
    many(state)

    lines = run("audit", "tail", "-n", "15").out.splitlines()

    requests = [line for line in lines if "s3:GetObject" in line]
    assert len(lines) == 15
    assert [line[:20] for line in requests] == sorted(line[:20] for line in requests)
    assert requests[-1].split() == [
        f"{stamp(21)[:19]}Z", "alice", "s3:GetObject", "allowed", "200", "12", "ms",
        "arn:aws:s3:::b/k",
    ]  # fmt: skip
    assert len(run("audit", "tail").out.splitlines()) == 20


FILTERS = {
    "user": (("--user", "bob"), {"3"}),
    "since": (("--since", "25m"), {"2", "3", "4"}),
    "decision": (("--decision", "refused"), {"4"}),
    "action": (("--action", "DYNAMODB:*"), {"2"}),
    "session": (("--session", "s9"), {"0"}),
    "several": (("--user", "alice", "--since", "25m", "--decision", "allowed"), {"2"}),
}


@pytest.mark.parametrize(("options", "expected"), FILTERS.values(), ids=FILTERS)
def test_tail_shows_what_is_asked_for(
    options: tuple[str, ...], expected: set[str], run: Run, state: Path
) -> None:
    write(
        state,
        record(60, id="0", session="s9"),
        record(30, id="1"),
        record(20, "dynamodb:GetItem dynamodb:Scan", id="2"),
        record(10, id="3", user="bob"),
        record(5, id="4", decision="refused", status=403, reason="no"),
    )

    shown = [json.loads(line) for line in run("audit", "tail", "--json", *options).out.splitlines()]

    assert {line["id"] for line in shown} == expected


def test_what_clients_chose_cannot_move_the_cursor(run: Run, state: Path) -> None:
    write(state, record(1, "", method="GET", reason="\x1b[2J\r\n\x9b1A", host="\u202eevil"))

    out = run("audit", "tail").out

    assert out.count("\n") == 1
    assert re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", out) is None
    assert r"\x1b[2J\r\n\x9b1A" in out


def test_notes_of_the_log_and_tunnels_are_shown_too(run: Run, state: Path) -> None:
    tunnel = AuditRecord(time=stamp(1), event="tunnel.open", host="pypi.example:443",
                         decision="allowed", status=200)  # fmt: skip
    write(state, tunnel, AuditRecord(time=stamp(0), event="audit.dropped", reason="3 lines lost"))

    first, second = run("audit", "tail").out.splitlines()

    assert "tunnel.open pypi.example:443" in first
    assert "audit.dropped" in second
    assert second.endswith("3 lines lost")


def test_tail_reads_the_end_of_a_file_and_not_all_of_it(
    run: Run, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = many(state, 2)
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0] * 10_000)
    pread, read = os.pread, []

    def counting(file: int, length: int, place: int) -> bytes:
        read.append(length)
        return pread(file, length, place)

    monkeypatch.setattr(os, "pread", counting)

    assert len(run("audit", "tail").out.splitlines()) == 20
    assert 0 < sum(read) < 200_000 < path.stat().st_size / 20


def test_follow_shows_what_is_written_over_a_rotation_until_it_is_stopped(
    run: Run, state: Path
) -> None:
    path = write(state, record(5, id="before"))
    assert run("audit", "tail", "--json").code == 0
    command = [sys.executable, "-m", "awsgate", "audit", "tail", "--json", "--follow"]
    with (
        subprocess.Popen(
            [*command, "--user", "alice"], stdout=subprocess.PIPE, text=True, env=os.environ.copy()
        ) as following,
        killed_after(60, following),
    ):
        assert following.stdout is not None
        shown = [json.loads(following.stdout.readline())["id"]]
        write(state, record(1, id="new"), record(1, user="bob"))
        shown.append(json.loads(following.stdout.readline())["id"])
        path.rename(path.with_name("audit.jsonl.1"))
        time.sleep(0.6)  # there is no file for a while
        write(state, record(0, id="rotated"))
        shown.append(json.loads(following.stdout.readline())["id"])
        following.send_signal(signal.SIGINT)
        assert following.wait(10) == 0

    assert shown == ["before", "new", "rotated"]


def test_follow_takes_one_file(run: Run, state: Path) -> None:
    many(state)
    files = [str(path) for path in state.glob("audit*")]

    assert run("audit", "tail", "--follow", *files).code == 2


# --- policy -------------------------------------------------------------------------------


def test_policy_prints_a_policy_and_says_what_is_not_in_it(run: Run, state: Path) -> None:
    write(
        state,
        record(3),
        record(2, "s3:ListAllMyBuckets", resource=""),
        record(1, "s3:Frobnicate", access_level="", path="/x\n"),
        record(1, "s3:PutObject", status=403),
    )

    result = run("audit", "policy", "--user", "alice")

    assert result.code == 0
    assert result.out.startswith(f"# Learned from 2 calls of alice, {stamp(3)} to {stamp(1)}.\n")
    assert '"s3:GetObject"' in result.out
    assert "PutObject" not in result.out
    assert result.err.splitlines() == [
        "awsgate: warning: not in the policy, the action is not known: "
        r"s3:Frobnicate (GET s3.us-east-1.amazonaws.com/x\n), 1 times",
        "awsgate: warning: not in the policy, AWS refused it: s3:PutObject, 1 times",
        "awsgate: warning: on any resource, since none is known: s3:ListAllMyBuckets",
    ]


def test_a_call_of_unknown_resource_is_taken_in_only_if_asked_for(run: Run, state: Path) -> None:
    write(state, record(3), record(2, "s3:PutObject", resource=""), record(1, status=0))

    result = run("audit", "policy", "--user", "alice")
    wider = run("audit", "policy", "--user", "alice", "--any-resource")

    assert "PutObject" not in result.out
    assert result.err.splitlines() == [
        "awsgate: warning: not in the policy, AWS has not answered it: s3:GetObject, 1 times",
        "awsgate: warning: not in the policy, its resource is not known "
        "(--any-resource takes it in): s3:PutObject, 1 times",
    ]
    assert '"s3:PutObject"' in wider.out
    assert "on any resource, since none is known: s3:PutObject" in wider.err


def test_the_policy_that_is_printed_is_in_order(run: Run, state: Path, home: Path) -> None:
    write(state, record(3), record(2, "s3:PutObject"))
    learned = home / "learned.yaml"
    learned.write_text(run("audit", "policy", "--user", "alice").out)

    assert run("check", str(learned)).code == 0


def test_policy_without_a_call_is_no(run: Run, state: Path) -> None:
    write(state, record(3), record(1, decision="refused"))

    for options in (("--user", "nobody"), ("--user", "alice", "--since", "2m")):
        result = run("audit", "policy", *options)

        assert (result.code, result.out) == (1, "")
        assert "awsgate: no: the audit has no such call" in result.err


def test_policy_works_without_a_policy_in_order(run: Run, state: Path, home: Path) -> None:
    write(state, record(3))
    (home / "policy.yaml").write_text("kind: [\n")

    result = run("audit", "policy", "--user", "alice")

    assert result.code == 0
    assert "awsgate: warning: the policy cannot be read" in result.err
    assert "awsgate: warning: in any app" in result.err
    assert run("audit", "policy", "--user", "alice", "--diff").code == 2


def test_an_iam_policy_is_for_one_role(run: Run, state: Path) -> None:
    power = READ_ONLY.replace("ReadOnly", "Power")
    write(state, record(3), record(2, "s3:PutObject", role_arn=power, granted_role_arn=power))

    both = run("audit", "policy", "--user", "alice", "--format", "iam")
    one = run("audit", "policy", "--user", "alice", "--format", "iam", "--role", "Power")
    terraform = run("audit", "policy", "--user", "alice", "--format", "terraform")

    assert (both.code, both.out) == (2, "")
    assert "--role" in both.err
    assert [s["Action"] for s in json.loads(one.out)["Statement"]] == [["s3:PutObject"]]
    assert terraform.out.count('data "aws_iam_policy_document"') == 2


def test_the_difference_for_people_and_for_programs(run: Run, state: Path) -> None:
    power = READ_ONLY.replace("ReadOnly", "Power")
    write(state, record(3), record(2, "s3:PutObject", role_arn=power, granted_role_arn=power))

    shown = run("audit", "policy", "--user", "alice", "--diff")
    found = json.loads(run("audit", "policy", "--user", "alice", "--diff", "--json").out)

    assert shown.code == 0
    assert shown.out == (
        "used, and not granted now:\n"
        "  s3:PutObject arn:aws:s3:::b/k us-east-1: 1 times; "
        "no role of the user allows this role in this app\n"
        "granted, and not used:\n"
        "  role/read aws_actions: every action of every service is granted, 1 used\n"
    )
    assert [each["use"]["actions"] for each in found["not_granted"]] == [["s3:PutObject"]]
    assert run("audit", "policy", "--user", "alice", "--json").code == 2


# --- since --------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["yesterday", "7", "-1h", "2026-13-01"])
def test_what_is_no_time_is_exit_2(text: str, run: Run, state: Path) -> None:
    many(state, 1)

    assert run("audit", "tail", "--since", text).code == 2


# --- the docs -----------------------------------------------------------------------------

DOCS = Path(__file__).parents[2] / "docs"
SHOWN = [
    command
    for page in ("audit.md", "policy.md")
    for command in re.findall(
        r"^ *\$ awsgate audit ([^|>\n]+)", (DOCS / page).read_text("utf-8"), re.MULTILINE
    )
]


def test_the_docs_show_every_command() -> None:
    assert {command.split()[0] for command in SHOWN} == {"verify", "tail", "policy"}


@pytest.mark.parametrize("command", SHOWN)
def test_a_command_that_the_docs_show_works(command: str, run: Run, state: Path) -> None:
    path = write(state, record(1), record(0))
    head = json.loads(path.read_bytes().splitlines()[-1])["hash"]
    command = re.sub(r'"\$\(.*?\)"', head, command).replace("--follow", "")

    assert run("audit", *command.split()).code == 0
