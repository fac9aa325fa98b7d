"""How mitmproxy reads an answer's head, patched; ``patches`` puts it in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mitmproxy import http

from awsgate.addon.speaker import as_patch

Validate = Callable[[Any], None]


def take_chunked_alone(stock: Validate) -> Validate:
    """Take no answer that is compressed on its way: what it holds could not be seen.

    The stock one takes ``gzip, chunked`` too, undoes the chunks and leaves it compressed. Of
    requests that is the gate's to refuse, in words.
    """

    def validate_headers(message: http.Message) -> None:
        stock(message)
        coding = message.headers.get("transfer-encoding", "chunked")
        if isinstance(message, http.Response) and coding.strip(" \t").lower() != "chunked":
            raise ValueError("a transfer coding that is not chunked alone")

    return as_patch(validate_headers)
