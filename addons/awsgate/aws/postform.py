"""S3's browser upload: a signed policy in a multipart/form-data body, read and made anew.

The signature covers the policy and nothing else; S3 checks the other fields against the
policy's conditions. So the signature is checked here, and the conditions go on to S3:
``rebuild`` keeps all of them but those about the signature itself.

Parsed once and strictly, since S3 reads the same bytes with another parser: no
preamble, no folded or unknown part header, names as tokens and each once, nothing after
the file, no line that starts like a boundary and is none. What has two readings is
refused.

Not here: the clock, the conditions, and the file, whose bytes are not copied before
``rebuild``.

Source: RFC 2046, section 5.1, and RFC 7578; "Browser-Based Uploads Using POST", S3 API
Reference.
"""

from __future__ import annotations

import base64
import hmac
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from awsgate.aws import sigv4

MAX_VALUE_BYTES = 64 * 1024  # S3's own limit is 20 KB for all fields but the file
MAX_HEAD_BYTES = 1024 * 1024
MAX_PARTS = 1000

V4_FIELDS = frozenset({"x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature"})
V2_FIELDS = frozenset({"awsaccesskeyid", "signature"})
AUTH_FIELDS = V4_FIELDS | V2_FIELDS | {"x-amz-security-token"}
"""The fields of a signature, without the policy that it covers. Lower-case."""


class FormError(ValueError):
    """A form that S3 may read in another way than this module, or that is not complete."""


@dataclass(frozen=True, slots=True)
class PostForm:
    """A signed form. Version 2 has no scope and no timestamp: they are empty."""

    version: int
    """2 or 4."""
    access_key_id: str
    day: str
    region: str
    service: str
    timestamp: str
    """``YYYYMMDDTHHMMSSZ``."""
    session_token: str
    signature: str
    policy: str
    """Base64, as it stands in the form."""
    fields: Mapping[str, bytes]
    """All fields but the file. Lower-case names."""
    parts: tuple[tuple[str, int, int], ...]
    """Name, start and end in ``body`` of each part: headers and value, with the last CRLF."""
    boundary: bytes
    body: bytes

    def __repr__(self) -> str:
        return f"PostForm(version={self.version}, {self.access_key_id}, redacted)"


# RFC 2045, 5.1; the values here are tokens or quoted strings without quoted pairs, of
# which parsers disagree where they end.
_PARAMETER = re.compile(
    rb";[ \t]*(?P<name>[!#$%&'*+.^_`|~0-9A-Za-z-]+)="
    rb'(?:"(?P<quoted>[^"\\\x00-\x1f\x7f]*)"|(?P<token>[!#$%&\'*+.^_`|~0-9A-Za-z-]+))[ \t]*'
)
# RFC 2046, 5.1.1: bchars; not more than 70, no space at the end.
_BOUNDARY = re.compile(rb"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")
_FIELD_NAME = re.compile(rb"[!#$&'*+.^_`|~0-9A-Za-z-]{1,128}")
_HEADER = re.compile(rb"([0-9A-Za-z-]+):([\t -~\x80-\xff]*)")
_ENCODINGS = frozenset({b"7bit", b"8bit", b"binary"})  # these leave the bytes alone
_PART_HEADERS = frozenset(
    {b"content-disposition", b"content-type", b"content-transfer-encoding", b"content-length"}
)


@dataclass(frozen=True, slots=True)
class _Part:
    name: str
    filenames: frozenset[bytes]
    """The parameters of the part that give a file's name: filename, filename*."""
    start: int
    value_start: int
    end: int
    """Where the value ends, before its CRLF."""


def _parameters(text: bytes, kind: bytes, what: str) -> dict[bytes, bytes]:
    value = text.partition(b";")[0]
    if value.strip(b" \t").lower() != kind:
        raise FormError(f"{what} is not {kind.decode()}")
    found: dict[bytes, bytes] = {}
    at = len(value)
    while at < len(text):
        match = _PARAMETER.match(text, at)
        if match is None:
            raise FormError(f"{what} is malformed")
        name = match["name"].lower()
        if name in found:
            raise FormError(f"{what} holds a parameter twice")
        found[name] = match["token"] if match["quoted"] is None else match["quoted"]
        at = match.end()
    return found


def _boundary(content_type: bytes) -> bytes:
    parameters = _parameters(content_type.strip(b" \t"), b"multipart/form-data", "content-type")
    boundary = parameters.get(b"boundary", b"")
    # boundary*=, boundary*0=: RFC 2231 gives them a meaning that few readers know.
    extended = any(name.startswith(b"boundary*") for name in parameters)
    if extended or _BOUNDARY.fullmatch(boundary) is None:
        raise FormError("content-type has no boundary as RFC 2046 defines it")
    return boundary


def _parts(body: bytes, boundary: bytes) -> list[_Part]:
    """Split the body. Every byte of it belongs to a part, a delimiter or the end."""
    dashes = b"--" + boundary
    if not body.startswith(dashes + b"\r\n"):
        raise FormError("the body does not start with its boundary")
    found: list[_Part] = []
    start = len(dashes) + 2
    while True:
        if len(found) == MAX_PARTS:
            raise FormError(f"more than {MAX_PARTS} fields")
        part = _part(body, start, dashes)
        found.append(part)
        after = part.end + 2 + len(dashes)
        following = body[after : after + 2]
        if following == b"--":
            if body[after + 2 : after + 5] in (b"", b"\r\n"):
                return found
            raise FormError("something follows the end of the form")
        if following != b"\r\n":
            raise FormError("a line starts with the boundary and is none")
        if part.name == "file":
            raise FormError("a field follows the file: S3 ignores it")
        start = after + 2
        if start > MAX_HEAD_BYTES:
            raise FormError(f"the fields before the file are over {MAX_HEAD_BYTES} bytes")


def _part(body: bytes, start: int, dashes: bytes) -> _Part:
    head_end = body.find(b"\r\n\r\n", start, start + MAX_VALUE_BYTES)
    if head_end < 0:
        raise FormError("a part has no header, or no end of its headers")
    value_start = head_end + 4
    # From the last CRLF of the headers: the value may be empty. A bare LF counts as a
    # line end for some readers, so a boundary after one is found, and refused.
    end = body.find(b"\n" + dashes, value_start - 1) - 1
    if end < value_start or not body.startswith(b"\r\n", end):
        raise FormError("the form has no end, or a boundary not on a line of its own")
    headers = _part_headers(body[start:head_end], end - value_start)
    parameters = _parameters(headers[b"content-disposition"], b"form-data", "content-disposition")
    raw = parameters.pop(b"name", b"")
    if not parameters.keys() <= {b"filename", b"filename*"}:
        raise FormError("content-disposition holds more than name and filename")
    if _FIELD_NAME.fullmatch(raw) is None:
        raise FormError("a field name is not a token of at most 128 characters")
    return _Part(raw.decode().lower(), frozenset(parameters), start, value_start, end)


def _part_headers(head: bytes, length: int) -> dict[bytes, bytes]:
    headers: dict[bytes, bytes] = {}
    for line in head.split(b"\r\n"):
        match = _HEADER.fullmatch(line)
        if match is None:
            raise FormError("a part header is malformed")
        name = match[1].lower()
        if name in headers or name not in _PART_HEADERS:
            raise FormError("a part header is there twice, or means nothing in a form")
        headers[name] = match[2].strip(b" \t")
    if b"content-disposition" not in headers:
        raise FormError("a part has no content-disposition")
    if headers.get(b"content-transfer-encoding", b"binary").lower() not in _ENCODINGS:
        raise FormError("content-transfer-encoding is not 7bit, 8bit or binary")
    if headers.get(b"content-length", b"%d" % length) != b"%d" % length:  # okhttp sends it
        raise FormError("content-length of a part is not its length")
    return headers


def _fields(body: bytes, parts: list[_Part]) -> dict[str, bytes]:
    fields: dict[str, bytes] = {}
    for part in parts[:-1]:
        if part.name in fields:
            raise FormError("a field is there more than once")
        if part.filenames:
            raise FormError("a field other than the file has a filename")
        if part.end - part.value_start > MAX_VALUE_BYTES:
            raise FormError(f"a field is over {MAX_VALUE_BYTES} bytes")
        fields[part.name] = body[part.value_start : part.end]
    if parts[-1].name != "file":
        raise FormError("the form has no file field")
    # S3 puts the file's name there; with filename* it has two.
    extended = b"filename*" in parts[-1].filenames
    if extended and any(b"${filename}" in value for value in fields.values()):
        raise FormError("${filename} is used and the file's name is given as filename*")
    return fields


_KEY_ID = re.compile(r"[A-Za-z0-9]{4,128}")
_TEXT = re.compile(rb"[!-+\--~]+")  # visible ASCII without the comma
_POLICY = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
_V2_SIGNATURE = re.compile(r"[A-Za-z0-9+/]{27}=")


def parse(body: bytes, content_type: bytes) -> PostForm | None:
    """Parse a form upload. None: no field of a signature, so an anonymous upload.

    Raises ``FormError`` naming what is wrong, never a value: a form that has two
    readings, or whose signature is incomplete, malformed or of both versions.
    """
    boundary = _boundary(content_type)
    parts = _parts(body, boundary)
    fields = _fields(body, parts)
    present = fields.keys() & (AUTH_FIELDS | {"policy"})
    if not present:
        return None
    v2, v4 = present & V2_FIELDS, present & V4_FIELDS
    if v2 and v4:
        raise FormError("the form holds fields of both signature versions")
    for name in sorted((V2_FIELDS if v2 else V4_FIELDS) | {"policy"}):
        if name not in fields:
            raise FormError(f"field {name} is missing")
    policy = _text(fields, "policy")
    if _POLICY.fullmatch(policy) is None:
        raise FormError("field policy is not base64 in one line")
    token = _text(fields, "x-amz-security-token") if "x-amz-security-token" in fields else ""
    auth = _v2(fields) if v2 else _v4(fields)
    return PostForm(
        version=2 if v2 else 4,
        access_key_id=auth.access_key_id,
        day=auth.day,
        region=auth.region,
        service=auth.service,
        timestamp="" if v2 else _text(fields, "x-amz-date"),
        session_token=token,
        signature=auth.signature,
        policy=policy,
        fields=fields,
        parts=tuple((part.name, part.start, part.end + 2) for part in parts),
        boundary=boundary,
        body=body,
    )


def _text(fields: Mapping[str, bytes], name: str) -> str:
    if _TEXT.fullmatch(fields[name]) is None:
        raise FormError(f"field {name} is empty or holds a character it may not hold")
    return fields[name].decode("ascii")


def _v4(fields: Mapping[str, bytes]) -> sigv4.Authorization:
    timestamp = _text(fields, "x-amz-date")
    try:
        # One grammar for all places. No value holds a comma or a space, see _TEXT.
        auth = sigv4.parse_authorization(
            f"{_text(fields, 'x-amz-algorithm')} Credential={_text(fields, 'x-amz-credential')},"
            f"SignedHeaders=host,Signature={_text(fields, 'x-amz-signature')}".encode()
        )
        sigv4.parse_amz_date(timestamp.encode())
    except sigv4.SignatureSyntaxError as exc:
        raise FormError(str(exc)) from None
    if timestamp[:8] != auth.day:
        raise FormError("date of the credential scope differs from x-amz-date")
    return auth


def _v2(fields: Mapping[str, bytes]) -> sigv4.Authorization:
    key_id, digest = _text(fields, "awsaccesskeyid"), _text(fields, "signature")
    if not (_KEY_ID.fullmatch(key_id) and _V2_SIGNATURE.fullmatch(digest)):
        raise FormError("awsaccesskeyid is no key id, or signature not the base64 of 20 bytes")
    return sigv4.Authorization(key_id, "", "", "", (), digest)


def matches(form: PostForm, *, secret: str) -> bool:
    """True if the policy of ``form`` was signed by ``secret``. Compared in constant time."""
    if form.version == 2:
        digest = hmac.digest(secret.encode(), form.policy.encode(), "sha1")
        return hmac.compare_digest(base64.b64encode(digest).decode(), form.signature)
    key = sigv4.signing_key(secret, form.day, form.region, form.service)
    return hmac.compare_digest(sigv4.signature(key, form.policy.encode()), form.signature)


_EXPIRATION = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?Z")


def _policy(form: PostForm) -> dict[str, object]:
    try:
        # int refuses NaN, Infinity and fractions: they would come out otherwise than in.
        document = json.loads(
            base64.b64decode(form.policy, validate=True),
            object_pairs_hook=_object,
            parse_constant=int,
            parse_float=int,
        )
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise FormError("the policy is not a JSON object of plain values, or holds a key twice")
    return document


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    # Without regard to case: whether S3 heeds it is not written down.
    if len({name.lower() for name, _ in pairs}) != len(pairs):
        raise ValueError("duplicate key")
    return dict(pairs)


def expires_at(form: PostForm) -> datetime:
    """Give the policy's expiration (UTC).

    Raises ``FormError`` if the policy is not a JSON object or has none.
    """
    value = _policy(form).get("expiration")
    if isinstance(value, str) and _EXPIRATION.fullmatch(value):
        with suppress(ValueError):  # 31 November
            return datetime.fromisoformat(value).astimezone(UTC)
    raise FormError("the policy has no expiration like 2026-11-23T10:15:30Z")


def _about_signature(condition: object) -> bool:
    """True for a condition about a field of the signature, which ``rebuild`` replaces."""
    if isinstance(condition, dict) and len(condition) == 1:
        (name,) = condition
        return str(name).lower() in AUTH_FIELDS
    if isinstance(condition, list) and len(condition) == 3:
        return str(condition[1]).removeprefix("$").lower() in AUTH_FIELDS
    raise FormError('a condition of the policy is not {"field": value} or a list of three')


def rebuild(
    form: PostForm,
    *,
    keys: sigv4.SigningKeys,
    region: str,
    service: str = "s3",
    now: datetime,
) -> bytes:
    """Give the body anew, signed with SigV4 by ``keys``.

    The boundary, the other fields in their order and the file stay byte for byte; the
    fields of the signature and the policy go, and new ones stand before the file. In
    the policy the conditions about fields of the signature are replaced, all others and
    the expiration stay. A session token is a field and a condition if ``keys`` has one.

    Raises ``FormError`` if the policy cannot be read.
    """
    policy = _policy(form)
    conditions = policy.get("conditions")
    if not isinstance(conditions, list):
        raise FormError("the policy has no list of conditions")
    timestamp, day = sigv4.amz_date(now), sigv4.amz_date(now)[:8]
    added = {
        "x-amz-algorithm": sigv4.ALGORITHM,
        "x-amz-credential": f"{keys.access_key_id}/{day}/{region}/{service}/{sigv4.TERMINATOR}",
        "x-amz-date": timestamp,
    }
    if keys.session_token:
        added["x-amz-security-token"] = keys.session_token
    kept = [condition for condition in conditions if not _about_signature(condition)]
    policy["conditions"] = kept + [{name: value} for name, value in added.items()]
    encoded = base64.b64encode(json.dumps(policy).encode())
    key = sigv4.signing_key(keys.secret_access_key, day, region, service)
    added["policy"] = encoded.decode()
    added["x-amz-signature"] = sigv4.signature(key, encoded)
    return _joined(form, added)


def _joined(form: PostForm, added: Mapping[str, str]) -> bytes:
    """Put the form together again, with ``added`` for the policy and the signature."""
    dashes = b"--" + form.boundary
    body = memoryview(form.body)
    pieces: list[bytes | memoryview] = []
    for name, start, end in form.parts:
        if name in AUTH_FIELDS or name == "policy":
            continue
        if name == "file":
            pieces += [
                dashes + f'\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n{v}\r\n'.encode()
                for n, v in added.items()
            ]
        pieces += [dashes, b"\r\n", body[start:end]]
    return b"".join([*pieces, dashes, b"--\r\n"])
