"""What AWS can enforce, AWS enforces too: what STS is given, and what users read of its no.

A real gateway in front of the strict AWS, which keeps what it was asked.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from botocore.exceptions import ClientError

from aws_server import sts
from aws_server.model import Refused
from aws_server.server import StrictAws
from awsgate.demo.embedded_aws import ACCOUNT, POWER_ROLE
from awsgate.demo.processes import GatewayProcess
from e2e.forms import Stage, gateway_before
from rawclient import keys_of

READ_ONLY = "arn:aws:iam::aws:policy/ReadOnlyAccess"
POLICY = f"""\
kind: role
version: v5
metadata: {{name: writer}}
spec:
  allow:
    app_labels: {{'*': '*'}}
    aws_role_arns: ['{POWER_ROLE}']
    aws_actions: ['s3:*']
    aws_resources: ['arn:aws:s3:::{{{{internal.team}}}}-data/*']
  options:
    aws_session_policy: computed
    aws_session_tags: {{team: '{{{{internal.team}}}}', env: prod}}
    aws_transitive_tags: [team]
    aws_source_identity: '{{{{internal.email}}}}'
---
kind: role
version: v5
metadata: {{name: reader}}
spec:
  allow:
    app_labels: {{'*': '*'}}
    aws_role_arns: ['{POWER_ROLE}']
    aws_access_levels: [Read, List]
  options: {{aws_session_policy: computed}}
---
kind: role
version: v5
metadata: {{name: plain}}
spec:
  allow:
    app_labels: {{'*': '*'}}
    aws_role_arns: ['{POWER_ROLE}']
---
kind: app
version: v3
metadata: {{name: awsconsole-test, labels: {{aws_account_id: '{ACCOUNT}'}}}}
spec: {{uri: https://console.aws.amazon.com/}}
---
kind: user
version: v2
metadata: {{name: ada}}
spec: {{roles: [writer], traits: {{team: [blue], email: [ada@example.com]}}}}
---
kind: user
version: v2
metadata: {{name: bea}}
spec: {{roles: [writer], traits: {{team: [red], email: [bea@example.com]}}}}
---
kind: user
version: v2
metadata: {{name: rea}}
spec: {{roles: [reader]}}
---
kind: user
version: v2
metadata: {{name: bob}}
spec: {{roles: [plain]}}
"""


@pytest.fixture
def aws() -> Iterator[StrictAws]:
    with StrictAws() as running:
        yield running


@pytest.fixture
def gateway(aws: StrictAws, tmp_path: Path) -> Iterator[GatewayProcess]:
    with gateway_before(aws, tmp_path, POLICY) as running:
        yield running


def s3_of(user: str, aws: StrictAws, gateway: GatewayProcess) -> Any:
    """Give a boto3 client that is ``user``."""
    env = gateway.env(user=user, app="awsconsole-test", role=POWER_ROLE)
    return Stage(aws, gateway, keys_of(env), env["AWS_CA_BUNDLE"]).client("s3")


def asked(aws: StrictAws) -> list[dict[str, str]]:
    """Give what the gateway asked of STS, without what it always asks."""
    own = [r for r in aws.requests if r.access_key_id == aws.base_keys.access_key_id]
    forms = [dict(parse_qsl((r.body or b"").decode(), keep_blank_values=True)) for r in own]
    usual = {"Action", "Version", "RoleArn", "DurationSeconds"}
    return [{name: v for name, v in form.items() if name not in usual} for form in forms]


def test_sts_is_given_the_rule_and_the_users_attributes(
    aws: StrictAws, gateway: GatewayProcess
) -> None:
    for user, team in (("ada", "blue"), ("bea", "red")):
        s3 = s3_of(user, aws, gateway)
        for key in ("one", "two"):
            s3.put_object(Bucket=f"{team}-data", Key=key, Body=b"x")

    ada, bea = asked(aws)  # one call each: the credentials are kept, and shared with nobody
    for form, user, team in ((ada, "ada", "blue"), (bea, "bea", "red")):
        statements = json.loads(form.pop("Policy"))["Statement"]
        limits = [s for s in statements if s["Effect"] == "Deny"]
        assert {tuple(s.get("NotAction", ())) for s in limits} == {("s3:*",), ()}
        assert [f"arn:aws:s3:::{team}-data/*"] in [s.get("NotResource") for s in limits]
        assert form == {
            "RoleSessionName": user,
            "Tags.member.1.Key": "env",
            "Tags.member.1.Value": "prod",
            "Tags.member.2.Key": "team",
            "Tags.member.2.Value": team,
            "TransitiveTagKeys.member.1": "team",
            "SourceIdentity": f"{user}@example.com",
        }
    assert aws.faults() == []


def test_a_role_that_only_reads_is_held_to_it_by_aws(
    aws: StrictAws, gateway: GatewayProcess
) -> None:
    s3_of("rea", aws, gateway).list_objects_v2(Bucket="any-data")

    (form,) = asked(aws)
    assert form["PolicyArns.member.1.arn"] == READ_ONLY
    assert "PolicyArns.member.2.arn" not in form


def test_a_role_without_options_gives_sts_nothing_more(
    aws: StrictAws, gateway: GatewayProcess
) -> None:
    s3_of("bob", aws, gateway).put_object(Bucket="any-data", Key="k", Body=b"x")

    assert asked(aws) == [{"RoleSessionName": "bob"}]


NOS = {
    "too large": (
        Refused(400, "PackedPolicyTooLarge", "Packed size of session tags consumes 142% of it."),
        "PackedPolicyTooLarge",
        "shorter or fewer options.aws_session_tags",
    ),
    "tags not trusted": (
        Refused(403, "AccessDenied", "x is not authorized to perform: sts:TagSession on resource"),
        "AccessDenied: sts:TagSession",
        "must allow sts:TagSession beside sts:AssumeRole",
    ),
}


@pytest.mark.parametrize(("no", "why", "hint"), NOS.values(), ids=NOS)
def test_the_user_reads_which_role_sts_refuses_and_what_to_change(
    aws: StrictAws,
    gateway: GatewayProcess,
    monkeypatch: pytest.MonkeyPatch,
    no: Refused,
    why: str,
    hint: str,
) -> None:
    stock = sts.answer

    def refuse(params: Mapping[str, str], *rest: Any) -> Any:
        if "Tags.member.1.Key" in params:
            raise no
        return stock(params, *rest)

    monkeypatch.setattr(sts, "answer", refuse)

    with pytest.raises(ClientError) as caught:
        s3_of("ada", aws, gateway).put_object(Bucket="blue-data", Key="k", Body=b"x")

    message = str(caught.value)
    assert POWER_ROLE in message
    assert why in message
    assert hint in message
    assert [r for r in aws.requests if r.service == "s3"] == []
