"""What the tests of learn mode share: audit lines, a policy, and the gateway's decision on it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import yaml

from awsgate.auditline import resource_text
from awsgate.aws.call import Call, access_levels_of
from awsgate.learn import Lesson, Wanted, gateway_grants, learn, role_documents
from awsgate.policy import CallFacts, Policy, decide, parse_policy

ROLE = "arn:aws:iam::123456789012:role/Power"
FURTHER = "arn:aws:iam::123456789012:role/Further"
BASE = f"""\
kind: app
version: v3
metadata: {{name: shop, labels: {{aws_account_id: '123456789012', tier: 'a*b'}}}}
spec: {{uri: https://console.aws.amazon.com/}}
---
kind: app
version: v3
metadata: {{name: other, labels: {{aws_account_id: '123456789012', tier: 'axb'}}}}
spec: {{uri: https://console.aws.amazon.com/}}
---
kind: role
version: v7
metadata: {{name: wide}}
spec: {{allow: {{app_labels: {{'*': '*'}}, aws_role_arns: ['{ROLE}']}}}}
---
kind: user
version: v2
metadata: {{name: alice}}
spec: {{roles: [wide]}}
"""


def line(action: str = "s3:GetObject", *resources: str, **fields: Any) -> dict[str, Any]:
    """Give an audit line, as the gateway writes it."""
    service = action.partition(":")[0]
    return {
        "time": "2026-11-27T10:00:00.000Z", "event": "request", "user": "alice",
        "session": "s1", "client": "10.0.0.1:50000", "app": "shop", "role_arn": ROLE,
        "granted_role_arn": ROLE, "service": service, "region": "us-east-1",
        "host": f"{service}.us-east-1.amazonaws.com", "action": action,
        "resource": resource_text(resources), "access_level": "Read", "method": "GET",
        "path": "/", "decision": "allowed", "status": 200, **fields,
    }  # fmt: skip


def lesson_of(lines: Iterable[dict[str, Any]], **wanted: str) -> Lesson:
    return learn(lines, Wanted("alice", **wanted))


def policy_of(text: str) -> Policy:
    return parse_policy([("policy", document) for document in yaml.safe_load_all(text)])


def base_policy() -> Policy:
    return policy_of(BASE)


def applied(lesson: Lesson, *, compact: bool = False) -> tuple[Policy, list[str]]:
    """Give the policy with the documents in it in place of the wide role, and the notes."""
    text, notes = role_documents(lesson, gateway_grants(lesson, compact=compact), base_policy())
    roles = json.loads(text.splitlines()[1].partition("roles: ")[2])
    apps = BASE.partition("---\nkind: role")[0]
    user = json.dumps(
        {"kind": "user", "version": "v2", "metadata": {"name": "alice"}, "spec": {"roles": roles}}
    )
    return policy_of("---\n".join(filter(None, [apps, user + "\n", text if roles else ""]))), notes


def passes(
    policy: Policy,
    actions: str,
    *resources: str,
    region: str = "us-east-1",
    app: str = "shop",
    role: str = ROLE,
    tenant: str = "",
) -> bool:
    names = tuple(actions.split())
    return decide(
        policy,
        user="alice",
        app=app,
        role_arn=role,
        endpoint_service=tenant,
        tenant_controlled=bool(tenant),
        call=CallFacts(
            Call(names[0].partition(":")[0], "", names, access_levels_of(names), resources),
            (region,),
        ),
    ).allowed


ACTIONS = ("s3:GetObject", "s3:PutObject", "s3:PutObject s3:PutObjectTagging", "dynamodb:GetItem")
PLAIN = ("arn:aws:s3:::b/x", "arn:aws:s3:::b/y", "arn:aws:s3:::b/d/z")
REGIONS = ("us-east-1", "eu-west-1")


def lines_of(made: Iterable[tuple[str, str, str]]) -> list[dict[str, Any]]:
    """Give lines for calls: actions, a resource or nothing, a region."""
    return [line(a, *([r] if r else []), region=g) for a, r, g in made]
