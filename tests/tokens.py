"""Session tokens in tests: their bytes, as text and back, and the refusal of a bad one."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest

from awsgate.errors import Refusal


def refused(call: Callable[[], object]) -> Refusal:
    with pytest.raises(Refusal) as caught:
        call()
    return caught.value


def raw_of(token: str) -> bytes:
    return base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))


def text_of(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
