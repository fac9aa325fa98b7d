"""The gateway's metrics, and the small HTTP server that gives them to Prometheus.

    Metrics               what is counted; one method for each event
    start_metrics_server  GET /metrics, and nothing else

Every label is bounded: users are named only if the policy knows them, and beyond its
limit of label sets a metric counts under ``other``. No label carries a path, a
resource or anything else of a request that its sender could choose at will.

A registry of its own, so that two gateways fit in one process (tests, demo). What is
counted when is decided by ``addon.record`` and ``credentials``.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    disable_created_metrics,
    make_wsgi_app,
)
from prometheus_client.exposition import ThreadingWSGIServer
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.registry import Collector

from awsgate.errors import Code, SetupError

NO_USER = "none"
UNKNOWN_USER = "unknown"
OTHER = "other"

MAX_LABEL_SETS = 5_000
MAX_ACTIONS = 2_000
MAX_NAMES = 1_000

_REQUEST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_OVERHEAD_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5)
_STS_BUCKETS = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class _Bounded[M: MetricWrapperBase]:
    """The children of a metric, at most ``limit`` plus those under ``other``.

    ``folds`` names the labels that become ``other`` once the limit is reached; the
    rest must be bounded by nature. Looking up a child here is a fifth of the cost of
    ``labels()``, which takes a lock and formats.
    """

    __slots__ = ("_children", "_folds", "_limit", "_metric")

    def __init__(self, metric: M, names: Iterable[str], *, limit: int, folds: set[str]) -> None:
        self._metric = metric
        self._limit = limit
        self._folds = tuple(name in folds for name in names)
        self._children: dict[tuple[str, ...], M] = {}

    def child(self, *labels: str) -> M:
        """Give the child that counts these labels."""
        child = self._children.get(labels)
        if child is not None:
            return child
        if len(self._children) < self._limit:
            child = self._children[labels] = self._metric.labels(*labels)
            return child
        return self._metric.labels(
            *(OTHER if folds else label for folds, label in zip(self._folds, labels, strict=True))
        )


class Metrics:
    """What the gateway counts. Methods may be called from any thread."""

    def __init__(self, *, version: str, known_users: Collection[str]) -> None:
        # Of the process, alas: a series with the birth of each counter doubles them all.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._known_users = frozenset(known_users)
        build = self._gauge("awsgate_build_info", "Always 1; the version is a label.", "version")
        build.child(version).set(1)
        self._requests()
        self._tunnels_and_refusals()
        self._credentials()

    def _requests(self) -> None:
        self._requests_total = self._counter(
            "awsgate_requests_total",
            "Requests answered. code: HTTP status of AWS, or why awsgate refused.",
            *("user", "role", "service", "region", "decision", "code"),
            limit=MAX_LABEL_SETS,
            folds={"role", "service", "region", "code"},
        )
        self._actions_total = self._counter(
            "awsgate_actions_total",
            "Requests by AWS action.",
            *("user", "action"),
            limit=MAX_ACTIONS,
            folds={"action"},
        )
        self._bytes_total = self._counter(
            "awsgate_bytes_total",
            "Body bytes. in: from clients; out: to them, refusals included.",
            *("user", "direction"),
            folds={"user"},
        )
        self._request_seconds = _Bounded(
            Histogram(
                "awsgate_request_seconds",
                "Time from the head of a request to the end of its answer.",
                ("service",),
                registry=self.registry,
                buckets=_REQUEST_BUCKETS,
            ),
            ("service",),
            limit=MAX_NAMES,
            folds={"service"},
        )
        self._overhead_seconds = Histogram(
            "awsgate_overhead_seconds",
            "Time awsgate itself spent on a request. Waiting for STS or AWS is not in it.",
            registry=self.registry,
            buckets=_OVERHEAD_BUCKETS,
        )

    def _tunnels_and_refusals(self) -> None:
        open_tunnels = Gauge("awsgate_tunnels", "Tunnels that are open.", ("user",), registry=None)
        self.registry.register(_Undescribed(open_tunnels))
        self._tunnels = _Bounded(open_tunnels, ("user",), limit=MAX_NAMES, folds={"user"})
        self._tunnels_total = self._counter(
            "awsgate_tunnels_total",
            "Tunnels opened, by the rule that let them.",
            *("user", "reason"),
            folds={"reason"},
        )
        self._refusals_total = self._counter(
            "awsgate_refusals_total", "Requests and tunnels refused, by refusal code.", "code"
        )
        self._reloads_total = self._counter(
            "awsgate_policy_reloads_total", "Attempts to load a changed policy.", "result"
        )

    def _credentials(self) -> None:
        self._credentials_total = self._counter(
            "awsgate_credentials_total",
            "Role credentials asked for, by where they came from.",
            "result",
        )
        self._sts_seconds = Histogram(
            "awsgate_sts_seconds",
            "Time STS took to give role credentials.",
            registry=self.registry,
            buckets=_STS_BUCKETS,
        )
        self._credential_expiry = self._gauge(
            "awsgate_credential_expiry_seconds",
            "Unix time at which the cached credentials of a role end.",
            "role",
        )
        self._ca_expiry = Gauge(
            "awsgate_ca_expiry_seconds",
            "Unix time at which the CA certificate ends. Alert on this - time() < 14 * 86400.",
            registry=self.registry,
        )

    def know_users(self, users: Collection[str]) -> None:
        """Set whose names may be labels, after a policy reload."""
        self._known_users = frozenset(users)

    def request_done(
        self,
        *,
        user: str,
        role: str,
        service: str,
        region: str,
        decision: str,
        code: str,
        action: str,
        seconds: float,
        overhead_seconds: float,
        bytes_in: int,
        bytes_out: int,
    ) -> None:
        """Count one request at its end, refused or not."""
        user = self._user(user)
        self._requests_total.child(user, role, service, region, decision, code).inc()
        if action:
            self._actions_total.child(user, action).inc()
        self._request_seconds.child(service).observe(seconds)
        self._overhead_seconds.observe(overhead_seconds)
        if bytes_in:
            self._bytes_total.child(user, "in").inc(bytes_in)
        if bytes_out:
            self._bytes_total.child(user, "out").inc(bytes_out)

    def refused(self, code: Code | str) -> None:
        """Count a refusal."""
        self._refusals_total.child(str(code)).inc()

    def tunnel_opened(self, *, user: str, reason: str) -> None:
        """Count a tunnel; ``reason`` is the rule that let it through."""
        user = self._user(user)
        self._tunnels.child(user).inc()
        self._tunnels_total.child(user, reason).inc()

    def tunnel_closed(self, *, user: str) -> None:
        """Count the end of a tunnel that was opened for the same user."""
        self._tunnels.child(self._user(user)).dec()

    def credentials_result(self, result: str) -> None:
        """Count how a request came by role credentials."""
        self._credentials_total.child(result).inc()

    def sts_call(self, seconds: float) -> None:
        """Note how long STS took."""
        self._sts_seconds.observe(seconds)

    def credential_expiry(self, role: str, expires_at: float) -> None:
        """Note when the cached credentials of a role end, in Unix time."""
        self._credential_expiry.child(role).set(expires_at)

    def policy_reload(self, result: str) -> None:
        """Count an attempt to load a changed policy."""
        self._reloads_total.child(result).inc()

    def ca_expiry(self, not_after: float) -> None:
        """Note when the CA certificate ends, in Unix time."""
        self._ca_expiry.set(not_after)

    def _user(self, user: str) -> str:
        if user in self._known_users:
            return user
        return UNKNOWN_USER if user else NO_USER

    def _counter(
        self,
        name: str,
        text: str,
        *labels: str,
        limit: int = MAX_NAMES,
        folds: set[str] | None = None,
    ) -> _Bounded[Counter]:
        metric = Counter(name, text, labels, registry=self.registry)
        return _Bounded(metric, labels, limit=limit, folds=set(labels) if folds is None else folds)

    def _gauge(self, name: str, text: str, *labels: str) -> _Bounded[Gauge]:
        metric = Gauge(name, text, labels, registry=self.registry)
        return _Bounded(metric, labels, limit=MAX_NAMES, folds=set(labels))


class _Undescribed(Collector):
    """A gauge whose name the registry does not check.

    For OpenMetrics ``awsgate_tunnels`` is also the family of the counter
    ``awsgate_tunnels_total``. In the text format, the one served here, it is not.
    """

    def __init__(self, gauge: Gauge) -> None:
        self._gauge = gauge

    def collect(self) -> Iterable[Metric]:
        return self._gauge.collect()


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
    shown = f"[{host}]" if ":" in host else host
    return MetricsServer(f"{shown}:{server.server_port}", server, thread)


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
