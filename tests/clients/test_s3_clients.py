"""S3 clients through the gateway to SeaweedFS, which verifies every signature.

Each puts, gets, copies, lists and deletes, small and in parts, under keys that get
paths wrong. What crossed is checked in the audit: the role's key, the user's name.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from awsgate.demo.processes import GatewayProcess, clean_env
from clients.seaweed import KEYS, ROLE, SeaweedFs
from clients.tools import MIB, TOOLS, Tool, make

BUCKET = "client-tests"

ODD_KEYS = {
    "space, plus, é, emoji, %2F": "a b+c/é/😀 x%2F.txt",
    "equals and ampersand": "q=1&r=2/#hash?mark.txt",
    "quotes and brackets": "it's (a) 'key' [1]!.txt",
    "a long name": "l" * 200 + ".txt",
}
# s5cmd lists with a pattern and reads `?` and `[` in it; all else is equal.
POLICY = f"""\
kind: role
version: v5
metadata: {{name: storage}}
spec: {{allow: {{app_labels: {{'*': '*'}}, aws_role_arns: ['{ROLE}']}}}}
---
kind: app
version: v3
metadata: {{name: awsconsole-test, labels: {{aws_account_id: '123456789012'}}}}
spec: {{uri: https://console.aws.amazon.com/}}
---
kind: user
version: v2
metadata: {{name: bob}}
spec: {{roles: [storage]}}
"""


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway in front of SeaweedFS, and a bucket."""
    folder = tmp_path_factory.mktemp("storage")
    weed = SeaweedFs(tmp_path_factory.mktemp("weed"))
    policy = folder / "policy.yaml"
    policy.write_text(POLICY, "utf-8")
    gateway = GatewayProcess(folder, policy=policy, keys=KEYS, upstream=weed.url)
    try:
        make("AWS CLI v1", bob(gateway), folder).call("s3", "mb", f"s3://{BUCKET}")
        yield gateway
    finally:
        gateway.stop()
        weed.stop()


def bob(gateway: GatewayProcess) -> dict[str, str]:
    env = gateway.env(user="bob", app="awsconsole-test", role=ROLE)
    return clean_env(gateway.home, {**env, "AWS_REGION": "us-east-1"})


def settled(gateway: GatewayProcess, before: int) -> list[dict[str, Any]]:
    """Give the audit lines after ``before``, once no more of them come."""
    count = -1
    while count != len(gateway.audit()):
        count = len(gateway.audit())
        time.sleep(0.1)
    return gateway.audit()[before:]


@pytest.fixture(params=TOOLS)
def tool(request: pytest.FixtureRequest, storage: GatewayProcess, tmp_path: Path) -> Tool:
    return make(request.param, bob(storage), tmp_path)


@pytest.mark.parametrize("odd", ODD_KEYS)
def test_an_object_makes_its_way_there_and_back(
    storage: GatewayProcess, tool: Tool, odd: str
) -> None:
    key, body = ODD_KEYS[odd], os.urandom(3000)
    copy = f"copy of/{key}"
    source = key if tool.copies_odd_keys else "plain"
    before = len(storage.audit())

    for each in {key, source}:
        tool.put(BUCKET, each, body)
    tool.copy(BUCKET, source, copy)
    listed = tool.list(BUCKET, key[:1]) + tool.list(BUCKET, "copy of/")
    got, got_copy = tool.get(BUCKET, key), tool.get(BUCKET, copy)
    for each in {key, source, copy}:
        tool.delete(BUCKET, each)

    assert got == got_copy == body
    assert {key, copy} <= set(listed)
    assert not {key, copy} & set(tool.list(BUCKET, ""))
    lines = settled(storage, before)
    assert len(lines) >= 8
    assert {line["decision"] for line in lines} == {"allowed"}
    assert {line["session_name"] for line in lines} == {"bob"}
    assert not [line for line in lines if line["access_key_id"].startswith("GATE")]
    assert not [line for line in lines if line["status"] >= 400 and line["method"] != "HEAD"]


def test_a_body_in_parts_is_the_same_at_its_end(storage: GatewayProcess, tool: Tool) -> None:
    body = os.urandom(17 * MIB)

    tool.put(BUCKET, "in parts", body)
    got = tool.get(BUCKET, "in parts")
    tool.delete(BUCKET, "in parts")

    assert hashlib.sha256(got).digest() == hashlib.sha256(body).digest()
    assert {line["decision"] for line in storage.audit()} == {"allowed"}
