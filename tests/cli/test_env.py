"""``awsgate env``: credentials for those who may have them, safe to eval."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from commandline import (
    ALICE,
    POLICY,
    POWER,
    READ_ONLY,
    Run,
    opened_by_the_gateway,
    variables,
)

pytestmark = pytest.mark.usefixtures("gateway_ca")


def test_env_gives_credentials_that_the_gateway_opens(run: Run, home: Path) -> None:
    before = int(datetime.now(UTC).timestamp())

    found = variables(run(*ALICE, "--format", "json", "--ttl", "1h30m"))

    opened = opened_by_the_gateway(found, home)
    assert opened.secret_access_key == found["AWS_SECRET_ACCESS_KEY"]
    session = opened.session
    assert (session.user, session.app, session.role_arn) == ("alice", "test", READ_ONLY)
    ends = datetime.fromisoformat(found["AWS_CREDENTIAL_EXPIRATION"]).timestamp()
    assert session.expires_at == ends
    assert 5400 <= ends - before <= 5410


def test_env_gives_all_that_a_client_needs(run: Run, home: Path) -> None:
    found = variables(run(*ALICE, "--format", "json"))

    assert found["HTTPS_PROXY"] == "http://127.0.0.1:3128", "0.0.0.0 is nowhere to go to"
    metadata = {"169.254.169.254", "169.254.170.2", "169.254.170.23", "fd00:ec2::254"}
    assert metadata | {"localhost"} <= set(found["NO_PROXY"].split(","))
    assert found["https_proxy"] == found["HTTPS_PROXY"]
    assert found["no_proxy"] == found["NO_PROXY"]
    assert not {"HTTP_PROXY", "http_proxy"} & set(found), "metadata services would be asked there"
    assert found["AWS_EC2_METADATA_DISABLED"] == "true"
    bundles = {found[name] for name in ("AWS_CA_BUNDLE", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")}
    root, (bundle,) = found["NODE_EXTRA_CA_CERTS"], bundles
    assert Path(root).parent == Path(bundle).parent == home / "it's certs"
    assert Path(root).read_bytes().strip() in Path(bundle).read_bytes()


README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")


def test_the_readmes_command_works_with_the_example(run: Run) -> None:
    (command,) = re.findall(r'^\$ eval "\$\(awsgate (env .*)\)"$', README, re.MULTILINE)
    example = Path(__file__).parents[2] / "policy"

    found = variables(run(*shlex.split(command), "--format", "json", "--policy", str(example)))

    assert found["AWS_REGION"] == "us-east-1", "the other commands there need one"


def test_env_names_another_gateway_if_told(run: Run) -> None:
    url = "http://gateway.corp.example:8080"

    assert variables(run(*ALICE, "--format", "json", "--proxy", url))["HTTPS_PROXY"] == url


PROXIES = {
    "no url": "foo",
    "no scheme": "127.0.0.1:8080",
    "another scheme": "socks5://127.0.0.1:1080",
    "no port": "http://127.0.0.1",
    "no host": "http://:8080",
    "a port too large": "http://127.0.0.1:65536",
    "a path": "http://127.0.0.1:8080/x",
    "a newline": "http://127.0.0.1:8080\n",
    "a password": "http://me:canary@127.0.0.1:8080",
}


@pytest.mark.parametrize("url", PROXIES.values(), ids=PROXIES)
def test_a_proxy_that_no_client_could_use_is_used_wrongly(run: Run, url: str) -> None:
    result = run(*ALICE, f"--proxy={url}")

    assert (result.code, result.out) == (2, "")
    assert "--proxy is not a URL like http://127.0.0.1:8080" in result.err
    assert "canary" not in result.err


def test_the_region_is_set_if_told(run: Run) -> None:
    found = variables(run(*ALICE, "--format", "json", "--region", "eu-west-1"))
    plain = variables(run(*ALICE, "--format", "json"))

    assert (found["AWS_REGION"], found["AWS_DEFAULT_REGION"]) == ("eu-west-1", "eu-west-1")
    assert not {"AWS_REGION", "AWS_DEFAULT_REGION"} & set(plain)
    assert run(*ALICE, "--region", "europe").code == 2


@pytest.mark.parametrize("named_by", ["option", "environment"])
def test_a_named_folder_without_a_ca_is_an_error_and_gets_none(
    run: Run, home: Path, named_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = home / "certz"
    monkeypatch.setenv("AWSGATE_CERTS", str(folder))

    result = run(*ALICE, *(("--certs", str(folder)) if named_by == "option" else ()))

    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(f"awsgate: error: no CA in {folder}\nawsgate: hint: ")
    assert not folder.exists()
    assert not (home / "it's state").exists(), "nothing is made for nothing"


def test_the_output_for_bash_is_safe_to_eval(
    run: Run, home: Path, gateway_ca: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certs = home / "$(touch${IFS}pwned)'\"`id`;exit"
    shutil.copytree(gateway_ca, certs)
    certs.chmod(0o700)
    monkeypatch.setenv("AWSGATE_CERTS", str(certs))
    result = run(*ALICE, "--region", "us-east-1")
    assert (result.code, result.err) == (0, "")

    show = "import json, os; print(json.dumps(dict(os.environ)))"
    shell = subprocess.run(
        ["bash", "-c", f'set -eu; eval "$AWSGATE_OUT"; exec "$PYTHON" -c "{show}"'],
        env={
            "PATH": "/usr/bin:/bin",
            "PYTHON": sys.executable,
            "AWSGATE_OUT": result.out,
            "AWS_PROFILE": "somebody-else",
        },
        cwd=home,
        capture_output=True,
        check=True,
        text=True,
    )

    found = json.loads(shell.stdout)
    assert Path(found["AWS_CA_BUNDLE"]).parent == certs
    assert found["AWS_REGION"] == "us-east-1"
    assert re.fullmatch(r"GATE[A-Z2-7]{16}", found["AWS_ACCESS_KEY_ID"])
    assert not (home / "pwned").exists()
    assert "AWS_PROFILE" not in found
    first, *lines = result.out.splitlines()
    assert first.startswith("unset AWS_PROFILE AWS_DEFAULT_PROFILE ")
    assert all(line.startswith("export ") for line in lines)


HAZARDS = {
    "a profile, for a program": (
        "json", {"AWS_PROFILE": "x", "AWS_DEFAULT_PROFILE": "y", "AWS_ENDPOINT_URL_S3": "z"},
        ["AWS_PROFILE is set", "AWS_DEFAULT_PROFILE is set", "AWS_ENDPOINT_URL_S3 is set"],
    ),
    "a profile, for docker, which has none": ("docker", {"AWS_PROFILE": "x"}, []),
    "AWS that is to go past the gateway": (
        "bash", {"no_proxy": "corp.example,.amazonaws.com"}, ["NO_PROXY: .amazonaws.com is left"],
    ),
    "a profile, which bash unsets": ("bash", {"AWS_PROFILE": "x"}, []),
    "the gateway for http as well": (
        "bash", {"HTTP_PROXY": "http://127.0.0.1:3128/", "http_proxy": "127.0.0.1:3128"},
        ["HTTP_PROXY names the gateway", "http_proxy names the gateway"],
    ),
    "another proxy for http": ("json", {"http_proxy": "http://[corp.example:3128"}, []),
}  # fmt: skip


@pytest.mark.parametrize(("style", "found", "warnings"), HAZARDS.values(), ids=HAZARDS)
def test_what_would_undo_the_variables_is_warned_of(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    style: str,
    found: dict[str, str],
    warnings: list[str],
) -> None:
    for name, value in found.items():
        monkeypatch.setenv(name, value)

    result = run(*ALICE, "--format", style)

    lines = result.err.splitlines()
    assert result.code == 0
    assert len(lines) == len(warnings)
    assert all(
        line.startswith(f"awsgate: warning: {warning}")
        for line, warning in zip(lines, warnings, strict=True)
    )


def test_both_formats_have_the_same_variables(run: Run) -> None:
    names = re.findall(r"^export (\w+)=", run(*ALICE).out, re.MULTILINE)

    assert names == list(variables(run(*ALICE, "--format", "json")))


@pytest.mark.parametrize(("name", "arn"), [("ReadOnly", READ_ONLY), ("Power", POWER)])
def test_a_role_may_be_called_by_its_name(run: Run, home: Path, name: str, arn: str) -> None:
    found = variables(
        run("env", "--user", "bob", "--app", "test", "--role", name, "--format", "json")
    )

    assert opened_by_the_gateway(found, home).session.role_arn == arn


NO: dict[str, tuple[str, str, str, str]] = {
    "a role of somebody else": ("alice", "test", POWER, f"alice may have {READ_ONLY} in test"),
    "its name": ("alice", "test", "Power", f"alice may have {READ_ONLY} in test"),
    "a role that is nowhere": ("bob", "test", f"{POWER}s", f"bob may have {POWER} in test"),
}


@pytest.mark.parametrize(("user", "app", "role", "hint"), NO.values(), ids=NO)
def test_env_says_no_with_the_reason_and_what_one_may_have(
    run: Run, home: Path, user: str, app: str, role: str, hint: str
) -> None:
    result = run("env", "--user", user, "--app", app, "--role", role)

    assert (result.code, result.out) == (1, "")
    first, *hints = result.err.splitlines()
    assert re.fullmatch(
        rf"awsgate: no: {user} may not have {re.escape(role)} in {app}: \S.*", first
    )
    assert (f"awsgate: hint: {hint}" in hints) if hint else not hints
    assert not (home / "it's state").exists(), "nothing is made for nothing"


UNKNOWN = {
    "an app": (("--user", "alice", "--app", "prod"), "the policy has no app 'prod' (test)"),
    "a user": (("--user", "mallory"), "the policy has no user 'mallory' (alice, bob)"),
    "a user, nearly": (
        ("--user", "alise"), "the policy has no user 'alise' (alice, bob): did you mean 'alice'",
    ),
}  # fmt: skip
COMMANDS = (
    ("env",), ("exec", "--", "true"), ("credentials",), ("profiles", "write"),
    ("doctor", "--offline"), ("explain", "--action", "s3:GetObject", "--role", READ_ONLY),
)  # fmt: skip


@pytest.mark.usefixtures("gateway_ca")
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize(("told", "said"), UNKNOWN.values(), ids=UNKNOWN)
def test_a_name_that_is_not_there_is_said_with_those_that_are(
    run: Run, command: tuple[str, ...], told: tuple[str, ...], said: str
) -> None:
    head = 2 if command[0] == "profiles" else 1

    result = run(*command[:head], *told, *command[head:])

    assert result.code == 1
    assert said in result.out + result.err
    if command[0] == "env" and "--app" in told:
        assert f"awsgate: hint: alice may have {READ_ONLY} in test" in result.err


# bob may have Team in test only; Power is denied him there, as is every name below it.
NAMES = f"""\
{POLICY}---
kind: role
version: v5
metadata: {{name: team}}
spec:
  allow:
    app_labels: {{team: '*'}}
    aws_role_arns:
      - arn:aws:iam::123456789012:role/Team
      - arn:aws:iam::123456789012:role/a/Twice
      - arn:aws:iam::123456789012:role/b/Twice
      - arn:aws:iam::999999999999:role/Elsewhere
  deny: {{aws_role_arns: ['{POWER}']}}
---
kind: app
version: v3
metadata: {{name: ours, labels: {{aws_account_id: '123456789012', team: us}}}}
spec: {{uri: https://console.aws.amazon.com/}}
---
kind: user
version: v2
metadata: {{name: carol}}
spec:
  roles: [read, power, team]
  traits: {{more: ['arn:aws:iam::123456789012:role/FromTrait']}}
"""

REASONS = {
    "a denied role": ("test", "Power", "a deny rule matches"),
    "its arn": ("test", POWER, "a deny rule matches"),
    "a role of another app": ("test", "Team", "no role of the user allows this role in this app"),
    "a role of a trait": ("test", "FromTrait", "no role of the user allows this role in this app"),
    "two roles": (
        "ours", "Twice",
        "2 roles have this name, give the arn: arn:aws:iam::123456789012:role/a/Twice, "
        "arn:aws:iam::123456789012:role/b/Twice",
    ),
    "a role of another account": (
        "ours", "Elsewhere", "the policy names no iam role 'Elsewhere' in account 123456789012"
    ),
    "a part of a name": (
        "ours", "eam", "the policy names no iam role 'eam' in account 123456789012"
    ),
    "an arn of something else": (
        "ours", "arn:aws:s3:::x", "what is asked for is not the arn of an iam role"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("app", "role", "reason"), REASONS.values(), ids=REASONS)
def test_the_reason_for_a_name_is_that_for_its_arn(
    run: Run, home: Path, app: str, role: str, reason: str
) -> None:
    (home / "policy.yaml").write_text(NAMES)

    result = run("env", "--user", "carol", "--app", app, "--role", role)

    first = result.err.splitlines()[0]
    assert (result.code, first) == (
        1,
        f"awsgate: no: carol may not have {role} in {app}: {reason}",
    )


def test_a_name_may_come_with_its_path(run: Run, home: Path) -> None:
    (home / "policy.yaml").write_text(NAMES)

    found = variables(
        run("env", "--user", "carol", "--app", "ours", "--role", "b/Twice", "--format", "json")
    )

    opened = opened_by_the_gateway(found, home)
    assert opened.session.role_arn == "arn:aws:iam::123456789012:role/b/Twice"


def test_a_role_of_the_policy_is_told_from_an_iam_role(run: Run) -> None:
    result = run("env", "--user", "alice", "--app", "test", "--role", "read")

    assert result.err.splitlines() == [
        "awsgate: no: alice may not have read in test: "
        "the policy names no iam role 'read' in account 123456789012",
        "awsgate: hint: read is a role of the policy: ask for one of the IAM roles it allows",
        f"awsgate: hint: alice may have {READ_ONLY} in test",
    ]


def test_a_life_longer_than_the_policy_allows_is_a_no(run: Run) -> None:
    result = run(*ALICE, "--ttl", "2h1s")

    assert (result.code, result.out) == (1, "")
    assert result.err.splitlines() == [
        f"awsgate: no: alice may not have {READ_ONLY} in test for 2h1s",
        "awsgate: hint: at most 2h: max_session_ttl of role/read (--ttl 2h)",
    ]
    assert run(*ALICE, "--ttl", "2h").code == 0
    assert "alice may not have" in run(*ALICE, "--ttl", "2d").err, "read, and too long"


@pytest.mark.parametrize("ttl", ["8", "1w", "-1h", "0s", "1h 30m", "99999999999h", "1.5h", "h"])
def test_a_life_that_is_no_duration_is_used_wrongly(run: Run, ttl: str) -> None:
    result = run(*ALICE, f"--ttl={ttl}")

    assert (result.code, result.out) == (2, "")
    assert "Traceback" not in result.err


def test_two_sessions_are_never_the_same(run: Run) -> None:
    first, second = (variables(run(*ALICE, "--format", "json")) for _ in range(2))

    assert first["AWS_ACCESS_KEY_ID"] != second["AWS_ACCESS_KEY_ID"]
    assert first["AWS_SECRET_ACCESS_KEY"] != second["AWS_SECRET_ACCESS_KEY"]


@pytest.mark.usefixtures("gateway_ca")
def test_who_is_locked_is_told_so(run: Run, home: Path) -> None:
    (home / "policy.yaml").write_text(
        POLICY + "---\nkind: lock\nversion: v1\nmetadata: {name: l}\n"
        "spec: {target: {user: alice}, message: laptop lost}\n"
    )

    locked = run("env", "--user", "alice")
    other = run("env", "--user", "bob", "--role", "Power")

    assert (locked.code, other.code, other.err) == (0, 0, "")
    assert locked.err == "awsgate: warning: alice is locked: laptop lost (lock/l)\n"
