"""Reads a lock that ``scripts/lock`` wrote: packages with version, hashes, and what needs them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import canonicalize_name

DEPLOY = Path(__file__).resolve().parent.parent / "deploy"
LOCK = DEPLOY / "requirements.lock"
DEMO_LOCK = DEPLOY / "requirements-demo.lock"
OURSELVES = "awsgate"

_ENTRY = re.compile(
    r"(?P<name>[\w.-]+)==(?P<version>[\w.+!-]+)(?: ; (?P<marker>.+?))?(?P<rest>(?: --| # ).*|)"
)
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})(?![0-9a-f])")


@dataclass(frozen=True)
class Entry:
    """One package."""

    name: str
    """In its normal form."""
    version: str
    marker: str
    """Where it is installed; empty: everywhere."""
    hashes: tuple[str, ...]
    """SHA-256 of each file of this version."""
    needed_by: tuple[str, ...]


def read_lock(path: Path) -> list[Entry]:
    """Give the entries. Raises ``ValueError`` at a line that is none."""
    lines = path.read_text("utf-8").splitlines()
    while lines and lines[0].startswith("#"):
        lines.pop(0)
    # An entry begins at the left; its hashes and its comment are indented.
    text = re.sub(r"\s*\\?\n\s+", " ", "\n".join(lines))
    return [_entry(line) for line in text.splitlines()]


def _entry(line: str) -> Entry:
    found = _ENTRY.fullmatch(line)
    if found is None:
        raise ValueError(f"not an entry of a lock: {line[:60]!r}")
    rest, _, via = found["rest"].partition("# via ")
    hashes = tuple(_HASH.findall(rest))
    if _HASH.sub("", rest).strip():
        raise ValueError(f"{found['name']} has more than hashes: {_HASH.sub('', rest).strip()!r}")
    return Entry(
        name=canonicalize_name(found["name"]),
        version=found["version"],
        marker=(found["marker"] or "").strip(),
        hashes=hashes,
        needed_by=tuple(_packages(via)),
    )


def _packages(via: str) -> Iterator[str]:
    """Give the packages that a comment names; it names files of requirements too."""
    for name in via.split(", "):
        if name and not name.startswith("-"):
            yield canonicalize_name(name.partition(" ")[0])
