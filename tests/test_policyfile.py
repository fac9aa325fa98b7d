"""The policy on disk: what is read, and what is refused before it is a policy."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from awsgate.errors import SetupError
from awsgate.policy import decide, grantable_roles, parse_policy
from awsgate.policyfile import load_policy

ROOT = Path(__file__).parent.parent
READ = "arn:aws:iam::123456789012:role/ExampleReadOnlyAccess"
POWER = "arn:aws:iam::123456789012:role/ExamplePowerUserAccess"

# As in the reference product's guide.
SEED = """\
kind: role
version: v5
metadata:
  name: aws-ro-access
spec:
  allow:
    app_labels:
      '*': '*'
    aws_role_arns:
    - arn:aws:iam::123456789012:role/ExampleReadOnlyAccess
"""
USER = """\
kind: user
version: v2
metadata: {name: alice}
spec: {roles: [aws-ro-access]}
"""
APP = """\
kind: app
version: v3
metadata: {name: awsconsole-test}
spec:
  uri: https://console.aws.amazon.com/ec2/v2/home
  labels: {aws_account_id: "123456789012"}
"""


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    policy = tmp_path / "policy"
    policy.mkdir()
    return policy


def fault_of(path: Path) -> SetupError:
    with pytest.raises(SetupError) as caught:
        load_policy(path)
    return caught.value


# --- what is read ----------------------------------------------------------------


def test_the_references_own_file_loads_unchanged(folder: Path) -> None:
    write(folder, role=SEED)

    policy = load_policy(folder)

    allow = policy.roles["aws-ro-access"].spec.allow
    assert (dict(allow.app_labels), allow.aws_role_arns) == ({"*": ("*",)}, (READ,))


def test_one_file_with_several_documents(tmp_path: Path) -> None:
    file = tmp_path / "all.yaml"
    file.write_text(f"---\n{SEED}---\n---\n{USER}---\n{APP}...\n", encoding="utf-8")

    assert grantable_roles(load_policy(file), "alice") == [("awsconsole-test", READ)]


def test_a_single_file_may_have_any_name(tmp_path: Path) -> None:
    file = tmp_path / "policy.txt"
    file.write_text(SEED, encoding="utf-8")

    assert list(load_policy(file).roles) == ["aws-ro-access"]


def test_all_yaml_of_a_folder_and_nothing_else_is_read(folder: Path) -> None:
    write(folder, a=USER)
    (folder / "b.YML").write_text(SEED, encoding="utf-8")
    (folder / ".hidden.yaml").write_text("no: policy", encoding="utf-8")
    (folder / "README.md").write_text("no: policy", encoding="utf-8")
    (folder / "c.yaml~").write_text("no: policy", encoding="utf-8")
    (folder / "old").mkdir()
    (folder / "old" / "d.yaml").write_text("no: policy", encoding="utf-8")

    policy = load_policy(folder)

    assert (list(policy.users), list(policy.roles)) == (["alice"], ["aws-ro-access"])


def test_names_of_files_do_not_matter(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()

    assert load_policy(write(one, a=SEED, b=USER, c=APP)) == load_policy(
        write(two, a=APP, b=USER, c=SEED)
    )


def test_a_byte_order_mark_is_no_part_of_the_text(folder: Path) -> None:
    (folder / "a.yaml").write_bytes(b"\xef\xbb\xbf" + SEED.encode())

    assert list(load_policy(folder).roles) == ["aws-ro-access"]


def test_a_link_to_a_file_is_read(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "target").write_text(SEED, encoding="utf-8")
    (folder / "a.yaml").symlink_to(tmp_path / "target")

    assert list(load_policy(folder).roles) == ["aws-ro-access"]


def test_dates_stay_text(folder: Path) -> None:
    write(folder, a=APP.replace('aws_account_id: "123456789012"', "since: 2026-13-45"))

    assert load_policy(folder).apps["awsconsole-test"].labels == {"since": "2026-13-45"}


def test_an_anchor_may_be_used_a_few_times(folder: Path) -> None:
    roles = USER.replace("[aws-ro-access]", "&r [aws-ro-access]") + "---\n" + SEED
    write(folder, a=roles.replace("app_labels:", "app_labels: &all").replace(READ, f"&x {READ}"))

    assert list(load_policy(folder).users) == ["alice"]


# --- what is not there -----------------------------------------------------------


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    error = fault_of(tmp_path / "nope")

    assert error.message == f"no policy at {tmp_path}/nope"
    assert "awsgate init" in error.hint


def test_a_folder_without_yaml(folder: Path) -> None:
    (folder / "roles.json").write_text("{}", encoding="utf-8")

    error = fault_of(folder)

    assert error.message == f"no policy in {folder}: it holds no *.yaml file"
    assert error.hint


def test_a_link_to_nowhere_is_not_passed_over(folder: Path) -> None:
    write(folder, a=SEED)
    (folder / "b.yaml").symlink_to(folder / "gone")

    assert fault_of(folder).faults == ("policy/b.yaml: is not a regular file",)


def test_a_folder_named_like_a_file_is_not_passed_over(folder: Path) -> None:
    (folder / "b.yaml").mkdir()

    assert fault_of(folder).faults == ("policy/b.yaml: is not a regular file",)


# --- what is refused -------------------------------------------------------------

DEEP = "[" * 40 + "]" * 40
BOMB = "a: &a [x, x]\n" + "".join(
    f"{chr(c + 1)}: &{chr(c + 1)} [*{chr(c)}, *{chr(c)}, *{chr(c)}]\n" for c in range(97, 115)
)
YAML_FAULTS = {
    "no yaml": ("a: b: c\n", "policy/a.yaml:1:5: mapping values are not allowed here"),
    "unclosed": ("kind: role\na: [\n", "policy/a.yaml:3:1: "),
    "tab": ("a:\n\tb: c\n", "policy/a.yaml:2:1: found character '\\t' that cannot start any token"),
    "key twice": ("spec:\n  a: 1\n  a: 2\n", "policy/a.yaml:3:3: key 'a' is there twice"),
    "key twice, once quoted": ("a: 1\n'a': 2\n", "policy/a.yaml:2:1: key 'a' is there twice"),
    "key that is a list": ("? [a]\n: b\n", "policy/a.yaml:1:3: found unhashable key"),
    "undefined alias": ("a: *b\n", "policy/a.yaml:1:4: found undefined alias 'b'"),
    "alias bomb": (BOMB, "policy/a.yaml:12:16: more than 32 aliases"),
    "python tag": (
        "a: !!python/object/apply:os.system [id]\n",
        "policy/a.yaml:1:4: tags are not allowed here",
    ),
    "ordinary tag": ("a: !!str 1\n", "policy/a.yaml:1:4: tags are not allowed here"),
    "depth": (DEEP, "policy/a.yaml:1:33: nested deeper than 32"),
    "number that is none": ("a: 0b_\n", "policy/a.yaml:1:4: not a valid value: "),
    "control character": ("a: b\nc: \x01\n", "policy/a.yaml:2: holds a character that YAML"),
}


@pytest.mark.parametrize(("text", "fault"), YAML_FAULTS.values(), ids=YAML_FAULTS)
def test_yaml_fault_has_line_and_column(folder: Path, text: str, fault: str) -> None:
    write(folder, a=text)

    assert fault_of(folder).faults[0].startswith(fault)


def test_a_merge_key_is_an_unknown_key(folder: Path) -> None:
    write(folder, a=SEED + "  <<: {deny: {}}\n")

    assert fault_of(folder).faults == (
        "policy/a.yaml document 1: spec.<<: unknown key, expected allow, deny, options",
    )


def test_a_mapping_that_contains_itself(folder: Path) -> None:
    write(folder, a="kind: role\nversion: v5\nmetadata: {name: a}\nspec: &s {allow: *s}\n")

    assert fault_of(folder).faults[0].startswith("policy/a.yaml document 1: spec.allow")


def test_faults_of_every_file_are_reported_at_once(folder: Path) -> None:
    write(
        folder,
        a=f"{USER}---\nkind: rol\n---\na: b: c\n",
        b="a: [\n",
        c=SEED.replace("name:", "nam:") + "---\na: 1\na: 1\n",
    )

    error = fault_of(folder)

    assert error.message == "7 faults in policy"
    assert [re.sub(r"(?<=\d): .*", "", fault) for fault in error.faults] == [
        "policy/a.yaml:8:5",
        "policy/b.yaml:2:1",
        "policy/c.yaml:13:1",
        "policy/a.yaml document 2",
        "policy/c.yaml document 1",
        "policy/c.yaml document 1",
        "policy/c.yaml document 2",
    ]


UNKNOWN = "policy/users.yaml document 1: spec.roles[0]: there is no role 'aws-ro-access'"


def test_a_fault_that_loses_nothing_hides_no_unknown_role(folder: Path) -> None:
    write(folder, roles=SEED.replace("aws-ro-access", "x"), users=USER, twice="a: 1\na: 1\n")
    (folder / "roles.yaml").chmod(0o646)

    faults = fault_of(folder).faults

    assert faults[:2] == (
        "policy/roles.yaml: anybody may write to this file (chmod o-w)",
        "policy/twice.yaml:2:1: key 'a' is there twice",
    )
    assert UNKNOWN in faults


LOSSES = {"no YAML": b"kind: [\n", "no text": b"\xff", "no character": b"a: \x01\n"}


@pytest.mark.parametrize("content", LOSSES.values(), ids=LOSSES)
def test_a_file_that_is_lost_may_hold_the_role(folder: Path, content: bytes) -> None:
    write(folder, users=USER)
    (folder / "b.yaml").write_bytes(content)

    (fault,) = fault_of(folder).faults

    assert fault.startswith("policy/b.yaml")


def test_the_hint_names_the_real_folder(tmp_path: Path) -> None:
    folder = tmp_path / "my policy"
    folder.mkdir()

    assert fault_of(write(folder, users=USER)).hint == (
        f"awsgate check '{folder}' shows faults without starting the gateway"
    )


def test_a_file_that_is_not_utf_8(folder: Path) -> None:
    (folder / "a.yaml").write_bytes(b"kind: role\nname: \xff\n")

    assert fault_of(folder).faults == ("policy/a.yaml:2: is not UTF-8",)


def test_a_file_that_is_too_large(folder: Path) -> None:
    write(folder, a="#" * (1024**2 + 1))

    assert fault_of(folder).faults == ("policy/a.yaml: is over 1048576 bytes: split it",)


def test_a_file_of_the_largest_size_is_read(folder: Path) -> None:
    write(folder, a=SEED + "#" * (1024**2 - len(SEED)))

    assert load_policy(folder).roles


def test_a_file_that_anybody_may_write(folder: Path) -> None:
    write(folder, a=SEED)
    (folder / "a.yaml").chmod(0o646)

    assert fault_of(folder).faults == ("policy/a.yaml: anybody may write to this file (chmod o-w)",)


def test_a_folder_that_anybody_may_write(folder: Path) -> None:
    write(folder, a=SEED)
    folder.chmod(0o777)

    assert fault_of(folder).faults == ("policy: anybody may write to this folder (chmod o-w)",)


def test_a_sticky_folder_may_be_written_by_all(folder: Path) -> None:
    write(folder, a=SEED)
    folder.chmod(0o1777)

    assert load_policy(folder).roles


def test_the_group_may_write(folder: Path) -> None:
    write(folder, a=SEED)
    (folder / "a.yaml").chmod(0o664)

    assert load_policy(folder).roles


# --- what we ship ----------------------------------------------------------------

EXAMPLE = {
    "alice reads in test": ("alice", "awsconsole-test", READ, True),
    "alice reads in prod": ("alice", "awsconsole-prod", READ, True),
    "alice reads at the third party": ("alice", "awsconsole-third-party", READ, True),
    "alice changes nothing": ("alice", "awsconsole-test", POWER, False),
    "bob changes test": ("bob", "awsconsole-test", POWER, True),
    "bob does not change prod": ("bob", "awsconsole-prod", POWER, False),
    "bob is denied the third party": ("bob", "awsconsole-third-party", READ, False),
    "nobody else does anything": ("carol", "awsconsole-test", READ, False),
}


@pytest.mark.parametrize(("user", "app", "arn", "allowed"), EXAMPLE.values(), ids=EXAMPLE)
def test_the_example_policy(user: str, app: str, arn: str, allowed: bool) -> None:
    decision = decide(
        load_policy(ROOT / "policy"),
        user=user,
        app=app,
        role_arn=arn,
        endpoint_service="ec2",
        tenant_controlled=False,
    )

    assert decision.allowed is allowed
    assert decision.external_id == (
        "example-external-id" if allowed and app.endswith("third-party") else ""
    )


def test_the_example_has_no_warnings() -> None:
    assert load_policy(ROOT / "policy").warnings == ()


@pytest.mark.parametrize("file", sorted((ROOT / "policy").glob("*.yaml")), ids=lambda f: f.name)
def test_editors_find_the_schema_of_the_example(file: Path) -> None:
    line = file.read_text(encoding="utf-8").partition("\n")[0]

    matched = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", line)

    assert matched is not None
    assert (file.parent / matched[1]).is_file()


README = (ROOT / "policy" / "README.md").read_text(encoding="utf-8")


def test_every_example_of_the_readme_is_a_policy() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)

    policy = parse_policy([(f"block {n}", yaml.safe_load(b)) for n, b in enumerate(blocks, 1)])

    assert len(blocks) == 4
    assert grantable_roles(policy, "carol") == []  # her team's app is not there


def test_the_readmes_faults_are_the_real_ones(folder: Path) -> None:
    write(
        folder,
        roles=SEED.replace(READ, "read"),
        users=f"{USER}---\n{USER.replace('alice', 'bob').replace('ro-access', 'ro-acces')}",
    )

    error = fault_of(folder)

    assert SetupError(error.message, faults=error.faults).render() in README
