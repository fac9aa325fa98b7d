"""``awsgate check``: faults, warnings, and what programs are given."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from awsgate.cli.terminal import Style, painted
from commandline import ALICE, Result, Run
from commandline import POLICY as AS_SERVED

POLICY = AS_SERVED.replace("0.0.0.0:3128", "127.0.0.1:3128")


@pytest.fixture(autouse=True)
def in_order(home: Path) -> None:
    (home / "policy.yaml").write_text(POLICY)


def test_an_address_that_would_not_be_opened_is_said(run: Run, home: Path) -> None:
    (home / "policy.yaml").write_text(AS_SERVED)

    result = run("check")

    assert (result.code, result.out.count("no faults, 2 warnings")) == (0, 1)
    assert "spec.listen: other machines reach 0.0.0.0: the gateway does not start: " in result.err
    assert "set tls: true" in result.err
    assert "set non_aws: refuse" in result.err


def test_check_counts_a_policy_in_order(run: Run, home: Path) -> None:
    result = run("check")

    assert result == Result(0, f"{home / 'policy.yaml'}: 2 users, 2 roles, 1 app, no faults\n", "")


def test_check_shows_every_fault_at_once(run: Run, home: Path) -> None:
    bad = home / "bad"
    bad.mkdir()
    policy = POLICY.replace("[read]", "[raed]").replace("listen:", "colour: red, listen:")
    (bad / "a.yaml").write_text(policy)
    (bad / "b.yaml").write_text("kind: spaceship\nmetadata: {name: x}\n")
    whole = run("check", str(bad))
    (bad / "c.yaml").write_text("kind: [\n")
    broken = run("check", str(bad))

    # What a file that cannot be read may hold is not held against the others.
    for result, faults in (
        (whole, ("a.yaml", "raed", "colour", "b.yaml", "spaceship")),
        (broken, ("a.yaml", "colour", "b.yaml", "spaceship", "c.yaml")),
    ):
        assert (result.code, result.out) == (1, "")
        assert result.err.startswith("awsgate: error: ")
        assert "Traceback" not in result.err
        assert not [fault for fault in faults if fault not in result.err]


def test_check_does_not_hint_at_itself(run: Run, home: Path) -> None:
    bad = home / "my policy"
    bad.mkdir()
    (bad / "a.yaml").write_text("kind: spaceship\n")

    checked = run("check", str(bad))
    asked = run(*ALICE, "--policy", str(bad))

    assert (checked.code, asked.code) == (1, 2)
    assert "hint" not in checked.err
    assert f"awsgate: hint: awsgate check '{bad}' shows faults" in asked.err


@pytest.mark.parametrize(("place", "how"), [("nowhere", "at"), ("empty", "in")])
def test_check_says_if_there_is_nothing_to_check(
    run: Run, home: Path, place: str, how: str
) -> None:
    (home / "empty").mkdir()

    result = run("check", str(home / place))

    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(f"awsgate: error: no policy {how} {home / place}")
    assert "awsgate: hint: " in result.err


def test_check_shows_warnings_and_finds_no_fault_in_them(run: Run, home: Path) -> None:
    policy = home / "policy.yaml"
    policy.write_text(POLICY.replace("aws_account_id", "aws_acount_id").replace("bob", "b/b"))

    result = run("check")

    assert result == Result(
        0,
        f"{policy}: 2 users, 2 roles, 1 app, no faults, 2 warnings\n",
        "awsgate: warning: policy.yaml document 3: metadata.labels: no 'aws_account_id', so roles "
        "of any account fit this app: did you mean 'aws_account_id' by 'aws_acount_id'\n"
        "awsgate: warning: policy.yaml document 5: metadata.name: 'b/b' is no session name of AWS "
        "(2 to 64 letters, digits and _+=,.@-): CloudTrail will show it changed, with a hash\n",
    )


def test_check_has_nothing_to_say_about_the_example(run: Run) -> None:
    policy = Path(__file__).parents[2] / "policy"

    assert run("check", str(policy)).err == ""


ODD = POLICY.replace("[read, power]", "[read]").replace(
    "spec:\n  allow: {app", "spec:\n  allow: {aws_actions: ['s3:GetObjekt'], app", 1
)


def test_check_looks_further_than_a_start_does(run: Run, home: Path) -> None:
    (home / "policy.yaml").write_text(ODD)

    result = run("check")

    assert result.code == 0
    assert result.out.endswith("no faults, 2 warnings\n")
    assert result.err == (
        "awsgate: warning: policy.yaml document 2: metadata.name: no user has the role 'power'\n"
        "awsgate: warning: policy.yaml document 1: spec.allow.aws_actions[0]: 's3:GetObjekt': s3 "
        "has no such action: did you mean 's3:GetObject'\n"
    )


def test_strict_makes_a_warning_a_no(run: Run, home: Path) -> None:
    assert run("check", "--strict").code == 0
    (home / "policy.yaml").write_text(ODD)

    result = run("check", "--strict")

    assert result.code == 1
    assert "2 warnings" in result.out


def test_programs_get_the_parts_of_each_warning(run: Run, home: Path) -> None:
    (home / "policy.yaml").write_text(ODD)

    result = run("check", "--json")

    assert (result.code, result.err) == (0, "")
    report = json.loads(result.out)
    assert report["documents"] == {"users": 2, "roles": 2, "apps": 1, "locks": 0}
    assert report["faults"] == []
    assert report["warnings"][1] == {
        "place": "policy.yaml document 1",
        "path": "spec.allow.aws_actions[0]",
        "what": "'s3:GetObjekt': s3 has no such action",
        "todo": "did you mean 's3:GetObject'",
    }


def test_programs_get_the_parts_of_each_fault(run: Run, home: Path) -> None:
    (home / "policy.yaml").write_text(POLICY.replace("[read]", "[raed]") + "---\nkind: [\n")

    result = run("check", "--json")

    assert (result.code, result.err) == (1, "")
    report = json.loads(result.out)
    assert (report["documents"], report["warnings"]) == (None, [])
    assert [fault["path"] for fault in report["faults"]] == [""]
    assert report["faults"][0]["place"].startswith("policy.yaml:")
    (home / "policy.yaml").write_text(POLICY.replace("[read]", "[raed]"))
    assert json.loads(run("check", "--json").out)["faults"] == [
        {
            "place": "policy.yaml document 4",
            "path": "spec.roles[0]",
            "what": "there is no role 'raed', did you mean 'read'",
            "todo": "",
        }
    ]


class Terminal:
    def isatty(self) -> bool:
        return True


def test_colour_is_for_terminals_whose_user_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    coloured = painted("warning", Style.WARN, stream)  # type: ignore[arg-type]
    monkeypatch.setenv("NO_COLOR", "1")

    assert coloured == "\033[33mwarning\033[0m"
    assert painted("warning", Style.WARN, stream) == "warning"  # type: ignore[arg-type]
