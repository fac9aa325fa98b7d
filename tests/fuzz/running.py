"""A gateway under fire: cases are built, sent on many connections at once, and judged."""

from __future__ import annotations

import os
import socket
import ssl
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from awsgate.aws.sigv4 import SigningKeys
from awsgate.demo.processes import CORE_VARIABLE, HOST_VARIABLE, GatewayProcess
from e2e.recording import BASE_KEYS, bob_of, write_policy
from fuzz.asks import HOSTS, Case
from fuzz.edits import build
from fuzz.upstream import Upstream
from fuzz.verdict import Outcome, refused_for_its_hash, violations

WAYS = ("script", "run", "own")
BATCH = 200
THREADS = 24
QUIET_S = {"script": 0.6, "run": 0.6, "own": 0.3}
"""After so long without a byte a case that may be waiting for more is over."""
CLEAN_S = 30.0
CONNECT_S = 30.0


@dataclass
class Figures:
    """What a run did."""

    cases: int = 0
    clean: int = 0
    requests: int = 0
    """Signed ones that were sent, whole or spoiled."""
    arrived: int = 0
    cut: int = 0
    """Whose body broke off on the way: nothing that AWS would do."""
    foiled: int = 0
    """Whose body is not the one whose hash was signed: AWS refuses them."""
    refused: int = 0
    """Answers of 400 and above."""
    closed: int = 0
    """Connections that ended with no answer at all."""

    def add(self, case: Case, outcome: Outcome) -> None:
        whole = [a.request for a in outcome.arrived if a.request is not None and a.whole]
        self.cases += 1
        self.clean += case.is_clean
        self.requests += len(outcome.built.signed)
        self.arrived += len(whole)
        self.foiled += sum(
            refused_for_its_hash(r) for r in whole if r.values(b"x-amz-content-sha256")
        )
        self.cut += sum(not a.whole for a in outcome.arrived)
        self.refused += sum(status >= 400 for status in outcome.statuses)
        self.closed += not outcome.answered


@dataclass
class World:
    """A gateway in one of the ways to run it, and the AWS behind it."""

    gateway: GatewayProcess
    upstream: Upstream
    keys: SigningKeys
    tls: ssl.SSLContext
    way: str
    figures: Figures = field(default_factory=Figures)
    _sent: int = 0

    def judge(self, cases: Iterable[tuple[int, Case]]) -> Iterator[tuple[int, Case, list[str]]]:
        """Send cases, and give those with a violation. Numbers are the caller's own."""
        taken: list[tuple[int, Case]] = []
        for numbered in cases:
            taken.append(numbered)
            if len(taken) == BATCH:
                yield from self._batch(taken)
                taken = []
        yield from self._batch(taken)

    def one(self, case: Case) -> list[str]:
        """Give the violations of a single case."""
        return [word for _, _, words in self.judge([(0, case)]) for word in words]

    def _batch(self, cases: list[tuple[int, Case]]) -> Iterator[tuple[int, Case, list[str]]]:
        first, self._sent = self._sent, self._sent + len(cases)
        outcomes = [
            Outcome(build(case, f"z{first + at}", self.keys)) for at, (_, case) in enumerate(cases)
        ]
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(self._send, [case for _, case in cases], outcomes))
        for arrival in self._settled():
            number = int(arrival.mark[1:].partition("-")[0] or -1) - first
            if not 0 <= number < len(cases):
                number = 0  # it is nobody's, so it is a violation wherever it is put
            outcomes[number].arrived.append(arrival)
        for (number, case), outcome in zip(cases, outcomes, strict=True):
            self.figures.add(case, outcome)
            # mitmproxy reads as RFC 9112 lets it; the own core is strict.
            if words := violations(case, outcome, self.keys, lenient=self.way != "own"):
                yield number, case, words

    def _settled(self) -> list:  # type: ignore[type-arg]
        """Give all that arrived, once nothing more does."""
        arrived = []
        quiet = 0
        while quiet < 3:
            time.sleep(0.05)
            more = self.upstream.take()
            quiet = 0 if more else quiet + 1
            arrived += more
        return arrived

    def _send(self, case: Case, outcome: Outcome) -> None:
        with suppress(OSError), _connected(self, case) as sock:
            try:
                for at, piece in enumerate(outcome.built.pieces):
                    if at and case.pause_ms:
                        time.sleep(case.pause_ms / 1000)
                    sock.sendall(piece)
            except OSError:
                pass  # it was closed: what it answered may still be read
            _read(sock, outcome, CLEAN_S if case.is_clean else QUIET_S[self.way])


def _read(sock: socket.socket, outcome: Outcome, quiet_s: float) -> None:
    sock.settimeout(quiet_s)
    with suppress(OSError):
        while data := sock.recv(65536):
            outcome.answered += data


@contextmanager
def _connected(world: World, case: Case) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", world.gateway.port), CONNECT_S) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not case.tunnel:
            yield sock
            return
        host = HOSTS[case.tunnel]
        sock.sendall(f"CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n".encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            more = sock.recv(4096)
            if not more:
                return
            answer += more
        with world.tls.wrap_socket(sock, server_hostname=host) as inside:
            yield inside


@contextmanager
def world(folder: Path, way: str) -> Iterator[World]:
    """Start a gateway in a way to run it."""
    for name in (HOST_VARIABLE, CORE_VARIABLE):
        os.environ.pop(name, None)
    upstream = Upstream()
    policy = write_policy(
        folder / "policy.yaml",
        sts={"endpoint_url": upstream.url},
        non_aws="refuse",
        limits={"failures_per_minute": 0},  # nearly all of it fails, and nobody is slowed
    )
    core = () if way == "script" else ("--core", "own" if way == "own" else "mitmproxy")
    gateway = GatewayProcess(
        folder,
        policy=policy,
        keys=BASE_KEYS,
        upstream=upstream.url,
        workers=0 if way == "script" else 1,
        extra=core,
    )
    try:
        tls = ssl.create_default_context(cafile=str(gateway.certs / "ca-cert.pem"))
        yield World(gateway, upstream, bob_of(gateway), tls, way)
    finally:
        gateway.stop()
        upstream.close()
