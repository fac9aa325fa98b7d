"""A new user in a fresh clone, with the README alone: three commands to ``aws s3 ls``.

The commands are taken from the README as they stand. Two things are as a user would
find them later: ``.venv`` is made already, as the first command would have made it, and
the ports are free ones, since others may have the usual ones here.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

from awsgate.demo.processes import clean_env, free_port

ROOT = Path(__file__).resolve().parent.parent.parent
LISTEN, METRICS = "127.0.0.1:8080", "127.0.0.1:9464"


def commands() -> list[str]:
    """Give the commands of the first block under "Start it"."""
    part = (ROOT / "README.md").read_text("utf-8").partition("\n## Start it\n")[2]
    block = re.search(r"```console\n(.*?)```", part, re.DOTALL)
    assert block is not None
    return [line.removeprefix("$ ") for line in block[1].splitlines() if line.startswith("$ ")]


def copy_checkout(to: Path) -> None:
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listing.stdout.split("\0")):
        source = ROOT / name
        if source.is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, to / name)


def make_venv(checkout: Path) -> None:
    """Make ``.venv`` as scripts/_env does: the copy's package, and the dependencies here."""
    made = checkout / ".venv"
    venv.create(made, symlinks=True)
    python = made / "bin" / "python"
    (site,) = made.glob("lib/python*/site-packages")
    # The copy's package goes before the one that is installed here.
    (site / "fresh.pth").write_text(f"{checkout / 'addons'}\n{sysconfig.get_paths()['purelib']}\n")
    for name in ("awsgate", "aws", "mitmdump"):
        text = (Path(sys.executable).parent / name).read_text("utf-8")
        script = made / "bin" / name
        # As pip writes it where the path has a space.
        first = f"""#!/bin/sh\n'''exec' "{python}" "$0" "$@"\n' '''\n"""
        script.write_text(first + text.partition("\n")[2], "utf-8")
        script.chmod(0o755)
    stamp = "cat pyproject.toml scripts/constraints.txt scripts/_env | cksum"
    done = subprocess.run(
        ["bash", "-c", stamp], cwd=checkout, capture_output=True, text=True, check=True
    )
    (made / ".awsgate-stamp").write_text(done.stdout.strip())


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    checkout = tmp_path_factory.mktemp("first") / "fresh clone"
    copy_checkout(checkout)
    make_venv(checkout)
    policy = checkout / "policy" / "gateway.yaml"
    text = policy.read_text("utf-8")
    assert LISTEN in text
    assert METRICS in text
    for usual in (LISTEN, METRICS):
        text = text.replace(usual, f"127.0.0.1:{free_port()}")
    policy.write_text(text, "utf-8")
    yield checkout
    shell(checkout, [". scripts/activate", "awsgate demo --stop"])


def shell(
    checkout: Path, lines: list[str], program: str = "bash"
) -> subprocess.CompletedProcess[str]:
    """Run lines in one shell, as a user types them: each goes on whatever became of the last."""
    home = checkout.parent / "home"
    home.mkdir(exist_ok=True)
    env = clean_env(home)
    # Nothing of the Python that runs this test: the clone has to find its own.
    here = str(Path(sys.executable).parent)
    env["PATH"] = ":".join(part for part in env["PATH"].split(":") if part != here)
    env.pop("AWS_DEFAULT_REGION")
    script = "\n".join([*lines[:-1], f"echo '--- last'; {lines[-1]}"])
    return subprocess.run(
        [program, "-c", script],
        cwd=checkout,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )


def test_the_readme_needs_three_commands_and_no_copying() -> None:
    found = commands()

    assert len(found) <= 3
    assert found[-1].endswith("aws s3 ls")
    assert not [line for line in found if "<" in line or "$(" in line]


def test_from_nothing_to_aws_s3_ls(clone: Path) -> None:
    done = shell(clone, commands())

    assert done.returncode == 0, done.stderr
    assert re.search(
        r"\d\d:\d\d:\d\d awsgate-demo$", done.stdout.partition("--- last\n")[2], re.MULTILINE
    )
    lines = (clone / "state" / "audit.jsonl").read_text("utf-8").splitlines()
    assert '"user":"alice"' in lines[-1].replace(" ", "")
    assert str(ROOT / "state") not in done.stdout + done.stderr, "it is the clone that ran"


@pytest.mark.parametrize("program", ["bash", "zsh", "dash"])
def test_activate_is_sourced_by_any_shell_of_that_family(clone: Path, program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")

    done = shell(clone, [". scripts/activate", "command -v awsgate"], program)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"--- last\n{clone}/.venv/bin/awsgate\n"


def test_activate_that_fails_leaves_the_shell_alone(clone: Path) -> None:
    needed = clone / "scripts" / "constraints.txt"
    away = needed.rename(needed.with_suffix(".away"))
    try:
        done = shell(clone, [". scripts/activate; echo $? still here"])
    finally:
        away.rename(needed)

    assert done.stdout == "--- last\n1 still here\n"


def test_the_doctor_finds_nothing_there(clone: Path) -> None:
    done = shell(
        clone,
        [*commands()[:2], "export NO_COLOR=1", "awsgate doctor"],
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.rstrip().endswith("all good")
    assert "a call as alice in " in done.stdout


def test_the_doctor_finds_nothing_in_a_shell_of_exec(clone: Path) -> None:
    run, start, call = commands()
    within = call.replace("aws s3 ls", "awsgate doctor")

    done = shell(clone, [run, start, within])

    assert done.returncode == 0, done.stdout + done.stderr
    assert " ok      answers at " in done.stdout
