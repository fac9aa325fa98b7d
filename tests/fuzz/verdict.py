"""Whether what arrived is what the client was authorised for: the rules of this suite.

1  every byte that arrived has one strict reading
2  every request is signed by the role, for its Host and all of its x-amz-*
3  it is one that the client signed: method, path, query, host, signed headers, body
4  it is a request of the client's stream, in its order, under one reading of the whole
5  no key or token of the client's is in it
6  an answer goes to the client whose request it answers, in order
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from awsgate.aws.sigv4 import SigningKeys
from fuzz import awschunks
from fuzz.asks import HOSTS, Case, Signed
from fuzz.edits import Built
from fuzz.reading import NoReadingError, Read, readings
from fuzz.upstream import Arrival
from strictaws import KEYS, fault_of

_ANSWERED = re.compile(rb"(?i)etag: <(z[0-9]+-[0-9]+)>")
_STATUS = re.compile(rb"HTTP/1\.1 ([2-5][0-9]{2}) ")
_OURS = frozenset({b"x-amz-date", b"x-amz-security-token", b"x-amz-content-sha256"})
UNSIGNED = "UNSIGNED-PAYLOAD"
_ONE = frozenset({"host", "authorization", "content-length", "content-type", "transfer-encoding"})


@dataclass
class Outcome:
    """What became of one case."""

    built: Built
    answered: bytes = field(default=b"", repr=False)
    """All that the client received."""
    arrived: list[Arrival] = field(default_factory=list)

    @property
    def statuses(self) -> list[int]:
        return [int(status) for status in _STATUS.findall(self.answered)]


def violations(case: Case, outcome: Outcome, keys: SigningKeys, *, lenient: bool) -> list[str]:
    """Give what must not be, in words that quote no secret; nothing if all is well.

    ``lenient``: the gateway may read the client's stream as RFC 9112 lets it.
    """
    found = [word for each in outcome.arrived for word in _of_arrival(each, outcome.built, keys)]
    whole = [a for a in outcome.arrived if a.request is not None and a.whole]
    if case.tunnel:
        host = HOSTS[case.tunnel].encode()
        strays = [a.mark for a in whole if a.request and a.request.values(b"host") != [host]]
        found += [f"{mark}: to another host than CONNECT's" for mark in strays]
    read = readings(outcome.built.data, lenient=lenient)
    if not found and not any(_explains(reading, whole) for reading in read):
        found.append(f"the stream has no reading with {[a.mark for a in whole]} as its requests")
    found += _of_answers(outcome, whole)
    if case.is_clean:
        sent = [f"{a.mark}" for a in whole]
        wanted = [p.ask.number for p in case.pieces if p.ask is not None]
        if [int(mark.rpartition("-")[2]) for mark in sent] != wanted:
            found.append(f"of a good stream, {wanted}, only {sent} arrived")
    return found


def _of_arrival(arrival: Arrival, built: Built, keys: SigningKeys) -> list[str]:
    if arrival.request is None:
        return [f"bytes without a strict reading arrived: {arrival.fault}"]
    request, signed = arrival.request, built.signed.get(arrival.mark)
    if signed is None:
        return [f"a request arrived that nobody signed: mark {arrival.mark!r}"]
    found = []
    fields = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in request.fields]
    target = request.target.decode("latin-1")
    if fault := fault_of(request.method.decode("latin-1"), target, _once(fields)):
        found.append(f"its signature by the role: {fault}")
    found += _differences(request, signed)
    if arrival.whole and signed.payload in awschunks.MODES:
        found += _of_chunks(request, signed)
    elif arrival.whole and not refused_for_its_hash(request) and not _same_body(request, signed):
        found.append("another body than was signed")
    blob = b"\0".join([request.target, *(v for _, v in request.fields)])
    if any(word.encode() in blob for word in (keys.access_key_id, keys.session_token)):
        found.append("credentials of the gateway's were sent on")
    return [f"{arrival.mark}: {word}" for word in found]


def _of_chunks(request: Read, signed: Signed) -> list[str]:
    """Judge a body in aws-chunked, that is there whole."""
    try:
        body = awschunks.opened(request)
    except NoReadingError as exc:
        return [] if signed.payload == awschunks.UNSIGNED_TRAILER else [str(exc)]
    if signed.payload == awschunks.UNSIGNED_TRAILER:
        return []  # nobody signed it: it is what the client sent, which is looked at apart
    found = [] if body.is_signed_by(KEYS, request) else ["chunks that the role did not sign"]
    if body.content != signed.content:
        found.append("another body than was signed")
    return found


def _once(fields: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Give the fields without repetitions of those that say nothing to AWS.

    Lists may be written in several lines (RFC 9110, 5.3); what is signed may not differ, and
    that is looked at apart.
    """
    kept: dict[str, tuple[str, str]] = {}
    more = []
    for name, value in fields:
        lower = name.lower()
        if lower in kept and (lower in _ONE or lower.startswith("x-amz-")):
            more.append((name, value))
        kept.setdefault(lower, (name, value))
    return [*kept.values(), *more]


def _differences(request: Read, signed: Signed) -> list[str]:
    found = []
    if request.method != signed.method:
        found.append("another method")
    exact = ".s3." in signed.host
    if _meaning(request.target, exact=exact) != _meaning(signed.target, exact=exact):
        found.append("another path or query")
    if [v.decode("latin-1") for v in request.values(b"host")] != [signed.host]:
        found.append("another host")
    for name, value in signed.headers:
        if [_squeezed(v) for v in request.values(name)] != [_squeezed(value)]:
            found.append(f"header {name.decode()} is not as it was signed")
    known = {name for name, _ in signed.headers} | _OURS
    more = {n.lower() for n, _ in request.fields if n.lower().startswith(b"x-amz-")} - known
    if more:
        found.append(f"{sorted(more)} is there, and was not signed")
    declared = request.values(b"x-amz-content-sha256")
    if [v.decode("latin-1") for v in declared] != [signed.payload]:
        found.append("another payload hash")
    return found


def _squeezed(value: bytes) -> bytes:
    return b" ".join(value.split())


def _meaning(target: bytes, *, exact: bool = True) -> object:
    """Give what AWS reads: encoding may differ, slashes and order may not.

    Not ``exact``: for all services but S3 a signature covers the path without empty
    segments and dots, and so AWS takes ``//x`` and ``/a/../x`` under that of ``/x``.
    """
    path, _, query = target.partition(b"?")
    segments = [unquote_to_bytes(part) for part in path.split(b"/")]
    if not exact:
        kept: list[bytes] = []
        for segment, raw in zip(segments, path.split(b"/"), strict=True):
            if raw == b"..":
                kept = kept[:-1]
            elif raw not in (b"", b"."):
                kept.append(segment)
        segments = kept
    pairs = [item.partition(b"=") for item in query.split(b"&")]
    return segments, [(unquote_to_bytes(n), unquote_to_bytes(v)) for n, _, v in pairs]


def refused_for_its_hash(request: Read) -> bool:
    """True if AWS refuses it: its body is not the one whose hash was signed."""
    if awschunks.mode_of(request):
        return _aws_cannot_read(request)
    declared = (request.values(b"x-amz-content-sha256") or [b""])[0].decode("latin-1")
    return declared != UNSIGNED and declared != hashlib.sha256(request.body).hexdigest()


def _aws_cannot_read(request: Read) -> bool:
    said = request.values(b"x-amz-decoded-content-length")
    try:
        return [b"%d" % len(awschunks.opened(request).content)] != said
    except NoReadingError:
        return True


def _same_body(request: Read, signed: Signed) -> bool:
    return signed.payload in (UNSIGNED, hashlib.sha256(request.body).hexdigest())


def _explains(reading: Sequence[Read], arrived: Sequence[Arrival]) -> bool:
    """True if what arrived is in the reading, in order, each once."""
    sent = iter(reading)
    return all(any(_is(a, read) for read in sent) for a in arrived)


def _is(arrival: Arrival, read: Read) -> bool:
    return (
        not read.bad
        and arrival.request is not None
        and arrival.request.method == read.method
        and _payload(arrival.request) == _payload(read)
        and _meaning(arrival.request.target) == _meaning(_origin_form(read))
    )


def _payload(read: Read) -> object:
    """Give what the body says to AWS: signatures within it are made anew."""
    if not awschunks.mode_of(read):
        return read.body
    try:
        body = awschunks.opened(read)
    except NoReadingError:
        return read.body
    return body.content, body.trailers


def _origin_form(read: Read) -> bytes:
    """Give the target; an absolute form that names what Host does is none (RFC 9112, 3.2.2)."""
    named = read.values(b"host")[0]
    return re.sub(rb"(?i)\Ahttps?://" + re.escape(named) + rb"(?=/)", b"", read.target)


def _of_answers(outcome: Outcome, whole: Sequence[Arrival]) -> list[str]:
    told = [mark.decode() for mark in _ANSWERED.findall(outcome.answered)]
    here = iter([a.mark for a in whole])
    if all(mark in here for mark in told):
        return []
    return [f"the client got answers of {told}, and what arrived is {[a.mark for a in whole]}"]
