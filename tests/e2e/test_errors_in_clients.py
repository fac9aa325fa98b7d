"""Refusals as boto3 and the AWS CLI v1 show them: their usual error, our words, no repeats.

Each refusal is written in the protocol of the call, so each is tried in several. The
AWS CLI v2 and the Go SDK are in tests/clients (scripts/clients).
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from awsgate.demo.embedded_aws import BUCKET, READ_ONLY_ROLE, EmbeddedAws
from awsgate.demo.processes import GatewayProcess, clean_env, free_port
from journey import TENANT_API, variables_for_a_role_taken_away

DENIED = (
    "awsgate denied: alice may not do this: no role of the user allows an endpoint that other "
    "tenants can own (hint: awsgate env shows the roles you may have)"
)
FORMER = "awsgate denied: alice may not do this: "
ROLES_HINT = "(hint: awsgate env shows the roles you may have)"
EXPIRED = "awsgate session-expired: the gateway session of alice ended "
EXPIRED_HINT = "(hint: get new credentials (awsgate env))"
BAD_SIGNATURE = (
    "awsgate bad-signature: the signature does not match the request (hint: check the gateway "
    "secret key, and that nothing between client and gateway changes signed headers or the path; "
    "curl -T needs -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD')"
)
UNKNOWN_KEY = (
    "awsgate unknown-key: this is an AWS key (AKIA...), not a gateway key (hint: use gateway "
    "credentials (awsgate env), and keep AWS keys off this machine)"
)


@dataclass(frozen=True, slots=True)
class Call:
    """One call, as boto3 and as the AWS CLI write it."""

    service: str
    operation: str
    arguments: Mapping[str, Any]
    shell: tuple[str, ...]
    endpoint: str | None = None


CONNECTION = Call(
    "apigatewaymanagementapi",
    "GetConnection",
    {"ConnectionId": "x"},
    ("get-connection", "--connection-id", "x", "--endpoint-url", TENANT_API),
    TENANT_API,
)
IDENTITY = Call("sts", "GetCallerIdentity", {}, ("get-caller-identity",))
OBJECTS = Call("s3", "ListObjectsV2", {"Bucket": BUCKET}, ("list-objects-v2", "--bucket", BUCKET))
TABLES = Call("dynamodb", "ListTables", {}, ("list-tables",))
REGIONS = Call("ec2", "DescribeRegions", {}, ("describe-regions",))
FUNCTIONS = Call("lambda", "ListFunctions", {}, ("list-functions",))

# Who calls, what, AWS's error code, our code, and words of the message.
CASES = {
    "a denial, rest-json": ("alice", CONNECTION, "AccessDeniedException", "denied", [DENIED]),
    "a role taken away, query": (
        "former", IDENTITY, "AccessDenied", "denied", [FORMER, ROLES_HINT],
    ),
    "a role taken away, s3": ("former", OBJECTS, "AccessDenied", "denied", [FORMER, ROLES_HINT]),
    "a role taken away, ec2": (
        "former", REGIONS, "UnauthorizedOperation", "denied", [FORMER, ROLES_HINT],
    ),
    "a role taken away, json": (
        "former", TABLES, "AccessDeniedException", "denied", [FORMER, ROLES_HINT],
    ),
    "an ended session, query": (
        "expired", IDENTITY, "ExpiredToken", "session-expired", [EXPIRED, EXPIRED_HINT],
    ),
    "an ended session, s3": (
        "expired", OBJECTS, "ExpiredToken", "session-expired", [EXPIRED, EXPIRED_HINT],
    ),
    "an ended session, json": (
        "expired", TABLES, "ExpiredTokenException", "session-expired", [EXPIRED, EXPIRED_HINT],
    ),
    "a wrong secret, query": (
        "wrong secret", IDENTITY, "SignatureDoesNotMatch", "bad-signature", [BAD_SIGNATURE],
    ),
    "a wrong secret, s3": (
        "wrong secret", OBJECTS, "SignatureDoesNotMatch", "bad-signature", [BAD_SIGNATURE],
    ),
    "a wrong secret, rest-json": (
        "wrong secret", FUNCTIONS, "InvalidSignatureException", "bad-signature", [BAD_SIGNATURE],
    ),
    "a key of AWS, ec2": ("AWS key", REGIONS, "AuthFailure", "unknown-key", [UNKNOWN_KEY]),
    "a key of AWS, s3": ("AWS key", OBJECTS, "InvalidAccessKeyId", "unknown-key", [UNKNOWN_KEY]),
    "a key of AWS, json": (
        "AWS key", TABLES, "UnrecognizedClientException", "unknown-key", [UNKNOWN_KEY],
    ),
}  # fmt: skip

# The CLI starts in half a second, so each refusal once there.
IN_CLI = [
    "a denial, rest-json",
    "an ended session, query",
    "a wrong secret, rest-json",
    "a key of AWS, s3",
]


@pytest.fixture(scope="module")
def callers(
    gateway: GatewayProcess, alice: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, str]]:
    """Environments of callers, of which one is welcome."""
    expired = gateway.env(user="alice", app="awsconsole-test", role=READ_ONLY_ROLE, ttl="1s")
    # botocore gives up on its own where this says that the end has come.
    del expired["AWS_CREDENTIAL_EXPIRATION"]
    time.sleep(1.1)
    aws_key = {
        name: value
        for name, value in alice.items()
        if name not in ("AWS_SESSION_TOKEN", "AWS_CREDENTIAL_EXPIRATION")
    } | {"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE"}
    variables = {
        "alice": alice,
        "former": variables_for_a_role_taken_away(gateway, tmp_path_factory.mktemp("older")),
        "expired": expired,
        "wrong secret": {**alice, "AWS_SECRET_ACCESS_KEY": "wrong"},
        "AWS key": aws_key,
    }
    return {name: clean_env(gateway.home, extra) for name, extra in variables.items()}


def _with_boto3(call: Call, env: Mapping[str, str], patch: pytest.MonkeyPatch) -> ClientError:
    for name in os.environ:
        patch.delenv(name)
    for name, value in env.items():
        patch.setenv(name, value)
    # A session of its own: boto3's default one keeps the first credentials it ever saw.
    client: Any = boto3.Session().client(call.service, endpoint_url=call.endpoint)  # type: ignore[call-overload]
    operations = {api: name for name, api in client.meta.method_to_api_mapping.items()}
    with pytest.raises(ClientError) as caught:
        getattr(client, operations[call.operation])(**call.arguments)
    return caught.value


@pytest.mark.parametrize(("caller", "call", "aws_code", "code", "words"), CASES.values(), ids=CASES)
def test_boto3_raises_its_usual_error_with_our_words_after_one_request(
    gateway: GatewayProcess,
    callers: dict[str, dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    caller: str,
    call: Call,
    aws_code: str,
    code: str,
    words: list[str],
) -> None:
    before = len(gateway.audit())

    error = _with_boto3(call, callers[caller], monkeypatch)

    assert error.response["Error"]["Code"] == aws_code
    assert [word for word in words if word not in error.response["Error"]["Message"]] == []
    assert error.response["ResponseMetadata"]["HTTPHeaders"]["x-awsgate-code"] == code
    assert error.operation_name == call.operation
    # A refusal is audited before it is sent, so a repeat would have left its line too.
    assert [line["code"] for line in gateway.audit()[before:]] == [code]


@pytest.mark.parametrize("name", IN_CLI)
def test_aws_cli_v1_prints_its_usual_error_with_our_words_after_one_request(
    gateway: GatewayProcess, callers: dict[str, dict[str, str]], name: str
) -> None:
    caller, call, aws_code, code, words = CASES[name]
    service = "s3api" if call.service == "s3" else call.service
    before = len(gateway.audit())

    done = subprocess.run(
        [str(Path(sys.executable).parent / "aws"), service, *call.shell],
        env=callers[caller], capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert done.returncode == 255
    assert f"An error occurred ({aws_code}) when calling the {call.operation}" in done.stderr
    assert [word for word in words if word not in done.stderr] == []
    assert done.stdout == ""
    assert [line["code"] for line in gateway.audit()[before:]] == [code]


def test_botocore_sees_the_end_of_a_session_itself_and_sends_nothing(
    gateway: GatewayProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whoever takes all variables of awsgate env never gets to the gateway's answer.
    variables = gateway.env(user="alice", app="awsconsole-test", role=READ_ONLY_ROLE, ttl="1s")
    time.sleep(1.1)
    for name in os.environ:
        monkeypatch.delenv(name)
    for name, value in clean_env(gateway.home, variables).items():
        monkeypatch.setenv(name, value)
    before = len(gateway.audit())

    with pytest.raises(RuntimeError, match="still expired"):
        boto3.Session().client("sts").get_caller_identity()

    assert gateway.audit()[before:] == []


def test_a_fault_that_may_pass_is_repeated_as_often_as_the_client_is_set_to(
    aws: EmbeddedAws,
    gateway: GatewayProcess,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    own = GatewayProcess(folder, policy=gateway.policy, keys=aws.gateway_keys, upstream=nobody)
    try:
        variables = own.env(user="alice", app="awsconsole-test", role=READ_ONLY_ROLE)
        env = clean_env(
            own.home, {**variables, "AWS_RETRY_MODE": "standard", "AWS_MAX_ATTEMPTS": "2"}
        )
        error = _with_boto3(IDENTITY, env, monkeypatch)
        lines = own.audit()
    finally:
        own.stop()

    assert error.response["Error"]["Code"] == "ServiceUnavailable"
    assert error.response["Error"]["Message"].startswith("awsgate role-unavailable: ")
    assert [line["code"] for line in lines] == ["role-unavailable"] * 2
