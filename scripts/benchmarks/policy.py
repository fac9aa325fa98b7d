"""How the cost of a request grows: with the policy, with open tunnels, with bucket hosts."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from awsgate.demo.embedded_aws import ACCOUNT, READ_ONLY_ROLE
from benchmarks.client import Way, send_all
from benchmarks.contenders import RUN, SCRIPT, Contender, field, in_rounds
from benchmarks.processes import cpu_s, wait_until_idle
from benchmarks.requests import Figures

SIZES = (10, 1_000, 10_000)
TUNNELS = (0, 200, 1000)
HOSTS = (1, 100, 1000)
BUCKET_HOST = "b{}.s3.us-east-1.amazonaws.com"


def document(kind: str, version: str, name: str, spec: object, **labels: str) -> dict[str, object]:
    """Give a document of a policy."""
    return {
        "kind": kind, "version": version, "metadata": {"name": name, "labels": labels},
        "spec": spec,
    }  # fmt: skip


def rule(number: int) -> dict[str, object]:
    """Give a rule of somebody's about some role and some actions; the first one is alice's."""
    role = READ_ONLY_ROLE if not number else f"arn:aws:iam::{ACCOUNT}:role/r{number}"
    allow = {
        "app_labels": {"*": "*"},
        "aws_role_arns": [role],
        "aws_actions": ["s3:Get*", "s3:List*", f"dynamodb:Get{number}*"],
        "aws_regions": ["us-east-1", "eu-*"],
    }
    return document("role", "v5", f"role{number}", {"allow": allow})


def policy_of(*, rules: int = 10, users: int = 10, of_one: bool = False) -> str:
    """Give a policy with so many rules and users; ``of_one``: all rules are alice's."""
    hers = [f"role{number}" for number in (reversed(range(rules)) if of_one else (0,))]
    documents = [rule(number) for number in range(rules)]
    documents.append(document("user", "v2", "alice", {"roles": hers}))
    documents += [
        document("user", "v2", f"user{number}", {"roles": [f"role{number % rules}"]})
        for number in range(1, users)
    ]
    spec = {"uri": "https://console.aws.amazon.com/"}
    documents.append(document("app", "v3", "awsconsole-test", spec, aws_account_id=ACCOUNT))
    return "\n---\n".join(json.dumps(each) for each in documents)


def growth(scratch: Path, *, count: int, rounds: int) -> Figures:
    """Give the CPU of a request by policy, tunnels and hosts, at ``awsgate run``."""
    shapes = {
        **{f"{size:,} rules, of {size:,} users": {"rules": size, "users": size} for size in SIZES},
        **{f"{size:,} rules, all of one user": {"rules": size, "of_one": True} for size in SIZES},
        **{f"10 rules, {size:,} users": {"users": size} for size in SIZES},
    }
    found = _by_policy(scratch, shapes, count=count, rounds=rounds)
    found.update(_by_tunnels(scratch, count=count))
    found.update(_by_hosts(scratch))
    return found


def _by_policy(
    scratch: Path, shapes: dict[str, dict[str, int]], *, count: int, rounds: int
) -> Figures:
    found: Figures = {}
    for group in _groups(shapes):
        seen: dict[str, list[float]] = {}
        served: dict[str, float] = {}
        with field(scratch) as compared:
            contenders: list[Contender] = []
            for name in group:
                one = compared.gateway(RUN, policy=policy_of(**shapes[name]))
                served[name] = compared.served_s
                contenders.append(Contender(name, one.pid, one.way, one.keys))

            def measure(one: Contender, seen: dict[str, list[float]] = seen) -> None:
                seen.setdefault(one.name, []).append(_cpu_ms(one, count))

            for each in contenders:
                wait_until_idle(each.pid)
            in_rounds(contenders, rounds, measure)
        base = statistics.median(seen[group[0]])
        for name, all_of in seen.items():
            median = statistics.median(all_of)
            found[name] = {
                "cpu_ms": round(median, 4),
                "of_smallest": round(median / base, 3),
                "start_s": round(served[name], 2),
            }
    return found


def _groups(shapes: dict[str, dict[str, int]]) -> list[list[str]]:
    names = list(shapes)
    return [names[start : start + len(SIZES)] for start in range(0, len(names), len(SIZES))]


def _cpu_ms(one: Contender, count: int) -> float:
    send_all(one.way, one.keys.gets(100), keep=True)
    requests = one.keys.gets(count)
    before = cpu_s(one.pid)
    send_all(one.way, requests, keep=True)
    return (cpu_s(one.pid) - before) / count * 1000


def _by_tunnels(scratch: Path, *, count: int) -> Figures:
    found: Figures = {}
    with field(scratch) as compared, ExitStack() as opened:
        (one,) = compared.start((RUN,))
        _cpu_ms(one, count)
        base = 0.0
        for open_now, wanted in zip((0, *TUNNELS), TUNNELS, strict=False):
            for _ in range(wanted - open_now):
                opened.enter_context(one.way.connect())
            cost = _cpu_ms(one, count)
            base = base or cost
            found[f"{wanted:,} open tunnels"] = {
                "cpu_ms": round(cost, 4), "of_smallest": round(cost / base, 3),
            }  # fmt: skip
    return found


def _by_hosts(scratch: Path) -> Figures:
    """New connections, each to the next of so many buckets: a leaf is made for the unknown."""
    found: Figures = {}
    for name in (SCRIPT, RUN):
        with field(scratch) as compared:
            (one,) = compared.start((name,))
            base = 0.0
            for hosts in HOSTS:
                cost = _connections_ms(one, [BUCKET_HOST.format(n) for n in range(hosts)])
                base = base or cost
                found[f"{name}: {hosts:,} bucket hosts"] = {
                    "connection_cpu_ms": round(cost, 4), "of_smallest": round(cost / base, 3),
                }  # fmt: skip
    return found


def _connections_ms(one: Contender, hosts: Sequence[str], count: int = 200) -> float:
    count = max(count, len(hosts))
    asked = [(host, one.keys.sign("GET", "/0", host=host)) for host in hosts]
    before = cpu_s(one.pid)
    for number in range(count):
        host, request = asked[number % len(asked)]
        _once(one.way, host, request)
    return (cpu_s(one.pid) - before) / count * 1000


def _once(way: Way, host: str, request: bytes) -> None:
    with way.connect(host) as wire:
        wire.ask(request)
