"""What ``awsgate check`` finds beside faults: each with its place and what to do."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from awsgate.policy import parse_policy
from awsgate.policy.lint import lint

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
ARN = "arn:aws:iam::123456789012:role/Read"
EVERY = {"app_labels": {"*": "*"}, "aws_role_arns": [ARN]}
TEST = {"app_labels": {"env": "test"}, "aws_role_arns": [ARN]}


def document(kind: str, name: str, spec: Any, **labels: str) -> dict[str, Any]:
    metadata = {"name": name, "labels": labels}
    return {"kind": kind, "version": "v1", "metadata": metadata, "spec": spec}


def app(name: str, uri: str = "https://console.aws.amazon.com/", **labels: str) -> dict[str, Any]:
    return document("app", name, {"uri": uri}, aws_account_id="123456789012", **labels)


USER = document("user", "alice", {"roles": ["r"]})
APP = app("test", env="test")


def oidc(name: str, **spec: Any) -> dict[str, Any]:
    rows = [{"claim": "groups", "value": "x", "roles": ["r"]}]
    url = "https://idp.example.com"
    more = {"issuer_url": url, "client_id": "gate", "claims_to_roles": rows}
    return document("oidc", name, more | spec)


def found(*documents: dict[str, Any]) -> list[str]:
    policy = parse_policy([(d["kind"], d) for d in documents])
    assert policy.warnings == ()
    return [str(finding) for finding in lint(policy, NOW)]


def role(allow: Any = None, deny: Any = None) -> dict[str, Any]:
    spec = {"allow": allow} if allow is not None else {}
    return document("role", "r", spec | ({"deny": deny} if deny is not None else {}))


SHADOWED = (
    "role: spec.allow: all of it is denied by the deny part of the same role, so it allows "
    "nothing: narrow the deny, or take the allow out"
)

# allow, deny -> the findings about the role
RULES: dict[str, tuple[Any, Any, list[str]]] = {
    "in order": (EVERY, None, []),
    "no labels": (
        {"aws_role_arns": [ARN]}, None,
        ["role: spec.allow: has no app_labels, so it allows nothing: app_labels: {'*': '*'} is "
         "every app"],
    ),
    "no role arns": (
        {"app_labels": {"*": "*"}}, None,
        ["role: spec.allow: has no aws_role_arns, so it allows nothing: list the IAM roles it is "
         "for"],
    ),
    "labels of no app": (
        {"app_labels": {"env": "tset"}, "aws_role_arns": [ARN]}, None,
        ["role: spec.allow.app_labels: match no app, so it allows nothing: of the apps: env: test"],
    ),
    "a label that no app has": (
        {"app_labels": {"stage": "test"}, "aws_role_arns": [ARN]}, None,
        ["role: spec.allow.app_labels: match no app, so it allows nothing: of the apps: no app has "
         "'stage'"],
    ),
    "a label by trait may be any": (
        {"app_labels": {"env": "{{external.env}}"}, "aws_role_arns": [ARN]}, None, [],
    ),
    "a pattern of another account": (
        {"app_labels": {"*": "*"}, "aws_role_arns": ["arn:aws:iam::99*:role/x"]}, None,
        ["role: spec.allow.aws_role_arns: no role of the list is in the account and partition of "
         "an app it is for: test (123456789012)"],
    ),
    "a pattern of another partition": (
        {"app_labels": {"*": "*"}, "aws_role_arns": ["arn:aws-cn:iam::*:role/x"]}, None,
        ["role: spec.allow.aws_role_arns: no role of the list is in the account and partition of "
         "an app it is for: test (123456789012)"],
    ),
    "denied by its own labels": (
        TEST, {"app_labels": {"env": ["test", "dev"]}},
        [SHADOWED],
    ),
    "denied by its own arns": (
        EVERY, {"aws_role_arns": ["arn:aws:iam::*:role/*"]},
        [SHADOWED],
    ),
    "denied by all of its calls": (
        EVERY | {"aws_actions": ["S3:Get*"], "aws_regions": ["eu-west-1"]},
        {"aws_actions": ["s3:*"], "aws_regions": ["eu-*"]},
        [SHADOWED],
    ),
    "denied for some of its calls": (
        EVERY | {"aws_actions": ["s3:Get*"]}, {"aws_actions": ["s3:*"], "aws_regions": ["eu-*"]},
        [],
    ),
    "denied by its own levels": (
        EVERY | {"aws_access_levels": ["Read"]}, {"aws_access_levels": ["List", "Read"]},
        [SHADOWED],
    ),
    "denied at other levels": (
        EVERY | {"aws_access_levels": ["Read", "List"]}, {"aws_access_levels": ["List"]}, [],
    ),
    "denied at all levels": (
        EVERY, {"aws_access_levels": ["Read", "List", "Write", "Tagging",
                                      "Permissions management"]}, [SHADOWED],
    ),
    "denied in its own hours": (
        EVERY | {"hours": [{"days": ["mon"]}]}, {"hours": [{"days": ["mon"]}, {"days": ["tue"]}]},
        [SHADOWED],
    ),
    "denied in other hours": (
        EVERY | {"hours": [{"days": ["mon"]}]}, {"hours": [{"days": ["tue"]}]}, [],
    ),
    "denied for its services": (
        EVERY | {"aws_actions": ["s3:Get*"]}, {"aws_services": ["s3"]}, [SHADOWED],
    ),
    "denied in another app": (TEST, {"app_labels": {"env": "prod"}}, []),
    "a mistyped action": (
        EVERY | {"aws_actions": ["s3:GetObject", "s3:GetObjekt"]}, None,
        ["role: spec.allow.aws_actions[1]: 's3:GetObjekt': s3 has no such action: did you mean "
         "'s3:GetObject'"],
    ),
    "a mistyped action in a deny": (
        EVERY, {"aws_actions": ["s3:DeletBucket"]},
        ["role: spec.deny.aws_actions[0]: 's3:DeletBucket': s3 has no such action: did you mean "
         "'s3:DeleteBucket'"],
    ),
    "a mistyped service": (
        EVERY | {"aws_actions": ["dynamodbb:*"]}, None,
        ["role: spec.allow.aws_actions[0]: 'dynamodbb:*': there is no service 'dynamodbb': did you "
         "mean 'dynamodb'"],
    ),
    "an operation for an action": (
        EVERY | {"aws_actions": ["s3:ListObjectsV2", "s3:CopyObject"]}, None,
        ["role: spec.allow.aws_actions[0]: 's3:ListObjectsV2' is an API operation and no action of "
         "IAM: it needs s3:ListBucket",
         "role: spec.allow.aws_actions[1]: 's3:CopyObject' is an API operation and no action of "
         "IAM: it needs s3:PutObject and s3:GetObject"],
    ),
    "patterns that fit something": (
        EVERY | {"aws_actions": ["*", "s3:get*", "*:Describe*", "e?2:*", "iam:PassRole"]}, None, [],
    ),
    "a pattern that fits nothing": (
        EVERY | {"aws_actions": ["*:Frobnicate*"]}, None,
        ["role: spec.allow.aws_actions[0]: '*:Frobnicate*': there is no such action in any "
         "service"],
    ),
    "services and regions": (
        EVERY | {"aws_services": ["dynamo-db", "ec2"], "aws_regions": ["eu-wset-1", "us-*"]}, None,
        ["role: spec.allow.aws_services[0]: 'dynamo-db': there is no such service: did you mean "
         "'dynamodb'",
         "role: spec.allow.aws_regions[0]: 'eu-wset-1': no region of this name is known: did you "
         "mean 'eu-west-1'"],
    ),
    "resources of another service": (
        EVERY | {"aws_actions": ["s3:GetObject"],
                 "aws_resources": ["arn:aws:s3:::b/*", "arn:aws:sqs:*:*:q"]}, None,
        ["role: spec.allow.aws_resources[1]: 'arn:aws:sqs:*:*:q' is of sqs, and the rule is about "
         "s3: it never matches: put it in a role of its own"],
    ),
    "resources of no service": (
        EVERY | {"aws_resources": ["arn:aws:s33:::b/*"]}, None,
        ["role: spec.allow.aws_resources[0]: 'arn:aws:s33:::b/*': there is no service 's33': did "
         "you mean 's3'"],
    ),
    "roles as resources of sts": (
        EVERY | {"aws_actions": ["sts:*"], "aws_resources": ["arn:aws:iam::*:role/x"]}, None, [],
    ),
    "an action without a resource beside resources": (
        EVERY | {"aws_actions": ["s3:GetObject", "s3:ListAllMyBuckets"],
                 "aws_resources": ["arn:aws:s3:::b/*"]}, None,
        ["role: spec.allow.aws_actions[1]: 's3:ListAllMyBuckets': the gateway cannot tell its "
         "resource from the request, so beside aws_resources it is never allowed: put it in a "
         "role without aws_resources"],
    ),
    "the same beside a star": (
        EVERY | {"aws_actions": ["s3:ListAllMyBuckets"], "aws_resources": ["*"]}, None, [],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("allow", "deny", "lines"), RULES.values(), ids=RULES)
def test_a_rule(allow: Any, deny: Any, lines: list[str]) -> None:
    said = found(role(allow, deny), USER, APP)

    # Where the rule reaches no app, the app says so too.
    assert [line for line in said if line.startswith("role: ")] == lines


DOCUMENTS: dict[str, tuple[list[dict[str, Any]], list[str]]] = {
    "all in use": ([role(EVERY), USER, APP], []),
    "a role without users": (
        [role(EVERY), APP], ["role: metadata.name: no user has the role 'r'"],
    ),
    "a user without roles": (
        [role(EVERY), USER, APP, document("user", "bob", {})],
        ["user: spec.roles: user 'bob' has no role, so may do nothing"],
    ),
    "an app that nothing reaches": (
        [role(TEST), USER, APP, app("prod", env="prod")],
        ["app: no role reaches the app 'prod', so nobody can use it: its labels are "
         "aws_account_id: 123456789012, env: prod"],
    ),
    "locks of nobody": (
        [role(EVERY), USER, APP,
         document("lock", "l", {"target": {"user": "alise", "role": "rr", "app": "test"}})],
        ["lock: spec.target.user: there is no user 'alise', so this locks nobody: did you mean "
         "'alice'",
         "lock: spec.target.role: there is no role 'rr', so this locks nobody: did you mean 'r'"],
    ),
    "a lock of what is no role": (
        [role(EVERY), USER, APP, document("lock", "l", {"target": {"aws_role_arn": "Read"}})],
        ["lock: spec.target.aws_role_arn: 'Read' is not the ARN of an IAM role, so this locks "
         "nobody: arn:aws:iam::<account>:role/<name>"],
    ),
    "an expired lock": (
        [role(EVERY), USER, APP, document("lock", "l", {
            "target": {"user": "alice"}, "expires": "2026-11-27T11:59:59Z"})],
        ["lock: spec.expires: expired at 2026-11-27T11:59:59+00:00: take the lock out"],
    ),
    "a lock of what is no session": (
        [role(EVERY), USER, APP, document("lock", "l", {"target": {"session": "5f"}})],
        ["lock: spec.target.session: '5f' is no session id, so this locks nobody: 20 hexadecimal "
         "digits, as in the audit"],
    ),
    "a lock that will expire": (
        [role(EVERY), USER, APP, document("lock", "l", {
            "target": {"session": "5f" * 10}, "expires": "2026-11-27T12:00:01Z"})],
        [],
    ),
    "a lock of a user in other letters": (
        [role(EVERY), USER, APP, document("lock", "l", {"target": {"user": "Alice"}})], [],
    ),
    "two connectors that could name one user": (
        [role(EVERY), USER, APP, oidc("a"), oidc("b"), oidc("c", username_prefix="c:")],
        ["oidc: spec.username_prefix: that of oidc/a is the same, so one name can be two people: "
         "give each connector a prefix of its own, unless no two can name one user"],
    ),
    "a connector, and client certificates": (
        [role(EVERY), USER, APP, oidc("a"), document("gateway", "g", {"control": {
            "listen": "0.0.0.0:8444", "client_ca": "/ca.pem",
            "certificate_to_roles": [{"subject": "x", "roles": ["r"]}]}})],
        ["oidc: spec.username_prefix: that of client certificates is the same, so one name can be "
         "two people: give each connector a prefix of its own, unless no two can name one user"],
    ),
    "people's tokens taken for machines'": (
        [role(EVERY), USER, APP, oidc("a", id_tokens={"audiences": ["gate"]})],
        ["oidc: spec.id_tokens.audiences: has the client_id, so a person's ID token logs in as a "
         "machine's does: name the gateway's URL: of machines no nonce, max_age or acr_values is "
         "asked"],
    ),
    "tokens for the gateway": (
        [role(EVERY), USER, APP, oidc("a", id_tokens={"audiences": ["https://gate"]})], [],
    ),
    "a session for days": (
        [role(EVERY), USER, APP, document("gateway", "g", {"session": {"max_ttl": "13h"}})],
        ["gateway: spec.session.max_ttl: over 12h has no effect: AWS gives no role a longer "
         "session"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("documents", "lines"), DOCUMENTS.values(), ids=DOCUMENTS)
def test_a_policy(documents: list[dict[str, Any]], lines: list[str]) -> None:
    assert found(*documents) == lines


def test_what_is_said_of_each_arn_is_not_said_of_the_rule_again() -> None:
    elsewhere = {"app_labels": {"*": "*"}, "aws_role_arns": [ARN.replace("123", "999")]}
    policy = parse_policy([("role", role(elsewhere)), ("user", USER), ("app", APP)])

    assert [w.path for w in policy.warnings] == ["spec.allow.aws_role_arns[0]"]
    assert [w.path for w in lint(policy, NOW)] == [""]  # the app that nothing reaches


def test_a_finding_knows_its_parts() -> None:
    (one,) = lint(
        parse_policy(
            [("a.yaml document 1", role(EVERY | {"aws_actions": ["s3:GetObjekt"]})),
             ("a.yaml document 2", USER), ("a.yaml document 3", APP)]
        ),
        NOW,
    )  # fmt: skip

    assert (one.place, one.path, one.what, one.todo) == (
        "a.yaml document 1",
        "spec.allow.aws_actions[0]",
        "'s3:GetObjekt': s3 has no such action",
        "did you mean 's3:GetObject'",
    )
