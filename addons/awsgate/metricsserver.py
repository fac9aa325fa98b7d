"""The small HTTP server that gives the metrics to Prometheus: GET /metrics, nothing else."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

from awsgate.address import joined
from awsgate.errors import SetupError


@dataclass(frozen=True, slots=True)
class MetricsServer:
    """A server that answers at ``address`` until it is closed."""

    address: str
    """``host:port``, with the real port."""
    _server: ThreadingWSGIServer = field(repr=False)
    _thread: threading.Thread = field(repr=False)

    def close(self) -> None:
        """Stop answering, and free the port."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def start_metrics_server(address: str, registry: CollectorRegistry) -> MetricsServer:
    """Serve ``registry`` at ``/metrics`` of ``address`` (``host:port``, ``[v6]:port``).

    Port 0 is any free one. No authentication: keep it on loopback, or behind what
    guards your monitoring. Raises ``SetupError`` if it cannot listen there.
    """
    host, port = _split(address)
    try:
        family, _, _, _, found = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        kind = _Server6 if family == socket.AF_INET6 else _Server
        server = make_server(
            str(found[0]), port, _only_metrics(registry), server_class=kind, handler_class=_Handler
        )
    except OSError as exc:
        raise SetupError(
            f"cannot serve metrics on {address}: {exc.strerror or exc}",
            hint="give another address as metrics_listen in kind: gateway or with "
            "--set awsgate_metrics=host:port; an empty one turns metrics off",
        ) from exc
    thread = threading.Thread(
        target=server.serve_forever, args=(0.1,), name="awsgate-metrics", daemon=True
    )
    thread.start()
    return MetricsServer(joined(host, server.server_port), server, thread)


class _Server(ThreadingWSGIServer):
    """wsgiref's server, without its reverse look-up of the address it listens on."""

    def server_bind(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "awsgate", self.server_address[1]
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that went away: stderr is for the operator."""


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    """One request, which must come within ten seconds; none is logged."""

    timeout: ClassVar[float] = 10.0

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
        pass


_StartResponse = Callable[[str, list[tuple[str, str]]], object]
_App = Callable[[dict[str, Any], _StartResponse], Iterable[bytes]]


def _only_metrics(registry: CollectorRegistry) -> _App:
    """Narrow the client library's app, which answers at any path, to ``/metrics``."""
    app: _App = make_wsgi_app(registry)

    def answer(environ: dict[str, Any], start_response: _StartResponse) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        if environ["PATH_INFO"] != "/metrics":
            return _say(start_response, "404 Not Found", "metrics are at /metrics\n", method)
        environ.pop("HTTP_ACCEPT", None)  # the text format for all, see _Undescribed
        if method == "HEAD":
            return _head_of(app, environ, start_response)
        if method != "GET":
            return _say(start_response, "405 Method Not Allowed", "use GET or HEAD\n", method)
        return app(environ, start_response)

    return answer


def _head_of(app: _App, environ: dict[str, Any], start: _StartResponse) -> Iterable[bytes]:
    heads: list[tuple[str, list[tuple[str, str]]]] = []
    body = app({**environ, "REQUEST_METHOD": "GET"}, lambda *head: heads.append(head))
    for status, headers in heads:
        start(status, [*headers, ("Content-Length", str(sum(map(len, body))))])
    return []


def _say(start: _StartResponse, status: str, text: str, method: str) -> Iterable[bytes]:
    headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(text)))]
    if status.startswith("405"):
        headers.append(("Allow", "GET, HEAD"))
    start(status, headers)
    return [] if method == "HEAD" else [text.encode("ascii")]


def _split(address: str) -> tuple[str, int]:
    host, colon, port = address.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    # isascii: int() would take the digits of any script.
    if not (colon and bare and port.isascii() and port.isdecimal() and int(port) < 65536):
        raise SetupError(
            f"{address!r} is not an address to serve metrics on",
            hint="give host:port, as in 127.0.0.1:9464, or nothing to turn metrics off",
        )
    return bare, int(port)
