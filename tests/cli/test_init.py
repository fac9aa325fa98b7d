"""awsgate init: a first policy that holds, written where nothing was."""

from __future__ import annotations

import io
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from awsgate.ca import CA_NAME
from awsgate.initial import Answers, faults_in, policy_files
from awsgate.policy import grantable_roles
from awsgate.policyfile import load_policy
from awsgate.state import KEY_NAME
from commandline import Run

ROOT = Path(__file__).parents[2]

ROLE = "arn:aws:iam::111122223333:role/team/Reader"
YES = ("init", "--yes", "--user", "ada", "--role", ROLE, "--app", "prod")


@pytest.fixture
def folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the policy goes; no credentials anywhere."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    place = home / "new policy"
    monkeypatch.setenv("AWSGATE_POLICY", str(place))
    return place


class Terminal(io.StringIO):
    """A user at a terminal, who types these lines."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def answers(*lines: str) -> None:
        monkeypatch.setattr("sys.stdin", Terminal("".join(f"{line}\n" for line in lines)))

    return answers


def checked(run: Run, folder: Path) -> None:
    """The policy has neither faults nor warnings."""
    result = run("check", str(folder))
    assert (result.code, result.err) == (0, ""), result


def test_yes_writes_a_policy_a_ca_and_a_session_key(run: Run, folder: Path, home: Path) -> None:
    result = run(*YES)

    assert (result.code, result.err) == (0, "")
    assert grantable_roles(load_policy(folder), "ada") == [("prod", ROLE)]
    checked(run, folder)
    assert (home / "it's certs" / CA_NAME).stat().st_mode & 0o077 == 0
    assert (home / "it's state" / KEY_NAME).exists()
    assert "ada may be Reader in prod (111122223333)" in result.out
    assert "next    awsgate run" in result.out
    assert "then    awsgate exec" in result.out


@pytest.mark.parametrize("option", ["--policy", "--folder"])
def test_the_folder_is_named_as_for_all_other_commands(
    run: Run, folder: Path, tmp_path: Path, option: str
) -> None:
    result = run(*YES, option, str(tmp_path / "there"))

    assert (result.code, folder.exists()) == (0, False), result.err
    checked(run, tmp_path / "there")


@pytest.mark.usefixtures("folder")
def test_what_it_says_is_next_works(run: Run) -> None:
    """Nothing needs to be told that the new policy makes clear."""
    run(*YES)

    result = run("env", "--format", "json")

    assert result.code == 0
    assert "GATE" in result.out


def test_embedded_needs_neither_aws_nor_answers(run: Run, folder: Path) -> None:
    result = run("init", "--embedded", "--user", "ada")

    assert (result.code, result.err) == (0, "")
    assert "next    awsgate demo --start" in result.out
    assert "-- aws s3 ls" in result.out
    checked(run, folder)


@pytest.mark.parametrize(
    ("more", "found"),
    [
        (("--external-id", "it-is:1"), "external_id"),
        (("--profile", "gate 1"), "profile"),
        (("--role", "Other"), "arn:aws:iam::111122223333:role/Other"),
    ],
)
def test_what_else_can_be_told(run: Run, folder: Path, more: tuple[str, str], found: str) -> None:
    assert run(*YES, *more).code == 0

    checked(run, folder)
    assert found in "".join(path.read_text() for path in folder.iterdir())


def test_a_policy_is_not_replaced(run: Run, folder: Path) -> None:
    folder.mkdir()
    (folder / "README.md").write_text("not a policy")
    assert run(*YES).code == 0
    (folder / "teams.yaml").write_text("kind: user\n")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    result = run(*YES)

    assert (result.code, result.out) == (2, "")
    assert "--force" in result.err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert run(*YES, "--force").code == 0
    checked(run, folder)
    for name in ("users.yaml", "teams.yaml"):
        assert (folder / f"{name}.bak").read_bytes() == before[name]
    assert (folder / "README.md").exists()


def test_no_older_copy_is_lost(run: Run, folder: Path) -> None:
    assert run(*YES).code == 0
    first = (folder / "users.yaml").read_bytes()

    for user in ("bea", "cyd"):
        assert run(*YES, "--user", user, "--force").code == 0

    assert (folder / "users.yaml.bak").read_bytes() == first
    assert b"bea" in (folder / "users.yaml.bak.2").read_bytes()
    assert b"cyd" in (folder / "users.yaml").read_bytes()
    checked(run, folder)


def tree(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_file_that_cannot_be_renamed_leaves_all_as_it_was(run: Run, folder: Path) -> None:
    assert run(*YES).code == 0
    (folder / f"{'z' * 250}.yaml").write_text("# with .bak behind it the name is too long\n")
    before = tree(folder)

    result = run(*YES, "--user", "bea", "--force")

    assert (result.code, result.out) == (2, "")
    assert "cannot write to" in result.err
    assert tree(folder) == before


def test_a_disk_that_takes_no_more_leaves_all_as_it_was(run: Run, folder: Path) -> None:
    assert run(*YES).code == 0
    before = tree(folder)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    resource.setrlimit(resource.RLIMIT_FSIZE, (60, limits[1]))
    try:
        result = run(*YES, "--user", "bea", "--force")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert (result.code, result.out) == (2, "")
    assert tree(folder) == before


def test_wrong_answers_are_all_told_and_nothing_is_written(
    run: Run, folder: Path, home: Path
) -> None:
    result = run("init", "--yes", "--user", "a b", "--role", ROLE, "--account", "1", "--app", " ")

    assert (result.code, result.out) == (2, "")
    for word in ("'a b'", "app ' '", "'1' is not 12 digits", f"{ROLE!r} is not in account 1"):
        assert word in result.err
    assert not folder.exists()
    assert not (home / "it's certs").exists()


@pytest.mark.usefixtures("folder")
def test_without_a_role_it_says_how_to_name_one(run: Run) -> None:
    result = run("init", "--yes", "--user", "ada")

    assert (result.code, result.out) == (2, "")
    assert "no role was named" in result.err
    assert "awsgate init --yes --role ARN" in result.err


def test_the_wizard_asks_for_what_it_cannot_find(
    run: Run, folder: Path, terminal: Callable[..., None]
) -> None:
    terminal("ada", "111122223333", "Reader", "prod")

    result = run("init")

    assert result.code == 0, result
    ways = grantable_roles(load_policy(folder), "ada")
    assert ways == [("prod", "arn:aws:iam::111122223333:role/Reader")]
    checked(run, folder)


def test_a_wrong_answer_is_said_why_and_asked_for_again(
    run: Run, folder: Path, terminal: Callable[..., None]
) -> None:
    arn = "arn:aws:iam::111122223333:user/me"
    terminal("a da", "ada", "12", arn, "arn:aws:iam::444455556666:role/Other", "Reader", "", "prod")

    result = run("init")

    assert result.code == 0, result
    for why in ("user 'a da': 2 to 64", "account '12' is not 12 digits", "not in account 1111"):
        assert why in result.err
    ways = grantable_roles(load_policy(folder), "ada")
    assert ways[0][1] == "arn:aws:iam::111122223333:role/Reader"


def test_the_example_that_nobody_touched_is_replaced_and_kept(run: Run, folder: Path) -> None:
    # Red after a change of policy/: add the new digest to initial.EXAMPLES.
    shipped = {p.name: p.read_bytes() for p in (ROOT / "policy").glob("*.yaml")}
    folder.mkdir()
    for name, raw in shipped.items():
        (folder / name).write_bytes(raw)

    assert run(*YES).code == 0

    checked(run, folder)
    assert {name: (folder / f"{name}.bak").read_bytes() for name in shipped} == shipped


def test_an_example_that_was_touched_is_a_policy(run: Run, folder: Path) -> None:
    folder.mkdir()
    for path in (ROOT / "policy").glob("*.yaml"):
        (folder / path.name).write_bytes(path.read_bytes())
    with (folder / "users.yaml").open("a") as file:
        file.write("# mine\n")

    result = run(*YES)

    assert (result.code, result.out) == (2, "")
    assert not list(folder.glob("*.bak"))


def test_the_wizard_asks_before_it_replaces(
    run: Run, folder: Path, terminal: Callable[..., None]
) -> None:
    assert run(*YES).code == 0
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    terminal("n")

    assert run("init").code == 2
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


HOSTILE = ["it's", 'a "b" c', "x: y # z", "- {a}", "ключ", "*", "true", "null", "0123"]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_written_as_it_is(tmp_path: Path, name: str) -> None:
    answers = Answers("ada", name, "111122223333", (ROLE,))
    for file, text in policy_files(answers).items():
        (tmp_path / file).write_text(text, "utf-8")

    policy = load_policy(tmp_path)

    assert [*policy.apps] == [name]
    assert list(policy.warnings) == []
    assert grantable_roles(policy, "ada") == [(name, ROLE)]


@pytest.mark.parametrize("partition", ["aws", "aws-us-gov", "aws-cn", "aws-eusc"])
def test_every_partition_with_a_console(tmp_path: Path, partition: str) -> None:
    role = f"arn:{partition}:iam::012345678901:role/r"
    for file, text in policy_files(Answers("ada", "x", "012345678901", (role,))).items():
        (tmp_path / file).write_text(text, "utf-8")

    assert grantable_roles(load_policy(tmp_path), "ada") == [("x", role)]


def test_a_partition_without_one_is_a_fault() -> None:
    role = "arn:aws-iso:iam::111122223333:role/r"

    assert "by hand" in faults_in(Answers("ada", "x", "111122223333", (role,)))[0]
    with pytest.raises(ValueError, match="by hand"):
        policy_files(Answers("ada", "x", "111122223333", (role,)))
