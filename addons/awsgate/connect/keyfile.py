"""An issuer's keys in a file: for issuers that the gateway cannot reach."""

from __future__ import annotations

import json
from collections.abc import Mapping

from awsgate.connect.secrets import read_text
from awsgate.connect.ways import LoginRefused
from awsgate.errors import SetupError


def key_set_in(url: str) -> Mapping[str, object]:
    """Give the JWKS in ``file:///path``. Raises ``LoginRefused`` (provider-failed)."""
    try:
        content = json.loads(read_text(url))
    except SetupError as exc:
        raise LoginRefused("provider-failed", f"jwks_url: {exc.message}", hint=exc.hint) from exc
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise LoginRefused("provider-failed", f"jwks_url: {url} is no JSON object")
    return content
