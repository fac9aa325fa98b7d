"""What mitmproxy answers by itself to what is no HTTP quotes it: a key may stand there.

Its pages go to whoever sent the line, and to whatever logs what that program reads.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import Any

from mitmproxy.proxy import commands
from mitmproxy.proxy.layers.http import _http1 as h1
from mitmproxy.proxy.layers.http._events import ResponseProtocolError

from awsgate.addon.speaker import as_patch

_STOCK = b"HTTP/1.1 400 "
_OURS = (
    b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain\r\n"
    b"x-awsgate-code: unsupported\r\nContent-Length: 46\r\n\r\n"
    b"awsgate: unsupported: this is no HTTP request\n"
)


def unquoted(said: Iterable[commands.Command]) -> Generator[Any, Any, Any]:
    """Put our words in the place of mitmproxy's. None of these commands has a reply."""
    for command in said:
        if isinstance(command, commands.SendData) and command.data.startswith(_STOCK):
            command.data = _OURS
        yield command


def quote_nothing(stock: Callable[..., Any]) -> Callable[..., Any]:
    """Of a request that is refused as no HTTP, nothing is said again."""

    @as_patch
    def send(self: h1.Http1Server, event: Any) -> Any:
        said = stock(self, event)
        return unquoted(said) if isinstance(event, ResponseProtocolError) else said

    return send
