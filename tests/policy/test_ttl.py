"""How long a session may last: the strictest limit, and whose it is."""

from __future__ import annotations

from typing import Any

import botocore.session
import pytest

from awsgate.errors import SetupError
from awsgate.policy import Policy, TtlLimit, max_ttl_s, parse_policy, ttl_limit
from awsgate.policy.ttl import AWS_MAX_S

ARN = "arn:aws:iam::123456789012:role/Read"


def policy_of(
    *roles: str | None, app: str | None = None, gateway: str | None = None, deny: Any = None
) -> Policy:
    """One role for each time that is given, all of them the user's."""
    names = [f"r{number}" for number, _ in enumerate(roles, 1)]
    allow = {"app_labels": {"*": "*"}, "aws_role_arns": [ARN]}
    options = {"options": {"max_session_ttl": app}} if app else {}
    session = {"session": {"default_ttl": "1m", "max_ttl": gateway}} if gateway else {}
    documents: list[dict[str, Any]] = [
        {"kind": "role", "version": "v5", "metadata": {"name": name},
         "spec": {"allow": allow, "deny": deny or {},
                  "options": {"max_session_ttl": ttl} if ttl else {}}}
        for name, ttl in zip(names, roles, strict=True)
    ]  # fmt: skip
    documents += [
        {"kind": "app", "version": "v3", "metadata": {"name": "app"},
         "spec": {"uri": "https://console.aws.amazon.com/", **options}},
        {"kind": "user", "version": "v2", "metadata": {"name": "alice"}, "spec": {"roles": names}},
        {"kind": "gateway", "spec": session},
    ]  # fmt: skip
    return parse_policy([("place", document) for document in documents])


HOURS = 3600
ROWS: dict[str, tuple[Policy, dict[str, Any], TtlLimit]] = {
    "nothing is said": (
        policy_of(None), {}, TtlLimit(12 * HOURS, "session.max_ttl of the gateway"),
    ),
    "the strictest role": (
        policy_of("8h", "2h", None), {}, TtlLimit(2 * HOURS, "max_session_ttl of role/r2"),
    ),
    "the app": (
        policy_of("8h", app="90m"), {}, TtlLimit(5400, "max_session_ttl of app/app"),
    ),
    "an app that allows more": (
        policy_of("1h", app="2h"), {}, TtlLimit(1 * HOURS, "max_session_ttl of role/r1"),
    ),
    "the gateway": (
        policy_of("8h", gateway="30m"), {}, TtlLimit(1800, "session.max_ttl of the gateway"),
    ),
    "aws, whatever the policy says": (
        policy_of("30h", gateway="24h"), {},
        TtlLimit(12 * HOURS, "AWS gives no role a longer session"),
    ),
    "the login": (
        policy_of("8h"), {"login_ends_in_s": 600}, TtlLimit(600, "the login ends then"),
    ),
    "a login that goes on": (
        policy_of("8h"), {"login_ends_in_s": 90_000},
        TtlLimit(8 * HOURS, "max_session_ttl of role/r1"),
    ),
    "a login that is over": (
        policy_of("8h"), {"login_ends_in_s": -5}, TtlLimit(0, "the login ends then"),
    ),
    "a chained role": (
        policy_of("8h"), {"chained": True},
        TtlLimit(HOURS, "AWS gives a role that another role assumes no longer session "
                        "(role chaining)"),
    ),
    "a chained role of half an hour": (
        policy_of("30m"), {"chained": True}, TtlLimit(1800, "max_session_ttl of role/r1"),
    ),
    "what is denied": (
        policy_of("8h", deny={"app_labels": {"*": "*"}}), {},
        TtlLimit(0, "the policy does not allow it"),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("policy", "known", "limit"), ROWS.values(), ids=ROWS)
def test_the_limit(policy: Policy, known: dict[str, Any], limit: TtlLimit) -> None:
    assert ttl_limit(policy, "alice", "app", ARN, **known) == limit
    if not known:
        assert max_ttl_s(policy, "alice", "app", ARN) == limit.seconds


@pytest.mark.parametrize("who", [("bob", "app", ARN), ("alice", "x", ARN), ("alice", "app", "x")])
def test_whoever_is_not_there_has_no_time(who: tuple[str, str, str]) -> None:
    assert ttl_limit(policy_of("8h"), *who) == TtlLimit(0, "the policy does not allow it")


def test_a_role_that_does_not_allow_it_limits_nothing() -> None:
    policy = policy_of("8h", "1h")
    narrow = parse_policy(
        [("p", {"kind": "role", "version": "v5", "metadata": {"name": "narrow"}, "spec": {
            "allow": {"app_labels": {"x": "y"}, "aws_role_arns": [ARN]},
            "options": {"max_session_ttl": "1m"}}})]
    ).roles["narrow"]  # fmt: skip
    user = policy.users["alice"]
    more = user.model_copy(
        update={"spec": user.spec.model_copy(update={"roles": ("r1", "narrow")})}
    )
    mixed = Policy(policy.gateway, {**policy.roles, "narrow": narrow}, {"alice": more}, policy.apps)

    assert ttl_limit(mixed, "alice", "app", ARN).seconds == 8 * HOURS


def test_the_limit_of_an_app_is_a_duration() -> None:
    with pytest.raises(SetupError) as caught:
        policy_of("8h", app="eight hours")

    assert caught.value.faults == (
        "place: spec.options.max_session_ttl: 'eight hours' is not a duration like '8h' or '1h30m'",
    )


def test_twelve_hours_are_what_sts_takes() -> None:
    model = botocore.session.get_session().get_service_model("sts")
    duration = model.operation_model("AssumeRole").input_shape.members["DurationSeconds"]

    assert duration.metadata["max"] == AWS_MAX_S
