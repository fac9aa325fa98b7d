"""Which AWS operation a request calls, as far as its envelope says so.

Covered: the JSON protocols (``X-Amz-Target``), smithy RPC v2 CBOR (the path), and
query and EC2 (``Action`` in the query string or form body). REST services name
their operation by method and path; they need botocore's models and give an empty
answer here, as does anything unclear. Nothing is decided on this value.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl

from awsgate.aws.endpoint import Endpoint

MAX_FORM_BYTES = 64 * 1024
"""``Action`` is the first field that SDKs write; a longer form is not searched."""

_OPERATION = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,127}")
_CBOR_PATH = re.compile(rb"/service/[A-Za-z0-9_.#-]{1,128}/operation/([A-Za-z0-9_]{1,128})")


def action_of(endpoint: Endpoint, *, target: bytes, amz_target: bytes, body: bytes) -> str:
    """Give ``service:Operation`` for the audit line, or an empty string.

    ``target`` is the request target, ``amz_target`` the X-Amz-Target value (empty:
    none), ``body`` the body if it is at hand.
    """
    operation = ""
    if amz_target:
        operation = amz_target.decode("latin-1").rpartition(".")[2]
    elif match := _CBOR_PATH.fullmatch(target):
        operation = match[1].decode()
    elif endpoint.protocol in ("query", "ec2"):
        query = target.partition(b"?")[2]
        operation = _field(query) or _field(_head(body))
    if _OPERATION.fullmatch(operation) is None:
        return ""
    return f"{endpoint.service}:{operation}"


def _head(form: bytes) -> bytes:
    """Give the whole fields at the start of a long form: a value cut short is another value."""
    if len(form) <= MAX_FORM_BYTES:
        return form
    return form[:MAX_FORM_BYTES].rpartition(b"&")[0]


def _field(form: bytes) -> str:
    if b"Action=" not in form:
        return ""
    try:
        pairs = parse_qsl(form.decode("latin-1"), max_num_fields=2000)
    except ValueError:
        return ""
    values = [value for name, value in pairs if name == "Action"]
    return values[0] if len(values) == 1 else ""
