"""Marked calls in the decision: never allowed as they are, and put to somebody as they are."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awsgate.aws.call import Call
from awsgate.errors import SetupError
from awsgate.policy import CallFacts, Decision, Policy, decide, parse_policy, verdicts
from awsgate.policy.approvals import (
    DEFAULT_APPROVAL_S,
    MAX_RESOURCES,
    AskedCall,
    MarkedCall,
    is_marked,
    need_of,
    shown,
)
from awsgate.policy.decide import NEEDS_APPROVAL
from awsgate.policy.explain import explain
from awsgate.policy.grants import GrantBook
from awsgate.policy.lint import lint
from awsgate.visible import is_visible

ARN = "arn:aws:iam::123456789012:role/Dev"
USER = "arn:aws:iam::123456789012:user/eve"
DELETE = Call("iam", "DeleteUser", ("iam:DeleteUser",), ("Write",), (USER,))
LIST = Call("iam", "ListUsers", ("iam:ListUsers",), ("List",))
TWO = Call(
    "s3", "CopyObject", ("s3:GetObject", "s3:PutObject"), ("Write", "Read"), ("arn:aws:s3:::b/k",)
)
UNKNOWN = Call("iam")
MARK = {"actions": ["iam:delete*"]}
NOW = 1_800_000_000


def policy_of(*roles: dict[str, Any], mode: str = "enforce") -> Policy:
    base = {"app_labels": {"*": "*"}, "aws_role_arns": [ARN]}
    names = [f"r{number}" for number, _ in enumerate(roles)]
    documents: list[dict[str, Any]] = [
        {"kind": "role", "version": "v5", "metadata": {"name": name},
         "spec": {**role, "allow": {**base, **role.get("allow", {})}}}
        for name, role in zip(names, roles, strict=True)
    ]  # fmt: skip
    documents += [
        {"kind": "app", "version": "v3", "metadata": {"name": "app"},
         "spec": {"uri": "https://console.aws.amazon.com/", "aws": {"external_id": "ext"}}},
        {"kind": "user", "version": "v2", "metadata": {"name": "alice"}, "spec": {"roles": names}},
        {"kind": "gateway", "spec": {"mode": mode}},
    ]  # fmt: skip
    return parse_policy([(str(number), one) for number, one in enumerate(documents)])


def marked(*marks: dict[str, Any], **allow: Any) -> dict[str, Any]:
    return {"allow": {"approvals": list(marks), **allow}}


ABOUT: dict[str, Any] = {
    "user": "alice", "app": "app", "role_arn": ARN, "endpoint_service": "iam",
    "tenant_controlled": False,
}  # fmt: skip


def ask(policy: Policy, call: Call | None) -> Decision:
    return decide(policy, call=CallFacts(call) if call is not None else None, **ABOUT)


def test_a_marked_call_waits_and_says_for_what() -> None:
    found = ask(policy_of(marked(MARK)), DELETE)

    assert (found.allowed, found.reason) == (False, f"{NEEDS_APPROVAL}: role/r0")
    (need,) = found.needs
    assert need.call == MarkedCall("r0", ARN, ("iam:DeleteUser",), (USER,))
    assert need.terms.thresholds == ((1, 1),)
    assert need.terms.max_duration_s == DEFAULT_APPROVAL_S
    assert found.about_call


OTHERS = {
    "a call that is not marked": ([marked(MARK)], LIST, "enforce", True),
    "another role allows it without a mark": ([marked(MARK), {}], DELETE, "enforce", True),
    "a role that does not allow it marks nothing": (
        [marked(MARK, aws_actions=["s3:*"]), {}], DELETE, "enforce", True,
    ),
    "report mode refuses nothing": ([marked(MARK)], DELETE, "report", True),
    "who asks whether they may be the role at all": ([marked(MARK)], None, "enforce", True),
    "a call of which nothing is known, and a browser": ([marked(MARK)], UNKNOWN, "enforce", False),
    "a role that marks a call and does not allow it": (
        [marked(MARK, aws_actions=["s3:*"])], DELETE, "enforce", False,
    ),
    "what is denied is put to nobody": (
        [marked(MARK), {"deny": {"aws_actions": ["iam:DeleteUser"]}}], DELETE, "enforce", False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("row", OTHERS.values(), ids=OTHERS)
def test_nobody_is_to_be_asked_for(
    row: tuple[list[dict[str, Any]], Call | None, str, bool],
) -> None:
    roles, call, mode, allowed = row
    found = ask(policy_of(*roles, mode=mode), call)

    assert (found.allowed, found.needs) == (allowed, ())
    if mode == "report":
        assert found.reported.startswith(NEEDS_APPROVAL)


def test_a_call_of_which_nothing_is_known_is_refused_in_words() -> None:
    assert ask(policy_of(marked(MARK)), UNKNOWN).reason == (
        "no rule allows this call: approvals of role/r0"
    )


def test_of_several_roles_that_mark_it_each_approval_will_do() -> None:
    found = ask(policy_of(marked(MARK), marked(MARK, MARK)), DELETE)

    assert [need.call.role for need in found.needs] == ["r0", "r1"]


def test_the_strictest_of_the_marks_that_fit_holds() -> None:
    easy = {"actions": ["s3:Get*"], "duration": "2h", "suggested_reviewers": ["bob"]}
    hard = {
        "actions": ["s3:PutObject"],
        "duration": "20m",
        "thresholds": [{"approve": 2, "deny": 1}, {"approve": 3, "deny": 2}],
        "suggested_reviewers": ["carol", "bob"],
    }
    (need,) = ask(policy_of(marked(easy, hard)), TWO).needs

    assert need.call.actions == ("s3:GetObject", "s3:PutObject")
    assert need.terms.thresholds == ((2, 1), (3, 2))
    assert need.terms.max_duration_s == 1200
    assert need.terms.reviewers == ("bob", "carol")


def test_only_the_marked_actions_of_a_call_are_put_to_somebody() -> None:
    (need,) = ask(policy_of(marked({"actions": ["s3:PutObject"]})), TWO).needs

    assert need.call.actions == ("s3:PutObject",)


def test_more_than_anybody_reads_is_put_to_nobody() -> None:
    many = tuple(f"arn:aws:s3:::b/{number}" for number in range(MAX_RESOURCES + 1))
    policy = policy_of(marked({"actions": ["*"]}))

    assert ask(policy, replace(TWO, resources=many[1:])).needs
    for resources in (many, ("arn:aws:s3:::b/" + "k" * 5000,)):
        found = ask(policy, replace(TWO, resources=resources))
        assert (found.allowed, found.needs) == (False, ())


FAULTS = {
    "no actions": ({}, "spec.allow.approvals[0].actions: is missing"),
    "an empty list": (
        {"actions": []},
        "spec.allow.approvals[0].actions: is empty, which would restrict nothing: leave it out",
    ),
    "no action": (
        {"actions": ["Delete"]},
        "spec.allow.approvals[0].actions[0]: 'Delete' is not an action like 's3:GetObject', "
        "'s3:Get*' or '*:Describe*'",
    ),
    "no threshold": (
        {**MARK, "thresholds": [{"approve": 0}]},
        "spec.allow.approvals[0].thresholds[0].approve",
    ),
    "no duration": ({**MARK, "duration": "soon"}, "spec.allow.approvals[0].duration: 'soon'"),
    "the word of allow.request": (
        {**MARK, "max_duration": "1h"},
        "spec.allow.approvals[0].max_duration: unknown key, did you mean 'duration'",
    ),
}


@pytest.mark.parametrize(("mark", "fault"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_told_with_its_place(mark: dict[str, Any], fault: str) -> None:
    with pytest.raises(SetupError) as caught:
        policy_of(marked(mark))
    assert len(caught.value.faults) == 1
    assert fault in caught.value.faults[0]


def test_a_deny_marks_nothing() -> None:
    with pytest.raises(SetupError) as caught:
        policy_of({"deny": {"approvals": [MARK]}})
    assert "spec.deny.approvals: unknown key" in caught.value.faults[0]


def test_check_tells_what_will_ask_nobody() -> None:
    policy = policy_of(marked({"actions": ["iam:DeleteUsr", "iam:PassRole", "iam:DeleteUser"]}))
    said = {one.path: one for one in lint(policy, datetime(2026, 1, 1, tzinfo=UTC))}

    assert "did you mean" in str(said["spec.allow.approvals[0].actions[0]"])
    assert "nobody is ever asked" in str(said["spec.allow.approvals[0].actions[1]"])
    assert "spec.allow.approvals[0].actions[2]" not in said
    assert "only who works in the gateway's state folder" in str(said["spec.allow.approvals"])


def test_an_explanation_names_the_mark() -> None:
    policy = policy_of(marked(MARK))
    about = {**ABOUT, "call": CallFacts(DELETE)}

    (verdict,) = verdicts(policy, **about)
    assert (verdict.matches, verdict.unmet) == (False, ("approvals",))
    nearest = explain(policy, **about).nearest
    assert nearest is not None
    (missing,) = nearest.missing
    assert (missing.has, missing.wants) == ("iam:DeleteUser", "somebody's approval of iam:delete*")


# --- what has become of them ------------------------------------------------------------

CALL = MarkedCall("r0", ARN, ("iam:DeleteUser",), (USER,))
STATES = st.sampled_from(["approved", "pending", "denied"])
CALLS = st.sampled_from([CALL, replace(CALL, resources=()), replace(CALL, role_arn="other")])
ASKED = st.builds(
    AskedCall,
    request=st.sampled_from(["ar-1", "ar-2", "ar-3"]),
    user=st.sampled_from(["alice", "bob"]),
    connector=st.sampled_from(["local", "oidc/okta"]),
    call=CALLS,
    state=STATES,
    until=st.integers(NOW - 2, NOW + 2),
)


@given(st.lists(ASKED, max_size=8), CALLS)
def test_a_book_gives_what_is_this_users_and_holds_now_and_an_approval_first(
    asked: list[AskedCall], call: MarkedCall
) -> None:
    found = GrantBook(asked=asked).asked("alice", "local", call, NOW)

    fit = [
        one
        for one in asked
        if (one.user, one.connector, one.call) == ("alice", "local", call) and one.until > NOW
    ]
    assert (found is None) == (not fit)
    if found is not None:
        assert found in fit
        states = {one.state for one in fit}
        assert found.state == next(s for s in ("approved", "denied", "pending") if s in states)


NAMES = st.sampled_from(["iam:DeleteUser", "iam:ListUsers", "s3:DeleteObject", "s3:GetObject"])
PATTERNS = st.sampled_from(["iam:*", "*", "*:Delete*", "s3:getobject", "sqs:*"])


@given(
    st.lists(st.lists(PATTERNS, min_size=1, max_size=2), max_size=3),
    st.lists(NAMES, max_size=3, unique=True),
    st.lists(st.sampled_from(["arn:a", "arn:b"]), max_size=3),
)
def test_what_is_allowed_at_once_has_no_action_that_a_mark_fits(
    marks: list[list[str]], actions: list[str], resources: list[str]
) -> None:
    policy = policy_of(marked(*({"actions": patterns} for patterns in marks)))
    call = Call("iam", "X", tuple(actions), ("Write",), tuple(resources))
    found = ask(policy, call)

    def fits(pattern: str, action: str) -> bool:
        service, _, name = pattern.partition(":")
        wanted, _, what = action.lower().partition(":")
        return pattern == "*" or (
            service in ("*", wanted) and what.startswith(name.lower().rstrip("*"))
        )

    hit = {a for a in actions for patterns in marks for p in patterns if fits(p, a)}
    unknown = bool(marks) and not actions
    assert found.allowed == (not hit and not unknown)
    assert [set(need.call.actions) for need in found.needs] == ([hit] if hit else [])
    spec = policy.roles["r0"].spec.allow.approvals
    assert is_marked(spec, call) == (not actions or bool(hit))
    assert (need_of(spec, call, role="r0", role_arn=ARN) is None) == (not hit)


@pytest.mark.parametrize(
    ("key", "read"),
    [
        ("a/b-c_1.txt", "arn:aws:s3:::b/a/b-c_1.txt"),
        ("Übung/☃", "arn:aws:s3:::b/Übung/☃"),
        ("x as arn:aws:iam::1:role/Reader", '"arn:aws:s3:::b/x as arn:aws:iam::1:role/Reader"'),
        ("x,arn:aws:s3:::other/y", '"arn:aws:s3:::b/x,arn:aws:s3:::other/y"'),
        ('x" for 5m', r'"arn:aws:s3:::b/x\" for 5m"'),
        ("x\n\x7f\u202e", r'"arn:aws:s3:::b/x\n\u007f\u202e"'),
        ("\u05d0", r'"arn:aws:s3:::b/\u05d0"'),
        ("x\u2800as\u2800role", r'"arn:aws:s3:::b/x\u2800as\u2800role"'),
        ("x\ufe0f", r'"arn:aws:s3:::b/x\ufe0f"'),
    ],
)
def test_the_name_of_an_object_is_read_for_nothing_else(key: str, read: str) -> None:
    assert shown(f"arn:aws:s3:::b/{key}") == read


ODD = st.text('ab, "\\\n\x7f\u05d0\u2028\u2800\ufe0f\u3164', min_size=1)


@given(st.lists(ODD, min_size=1, max_size=3))
def test_two_calls_are_never_shown_alike(names: list[str]) -> None:
    arns = tuple(f"arn:aws:s3:::{name}" for name in names)
    text = MarkedCall("dev", "arn:aws:iam::1:role/Dev", ("s3:PutObject",), arns).text

    assert is_visible(text)
    on, found, decoder = text.removeprefix("s3:PutObject on "), [], json.JSONDecoder()
    while on:
        if on.startswith('"'):
            one, end = decoder.raw_decode(on)
        else:
            one = on.partition(", ")[0]
            end = len(one)
        found.append(one)
        on = on[end:].removeprefix(", ")
    assert tuple(found) == arns
