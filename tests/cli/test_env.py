"""``awsgate env``: credentials for those who may have them, safe to eval."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from commandline import (
    ALICE,
    POWER,
    READ_ONLY,
    Run,
    opened_by_the_gateway,
    variables,
)


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
    assert {"169.254.169.254", "localhost"} <= set(found["NO_PROXY"].split(","))
    assert found["AWS_EC2_METADATA_DISABLED"] == "true"
    bundles = {found[name] for name in ("AWS_CA_BUNDLE", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")}
    root, (bundle,) = found["NODE_EXTRA_CA_CERTS"], bundles
    assert Path(root).parent == Path(bundle).parent == home / "it's certs"
    assert Path(root).read_bytes().strip() in Path(bundle).read_bytes()


def test_env_names_another_gateway_if_told(run: Run) -> None:
    url = "http://gateway.corp.example:8080"

    assert variables(run(*ALICE, "--format", "json", "--proxy", url))["HTTPS_PROXY"] == url


def test_the_output_for_bash_is_safe_to_eval(run: Run, home: Path) -> None:
    result = run(*ALICE, "--proxy", "http://x/$(touch${IFS}pwned)'\"`id`;exit")
    assert (result.code, result.err) == (0, "")

    show = "import json, os; print(json.dumps(dict(os.environ)))"
    shell = subprocess.run(
        ["bash", "-c", f'set -eu; eval "$AWSGATE_OUT"; exec "$PYTHON" -c "{show}"'],
        env={"PATH": "/usr/bin:/bin", "PYTHON": sys.executable, "AWSGATE_OUT": result.out},
        cwd=home,
        capture_output=True,
        check=True,
        text=True,
    )

    found = json.loads(shell.stdout)
    assert found["HTTPS_PROXY"] == "http://x/$(touch${IFS}pwned)'\"`id`;exit"
    assert found["AWS_CA_BUNDLE"].startswith(str(home / "it's certs"))
    assert re.fullmatch(r"GATE[A-Z2-7]{16}", found["AWS_ACCESS_KEY_ID"])
    assert not (home / "pwned").exists()
    assert all(line.startswith("export ") for line in result.out.splitlines())


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
    "an app that is nowhere": ("alice", "prod", READ_ONLY, f"alice may have {READ_ONLY} in test"),
    "nobody we know": ("mallory", "test", READ_ONLY, ""),
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


def test_a_life_longer_than_the_policy_allows_is_a_no(run: Run) -> None:
    result = run(*ALICE, "--ttl", "2h1s")

    assert (result.code, result.out) == (1, "")
    assert "a life of 7201 s is more than the 7200 s allowed" in result.err
    assert run(*ALICE, "--ttl", "2h").code == 0


@pytest.mark.parametrize("ttl", ["8", "1d", "-1h", "0s", "1h 30m", "99999999999h", "1.5h", "h"])
def test_a_life_that_is_no_duration_is_used_wrongly(run: Run, ttl: str) -> None:
    result = run(*ALICE, f"--ttl={ttl}")

    assert (result.code, result.out) == (2, "")
    assert "Traceback" not in result.err


def test_two_sessions_are_never_the_same(run: Run) -> None:
    first, second = (variables(run(*ALICE, "--format", "json")) for _ in range(2))

    assert first["AWS_ACCESS_KEY_ID"] != second["AWS_ACCESS_KEY_ID"]
    assert first["AWS_SECRET_ACCESS_KEY"] != second["AWS_SECRET_ACCESS_KEY"]
