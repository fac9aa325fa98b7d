"""One line of the audit log: its fields, its bytes, and how it is chained.

    {"time":...,"id":...,<the fields of AuditRecord>,"prev":P,"hash":H}

P is the ``hash`` of the line before, or 64 zeros on the first line of a file. H is
the SHA-256, in hex, of P followed by the line's canonical JSON without ``hash``: the
very bytes of the line, with ``,"hash":"H"}`` at its end replaced by ``}``. All is
ASCII; no value can bring in a line break.

Two events are the log's own, with what they say in ``reason``:

    audit.continued  a file begun after another: the last hash of that one
    audit.recovered  what the line or lines before it, cut short by a crash, hash to

Pure. Files are in ``auditfile``, writing in ``audit``, checking in ``auditchain``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, NamedTuple

GENESIS = "0" * 64
CONTINUED = "audit.continued"
RECOVERED = "audit.recovered"
MAX_RESOURCE_CHARS = 4096

_END = re.compile(rb',"prev":"([0-9a-f]{64})","hash":"([0-9a-f]{64})"\}\n')
_END_CHARS = len(',"prev":"","hash":""}\n') + 2 * 64
_MORE = "..."
_HASH_CHARS = len(',"hash":""}\n') + 64


@dataclass(slots=True, kw_only=True)
class AuditRecord:
    """One audit line. What is not known, or does not apply, stays empty.

    Never a secret, a signature, or the query of a URL.
    """

    time: str = ""
    """UTC, ISO 8601 with milliseconds and ``Z``."""
    id: str = ""
    event: str = ""
    user: str = ""
    session: str = ""
    client: str = ""
    app: str = ""
    role_arn: str = ""
    account: str = ""
    service: str = ""
    region: str = ""
    host: str = ""
    action: str = ""
    resource: str = ""
    access_level: str = ""
    method: str = ""
    path: str = ""
    decision: str = ""
    rule: str = ""
    code: str = ""
    reason: str = ""
    status: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    ms: float = 0.0
    overhead_ms: float = 0.0
    aws_request_id: str = ""
    access_key_id: str = ""
    """The assumed role's key id, as CloudTrail shows it."""
    session_name: str = ""
    source_identity: str = ""
    granted_role_arn: str = ""
    """The role that the policy gives; the client may have assumed ``role_arn`` from it."""
    approval: str = ""
    """Id of the access request by which a call that needs an approval was let through."""


class Link(NamedTuple):
    """What chains a line to the one before, as the line itself says."""

    prev: str
    hash: str


_NAMES = tuple(field.name for field in fields(AuditRecord))
_values = attrgetter(*_NAMES)
# ensure_ascii: line separators of Unicode, and lone surrogates, are escaped too.
_encode = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"), check_circular=False).encode


def written(record: AuditRecord, prev: str) -> tuple[bytes, str]:
    """Give the line of a record, with its newline, and its hash."""
    values = dict(zip(_NAMES, _values(record), strict=True))
    values["prev"] = prev
    body = _encode(values).encode("ascii")
    hashed = _chained(prev, body)
    return b'%b,"hash":"%b"}\n' % (body[:-1], hashed.encode("ascii")), hashed


def link_of(line: bytes, end: int | None = None) -> Link | None:
    """Give the link of the line that ends at ``end`` with its newline; None: it is not whole."""
    end = len(line) if end is None else end
    matched = _END.fullmatch(line, max(0, end - _END_CHARS), end)
    return Link(matched[1].decode(), matched[2].decode()) if matched else None


def link_fault(line: bytes, link: Link, prev: str) -> str:
    """Say why a whole line does not follow the one whose hash is ``prev``; empty: it does."""
    body = line[:-_HASH_CHARS] + b"}"
    if _chained(link.prev, body) != link.hash:
        return "its content does not match its hash"
    if link.prev != prev:
        return "its prev is not the hash of the line before: lines are missing or moved"
    return ""


def parsed(line: bytes) -> dict[str, Any] | None:
    """Give the fields of a line; None: it is no JSON object."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def note_of(line: bytes, event: str) -> str:
    """Give what the log itself says with ``event``; empty: the line is no such note."""
    if event.encode("ascii") not in line:
        return ""
    record = parsed(line) or {}
    reason = record.get("reason")
    return reason if record.get("event") == event and isinstance(reason, str) else ""


def resource_text(arns: Iterable[str]) -> str:
    """Give the text for ``resource``: ARNs with a space between, so with none in them.

    What would be too long ends in ``...``: whole ARNs, and not all of them.
    """
    found: list[str] = []
    room = MAX_RESOURCE_CHARS - len(_MORE)
    for arn in arns:
        text = arn.replace("%", "%25").replace(" ", "%20")
        room -= len(text) + 1
        if room < 0:
            return " ".join([*found, _MORE])
        found.append(text)
    return " ".join(found)


def resource_list(text: str) -> tuple[tuple[str, ...], bool]:
    """Give the ARNs that ``resource_text`` wrote, and whether they are all of them."""
    found = tuple(each.replace("%20", " ").replace("%25", "%") for each in text.split(" ") if each)
    return tuple(each for each in found if each != _MORE), _MORE not in found


def digest(torn: bytes) -> str:
    """Give what ``audit.recovered`` says of lines that were cut short."""
    return "sha256:" + hashlib.sha256(torn.rstrip(b"\n")).hexdigest()


def _chained(prev: str, body: bytes) -> str:
    return hashlib.sha256(prev.encode("ascii") + body).hexdigest()
