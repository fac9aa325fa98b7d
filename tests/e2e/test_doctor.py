"""awsgate doctor against a real gateway and an AWS that checks IAM: what it says is so."""

from __future__ import annotations

import json
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path

import pytest

from awsgate.demo.embedded_aws import ACCOUNT, POWER_ROLE, READ_ONLY_ROLE, EmbeddedAws
from awsgate.demo.processes import GatewayProcess, clean_env, free_port
from httpserving import QuietHandler, http_server
from iamadmin import Admin, administrator

GUARDED = f"arn:aws:iam::{ACCOUNT}:role/Guarded"
PARTNER = f"arn:aws:iam::{ACCOUNT}:role/Partner"
ABSENT = f"arn:aws:iam::{ACCOUNT}:role/Absent"
SECRET_WORDS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


@dataclass
class Report:
    code: int
    findings: list[dict[str, str]]
    err: str

    def ids(self, *severities: str) -> list[str]:
        return [f["id"] for f in self.findings if f["severity"] in severities]

    def one(self, id_: str) -> dict[str, str]:
        (found,) = [f for f in self.findings if f["id"] == id_]
        return found


@pytest.fixture(scope="module")
def admin(aws: EmbeddedAws) -> Admin:
    return administrator(aws)


@pytest.fixture(scope="module")
def operator(admin: Admin) -> dict[str, str]:
    """Keys that may assume roles and read their trust policies."""
    return admin.user("operator", "sts:AssumeRole", "iam:GetRole")


def write_policy(
    folder: Path, *, role: str = READ_ONLY_ROLE, external_id: str = "", gateway: str = ""
) -> Path:
    policy = folder / "policy.yaml"
    aws = f", aws: {{external_id: {external_id}}}" if external_id else ""
    policy.write_text(
        f"""\
kind: role
version: v5
metadata: {{name: r}}
spec:
  allow: {{app_labels: {{'*': '*'}}, aws_role_arns: ['{role}']}}
---
kind: app
version: v3
metadata: {{name: prod, labels: {{aws_account_id: '{ACCOUNT}'}}}}
spec: {{uri: 'https://console.aws.amazon.com/'{aws}}}
---
kind: user
version: v2
metadata: {{name: alice}}
spec: {{roles: [r]}}
{gateway}"""
    )
    return policy


def examine(
    gateway: GatewayProcess,
    upstream: str,
    keys: Mapping[str, str],
    *arguments: str,
    policy: Path | None = None,
    proxy: str = "",
    certs: Path | None = None,
) -> Report:
    env = clean_env(gateway.home, {"AWS_EC2_METADATA_DISABLED": "true", **keys})
    env["PATH"] = str(Path(sys.executable).parent)  # no rclone of this machine's
    done = subprocess.run(
        [
            *(sys.executable, "-m", "awsgate", "doctor", "--json"),
            *("--proxy", proxy or gateway.proxy, "--upstream", upstream),
            *("--policy", str(policy or gateway.policy), "--state", str(gateway.state)),
            *("--certs", str(certs or gateway.certs)),
            *arguments,
        ],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout, done.stderr
    for name in SECRET_WORDS:
        assert not keys.get(name) or keys[name] not in done.stdout + done.stderr
    return Report(done.returncode, json.loads(done.stdout)["findings"], done.stderr)


def without_warnings(report: Report) -> None:
    assert report.ids("fault", "warning") == [], report.findings
    assert (report.code, report.err) == (0, "")


# --- healthy ----------------------------------------------------------------------


def test_a_healthy_gateway_is_green_on_its_host(aws: EmbeddedAws, gateway: GatewayProcess) -> None:
    report = examine(gateway, aws.url, aws.gateway_keys, "--user", "alice")

    without_warnings(report)
    assert "assumed-role/ExampleReadOnlyAccess/alice" in report.one("call")["what"]
    assert "(env)" in report.one("base-credentials")["what"]
    assert ":user/awsgate" in report.one("base-credentials")["what"]
    assert {"gateway", "mitmproxy", "policy", "ca", "state", "role"} <= set(report.ids("ok"))


def test_a_clients_shell_is_green(
    aws: EmbeddedAws, gateway: GatewayProcess, alice: dict[str, str]
) -> None:
    report = examine(gateway, aws.url, alice)

    without_warnings(report)
    assert "ExampleReadOnlyAccess/alice" in report.one("call")["what"]
    assert {"session", "base-credentials-elsewhere"} <= set(report.ids("ok", "note"))


def test_aws_sees_no_role_assumed_in_a_users_name(
    aws: EmbeddedAws, gateway: GatewayProcess
) -> None:
    before = len(aws.requests())
    examine(gateway, aws.url, aws.gateway_keys)

    names = {row["session_name"] for row in aws.requests()[before:]}
    assert names == {"", "awsgate-doctor"}


# --- roles ------------------------------------------------------------------------


def test_a_trust_policy_that_names_somebody_else(
    aws: EmbeddedAws,
    gateway: GatewayProcess,
    admin: Admin,
    operator: dict[str, str],
    tmp_path: Path,
) -> None:
    admin.role(GUARDED, f"arn:aws:iam::{ACCOUNT}:user/awsgate")
    policy = write_policy(tmp_path, role=GUARDED)

    report = examine(gateway, aws.url, operator, policy=policy)

    assert report.code == 1
    assert report.ids("fault") == ["role-trust"]
    # The fix keeps who was there, and lets the operator in.
    command = shlex.split(report.one("role-trust")["fix"], comments=True)
    assert command[:3] == ["aws", "iam", "update-assume-role-policy"]
    document = json.loads(command[command.index("--policy-document") + 1])
    assert "user/awsgate" in str(document["Statement"][0])
    # moto denies by the first statement that names somebody else; AWS does not.
    document["Statement"] = document["Statement"][1:]
    admin.iam.update_assume_role_policy(RoleName="Guarded", PolicyDocument=json.dumps(document))
    without_warnings(examine(gateway, aws.url, operator, policy=policy))


def test_the_wrong_external_id(
    aws: EmbeddedAws,
    gateway: GatewayProcess,
    admin: Admin,
    operator: dict[str, str],
    tmp_path: Path,
) -> None:
    admin.role(PARTNER, f"arn:aws:iam::{ACCOUNT}:user/operator", external_id="right-one")
    policy = write_policy(tmp_path, role=PARTNER, external_id="wrong-one")

    report = examine(gateway, aws.url, operator, policy=policy)

    assert (report.code, report.ids("fault")) == (1, ["role-external-id"])
    assert "spec.aws.external_id of app prod" in report.one("role-external-id")["fix"]
    assert "right-one" not in str(report.findings)
    policy = write_policy(tmp_path, role=PARTNER, external_id="right-one")
    without_warnings(examine(gateway, aws.url, operator, policy=policy))


def test_own_credentials_that_may_not_assume_roles(
    aws: EmbeddedAws, gateway: GatewayProcess, admin: Admin, tmp_path: Path
) -> None:
    keys = admin.user("poor", "iam:GetRole")
    role = f"arn:aws:iam::{ACCOUNT}:role/ForThePoor"
    admin.role(role, f"arn:aws:iam::{ACCOUNT}:user/poor")
    policy = write_policy(tmp_path, role=role)

    report = examine(gateway, aws.url, keys, policy=policy)

    assert (report.code, report.ids("fault")) == (1, ["role-own-policy"])
    command = shlex.split(report.one("role-own-policy")["fix"])
    assert command[:5] == ["aws", "iam", "put-user-policy", "--user-name", "poor"]
    admin.iam.put_user_policy(
        UserName="poor",
        PolicyName=command[command.index("--policy-name") + 1],
        PolicyDocument=command[command.index("--policy-document") + 1],
    )
    without_warnings(examine(gateway, aws.url, keys, policy=policy))


def test_a_role_that_does_not_exist(
    aws: EmbeddedAws, gateway: GatewayProcess, admin: Admin, tmp_path: Path
) -> None:
    """Asked by somebody whom moto denies, as AWS denies everybody: moto lets others be it."""
    keys = admin.user("reader", "iam:GetRole")

    report = examine(gateway, aws.url, keys, policy=write_policy(tmp_path, role=ABSENT))

    assert (report.code, report.ids("fault")) == (1, ["role-missing"])
    assert "aws iam create-role --role-name Absent" in report.one("role-missing")["fix"]


def test_without_the_right_to_read_the_role_all_causes_are_named(
    aws: EmbeddedAws, gateway: GatewayProcess, admin: Admin, tmp_path: Path
) -> None:
    role = f"arn:aws:iam::{ACCOUNT}:role/Closed"
    admin.role(role, f"arn:aws:iam::{ACCOUNT}:user/operator")
    policy = write_policy(tmp_path, role=role)

    report = examine(gateway, aws.url, aws.gateway_keys, policy=policy)

    assert (report.code, report.ids("fault")) == (1, ["role-not-assumable"])
    fix = report.one("role-not-assumable")["fix"]
    assert f'"AWS": "arn:aws:iam::{ACCOUNT}:user/awsgate"' in fix
    assert "aws iam put-user-policy --user-name awsgate" in fix


# --- the gateway ------------------------------------------------------------------


def test_a_gateway_that_is_down(aws: EmbeddedAws, gateway: GatewayProcess) -> None:
    report = examine(gateway, aws.url, aws.gateway_keys, proxy=f"http://127.0.0.1:{free_port()}")

    assert (report.code, report.ids("fault")) == (1, ["gateway-down"])
    assert report.one("gateway-down")["fix"].startswith("awsgate run")


def test_what_listens_there_is_no_proxy(aws: EmbeddedAws, gateway: GatewayProcess) -> None:
    report = examine(gateway, aws.url, aws.gateway_keys, proxy=aws.url)

    assert (report.code, report.ids("fault")) == (1, ["gateway-is-none"])


def test_the_ca_of_another_gateway(
    aws: EmbeddedAws, gateway: GatewayProcess, tmp_path: Path
) -> None:
    other = tmp_path / "certs"
    subprocess.run(
        [sys.executable, "-m", "awsgate", "ca", "show", "--certs", str(other)],
        check=True,
        capture_output=True,
    )

    report = examine(gateway, aws.url, aws.gateway_keys, certs=other)

    assert (report.code, report.ids("fault")) == (1, ["gateway-other-ca"])
    assert "awsgate issuing" in report.one("gateway-other-ca")["what"]


def test_a_call_that_the_policy_of_the_gateway_denies(
    aws: EmbeddedAws, gateway: GatewayProcess, tmp_path: Path
) -> None:
    """The policy here is newer than the one that the gateway has."""
    policy = write_policy(tmp_path, role=POWER_ROLE)

    report = examine(gateway, aws.url, aws.gateway_keys, "--user", "alice", policy=policy)

    assert (report.code, report.ids("fault")) == (1, ["call-refused"])
    assert "awsgate" in report.one("call-refused")["what"]


# --- clocks and silence -----------------------------------------------------------


class _OffClock(QuietHandler):
    """An STS whose clock is ten minutes ahead."""

    def date_time_string(self, timestamp: float | None = None) -> str:
        assert timestamp is None
        return formatdate(time.time() + 600, usegmt=True)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = (
            b'<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Code>'
            b"SignatureDoesNotMatch</Code><Message>Signature expired: c4nary</Message></Error>"
            b"</ErrorResponse>"
        )
        self.answer(403, body, "text/xml")


@pytest.fixture
def off_clock() -> Iterator[str]:
    with http_server(_OffClock) as url:
        yield url


def test_a_clock_that_is_off(
    aws: EmbeddedAws, gateway: GatewayProcess, off_clock: str, tmp_path: Path
) -> None:
    report = examine(gateway, off_clock, aws.gateway_keys, policy=write_policy(tmp_path))

    assert report.code == 1
    assert report.ids("fault") == ["base-credentials-refused", "clock-aws"]
    assert "s behind AWS's" in report.one("clock-aws")["what"]
    assert report.one("clock-aws")["fix"].startswith("timedatectl set-ntp true")
    assert "c4nary" not in str(report.findings)


def test_an_sts_that_says_nothing_holds_nobody_up(
    aws: EmbeddedAws, gateway: GatewayProcess, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        began = time.monotonic()
        report = examine(
            gateway, url, aws.gateway_keys, "--timeout", "4", policy=write_policy(tmp_path)
        )

    assert time.monotonic() - began < 15
    assert "check-timed-out" in report.ids("warning")


def test_an_sts_that_cannot_be_reached(
    aws: EmbeddedAws, gateway: GatewayProcess, tmp_path: Path
) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    report = examine(gateway, url, aws.gateway_keys, policy=write_policy(tmp_path))

    assert (report.code, report.ids("fault")) == (1, ["sts-unreachable"])
    assert "sts.endpoint_url" in report.one("sts-unreachable")["fix"]
