"""What looks for secrets finds them: where it finds nothing, nothing is there."""

from __future__ import annotations

import base64
import html
import json
import os
import subprocess
import sys
import tempfile
import urllib.parse
from collections.abc import Callable
from pathlib import Path

import pytest
from benchmarks.processes import family

from canaries import Canaries, files_under, of_process
from e2e.held import until

# Each by another program than the one that makes the spellings, as far as there is one.
WAYS: dict[str, Callable[[str], str | bytes]] = {
    "plain": lambda s: f"x{s}y",
    "in a query": lambda s: urllib.parse.urlencode({"a": "1", "b": s, "c": "2"}),
    "in a path": lambda s: urllib.parse.quote(f"/a/{s}/b"),
    "in JSON": lambda s: json.dumps({"a": [s, "b"]}),
    "in a line of JSON in JSON": lambda s: json.dumps({"line": json.dumps({"a": s})}),
    "in a repr": lambda s: repr({"a": s}),
    "in a repr of bytes": lambda s: repr([s.encode()]),
    "in basic authentication": lambda s: base64.b64encode(f"user:{s}".encode()),
    "in a JWT": lambda s: base64.urlsafe_b64encode(json.dumps({"sub": "ab", "s": s}).encode()),
    "in base64 by openssl": lambda s: subprocess.run(
        ["openssl", "base64", "-A"], input=f"ab{s}cd".encode(), capture_output=True, check=True
    ).stdout,
    "in a hex dump": lambda s: memoryview(f"ab{s}".encode()).hex(),
    "in XML": lambda s: f"<a>{html.escape(s)}</a>",
    "backwards": lambda s: "".join(reversed(s)),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_a_secret_is_found_however_it_is_spelt(way: str) -> None:
    canaries = Canaries()
    value = canaries.mark("the one")
    canaries.mark("another")
    text = WAYS[way](value)

    assert canaries.found_in(text if isinstance(text, bytes) else text.encode()) == {"the one"}


@pytest.mark.parametrize("before", range(6))
@pytest.mark.parametrize("size", range(12, 18))
def test_it_is_found_wherever_it_stands_in_base64(before: int, size: int) -> None:
    canaries = Canaries()
    value = canaries.add("it", "".join(chr(97 + n) for n in range(size)))
    raw = os.urandom(before) + value.encode() + os.urandom(5)

    assert canaries.found_in(base64.b64encode(raw)) == {"it"}
    assert canaries.found_in(base64.urlsafe_b64encode(raw)) == {"it"}


def test_what_is_not_there_is_not_found() -> None:
    canaries = Canaries()
    for number in range(20):
        canaries.mark(str(number))

    assert canaries.found_in(os.urandom(1 << 20)) == set()


def test_it_is_found_in_a_file_at_any_depth_and_in_its_name(tmp_path: Path) -> None:
    canaries = Canaries()
    in_file, in_name = canaries.mark("in a file"), canaries.mark("in a name", plain=True)
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/c").write_text(in_file)
    (tmp_path / f"a/{in_name}").touch()

    assert canaries.found(files_under(tmp_path)) == {
        "a/b/c": {"in a file"},
        f"a/{in_name}": {"in a name"},
    }


def test_it_is_found_in_a_process_of_a_process(tmp_path: Path) -> None:
    """In the environment, among the arguments, and in a file that has no name any more."""
    canaries = Canaries()
    named = {name: canaries.mark(name) for name in ("environment", "argument", "file")}
    (tmp_path / "text").write_text(named["file"])
    inner = (
        "import sys, tempfile, pathlib\n"
        "held = tempfile.TemporaryFile()\n"
        f"held.write(pathlib.Path({str(tmp_path / 'text')!r}).read_bytes())\n"
        "held.flush()\n"
        f"pathlib.Path({str(tmp_path / 'ready')!r}).touch()\n"
        "sys.stdin.read()\n"
    )
    outer = (
        f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}, sys.argv[1]])"
    )
    with subprocess.Popen(
        [sys.executable, "-c", outer, named["argument"]],
        env={**os.environ, "CANARY": named["environment"], "TMPDIR": tempfile.gettempdir()},
        stdin=subprocess.PIPE,
    ) as process:
        assert until((tmp_path / "ready").exists, within=30)
        pids = list(family(process.pid))
        found = {pid: set().union(*canaries.found(of_process(pid)).values()) for pid in pids}
        assert process.stdin is not None
        process.stdin.close()

    assert len(pids) == 2
    assert found[pids[0]] == {"environment", "argument"}
    assert found[pids[1]] == set(named)
