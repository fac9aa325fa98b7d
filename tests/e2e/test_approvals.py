"""Marked calls: pending until somebody agrees, in the words of AWS, at the very gateway."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from awsgate.demo.embedded_aws import ACCOUNT, BUCKET, POWER_ROLE, EmbeddedAws
from awsgate.demo.processes import GatewayProcess
from e2e.forms import gateway_before
from e2e.held import until

POLICY = """\
kind: role
version: v5
metadata: {{name: dev}}
spec:
  allow:
    app_labels: {{'*': '*'}}
    aws_role_arns: ['{power}']
    approvals:
      - {{actions: ['s3:DeleteObject', 'dynamodb:Delete*'], suggested_reviewers: [bob]}}
      - {{actions: ['sqs:TagQueue'], duration: 20s}}
      - {{actions: ['s3:PutObject']}}
---
kind: role
version: v5
metadata: {{name: lead}}
spec: {{allow: {{review_requests: {{roles: [dev]}}}}}}
---
kind: app
version: v3
metadata: {{name: awsconsole-test, labels: {{aws_account_id: '{account}'}}}}
spec: {{uri: https://console.aws.amazon.com/}}
---
kind: user
version: v2
metadata: {{name: alice}}
spec: {{roles: [dev]}}
---
kind: user
version: v2
metadata: {{name: carol}}
spec: {{roles: [dev]}}
---
kind: user
version: v2
metadata: {{name: bob}}
spec: {{roles: [lead, dev]}}
"""
KNOWN_S = 8.0
"""Within a second, says the promise: this machine may be busy."""
ID = re.compile(r"ar-[0-9a-f]{10}")


@dataclass
class Place:
    """A gateway, and what people do with it."""

    aws: EmbeddedAws
    gateway: GatewayProcess
    keys: dict[str, dict[str, str]]

    def client(self, who: str, service: str, **config: Any) -> Any:
        if who not in self.keys:
            found = self.gateway.env(user=who, app="awsconsole-test", role=POWER_ROLE)
            self.keys[who] = found
        env = self.keys[who]
        return boto3.client(
            service,  # type: ignore[call-overload]
            region_name="us-east-1",
            aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
            aws_session_token=env["AWS_SESSION_TOKEN"],
            verify=env["AWS_CA_BUNDLE"],
            config=Config(proxies={"https": self.gateway.proxy}, **config),
        )

    def request(self, *words: str, code: int = 0) -> Any:
        """Run ``awsgate request`` on the gateway's machine."""
        done = subprocess.run(
            [sys.executable, "-m", "awsgate", "request", *words, "--json",
             "--state", str(self.gateway.state), "--policy", str(self.gateway.policy)],
            capture_output=True, text=True, check=False, timeout=60, env={**os.environ},
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout) if code == 0 else done.stderr

    def lines(self, **wanted: object) -> list[dict[str, Any]]:
        return [
            line
            for line in self.gateway.audit()
            if all(line[name] == value for name, value in wanted.items())
        ]

    def seen(self, action: str) -> int:
        """Count what AWS itself was asked for."""
        return sum(action in json.dumps(one) for one in self.aws.requests())


def delete(place: Place, who: str = "alice", key: str = "marked") -> Callable[[], object]:
    # A client for each call: another connection, and so another worker perhaps.
    return lambda: place.client(who, "s3").delete_object(Bucket=BUCKET, Key=key)


def tag(place: Place, who: str = "alice") -> Callable[[], object]:
    url = f"https://sqs.us-east-1.amazonaws.com/{ACCOUNT}/work"
    return lambda: place.client(who, "sqs").tag_queue(QueueUrl=url, Tags={"a": "b"})


def answer(call: Callable[[], object]) -> str:
    """Give ok, or what AWS's word for no and ours are."""
    try:
        call()
    except ClientError as exc:
        said, meta = exc.response["Error"], exc.response["ResponseMetadata"]
        assert meta["RetryAttempts"] == 0 or meta["HTTPStatusCode"] == 503
        return f"{meta['HTTPStatusCode']} {said['Code']} {said['Message']}"
    return "ok"


def pending_id(text: str) -> str:
    assert text.startswith("403 AccessDenied awsgate pending-approval: "), text
    return ID.findall(text)[0]  # type: ignore[no-any-return]


@pytest.fixture(scope="module", params=[0, 2], ids=["script", "run"])
def place(
    request: pytest.FixtureRequest, aws: EmbeddedAws, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("approvals")
    text = POLICY.format(power=POWER_ROLE, account=ACCOUNT)
    with gateway_before(aws, folder, text, workers=request.param) as gateway:
        yield Place(aws, gateway, {})


def test_pending_then_approved_for_this_call_alone_then_revoked(place: Place) -> None:
    before = place.seen("DELETE")
    first = pending_id(answer(delete(place)))

    assert {pending_id(answer(delete(place))) for _ in range(6)} == {first}  # at any worker
    other = pending_id(answer(delete(place, key="another")))
    carols = pending_id(answer(delete(place, "carol")))
    assert len({first, other, carols}) == 3
    assert place.seen("DELETE") == before  # AWS has heard of none of them
    assert answer(lambda: place.client("alice", "s3").list_objects_v2(Bucket=BUCKET)) == "ok"
    made = [one["reason"][:13] for one in place.lines(event="request.create", user="alice")]
    assert sorted(made) == sorted([first, other])
    refused = place.lines(code="pending-approval", user="alice")
    assert {one["rule"] for one in refused} == {"role/dev"}
    assert {one["decision"] for one in refused} == {"refused"}

    (row,) = [one for one in place.request("ls", "--user", "bob") if one["id"] == first]
    assert row["call"] == {
        "role_arn": POWER_ROLE,
        "actions": ["s3:DeleteObject"],
        "resources": [f"arn:aws:s3:::{BUCKET}/marked"],
    }
    assert (row["may_review"], row["suggested_reviewers"]) == (True, ["bob"])
    assert "may not answer" in place.request("approve", first, "--user", "alice", code=1)
    place.request("approve", first, "--user", "bob")

    assert until(lambda: answer(delete(place)) == "ok", within=KNOWN_S)
    assert pending_id(answer(delete(place, key="another"))) == other
    assert pending_id(answer(delete(place, "carol"))) == carols
    assert until(lambda: place.lines(approval=first) != [], within=KNOWN_S)
    used = place.lines(approval=first)[0]
    assert (used["decision"], used["action"], used["user"]) == (
        "allowed", "s3:DeleteObject", "alice",
    )  # fmt: skip

    place.request("revoke", first, "--user", "alice")
    assert until(lambda: answer(delete(place)) != "ok", within=KNOWN_S)
    again = pending_id(answer(delete(place)))
    assert again != first
    place.request("revoke", again, "--user", "alice")


def test_an_approval_ends_by_itself(place: Place) -> None:
    first = pending_id(answer(tag(place)))
    approved = place.request("approve", first, "--user", "bob")
    assert approved["until"] == approved["decided_at"] + 20
    assert until(lambda: answer(tag(place)) == "ok", within=15)

    while answer(tag(place)) == "ok":
        assert time.time() < approved["until"] + 1
        time.sleep(0.1)
    assert time.time() >= approved["until"]
    assert pending_id(answer(tag(place))) != first
    assert until(lambda: _ended(place, first), within=KNOWN_S)


def _ended(place: Place, request: str) -> bool:
    return any(one["reason"].startswith(request) for one in place.lines(event="request.ended"))


def test_an_upload_waits_too_and_then_arrives_whole(place: Place) -> None:
    body = os.urandom(3_000_000)

    def put() -> object:
        return place.client("carol", "s3").put_object(Bucket=BUCKET, Key="up", Body=body)

    request = pending_id(answer(put))
    place.request("approve", request)  # by the operator, in the state folder
    assert until(lambda: answer(put) == "ok", within=KNOWN_S)

    got = place.client("carol", "s3").get_object(Bucket=BUCKET, Key="up")["Body"].read()
    assert got == body


def test_a_denied_call_is_told_why_and_nobody_is_asked_anew(place: Place) -> None:
    def call() -> object:
        keys = {"id": {"S": "7"}}
        return place.client("carol", "dynamodb").delete_item(TableName="notes", Key=keys)

    first = answer(call)
    assert "AccessDeniedException awsgate pending-approval" in first
    request = ID.findall(first)[0]
    row = place.request("show", request)
    assert row["call"]["resources"] == [f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/notes"]
    place.request("deny", request, "--user", "bob", "--reason", "not on a Friday")

    assert until(lambda: "awsgate denied" in answer(call), within=KNOWN_S)
    said = answer(call)
    assert said.startswith("403 AccessDeniedException awsgate denied: carol may not do this")
    assert f"bob denied {request} for dynamodb:DeleteItem: not on a Friday" in said
    mine = [one for one in place.request("ls") if one["call"]["actions"] == ["dynamodb:DeleteItem"]]
    assert [one["state"] for one in mine] == ["denied"]


def test_explain_knows_the_mark(place: Place) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "awsgate", "explain", "--user", "alice", "--action",
         "s3:DeleteObject", "--state", str(place.gateway.state),
         "--policy", str(place.gateway.policy)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert done.returncode == 1
    assert "denied: the call needs an approval" in done.stdout
    assert "the rule wants somebody's approval of s3:DeleteObject, dynamodb:Delete*" in done.stdout


def test_without_the_database_nothing_passes_and_the_caller_may_try_again(
    aws: EmbeddedAws, tmp_path: Path
) -> None:
    text = POLICY.format(power=POWER_ROLE, account=ACCOUNT)
    with gateway_before(aws, tmp_path, text, workers=1) as gateway:
        place = Place(aws, gateway, {})
        pending_id(answer(delete(place)))
        for file in gateway.state.glob("requests.db*"):
            file.unlink()

        s3 = place.client("alice", "s3", retries={"total_max_attempts": 1})
        said = answer(lambda: s3.delete_object(Bucket=BUCKET, Key="not-asked-for-yet"))
        assert said.startswith("503 "), said
        assert "awsgate gateway-fault: this needs an approval, and none can be asked for" in said
        assert answer(lambda: place.client("alice", "s3").list_objects_v2(Bucket=BUCKET)) == "ok"
        (line,) = place.lines(code="gateway-fault")
        assert "requests.db" in line["reason"]
