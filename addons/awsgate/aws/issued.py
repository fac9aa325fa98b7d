"""Credentials in AWS's answers: find them, and put others in their place.

Some calls hand out AWS credentials. Through the gateway the caller gets surrogates,
so here the answer is read and exactly four values in it are replaced: key id, secret,
token and end. Every other byte stays.

Two forms occur, told apart by the first byte:

    <AssumeRoleResponse ...><AssumeRoleResult><Credentials><AccessKeyId>...
    {"roleCredentials": {"accessKeyId": ..., "expiration": 1795428930000}}

The four values stand side by side wherever the answer keeps them, once. Whatever looks
like credentials and is not that is an ``AnswerError``, so that it goes to nobody: an
answer in CBOR, long-term keys, two sets, names in another case, markup that AWS does
not write. After replacing, the new answer is read again and searched for the real
values in every escaping that occurs.

Pure. The caller undoes Content-Encoding first, and mends Content-Length afterwards.

Source: the API References of these services; botocore's models for the list.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NoReturn
from urllib.parse import unquote
from xml.parsers import expat
from xml.sax.saxutils import escape

_ISSUING = {
    "account-access-runtime": "GetRoleCredentials",
    "cognito-identity": "GetCredentialsForIdentity",
    "datazone": "GetConnection GetEnvironmentCredentials",
    "deadline": "AssumeFleetRoleForRead AssumeFleetRoleForWorker AssumeQueueRoleForRead "
    "AssumeQueueRoleForUser AssumeQueueRoleForWorker",
    "eks-auth": "AssumeRoleForPodIdentity",
    "lakeformation": "AssumeDecoratedRoleWithSAML GetTemporaryDataLocationCredentials "
    "GetTemporaryGlueFunctionCredentials GetTemporaryGluePartitionCredentials "
    "GetTemporaryGlueTableCredentials",
    "s3": "CreateSession",
    "s3control": "GetDataAccess",
    "ssm": "GetAccessToken",
    "sso": "GetRoleCredentials",
    "sts": "AssumeRole AssumeRoleWithSAML AssumeRoleWithWebIdentity AssumeRoot "
    "GetDelegatedAccessToken GetFederationToken GetScopedCredentials GetSessionToken",
}
ISSUING_OPERATIONS = frozenset(
    (service, name) for service, names in _ISSUING.items() for name in names.split()
)
"""Service (botocore's name) and operation of every answer that is rewritten here."""

UNREPLACED_OPERATIONS = frozenset(
    {
        ("cloudwatchomni", "GetSpaceCredentialsForOrganization"),  # CBOR
        ("cloudwatchomni", "GetSpaceDataAccess"),  # CBOR
        ("codepipeline", "GetJobDetails"),  # CBOR too, and no end
        ("codepipeline", "GetThirdPartyJobDetails"),  # the same
        ("codepipeline", "PollForJobs"),  # the same, and several sets
        ("gamelift", "CreateBuild"),  # CBOR too, and no end
        ("gamelift", "GetComputeAccess"),  # the same
        ("gamelift", "RequestUploadCredentials"),  # the same
        ("iam", "CreateAccessKey"),  # long-term keys
        ("lightsail", "CreateBucketAccessKey"),  # long-term keys
        ("lightsail", "GetBucketAccessKeys"),  # long-term keys, several sets
        ("signin", "CreateOAuth2Token"),  # a refresh token beside, and the end elsewhere
    }
)
"""The others that hand out credentials: their answers are an ``AnswerError``."""

# The names of the four values, in XML and JSON alike; in lower case, to find twins.
_KEY, _SECRET, _TOKEN, _END = range(4)
_NAMES: Sequence[frozenset[str]] = (
    frozenset({"AccessKeyId", "accessKeyId"}),
    frozenset({"SecretAccessKey", "secretAccessKey", "SecretKey"}),
    frozenset({"SessionToken", "sessionToken"}),
    frozenset({"Expiration", "expiration", "ExpirationTime", "expiresAt"}),
)
_FOLDED = tuple(frozenset(name.lower() for name in names) for names in _NAMES)
_MARKER = re.compile("[Ss]ecret_?(?:[Aa]ccess_?)?[Kk]ey")  # not a made-up ABCSECRETKEY

# All four go into headers or signatures; nothing AWS issues holds a space.
_VALUE = re.compile(r"[!-~]+")
_LAST_EPOCH_S = 253_402_214_400  # 9999-12-31, so that every zone has a year for it
_MILLISECONDS_FROM = 100_000_000_000  # as seconds it would be the year 5138
_NUMBER = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,15})?(?:[Ee]\+?[0-9]{1,2})?")


class AnswerError(ValueError):
    """Credentials seem to be there and cannot be read, or replaced, for certain."""


@dataclass(frozen=True, slots=True)
class Issued:
    """The real credentials in an answer of AWS."""

    access_key_id: str
    secret_access_key: str
    session_token: str
    expires_at: int
    """Epoch seconds, rounded down."""
    assumed_role_arn: str
    """``arn:aws:sts::123456789012:assumed-role/name/session``; empty if there is none."""

    def __repr__(self) -> str:
        return f"Issued({self.access_key_id}, {self.assumed_role_arn}, redacted)"


@dataclass(frozen=True, slots=True)
class _Leaf:
    """A value of the answer: where it is, and what it says once unescaped."""

    path: tuple[str, ...]
    start: int
    """In bytes of the answer, as ``end``."""
    end: int
    text: str
    kind: str
    """``xml``, ``string`` (JSON, with its quotes), ``number``, or ``other``."""

    def __repr__(self) -> str:
        return f"_Leaf({'/'.join(self.path)}, redacted)"


@dataclass(frozen=True, slots=True)
class _Found:
    leaves: tuple[_Leaf, _Leaf, _Leaf, _Leaf]
    issued: Issued


def find_issued(body: bytes) -> Issued | None:
    """Read the credentials that an answer hands out; None if there are none.

    Raises ``AnswerError`` for what looks like credentials and cannot be read for
    certain. Its text names no value.
    """
    found = _find(body)
    return None if found is None else found.issued


def replace_issued(
    body: bytes,
    issued: Issued,
    *,
    access_key_id: str,
    secret_access_key: str,
    session_token: str,
    expires_at: int,
) -> bytes:
    """Give ``body`` with these four values instead of those of ``issued``.

    ``issued`` is what ``find_issued`` gave for this body. The end keeps its form (ISO
    8601 or epoch, seconds or milliseconds). Raises ``AnswerError`` if ``issued`` is not
    in the body, or if any real value would still be there afterwards.
    """
    found = _find(body)
    if found is None or found.issued != issued:
        raise AnswerError("the answer does not hold these credentials")
    values = (access_key_id, secret_access_key, session_token)
    if not all(_VALUE.fullmatch(value) for value in values):
        raise AnswerError("a new value is empty or holds more than visible ASCII")
    new = (*values, _end_like(found.leaves[_END], expires_at))
    edits = [(leaf, _written(leaf, value)) for leaf, value in zip(found.leaves, new, strict=True)]
    replaced = body
    for leaf, text in sorted(edits, key=lambda edit: edit[0].start, reverse=True):
        replaced = replaced[: leaf.start] + text.encode() + replaced[leaf.end :]
    wanted = Issued(*values, expires_at, issued.assumed_role_arn)
    if find_issued(replaced) != wanted:
        raise AnswerError("the answer does not hold the new credentials as it should")
    _check_gone(replaced.decode(), issued)
    return replaced


# --- finding ---------------------------------------------------------------------


def _find(body: bytes) -> _Found | None:
    marked = _markers(body.replace(b"\x00", b"").decode("latin-1"))  # UTF-16 shows, too
    if not marked:
        return None
    try:
        first = body.decode("utf-8").lstrip(" \t\r\n")[:1]
    except UnicodeDecodeError:
        raise AnswerError("an answer with credentials is not UTF-8") from None
    if first == "<":
        leaves, expected = _xml_leaves(body), 2
    elif first == "{":
        leaves, expected = _json_leaves(body), 1
    else:
        raise AnswerError("an answer with credentials is neither XML nor JSON")
    secrets = [leaf for leaf in leaves if leaf.path and leaf.path[-1] in _NAMES[_SECRET]]
    # Each mention of a secret is the one element or key: none in another case, none in
    # a text that somebody may read as an answer of its own.
    if len(secrets) != 1 or marked != expected:
        raise AnswerError("an answer speaks of secret keys in more than the one expected place")
    container = secrets[0].path[:-1]
    four = _four([leaf for leaf in leaves if leaf.path[:-1] == container])
    return _Found(four, _issued(four, _assumed_role_arn(leaves, container)))


def _markers(text: str) -> int:
    return sum(1 for _ in _MARKER.finditer(_json_unescaped(text)))


def _four(siblings: Iterable[_Leaf]) -> tuple[_Leaf, _Leaf, _Leaf, _Leaf]:
    chosen: list[list[_Leaf]] = [[], [], [], []]
    for leaf in siblings:
        for place, folded in zip(chosen, _FOLDED, strict=True):
            if leaf.path[-1].lower() in folded:
                place.append(leaf)
    for place, names in zip(chosen, _NAMES, strict=True):
        if len(place) != 1 or place[0].path[-1] not in names:
            raise AnswerError(f"an answer with a secret key has not one {min(names)} beside it")
    key, secret, token, end = (place[0] for place in chosen)
    return key, secret, token, end


def _issued(four: tuple[_Leaf, _Leaf, _Leaf, _Leaf], arn: str) -> Issued:
    for leaf in four[:_END]:
        if leaf.kind not in ("xml", "string") or _VALUE.fullmatch(leaf.text) is None:
            raise AnswerError(f"{leaf.path[-1]} of an answer is no visible ASCII text")
    key, secret, token, end = four
    return Issued(key.text, secret.text, token.text, _end_of(end), arn)


def _assumed_role_arn(leaves: Iterable[_Leaf], container: tuple[str, ...]) -> str:
    path = (*container[:-1], "AssumedRoleUser", "Arn")
    arns = [leaf.text for leaf in leaves if leaf.path == path]
    if len(arns) > 1:
        raise AnswerError("an answer names more than one assumed role")
    return arns[0] if arns else ""


# --- the end ---------------------------------------------------------------------

_ISO = re.compile(
    r"(?P<at>[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})"
    r"(?P<fraction>\.[0-9]{1,9})?(?P<zone>Z|[+-][0-9]{2}:?[0-9]{2})"
)


def _end_of(leaf: _Leaf) -> int:
    """Give the end in epoch seconds."""
    if leaf.kind == "number":
        seconds = int(_number(leaf) / _scale(leaf))
    else:
        seconds = int(_iso(leaf)[0].timestamp())
    if not 0 < seconds <= _LAST_EPOCH_S:
        raise _no_time(leaf)
    return seconds


def _iso(leaf: _Leaf) -> tuple[datetime, str, str]:
    """Give an ISO 8601 time as the whole second, its fraction, and its zone as written."""
    match = _ISO.fullmatch(leaf.text)
    if match is None:
        raise _no_time(leaf)
    try:
        when = datetime.fromisoformat(match["at"] + match["zone"])
    except ValueError:
        raise _no_time(leaf) from None
    return when, match["fraction"] or "", match["zone"]


def _no_time(leaf: _Leaf) -> AnswerError:
    return AnswerError(f"{leaf.path[-1]} of an answer is no time in a known form")


def _end_like(leaf: _Leaf, expires_at: int) -> str:
    """Give ``expires_at`` in the form in which the end stands in ``leaf``."""
    if not 0 < expires_at <= _LAST_EPOCH_S:
        raise AnswerError(f"the new end is {expires_at}, expected epoch seconds")
    if leaf.kind == "number":
        return _number_like(leaf, expires_at)
    at, fraction, zone = _iso(leaf)
    when = f"{datetime.fromtimestamp(expires_at, at.tzinfo):%Y-%m-%dT%H:%M:%S}"
    return when + re.sub("[0-9]", "0", fraction) + zone


def _number(leaf: _Leaf) -> Decimal:
    return Decimal(leaf.text) if _NUMBER.fullmatch(leaf.text) else Decimal(-1)


def _scale(leaf: _Leaf) -> int:
    return 1000 if _number(leaf) >= _MILLISECONDS_FROM else 1


def _number_like(leaf: _Leaf, expires_at: int) -> str:
    new = expires_at * _scale(leaf)
    mantissa, letter, _ = leaf.text.partition("E" if "E" in leaf.text else "e")
    if letter:
        # As Java writes doubles: one digit before the point, at least one behind it.
        digits = str(new)
        return f"{digits[0]}.{digits[1:].rstrip('0') or '0'}{letter}{len(digits) - 1}"
    _, point, fraction = mantissa.partition(".")
    return f"{new}{point}{'0' * len(fraction)}"


# --- XML and JSON: where the values stand ------------------------------------------


def _xml_leaves(body: bytes) -> list[_Leaf]:
    leaves: list[_Leaf] = []
    path: list[str] = []
    chunks: list[tuple[int, str]] = []  # of the text since the last opening tag
    parser = expat.ParserCreate("utf-8")

    def opened(name: str, _attributes: dict[str, str]) -> None:
        path.append(name)
        chunks.clear()
        chunks.append((-1, ""))

    def text(data: str) -> None:
        if chunks:
            chunks.append((parser.CurrentByteIndex, data))

    def closed(_name: str) -> None:
        if chunks:  # no child was in it
            end = parser.CurrentByteIndex
            start, kind = (chunks[1][0], "xml") if len(chunks) > 1 else (end, "other")
            leaves.append(_Leaf(tuple(path), start, end, "".join(c for _, c in chunks), kind))
        chunks.clear()
        path.pop()

    def refused(*_: object) -> NoReturn:
        raise AnswerError("an answer with credentials is not XML as AWS writes it")

    parser.StartElementHandler, parser.EndElementHandler = opened, closed
    parser.CharacterDataHandler = text
    # AWS writes none of these, and each could hold or hide a value.
    parser.StartDoctypeDeclHandler = parser.StartCdataSectionHandler = refused
    parser.CommentHandler = parser.ProcessingInstructionHandler = refused
    try:
        parser.Parse(body, True)
    except expat.ExpatError:
        refused()
    return leaves


_JSON_WORD = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\]:,]|[^{}\[\]:,"\s]+')


def _json_leaves(body: bytes) -> list[_Leaf]:
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        raise AnswerError("an answer with credentials is not JSON") from None
    # It is JSON, so brackets match and words alternate; only places are looked for.
    leaves: list[_Leaf] = []
    path: list[str] = []
    for match in _JSON_WORD.finditer(body):
        word = match[0]
        if word == b":":
            path[-1] = leaves.pop().text  # the string before it was a key
        elif word in b"{[":
            path.append("")
        elif word in b"}]":
            path.pop()
        elif word != b",":
            number = word[0] in b"-0123456789"
            kind = "string" if word[0] in b'"' else "number" if number else "other"
            text = json.loads(word) if kind == "string" else word.decode()
            leaves.append(_Leaf(tuple(path), match.start(), match.end(), text, kind))
    return leaves


# --- writing, and looking back -----------------------------------------------------


def _written(leaf: _Leaf, value: str) -> str:
    if leaf.kind == "xml":
        return escape(value)
    return json.dumps(value) if leaf.kind == "string" else value


_JSON_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|([\"\\/]))")


def _json_unescaped(text: str) -> str:
    return _JSON_ESCAPE.sub(lambda m: chr(int(m[1], 16)) if m[1] else m[2], text)


def _check_gone(text: str, issued: Issued) -> None:
    """Raise ``AnswerError`` if a real value is still there in any escaping."""
    forms = {text}
    for _ in range(2):  # one escaping within another, in either order
        for decode in (html.unescape, _json_unescaped, unquote):
            forms |= {decode(form) for form in forms}
    # A key id is no secret, and may be a part of an ARN or of another id.
    key = re.compile(rf"(?<![A-Za-z0-9_:/-]){re.escape(issued.access_key_id)}(?![A-Za-z0-9_:/-])")
    for form in forms:
        if issued.secret_access_key in form or issued.session_token in form or key.search(form):
            raise AnswerError("a real credential would still be in the answer")
