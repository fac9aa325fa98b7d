"""CPU per request, and per new connection: bare mitmdump, and each way to run the gateway.

    scripts/bench [requests] [COUNT] [--rounds N] [--json]
    scripts/bench connections [COUNT] [--rounds N] [--json]
    scripts/bench streaming [MiB]     see bench_streaming.py
    scripts/bench router              see bench_router.py
    scripts/bench startup             see bench_startup.py

Same upstream, same client, in turns; the median of the rounds, over all processes of a
contender. The client signs every request with gateway credentials. ``requests`` keeps one
connection, ``connections`` opens one for each: CONNECT, TLS, one request. The upstream
answers at once. STS is a small server of our own, asked once.
"""

from __future__ import annotations

import argparse
import json
import ssl
import statistics
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.client import HTTPSConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from awsgate.demo.embedded_aws import READ_ONLY_ROLE
from awsgate.demo.processes import GatewayProcess, Running, clean_env, free_port, start
from awsgate.demo.story import POLICY

HOST = "bench.s3.us-east-1.amazonaws.com"

BARE = """
def requestheaders(flow):
    flow.request.data.host, flow.request.data.port = "127.0.0.1", {port}
    flow.request.data.scheme = b"http"
    flow.request.stream = {stream}

def responseheaders(flow):
    flow.response.stream = True
"""

STS = """<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>
<Credentials><AccessKeyId>ASIAIOSFODNN7EXAMPLE</AccessKeyId><SecretAccessKey>bench</SecretAccessKey>
<SessionToken>bench</SessionToken><Expiration>{until}</Expiration></Credentials>
</AssumeRoleResult></AssumeRoleResponse>"""


class Upstream(BaseHTTPRequestHandler):
    """Answers everything; POST is AssumeRole."""

    protocol_version = "HTTP/1.1"
    wbufsize = 65536  # one segment an answer, or delayed ACKs are what is measured

    def _answer(self, body: bytes) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        """A small object."""
        self._answer(b"x" * 1024)

    def do_POST(self) -> None:
        """Credentials for an hour."""
        until = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        self._answer(STS.format(until=until).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def cpu_s(pid: int) -> float:
    """Give user and system time of a process so far, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def cpu_of_all_s(pid: int) -> float:
    """Give the CPU seconds of a process and of all that it started and that still run."""
    total = cpu_s(pid)
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(") ")[2].split()
            except OSError:  # it has ended
                continue
            if int(fields[1]) == pid:
                total += cpu_of_all_s(int(entry.name))
    return total


@dataclass
class Contender:
    """What is measured: a process, and the way in."""

    name: str
    pid: int
    port: int
    ca: Path
    keys: dict[str, str]
    cpu_ms: list[float] = field(default_factory=list)
    """Of each round, for one request."""


def signed_requests(keys: dict[str, str], count: int) -> list[dict[str, str]]:
    """Give the headers of ``count`` requests for ``/0``, ``/1`` and so on."""
    signer = S3SigV4Auth(
        Credentials(
            keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"], keys["AWS_SESSION_TOKEN"]
        ),
        "s3",
        "us-east-1",
    )
    signed = []
    for number in range(count):
        request = AWSRequest("GET", f"https://{HOST}/{number}")
        request.headers["Host"] = HOST
        signer.add_auth(request)
        signed.append(dict(request.headers.items()))
    return signed


def drive(port: int, ca: Path, keys: dict[str, str], count: int, *, keep: bool = True) -> float:
    """Send ``count`` signed requests through the proxy on ``port``; give the seconds.

    Not ``keep``: each on a connection of its own.
    """
    signed = signed_requests(keys, count)
    context = ssl.create_default_context(cafile=str(ca))
    client: HTTPSConnection | None = None
    began = time.perf_counter()
    for number, headers in enumerate(signed):
        if client is None:
            client = HTTPSConnection("127.0.0.1", port, context=context)
            client.set_tunnel(HOST, 443)
        client.request("GET", f"/{number}", headers=headers)
        answer = client.getresponse()
        answer.read()
        if answer.status != 200:
            raise SystemExit(f"status {answer.status}")
        if not keep:
            client.close()
            client = None
    return time.perf_counter() - began


def measure(one: Contender, count: int, *, keep: bool) -> None:
    """Run one round."""
    drive(one.port, one.ca, one.keys, max(10, count // 20), keep=keep)
    before = cpu_of_all_s(one.pid)
    drive(one.port, one.ca, one.keys, count, keep=keep)
    one.cpu_ms.append((cpu_of_all_s(one.pid) - before) / count * 1000)


def gateway_in_front_of(folder: Path, port: int, *, core: str = "") -> GatewayProcess:
    """Start a gateway whose AWS is the server on ``port``: ``awsgate run``, if with a core."""
    folder.mkdir(exist_ok=True)
    (folder / "policy.yaml").write_text(POLICY)
    return GatewayProcess(
        folder,
        policy=folder / "policy.yaml",
        keys={"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": "bench"},
        upstream=f"http://127.0.0.1:{port}",
        workers=1 if core else 0,
        extra=("--core", core) if core else (),
    )


def bare_mitmdump(
    folder: Path, gateway: GatewayProcess, upstream: int, *, stream: bool = False
) -> tuple[Running, int]:
    """Start a mitmdump that sends everything to ``upstream``; give it and its port.

    With ``stream`` request bodies go on as they come; answers always do.
    """
    (folder / "bare.py").write_text(BARE.format(port=upstream, stream=stream))
    port = free_port()
    running = start(
        [str(Path(sys.executable).parent / "mitmdump"), "-q", "-s", str(folder / "bare.py"),
         "--listen-host", "127.0.0.1", "--listen-port", str(port),
         "--set", f"confdir={gateway.certs}", "--set", "connection_strategy=lazy",
         "--set", "http2=false", "--set", "upstream_cert=false"],
        log=folder / "bare.log", env=clean_env(gateway.home), port=port,
    )  # fmt: skip
    return running, port


def contenders(folder: Path, upstream: int, stopping: ExitStack) -> list[Contender]:
    """Start all that are compared; ``stopping`` ends them."""
    gateways = {
        "mitmdump -s awsgate.py": "",
        "awsgate run": "mitmproxy",
        "awsgate run, own core": "own",
    }
    found = []
    bare: Contender | None = None
    for number, (name, core) in enumerate(gateways.items()):
        gateway = gateway_in_front_of(folder / str(number), upstream, core=core)
        stopping.callback(gateway.stop)
        keys = gateway.env(user="alice", app="awsconsole-test", role=READ_ONLY_ROLE)
        ca = gateway.certs / "ca-cert.pem"
        if bare is None:
            running, port = bare_mitmdump(folder, gateway, upstream)
            stopping.callback(running.stop)
            bare = Contender("mitmdump -q, bare", running.process.pid, port, ca, keys)
            found.append(bare)
        found.append(Contender(name, gateway.process.pid, gateway.port, ca, keys))
    return found


def main() -> None:
    """Measure all, in turns, and print a table or JSON."""
    parser = argparse.ArgumentParser(prog="scripts/bench")
    parser.add_argument("what", nargs="?", default="requests", choices=("requests", "connections"))
    parser.add_argument("count", nargs="?", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    keep = asked.what == "requests"
    count = asked.count or (3000 if keep else 300)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stopping:
        server = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        stopping.callback(server.shutdown)
        all_of_them = contenders(Path(name), server.server_port, stopping)
        for _ in range(asked.rounds):
            for one in all_of_them:
                measure(one, count, keep=keep)
    show(all_of_them, what=asked.what, as_json=asked.json)


def show(measured: list[Contender], *, what: str, as_json: bool) -> None:
    """Print medians, and what they are of those of bare mitmdump, which is the first."""
    base = statistics.median(measured[0].cpu_ms)
    rows = [
        {
            "name": one.name,
            "cpu_ms": round(statistics.median(one.cpu_ms), 3),
            "of_bare": round(statistics.median(one.cpu_ms) / base, 3),
            "rounds": [round(value, 3) for value in one.cpu_ms],
        }
        for one in measured
    ]
    if as_json:
        print(json.dumps({"what": what, "results": rows}))
        return
    print(f"CPU for one of {what}, median of {len(measured[0].cpu_ms)} rounds")
    for row in rows:
        print(f"  {row['name']:<24} {row['cpu_ms']:7.3f} ms   {row['of_bare']:5.2f} of bare")


if __name__ == "__main__":
    main()
