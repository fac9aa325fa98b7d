"""The call in an STS request of the query protocol: read it, and set fields of it.

A client that assumes a role through the gateway may not outlive its own session, and
goes by its own name in CloudTrail. So DurationSeconds and RoleSessionName are set in
the form (the body, or the query of a GET) before it is signed again. Every other byte
stays as the client sent it.

What has two readings is not read at all: AWS decides which of two fields counts, and
the gateway may not guess.

Pure: bytes in, bytes out. Not here: whether the call may be made, and the content
type, which the caller checks to be a form.

Source: "Common parameters" and AssumeRole, AWS STS API Reference; role chaining
"limits your role session to a maximum of one hour", IAM User Guide.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote_plus, unquote_to_bytes

MIN_DURATION_S = 900
"""STS issues nothing shorter."""

CHAINED_MAX_S = 3600
"""STS lets a role's session assume another role for no longer than this."""

MAX_FIELDS = 2000

_ACTION = "Action"
_DURATION = "DurationSeconds"
_SESSION_NAME = "RoleSessionName"
_READ = (_ACTION, _DURATION, _SESSION_NAME, "RoleArn", "SourceIdentity")
_BY_FOLDED = {name.lower(): name for name in _READ}

# Signature Version 2, lower-case. Without the first two there is none.
_V2_FIELDS = frozenset({"awsaccesskeyid", "signature"})

# Visible ASCII, and `%` only as the start of an escape. A `;` separates fields for
# some parsers, so it has two readings.
_FORM = re.compile(rb"(?:[!-$&-:<-~]|%[0-9A-Fa-f]{2})*")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,256}")
_ACTION_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]{0,127}")
_SECONDS = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class StsCall:
    """What an STS request asks for, as far as the gateway needs to know."""

    action: str
    duration_s: int | None
    """DurationSeconds; None: not there, AWS's default applies."""
    role_session_name: str
    role_arn: str
    source_identity: str


@dataclass(frozen=True, slots=True)
class _Field:
    """A field of a form: its decoded name and value, and where the value stands."""

    name: str
    value: str
    start: int
    end: int
    bare: bool
    """No ``=`` was there."""


def read_call(query: bytes, body: bytes) -> StsCall | None:
    """Read the call from the query string and the form body; one of them is mostly empty.

    None, to be refused by the caller: no single Action (none, two, or one in each
    place), a name twice in any spelling or letter case, a field that this module reads
    apart from the Action or in another letter case, and whatever is no plain form.
    """
    places = _read(query, body)
    if places is None:
        return None
    fields = {field.name: field.value for place in places for field in place}
    action, duration = fields[_ACTION], fields.get(_DURATION)
    if _ACTION_NAME.fullmatch(action) is None:
        return None
    if duration is not None and _SECONDS.fullmatch(duration) is None:
        return None
    return StsCall(
        action=action,
        duration_s=None if duration is None else int(duration),
        role_session_name=fields.get(_SESSION_NAME, ""),
        role_arn=fields.get("RoleArn", ""),
        source_identity=fields.get("SourceIdentity", ""),
    )


def carries_auth(query: bytes, body: bytes) -> bool:
    """True if a field is of a signature, or stands for a header, or if none can be read."""
    places = _read(query, body)
    if places is None:
        return True
    names = {field.name.lower() for place in places for field in place}
    return not names.isdisjoint(_V2_FIELDS) or any(name.startswith("x-amz-") for name in names)


def edit_call(
    query: bytes, body: bytes, *, duration_s: int | None, role_session_name: str | None
) -> tuple[bytes, bytes]:
    """Give query and body with these fields set, or added where the Action stands.

    None leaves a field as it is, and so does the value that it has already. Raises
    ``ValueError`` if ``read_call`` cannot read the request, or nothing AWS takes is to
    be set.
    """
    places = _read(query, body)
    if places is None or read_call(query, body) is None:
        raise ValueError("the request is no STS call that can be read")
    wanted: dict[str, str] = {}
    if duration_s is not None:
        if duration_s <= 0:
            raise ValueError(f"duration is {duration_s} seconds, expected more than 0")
        wanted[_DURATION] = str(duration_s)
    if role_session_name is not None:
        if not role_session_name:
            raise ValueError("role session name is empty")
        wanted[_SESSION_NAME] = role_session_name
    in_query = any(field.name == _ACTION for field in places[0])
    if in_query:
        return _set(query, places[0], wanted), body
    return query, _set(body, places[1], wanted)


def capped_duration(
    asked: int | None,
    *,
    remaining_s: int,
    default_s: int = 3600,
    maximum_s: int = CHAINED_MAX_S,
) -> int | None:
    """Give the DurationSeconds that ends no later than the caller's own session.

    ``asked`` is what the client wants (None: nothing, so AWS would give ``default_s``).
    None if fewer than ``MIN_DURATION_S`` remain. An ``asked`` below that minimum stays:
    AWS itself says what is wrong with it.
    """
    if remaining_s < MIN_DURATION_S:
        return None
    return min(default_s if asked is None else asked, remaining_s, maximum_s)


def _read(query: bytes, body: bytes) -> tuple[list[_Field], list[_Field]] | None:
    """Give the fields of both places; None if anything has two readings."""
    first, second = _fields(query), _fields(body)
    if first is None or second is None:
        return None
    both = [*first, *second]
    folded = [field.name.lower() for field in both]
    if len(set(folded)) != len(folded) or _ACTION.lower() not in folded:
        return None
    if any(_BY_FOLDED.get(field.name.lower(), field.name) != field.name for field in both):
        return None
    # Whether AWS looks for the others beside an Action in the other place is AWS's
    # affair; no client needs it.
    other = second if any(field.name == _ACTION for field in first) else first
    if any(field.name in _READ for field in other):
        return None
    return first, second


def _fields(form: bytes) -> list[_Field] | None:
    if _FORM.fullmatch(form) is None:
        return None
    if form.count(b"&") >= MAX_FIELDS:
        return None
    fields = []
    start = 0
    for item in form.split(b"&"):
        end = start + len(item)
        if item:
            field = _field(item, start)
            if field is None:
                return None
            fields.append(field)
        start = end + 1
    return fields


def _field(item: bytes, start: int) -> _Field | None:
    raw_name, equals, raw_value = item.partition(b"=")
    try:
        name, value = _decoded(raw_name), _decoded(raw_value)
    except UnicodeDecodeError:
        return None
    if _NAME.fullmatch(name) is None:
        return None
    end = start + len(item)
    return _Field(name, value, end - len(raw_value), end, bare=not equals)


def _decoded(part: bytes) -> str:
    return unquote_to_bytes(part.replace(b"+", b" ")).decode("utf-8")


def _set(form: bytes, fields: list[_Field], wanted: dict[str, str]) -> bytes:
    found = {field.name: field for field in fields}
    added = b""
    edits: list[tuple[int, int, bytes]] = []
    for name, value in wanted.items():
        encoded = quote_plus(value).encode()
        field = found.get(name)
        if field is None:
            added += f"&{name}=".encode() + encoded
        elif field.value != value:
            edits.append((field.start, field.end, b"=" * field.bare + encoded))
    for start, end, text in sorted(edits, reverse=True):
        form = form[:start] + text + form[end:]
    if form.endswith(b"&"):
        added = added[1:]
    return form + added
