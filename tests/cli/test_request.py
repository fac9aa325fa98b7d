"""``awsgate request`` in the state folder: users ask, whoever runs the gateway answers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from awsgate.asking import Asker, Asking
from awsgate.audit import AuditRecord
from awsgate.cli import requestdesks
from awsgate.controlclient import GatewayAway
from awsgate.policy import Policy
from awsgate.policy.approvals import MarkedCall, Need
from awsgate.policy.requests import Terms
from awsgate.policy.settings import RequestsSpec
from awsgate.requestplace import RequestPlace
from awsgate.state import open_state
from commandline import POLICY, POWER, READ_ONLY, Run

ASKING = (
    POLICY.replace(
        "  options: {max_session_ttl: 2h}",
        "    request: {roles: [power], max_duration: 2h, reason: {mode: required, prompt: ticket}}",
    )
    .replace(
        f"allow: {{app_labels: {{'*': '*'}}, aws_role_arns: ['{POWER}']}}",
        f"allow: {{app_labels: {{'*': '*'}}, aws_role_arns: ['{POWER}'],"
        " review_requests: {roles: ['*']}}",
    )
    .replace(
        f"allow: {{app_labels: {{'*': '*'}}, aws_role_arns: ['{READ_ONLY}']}}",
        f"allow:\n    app_labels: {{'*': '*'}}\n    aws_role_arns: ['{READ_ONLY}']",
    )
)
ASK = ("request", "create", "--user", "alice", "--role", "power", "--reason", "ticket 7")


@pytest.fixture
def state(home: Path) -> Path:
    (home / "policy.yaml").write_text(ASKING)
    return open_state(home / "it's state").folder


def rows(run: Run, *more: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run("request", "ls", "--json", *more).out)
    return found


def test_asked_approved_and_minted(run: Run, state: Path, gateway_ca: Path) -> None:
    assert gateway_ca.is_dir()
    mint = ("env", "--user", "alice", "--role", "Power")
    assert run(*mint).code == 1
    asked = run(*ASK, "--duration", "30m")
    assert (asked.code, asked.err) == (0, "")
    request = asked.out.strip()
    assert re.fullmatch(r"ar-[0-9a-f]{10}", request)

    approved = run("request", "approve", request, "--reason", "go on")

    assert approved.code == 0, approved.err
    assert approved.out.startswith(f"{request}: power for alice (local), 30m: approved until 20")
    assert run(*mint).code == 0
    assert run("status").code == 1  # no session here; and no traceback
    assert "30m: revoked at 20" in run("request", "revoke", request).out
    assert run(*mint).code == 1
    lines = [json.loads(line) for line in (state / "audit.jsonl").read_text().splitlines()]
    assert [(one["event"], one["user"]) for one in lines] == [
        ("request.create", "alice"),
        ("request.review", requestdesks.operator_name()),
        ("request.granted", "alice"),
        ("request.ended", requestdesks.operator_name()),
    ]
    assert run("audit", "verify").code == 0


def test_who_is_named_needs_the_role_for_it(run: Run, state: Path) -> None:
    assert state.is_dir()
    request = run(*ASK).out.strip()
    own = run("request", "approve", request, "--user", "alice")
    nobody = run("request", "show", request, "--user", "nobody")
    by_bob = run("request", "approve", request, "--user", "bob")

    assert (own.code, "may not answer" in own.err) == (1, True), own.err
    assert (nobody.code, "there is no request" in nobody.err) == (1, True)
    assert by_bob.code == 0, by_bob.err


def test_the_operator_answers_none_of_their_own(
    run: Run, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert state.is_dir()
    monkeypatch.setattr(requestdesks, "operator_name", lambda: "Alice")
    request = run(*ASK).out.strip()
    no = run("request", "approve", request)

    assert (no.code, no.err) == (1, "awsgate: no: nobody reviews a request of their own\n")


def test_behind_sudo_it_is_who_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getuid", lambda: 0)
    monkeypatch.setenv("SUDO_USER", "carol")
    assert requestdesks.operator_name() == "carol"
    monkeypatch.setenv("SUDO_USER", "carol\x1b[2J")
    assert requestdesks.operator_name() != "carol\x1b[2J"


NO = {
    "without its reason": (ASK[:-2], "power needs a reason: ticket"),
    "for too long": ((*ASK, "--duration", "3h"), "2h at most"),
    "a role that may not be asked for": (
        (*ASK[:5], "read", "--reason", "x"),
        "alice may not ask for 'read'\nawsgate: hint: to ask for: power\n",
    ),
    "somebody who is in no policy": (
        ("request", "create", "--user", "zoe", "--role", "power"), "zoe may not ask",
    ),
    "a request that is not there": (("request", "deny", "ar-1"), "there is no request 'ar-1'"),
}  # fmt: skip


@pytest.mark.parametrize("row", NO.values(), ids=NO)
def test_no(run: Run, state: Path, row: tuple[tuple[str, ...], str]) -> None:
    words, why = row
    found = run(*words)

    assert (found.code, found.out) == (1, "")
    assert why in found.err
    assert "awsgate: hint: " in found.err
    assert [p.name for p in state.iterdir() if p.name.startswith("requests")] in ([], [
        "requests.db"
    ])  # fmt: skip


def test_what_there_is_to_ask_for(run: Run, state: Path) -> None:
    assert state.is_dir()
    table = run("request", "roles", "--user", "alice").out.splitlines()
    none = run("request", "roles", "--user", "bob")

    assert [line.split() for line in table] == [
        ["ROLE", "AT", "MOST", "REASON", "ASK"],
        ["power", "2h", "ticket"],
    ]
    assert (none.code, none.out) == (0, "")


def test_the_list_shows_what_waits(run: Run, state: Path) -> None:
    assert state.is_dir()
    assert run("request", "ls").err == "awsgate: there are no requests\n"
    request = run(*ASK).out.strip()
    table = run("request", "ls").out
    (row,) = rows(run)

    assert (row["id"], row["state"], row["may_review"], row["own"]) == (
        request, "pending", True, False,
    )  # fmt: skip
    assert f"{request}  alice (local)  power  1h   pending *" in table
    assert rows(run, "--user", "alice")[0]["may_review"] is False
    run("request", "deny", request, "--reason", "not today")
    shown = run("request", "show", request).out
    assert "denied" in shown
    assert f"no of {requestdesks.operator_name()} (state): not today" in shown


def test_a_call_is_shown_with_its_actions_and_resources(run: Run, state: Path) -> None:
    place = RequestPlace(state, RequestsSpec())
    written: list[AuditRecord] = []
    asking = Asking(place, record=written.append, count=lambda _: None, tell=lambda _: None)
    arns = ("arn:aws:iam::123456789012:user/eve", "arn:aws:iam::123456789012:user/mal\x1b[2J")
    call = MarkedCall("power", POWER, ("iam:DeleteUser",), arns)
    terms = Terms(((1, 1),), 600, reason_required=False)
    request = asking.ask_for_call(Asker("alice", "local", Policy()), Need(call, terms)).request
    place.forget()

    table, shown = run("request", "ls").out, run("request", "show", request).out

    (row,) = rows(run)
    assert row["what"].startswith(f'iam:DeleteUser on {arns[0]}, "arn:')
    assert row["what"].endswith(rf'mal\u001b[2J" as {POWER}')
    assert f"iam:DeleteUser on {arns[0]} and 1 more  10m  pending *" in table
    first, second, *_ = shown.splitlines()
    assert first.startswith(f'{request}: iam:DeleteUser on {arns[0]}, "arn:aws:iam::')
    assert first.endswith("for alice (local), 10m: pending")
    assert second == f"as {POWER}, marked by role/power"
    assert "\x1b" not in table + shown
    assert run("request", "roles", "--user", "alice").out.split()[-3:] == ["power", "2h", "ticket"]
    approved = run("request", "approve", request)
    assert (approved.code, "approved until" in approved.out) == (0, True)
    assert run("request", "show", request, "--wait").code == 0
    assert run("request", "revoke", request).code == 0
    assert run("request", "show", request, "--wait").code == 1


def test_without_a_gateway_here_nothing_is_made(run: Run, home: Path) -> None:
    (home / "policy.yaml").write_text(ASKING)
    found = run(*ASK)

    assert (found.code, "no gateway keeps its state" in found.err) == (2, True)
    assert not (home / "it's state").exists()


def test_waiting_ends_with_the_answer(
    run: Run, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert state.is_dir()
    answers: list[str] = []

    def sleep(_: float) -> None:
        desk = requestdesks.LocalDesk(state.parent / "policy.yaml", state, "")
        request = desk.all()[0]["id"]
        answers.append(desk.review(request, approve=False, reason="no")["state"])

    monkeypatch.setattr("awsgate.cli.request.time.sleep", sleep)
    found = run(*ASK, "--wait")

    assert (found.code, answers) == (1, ["denied"])
    assert "power for alice (local), 1h: denied" in found.err


def test_waiting_goes_on_while_the_gateway_is_away(
    run: Run, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert state.is_dir()
    get, asked = requestdesks.LocalDesk.get, []

    def away_at_first(desk: requestdesks.LocalDesk, request: str) -> dict[str, Any]:
        asked.append(request)
        if len(asked) < 3:
            raise GatewayAway("no gateway answers")
        operator = requestdesks.LocalDesk(state.parent / "policy.yaml", state, "")
        operator.review(request, approve=True, reason="")
        return get(desk, request)

    monkeypatch.setattr(requestdesks.LocalDesk, "get", away_at_first)
    monkeypatch.setattr("awsgate.cli.request.time.sleep", lambda _: None)

    found = run(*ASK, "--wait")

    assert (found.code, len(asked)) == (0, 3), found.err
    assert found.err.count("does not answer now: asking on") == 1


def test_credentials_for_less_answer_nothing(
    run: Run, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert state.is_dir()
    request = run(*ASK).out.strip()
    bounds = {"read_only": True, "max_requests": 0, "user": "a", "app": "b", "role_arn": "c"}
    monkeypatch.setenv("AWSGATE_BOUNDS", json.dumps(bounds))

    assert run("request", "approve", request).code == 1
    monkeypatch.delenv("AWSGATE_BOUNDS")
    assert rows(run)[0]["state"] == "pending"


def test_a_gateway_cannot_move_the_cursor_by_an_id(
    run: Run, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert state.is_dir()
    create = requestdesks.LocalDesk.create

    def hostile(*arguments: Any, **named: Any) -> dict[str, Any]:
        return {**create(*arguments, **named), "id": "ar-\x1b]0;owned\x07\x1b[2J"}

    monkeypatch.setattr(requestdesks.LocalDesk, "create", hostile)

    assert run(*ASK).out == "ar-\\x1b]0;owned\\x07\\x1b[2J\n"
