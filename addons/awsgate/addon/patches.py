"""Every patch of mitmproxy's inside; they themselves are in ``patched*``.

Each patch replaces one method, and only if that method's source is one that was
read and tested: the SHA-256 of its text must be in ``KNOWN``. Otherwise the patch
is left out, said loudly at start, and mitmproxy behaves as it always did. They make
refusals early, bounded and readable. All but those of speed are ``NEEDED``: where mitmproxy's
layers carry the requests, the gateway does not start without them.

    respond_early          a refused upload is answered, not read (check_killed)
    bound_buffered_body    a chunked body stops at the limit (check_body_size)
    speak_aws              upstream failures in the caller's protocol (handle_protocol_error)
    bound_request_head     431 before a header section fills the memory, or a packet holds too
                           many (read_headers)
    refuse_mid_body        a body that breaks its promise midway is cut off upstream
                           (state_stream_request_body)
    relay_upgrade          a signed WebSocket is relayed byte for byte (flow_done)
    guard_upstream_head    the third net of the tripwire (Http1Client.send)
    bound_unread_body      a chunk header without end closes (Http1Server.read_body)
    skip_interim           a 1xx before an answer is read over; the answer's head is bounded
                           (Http1Client.read_headers)
    bound_sent_ahead       so do requests without end, sent before the answer (wait)
    bound_client_hello     and a ClientHello without end (parse_client_hello)
    bound_coding           a transfer-encoding of blanks is refused (parse_transfer_encoding)
    take_chunked_alone     of answers no transfer coding is taken but chunked (validate_headers)
    bound_chunk_header     blanks in the line before a chunk are read once (h11's validate)
    close_for_certain      a connection that is to be closed is (close_connection)
    close_after_failure    what follows a ClientHello that was none (TLSLayer.receive_data)
    call_in_place          hooks without a task for each (mode_servers.ProxyConnectionHandler);
                           speed alone
    believe_types          the types of each message's fields are looked at no more
                           (MessageData.__post_init__, which python -O lacks); speed alone

Source: facts on mitmproxy 12.2.3; ``tests/addon/test_patches.py`` runs with and
without them.
"""

from __future__ import annotations

import hashlib
import inspect
import textwrap
from collections.abc import Callable, Collection, Iterator
from types import ModuleType
from typing import Any

from h11 import _readers
from mitmproxy import http
from mitmproxy.addonmanager import AddonManager
from mitmproxy.addons import next_layer
from mitmproxy.net.http import validate
from mitmproxy.proxy import mode_servers
from mitmproxy.proxy.layers import http as http_layers
from mitmproxy.proxy.layers import tls
from mitmproxy.proxy.layers.http import HttpStream
from mitmproxy.proxy.layers.http import _http1 as h1
from mitmproxy.proxy.server import ConnectionHandler

from awsgate.addon import inplace, patched, patched_answers, patched_bounds, patched_words
from awsgate.addon.patched import DRAIN_BYTES
from awsgate.addon.speaker import Speaker, seat

KNOWN: dict[str, frozenset[str]] = {
    "HttpStream.check_killed": frozenset(
        {"4cec665b2f0dc0f05f4d46544c3410ed4f44b4eec0ed7a74c10db07fe7a81ab5"}
    ),
    "HttpStream.check_body_size": frozenset(
        {"ae602ef9fc48ca898207605320a58ff9b3566759f93f5e4f59038a92244e0bc3"}
    ),
    "HttpStream.handle_protocol_error": frozenset(
        {"0dbef15c4f5bfb6c2cdda008fa3ca4ebd0fdcc41605d2cd6e5246031561750a2"}
    ),
    "Http1Server.read_headers": frozenset(
        {"496f9de6da56eb2dadaeb58210c0567d0d776a1be71d7a51b6b2c7970b4e85ce"}
    ),
    "Http1Server.send": frozenset(
        {"372d1bf2afe5828e3a95528e8f620d3a5c99712b71a844862dc54255b924c046"}
    ),
    "HttpStream.state_stream_request_body": frozenset(
        {"58e191338cc74c0df2016e7963b760df13d7aa020244d83a7d5d1722b32ede63"}
    ),
    "HttpStream.flow_done": frozenset(
        {"f04929d962deba7ba705b62f6f55cad9a26287f9117dbc781bda4e10673db655"}
    ),
    "Http1Client.send": frozenset(
        {"bf915de1a0fde10b6786bd84fa04c8f517791a06c5dce0f7e196ed82be0692d2"}
    ),
    "Http1Server.read_body": frozenset(
        {"d821888c1e1512b315ff8bc4b39d27ff206ec4a69d1ac79360a4e50cbaf113ae"}
    ),
    "Http1Client.read_body": frozenset(
        {"d821888c1e1512b315ff8bc4b39d27ff206ec4a69d1ac79360a4e50cbaf113ae"}
    ),
    "Http1Client.read_headers": frozenset(
        {"deee23a79fe992b43f4294f6719290744adb0cdbe81a32c25b5d71cb0eef9ae8"}
    ),
    "validate.parse_transfer_encoding": frozenset(
        {"63a109c6a901dd5ea73e7dd05f4555743fecd6c4c04e202d54f6adb3fc2da6fa"}
    ),
    "http.validate_headers": frozenset(
        {"e7647a94704363e70ef4ebf60dd52e0001ed73c088df683fd0227eea2ab123e3"}
    ),
    "_readers.validate": frozenset(
        {"238480c33bfe5798a1d2a98d97245464e188f935c3339a34a2696838ac07fb3e"}
    ),
    "Http1Server.wait": frozenset(
        {"dabd004e93408f26dae83ecfbf4c7991bf850339feb09204d8f77182d642e6dc"}
    ),
    "Http1Client.wait": frozenset(
        {"dabd004e93408f26dae83ecfbf4c7991bf850339feb09204d8f77182d642e6dc"}
    ),
    "tls.parse_client_hello": frozenset(
        {"537b0089913d85d9ca7b1e468d9be1db7ae55d8d14018c04435e5c5b94f28c69"}
    ),
    "next_layer.parse_client_hello": frozenset(
        {"537b0089913d85d9ca7b1e468d9be1db7ae55d8d14018c04435e5c5b94f28c69"}
    ),
    "TLSLayer.receive_data": frozenset(
        {"fc2e5ce7fabce9a7fa1a29b3ed2fe776dc7f038a96f6cc04b6f1475a2a047a06"}
    ),
    "ConnectionHandler.close_connection": frozenset(
        {"9ec60a685e608fd306ce081ea254f14ba3546074f74104b56ba12805f8008463"}
    ),
    "mode_servers.ProxyConnectionHandler": frozenset(
        {"cbef55b57181a07ea783bed259c2a37501a5bdc82383c2a6d795e7f227d99d20"}
    ),
    "MessageData.__post_init__": frozenset(
        {"dd4a02a58bf8a1d238fd12ad2e81a86f56e61cefe13baf65599ef37c71cf9607"}
    ),
}
"""SHA-256 of the source of each patched method, per mitmproxy release that was read."""

SPEED_ALONE = frozenset({"mode_servers.ProxyConnectionHandler", "MessageData.__post_init__"})
NEEDED = frozenset(KNOWN) - SPEED_ALONE
"""Where mitmproxy's layers carry the requests, what awsgate promises rests on these: without
them an addon could change what was signed, a 1xx of a server's pass for its answer, a
transfer coding hide behind a VT, a stranger fill the memory."""

Owner = type | ModuleType
"""The class or the module whose attribute is replaced."""

READ_TOO: dict[str, tuple[tuple[Owner, str], ...]] = {
    "_readers.validate": ((_readers.ChunkedReader, "__call__"),),
    "mode_servers.ProxyConnectionHandler": (
        (ConnectionHandler, "server_event"),
        (ConnectionHandler, "hook_task"),
        (AddonManager, "handle_lifecycle"),
        (AddonManager, "trigger_event"),
        (AddonManager, "invoke_addon"),
        (AddonManager, "_iter_hooks"),
    ),
}
"""What a patch does in the place of others as well: their source is in its fingerprint."""


def name_of(owner: Owner, method: str) -> str:
    """Give the name of a patched method, as ``KNOWN`` and the documents have it."""
    return f"{owner.__name__.rpartition('.')[2]}.{method}"


def fingerprint(owner: Owner, method: str) -> str:
    """Give the SHA-256 of a method's source, indentation aside."""
    read = ((owner, method), *READ_TOO.get(name_of(owner, method), ()))
    source = "".join(textwrap.dedent(inspect.getsource(getattr(*each))) for each in read)
    return hashlib.sha256(source.encode()).hexdigest()


def install(speaker: Speaker) -> list[str]:
    """Put all patches in place, and give the names of those that could not be.

    Installing again (a script reload) replaces the speaker only.
    """
    seat.speaker = speaker
    left_out = []
    for owner, method, replacement in _outstanding():
        if _is_known(owner, method):
            setattr(owner, method, replacement(getattr(owner, method)))
        else:
            left_out.append(name_of(owner, method))
    return left_out


def unknown(among: Collection[str] = KNOWN) -> list[str]:
    """Give the names of the patches that ``install`` would leave out. Installs nothing."""
    return [
        name
        for owner, method, _ in _outstanding()
        if (name := name_of(owner, method)) in among and not _is_known(owner, method)
    ]


def _outstanding() -> Iterator[Patch]:
    """Give the patches that are not in place."""
    for owner, method, replacement in _PATCHES:
        if not getattr(getattr(owner, method, None), "awsgate_patch", False):
            yield owner, method, replacement


def _is_known(owner: Owner, method: str) -> bool:
    try:
        return fingerprint(owner, method) in KNOWN[name_of(owner, method)]
    except AttributeError:  # there is no such method any more
        return False
    except (OSError, TypeError):  # no source at hand: a frozen or stripped install
        return False


Patch = tuple[Owner, str, Callable[[Any], Any]]

_PATCHES: tuple[Patch, ...] = (
    (HttpStream, "check_killed", patched.respond_early),
    (HttpStream, "check_body_size", patched.bound_buffered_body),
    (HttpStream, "handle_protocol_error", patched.speak_aws),
    (h1.Http1Server, "read_headers", patched.bound_request_head),
    (HttpStream, "state_stream_request_body", patched.refuse_mid_body),
    (HttpStream, "flow_done", patched.relay_upgrade),
    (h1.Http1Client, "send", patched.guard_upstream_head),
    (h1.Http1Server, "send", patched_words.quote_nothing),
    (h1.Http1Server, "read_body", patched_bounds.bound_unread_body),
    (h1.Http1Client, "read_headers", patched_bounds.skip_interim),
    (h1.Http1Client, "read_body", patched_bounds.bound_unread_body),
    (validate, "parse_transfer_encoding", patched_bounds.bound_coding),
    (http_layers, "validate_headers", patched_answers.take_chunked_alone),
    (_readers, "validate", patched_bounds.bound_chunk_header),
    (h1.Http1Server, "wait", patched_bounds.bound_sent_ahead),
    (h1.Http1Client, "wait", patched_bounds.bound_sent_ahead),
    (tls, "parse_client_hello", patched_bounds.bound_client_hello),
    (tls.TLSLayer, "receive_data", patched_bounds.close_after_failure),
    (ConnectionHandler, "close_connection", patched_bounds.close_for_certain),
    (next_layer, "parse_client_hello", patched_bounds.bound_client_hello),
    (mode_servers, "ProxyConnectionHandler", inplace.call_in_place),
    *([(http.MessageData, "__post_init__", inplace.believe_types)] if __debug__ else ()),
)

__all__ = [
    "DRAIN_BYTES",
    "KNOWN",
    "NEEDED",
    "SPEED_ALONE",
    "Speaker",
    "fingerprint",
    "install",
    "unknown",
]
