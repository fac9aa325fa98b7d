"""TLS to the proxy itself: what speaks it is served as ever, and nothing else is served."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from aws_server.server import StrictAws
from awsgate.demo.embedded_aws import ACCOUNT, POWER_ROLE
from awsgate.demo.processes import GatewayProcess, clean_env
from e2e.forms import POLICY, gateway_before
from e2e.held import until
from e2e.overtls import CORES, ask_connect, in_origin_form, secured, trusting, with_core
from rawclient import Answer, Call, keys_of, metric

SPEC = "{tls: true, names: [gate.example.com], limits: {head_timeout_s: 2.0}}"
SCRIPT = Path(__file__).parents[2] / "addons/awsgate.py"
STS = Call(
    "sts",
    "sts.us-east-1.amazonaws.com",
    headers=(("Content-Type", "application/x-www-form-urlencoded"),),
    body=b"Action=GetCallerIdentity&Version=2011-06-15",
)


def policy(spec: str) -> str:
    return POLICY.format(role=POWER_ROLE, account=ACCOUNT, spec=spec)


@pytest.fixture(scope="module", params=CORES)
def core(request: pytest.FixtureRequest) -> Iterator[str]:
    with with_core(request.param) as core:
        yield core


@pytest.fixture(scope="module")
def strict() -> Iterator[StrictAws]:
    with StrictAws() as running:
        yield running


@pytest.fixture(scope="module")
def gate(
    core: str, strict: StrictAws, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """A gateway that speaks TLS, before the strict AWS."""
    folder = tmp_path_factory.mktemp(core)
    with gateway_before(strict, folder, policy(SPEC), workers=2) as running:
        running.proxy = f"https://127.0.0.1:{running.port}"
        yield running


@pytest.fixture(scope="module")
def env(gate: GatewayProcess) -> dict[str, str]:
    return gate.env(user="bob", app="awsconsole-test", role=POWER_ROLE)


def signed(gate: GatewayProcess, env: dict[str, str], *more: bytes) -> Answer:
    return in_origin_form(gate, STS, keys_of(env), *more)


# --- clients ----------------------------------------------------------------------------


def test_boto3_calls_through_it(gate: GatewayProcess, env: dict[str, str]) -> None:
    program = (
        "import boto3\n"
        "s3 = boto3.client('s3', region_name='us-east-1')\n"
        "print(boto3.client('sts', region_name='us-east-1').get_caller_identity()['Arn'])\n"
        "print(len(s3.get_object(Bucket='b', Key='generated/300000')['Body'].read()))\n"
    )
    done = run([sys.executable, "-c", program], gate, env)

    assert done.returncode == 0, done.stderr
    assert "bob" in done.stdout
    assert env["HTTPS_PROXY"].startswith("https://")


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not here")
def test_curl_calls_through_it(gate: GatewayProcess, env: dict[str, str]) -> None:
    sigv4 = ["--aws-sigv4", "aws:amz:us-east-1:sts", "--fail-with-body", "-sS"]
    user = f"{env['AWS_ACCESS_KEY_ID']}:{env['AWS_SECRET_ACCESS_KEY']}"
    token = f"x-amz-security-token: {env['AWS_SESSION_TOKEN']}"
    url = "https://sts.us-east-1.amazonaws.com/?Action=GetCallerIdentity&Version=2011-06-15"
    done = run(
        ["curl", *sigv4, "--user", user, "-H", token, "--proxy-cacert", env["AWS_CA_BUNDLE"], url],
        gate,
        env,
    )

    assert done.returncode == 0, done.stderr
    assert "bob" in done.stdout


def test_the_aws_command_line_calls_through_it(gate: GatewayProcess, env: dict[str, str]) -> None:
    done = run(["aws", "sts", "get-caller-identity", "--output", "text"], gate, env)

    assert done.returncode == 0, done.stderr
    assert "bob" in done.stdout


def test_our_own_commands_call_through_it(gate: GatewayProcess, env: dict[str, str]) -> None:
    done = run(
        [
            sys.executable,
            "-m",
            "awsgate",
            "presign",
            "s3://run/generated/5",
            "--region",
            "us-east-1",
        ],
        gate,
        env,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("https://run.s3.")


def run(
    command: list[str], gate: GatewayProcess, env: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    surroundings = clean_env(gate.home, env)
    return subprocess.run(
        command, env=surroundings, capture_output=True, text=True, check=False, timeout=60
    )


def test_what_awsgate_env_says_is_https(gate: GatewayProcess) -> None:
    command = [sys.executable, "-m", "awsgate", "env", "--format", "json", "--user", "bob"]
    command += ["--policy", str(gate.policy), "--state", str(gate.state), "--certs"]
    done = run([*command, str(gate.certs)], gate, {})

    assert '"HTTPS_PROXY": "https://127.0.0.1:8080"' in done.stdout


# --- forms ------------------------------------------------------------------------------


def test_a_call_in_origin_form_is_served_inside_it(
    gate: GatewayProcess, env: dict[str, str]
) -> None:
    answer = signed(gate, env)

    assert answer.status == 200
    assert b"bob" in answer.body
    last = gate.audit()[-1]
    assert last["client"].startswith("127.0.0.1:")


def test_a_forwarding_header_says_nothing_of_the_client(
    gate: GatewayProcess, env: dict[str, str]
) -> None:
    before = len(gate.audit())
    spoofed = [b"X-Forwarded-For: 203.0.113.9", b"Forwarded: for=203.0.113.9"]
    answer = signed(gate, env, *spoofed)

    assert answer.status == 200
    line = gate.audit(at_least=before + 1)[-1]
    assert line["client"].startswith("127.0.0.1:")


def test_without_the_header_it_is_refused(gate: GatewayProcess, env: dict[str, str]) -> None:
    with secured(gate) as wire:
        wire.send(STS.wire(STS.signed(keys_of(env))))
        assert wire.read_answer(method="POST").code == "missing-forwarded-host"


def test_plain_http_inside_connect_is_refused_all_the_same(
    gate: GatewayProcess, env: dict[str, str]
) -> None:
    """TLS to the proxy is none with the host: a client that leaves it out is told."""
    with secured(gate) as wire:
        assert ask_connect(wire, f"{STS.host}:443").status == 200
        wire.send(STS.wire(STS.signed(keys_of(env))))
        answer = wire.read_answer(method="POST")

    assert answer.status == 421
    assert b"plain HTTP inside a CONNECT tunnel" in answer.body


def test_a_big_download_and_a_big_upload_pass(gate: GatewayProcess, env: dict[str, str]) -> None:
    program = (
        "import boto3, os\n"
        "s3 = boto3.client('s3', region_name='us-east-1')\n"
        "body = os.urandom(1 << 20) * 20\n"
        "s3.put_object(Bucket='b', Key='big', Body=body)\n"
        "print(s3.get_object(Bucket='b', Key='generated/30000000')['ContentLength'])\n"
    )
    done = run([sys.executable, "-c", program], gate, env)

    assert done.returncode == 0, done.stderr


# --- what is no TLS ------------------------------------------------------------------------


def exchange(gate: GatewayProcess, data: bytes, *, wait_s: float = 8) -> bytes:
    with socket.create_connection(("127.0.0.1", gate.port), 10) as sock:
        sock.settimeout(wait_s)
        sock.sendall(data)
        said = b""
        try:
            while more := sock.recv(4096):
                said += more
        except ConnectionResetError:
            pass
        return said


PLAIN = {
    "CONNECT": b"CONNECT sts.us-east-1.amazonaws.com:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    "origin form": b"GET / HTTP/1.1\r\nHost: sts.amazonaws.com\r\n"
    b"X-Forwarded-Host: sts.amazonaws.com\r\n\r\n",
    "a body that goes on": b"POST / HTTP/1.1\r\nContent-Length: 99999\r\n\r\n" + b"x" * 9000,
}


@pytest.mark.parametrize("data", PLAIN.values(), ids=PLAIN)
def test_plain_http_is_told_so_and_goes_nowhere(gate: GatewayProcess, data: bytes) -> None:
    lines, failures = len(gate.audit()), failed(gate, "plain-http")

    said = exchange(gate, data)

    assert said.startswith(b"HTTP/1.1 400 ")
    assert b"the proxy's URL begins with https://" in said
    assert until(lambda: failed(gate, "plain-http") == failures + 1)
    assert len(gate.audit()) == lines


def failed(gate: GatewayProcess, cause: str) -> float:
    return metric(gate.metrics(), "awsgate_tls_failures_total", cause=cause)


def test_a_client_that_does_not_trust_it_says_so(gate: GatewayProcess) -> None:
    with (
        socket.create_connection(("127.0.0.1", gate.port), 10) as sock,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        ssl.create_default_context().wrap_socket(sock, server_hostname="gate.example.com")


def test_it_shows_its_own_certificate_whatever_name_is_asked_for(gate: GatewayProcess) -> None:
    """An AWS name at this door gets no AWS certificate: that is for inside CONNECT."""
    context = trusting(gate)
    context.check_hostname = False
    with (
        socket.create_connection(("127.0.0.1", gate.port), 10) as sock,
        context.wrap_socket(sock, server_hostname="sts.amazonaws.com") as tls,
    ):
        names = tls.getpeercert()["subjectAltName"]  # type: ignore[index]

    assert ("DNS", "gate.example.com") in names
    assert ("DNS", "sts.amazonaws.com") not in names


def test_connections_that_say_nothing_keep_nobody_out(
    gate: GatewayProcess, env: dict[str, str]
) -> None:
    silent = [socket.create_connection(("127.0.0.1", gate.port), 10) for _ in range(200)]
    try:
        answer = signed(gate, env)
    finally:
        for sock in silent:
            # A reset, in the middle of waiting.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()

    assert answer.status == 200


# --- the life of it ---------------------------------------------------------------------


@pytest.mark.usefixtures("core")
def test_a_worker_that_starts_later_shows_the_same_certificate(
    strict: StrictAws, folder: Path
) -> None:
    """What stands in the folder by then does not count."""
    with gateway_before(strict, folder, policy(SPEC), workers=1) as gate:
        first = shown(gate)
        command = [sys.executable, "-m", "awsgate", "ca", "rotate", "--certs", str(gate.certs)]
        subprocess.run(command, check=True, capture_output=True)
        (worker,) = [pid for pid in _children(gate.process.pid) if "worker" in _command(pid)]
        os.kill(worker, 9)
        assert until(lambda: worker not in _children(gate.process.pid))
        assert until(lambda: "ended (signal SIGKILL)" in gate.log.read_text())

        assert shown(gate) == first


def shown(gate: GatewayProcess) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", gate.port), 20) as sock,
        context.wrap_socket(sock) as tls,
    ):
        return tls.getpeercert(binary_form=True) or b""


def _children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


def _command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


@pytest.mark.usefixtures("core")
def test_it_drains_as_ever(strict: StrictAws, folder: Path) -> None:
    with gateway_before(strict, folder, policy(SPEC), workers=1) as gate, secured(gate) as wire:
        gate.process.terminate()

        assert wire.at_end()
        assert gate.process.wait(10) == 0


# --- where it may listen ----------------------------------------------------------------


START = {
    "awsgate run": ["awsgate", "run", "--workers", "1", "--metrics", "", "--listen", "0.0.0.0:0"],
    "mitmdump": ["mitmdump", "-s", str(SCRIPT), "--listen-host", "0.0.0.0"],
}


@pytest.mark.parametrize("command", START.values(), ids=START)
def test_in_plain_it_does_not_start_where_others_reach_it(folder: Path, command: list[str]) -> None:
    (folder / "policy.yaml").write_text(policy("{non_aws: refuse}"))
    for name in ("policy=policy.yaml", "state=state", "certs=certs", "metrics="):
        if command[0] == "mitmdump":
            command = [*command, "--set", f"awsgate_{name}"]
        elif name != "metrics=":
            command = [*command, f"--{name}"]
    done = subprocess.run(
        command,
        cwd=folder,
        env=clean_env(folder),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 2
    assert "awsgate: error: other machines reach 0.0.0.0\n" in done.stderr
    assert "the proxy would not speak TLS there: set tls: true" in done.stderr
    assert "awsgate: hint: change kind: gateway, or listen on 127.0.0.1" in done.stderr


def test_by_choice_it_does_and_warns(strict: StrictAws, folder: Path) -> None:
    with gateway_before(
        strict,
        folder,
        policy("{plain_public: true, non_aws: refuse}"),
        workers=1,
        extra=["--listen", "0.0.0.0:0"],
    ) as gate:
        assert "what clients say to the proxy itself is in the clear" in gate.log.read_text()
