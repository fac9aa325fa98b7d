"""What is counted, as a person reads it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from prometheus_client import Metric

MAX_BARS = 8
REQUESTS, CREDENTIALS, STS = (
    "awsgate_requests_total",
    "awsgate_credentials_total",
    "awsgate_sts_seconds",
)
EXPIRY, LOGINS, REFUSALS = (
    "awsgate_credential_expiry_seconds", "awsgate_logins_total", "awsgate_refusals_total",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of a chart: its share is that of the longest one, 0 to 1."""

    name: str
    value: int
    share: float


@dataclass(frozen=True, slots=True)
class Figures:
    """What has been counted since the gateway started."""

    requests: int
    by_user: tuple[Bar, ...]
    by_service: tuple[Bar, ...]
    refusals: tuple[Bar, ...]
    credentials: Mapping[str, int]
    """How requests came by role credentials -> how many did."""
    sts_calls: int
    sts_mean_ms: float
    cached_roles: int
    """Whose credentials have not ended."""
    logins: int
    refused_logins: int


def read(metrics: Iterable[Metric], *, now: float) -> Figures:
    """Read all metrics once."""
    counts: dict[str, Counter[str]] = {
        name: Counter() for name in ("user", "service", "refusal", "credentials", "login")
    }
    sums: Counter[str] = Counter()
    cached = 0
    for metric in metrics:
        for sample in metric.samples:
            labels, value = sample.labels, sample.value
            if sample.name == REQUESTS:
                counts["user"][labels["user"]] += int(value)
                counts["service"][labels["service"] or "none"] += int(value)
            elif sample.name == REFUSALS:
                counts["refusal"][labels["code"]] += int(value)
            elif sample.name == CREDENTIALS:
                counts["credentials"][labels["result"]] += int(value)
            elif sample.name == LOGINS:
                counts["login"]["ok" if labels["result"] == "ok" else "refused"] += int(value)
            elif sample.name in (f"{STS}_count", f"{STS}_sum"):
                sums[sample.name] += value  # type: ignore[assignment]  # a float is as good
            elif sample.name == EXPIRY:
                cached += value > now
    calls, seconds = sums[f"{STS}_count"], sums[f"{STS}_sum"]
    return Figures(
        requests=counts["user"].total(),
        by_user=bars(counts["user"]),
        by_service=bars(counts["service"]),
        refusals=bars(counts["refusal"]),
        credentials=dict(sorted(counts["credentials"].items())),
        sts_calls=int(calls),
        sts_mean_ms=seconds / calls * 1000 if calls else 0.0,
        cached_roles=cached,
        logins=counts["login"]["ok"],
        refused_logins=counts["login"]["refused"],
    )


def bars(counted: Counter[str]) -> tuple[Bar, ...]:
    """Give the longest ones, and the rest as one."""
    listed = [(name, value) for name, value in counted.most_common() if value]
    rest = sum(value for _, value in listed[MAX_BARS:])
    listed = listed[:MAX_BARS] + ([("all others", rest)] if rest else [])
    longest = max((value for _, value in listed), default=0)
    return tuple(Bar(name, value, value / longest) for name, value in listed)
