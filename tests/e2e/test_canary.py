"""Every secret is marked, everything happens once, and the marks are where they should be.

Both ways to run the gateway; the loggers of its libraries as chatty as they can be. That
the search finds what is there is shown in ``tests/test_canaries.py``, and here by the
places where a secret is meant to stand.
"""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from benchmarks.processes import family

from awsgate.demo.processes import clean_env
from canaries import Canaries, files_under, of_process
from e2e.canarydrive import drive
from e2e.canaryscene import WAYS, Scene, scene_in
from e2e.held import until

BASE = "secret key of the gateway"
MEANT_IN_FILES = {
    "state/session.key": {"session key"},
    "state/users/alice.json": {"TOTP secret"},
    # The last good policy, for a worker that starts while the files have a fault.
    "tmp/awsgate-run-*/policies/*/policy.yaml": {"webhook", "external id", "client secret"},
}


@pytest.fixture(scope="module", params=WAYS)
def scene(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    with scene_in(tmp_path_factory.mktemp("canary"), request.param) as running:
        drive(running)
        yield running


def meant(path: str) -> set[str]:
    return set().union(*(w for glob, w in MEANT_IN_FILES.items() if fnmatchcase(path, glob)))


def test_everything_happened(scene: Scene) -> None:
    codes = Counter(line["code"] for line in scene.gateway.audit())
    events = {line["event"] for line in scene.gateway.audit()}
    statuses = {what: status for what, status in scene.statuses if status < 400}

    assert set(codes) >= {
        "", "bad-signature", "unknown-key", "denied", "clock-skew", "unsupported",
        "upstream-failed", "role-unavailable",
    }  # fmt: skip
    assert events >= {"request", "login", "credentials", "console"}
    assert statuses.keys() >= {"upload", "download", "AssumeRole", "POST /v1/console"}
    assert len(scene.errors) > 20
    assert len(scene.canaries.known) > 50
    kinds = " ".join(scene.canaries.known)
    assert "of AWS 0" in kinds
    assert "sign-in token 0" in kinds


def test_no_secret_is_in_any_file_but_where_it_is_kept(scene: Scene) -> None:
    """Log, audit, the locks and requests, the CA's folder, temporary files, home."""
    found = scene.canaries.found(files_under(scene.folder))

    assert {path: what for path, what in found.items() if what - meant(path)} == {}
    assert found["state/session.key"] == {"session key"}, "else the search is blind"
    assert len(list((scene.folder / "state").iterdir())) > 2
    assert scene.chatter.stat().st_size > 500


def test_what_holds_a_secret_is_for_its_owner_alone(scene: Scene) -> None:
    for path in scene.canaries.found(files_under(scene.folder)):
        below = [scene.folder / path, *(scene.folder / path).parents]
        ours = below[: below.index(scene.folder)]
        assert any(stat.S_IMODE(each.stat().st_mode) & 0o077 == 0 for each in ours), path


def test_no_secret_is_in_an_answer_that_is_an_error(scene: Scene) -> None:
    assert scene.canaries.found(scene.errors) == {}


def test_no_secret_is_in_a_metric(scene: Scene) -> None:
    text = scene.gateway.metrics()

    assert scene.canaries.found_in(text.encode()) == set()
    assert "awsgate_requests_total" in text


def test_no_secret_is_in_the_environment_the_arguments_or_the_open_files_of_a_process(
    scene: Scene,
) -> None:
    """But for the credentials that the operator gave in the environment, in the first one's."""
    first, *children = family(scene.gateway.process.pid)
    found = {pid: scene.canaries.found(of_process(pid)) for pid in (first, *children)}

    own = {"environ": {BASE}} if scene.base == "environment" else {}
    assert found == {first: own, **{pid: {} for pid in children}}
    assert len(children) == (2 if scene.base == "file" else 0)


def test_no_process_of_the_gateway_leaves_a_core_dump(scene: Scene) -> None:
    for pid in family(scene.gateway.process.pid):
        limits = Path(f"/proc/{pid}/limits").read_text()
        assert re.search(r"(?m)^Max core file size +0 +0 ", limits), limits


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone has it")
def test_no_other_process_of_its_user_can_look_into_one(scene: Scene) -> None:
    """By the kernel's own word: each could be looked into when it began, and then no more."""
    for pid in family(scene.gateway.process.pid):
        told = scene.folder / f"dumpable-{pid}"
        assert until(lambda told=told: told.read_text() == "1\n0\n", within=10), told.read_text()


def test_a_command_of_exec_is_given_what_it_needs_and_no_more(scene: Scene) -> None:
    """Its environment and arguments, and those of the process beside it."""
    show = (
        "import os, pathlib\n"
        "for entry in pathlib.Path('/proc').iterdir():\n"
        "    if entry.name.isdecimal():\n"
        "        try: text = (entry / 'environ').read_bytes() + (entry / 'cmdline').read_bytes()\n"
        "        except OSError: continue\n"
        "        if b'AWSGATE_TEST_MARK=here' in text: print(repr(text))\n"
    )
    places = ("--policy", str(scene.gateway.policy), "--state", str(scene.gateway.state),
              "--certs", str(scene.gateway.certs), "--proxy", scene.gateway.proxy)  # fmt: skip
    home = scene.inputs / "home"
    home.mkdir(exist_ok=True)
    environment = {"AWSGATE_TEST_MARK": "here", "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    done = subprocess.run(
        [sys.executable, "-m", "awsgate", "exec", "--user", "bob", "--role", "Power", *places,
         "--", sys.executable, "-c", show],
        env=clean_env(home, environment), capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    kept = [json.loads(path.read_text()) for path in (scene.gateway.state / "reuse").iterdir()]
    keys = [each["issued"]["keys"] for each in kept if "issued" in each]
    canaries = Canaries(dict(scene.canaries.known))
    for name in ("secret_access_key", "session_token"):
        canaries.add(f"kept {name}", keys[0][name])

    assert done.stdout.count(b"AWSGATE_TEST_MARK=here") >= 1
    assert canaries.found_in(done.stdout) | canaries.found_in(done.stderr) == set()
