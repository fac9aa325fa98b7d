"""What naming a call costs: microseconds a request, and what the tables take.

.venv/bin/python scripts/bench_router.py
"""

from __future__ import annotations

import statistics
import sys
import time
import tracemalloc
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from awsgate.aws.call import call_of
from awsgate.aws.operations import services_signing_as
from serialised import serialised

SERVICES = (
    "s3", "dynamodb", "sqs", "ec2", "lambda", "iam", "sts", "cloudwatch", "route53", "logs",
    "sns", "kms", "ecs", "eks", "rds", "bedrock-runtime", "secretsmanager", "ssm",
)  # fmt: skip
ROUNDS = 20


def main() -> None:
    """Print one line a figure."""
    wires = [wire for service in SERVICES for wire in serialised(service)]
    for name in sorted({wire.signing_name for wire in wires}):
        tracemalloc.start()
        began = time.perf_counter()
        services_signing_as(name)
        load_ms = (time.perf_counter() - began) * 1000
        size = tracemalloc.get_traced_memory()[0] / 1024
        tracemalloc.stop()
        print(f"load {name:16} {load_ms:6.1f} ms (traced) {size:8.0f} KiB")
    times = []
    for wire in wires * ROUNDS:
        began = time.perf_counter_ns()
        call_of(
            wire.endpoint, signing_name=wire.signing_name, method=wire.method,
            target=wire.target, headers=wire.headers, body=wire.body, account="123456789012",
        )  # fmt: skip
        times.append((time.perf_counter_ns() - began) / 1000)
    cuts = statistics.quantiles(times, n=100)
    print(f"{len(wires)} operations of {len(SERVICES)} services, {ROUNDS} rounds")
    print(f"call_of: median {cuts[49]:.1f} us, p90 {cuts[89]:.1f} us, p99 {cuts[98]:.1f} us")


if __name__ == "__main__":
    main()
