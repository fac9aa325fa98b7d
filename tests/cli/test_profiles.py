"""``awsgate profiles``: the AWS config file as botocore reads it, and as its owner wrote it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from botocore.session import Session

from commandline import POLICY, POWER, READ_ONLY, Run, opened_by_the_gateway

pytestmark = pytest.mark.usefixtures("gateway_ca")

BEFORE = b"[default]\r\nregion=x # mine\n\n[profile other]\noutput =  json\n# the end, no newline"
NAMES = "test-Power\ntest-ReadOnly\n"


@pytest.fixture
def config(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = home / "aws folder" / "config"
    monkeypatch.setenv("AWS_CONFIG_FILE", str(path))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(home / "none"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    return path


def keys_of(profile: str, home: Path) -> tuple[str, str, str]:
    found = Session(profile=profile).get_credentials()
    assert found is not None
    frozen = found.get_frozen_credentials()
    opened = opened_by_the_gateway(
        {"AWS_ACCESS_KEY_ID": frozen.access_key, "AWS_SESSION_TOKEN": frozen.token or ""}, home
    )
    assert opened.secret_access_key == frozen.secret_key
    return opened.session.user, opened.session.app, opened.session.role_arn


def test_each_profile_is_a_role_wherever_it_is_used(
    run: Run, home: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = {"policy": "policy.yaml", "state": "it's state", "certs": "it's certs"}
    options = [word for name, path in folders.items() for word in (f"--{name}", str(home / path))]

    result = run("profiles", "write", "--user", "bob", "--region", "eu-west-1", *options)

    assert (result.code, result.out) == (0, NAMES)
    assert config.is_file()
    for name in ("AWSGATE_POLICY", "AWSGATE_STATE", "AWSGATE_CERTS"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.chdir("/")
    assert keys_of("test-ReadOnly", home) == ("bob", "test", READ_ONLY)
    assert keys_of("test-Power", home) == ("bob", "test", POWER)
    session = Session(profile="test-Power")
    assert session.get_config_variable("region") == "eu-west-1"
    bundle = session.get_scoped_config()["ca_bundle"]
    assert Path(bundle).is_file()
    assert Path(bundle).parent == home / "it's certs"


def test_that_a_profile_cannot_name_the_proxy_is_said_with_what_does(
    run: Run, config: Path
) -> None:
    result = run("profiles", "write", "--user", "bob")

    (line,) = result.err.splitlines()
    assert "cannot name a proxy" in line
    command = line.partition("once in each shell, ")[2]
    done = subprocess.run(
        ["bash", "-c", f"{command}; echo $HTTPS_PROXY; echo $NO_PROXY"],
        capture_output=True, check=True, text=True,
    )  # fmt: skip
    proxy, no_proxy = done.stdout.splitlines()
    assert proxy == "http://127.0.0.1:3128"
    assert "169.254.169.254" in no_proxy
    assert config.exists()


def test_all_else_stays_to_the_byte_and_comes_back_alone(run: Run, config: Path) -> None:
    config.parent.mkdir()
    config.write_bytes(BEFORE)
    config.chmod(0o640)

    run("profiles", "write", "--user", "bob", "--role", "Power")
    run("profiles", "write", "--user", "bob")
    written = config.read_bytes()
    mode = config.stat().st_mode & 0o777
    run("profiles", "remove", "test-Power")
    listed = run("profiles", "list")
    run("profiles", "remove", "--all")

    assert written.startswith(BEFORE)
    assert mode == 0o640
    assert listed.out == (
        f"PROFILE        USER  APP   ROLE\ntest-ReadOnly  bob   test  {READ_ONLY}\n"
    )
    assert config.read_bytes() == BEFORE


def test_a_new_file_is_its_owners_alone(run: Run, config: Path) -> None:
    run("profiles", "write", "--user", "bob")

    assert config.stat().st_mode & 0o777 == 0o600
    assert config.parent.stat().st_mode & 0o777 == 0o700


def test_a_link_stays_a_link(run: Run, home: Path, config: Path) -> None:
    real = home / "dotfiles"
    real.write_bytes(BEFORE)
    config.parent.mkdir()
    config.symlink_to(real)

    run("profiles", "write", "--user", "bob")

    assert config.is_symlink()
    assert real.read_bytes().startswith(BEFORE)
    assert b"[profile test-Power]" in real.read_bytes()


def test_a_profile_of_the_owner_is_never_touched(run: Run, config: Path) -> None:
    config.parent.mkdir()
    config.write_bytes(b"[profile test-Power]\nregion = mine\n")

    result = run("profiles", "write", "--user", "bob")

    assert (result.code, result.out) == (1, "")
    assert "did not write: test-Power" in result.err
    assert config.read_bytes() == b"[profile test-Power]\nregion = mine\n"


def test_names_with_odd_characters_become_plain_and_stay_apart(
    run: Run, home: Path, config: Path
) -> None:
    odd = ["a b", "a/b", "é 'x' \"y\" $z #c ;d"]
    apps = "".join(
        f"---\nkind: app\nversion: v3\nmetadata: {{name: {json.dumps(name)}}}\n"
        "spec: {uri: https://console.aws.amazon.com/}\n"
        for name in odd
    )
    (home / "policy.yaml").write_text(POLICY + apps)

    names = run("profiles", "write", "--user", "alice").out.splitlines()
    some = run("profiles", "write", "--user", "alice", "--app", "a b").out.splitlines()

    assert config.is_file()
    assert len(names) == len(set(names)) == 4
    assert all(
        name.replace("-", "").replace(".", "").isalnum() and name.isascii() for name in names
    )
    assert {keys_of(name, home)[1] for name in names} == {"test", *odd}
    assert len(some) == 1
    assert set(some) <= set(names), "the same name, whichever of them are written"


def test_list_for_machines(run: Run, config: Path) -> None:
    run("profiles", "write", "--user", "bob", "--role", "Power")

    found = json.loads(run("profiles", "list", "--json").out)

    assert list(found) == ["test-Power"]
    assert config.exists()


REFUSED = {
    "a profile of nobody": (("remove", "nope"), 1, "awsgate wrote no profile nope"),
    "none and not all": (("remove",), 2, "name profiles, or give --all"),
    "a role that may not be had": (("write", "--user", "alice", "--role", "Power"), 1, "may have"),
    "a region that is none": (("write", "--user", "bob", "--region", "x"), 2, "is not a region"),
}


@pytest.mark.parametrize(("words", "code", "text"), REFUSED.values(), ids=REFUSED)
def test_what_it_does_not_do(
    run: Run, config: Path, words: tuple[str, ...], code: int, text: str
) -> None:
    result = run("profiles", *words)

    assert (result.code, result.out) == (code, "")
    assert text in result.err
    assert not config.exists()


def test_lines_that_were_cut_are_reported_with_what_to_do(run: Run, config: Path) -> None:
    run("profiles", "write", "--user", "bob")
    cut = config.read_bytes().replace(b"# <<< awsgate profiles <<<\n", b"")
    config.write_bytes(cut)

    result = run("profiles", "write", "--user", "bob")

    assert result.code == 2
    assert "have been cut or doubled" in result.err
    assert config.read_bytes() == cut
    assert list(config.parent.iterdir()) == [config]
