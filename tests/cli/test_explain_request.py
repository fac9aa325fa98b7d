"""``awsgate explain --request-id``: what the audit says of a request, and the rules now."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from awsgate.audit import AuditLog, AuditRecord
from awsgate.paths import private_folder
from awsgate.state import open_state
from cli.test_explain import POLICY
from cli.test_explain import policy as policy
from commandline import READ_ONLY, Run

DENIED: dict[str, Any] = {
    "time": "2026-11-26T09:00:00.000Z", "id": "11111111-2222", "event": "request",
    "user": "alice", "session": "5f", "client": "10.0.0.1:50123", "app": "test",
    "role_arn": READ_ONLY, "granted_role_arn": READ_ONLY, "account": "123456789012",
    "service": "s3", "region": "eu-west-1", "host": "b.s3.eu-west-1.amazonaws.com",
    "action": "s3:PutObject s3:PutObjectTagging", "resource": "arn:aws:s3:::b/a%20key",
    "access_level": "Write", "method": "PUT", "path": "/a%20key", "decision": "refused",
    "rule": "role/reader", "code": "denied",
    "reason": "alice may not do this: no rule allows this call", "status": 403,
}  # fmt: skip


@pytest.fixture
def record(home: Path) -> Any:
    def write(**changes: Any) -> None:
        folder = home / "it's state"
        private_folder(folder)
        log = AuditLog(folder / "audit.jsonl")
        log.write(AuditRecord(**{**DENIED, **changes}))
        log.close()

    return write


def test_a_refused_request_is_explained_by_its_id(run: Run, record: Any) -> None:
    record()
    record(id="another")

    result = run("explain", "--request-id", "11111111-2222")

    assert (result.code, result.err) == (1, "")
    assert result.out == (
        "2026-11-26T09:00:00.000Z  request 11111111-2222\n"
        "  host      b.s3.eu-west-1.amazonaws.com\n"
        "  scope     s3/eu-west-1\n"
        "  request   PUT /a%20key\n"
        "  then      refused with denied, by role/reader: alice may not do this: no rule allows "
        "this call\n"
        "denied: no rule allows this call: aws_access_levels of role/reader\n"
        "  who       alice, in test\n"
        f"  as        {READ_ONLY}\n"
        "  call      s3:PutObject, s3:PutObjectTagging  [Write, Tagging]\n"
        "  resource  arn:aws:s3:::b/a key\n"
        "  region    eu-west-1\n"
        "  from      10.0.0.1\n"
        "  at        2026-11-26T09:00:00Z\n"
        "rules, in the order in which they are asked:\n"
        "  deny   role/no-deletes  does not match: aws_actions\n"
        "  allow  role/reader      does not match: aws_access_levels\n"
        "nearest: role/reader (policy.yaml document 1) would allow it, but for\n"
        "  aws_access_levels: it is Write, Tagging; the rule wants Read, List\n"
    )


def test_a_request_is_found_by_the_id_of_aws_and_in_older_files(
    run: Run, record: Any, home: Path
) -> None:
    record(aws_request_id="AWSID", action="s3:GetObject", access_level="Read", decision="allowed",
           code="", reason="")  # fmt: skip
    log = home / "it's state" / "audit.jsonl"
    log.rename(log.with_name("audit.jsonl.1"))
    record(id="newer")

    assert run("explain", "--request-id", "AWSID").code == 0


def test_it_says_if_the_policy_says_otherwise_now(run: Run, record: Any, policy: Path) -> None:
    record()
    record(id="by-another", rule="role/gone")
    policy.write_text(POLICY.replace("[Read, List]", "[Read, List, Write, Tagging]"))

    changed = run("explain", "--request-id", "11111111-2222")
    for_programs = json.loads(run("explain", "--request-id", "11111111-2222", "--json").out)
    policy.write_text(POLICY)
    other = run("explain", "--request-id", "by-another")

    assert changed.code == 0
    assert changed.out.endswith(
        "The policy or the locks have changed since: then it was refused.\n"
    )
    assert other.out.endswith("The policy has changed since: another rule decides now.\n")
    rows = [json.loads(run("explain", "--request-id", i, "--json").out)["changed"]
            for i in ("11111111-2222", "by-another")]  # fmt: skip
    assert rows == [False, True]
    assert for_programs["changed"] is True
    assert for_programs["recorded"]["decision"] == "refused"


MARKED = POLICY.replace("aws_access_levels: [Read, List]", "approvals: [{actions: ['s3:Put*']}]")


@pytest.mark.parametrize(
    ("changes", "then"),
    [
        (
            {"code": "pending-approval", "reason": "ar-1 asks for it"},
            "refused with pending-approval, by role/reader: ar-1 asks for it",
        ),
        (
            {"code": "", "decision": "allowed", "approval": "ar-1", "reason": ""},
            "allowed, by role/reader, approved by ar-1",
        ),
    ],
    ids=["pending", "approved"],
)
def test_a_marked_call_is_today_what_it_was(
    changes: dict[str, Any], then: str, run: Run, record: Any, policy: Path
) -> None:
    assert MARKED != POLICY
    policy.write_text(MARKED)
    record(**changes)

    result = run("explain", "--request-id", "11111111-2222")
    for_programs = json.loads(run("explain", "--request-id", "11111111-2222", "--json").out)

    assert f"  then      {then}\n" in result.out
    assert "denied: the call needs an approval: role/reader\n" in result.out
    assert result.out.endswith("the rule wants somebody's approval of s3:Put*\n")
    assert for_programs["changed"] is False


def test_a_request_that_never_came_to_the_policy_is_said_to_be_one(run: Run, record: Any) -> None:
    record(code="bad-signature", rule="", action="s3:GetObject", access_level="Read")

    result = run("explain", "--request-id", "11111111-2222")

    assert result.code == 0
    assert result.out.endswith("It was refused with bad-signature, whatever the policy says.\n")


def test_a_role_that_the_client_assumed_is_asked_about_too(
    run: Run, record: Any, policy: Path
) -> None:
    other = "arn:aws:iam::123456789012:role/Other"
    record(role_arn=other, action="s3:GetObject", access_level="Read")
    text = POLICY.replace("deny: {aws", f"deny: {{aws_role_arns: ['{other}'], aws")
    allowed = run("explain", "--request-id", "11111111-2222")
    policy.write_text(text.replace("*:Delete*", "*:Get*"))

    denied = run("explain", "--request-id", "11111111-2222")

    assert allowed.code == 0
    assert f"            and from there as {other}\n" in allowed.out
    assert denied.code == 1
    assert denied.out.partition("\ndenied: ")[2].startswith(
        "a deny rule matches the role that was assumed (role/no-deletes)\n"
    )


@pytest.mark.parametrize(("decision", "code"), [("allowed", 0), ("refused", 1)])
def test_a_request_of_nobody_has_no_rules(run: Run, record: Any, decision: str, code: int) -> None:
    record(user="", decision=decision, rule="gateway/unsigned.apis")

    result = run("explain", "--request-id", "11111111-2222")

    assert result.code == code
    assert result.out.endswith("no user of the policy made it, so no rule of a role was asked\n")


def test_an_id_that_is_nowhere_is_exit_2(run: Run, record: Any, home: Path) -> None:
    record()

    for identifier in ("22222222-2222", "2222"):
        result = run("explain", "--request-id", identifier)

        assert (result.code, result.out) == (2, "")
        assert f"no request '{identifier}' in the audit log" in result.err
    (home / "it's state" / "audit.jsonl").unlink()
    assert "no audit log at" in run("explain", "--request-id", "1").err


def test_a_lock_then_and_now_is_no_change(run: Run, record: Any, home: Path) -> None:
    open_state(home / "it's state")
    record(code="locked", rule="", action="s3:GetObject", access_level="Read")
    assert run("lock", "add", "--user", "alice", "--name", "l").code == 0

    result = run("explain", "--request-id", "11111111-2222")

    assert result.code == 1
    assert "denied: locked: by the operator of the gateway (lock/l)\n" in result.out
    assert "changed" not in result.out


def test_of_several_lines_of_a_request_the_last_counts(run: Run, record: Any, home: Path) -> None:
    record(event="websocket.open", method="GET")
    log = home / "it's state" / "audit.jsonl"
    log.rename(log.with_name("audit.jsonl.1"))
    record(method="PATCH")

    assert "  request   PATCH /a%20key\n" in run("explain", "--request-id", "11111111-2222").out


def test_what_clients_chose_cannot_move_the_cursor(run: Run, home: Path) -> None:
    hostile = "arn:aws:s3:::reports/\x1b]0;x\x07\x1b[2K\x9b1A\u202eallowed:\nforged"
    private_folder(home / "it's state")
    log = AuditLog(home / "it's state" / "audit.jsonl")
    log.write(
        AuditRecord(
            time="2026-11-27T10:00:00.000Z",
            event="request",
            id="id-1",
            user="alice",
            session="s",
            app="test",
            account="123456789012",
            role_arn=READ_ONLY,
            granted_role_arn=READ_ONLY,
            host="reports.s3.eu-west-1.amazonaws.com",
            method="GET",
            path="/\x9b31m\x1b[31m",
            service="s3",
            region="eu-west-1",
            action="s3:GetObject",
            access_level="Read",
            resource=hostile,
            decision="allowed",
            reason="\x1b[1A",
            status=200,
        )
    )
    log.close()

    explained = run("explain", "--request-id", "id-1")
    (home / "policy.yaml").write_text(POLICY.replace("[Read, List]", "[List]"))
    learned = run("audit", "policy", "--user", "alice", "--diff")

    for result in (explained, learned):
        assert "reports/" in result.out
        text = result.out + result.err
        assert not [c for c in text if not c.isprintable() and c != "\n"]
        assert "forged" not in [line[:6] for line in text.splitlines()]
