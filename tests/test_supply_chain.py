"""What a release is made of: every package pinned and hashed, listed, and looked up or not."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import requires
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
LOCKS = [
    "deploy/requirements.lock",
    "deploy/requirements-demo.lock",
    "scripts/tools.lock",
]
OF_EXTRAS = {
    "deploy/requirements.lock": ["saml", "postgres", "keyring"],
    "deploy/requirements-demo.lock": ["saml", "postgres", "keyring", "demo"],
}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


@pytest.fixture(scope="module")
def scripts() -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(ROOT / "scripts")
        yield ROOT / "scripts"


@pytest.fixture(scope="module")
def lockfile(scripts: Path) -> ModuleType:
    assert (scripts / "lockfile.py").is_file()
    return importlib.import_module("lockfile")


@pytest.fixture(scope="module")
def builder(scripts: Path) -> ModuleType:
    assert (scripts / "build_sbom.py").is_file()
    return importlib.import_module("build_sbom")


@pytest.fixture(scope="module")
def judge(scripts: Path) -> ModuleType:
    assert (scripts / "audit_report.py").is_file()
    return importlib.import_module("audit_report")


def constraints() -> dict[str, str]:
    lines = (ROOT / "scripts/constraints.txt").read_text("utf-8").splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in pairs}


# --- the locks ----------------------------------------------------------------------


@pytest.mark.parametrize("name", LOCKS)
def test_every_package_of_a_lock_has_hashes_and_one_version(
    lockfile: ModuleType, name: str
) -> None:
    entries = lockfile.read_lock(ROOT / name)

    assert len(entries) > 30
    assert [entry.name for entry in entries if not entry.hashes] == []
    assert len({entry.name for entry in entries}) == len(entries)


@pytest.mark.parametrize("name", OF_EXTRAS)
def test_every_dependency_of_the_project_is_locked_in_a_version_that_it_allows(
    lockfile: ModuleType, name: str
) -> None:
    locked = {entry.name: entry for entry in lockfile.read_lock(ROOT / name)}
    extras = PROJECT["optional-dependencies"]
    wanted = [
        Requirement(text)
        for text in (*PROJECT["dependencies"], *(r for e in OF_EXTRAS[name] for r in extras[e]))
    ]

    missing = [
        str(requirement)
        for requirement in wanted
        if (found := locked.get(canonicalize_name(requirement.name))) is None
        or not requirement.specifier.contains(found.version)
        or "awsgate" not in found.needed_by
    ]

    assert missing == []
    assert len(wanted) > 20


def test_no_extra_but_that_of_developers_is_in_no_lock() -> None:
    assert set(PROJECT["optional-dependencies"]) - {"dev"} == set(
        OF_EXTRAS["deploy/requirements-demo.lock"]
    )


@pytest.mark.parametrize("name", OF_EXTRAS)
def test_what_is_released_is_what_was_tested(lockfile: ModuleType, name: str) -> None:
    tested = constraints()
    entries = lockfile.read_lock(ROOT / name)

    differing = [
        entry.name
        for entry in entries
        if entry.version != tested.get(entry.name)
        # Of another system, where the tests do not run: nothing says which was tested.
        and not (entry.name not in tested and re.search("win32|darwin|'nt'", entry.marker))
    ]

    assert differing == []


@pytest.mark.parametrize("name", OF_EXTRAS)
def test_all_that_a_locked_package_needs_is_locked(lockfile: ModuleType, name: str) -> None:
    """By the packages' own words, as they are installed here."""
    locked = {entry.name for entry in lockfile.read_lock(ROOT / name)}
    everywhere = [e.name for e in lockfile.read_lock(ROOT / name) if not e.marker]

    missing = {
        (package, requirement.name)
        for package in everywhere
        for requirement in map(Requirement, requires(package) or ())
        if (requirement.marker is None or requirement.marker.evaluate({"extra": ""}))
        and canonicalize_name(requirement.name) not in locked
    }

    assert missing == set()


@pytest.mark.parametrize("name", LOCKS)
def test_no_lock_says_where_packages_come_from(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")

    assert re.findall(r"://|--(?!hash=)[a-z-]+(?! -r)|@ ", text.partition("\n")[2]) == []


@pytest.mark.parametrize(
    "line",
    ["left-pad", "left-pad>=1", "left-pad @ file:///x", "left-pad==1 --pre", "-e ."],
)
def test_what_is_not_pinned_by_version_and_hash_is_no_entry(
    lockfile: ModuleType, tmp_path: Path, line: str
) -> None:
    file = tmp_path / "a.lock"
    file.write_text(f"# by hand\n{line}\n")

    with pytest.raises(ValueError, match=r"not an entry|more than hashes"):
        lockfile.read_lock(file)


def test_an_entry_is_read_whole(lockfile: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "a.lock"
    one, two = "ab" * 32, "cd" * 32
    file.write_text(
        f"# head\nSome.Thing==1.0.post1 ; sys_platform == 'linux' \\\n"
        f"    --hash=sha256:{one} \\\n    --hash=sha256:{two}\n"
        "    # via other_one, -c scripts/constraints.txt, awsgate (pyproject.toml)\n"
    )

    (entry,) = lockfile.read_lock(file)

    assert (entry.name, entry.version) == ("some-thing", "1.0.post1")
    assert entry.marker == "sys_platform == 'linux'"
    assert entry.hashes == (one, two)
    assert entry.needed_by == ("other-one", "awsgate")


# --- the list of parts ----------------------------------------------------------------


def test_the_sbom_has_every_locked_package_with_its_hashes(
    builder: ModuleType, lockfile: ModuleType
) -> None:
    entries = lockfile.read_lock(ROOT / "deploy/requirements.lock")

    listed = {
        each["name"]: (
            each["version"],
            tuple(digest["content"] for digest in each["externalReferences"][0]["hashes"]),
        )
        for each in builder.sbom(entries)["components"]
    }

    assert listed == {entry.name: (entry.version, entry.hashes) for entry in entries}


def test_every_part_is_reached_from_the_whole(builder: ModuleType, lockfile: ModuleType) -> None:
    made = builder.sbom(lockfile.read_lock(ROOT / "deploy/requirements.lock"))
    needs = {each["ref"]: each["dependsOn"] for each in made["dependencies"]}

    reached, ahead = set(), [made["metadata"]["component"]["bom-ref"]]
    while ahead:
        ref = ahead.pop()
        if ref not in reached:
            reached.add(ref)
            ahead += needs[ref]

    refs = [each["bom-ref"] for each in made["components"]]
    assert reached == {*refs, made["metadata"]["component"]["bom-ref"]} == set(needs)
    assert len(set(refs)) == len(refs)


def test_the_same_lock_gives_the_same_bytes(builder: ModuleType, lockfile: ModuleType) -> None:
    entries = lockfile.read_lock(ROOT / "deploy/requirements.lock")

    assert json.dumps(builder.sbom(entries)) == json.dumps(builder.sbom(reversed(entries)))


# --- known vulnerabilities -------------------------------------------------------------

ALL_KNOWN = {"name": "One_Package", "version": "1", "vulns": []}
OTHER = {"name": "two", "version": "2", "vulns": []}
FLAWED = {**OTHER, "vulns": [{"id": "CVE-2026-1", "fix_versions": ["2.1"]}]}
SKIPPED = {"name": "two", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("report", "code"),
    [
        ({"dependencies": [ALL_KNOWN, OTHER]}, 0),
        ({"dependencies": [ALL_KNOWN, FLAWED]}, 10),
        ({"dependencies": [FLAWED]}, 10),
        ({"dependencies": [ALL_KNOWN, SKIPPED]}, 3),
        ({"dependencies": [ALL_KNOWN]}, 3),
        ({"dependencies": [ALL_KNOWN, {**OTHER, "version": "3"}]}, 3),
        ({"dependencies": []}, 3),
        ({}, 3),
        ([], 3),
        (None, 3),
    ],
    ids=json.dumps,
)
def test_nothing_is_called_good_that_was_not_looked_up(
    judge: ModuleType, lockfile: ModuleType, report: object, code: int
) -> None:
    lock = [
        lockfile.Entry("one-package", "1", "", ("ab",), ()),
        lockfile.Entry("two", "2", "python_version >= '3'", ("ab",), ()),
        lockfile.Entry("elsewhere", "1", "sys_platform == 'win32'", ("ab",), ()),
    ]

    assert judge.verdict(json.dumps(report) if report is not None else "", lock).code == code


def test_an_empty_lock_is_not_good(judge: ModuleType) -> None:
    assert judge.verdict('{"dependencies": []}', []).code == 3


def test_what_is_known_is_told_with_where_it_is_mended(
    judge: ModuleType, lockfile: ModuleType
) -> None:
    lock = [lockfile.Entry("two", "2", "", ("ab",), ())]

    found = judge.verdict(json.dumps({"dependencies": [FLAWED]}), lock)

    assert found.lines == ("two 2: CVE-2026-1, mended in 2.1",)


@pytest.mark.parametrize(
    ("said", "code"),
    [
        pytest.param("", 3, id="no report"),
        pytest.param('{"dependencies": []}', 3, id="no package was looked up"),
        pytest.param('{"dependencies": [FLAWED]}', 1, id="a flaw is known"),
        pytest.param("ALL", 0, id="all were looked up"),
    ],
)
def test_the_command_says_whether_it_could_check(
    tmp_path: Path, lockfile: ModuleType, said: str, code: int
) -> None:
    """pip-audit itself says that all is well, and exits 0, in each of these but the third."""
    everything = [
        {"name": entry.name, "version": entry.version, "vulns": []}
        for name in ("deploy/requirements-demo.lock", "scripts/tools.lock")
        for entry in lockfile.read_lock(ROOT / name)
    ]
    said = said.replace("FLAWED", json.dumps(FLAWED))
    said = said.replace("ALL", json.dumps({"dependencies": everything}))
    (tmp_path / "said.json").write_text(said)
    copy = _checkout_with_tool(tmp_path, f'cp {tmp_path}/said.json "$report"; exit 0')

    done = subprocess.run([copy / "scripts/audit"], capture_output=True, text=True, check=False)

    assert done.returncode == code, done.stderr
    assert ("could not be checked" in done.stderr) == (code == 3)
    assert ("nothing is known" in done.stderr) == (code == 0)


def _checkout_with_tool(folder: Path, body: str) -> Path:
    """Make a checkout whose pip-audit does what a test says, with nothing to set up."""
    for part in ("scripts", "deploy"):
        shutil.copytree(ROOT / part, folder / part)
    (folder / "scripts/_env").write_text(
        f'root={folder}\nvenv={sys.prefix}\nsay() {{ echo "awsgate: $*" >&2; }}\n'
        "ensure_env() { PATH=$venv/bin:$PATH; }\n"
    )
    (folder / "scripts/_tools").write_text(
        f"tools={folder}/tools\nensure_tools() {{ :; }}\n", "utf-8"
    )
    tool = folder / "tools/bin/pip-audit"
    tool.parent.mkdir(parents=True)
    tool.write_text(
        '#!/bin/bash\nwhile [ $# -gt 1 ]; do [ "$1" = -o ] && report=$2; shift; done\n' + body
    )
    tool.chmod(0o755)
    return folder
