"""Two gateways, one behind the other: the near one hands calls on, the jump host decides.

Clients speak to the near one alone. Between the two is TLS that the near one proves by the
root of its login; the login and the control API are real. All other forms of requests go
the same way with ``AWSGATE_TEST_HOPS=1`` (``forms.stage_in``).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from awsgate.aws.sigv4 import SigningKeys
from awsgate.demo.embedded_aws import POWER_ROLE, READ_ONLY_ROLE
from awsgate.demo.processes import clean_env
from e2e.forms import POLICY, everything_received
from e2e.hops import APP, Hops, hops_before_strict_aws
from e2e.serving import workers_of
from rawclient import Answer, Call, ask, audit_after, metric, plain, replaced, secure, without

S3 = "two.s3.us-east-1.amazonaws.com"
STS = "sts.us-east-1.amazonaws.com"
PUT = Call("s3", S3, "PUT", "/k", body=b"hello")
WHO = Call(
    "sts", STS, body=b"Action=GetCallerIdentity&Version=2011-06-15",
    headers=(("Content-Type", "application/x-www-form-urlencoded"),),
)  # fmt: skip
DENYING = POLICY.replace(
    "    aws_tenant_endpoints: [execute-api]\n",
    "    aws_tenant_endpoints: [execute-api]\n  deny: {{aws_actions: ['s3:DeleteObject']}}\n",
)


@pytest.fixture(scope="module")
def hops(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hops]:
    folder = tmp_path_factory.mktemp("hops")
    with hops_before_strict_aws(folder, policy=DENYING, fronted=True) as made:
        yield made


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hops]:
    """The near one by ``awsgate run``, for what ends badly."""
    with hops_before_strict_aws(tmp_path_factory.mktemp("served"), workers=1) as made:
        yield made


def send(hops: Hops, call: Call, keys: SigningKeys | None = None) -> Answer:
    raw = call.wire(call.signed(keys or hops.keys))
    return ask(hops.gateway, call.host, raw, method=call.method)


def asked_for_credentials(hops: Hops) -> int:
    return sum(line["event"] == "credentials" for line in hops.jump.audit())


# --- what passes ------------------------------------------------------------------------


def test_aws_sees_the_role_of_the_jump_host_and_the_person(hops: Hops) -> None:
    before = len(hops.gateway.audit()), len(hops.jump.audit())

    assert send(hops, WHO).status == send(hops, PUT).status == 200

    last = hops.seen()[-1]
    assert (last.fault, last.detail, last.session_name, last.stored) == ("", "", "bob", True)
    assert not [value for _, value in last.fields if "GATE" in value]
    assert not [name for name, _ in last.fields if name.lower().startswith("x-forwarded")]
    near = audit_after(hops.gateway, before[0], lines=2)
    far = [
        a for a in hops.jump.audit(at_least=before[1] + 2)[before[1] :] if a["event"] == "request"
    ]
    assert [(a["rule"], a["decision"], a["user"]) for a in near] == [
        ("gateway/upstream_gateway", "allowed", "bob")
    ] * 2
    assert [(a["rule"], a["decision"], a["user"]) for a in far] == [
        ("role/power", "allowed", "bob")
    ] * 2
    assert near[0]["access_key_id"].startswith("GATE")
    assert far[0]["access_key_id"].startswith("ASIA")


def test_credentials_are_asked_for_once_and_serve_every_region_and_service(hops: Hops) -> None:
    send(hops, WHO)
    before = asked_for_credentials(hops)

    for region in ("eu-west-1", "us-west-2"):
        host = f"sts.{region}.amazonaws.com"
        call = Call("sts", host, region=region, headers=WHO.headers, body=WHO.body)
        assert send(hops, call).status == 200

    assert asked_for_credentials(hops) == before


def test_no_credentials_of_the_jump_host_or_of_aws_reach_a_client(hops: Hops) -> None:
    """A role that the client assumes: AWS's keys end at the jump host, and its at the near one."""
    with everything_received() as received:
        made = hops.client("sts").assume_role(
            RoleArn=READ_ONLY_ROLE, RoleSessionName="mine", DurationSeconds=900
        )["Credentials"]
        chained = SigningKeys(made["AccessKeyId"], made["SecretAccessKey"], made["SessionToken"])
        assert send(hops, WHO, chained).status == 200

    assert hops.leaks_in(received) == []
    assert made["AccessKeyId"].startswith("GATE")
    last = hops.seen()[-1]
    assert (last.session_name, last.fault) == ("bob", "")
    # It is the near one's: the jump host does not know it.
    raw = WHO.wire([(b"X-Forwarded-Host", STS.encode()), *WHO.signed(chained)])
    with plain(hops.jump) as wire:
        wire.send(raw)
        assert wire.read_answer().code == "unknown-key"


def test_an_artefact_is_made_by_the_jump_host(hops: Hops) -> None:
    """``awsgate presign`` orders at the near gateway; it has no keys of AWS's to sign with."""
    command = [sys.executable, "-m", "awsgate", "presign", "s3://two/k"]
    env = clean_env(hops.gateway.home, {**hops.env, "AWS_REGION": "us-east-1"})
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=env)

    assert done.returncode == 0, done.stderr
    assert "X-Amz-Credential=ASIA" in done.stdout
    line = hops.jump.audit()[-1]
    assert (line["event"], line["user"], line["action"]) == ("artefact", "bob", "s3:GetObject")


# --- what the jump host refuses ------------------------------------------------------------


def test_a_refusal_of_the_jump_host_passes_and_is_recorded_as_its_own(hops: Hops) -> None:
    before, counted = len(hops.gateway.audit()), refusals(hops)

    with pytest.raises(ClientError) as caught:
        hops.client("s3").delete_object(Bucket="two", Key="k")

    error = caught.value.response["Error"]
    assert (error["Code"], "s3:DeleteObject" in error["Message"]) == ("AccessDenied", True)
    line = audit_after(hops.gateway, before, lines=1)[0]
    assert (line["decision"], line["code"], line["status"], line["rule"]) == (
        "refused", "denied", 403, "gateway/upstream_gateway",
    )  # fmt: skip
    assert line["reason"] == "refused by the gateway ahead"
    assert refusals(hops) == counted + 1
    assert hops.jump.audit()[-1]["rule"] == "role/power"


def refusals(hops: Hops) -> float:
    return metric(hops.gateway.metrics(), "awsgate_refusals_total", code="denied")


def test_a_role_that_the_login_may_not_have_is_refused_whoever_names_it(hops: Hops) -> None:
    """Whoever has the near session key can mint any name; the jump host asks its own policy."""
    answer = send(hops, WHO, hops.near_keys(role=READ_ONLY_ROLE))

    assert (answer.status, answer.code) == (403, "denied")
    assert b"localhost" in answer.body


def test_credentials_in_another_users_name_are_not_served_with_this_login(hops: Hops) -> None:
    before = asked_for_credentials(hops)

    answer = send(hops, WHO, hops.near_keys(user="root"))

    assert (answer.status, answer.code) == (403, "denied")
    assert b"another user" in answer.body
    assert asked_for_credentials(hops) == before


def jump_keys(hops: Hops) -> SigningKeys:
    """What the near gateway has of the jump host: the worst that a local attacker could get."""
    given = hops.client_of_control().credentials(
        app=APP, role=POWER_ROLE, ttl_s=0, read_only=False, max_requests=0
    )
    return SigningKeys(given.access_key_id, given.secret_access_key, given.session_token)


def to_jump(hops: Hops, fields: list[tuple[bytes, bytes]], call: Call = PUT) -> Answer:
    with plain(hops.jump) as wire:
        wire.send(call.wire(fields))
        return wire.read_answer()


def test_the_jump_host_believes_no_header_that_is_not_proved(hops: Hops) -> None:
    keys = jump_keys(hops)
    forwarded = Call(
        "s3", S3, "PUT", "/k", body=b"hello", headers=(("X-Forwarded-Host", S3),)
    ).signed(keys)
    name, other = b"x-forwarded-host", b"other.s3.us-east-1.amazonaws.com"
    before = len(hops.seen())

    refused = {
        "another host": to_jump(hops, replaced(forwarded, name, other)).code,
        "unsigned, another host": to_jump(hops, [*PUT.signed(keys), (name, other)]).code,
        "host of the jump, header unsigned": to_jump(
            hops, [*replaced(PUT.signed(keys), b"host", b"localhost"), (name, S3.encode())]
        ).code,
        "none": to_jump(hops, without(forwarded, name)).code,
        "twice": to_jump(hops, [*forwarded, (name, S3.encode())]).code,
        "no aws host": to_jump(hops, replaced(forwarded, name, b"evil.example.com")).code,
    }

    assert refused == {
        "another host": "bad-signature",
        "unsigned, another host": "bad-forwarded-host",
        "host of the jump, header unsigned": "bad-forwarded-host",
        "none": "missing-forwarded-host",
        "twice": "bad-forwarded-host",
        "no aws host": "not-an-aws-endpoint",
    }
    assert len(hops.seen()) == before
    assert to_jump(hops, forwarded).status == 200  # as it was signed, it passes


def test_the_near_gateway_takes_nothing_that_was_handed_on(hops: Hops) -> None:
    call = Call("s3", S3, "PUT", "/k", body=b"hello", headers=(("X-Forwarded-Host", S3),))

    with plain(hops.gateway) as wire:
        wire.send(call.wire(call.signed(hops.keys)))
        answer = wire.read_answer()

    assert (answer.code, b"upstream_gateway" in answer.body) == ("unsupported", True)


# --- the login ends, the jump host is another, or gone ------------------------------------


def test_the_end_of_a_login_is_told_in_the_protocol_of_the_call(served: Hops) -> None:
    """It ends by itself, and again by a logout; each time another login goes on."""
    again = f"awsgate login --gateway {served.control}"
    served.log_in("bob", ttl_s=1)
    time.sleep(1.1)
    with pytest.raises(ClientError) as ended:
        served.client("dynamodb").list_tables()
    served.log_in("bob")
    assert until_served(served) == 200
    served.client_of_control().logout()
    codes = {send(served, WHO).code for _ in range(20)}
    with pytest.raises(ClientError) as revoked:
        served.client("sts").get_caller_identity()

    error = ended.value.response["Error"]
    assert (error["Code"], again in error["Message"]) == ("ExpiredTokenException", True)
    # First by the jump host itself, until it is asked for new credentials and gives none.
    # What is under way when the lock comes is cut.
    assert codes <= {"", "locked", "upstream-failed"}
    error = revoked.value.response["Error"]
    assert (error["Code"], again in error["Message"]) == ("AccessDenied", True)
    assert "logged out" in error["Message"]
    served.log_in("bob")
    assert until_served(served) == 200


def until_served(hops: Hops) -> int:
    """Ask until the memory of the refusal is over."""
    deadline = time.monotonic() + 15
    while (answer := send(hops, WHO)).status != 200 and time.monotonic() < deadline:
        time.sleep(0.5)
    return answer.status


def test_a_jump_host_with_another_certificate_is_sent_nothing(hops: Hops, folder: Path) -> None:
    assert send(hops, WHO).status == 200
    before = len(hops.jump.audit())
    assert hops.front is not None
    hops.front.use(folder / "others")

    answer = send(hops, WHO)
    hops.front.use(hops.jump.certs)

    assert (answer.status, answer.code) == (502, "upstream-failed")
    assert b"does not prove to be the one of the login" in answer.body
    assert f"awsgate login --gateway {hops.control}".encode() in answer.body
    assert len(hops.jump.audit()) == before
    assert send(hops, WHO).status == 200


def test_a_jump_host_that_is_killed_gives_an_error_that_clients_repeat(served: Hops) -> None:
    """Run last with this pair: in the middle of an upload, and then before a call."""
    assert until_served(served) == 200
    big = Call("s3", S3, "PUT", "/big", body=b"x" * (8 << 20))
    raw = big.wire(big.signed(served.keys))
    with secure(served.gateway, S3) as wire:
        wire.send(raw[: 2 << 20])
        kill(served)
        with suppress(OSError):
            wire.send(raw[2 << 20 :])
        answer = wire.read_answer(method="PUT")
    retries = {"total_max_attempts": 2, "mode": "standard"}
    with pytest.raises(ClientError) as caught:
        served.client("dynamodb", retries=retries).list_tables()

    assert (answer.status, answer.code) == (502, "upstream-failed")
    assert b"<Error>" in answer.body
    response = caught.value.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 502
    assert response["ResponseMetadata"]["RetryAttempts"] == 1  # botocore takes it for passing
    assert "localhost" in response["Error"]["Message"]


def kill(hops: Hops) -> None:
    for pid in (*workers_of(hops.jump), hops.jump.process.pid):
        os.kill(pid, signal.SIGKILL)
    hops.jump.process.wait()


def test_what_is_logged_and_audited_holds_no_secret(hops: Hops) -> None:
    """Run last in its module: of everything before."""
    secrets = [hops.stored().login, hops.keys.secret_access_key, hops.keys.session_token]

    for gateway in (hops.gateway, hops.jump):
        texts = gateway.log.read_text() + json.dumps(gateway.audit()) + gateway.metrics()
        assert not [secret for secret in secrets if secret in texts]
