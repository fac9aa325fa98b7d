"""The gateway's metrics: what is counted, one method for each event.

Every label is bounded: users are named only if the policy knows them, and beyond its
limit of label sets a metric counts under ``other``. No label carries a path, a
resource or anything else of a request that its sender could choose at will.

A registry of its own, so that two gateways fit in one process (tests, demo). What is
counted when is decided by ``addon.record`` and ``credentials``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    disable_created_metrics,
)
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from awsgate.errors import Code

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
        self._logged_in: set[str] = set()
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
        open_tunnels = Gauge(
            "awsgate_tunnels",
            "Tunnels that are open.",
            ("user",),
            registry=None,
            multiprocess_mode="livesum",
        )
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
        self._tls_failures_total = self._counter(
            "awsgate_tls_failures_total",
            "Connections that did not come to TLS with the proxy itself, by cause.",
            "cause",
        )
        self._reloads_total = self._counter(
            "awsgate_policy_reloads_total", "Attempts to load a changed policy.", "result"
        )

        self._logins_total = self._counter(
            "awsgate_logins_total",
            "Logins, by connector. result: ok, or why it was refused.",
            *("connector", "result"),
        )
        self._access_requests_total = self._counter(
            "awsgate_access_requests_total",
            "Access requests. result: created, or what became of one.",
            "result",
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
            multiprocess_mode="max",
        )

    def know_users(self, users: Collection[str]) -> None:
        """Set whose names may be labels, after a policy reload."""
        self._known_users = frozenset(users)

    def know_login(self, user: str) -> None:
        """Let the name of a user be a label who logged in by a connector."""
        if len(self._logged_in) < MAX_NAMES:
            self._logged_in.add(user)

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

    def tls_failed(self, cause: str) -> None:
        """Count a connection that was to begin with TLS; ``cause`` is of a bounded set."""
        self._tls_failures_total.child(cause).inc()

    def tunnel_opened(self, *, user: str, reason: str) -> str:
        """Count a tunnel; ``reason`` is the rule that let it through. Gives its label."""
        label = self._user(user)
        self._tunnels.child(label).inc()
        self._tunnels_total.child(label, reason).inc()
        return label

    def tunnel_closed(self, *, label: str) -> None:
        """Count the end of a tunnel, under the label that it was opened with.

        Whoever it was may be nobody by now: then the policy has changed.
        """
        self._tunnels.child(label).dec()

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

    def login(self, connector: str, result: str) -> None:
        """Count a login, or an attempt; ``result`` is ``ok`` or the reason of the refusal."""
        self._logins_total.child(connector, result).inc()

    def access_request(self, result: str) -> None:
        """Count an access request that was made, or what has become of one."""
        self._access_requests_total.child(result).inc()

    def ca_expiry(self, not_after: float) -> None:
        """Note when the CA certificate ends, in Unix time."""
        self._ca_expiry.set(not_after)

    def _user(self, user: str) -> str:
        if user in self._known_users or user in self._logged_in:
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
        metric = Gauge(name, text, labels, registry=self.registry, multiprocess_mode="max")
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


def shared_registry() -> CollectorRegistry:
    """Give a registry of what all processes count that share PROMETHEUS_MULTIPROC_DIR.

    It must have been set before this module was imported, in each of them.
    """
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry


def forget_process(pid: int) -> None:
    """Take the open tunnels of a process that has ended out of the sum."""
    mark_process_dead(pid)  # type: ignore[no-untyped-call]
