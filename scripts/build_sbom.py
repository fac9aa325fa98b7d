"""Writes what a release is made of as CycloneDX 1.6, from ``deploy/requirements.lock`` alone.

    python scripts/build_sbom.py FOLDER      prints the file it wrote

It has every package with its version, the SHA-256 of each of its files, where it is
installed, and what needs it. The same lock gives the same bytes: there is no time and no
serial number in it. ``scripts/sbom`` checks it against the schema.
"""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lockfile import LOCK, OURSELVES, Entry, read_lock

from awsgate.version import __version__

PROJECT = tomllib.loads((LOCK.parent.parent / "pyproject.toml").read_text("utf-8"))["project"]


def sbom(entries: Iterable[Entry]) -> dict[str, Any]:
    """Give the document."""
    entries = sorted(entries, key=lambda entry: entry.name)
    own = _purl(OURSELVES, __version__)
    refs = {OURSELVES: own, **{entry.name: _purl(entry.name, entry.version) for entry in entries}}
    needs: dict[str, list[str]] = {ref: [] for ref in refs.values()}
    for entry in entries:
        for name in entry.needed_by:
            needs[refs[name]].append(refs[entry.name])
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": own,
                "name": OURSELVES,
                "version": __version__,
                "description": PROJECT["description"],
                "purl": own,
                "licenses": [{"license": {"id": PROJECT["license"]}}],
            }
        },
        "components": [_component(entry) for entry in entries],
        "dependencies": [{"ref": ref, "dependsOn": sorted(needs[ref])} for ref in needs],
    }


def _component(entry: Entry) -> dict[str, Any]:
    purl = _purl(entry.name, entry.version)
    found: dict[str, Any] = {
        "type": "library",
        "bom-ref": purl,
        "name": entry.name,
        "version": entry.version,
        "purl": purl,
        "externalReferences": [
            {
                "type": "distribution",
                "url": purl,  # not where it lies: that is for whoever installs to say
                "hashes": [{"alg": "SHA-256", "content": digest} for digest in entry.hashes],
            }
        ],
    }
    if entry.marker:
        found["properties"] = [{"name": "awsgate:marker", "value": entry.marker}]
    return found


def _purl(name: str, version: str) -> str:
    return f"pkg:pypi/{name}@{version.replace('+', '%2B')}"


if __name__ == "__main__":
    target = Path(sys.argv[1]) / f"{OURSELVES}-{__version__}.cdx.json"
    target.write_text(json.dumps(sbom(read_lock(LOCK)), indent=2) + "\n", "utf-8")
    print(target)
