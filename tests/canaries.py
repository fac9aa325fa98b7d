"""Finds marked secrets wherever they were left, in the spellings that programs give them."""

from __future__ import annotations

import base64
import html
import json
import re
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, quote_plus

SHORTEST = 12
"""A shorter one would be found by chance."""
_FOR_URLS = bytes.maketrans(b"+/", b"-_")


def spellings(secret: str) -> dict[str, bytes]:
    """Give the forms in which a secret may stand in a text or a file; of most there is no more."""
    raw = secret.encode()
    forms = {
        "as it is": raw,
        "percent": quote(secret, safe="").encode(),
        "percent, lower": re.sub(r"%..", lambda m: m[0].lower(), quote(secret, safe="")).encode(),
        "percent, slashes": quote(secret).encode(),
        "form": quote_plus(secret).encode(),
        "percent twice": quote(quote(secret, safe=""), safe="").encode(),
        "hex": raw.hex().encode(),
        "hex, upper": raw.hex().upper().encode(),
        "repr": repr(secret)[1:-1].encode(),
        "repr of bytes": repr(raw)[2:-1].encode(),
        "JSON": json.dumps(secret)[1:-1].encode(),
        "JSON twice": json.dumps(json.dumps(secret))[3:-3].encode(),
        "JSON, slashes": json.dumps(secret)[1:-1].replace("/", "\\/").encode(),
        "XML": html.escape(secret).encode(),
        "UTF-16": secret.encode("utf-16-le"),
        "from its end": secret[::-1].encode(),
    }
    for inside in ("as it is", "JSON"):
        for shift in range(3):
            core = _base64_core(forms[inside], shift)
            forms[f"base64 of {inside}, {shift} in"] = core
            forms[f"base64url of {inside}, {shift} in"] = core.translate(_FOR_URLS)
    return forms


def _base64_core(raw: bytes, shift: int) -> bytes:
    """Give what base64 makes of it after ``shift`` other bytes, whatever stands around it."""
    whole = base64.b64encode(b"\0" * shift + raw)
    return whole[(0, 2, 3)[shift] : (shift + len(raw)) * 8 // 6]


@dataclass
class Canaries:
    """Secrets by what they are."""

    known: dict[str, str] = field(default_factory=dict)

    def mark(self, what: str, *, plain: bool = False) -> str:
        """Make a secret. ``plain``: of letters and digits alone."""
        value = f"kanari{secrets.token_hex(12)}" + ("" if plain else "/+&='\"%")
        return self.add(what, value)

    def add(self, what: str, value: str) -> str:
        """Look for this one too."""
        assert len(value) >= SHORTEST, what
        self.known[what] = value
        return value

    def found_in(self, data: bytes) -> set[str]:
        """Give what is there of them."""
        return {
            what
            for what, value in self.known.items()
            if any(form in data for form in spellings(value).values())
        }

    def found(self, places: Iterable[tuple[str, bytes]]) -> dict[str, set[str]]:
        """Give place -> what is there, of places where anything is."""
        found: dict[str, set[str]] = {}
        for place, data in places:
            if what := self.found_in(data):
                found.setdefault(place, set()).update(what)
        return found


def files_under(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Give every file of a folder with its name and its content, and the name as content."""
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_file() and not path.is_symlink():
            yield name, name.encode() + b"\n" + path.read_bytes()


def of_process(pid: int) -> Iterator[tuple[str, bytes]]:
    """Give what /proc shows of a process, and the files that it holds open without a name."""
    folder = Path(f"/proc/{pid}")
    for part in ("environ", "cmdline"):
        yield part, (folder / part).read_bytes()
    for handle in (folder / "fd").iterdir():
        try:
            target = str(handle.readlink())
            if target.endswith(" (deleted)") and handle.is_file():
                yield f"open file {target.partition(' ')[0]}", handle.read_bytes()
        except OSError:  # closed meanwhile, or no file
            continue
