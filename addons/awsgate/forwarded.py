"""X-Forwarded-Host: the one target of a request that came without CONNECT.

Accepted: exactly one header whose value is a bare ``host`` or ``host:443``. What is
dialled is rebuilt from the parsed value, never from the text.

Source: the reference product's rule and words (facts/teleport.md), hardened against
parser differences: nothing but the characters of a DNS name gets through.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from awsgate.aws.endpoint import normalise_host
from awsgate.errors import Code, Refusal

_VALUE = re.compile(rb"([A-Za-z0-9_.-]{1,253})(:443)?")
_HINT = "set HTTPS_PROXY to the gateway instead of an endpoint URL"


def parse_forwarded_host(values: Sequence[bytes]) -> str:
    """Give the normalised target host of a request in origin form.

    ``values`` are all values of the header as received. Raises ``Refusal`` with
    missing-forwarded-host or bad-forwarded-host, both 400. That the host is an AWS
    endpoint is asked later, by the endpoint model.
    """
    if not values:
        raise Refusal(
            Code.MISSING_FORWARDED_HOST,
            "proxied requests must include X-Forwarded-Host header",
            hint=_HINT,
        )
    if len(values) > 1:
        raise _bad("it is there more than once")
    matched = _VALUE.fullmatch(values[0])
    if matched is None:
        raise _bad("its value is not a bare host name, or host:443")
    try:
        return normalise_host(matched[1].decode("ascii"))
    except ValueError:
        raise _bad("its value is not a DNS name") from None


def _bad(why: str) -> Refusal:
    return Refusal(
        Code.BAD_FORWARDED_HOST,
        f"proxied requests must include X-Forwarded-Host header with an AWS host: {why}",
        hint=_HINT,
    )
