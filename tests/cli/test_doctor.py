"""awsgate doctor: its exit codes, its streams, its two forms of answer."""

from __future__ import annotations

import io
import json
import re
import time
from pathlib import Path

import pytest

from awsgate.doctor.finding import Finding
from awsgate.loginstore import Stored, save
from commandline import POLICY, READ_ONLY, Result, Run

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A shell without anything of AWS's or a proxy's."""
    for name in (
        *("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy"),
        *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_CA_BUNDLE"),
        *("AWS_ENDPOINT_URL", "AWSGATE_ENV", "AWSGATE_UPSTREAM"),
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.mark.usefixtures("gateway_ca")
def test_offline_all_good(run: Run) -> None:
    result = run("doctor", "--offline")

    assert (result.code, result.err) == (0, "")
    assert result.out.startswith("gateway\n")
    assert result.out.endswith("all good\n")
    assert "\033" not in result.out


class _Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.usefixtures("gateway_ca")
@pytest.mark.parametrize("no_color", ["", "1"])
def test_colours_are_for_a_terminal_and_obey_no_color(
    run: Run, monkeypatch: pytest.MonkeyPatch, no_color: str
) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setenv("TERM", "xterm")
    screen = _Screen()
    monkeypatch.setattr("sys.stdout", screen)

    run("doctor", "--offline")

    assert ("\033[32mok" in screen.getvalue()) is (not no_color)


@pytest.mark.usefixtures("gateway_ca")
def test_json_holds_every_finding(run: Run) -> None:
    result = run("doctor", "--offline", "--json")

    answer = json.loads(result.out)
    assert (result.code, result.err) == (0, "")
    assert (answer["ok"], answer["faults"], answer["warnings"]) == (True, 0, 0)
    assert {"policy", "ca", "mitmproxy", "aws-not-asked"} <= {f["id"] for f in answer["findings"]}
    assert {tuple(f) for f in answer["findings"]} == {tuple(Finding.__dataclass_fields__)}


@pytest.mark.usefixtures("gateway_ca")
def test_a_fault_is_exit_1_with_what_why_and_fix(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:3128")

    result = run("doctor", "--offline")

    assert result.code == 1
    assert "  fault   HTTP_PROXY names the gateway\n          why: " in result.out
    assert "\n          fix: unset HTTP_PROXY\n" in result.out
    assert result.out.endswith("1 fault\n")
    assert json.loads(run("doctor", "--offline", "--json").out)["ok"] is False


@pytest.mark.usefixtures("gateway_ca")
def test_warnings_alone_are_exit_0(run: Run, home: Path) -> None:
    policy = home / "policy.yaml"
    policy.write_text(policy.read_text().replace(", labels: {aws_account_id: '123456789012'}", ""))

    result = run("doctor", "--offline")

    assert result.code == 0
    assert result.out.endswith("1 warning\n")


def test_without_a_ca_the_gateway_is_not_asked(run: Run, home: Path) -> None:
    result = run("doctor", "--json")

    ids = {f["id"] for f in json.loads(result.out)["findings"]}
    assert result.code == 1
    assert {"ca-missing", "gateway-not-asked", "base-credentials-missing"} <= ids
    assert not (home / "it's certs").exists(), "a doctor makes nothing"
    assert not (home / "it's state").exists()


def test_no_policy_is_a_finding_too(run: Run, home: Path) -> None:
    (home / "policy.yaml").unlink()

    result = run("doctor", "--offline", "--json")

    assert result.code == 1
    assert "policy-missing" in {f["id"] for f in json.loads(result.out)["findings"]}


def test_where_commands_ask_a_gateway_elsewhere_there_is_none_to_look_at(
    run: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its advice would lead a shell that works to a gateway that is not there."""
    monkeypatch.setenv("AWSGATE_LOGINS", str(home / "logins"))
    login = Stored(
        gateway="https://gate.example.com:8444",
        proxy="https://gate.example.com:8443",
        user="alice",
        connector="local",
        login="gatelogin.x",
        expires_at=int(time.time()) + 600,
        pin=f"sha256:{'0' * 64}",
        bundle_path="",
        root_path="",
    )
    save(login, bundle=b"BUNDLE", root=b"ROOT")
    there = run("doctor", "--offline", "--json")
    (home / "policy.yaml").unlink()

    result = run("doctor", "--offline", "--json")

    assert json.loads(there.out)["findings"]
    assert (result.code, result.out) == (2, "")
    assert "commands ask https://gate.example.com:8444, by a login" in result.err
    assert "awsgate status" in result.err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--user", "carol"), 1, "awsgate: no: the policy has no user 'carol'"),
        (("--user", "alice", "--role", "Power"), 1, f"alice may have {READ_ONLY} in test"),
        (("--role", "Power"), 2, "--app and --role need --user"),
        (("--proxy", "socks5://u:c4nary@x"), 2, "--proxy is not a URL"),
        (("--upstream", "http://u:c4nary@x"), 2, "--upstream is not a URL"),
        (("--timeout", "0"), 2, "--timeout"),
    ],
)
@pytest.mark.usefixtures("gateway_ca")
def test_wrongly_used(run: Run, arguments: tuple[str, ...], code: int, words: str) -> None:
    result = run("doctor", "--offline", *arguments)

    assert (result.code, result.out) == (code, "")
    assert words in result.err
    assert "c4nary" not in result.err


IN_PATH = "arn:aws:iam::123456789012:role/team/Deploy"
TWO_PATHS = POLICY.replace(f"['{READ_ONLY}']", f"['{READ_ONLY}', '{IN_PATH}']")


def test_which_of_several_roles_is_tried_is_told(run: Run, home: Path) -> None:
    (home / "policy.yaml").write_text(TWO_PATHS)

    several = run("doctor", "--offline", "--user", "alice")
    named = run("doctor", "--offline", "--user", "alice", "--role", "team/Deploy")

    assert "alice may have 2 roles that are meant; it is tried as arn:" in several.err
    assert "that are meant" not in named.err
    assert named.code == several.code == 1
    assert "no: alice" not in named.err


@pytest.mark.usefixtures("gateway_ca")
def test_what_is_not_told_is_that_of_the_shells_session(
    run: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "policy.yaml").write_text(TWO_PATHS)
    told = ("--user", "alice", "--app", "test", "--role", IN_PATH)
    session = json.loads(run("env", *told, "--format", "json").out)

    def doctor(*words: str) -> Result:
        for name, value in session.items():
            monkeypatch.setenv(name, value)
        return run("doctor", "--offline", *words)

    of_the_session = doctor("--user", "alice")
    of_nobody_named = doctor("--app", "test", "--role", "team/Deploy")
    of_another = doctor("--user", "bob")

    assert "that are meant" not in of_the_session.err
    assert of_nobody_named.code != 2
    assert "bob may have 3 roles that are meant" in of_another.err


def test_a_proxy_behind_tls_is_taken_as_awsgate_env_takes_it(run: Run) -> None:
    result = run("doctor", "--offline", "--proxy", "https://gate.example:8443")

    assert (result.code, "is not a URL" in result.err) == (1, False)


def test_every_finding_is_in_its_page() -> None:
    page = (ROOT / "docs" / "doctor.md").read_text("utf-8")
    source = "".join(
        path.read_text("utf-8") for path in (ROOT / "addons" / "awsgate" / "doctor").glob("*.py")
    )
    ids = set(re.findall(r'^\s+"([a-z]+(?:-[a-z0-9]+)+)",$', source, re.MULTILINE))
    ids |= set(re.findall(r'(?:warning|fault)\(Group\.\w+, "([a-z-]+)"', source))
    ids = {name for name in ids if not name.startswith(("us-", "no-identity"))}

    assert len(ids) > 50
    assert [name for name in sorted(ids) if f"`{name}`" not in page] == []
