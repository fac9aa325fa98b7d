"""What a gateway leaves behind: counts that agree, a chain that holds, and no secret.

One gateway lives through a mixed run: calls that are allowed, denied by IAM, refused
for every kind of reason, cut off, not HTTP at all. A relay in front of the embedded
AWS hears what the gateway says and is told, the real credentials included, so that
all of it can be looked for in the log, the audit and the metrics.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from awsgate.auditchain import verify
from awsgate.aws.sigv4 import SigningKeys
from awsgate.demo.embedded_aws import POWER_ROLE, READ_ONLY_ROLE, EmbeddedAws
from awsgate.demo.processes import GatewayProcess, free_port
from awsgate.errors import SetupError
from awsgate.metrics import NO_USER, UNKNOWN_USER
from rawclient import Call, Wire, ask, audit_after, head, mint_keys, plain, replaced, secure, tunnel
from refused import CALLS
from relay import Relay
from signers import Fields, value_of

S3, JSON = CALLS["s3"], CALLS["json 1.0"]
QUEUES, TOPICS = "sqs.us-east-1.amazonaws.com", "sns.us-east-1.amazonaws.com"
ELSEWHERE = "arn:aws:iam::999999999999:role/NotOurs"
CANARY = "kanarienvogel"

POLICY = f"""\
kind: role
version: v5
metadata: {{name: read}}
spec: {{allow: {{app_labels: {{'*': '*'}}, aws_role_arns: ['{READ_ONLY_ROLE}']}}}}
---
kind: role
version: v5
metadata: {{name: power}}
spec: {{allow: {{app_labels: {{'*': '*'}}, aws_role_arns: ['{POWER_ROLE}', '{ELSEWHERE}']}}}}
---
kind: app
version: v3
metadata: {{name: awsconsole-test, labels: {{aws_account_id: '123456789012'}}}}
spec: {{uri: https://console.aws.amazon.com/}}
---
kind: app
version: v3
metadata: {{name: elsewhere, labels: {{aws_account_id: '999999999999'}}}}
spec: {{uri: https://console.aws.amazon.com/}}
---
kind: user
version: v2
metadata: {{name: alice}}
spec: {{roles: [read]}}
---
kind: user
version: v2
metadata: {{name: bob}}
spec: {{roles: [read, power]}}
---
kind: gateway
version: v1
spec: {{upstreams: [{{hosts: [{QUEUES}], url: 'http://127.0.0.1:DEAD'}},
                   {{hosts: [{TOPICS}], url: 'http://127.0.0.1:RUDE'}}]}}
"""


@dataclass
class Run:
    """A mixed run that is over, and what it must not have left anywhere."""

    gateway: GatewayProcess
    secrets: set[str]
    lines: list[dict[str, Any]]
    metrics: str


class Client:
    """Sends calls to one gateway, and remembers all that was secret in them."""

    def __init__(self, gateway: GatewayProcess) -> None:
        self.gateway = gateway
        self.secrets: set[str] = {CANARY}

    def keys(self, user: str, role: str, *, app: str = "awsconsole-test") -> SigningKeys:
        entropy = (user + role[-9:]).encode().ljust(32, b".")[:32]
        made = mint_keys(self.gateway.state, user=user, app=app, role=role, entropy=entropy)
        self.secrets |= {made.secret_access_key, made.session_token}
        return made

    def fields(self, call: Call, keys: SigningKeys) -> Fields:
        fields = call.signed(keys)
        signature = value_of(fields, b"authorization").decode().rpartition("Signature=")[2]
        self.secrets.add(signature)
        return fields

    def send(self, call: Call, keys: SigningKeys) -> int:
        raw = call.wire(self.fields(call, keys))
        return ask(self.gateway, call.host, raw, method=call.method).status


@pytest.fixture(scope="module")
def run(aws: EmbeddedAws, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("records")
    relay, rude = Relay(("127.0.0.1", urlsplit(aws.url).port or 0)), Relay(None)
    policy = folder / "policy.yaml"
    policy.write_text(
        POLICY.replace("DEAD", str(free_port())).replace("RUDE", str(rude.port)), "utf-8"
    )
    gateway = GatewayProcess(
        folder, policy=policy, keys=aws.gateway_keys, upstream=f"http://127.0.0.1:{relay.port}"
    )
    try:
        client = Client(gateway)
        _served(client)
        _refused(client)
        _failing(client)
        _not_recorded(client)
        _not_http(client)
        lines = _settled(gateway)
        secrets = client.secrets | _heard(bytes(relay.heard)) | {
            aws.gateway_keys["AWS_SECRET_ACCESS_KEY"]
        }  # fmt: skip
        yield Run(gateway, secrets, lines, gateway.metrics())
    finally:
        gateway.stop()
        relay.close()
        rude.close()


# --- the run -----------------------------------------------------------------------


def _served(client: Client) -> None:
    bob, alice = client.keys("bob", POWER_ROLE), client.keys("alice", READ_ONLY_ROLE)
    upload = Call("s3", S3.host, "PUT", f"/kept.txt?x-id={CANARY}", body=CANARY.encode() * 100)
    listing = Call("s3", S3.host, "GET", f"/?list-type=2&prefix={CANARY}")
    notes = Call("dynamodb", JSON.host, headers=JSON.headers, body=f'{{"X": "{CANARY}"}}'.encode())

    assert [client.send(call, bob) for call in (S3, S3, upload, listing, notes)] == [200] * 5
    assert client.send(CALLS["query"], alice) == 200
    assert client.send(S3, alice) == 200
    assert client.send(upload, alice) == 403  # IAM's no, not the gateway's


def _refused(client: Client) -> None:
    gateway, bob = client.gateway, client.keys("bob", POWER_ROLE)
    presigned = (
        f"/hello.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={bob.access_key_id}%2F{CANARY}"
        f"&X-Amz-Security-Token={quote(bob.session_token)}&X-Amz-Signature={'ab' * 32}"
    )
    client.secrets |= {"ab" * 32, "cd" * 32}
    wrong = replaced(
        client.fields(S3, bob),
        b"authorization",
        f"AWS4-HMAC-SHA256 Credential={bob.access_key_id}/20260101/us-east-1/s3/aws4_request, "
        f"SignedHeaders=host, Signature={'cd' * 32}".encode(),
    )
    old = [*S3.signed(bob), (b"Authorization", f"AWS AKIA:{CANARY}".encode())]
    tenant = Call("execute-api", "abc123.execute-api.us-east-1.amazonaws.com", "GET", "/prod")

    assert (
        ask(gateway, S3.host, head("GET", presigned, [(b"Host", S3.host.encode())])).status == 403
    )
    assert ask(gateway, S3.host, head("GET", "/hello.txt", wrong)).status == 403
    assert ask(gateway, S3.host, head("GET", "/hello.txt", old)).status == 400
    assert client.send(tenant, bob) == 403
    assert client.send(S3, SigningKeys("AKIAIOSFODNN7EXAMPLE", CANARY, CANARY)) == 403
    assert client.send(S3, client.keys("carol", READ_ONLY_ROLE)) == 403
    assert client.send(S3, client.keys("bob", ELSEWHERE, app="elsewhere")) == 403
    with plain(gateway) as wire:
        wire.send(S3.wire(client.fields(S3, bob)))
        assert wire.read_answer().status == 400
    with plain(gateway) as wire:
        wire.send(b"CONNECT 169.254.169.254:443 HTTP/1.1\r\nHost: 169.254.169.254:443\r\n\r\n")
        assert wire.read_answer().status == 403


def _failing(client: Client) -> None:
    bob = client.keys("bob", POWER_ROLE)
    for service, host in (("sqs", QUEUES), ("sns", TOPICS)):
        call = Call(service, host, headers=JSON.headers, body=f'{{"X": "{CANARY}"}}'.encode())
        assert client.send(call, bob) == 502


def _not_recorded(client: Client) -> None:
    """A gateway fault: the audit cannot be written for a while."""
    bob, audit = client.keys("bob", POWER_ROLE), client.gateway.state / "audit.jsonl"
    audit_after(client.gateway, 0, lines=19)
    kept = audit.rename(audit.with_suffix(".kept"))
    audit.mkdir()
    statuses = [client.send(S3, bob), client.send(S3, bob)]
    audit.rmdir()
    kept.rename(audit)
    assert (statuses, client.send(S3, bob)) == ([200, 503], 200)


def _not_http(client: Client) -> None:
    """What mitmproxy itself has words for: none of them may quote the client."""
    bob = client.keys("bob", POWER_ROLE)
    good = head("GET", "/hello.txt", client.fields(S3, bob))
    trailing = Call("s3", S3.host, "PUT", "/t", chunked=True, sign_body=False)
    bodies = [
        good[:-2] + f"no colon {CANARY}\r\n\r\n".encode(),
        good[:-2] + f"X-{CANARY} : 1\r\n\r\n".encode(),
        good[:-2] + f"Content-Length: {CANARY}\r\n\r\n".encode(),
        good[:-40],
        f"{CANARY} {CANARY} {CANARY}\r\n\r\n".encode(),
        trailing.wire(client.fields(trailing, bob))
        + f"5\r\nhello\r\n0\r\nX-Trailer: {CANARY}\r\n\r\n".encode(),
        trailing.wire(client.fields(trailing, bob)) + f"{CANARY}\r\n".encode(),
    ]
    for raw in bodies:
        with secure(client.gateway, S3.host) as wire:
            _send_and_go(wire, raw)
    with tunnel(client.gateway, S3.host) as wire:
        _send_and_go(wire, f"\x16\x03\x01{CANARY}".encode())
    with tunnel(client.gateway, S3.host) as wire:
        _send_and_go(wire, f"{CANARY}\r\n\r\n".encode())


def _send_and_go(wire: Wire, raw: bytes) -> None:
    wire.sock.settimeout(0.3)
    wire.send(raw)
    with contextlib.suppress(OSError):
        wire.read_answer()


def _settled(gateway: GatewayProcess) -> list[dict[str, Any]]:
    """Give the audit once nothing more comes: the last connections end by themselves."""
    before, lines = -1, gateway.audit()
    while len(lines) != before:
        time.sleep(0.3)
        before, lines = len(lines), gateway.audit()
    return lines


def _heard(text: bytes) -> set[str]:
    """Give the secrets that went between the gateway and AWS."""
    patterns = (
        rb"<SecretAccessKey>([^<]+)<",
        rb"<SessionToken>([^<]+)<",
        rb"Signature=([0-9a-f]{64})",
        rb"(?i)x-amz-security-token: *([^\r\n]+)",
    )
    found = [re.findall(pattern, text) for pattern in patterns]
    assert all(found), "the relay did not hear what it is there for"
    return {value.decode() for values in found for value in values}


# --- what is left -------------------------------------------------------------------


def test_the_run_was_mixed(run: Run) -> None:
    codes = {line["code"] for line in run.lines}

    assert codes >= {
        "", "unsupported", "bad-signature", "denied", "unknown-key", "role-unavailable",
        "missing-forwarded-host", "not-an-aws-endpoint", "upstream-failed", "gateway-fault",
    }  # fmt: skip
    assert {line["user"] for line in run.lines} == {"", "alice", "bob", "carol"}


def test_no_secret_is_in_the_log_the_audit_or_the_metrics(run: Run) -> None:
    left = {
        "gateway.log": run.gateway.log.read_text("utf-8", "replace"),
        "audit.jsonl": (run.gateway.state / "audit.jsonl").read_text("utf-8"),
        "/metrics": run.metrics,
    }

    found = {
        (place, secret[:6] + "...")
        for place, text in left.items()
        for secret in run.secrets
        if secret in text or quote(secret, safe="") in text
    }

    assert len(run.secrets) > 30
    assert found == set()
    for text in left.values():
        assert re.search(r"Signature=|(?i:x-amz-security-token)", text) is None


def test_every_request_that_mitmproxy_broke_off_has_a_line(run: Run) -> None:
    broken = [line for line in run.lines if line["path"] == "/t"]

    assert [(line["user"], line["status"]) for line in broken] == [("bob", 0)] * 2
    assert all(line["reason"] for line in broken)


def test_the_chain_holds(run: Run) -> None:
    assert verify(run.gateway.state / "audit.jsonl") == (len(run.lines), None)


def test_requests_are_counted_as_they_are_recorded(run: Run) -> None:
    requests = [line for line in run.lines if line["event"] == "request"]
    expected = Counter(
        (_label(line["user"]), line["decision"], line["code"] or str(line["status"]))
        for line in requests
    )

    counted: Counter[tuple[str, str, str]] = Counter()
    for labels, value in _samples(run.metrics, "awsgate_requests_total"):
        counted[labels["user"], labels["decision"], labels["code"]] += int(value)

    assert counted == expected


def test_refusals_are_counted_as_they_are_recorded(run: Run) -> None:
    expected = Counter(line["code"] for line in run.lines if line["code"])

    found = _samples(run.metrics, "awsgate_refusals_total")

    assert {labels["code"]: int(value) for labels, value in found} == expected


# What may still refuse a request that the gate has let through.
AFTER_THE_GATE = ("upstream-failed", "role-unavailable")


def test_actions_are_counted_as_they_are_recorded(run: Run) -> None:
    # Those that were let through: what was not proved, or was denied, may name any action.
    expected = Counter(
        (_label(line["user"]), line["action"])
        for line in run.lines
        if line["action"] and (line["decision"] == "allowed" or line["code"] in AFTER_THE_GATE)
    )

    found = _samples(run.metrics, "awsgate_actions_total")

    assert {(labels["user"], labels["action"]): int(v) for labels, v in found} == expected
    assert len(expected) > 3


def test_bytes_are_counted_as_they_are_recorded(run: Run) -> None:
    expected: Counter[tuple[str, str]] = Counter()
    for line in run.lines:
        expected[_label(line["user"]), "in"] += line["bytes_in"]
        expected[_label(line["user"]), "out"] += line["bytes_out"]

    found = _samples(run.metrics, "awsgate_bytes_total")

    assert {(labels["user"], labels["direction"]): int(v) for labels, v in found} == +expected


@pytest.mark.parametrize(
    "options",
    [["-v"], ["--set", "termlog_verbosity=debug"], ["--set", "flow_detail=3"]],
    ids=" ".join,
)
def test_a_host_that_would_log_heads_and_bodies_does_not_start(
    run: Run, folder: Path, options: list[str]
) -> None:
    with pytest.raises(SetupError) as caught:
        GatewayProcess(folder, policy=run.gateway.policy, keys={}, options=options)

    assert any("would open a hole" in fault for fault in caught.value.faults)


def _label(user: str) -> str:
    if user in ("alice", "bob"):
        return user
    return UNKNOWN_USER if user else NO_USER


def _samples(text: str, name: str) -> list[tuple[dict[str, str], float]]:
    return [
        (dict(re.findall(r'(\w+)="([^"]*)"', labels)), float(value))
        for labels, value in re.findall(rf"(?m)^{name}\{{(.*)\}} (\S+)$", text)
    ]
