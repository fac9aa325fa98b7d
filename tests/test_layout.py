"""The shape of the repository: what is where, how long it may be, what it may name."""

from __future__ import annotations

import ast
import re
import subprocess
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "addons" / "awsgate"
MODULES = sorted(PACKAGE.rglob("*.py"))

TOP_FOLDERS = {"addons", "certs", "deploy", "docs", "policy", "scripts", "tests"}
TOP_FILES = {
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "README.md",
    "SECURITY.md",
    "pyproject.toml",
}
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60


def tracked() -> list[str]:
    """What git holds, or would with the next ``git add``: local state does not matter."""
    # The repository's own answer, so that the tests of an unpacked archive skip.
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    return sorted(name for name in listing.stdout.split("\0") if name and (ROOT / name).is_file())


def name_of(module: Path) -> str:
    return str(module.relative_to(PACKAGE))


def test_the_top_level_holds_what_the_design_lists() -> None:
    folders = {name.partition("/")[0] for name in tracked() if "/" in name}
    files = {name for name in tracked() if "/" not in name}

    assert {name for name in folders if not name.startswith(".")} <= TOP_FOLDERS
    assert {name for name in files if not name.startswith(".")} <= TOP_FILES
    assert {"addons", "certs", "policy", "scripts", "tests"} <= folders
    assert {"README.md", "LICENSE", "pyproject.toml"} <= files


def test_addons_holds_the_entry_script_and_the_package_alone() -> None:
    inside = {name.split("/")[1] for name in tracked() if name.startswith("addons/")}

    assert inside == {"awsgate.py", "awsgate"}


def test_the_entry_script_has_two_statements() -> None:
    body = ast.parse((ROOT / "addons" / "awsgate.py").read_text("utf-8")).body

    assert isinstance(body[0], ast.Expr), "its docstring"
    assert len(body[1:]) <= 2


def test_every_folder_of_the_package_is_a_package() -> None:
    assert {module.parent for module in MODULES} == {
        module.parent for module in MODULES if module.name == "__init__.py"
    }


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_a_module_is_short_and_says_what_it_is(module: Path) -> None:
    source = module.read_text("utf-8")

    assert ast.get_docstring(ast.parse(source)), "a docstring: what it is, what not"
    assert len(source.splitlines()) <= MAX_FILE_LINES, "split it"


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_functions_are_short(module: Path) -> None:
    long = {
        node.name: length
        for node in ast.walk(ast.parse(module.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or 0) - node.lineno + 1) > MAX_FUNCTION_LINES
    }

    assert not long, f"more than {MAX_FUNCTION_LINES} lines"


# In pieces, so that this file does not find itself.
MACHINE = {
    "a path of this machine": re.compile(rb"(?<![\w.])/" + rb"(?:work|root|tmp/h)/"),
    "a home folder": re.compile(rb"/" + rb"(?:home|Users)/(?!<|\$|user/|you/|\.\.\.)\w+/"),
    "a path into a pyenv": re.compile(rb"/" + rb"\.?pyenv/(?:versions|shims)"),
    "a package mirror": re.compile(
        rb"(?i)--(?:extra-)?index"
        + rb"-url|PIP_"
        + rb"INDEX_URL|arti"
        + rb"factory|/simple/?[\"'\s]"
    ),
}


def test_no_tracked_file_names_this_machine() -> None:
    found = [
        f"{name}: {what}: {match.group()!r}"
        for name in tracked()
        for content in [(ROOT / name).read_bytes()]
        for what, pattern in MACHINE.items()
        for match in [pattern.search(content)]
        if match is not None
    ]

    assert not found


@pytest.mark.parametrize(
    "text",
    [
        b"cd /" + b"work/main",
        b"'/" + b"root/.cache'",
        b"/" + b"tmp/h/x.md",
        b"/opt/" + b"pyenv/versions/3.13",
        b"/" + b"home/ada/bin",
        b"pip install --index" + b"-url https://mirror.example",
    ],
)
def test_such_names_would_be_found(text: bytes) -> None:
    """Without this the test above would prove nothing."""
    assert any(pattern.search(text) for pattern in MACHINE.values())


def test_the_wheel_holds_the_package_and_nothing_else(tmp_path: Path) -> None:
    (built,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])

    with zipfile.ZipFile(built) as wheel:
        names = set(wheel.namelist())
    inside = {name for name in names if name.startswith("awsgate/")}
    about = {name for name in names if re.match(r"awsgate-[\d.]+\.dist-info/", name)}
    source = {
        str(path.relative_to(PACKAGE.parent))
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert names == inside | about
    assert inside == source
    assert {"awsgate/py.typed", "awsgate/aws/services.json"} <= inside
