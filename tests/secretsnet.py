"""A net under all tests: no secret that one of them used is in a log or an audit that it left.

What makes keys for tests remembers them here (``rawclient``, the strict AWS), and at the end
of a session ``conftest`` looks through what gateways have written in its temporary folders.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

LEFT_BY_GATEWAYS = re.compile(r"(local-)?gateway\.log|audit\.jsonl.*|audit-.*\.jsonl|chatter\.log")
PIECE = 16
"""So many characters of a secret, up to its end, are enough to be sure."""

_known: dict[bytes, str] = {}
_TOKEN = re.compile(rb"[A-Za-z0-9+/_=.%%~-]{%d,}" % PIECE)


def remember(*secrets: str) -> None:
    """Look for these at the end."""
    for secret in secrets:
        for form in (secret, quote(secret), quote(secret, safe="")):
            if len(form) >= PIECE:
                _known[form[-PIECE:].encode()] = secret


def leaks_in(data: bytes) -> set[str]:
    """Give the remembered secrets whose end is in there."""
    found = set()
    for token in _TOKEN.findall(data):
        for start in range(len(token) - PIECE + 1):
            secret = _known.get(token[start : start + PIECE])
            if secret is not None:
                found.add(secret)
    return found


def leaks_under(folder: Path) -> Iterator[str]:
    """Give each file of a gateway's that has a secret in it, with the secret's first letters."""
    for path in sorted(folder.rglob("session.key*")):
        if path.is_file() and not path.is_symlink() and path.stat().st_size < 100:
            remember(path.read_bytes().decode("ascii", "replace").strip())
    for path in sorted(folder.rglob("*")):
        if LEFT_BY_GATEWAYS.fullmatch(path.name) and path.is_file() and not path.is_symlink():
            for secret in leaks_in(path.read_bytes()):
                yield f"{path.relative_to(folder)}: {secret[:6]}..."
