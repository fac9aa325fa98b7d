"""Artefacts through the real gateway: ordered by the commands, taken by the strict AWS.

The commands run as a user runs them, with the variables of ``awsgate env`` and nothing
more. What they print is then used without the proxy, as it would be by whoever gets it.
"""

from __future__ import annotations

import base64
import json
import re
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from awsgate.demo.embedded_aws import ACCOUNT
from e2e.ordered import DATABASE, GIT, RDS, REGION, Stage, stage_in
from ordering import their_eks_token, their_git_credentials, their_rds_token
from rawclient import ask, head


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage_in(tmp_path_factory.mktemp("artefacts")) as made:
        yield made


def token_url(token: str) -> str:
    text = token.removeprefix("k8s-aws-v1.")
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()


# --- s3 -----------------------------------------------------------------------------------

KEY = "public/a b+c/é 😀 x%2F.txt"


def test_a_url_works_without_the_gateway(stage: Stage) -> None:
    put = stage.ok("presign", f"s3://reports/{KEY}", "--method", "PUT")
    get = stage.ok("presign", f"s3://reports/{KEY}", "--expires-in", "10m")

    assert stage.fetch("PUT", put, b"hello")[0] == 200
    status, body, seen = stage.fetch("GET", get)

    assert (status, body, seen.fault) == (200, b"hello", "")
    assert (seen.auth, seen.session_name) == ("query", "bob")
    assert seen.access_key_id == stage.line()["access_key_id"]
    assert parse_qs(urlsplit(get).query)["X-Amz-Expires"] == ["600"]


def test_a_url_is_good_for_its_own_method_key_and_headers_alone(stage: Stage) -> None:
    get = stage.ok("presign", "s3://reports/public/x")

    assert stage.fetch("PUT", get, b"x")[0] == 403
    assert stage.fetch("GET", get.replace("/public/x", "/secret"))[0] == 403
    assert stage.fetch("GET", get.replace("reports.", "others."))[0] == 403
    assert stage.fetch("GET", get + "&response-content-type=text/html")[0] == 403
    assert stage.fetch("GET", get, x_amz_acl="public-read")[0] == 403


def test_a_url_ends(stage: Stage) -> None:
    get = stage.ok("presign", "s3://reports/public/x", "--expires-in", "60")
    stage.aws.clock = lambda: datetime.now(UTC) + timedelta(seconds=62)
    try:
        *_, seen = stage.fetch("GET", get)
    finally:
        stage.aws.clock = lambda: datetime.now(UTC)

    assert seen.fault == "presigned-expired"


def test_more_time_than_the_operator_allows_is_cut_and_said(stage: Stage) -> None:
    done = stage.run("presign", "s3://reports/public/x", "--expires-in", "7d")

    assert done.returncode == 0
    assert "X-Amz-Expires=900&" in done.stdout
    assert re.fullmatch(
        r"awsgate: note: good until 20\S+Z, for 900 s and not 604800: "
        r"the gateway's presign_max_ttl\n",
        done.stderr,
    )


def test_a_url_for_programs(stage: Stage) -> None:
    said = json.loads(stage.ok("presign", "s3://reports/public/x", "--json"))

    assert set(said) == {"kind", "method", "url", "expires", "expires_in"}
    left = datetime.fromisoformat(said["expires"]) - datetime.now(UTC)
    assert timedelta(seconds=880) < left <= timedelta(seconds=900)


NO = {
    "another key": (("presign", "s3://reports/secret"), "aws_resources of role/artefacts"),
    "another bucket": (("presign", "s3://others/public/x"), "aws_resources of role/artefacts"),
    "another cluster": (
        ("eks-token", "--cluster-name", "prod"),
        "aws_resources of role/artefacts",
    ),
    "a database that is not told": (RDS, "aws_resources of role/artefacts"),
    "another database": ((*RDS, "--resource-id", "db-XYZ"), "aws_resources of role/artefacts"),
}


@pytest.mark.parametrize(("command", "rule"), NO.values(), ids=NO)
def test_the_policy_says_no_with_its_rule(
    stage: Stage, command: tuple[str, ...], rule: str
) -> None:
    done = stage.run(*command)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("awsgate: no: bob may not do this: no rule allows this call: ")
    assert rule in done.stderr
    assert (stage.line()["event"], stage.line()["decision"]) == ("artefact", "refused")


def test_in_a_shell_with_the_gateway_a_url_is_somebody_elses(stage: Stage) -> None:
    url = urlsplit(stage.ok("presign", "s3://reports/public/x"))
    raw = head("GET", f"{url.path}?{url.query}", [(b"Host", url.netloc.encode())])

    answer = ask(stage.gateway, url.netloc, raw, method="GET")

    assert (answer.status, answer.code) == (403, "unknown-key")


# --- eks ----------------------------------------------------------------------------------


def test_an_eks_token_is_the_role_for_that_cluster_and_no_other(stage: Stage) -> None:
    said = json.loads(stage.ok("eks-token", "--cluster-name", "dev"))

    url = token_url(said["status"]["token"])
    status, body, seen = stage.fetch("GET", url, x_k8s_aws_id="dev")
    assert (status, seen.fault, seen.session_name) == (200, "", "bob")
    assert b"assumed-role/ExamplePowerAccess/bob" in body
    assert stage.fetch("GET", url, x_k8s_aws_id="prod")[2].fault == "signature-wrong"
    assert stage.fetch("GET", url)[2].fault == "signed-header-absent"
    when = datetime.strptime(
        parse_qs(urlsplit(url).query)["X-Amz-Date"][0], "%Y%m%dT%H%M%SZ"
    ).replace(tzinfo=UTC)
    assert said["status"]["token"] == their_eks_token(stage.keys(), when, "dev", REGION)


@pytest.mark.parametrize(
    ("asked", "said"),
    [("", "v1beta1"), ("v1", "v1"), ("v1alpha1", "v1alpha1"), ("v9", "v1beta1")],
)
def test_an_exec_credential_is_of_the_version_that_kubectl_asks_for(
    stage: Stage, asked: str, said: str
) -> None:
    api = "client.authentication.k8s.io/"
    info = json.dumps({"kind": "ExecCredential", "apiVersion": api + asked}) if asked else ""

    found = json.loads(stage.ok("eks-token", "--cluster-name", "dev", KUBERNETES_EXEC_INFO=info))

    assert (found["kind"], found["apiVersion"], found["spec"]) == (
        "ExecCredential",
        api + said,
        {},
    )
    assert set(found["status"]) == {"expirationTimestamp", "token"}
    left = datetime.fromisoformat(found["status"]["expirationTimestamp"]) - datetime.now(UTC)
    assert timedelta(minutes=13) < left <= timedelta(minutes=14)


def self_signed(folder: Path) -> ssl.SSLContext:
    """Give the context of a server: kubectl sends a token over TLS alone."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "dev")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(hours=1))
    made = builder.not_valid_after(now + timedelta(hours=1)).sign(key, hashes.SHA256())
    file = folder / "server.pem"
    file.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        + made.public_bytes(Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


def test_kubectl_takes_the_token_from_its_kubeconfig(stage: Stage, tmp_path: Path) -> None:
    if shutil.which("kubectl", path=stage.env["PATH"]) is None:
        pytest.skip("kubectl is not installed")
    heard: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append(self.headers.get("Authorization", ""))
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.socket = self_signed(tmp_path).wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    command = {
        "apiVersion": "client.authentication.k8s.io/v1beta1",
        "command": "awsgate",
        "args": ["eks-token", "--cluster-name", "dev", "--region", REGION],
        "interactiveMode": "Never",
    }
    config = tmp_path / "kubeconfig"
    config.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [
                    {
                        "name": "dev",
                        "cluster": {
                            "server": f"https://127.0.0.1:{server.server_address[1]}",
                            "insecure-skip-tls-verify": True,
                        },
                    }
                ],
                "users": [{"name": "dev", "user": {"exec": command}}],
                "contexts": [{"name": "dev", "context": {"cluster": "dev", "user": "dev"}}],
                "current-context": "dev",
            }
        )
    )
    try:
        done = stage.run("--kubeconfig", str(config), "get", "--raw", "/version", program="kubectl")
    finally:
        server.shutdown()
        server.server_close()

    assert (done.returncode, done.stdout.strip()) == (0, "{}"), done.stderr
    assert heard[-1].startswith("Bearer k8s-aws-v1.")
    url = token_url(heard[-1].removeprefix("Bearer "))
    assert stage.fetch("GET", url, x_k8s_aws_id="dev")[0] == 200


# --- rds ----------------------------------------------------------------------------------


def test_an_rds_token_is_made_with_keys_that_aws_holds_to_that_database(stage: Stage) -> None:
    token = stage.ok(*RDS, "--resource-id", "db-ABC")

    when = datetime.strptime(
        parse_qs(urlsplit(f"https://{token}").query)["X-Amz-Date"][0], "%Y%m%dT%H%M%SZ"
    ).replace(tzinfo=UTC)
    assert token == their_rds_token(stage.keys(), when, DATABASE, 5432, "app")
    assumed = [
        r for r in stage.aws.requests if r.access_key_id == stage.aws.base_keys.access_key_id
    ]
    (policy,) = parse_qs(assumed[-1].body.decode())["Policy"]
    assert json.loads(policy)["Statement"] == [
        {
            "Effect": "Allow",
            "Action": "rds-db:connect",
            "Resource": f"arn:aws:rds-db:{REGION}:{ACCOUNT}:dbuser:db-ABC/app",
        }
    ]


# --- codecommit ------------------------------------------------------------------------------


def git_fill(
    stage: Stage, repository: str, *, helper: str = "!awsgate codecommit", host: str = GIT
) -> subprocess.CompletedProcess[str]:
    return stage.run(
        "-c", "credential.helper=", "-c", f"credential.helper={helper}",
        "-c", "credential.useHttpPath=true", "credential", "fill",
        stdin=f"protocol=https\nhost={host}\npath=v1/repos/{repository}\n\n",
        program="git", GIT_TERMINAL_PROMPT="0", GIT_CONFIG_NOSYSTEM="1",
    )  # fmt: skip


@pytest.mark.parametrize("helper", ["!awsgate codecommit", "!awsgate codecommit --read-only"])
def test_git_is_given_what_the_aws_cli_would_make_of_the_real_keys(
    stage: Stage, helper: str
) -> None:
    done = git_fill(stage, "tools", helper=helper)

    assert (done.returncode, done.stderr) == (0, "")
    found = dict(line.split("=", 1) for line in done.stdout.splitlines())
    when = datetime.strptime(found["password"][:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    theirs = their_git_credentials(stage.keys(), when, GIT, "tools")
    assert {name: found[name] for name in theirs} == theirs
    assert stage.line()["action"] == (
        "codecommit:GitPull" + (" codecommit:GitPush" if "only" not in helper else "")
    )


def test_git_does_not_ask_for_a_password_after_a_no(stage: Stage) -> None:
    done = git_fill(stage, "secrets")

    assert done.returncode == 128
    assert "awsgate: no: bob may not do this: no rule allows this call" in done.stderr
    assert "told us to quit" in done.stderr


def test_another_host_is_another_helpers(stage: Stage) -> None:
    before = len(stage.gateway.audit())

    for host in ("github.com", "git-codecommit.evil.example", f"{GIT}.example.com"):
        asked = f"protocol=https\nhost={host}\npath=v1/repos/tools\n\n"
        done = stage.run("codecommit", "get", stdin=asked)
        assert (done.returncode, done.stdout) == (0, "") or "in eu-central-1" in done.stderr
    for operation in ("store", "erase"):
        done = stage.run("codecommit", operation, stdin="password=x\n")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    assert len([r for r in stage.gateway.audit()[before:] if r["decision"] == "allowed"]) == 0


def test_git_that_does_not_say_the_repository_is_told_how(stage: Stage) -> None:
    done = stage.run("codecommit", "get", stdin=f"protocol=https\nhost={GIT}\n\n")

    assert (done.returncode, done.stdout) == (2, "")
    assert "credential.useHttpPath true" in done.stderr


# --- all ----------------------------------------------------------------------------------


def test_no_order_ever_reached_aws(stage: Stage) -> None:
    """What arrived are the gateway's own AssumeRole and what the tests above fetched."""
    stage.ok("presign", "s3://reports/public/never")
    own = [r for r in stage.aws.requests if r.session_name == ""]

    assert {r.body.partition(b"&")[0] for r in own if r.access_key_id} == {b"Action=AssumeRole"}
    assert not [r for r in stage.aws.requests if "awsgate" in r.target or b"bucket" in r.body]
    assert not [r for r in stage.aws.requests if r.access_key_id == stage.env["AWS_ACCESS_KEY_ID"]]


@pytest.mark.parametrize(
    "path", ["/.awsgate", "/.awsgate/", "/.awsgate/v1/artefact", "/.awsgate/x"]
)
def test_no_call_of_sts_goes_on_under_the_gateways_own_path(stage: Stage, path: str) -> None:
    sts = boto3.client(
        "sts",
        region_name=REGION,
        endpoint_url=f"https://sts.{REGION}.amazonaws.com{path}",
        aws_access_key_id=stage.env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=stage.env["AWS_SECRET_ACCESS_KEY"],
        aws_session_token=stage.env["AWS_SESSION_TOKEN"],
        verify=stage.env["AWS_CA_BUNDLE"],
        config=Config(proxies={"https": stage.gateway.proxy}, retries={"total_max_attempts": 1}),
    )
    before = len(stage.aws.requests)

    with pytest.raises(ClientError, match="awsgate unsupported"):
        sts.get_caller_identity()
    url = sts.generate_presigned_url("get_caller_identity", HttpMethod="GET").partition(".com")[2]
    host = f"sts.{REGION}.amazonaws.com"
    answer = ask(stage.gateway, host, head("GET", url, [(b"Host", host.encode())]), method="GET")

    assert (answer.status, answer.code) == (403, "not-signed")
    assert len(stage.aws.requests) == before


def test_nothing_of_an_artefact_is_kept_anywhere(stage: Stage) -> None:
    url = stage.ok("presign", "s3://reports/public/x")
    token = json.loads(stage.ok("eks-token", "--cluster-name", "dev"))["status"]["token"]
    password = stage.ok(*RDS, "--resource-id", "db-ABC")
    git = dict(line.split("=", 1) for line in git_fill(stage, "tools").stdout.splitlines())
    secrets = [
        *(parse_qs(urlsplit(u).query)[f"X-Amz-{name}"][0]
          for u in (url, f"https://{password}", token_url(token))
          for name in ("Signature", "Security-Token")),
        token.removeprefix("k8s-aws-v1."), git["password"][16:], git["username"].partition("%")[2],
        stage.env["AWS_SECRET_ACCESS_KEY"], stage.env["AWS_SESSION_TOKEN"], *stage.aws.issued,
    ]  # fmt: skip

    kept = [
        stage.gateway.log.read_text("utf-8"),
        (stage.gateway.state / "audit.jsonl").read_text("utf-8"),
        stage.gateway.metrics(),
    ]

    assert len(set(secrets)) > 10
    assert not [s[:8] for s in secrets for text in kept if s in text]
    assert 'action="s3:GetObject"' in kept[2]
    # Nor does a client get the secret, by any way.
    given = f"{url}{token_url(token)}{password}{git}"
    assert not [i for i in stage.aws.keys.identities.values() if i.secret in given]
