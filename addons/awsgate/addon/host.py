"""The host settings: what mitmproxy must be set to for the gate to hold.

Set when the script loads, verified on every change. A setting that the operator
chose himself and that would open a hole ends the start; later changes are rolled
back by mitmproxy. Each row has its reason, and facts/tests behind it.
"""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Iterable
from typing import Any

from mitmproxy import exceptions
from mitmproxy.master import Master
from mitmproxy.optmanager import OptManager
from mitmproxy.proxy import mode_specs

from awsgate.errors import SetupError
from awsgate.policy import GatewaySpec
from awsgate.publicness import check_host_can_tls, check_places

REQUIRED: dict[str, tuple[Any, str]] = {
    "connection_strategy": ("lazy", "the real host would be dialled before the request is seen"),
    "http2": (False, "HTTP/2 hides what HTTP/1 to AWS will say, and costs a connection a request"),
    "http3": (False, "as http2"),
    "rawtcp": (False, "bytes that do not look like HTTP would be relayed with no hook at all"),
    "websocket": (False, "upgraded connections are not reviewed by this version"),
    "upstream_cert": (False, "one foreign name in an upstream certificate voids our leaf"),
    "validate_inbound_headers": (True, "smuggling: Content-Length against Transfer-Encoding"),
    "ssl_insecure": (False, "AWS must prove who it is before it sees a signed request"),
    "tcp_timeout": (1000, "a synchronous Lambda call may be silent for 900 seconds"),
    "flow_detail": (0, "flows are audited by awsgate; request heads hold signatures"),
    "termlog_verbosity": ("warn", "mitmproxy logs raw buffers at info"),
    "store_streamed_bodies": (False, "bodies may be of any size"),
    "stream_large_bodies": (None, "the gate decides what streams"),
    "body_size_limit": (None, "limits are the gate's, and speak AWS"),
    "ignore_hosts": ([], "a tunnel that nobody decided"),
    "allow_hosts": ([], "not an allow-list: it tunnels everything else"),
    "tcp_hosts": ([], "relayed as raw TCP"),
    "udp_hosts": ([], "relayed as raw UDP"),
}

# What the slim chain keeps, by addon name: a third of stock CPU goes to dispatch
# over addons that a gateway does not need.
KEEP = frozenset(
    {
        "core",
        "block",
        "disableh2c",
        "proxyserver",
        "scriptloader",
        "nextlayer",
        "tlsconfig",
        "errorcheck",
        "keepserving",
        "termlog",
        "awsgate-tripwire",
    }
)


def apply(options: OptManager) -> None:
    """Set every required option. Raises ``SetupError`` if the operator chose otherwise."""
    chosen = [
        f"{name}={getattr(options, name)!r}: {reason}; needs {wanted!r}"
        for name, wanted, reason in _required(options)
        if options.has_changed(name) and _value(options, name) != wanted
    ]
    chosen += _bad_modes(options.mode)
    if chosen:
        raise SetupError(
            f"{len(chosen)} mitmproxy option(s) would open a hole",
            faults=tuple(chosen),
            hint="leave these options out: awsgate sets them",
        )
    options.update(**{name: wanted for name, wanted, _ in _required(options)})
    # tools/main.py sets the root logger to DEBUG; each suppressed record still costs.
    logging.getLogger("mitmproxy").setLevel(logging.WARNING)
    logging.getLogger("mitmproxy.proxy.server").addFilter(_cut)
    _speak_on_stderr()


def _required(options: OptManager) -> list[tuple[str, Any, str]]:
    """Give the settings, with their reasons, that this host has.

    The lean host lacks some, with the addons that they are of.
    """
    return [(name, *row) for name, row in REQUIRED.items() if name in options]


def _cut(record: logging.LogRecord) -> bool:
    """Cut mitmproxy's lines: it logs a bad ClientHello whole, in hex."""
    text = record.getMessage()
    if len(text) > MAX_LINE_CHARS:
        record.msg, record.args = text[:MAX_LINE_CHARS] + "...", ()
    return True


MAX_LINE_CHARS = 300


class _Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return f"awsgate: {record.levelname.lower()}: {record.getMessage()}"


def _speak_on_stderr() -> None:
    """Write our own lines at once: mitmproxy's go to stdout, and wait there if it is a pipe."""
    logger = logging.getLogger("awsgate")
    logger.propagate = False
    if not logger.handlers:  # a script reload finds it there
        handler = logging.StreamHandler()
        handler.setFormatter(_Lines())
        logger.addHandler(handler)


def verify(options: OptManager) -> None:
    """Check that all of it still holds. Raises ``OptionsError``, which rolls back."""
    for name, wanted, reason in _required(options):
        if _value(options, name) != wanted:
            raise exceptions.OptionsError(f"awsgate needs {name}={wanted!r}: {reason}")
    for fault in _bad_modes(options.mode):
        raise exceptions.OptionsError(fault)


def trust(options: OptManager, roots: str) -> None:
    """Have servers proved by the roots in a file, and by nothing else.

    Empty: there is no file. Then nothing is trusted, and not the public roots either.
    """
    wanted = roots or os.devnull
    if options.ssl_verify_upstream_trusted_ca != wanted:
        options.update(ssl_verify_upstream_trusted_ca=wanted)


def listen_mode(options: OptManager, listen: str) -> str | None:
    """Give the mitmproxy mode to listen with, or None to leave it as it is.

    ``listen`` is the policy's ``host:port``; what the command line says goes before it.
    mitmproxy's own default is every interface, so a port alone keeps the policy's host.
    """
    chosen = [mode_specs.ProxyMode.parse(mode) for mode in options.mode]
    if len(chosen) != 1 or chosen[0].custom_listen_host is not None or options.listen_host:
        return None
    host, _, port = listen.rpartition(":")
    return f"regular@{host}:{chosen[0].custom_listen_port or options.listen_port or port}"


def check_listening(options: OptManager, spec: GatewaySpec) -> None:
    """Check that clients may come the way they would. Raises ``SetupError``."""
    check_host_can_tls(spec)
    mode = listen_mode(options, spec.listen)
    modes = [mode_specs.ProxyMode.parse(each) for each in ([mode] if mode else options.mode)]
    check_places(spec, [each.listen_host(options.listen_host) for each in modes])


def slim(master: Master) -> None:
    """Take the addons out of the chain that a gateway does not need.

    Not ``addons.remove()``: that runs ``done`` hooks, one of which is async and raises.
    """
    chain = [addon for addon in master.addons.chain if _name(addon) in KEEP]
    chain.sort(key=lambda addon: _name(addon) == "awsgate-tripwire")  # stable: it stays last
    master.addons.chain = chain


def settle() -> None:
    """Tell the garbage collector that what is there by now stays.

    mitmproxy's modules alone are some hundred thousand objects, which it would look at
    again and again; of a request nearly nothing is left to it.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 20)


GC_THRESHOLD = 10_000


def _name(addon: object) -> str:
    return getattr(addon, "name", type(addon).__name__.lower())


def _value(options: OptManager, name: str) -> Any:
    value = getattr(options, name)
    return list(value) if isinstance(value, (list, tuple)) else value


def _bad_modes(modes: Iterable[str]) -> list[str]:
    return [
        f"mode={mode!r}: only 'regular' (with an address) is reviewed by awsgate"
        for mode in modes
        if not isinstance(mode_specs.ProxyMode.parse(mode), mode_specs.RegularMode)
    ]
