"""TLS to the proxy itself: what speaks it is served as ever, and nothing else is served."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aws_server.server import StrictAws
from awsgate.demo.embedded_aws import ACCOUNT, POWER_ROLE
from awsgate.demo.processes import CORE_VARIABLE, GatewayProcess, clean_env
from e2e.forms import POLICY, gateway_before
from e2e.held import until
from rawclient import Answer, Call, Wire, keys_of, metric

SPEC = "{tls: true, names: [gate.example.com], limits: {head_timeout_s: 2.0}}"
STS = Call(
    "sts",
    "sts.us-east-1.amazonaws.com",
    headers=(("Content-Type", "application/x-www-form-urlencoded"),),
    body=b"Action=GetCallerIdentity&Version=2011-06-15",
)


def policy(spec: str) -> str:
    return POLICY.format(role=POWER_ROLE, account=ACCOUNT, spec=spec)


@pytest.fixture(scope="module", params=["mitmproxy", "own"])
def core(request: pytest.FixtureRequest) -> Iterator[str]:
    before = os.environ.get(CORE_VARIABLE)
    os.environ[CORE_VARIABLE] = request.param
    yield request.param
    if before is None:
        del os.environ[CORE_VARIABLE]
    else:
        os.environ[CORE_VARIABLE] = before


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


def trusting(gate: GatewayProcess) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(gate.certs / "gateway-root.pem"))


@contextmanager
def secured(gate: GatewayProcess, name: str = "gate.example.com") -> Iterator[Wire]:
    """Open a connection with TLS to the proxy itself, and nothing in it yet."""
    with (
        socket.create_connection(("127.0.0.1", gate.port), 10) as sock,
        trusting(gate).wrap_socket(sock, server_hostname=name) as tls,
    ):
        yield Wire(tls)


def in_origin_form(gate: GatewayProcess, env: dict[str, str], *more: bytes) -> Answer:
    """Send a signed call with no CONNECT, as a second hop does."""
    raw = STS.wire(STS.signed(keys_of(env)))
    head, end, body = raw.partition(b"\r\n\r\n")
    with secured(gate) as wire:
        wire.send(b"\r\n".join([head, *more]) + end + body)
        return wire.read_answer(method="POST")


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
    answer = in_origin_form(gate, env, b"X-Forwarded-Host: " + STS.host.encode())

    assert answer.status == 200
    assert b"bob" in answer.body
    last = gate.audit()[-1]
    assert last["client"].startswith("127.0.0.1:")


def test_a_forwarding_header_says_nothing_of_the_client(
    gate: GatewayProcess, env: dict[str, str]
) -> None:
    before = len(gate.audit())
    spoofed = [b"X-Forwarded-For: 203.0.113.9", b"Forwarded: for=203.0.113.9"]
    answer = in_origin_form(gate, env, b"X-Forwarded-Host: " + STS.host.encode(), *spoofed)

    assert answer.status == 200
    line = gate.audit(at_least=before + 1)[-1]
    assert line["client"].startswith("127.0.0.1:")


def test_without_the_header_it_is_refused(gate: GatewayProcess, env: dict[str, str]) -> None:
    assert in_origin_form(gate, env).code == "missing-forwarded-host"


def test_plain_http_inside_connect_is_refused_all_the_same(
    gate: GatewayProcess, env: dict[str, str]
) -> None:
    """TLS to the proxy is none with the host: a client that leaves it out is told."""
    with secured(gate) as wire:
        wire.send(f"CONNECT {STS.host}:443 HTTP/1.1\r\nHost: {STS.host}:443\r\n\r\n".encode())
        assert wire._until(b"\r\n\r\n").split(b" ")[1] == b"200"
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


RUBBISH = {
    "zeros": (b"\0" * 100, "not-tls"),
    "a record of rubbish": (b"\x16\x03\x01\x00\x20" + b"\xff" * 32, "handshake"),
    "nothing": (b"", "timeout"),
    "half a hello": (b"\x16\x03\x01\x02\x00\x01", "timeout"),
    "HTTP behind a record's type": (b"\x16GET / HTTP/1.1\r\n\r\n", "handshake"),
}


@pytest.mark.parametrize(("data", "cause"), RUBBISH.values(), ids=RUBBISH)
def test_what_is_no_tls_is_closed_in_time_and_counted(
    gate: GatewayProcess, data: bytes, cause: str
) -> None:
    before, began = failed(gate, cause), time.monotonic()

    said = exchange(gate, data)

    assert b"HTTP/" not in said
    assert time.monotonic() - began < 5
    assert until(lambda: failed(gate, cause) == before + 1)


def test_old_tls_is_refused(gate: GatewayProcess) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1 is deprecated"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    before = failed(gate, "handshake")

    with (
        socket.create_connection(("127.0.0.1", gate.port), 10) as sock,
        pytest.raises(ssl.SSLError),
    ):
        context.wrap_socket(sock)
    assert until(lambda: failed(gate, "handshake") == before + 1)


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
        answer = in_origin_form(gate, env, b"X-Forwarded-Host: " + STS.host.encode())
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


START: dict[str, tuple[str, list[str], str]] = {
    "everywhere in plain": (
        "{}", ["--listen", "0.0.0.0:0"],
        "other machines reach 0.0.0.0, and the gateway would not speak TLS there",
    ),
    "as the policy says": (
        "{listen: '[::]:0'}", [],
        "other machines reach ::, and the gateway would not speak TLS there",
    ),
    "a name that can be none": (
        "{tls: true, names: ['https://x']}", [], "'https://x' cannot be a name of the gateway",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("spec", "options", "words"), START.values(), ids=START)
def test_the_start_is_refused(folder: Path, spec: str, options: list[str], words: str) -> None:
    (folder / "policy.yaml").write_text(policy(spec))
    command = [sys.executable, "-m", "awsgate", "run", "--workers", "1", "--metrics", "", *options]
    command += ["--policy", "policy.yaml", "--state", "state", "--certs", "certs"]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=30
    )

    assert done.returncode == 2
    assert words in done.stderr
    assert "awsgate: hint: " in done.stderr


MITMDUMP: dict[str, tuple[str, list[str], str]] = {
    "tls": ("{tls: true}", [], "under mitmdump the port of the proxy has no TLS"),
    "a host": ("{}", ["--listen-host", "0.0.0.0"], "other machines reach 0.0.0.0"),
    "a mode": ("{}", ["--mode", "regular@0.0.0.0:0"], "other machines reach 0.0.0.0"),
    "a mode without host": ("{}", ["--mode", "regular@:0"], "other machines reach all addresses"),
    "the policy": ("{listen: '0.0.0.0:0'}", [], "other machines reach 0.0.0.0"),
}


@pytest.mark.parametrize(("spec", "options", "words"), MITMDUMP.values(), ids=MITMDUMP)
def test_mitmdump_is_refused_alike(folder: Path, spec: str, options: list[str], words: str) -> None:
    (folder / "policy.yaml").write_text(policy(spec))
    script = Path(__file__).parents[2] / "addons/awsgate.py"
    command = ["mitmdump", "-s", str(script), *options]
    for name in ("policy=policy.yaml", "state=state", "certs=certs", "metrics="):
        command += ["--set", f"awsgate_{name}"]
    env = clean_env(folder)
    done = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=30
    )

    assert done.returncode == 2
    assert words in done.stderr
    assert "awsgate run" in done.stderr or "tls: true" in done.stderr


def test_plain_public_is_a_choice(strict: StrictAws, folder: Path) -> None:
    with gateway_before(
        strict, folder, policy("{plain_public: true}"), workers=1, extra=["--listen", "0.0.0.0:0"]
    ) as gate:
        assert "what clients say to the proxy itself is in the clear" in gate.log.read_text()
