"""Many at once: idle tunnels, users and roles, and one user who wants everything."""

from __future__ import annotations

import json
import random
import select
import socket
import ssl
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from e2e.faulty import Bench, arn, bench_with
from e2e.held import until
from e2e.serving import rss_mib
from loads.report import CALL, Report, watched
from rawclient import Call, Wire, secure

USERS, ROLES = 1000, 50


def tunnels(folder: Path, report: Report, share: float) -> None:
    """Open them, leave them for a while, and ask through some."""
    count = int(10_000 * share)
    with (
        bench_with(folder, workers=2) as bench,
        watched(bench, report, room_mib=150),
        ExitStack() as opened,
    ):
        before = rss_mib(bench.gateway)
        wires = []
        began = time.monotonic()
        for _ in range(count):
            sock = opened.enter_context(
                socket.create_connection(("127.0.0.1", bench.gateway.port), 30)
            )
            sock.sendall(f"CONNECT {CALL.host}:443 HTTP/1.1\r\nHost: {CALL.host}\r\n\r\n".encode())
            wires.append(sock)
        established = sum(sock.recv(4096).startswith(b"HTTP/1.1 200") for sock in wires)
        took = time.monotonic() - began
        report.note(f"{established} tunnels opened in {took:.0f} s")
        report.need(established == count, f"{count - established} tunnels")
        report.note(f"{(rss_mib(bench.gateway) - before) * 1024 / count:.1f} KiB each")
        time.sleep(10)
        gone = len(_readable(wires))
        report.need(gone == 0, f"{gone} tunnels that were cut")
        context = ssl.create_default_context(cafile=str(bench.gateway.certs / "ca-cert.pem"))
        keys, some = bench.keys(), random.sample(wires, max(1, count // 50))
        for sock in some:
            with context.wrap_socket(sock, server_hostname=CALL.host) as inside:
                wire = Wire(inside)
                wire.send(CALL.wire(CALL.signed(keys)))
                report.need(wire.read_answer().status == 200, "a request through a tunnel")
        report.note(f"asked through {len(some)} of them")


def _readable(socks: list[socket.socket]) -> list[int]:
    """Give those on which there is something to read: their end."""
    poll = select.poll()
    for sock in socks:
        poll.register(sock, select.POLLIN)
    return [number for number, _ in poll.poll(0)]


def _roles_of(number: int) -> list[str]:
    """Give the fifty of a thousand roles that a user has; no two users have the same."""
    return [f"r{(number + 13 * count) % USERS}" for count in range(ROLES)]


def _policy(folder: Path) -> None:
    """Write users and roles, in files of a hundred each."""
    for part in range(0, USERS, 100):
        documents: list[dict[str, object]] = []
        for number in range(part, part + 100):
            allow = {"app_labels": {"*": "*"}, "aws_role_arns": [arn(f"r{number}")]}
            documents += (
                _document("role", "v5", f"r{number}", {"allow": allow}),
                _document("user", "v2", f"u{number}", {"roles": _roles_of(number)}),
            )
        text = "\n---\n".join(map(json.dumps, documents))
        (folder / f"users{part}.yaml").write_text(text, "utf-8")


def _document(kind: str, version: str, name: str, spec: object) -> dict[str, object]:
    return {"kind": kind, "version": version, "metadata": {"name": name}, "spec": spec}


def users(folder: Path, report: Report, share: float) -> None:
    """Have many of them ask, each under a role of their own."""
    (folder / "policy").mkdir()
    _policy(folder / "policy")
    began = time.monotonic()
    with bench_with(folder, workers=1) as bench:
        took_s = time.monotonic() - began
        report.note(f"{USERS} users with {ROLES} roles each, served after {took_s:.0f} s")
        report.note(f"{rss_mib(bench.gateway):.0f} MiB")
        with watched(bench, report, room_mib=200):
            took = []
            for _ in range(int(1000 * share)):
                number = random.randrange(USERS)  # noqa: S311 - to spread, no more
                role = random.choice(_roles_of(number))  # noqa: S311
                start = time.monotonic()
                answer = bench.ask(CALL, bench.keys(role, who=f"u{number}"))
                took.append(time.monotonic() - start)
                report.need(answer.status == 200, f"a request of u{number}: {answer.code}")
            other = bench.ask(CALL, bench.keys("r1", who="u2"))
            report.need(other.code == "denied", "the rule that keeps users apart")
            took.sort()
            p50, p99 = (took[len(took) * part // 100] * 1000 for part in (50, 99))
            report.note(f"{len(took)} requests of them, each with STS and a new connection")
            report.note(f"p50 {p50:.0f} ms, p99 {p99:.0f} ms")


def greedy(folder: Path, report: Report, share: float) -> None:
    """Have one user begin more uploads than they may, and not go on with any."""
    most, count = 200, int(600 * share)
    spec = f"limits: {{max_requests_per_user: {most}}}"
    upload = Call("s3", CALL.host, "PUT", "/upload", body=b"x" * 1000)
    with (
        bench_with(folder, workers=1, spec=spec) as bench,
        watched(bench, report, room_mib=60),
        ExitStack() as opened,
    ):
        keys, codes = bench.keys(who="alice"), Counter[str]()
        raw = upload.wire(upload.signed(keys))[:-1]
        wires = [opened.enter_context(secure(bench.gateway, CALL.host)) for _ in range(count)]
        for wire in wires:
            wire.send(raw)
        time.sleep(3)
        under_way = []
        for wire in wires:
            wire.sock.settimeout(0.05)
            try:
                codes[wire.read_answer().code] += 1
            except TimeoutError:
                under_way.append(wire)
        for wire in under_way:
            wire.sock.settimeout(10)
            wire.send(b"x")
        for wire in under_way:
            answer = wire.read_answer()
            codes[answer.code or str(answer.status)] += 1
        served = codes["200"]
        report.note(f"of {count} uploads: {dict(codes)}")
        report.need(served + codes["throttled"] == count, "an upload")
        report.need(served <= most, "the bound of a user")
        _free_again(bench, report)


def _free_again(bench: Bench, report: Report) -> None:
    keys = bench.keys(who="alice")
    report.need(until(lambda: bench.ask(CALL, keys).status == 200, within=10), "alice's share")
