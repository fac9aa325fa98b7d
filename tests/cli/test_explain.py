"""``awsgate explain``: what each rule says of a call, in words and for programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from awsgate.audit import AuditLog, AuditRecord
from awsgate.paths import private_folder
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
        "bob may ask for 3 pairs of app and role:\n"
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
        (("--user", "alice", "--role", "Nobody"), "alice may ask for no role that is meant here"),
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


# --- from the audit ------------------------------------------------------------------------

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
