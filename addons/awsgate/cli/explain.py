"""``awsgate explain``: what the policy says of a call, rule by rule, and why.

Of a call that is named by its action, or of one that was made, by its request id. The
policy asked is the one on disk now; where an audit line says otherwise, that is told.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from awsgate.cli.lockbooks import lock_books
from awsgate.cli.options import (
    JsonOption,
    PolicyOption,
    StateOption,
    policy_path,
    state_folder,
)
from awsgate.cli.question import (
    Named,
    Pair,
    Question,
    asked_by_options,
    asked_by_record,
    find_record,
)
from awsgate.cli.terminal import printable
from awsgate.lockout import clause_of, lock_among, rule_of
from awsgate.policy import Decision, Lock, Policy, denied_by
from awsgate.policy.explain import UNKNOWN, Explanation, Missing
from awsgate.policy.explain import explain as explained
from awsgate.policy.locks import LockBook
from awsgate.policy.meant import unknown_name
from awsgate.policyfile import load_policy
from awsgate.state import AUDIT_NAME
from awsgate.timestamps import utc_seconds

_OPTION = {"aws_resources": "--resource", "aws_regions": "--region", "source_networks": "--client"}
_BY_POLICY = ("", "denied", "locked", "pending-approval")


@dataclass(frozen=True, slots=True)
class Answer:
    """What is said of one app and role."""

    app: str
    role_arn: str
    explanation: Explanation
    lock: Lock | None

    @property
    def allowed(self) -> bool:
        """True if neither the policy nor a lock says no."""
        return self.lock is None and self.explanation.decision.allowed

    @property
    def reason(self) -> str:
        """Give why, as a clause."""
        if self.lock is not None:
            return clause_of(self.lock)
        return self.explanation.decision.reason

    @property
    def rule(self) -> str:
        """Give the rule or the lock that decided."""
        if self.lock is not None:
            return rule_of(self.lock)
        return self.explanation.decision.rule

    @property
    def distance(self) -> tuple[bool, int]:
        """How far it is from being allowed."""
        nearest = self.explanation.nearest
        return not self.allowed, len(nearest.missing) if nearest is not None else 99


def explain(
    user: Annotated[str, typer.Option(help="Name of a kind: user document.")] = "",
    action: Annotated[
        list[str] | None, typer.Option(help="IAM action or API operation; may come again.")
    ] = None,
    resource: Annotated[list[str] | None, typer.Option(help="ARN; may come again.")] = None,
    app: Annotated[str, typer.Option(help="Default: each that the user may have.")] = "",
    role: Annotated[str, typer.Option(help="ARN or name. Default: each of the user's.")] = "",
    region: Annotated[str, typer.Option(help="Region that the call is signed for.")] = "",
    client: Annotated[str, typer.Option(help="Address that the user comes from.")] = "",
    at: Annotated[str, typer.Option(help="When: 2026-11-27T18:00:00Z. Default: now.")] = "",
    request_id: Annotated[
        str, typer.Option(help="Of a request that was made: x-awsgate-request-id.")
    ] = "",
    as_json: JsonOption = False,
    policy: PolicyOption = None,
    state: StateOption = None,
) -> None:
    """Show what each rule says of a call; exit 0 if it is allowed, 1 if not.

    Example: awsgate explain --user alice --action s3:PutObject
    """
    now = datetime.now(UTC)
    named = Named(user, action or [], resource or [], app, role, region, client, at)
    if request_id:
        if named != Named("", [], [], "", "", "", "", ""):
            raise typer.BadParameter("--request-id says it all: leave the other options out")
        question = asked_by_record(find_record(state_folder(state) / AUDIT_NAME, request_id))
        rules = load_policy(policy_path(policy))
    else:
        if not user:
            raise typer.BadParameter("name --user and --action, or --request-id")
        rules = load_policy(policy_path(policy))
        question = asked_by_options(rules, named, now)
    books, unread = lock_books(rules, state_folder(state))
    answers = [_answer(rules, question, pair, books, now) for pair in question.pairs]
    notes = [*question.notes, *unread]
    allowed = any(answer.allowed for answer in answers) or _needs_no_user(question)
    if as_json:
        print(json.dumps(_as_json(question, answers, allowed, notes), indent=2))
    else:
        sys.stderr.writelines(f"awsgate: note: {printable(note)}\n" for note in notes)
        # Resources, paths and names are the clients' own.
        print("\n".join(map(printable, _as_text(rules, question, answers))))
    raise typer.Exit(0 if allowed else 1)


def _answer(
    policy: Policy, question: Question, pair: Pair, books: list[LockBook], now: datetime
) -> Answer:
    app, role_arn = pair
    found = explained(
        policy,
        user=question.user,
        app=app,
        role_arn=role_arn,
        endpoint_service=question.endpoint_service,
        tenant_controlled=question.tenant_controlled,
        call=question.facts,
    )
    if question.chained_arn and found.decision.allowed:
        found = replace(found, decision=_chained(policy, question, found.decision))
    lock = lock_among(
        books,
        policy,
        user=question.user,
        app=app,
        session=question.session,
        role_arn=question.chained_arn or role_arn,
        came_by=[role_arn],
        now=now,
    )
    return Answer(app, role_arn, found, lock)


def _chained(policy: Policy, question: Question, decision: Decision) -> Decision:
    """Ask about the role that the client went on to, as the gate does."""
    rule = denied_by(
        policy,
        user=question.user,
        app=question.pairs[0][0],
        role_arn=question.chained_arn,
        call=question.facts,
    )
    denied = "a deny rule matches the role that was assumed"
    return replace(decision, allowed=False, reason=denied, rule=rule) if rule else decision


def _needs_no_user(question: Question) -> bool:
    """True if the audit says that the request passed by a switch of the gateway."""
    return not question.user and question.record.get("decision") == "allowed"


# --- for people ------------------------------------------------------------------------


def _as_text(policy: Policy, question: Question, answers: list[Answer]) -> Iterator[str]:
    if question.record:
        yield from _recorded(question)
    if question.record and not question.user:
        yield "no user of the policy made it, so no rule of a role was asked"
        return
    if not answers:
        yield from _no_answer(policy, question)
        return
    best = min(answers, key=lambda answer: answer.distance)
    if len(answers) > 1:
        yield f"{question.user} may ask for {len(answers)} pairs of app and role:"
        width = max(len(answer.app) for answer in answers)
        for answer in answers:
            said = "allowed" if answer.allowed else "denied "
            why = answer.rule if answer.allowed else answer.reason
            yield f"  {said}  {answer.app:{width}}  {answer.role_arn}  {why}"
        yield ""
        yield f"in {best.app} as {best.role_arn}:"
    yield from _one(policy, question, best)
    if question.record:
        yield from _changed(question, best)


def _one(policy: Policy, question: Question, answer: Answer) -> Iterator[str]:
    decision = answer.explanation.decision
    by = f" ({answer.rule})" if answer.rule and answer.rule not in answer.reason else ""
    yield f"{'allowed' if answer.allowed else 'denied'}: {answer.reason}{by}"
    if decision.reported:
        yield f"  report mode; enforce would refuse it: {decision.reported}"
    yield from (f"  {name:9} {value}" for name, value in _facts(question, answer) if value)
    unknown = unknown_name(policy, question.user, answer.app)
    if unknown:
        yield f"  {unknown}"
    if answer.explanation.verdicts:
        yield "rules, in the order in which they are asked:"
        width = max(len(v.rule) for v in answer.explanation.verdicts)
        for v in answer.explanation.verdicts:
            said = "matches" if v.matches else f"does not match: {', '.join(v.unmet)}"
            yield f"  {v.effect:5}  {v.rule:{width}}  {said}"
    yield from _nearest(answer)


def _facts(question: Question, answer: Answer) -> Iterator[tuple[str, str]]:
    facts = question.facts
    yield "who", f"{question.user}, in {answer.app}"
    yield "as", answer.role_arn
    yield "", f"and from there as {question.chained_arn}" if question.chained_arn else ""
    if facts is None:
        return
    call = facts.call
    names = ", ".join(call.actions) or f"{call.name or call.service} (its action is not known)"
    yield "call", f"{names}  [{', '.join(call.access_levels)}]"
    yield "resource", ", ".join(call.resources)
    yield "region", ", ".join(facts.regions)
    yield "from", facts.client
    yield "at", utc_seconds(facts.now) if facts.now is not None else ""


def _nearest(answer: Answer) -> Iterator[str]:
    nearest = answer.explanation.nearest
    if nearest is None:
        return
    place = f" ({nearest.place})" if nearest.place else ""
    if not nearest.missing:
        yield f"nearest: {nearest.rule}{place} would allow it"
        return
    yield f"nearest: {nearest.rule}{place} would allow it, but for"
    yield from (f"  {_missing(one)}" for one in nearest.missing)


def _missing(one: Missing) -> str:
    has = one.has
    if has == UNKNOWN and one.field in _OPTION:
        has = f"not known ({_OPTION[one.field]} says it)"
    return f"{one.field}: it is {has}; the rule wants {one.wants}"


def _no_answer(policy: Policy, question: Question) -> Iterator[str]:
    user = policy.users.get(question.user)
    if user is None:
        yield f"denied: {unknown_name(policy, question.user, '')}"
        return
    yield f"denied: {question.user} may ask for no role that is meant here"
    yield f"  roles of the policy: {', '.join(user.spec.roles) or 'none'}"
    yield "  a role that only a pattern allows is not listed: name it with --app and --role"


def _recorded(question: Question) -> Iterator[str]:
    record = question.record
    yield f"{record.get('time')}  {record.get('event')} {record.get('id')}"
    scope = "/".join(filter(None, (record.get("service"), record.get("region"))))
    for name, value in (
        ("host", record.get("host")),
        ("scope", scope),
        ("request", f"{record.get('method', '')} {record.get('path', '')}".strip()),
        ("then", _then(record)),
    ):
        if value:
            yield f"  {name:9} {value}"


def _then(record: dict[str, Any]) -> str:
    said = str(record.get("decision", ""))
    code = f" with {record['code']}" if record.get("code") else ""
    rule = f", by {record['rule']}" if record.get("rule") else ""
    reason = f": {record['reason']}" if record.get("reason") else ""
    approval = f", approved by {record['approval']}" if record.get("approval") else ""
    return f"{said}{code}{rule}{approval}{reason}"


def _changed(question: Question, answer: Answer) -> Iterator[str]:
    record = question.record
    if record.get("code") not in _BY_POLICY:
        yield f"It was refused with {record.get('code')}, whatever the policy says."
    else:
        yield from filter(None, [_change(record, answer)])


def _change(record: dict[str, Any], answer: Answer) -> str:
    """Say how today's answer differs from the one in the audit; empty: it does not."""
    was_allowed = record.get("decision") == "allowed"
    if record.get("approval") and answer.explanation.decision.needs and answer.lock is None:
        return ""  # it needs one today as it did then
    if was_allowed != answer.allowed:
        then = "allowed" if was_allowed else "refused"
        return f"The policy or the locks have changed since: then it was {then}."
    by_lock = record.get("code") == "locked" or answer.lock is not None
    if not by_lock and record.get("rule") != answer.rule:
        return "The policy has changed since: another rule decides now."
    return ""


# --- for programs ----------------------------------------------------------------------


def _as_json(
    question: Question, answers: list[Answer], allowed: bool, notes: list[str]
) -> dict[str, Any]:
    facts, record = question.facts, question.record
    about = None
    if facts is not None:
        about = asdict(facts.call) | {
            "regions": facts.regions,
            "client": facts.client,
            "at": facts.now.isoformat() if facts.now is not None else None,
        }
    return {
        "allowed": allowed,
        "user": question.user,
        "call": about,
        "answers": [_row(answer) for answer in answers],
        "recorded": record or None,
        "changed": _has_changed(question, answers),
        "notes": notes,
    }


def _has_changed(question: Question, answers: list[Answer]) -> bool | None:
    """None: there is nothing to compare."""
    record = question.record
    if not (record and question.user and record.get("code") in _BY_POLICY):
        return None
    return any(_change(record, answer) for answer in answers)


def _row(answer: Answer) -> dict[str, Any]:
    explanation = answer.explanation
    return {
        "app": answer.app,
        "role_arn": answer.role_arn,
        "allowed": answer.allowed,
        "reason": answer.reason,
        "rule": answer.rule,
        "reported": explanation.decision.reported,
        "verdicts": [asdict(verdict) for verdict in explanation.verdicts],
        "nearest": asdict(explanation.nearest) if explanation.nearest is not None else None,
    }
