"""Roles that a client assumes itself: it works, and no real key reaches the client.

Between gateway and AWS a relay hears the real credentials; every byte that the client
reads off its TLS connections is kept, and they are looked for in it.
"""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from awsgate.demo.embedded_aws import ACCOUNT, BUCKET, POWER_ROLE, EmbeddedAws
from awsgate.demo.processes import GatewayProcess
from e2e.recording import wait_until
from relay import Relay

DEEPER, DEEPEST, FORBIDDEN = (
    f"arn:aws:iam::{ACCOUNT}:role/{name}" for name in ("Deeper", "Deepest", "Forbidden")
)

POLICY = f"""\
kind: role
version: v5
metadata: {{name: power}}
spec:
  allow:
    app_labels: {{'*': '*'}}
    aws_role_arns: ['{POWER_ROLE}']
  deny:
    aws_role_arns: ['{FORBIDDEN}']
---
kind: app
version: v3
metadata: {{name: awsconsole-test, labels: {{aws_account_id: '{ACCOUNT}'}}}}
spec: {{uri: https://console.aws.amazon.com/}}
---
kind: user
version: v2
metadata: {{name: bob}}
spec: {{roles: [power]}}
"""

_HEARD = re.compile(rb"<(AccessKeyId|SecretAccessKey|SessionToken)>([^<]+)</")


@dataclass
class Stage:
    gateway: GatewayProcess
    aws: EmbeddedAws
    relay: Relay

    def client(self, service: str, keys: dict[str, str], **config: Any) -> Any:
        return boto3.client(
            service,  # type: ignore[call-overload]
            region_name="us-east-1",
            aws_access_key_id=keys["AccessKeyId"],
            aws_secret_access_key=keys["SecretAccessKey"],
            aws_session_token=keys["SessionToken"],
            verify=self.env()["AWS_CA_BUNDLE"],
            config=Config(proxies={"https": self.gateway.proxy}, **config),
        )

    def env(self, ttl: str = "") -> dict[str, str]:
        return self.gateway.env(user="bob", app="awsconsole-test", role=POWER_ROLE, ttl=ttl)

    def bob(self, ttl: str = "") -> dict[str, str]:
        env = self.env(ttl)
        return {
            "AccessKeyId": env["AWS_ACCESS_KEY_ID"],
            "SecretAccessKey": env["AWS_SECRET_ACCESS_KEY"],
            "SessionToken": env["AWS_SESSION_TOKEN"],
        }

    def assume(self, keys: dict[str, str], role: str, **more: Any) -> dict[str, Any]:
        made: dict[str, Any] = self.client("sts", keys).assume_role(
            RoleArn=role, RoleSessionName=more.pop("RoleSessionName", "whatever"), **more
        )
        return made

    def lines(self, **values: str) -> list[dict[str, Any]]:
        """Give the audit lines that have these values."""
        return [line for line in self.gateway.audit() if values.items() <= line.items()]

    def real_secrets(self) -> set[bytes]:
        """What the relay heard of credentials, but for what everybody may know."""
        found = {value for _, value in _HEARD.findall(bytes(self.relay.heard))}
        assert found
        return found


@pytest.fixture(scope="module")
def stage(aws: EmbeddedAws, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("chained")
    (folder / "policy.yaml").write_text(POLICY, "utf-8")
    relay = Relay(("127.0.0.1", aws.port))
    gateway = GatewayProcess(
        folder,
        policy=folder / "policy.yaml",
        keys=aws.gateway_keys,
        upstream=f"http://127.0.0.1:{relay.port}",
    )
    made = Stage(gateway, aws, relay)
    iam = made.client("iam", made.bob())
    for role in (DEEPER, DEEPEST, FORBIDDEN):
        name = role.rpartition("/")[2]
        trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
        iam.create_role(
            RoleName=name,
            AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
        )
        allow = {"Effect": "Allow", "Action": ["s3:*", "sts:*"], "Resource": "*"}
        iam.put_role_policy(
            RoleName=name,
            PolicyName="may",
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [allow]}),
        )
    yield made
    gateway.stop()
    relay.close()


@pytest.fixture
def received(monkeypatch: pytest.MonkeyPatch) -> bytearray:
    """Every byte that this process reads off a TLS connection."""
    kept = bytearray()
    stock = ssl.SSLSocket.read

    def read(self: ssl.SSLSocket, size: int = 1024, buffer: Any = None) -> Any:
        got = stock(self, size, buffer)
        kept.extend(got if buffer is None else memoryview(buffer)[:got])
        return got

    monkeypatch.setattr(ssl.SSLSocket, "read", read)
    return kept


def test_an_assumed_role_works_and_its_keys_stay_in_the_gateway(
    stage: Stage, received: bytearray
) -> None:
    answer = stage.assume(stage.bob(), DEEPER)
    keys = answer["Credentials"]
    listed = stage.client("s3", keys).list_objects_v2(Bucket=BUCKET)
    me = stage.client("sts", keys).get_caller_identity()
    deepest = stage.assume(keys, DEEPEST)["Credentials"]
    there = stage.client("sts", deepest).get_caller_identity()

    assert "hello.txt" in [item["Key"] for item in listed["Contents"]]
    assert me["Arn"].endswith("assumed-role/Deeper/bob")
    assert there["Arn"].endswith("assumed-role/Deepest/bob"), "the name is the user's at any depth"
    assert keys["AccessKeyId"].startswith("GATE")
    assert deepest["AccessKeyId"].startswith("GATE")
    leaked = [s for s in stage.real_secrets() if s in received or quote(s).encode() in received]
    assert keys["SecretAccessKey"].encode() in received, "the search sees what was received"
    assert leaked == []


def test_the_keys_of_get_session_token_stay_in_the_gateway_too(
    stage: Stage, received: bytearray
) -> None:
    keys = stage.client("sts", stage.bob()).get_session_token()["Credentials"]

    assert keys["AccessKeyId"].startswith("GATE")
    assert [s for s in stage.real_secrets() if s in received] == []


def test_aws_sees_the_keys_of_the_assumed_role_and_never_the_surrogates(stage: Stage) -> None:
    keys = stage.assume(stage.bob(), DEEPER)["Credentials"]
    before = len(stage.aws.requests())

    stage.client("s3", keys).list_objects_v2(Bucket=BUCKET)

    (row,) = stage.aws.requests()[before:]
    assert not row["access_key_id"].startswith("GATE")
    assert wait_until(lambda: bool(stage.lines(access_key_id=row["access_key_id"])))
    (line,) = stage.lines(access_key_id=row["access_key_id"])
    assert (line["access_key_id"], line["role_arn"]) == (row["access_key_id"], DEEPER)
    assert (line["user"], line["session_name"], line["decision"]) == ("bob", "bob", "allowed")
    assert keys["AccessKeyId"].encode() not in stage.relay.heard


def test_a_chained_session_ends_with_the_one_it_came_from(stage: Stage) -> None:
    answer = stage.assume(stage.bob(ttl="20m"), DEEPER, DurationSeconds=3600)

    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    assert 1190 <= int(headers["x-awsgate-duration-seconds"]) <= 1200
    assert headers["x-awsgate-role-session-name"] == "bob"
    left = answer["Credentials"]["Expiration"] - datetime.now(UTC)
    assert timedelta(minutes=18) < left <= timedelta(minutes=20)


def test_under_a_quarter_of_an_hour_there_is_nothing_to_assume(stage: Stage) -> None:
    before = len(stage.aws.requests())

    with pytest.raises(ClientError) as caught:
        stage.assume(stage.bob(ttl="10m"), DEEPER)

    assert caught.value.response["Error"]["Code"] == "ExpiredToken"
    assert "900 seconds" in str(caught.value)
    assert caught.value.response["ResponseMetadata"]["RetryAttempts"] == 0
    assert len(stage.aws.requests()) == before


def test_a_role_that_a_rule_denies_is_of_no_use(stage: Stage) -> None:
    keys = stage.assume(stage.bob(), FORBIDDEN)["Credentials"]

    with pytest.raises(ClientError, match="deny rule") as caught:
        stage.client("s3", keys).list_objects_v2(Bucket=BUCKET)

    assert caught.value.response["Error"]["Code"] == "AccessDenied"
    assert stage.lines(code="denied")[-1]["rule"] == "role/power"


@pytest.mark.parametrize("part", ["SecretAccessKey", "SessionToken", "AccessKeyId"])
def test_a_surrogate_that_was_changed_is_worthless(stage: Stage, part: str) -> None:
    keys = dict(stage.assume(stage.bob(), DEEPER)["Credentials"])
    other = stage.assume(stage.bob(), DEEPER)["Credentials"]

    with pytest.raises(ClientError) as caught:
        stage.client("sts", {**keys, part: other[part]}).get_caller_identity()

    assert caught.value.response["Error"]["Code"] in (
        "SignatureDoesNotMatch",
        "InvalidClientTokenId",
    )


def test_a_gateway_that_knows_nothing_of_it_serves_a_surrogate(
    stage: Stage, tmp_path: Path
) -> None:
    keys = stage.assume(stage.bob(), DEEPER)["Credentials"]
    (tmp_path / "state").symlink_to(stage.gateway.state)
    (tmp_path / "certs").symlink_to(stage.gateway.certs)
    other = GatewayProcess(
        tmp_path,
        policy=stage.gateway.policy,
        keys={},  # no credentials of its own: all that is needed is in the token
        upstream=stage.aws.url,
    )
    try:
        arn = Stage(other, stage.aws, stage.relay).client("sts", keys).get_caller_identity()["Arn"]
    finally:
        other.stop()

    assert arn.endswith("assumed-role/Deeper/bob")
