"""The alerts of deploy/alerts.yaml: for build_dashboard.py, which writes it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Alert:
    """One rule. ``todo`` tells who is woken what to do."""

    name: str
    expr: str
    wait: str
    severity: str
    summary: str
    todo: str


REFUSED = 'awsgate_requests_total{decision="refused"}'
ALERTS_TABLE = (
    Alert(
        "AwsgateDown",
        'up{job=~".*awsgate.*"} == 0',
        "2m",
        "critical",
        "{{ $labels.instance }} serves no metrics",
        "Is awsgate run alive (systemctl status awsgate)? Its clients reach nothing meanwhile.",
    ),
    Alert(
        "AwsgateCannotAssumeRoles",
        'sum by (job, instance) (rate(awsgate_credentials_total{result="failed"}[5m])) > 0',
        "5m",
        "critical",
        "STS gives {{ $labels.instance }} no credentials",
        "awsgate doctor on the gateway says which role, and why. Cached ones serve until they end.",
    ),
    Alert(
        "AwsgateGatewayFault",
        'sum by (job, instance) (increase(awsgate_refusals_total{code="gateway-fault"}[10m])) > 0',
        "0m",
        "critical",
        "{{ $labels.instance }} refused requests by a fault of its own",
        "Its log names the fault; a full disk under the audit log is one (audit.on_failure).",
    ),
    Alert(
        "AwsgateUpstreamFailing",
        'sum by (job, instance) (rate(awsgate_refusals_total{code="upstream-failed"}[5m])) > 0.1',
        "5m",
        "warning",
        "{{ $labels.instance }} does not reach AWS",
        "Look at DNS and the way out of the gateway's host.",
    ),
    Alert(
        "AwsgatePolicyNotLoaded",
        'sum by (job, instance) (increase(awsgate_policy_reloads_total{result="failed"}[10m])) > 0',
        "1m",
        "warning",
        "a changed policy is not in force on {{ $labels.instance }}",
        "awsgate check shows every fault; what was in force before still is.",
    ),
    Alert(
        "AwsgateCaEnds",
        "awsgate_ca_expiry_seconds - time() < 14 * 86400",
        "1h",
        "warning",
        "the CA of {{ $labels.instance }} ends in {{ $value | humanizeDuration }}",
        "awsgate ca rotate, restart the gateway, hand out the bundles again.",
    ),
    Alert(
        "AwsgateManyRefusals",
        f"sum by (job, user) (rate({REFUSED}[10m]))"
        " / sum by (job, user) (rate(awsgate_requests_total[10m])) > 0.5"
        f" and sum by (job, user) (increase({REFUSED}[10m])) > 50",
        "10m",
        "warning",
        "more than half of what {{ $labels.user }} asks is refused",
        "A script that is not allowed what it does, or somebody who tries doors: "
        "awsgate audit tail --user shows which calls, awsgate explain shows the rules.",
    ),
    Alert(
        "AwsgateForgedSignatures",
        "sum by (job, instance) (rate(awsgate_refusals_total"
        '{code=~"bad-signature|unknown-key"}[5m])) > 1',
        "10m",
        "warning",
        "{{ $labels.instance }} is sent signatures that do not hold",
        "awsgate audit tail shows from which addresses. One client with keys of another gateway "
        "looks like this too.",
    ),
    Alert(
        "AwsgateSlow",
        "histogram_quantile(0.95, sum by (job, instance, le) "
        "(rate(awsgate_overhead_seconds_bucket[10m]))) > 0.05",
        "10m",
        "warning",
        "the gateway adds {{ $value | humanizeDuration }} to a request",
        "It wants more CPU, or more workers (awsgate run --workers).",
    ),
)
