"""One request as the router sees it: read once, asked many times.

What AWS could read in another way than we is marked ``odd``: then no operation is known.
Total and pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from urllib.parse import parse_qsl, unquote_to_bytes

from awsgate.aws.deletions import deletions
from awsgate.aws.endpoint import Endpoint

type Headers = Mapping[bytes, Sequence[bytes]]
type Pairs = Sequence[tuple[str, str]]

MAX_FORM_BYTES = 1024 * 1024
MAX_FIELDS = 10_000
_FORM = b"application/x-www-form-urlencoded"
_CBOR_PATH = re.compile(rb"/service/([^/%]+)/operation/([^/%]+)")
# Headers by which some servers let a caller name another method.
_OVERRIDES = frozenset({b"x-http-method-override", b"x-http-method", b"x-method-override"})
_PLAIN_CHARSETS = frozenset({b"utf-8", b"us-ascii", b"iso-8859-1"})


class Asked:
    """The parts of a request that name its operation and its resource."""

    def __init__(
        self, endpoint: Endpoint, method: str, target: bytes, headers: Headers, body: bytes | None
    ) -> None:
        self.endpoint = endpoint
        self.method = method
        self.headers = headers
        self.body = body
        """None: it is not at hand."""
        self.path, _, self._raw_query = target.partition(b"?")
        pairs = pairs_of(self._raw_query) if self._raw_query else ()
        self.query: Pairs = pairs or ()
        self.names = frozenset(name for name, _ in self.query)
        self.overrides_method = not _OVERRIDES.isdisjoint(headers)
        self.odd = (
            pairs is None
            or self.overrides_method
            or len(headers.get(b"content-type", ())) > 1
            or any(name.lower() == "x-amz-target" for name in self.names)
        )

    @cached_property
    def content_type(self) -> bytes:
        """Give the type of the body, without parameters; empty: it is not said."""
        return (self.headers.get(b"content-type") or (b"",))[0].partition(b";")[0].strip().lower()

    @property
    def is_form(self) -> bool:
        """True if the body says that it is a form."""
        return self.content_type == _FORM

    @cached_property
    def cbor(self) -> tuple[str, str] | None:
        """Give service and operation of a smithy RPC path; empty: it is perhaps one.

        Servers take the end of the path, behind any prefix.
        """
        if match := _CBOR_PATH.fullmatch(self.path):
            return match[1].decode("latin-1"), match[2].decode("latin-1")
        plain = unquote_to_bytes(self.path) if b"%" in self.path else self.path
        perhaps = b"/service/" in plain and b"/operation/" in plain
        return ("", "") if perhaps or b"smithy-protocol" in self.headers else None

    @property
    def has_encoded_names(self) -> bool:
        """True if a name in the query is spelt with ``%`` or ``+``."""
        names = (pair.partition(b"=")[0] for pair in self._raw_query.split(b"&"))
        return any(b"%" in name or b"+" in name for name in names)

    @property
    def has_semicolons(self) -> bool:
        """True if some readers would find other pairs, behind a ``;``, in query or form."""
        return b";" in self._raw_query or b";" in (self.body or b"")

    @cached_property
    def query_actions(self) -> list[str]:
        """Give every ``Action`` in the query, in whatever spelling."""
        return _actions_in(self.query)

    @cached_property
    def actions(self) -> list[str] | None:
        """Give every ``Action`` in query and form; None: it cannot be told."""
        in_body = self._body_actions()
        return None if in_body is None else [*self.query_actions, *in_body]

    def _body_actions(self) -> list[str] | None:
        if self.method == "GET":
            # Some servers read it all the same.
            return None if self.body or self.announces_body else []
        if self.method != "POST" or self.body is None:
            return None
        if not self.body:
            return []
        if b"content-encoding" in self.headers or not (self.is_form or not self.content_type):
            return None
        charset = (self.headers.get(b"content-type") or (b"",))[0].partition(b";")[2].strip()
        if charset:
            name, _, value = charset.lower().partition(b"=")
            if name.strip() != b"charset" or value.strip(b' "') not in _PLAIN_CHARSETS:
                return None
        pairs = self.body_pairs
        return None if pairs is None else _actions_in(pairs)

    @cached_property
    def body_pairs(self) -> Pairs | None:
        """Give the pairs of the body as a form; None: they are too many."""
        return pairs_of(self.body or b"")

    @cached_property
    def deletions(self) -> list[tuple[str, bool]] | None:
        """Give what the body as that of DeleteObjects names; None: it cannot be told."""
        return deletions(self.body)

    @property
    def announces_body(self) -> bool:
        """True if the head says that a body follows."""
        lengths = self.headers.get(b"content-length", ())
        return b"transfer-encoding" in self.headers or any(v.strip(b"0 ") for v in lengths)

    def has(self, name: bytes) -> bool:
        """True for a header, or an ``x-amz-`` one that a signer moved into the query."""
        return name in self.headers or name.decode("ascii") in self._moved

    @cached_property
    def _moved(self) -> frozenset[str]:
        return frozenset(low for n in self.names if (low := n.lower()).startswith("x-amz-"))

    @property
    def amz_names(self) -> frozenset[str]:
        """Give all ``x-amz-`` names of headers and query, lower-case."""
        return self._moved | {n.decode("latin-1") for n in self.headers if n[:6] == b"x-amz-"}


def pairs_of(form: bytes) -> Pairs | None:
    """Give the pairs of a query or form, decoded as AWS does; None: they are too many.

    ``;`` is read as ``&`` where an ``Action`` follows it, as old servers do; of any other
    name ask ``has_semicolons``.
    """
    if len(form) > MAX_FORM_BYTES:
        return None
    text = form.decode("latin-1")
    if text.count(";") > MAX_FIELDS:
        return None
    try:
        found = parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS)
        if ";" in text:
            read = set(text.split("&"))
            found += [
                (name, "")
                for part in re.split("[&;]", text)
                for name, _ in parse_qsl(part, keep_blank_values=True)
                if _is_action(name) and part not in read
            ]
    except ValueError:
        return None
    return found


def _actions_in(pairs: Pairs) -> list[str]:
    """Give every ``Action``; one that is not spelt so is none of ours, and counts."""
    return [value if name == "Action" else "" for name, value in pairs if _is_action(name)]


def _is_action(name: str) -> bool:
    return name == "Action" or name.strip("? \t\r\n\0").lower() == "action"
