"""A rule that is said to be unreachable is: nothing that can be asked is allowed by it."""

from __future__ import annotations

from itertools import product
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from awsgate.aws.call import Call
from awsgate.policy import CallFacts, decide, parse_policy
from awsgate.policy.globs import glob_matches
from awsgate.policy.unreachable import covers, unreachable

HERE, THERE = "123456789012", "210987654321"
ARNS = [f"arn:{p}:iam::{a}:role/{n}" for p in ("aws", "aws-cn") for a in (HERE, THERE)
        for n in ("Read", "Dev")]  # fmt: skip
PATTERNS = [*ARNS[:3], "arn:aws:iam::*:role/*", f"arn:aws:iam::{HERE}:role/D*", "{{internal.arns}}"]
LABELS: list[dict[str, Any]] = [
    {}, {"*": "*"}, {"env": "test"}, {"env": ["test", "prod"]}, {"env": "{{internal.env}}"},
    {"env": "{{regexp.not_match(\"^p\")}}"}, {"env": "t*"}, {"team": "a"}, {"env": "dev"},
]  # fmt: skip
CONSOLE = "https://console.aws.amazon.com/"
CALLS = [
    CallFacts(Call(s, a.partition(":")[2], (a,), (level,), (arn,) if arn else ()), (r,), client)
    for s, a, level, arn in (
        ("s3", "s3:GetObject", "Read", "arn:aws:s3:::b/k"),
        ("s3", "s3:PutObject", "Write", ""),
        ("ec2", "ec2:RunInstances", "Write", ""),
    )
    for r in ("eu-west-1", "us-east-1")
    for client in ("10.0.0.1", "2001:db8::1")
] + [CallFacts(Call("s3"))]  # type: ignore[arg-type]  # fmt: skip


def some(values: list[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=2, unique=True)


CONDITIONS = st.fixed_dictionaries(
    {},
    optional={
        "aws_actions": some(["*", "s3:*", "s3:Get*", "S3:GetObject", "ec2:RunInstances"]),
        "aws_resources": some(["*", "arn:aws:s3:::b/*", "arn:aws:s3:::b/k"]),
        "aws_regions": some(["*", "eu-*", "eu-west-1", "us-east-1"]),
        "aws_services": some(["s3", "ec2", "*"]),
        "aws_access_levels": some(
            ["Read", "List", "Write", "Tagging", "Permissions management"]
        ) | st.just(["Read", "List", "Write", "Tagging", "Permissions management"]),
        "source_networks": some(["10.0.0.0/8", "10.0.0.0/24", "2001:db8::/32"]),
    },
)  # fmt: skip
SCOPES = st.tuples(
    st.sampled_from(LABELS), st.lists(st.sampled_from(PATTERNS), max_size=2, unique=True)
)


@settings(max_examples=400)
@given(SCOPES, CONDITIONS, SCOPES, CONDITIONS)
def test_what_is_unreachable_allows_nothing(
    scope: Any, conditions: Any, denied: Any, denied_calls: Any
) -> None:
    allow = {"app_labels": scope[0], "aws_role_arns": scope[1], **conditions}
    deny = {"app_labels": denied[0], "aws_role_arns": denied[1], **denied_calls}
    policy = parse_policy(
        [("r", {"kind": "role", "version": "v5", "metadata": {"name": "r"},
                "spec": {"allow": allow, "deny": deny}})]
        + [(name, {"kind": "app", "version": "v3", "spec": {"uri": uri},
                   "metadata": {"name": name, "labels": labels}})
           for name, uri, labels in (
               ("test", CONSOLE, {"env": "test", "aws_account_id": HERE}),
               ("prod", CONSOLE, {"env": "prod", "aws_account_id": THERE}),
               ("any", "https://console.amazonaws.cn/", {"team": "b"}))]
        + [(name, {"kind": "user", "version": "v2", "metadata": {"name": name},
                   "spec": {"roles": ["r"], "traits": traits}})
           for name, traits in (("a", {"env": ["test", "prod"], "arns": ARNS}), ("b", {}))]
    )  # fmt: skip

    if list(unreachable(policy.roles["r"], list(policy.apps.values()))):
        assert not any(
            decide(
                policy, user=user, app=app, role_arn=arn, endpoint_service="s3",
                tenant_controlled=False, call=call,
            ).allowed
            for user, app, arn, call in product(policy.users, policy.apps, ARNS, CALLS)
        )  # fmt: skip


TEXTS = ["".join(chars) for n in range(5) for chars in product("ab", repeat=n)]


@given(st.text("ab*?", max_size=5), st.text("ab*?", max_size=5))
def test_a_glob_that_covers_another_matches_all_that_it_does(wide: str, narrow: str) -> None:
    if covers(wide, narrow):
        assert [t for t in TEXTS if glob_matches(narrow, t) and not glob_matches(wide, t)] == []


def test_a_glob_covers_what_is_narrower() -> None:
    for wide, narrow in (("*", "a"), ("a*", "a?b*"), ("s3:*", "s3:Get*"), ("a?", "ab"), ("?", "?")):
        assert covers(wide, narrow), (wide, narrow)
    for wide, narrow in (("a", "*"), ("a?", "a*"), ("s3:Get*", "s3:*"), ("a*", "{{internal.a}}")):
        assert not covers(wide, narrow), (wide, narrow)
