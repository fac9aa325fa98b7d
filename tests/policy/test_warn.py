"""What is valid and probably not meant: a warning each, with its place, and no fault."""

from __future__ import annotations

from typing import Any

import pytest

from awsgate.policy import Policy, decide, parse_policy

ACCOUNT = "123456789012"
OTHER = "999999999999"
ARN = f"arn:aws:iam::{ACCOUNT}:role/Read"
CONSOLE = "https://console.aws.amazon.com/"
CHINA = "https://console.amazonaws.cn/"
OPEN = "https://ec2.us-east-1.amazonaws.com/"


def app(labels: dict[str, str], uri: str = CONSOLE, name: str = "a") -> dict[str, Any]:
    metadata = {"name": name, "labels": labels}
    return {"kind": "app", "version": "v3", "metadata": metadata, "spec": {"uri": uri}}


def role(*arns: str, part: str = "allow") -> dict[str, Any]:
    spec = {part: {"app_labels": {"*": "*"}, "aws_role_arns": list(arns)}}
    return {"kind": "role", "version": "v5", "metadata": {"name": "r"}, "spec": spec}


def user(name: str, **spec: Any) -> dict[str, Any]:
    return {"kind": "user", "version": "v2", "metadata": {"name": name}, "spec": spec}


HERE = app({"aws_account_id": ACCOUNT})


def read(*documents: dict[str, Any]) -> Policy:
    return parse_policy([(f"doc{n}", document) for n, document in enumerate(documents, 1)])


NO_LABEL = "metadata.labels: no 'aws_account_id', so roles of any account fit this app"
MEANT = f"{NO_LABEL}: did you mean 'aws_account_id' by"

# documents -> the warnings
WARNINGS: dict[str, tuple[list[dict[str, Any]], list[str]]] = {
    "an app of no account": ([app({})], [f"doc1: {NO_LABEL}"]),
    "an app with other labels": ([app({"env": "test"})], [f"doc1: {NO_LABEL}"]),
    "a letter left out": ([app({"aws_acount_id": ACCOUNT})], [f"doc1: {MEANT} 'aws_acount_id'"]),
    "other dashes": ([app({"aws-account-id": ACCOUNT})], [f"doc1: {MEANT} 'aws-account-id'"]),
    "upper case": ([app({"AWS_ACCOUNT_ID": ACCOUNT})], [f"doc1: {MEANT} 'AWS_ACCOUNT_ID'"]),
    "another word": ([app({"env": "x", "tenant": ACCOUNT})], [f"doc1: {MEANT} 'tenant'"]),
    "an arn of another account": (
        [HERE, role(ARN, f"arn:aws:iam::{OTHER}:role/Read")],
        [
            f"doc2: spec.allow.aws_role_arns[1]: 'arn:aws:iam::{OTHER}:role/Read': "
            f"no app is in account {OTHER}"
        ],
    ),
    "such an arn denied": (
        [HERE, role(f"arn:aws:iam::{OTHER}:role/Read", part="deny")],
        [
            f"doc2: spec.deny.aws_role_arns[0]: 'arn:aws:iam::{OTHER}:role/Read': "
            f"no app is in account {OTHER}"
        ],
    ),
    "such an arn in a trait": (
        [HERE, user("bob", traits={"more": ["x", f"arn:aws:iam::{OTHER}:role/Read"]})],
        [
            f"doc2: spec.traits.more[1]: 'arn:aws:iam::{OTHER}:role/Read': "
            f"no app is in account {OTHER}"
        ],
    ),
    "no app at all": (
        [role(ARN)],
        [f"doc1: spec.allow.aws_role_arns[0]: '{ARN}': no app is in account {ACCOUNT}"],
    ),
    "an arn of another partition": (
        [HERE, role(f"arn:aws-cn:iam::{ACCOUNT}:role/Read")],
        [
            f"doc2: spec.allow.aws_role_arns[0]: 'arn:aws-cn:iam::{ACCOUNT}:role/Read': "
            f"no app of account {ACCOUNT} has a uri in partition aws-cn"
        ],
    ),
    "the partition of another account's app": (
        [HERE, app({"aws_account_id": OTHER}, CHINA, "b"),
         role(f"arn:aws-cn:iam::{ACCOUNT}:role/Read")],
        [
            f"doc3: spec.allow.aws_role_arns[0]: 'arn:aws-cn:iam::{ACCOUNT}:role/Read': "
            f"no app of account {ACCOUNT} has a uri in partition aws-cn"
        ],
    ),
    "an app of its partition too": (
        [HERE, app({"aws_account_id": ACCOUNT}, CHINA, "b"),
         role(ARN, f"arn:aws-cn:iam::{ACCOUNT}:role/Read")],
        [],
    ),
    "an app of any partition": (
        [app({"aws_account_id": ACCOUNT}, OPEN), role(f"arn:aws-us-gov:iam::{ACCOUNT}:role/x")],
        [],
    ),
    "an app of any account": ([app({}), role(ARN)], [f"doc1: {NO_LABEL}"]),
    "a template": ([HERE, role("{{internal.arns}}", "arn:aws:iam::{{internal.x}}:role/y")], []),
    "an ordinary policy": (
        [HERE, role(ARN), user("ada.lovelace+ci@corp.example", roles=["r"], traits={"t": ["a b"]})],
        [],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("documents", "warnings"), WARNINGS.values(), ids=WARNINGS)
def test_warning(documents: list[dict[str, Any]], warnings: list[str]) -> None:
    assert list(read(*documents).warnings) == warnings


@pytest.mark.parametrize("name", ["a/b", "a b", "a\u00e9", "a:b", "a", "x" * 65])
def test_a_name_that_aws_does_not_take_is_warned_of(name: str) -> None:
    assert read(user(name)).warnings == (
        f"doc1: metadata.name: {name!r} is no session name of AWS (2 to 64 letters, digits "
        "and _+=,.@-): CloudTrail will show it changed, with a hash",
    )


def test_the_warnings_about_arns_are_what_the_decision_says() -> None:
    apps = [HERE, app({"aws_account_id": OTHER}, CHINA, "b")]
    for partition in ("aws", "aws-cn"):
        for account in (ACCOUNT, OTHER, "000000000000"):
            arn = f"arn:{partition}:iam::{account}:role/Read"
            policy = read(*apps, role(arn), user("bob", roles=["r"]))
            allowed = [
                decide(
                    policy,
                    user="bob",
                    app=name,
                    role_arn=arn,
                    endpoint_service="ec2",
                    tenant_controlled=False,
                ).allowed
                for name in policy.apps
            ]

            assert any(allowed) is not bool(policy.warnings), arn


def test_warnings_are_no_part_of_what_decides() -> None:
    warned = read(HERE, role(ARN), user("a b", roles=["r"]))

    assert warned.warnings
    assert warned == Policy(warned.gateway, warned.roles, warned.users, warned.apps)
