"""CPU per request: bare mitmdump, then the gateway, same upstream, same client.

    scripts/bench [requests]
    scripts/bench streaming [MiB]     see bench_streaming.py
    scripts/bench router              see bench_router.py

The client signs every request with gateway credentials and keeps one connection. The
upstream answers at once. STS is a small server of our own, asked once.
"""

from __future__ import annotations

import ssl
import subprocess
import sys
import tempfile
import threading
import time
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


def drive(port: int, ca: Path, keys: dict[str, str], count: int) -> float:
    """Send ``count`` signed requests through the proxy on ``port``; give the seconds."""
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
    context = ssl.create_default_context(cafile=str(ca))
    client = HTTPSConnection("127.0.0.1", port, context=context)
    client.set_tunnel(HOST, 443)
    began = time.perf_counter()
    for number, headers in enumerate(signed):
        client.request("GET", f"/{number}", headers=headers)
        answer = client.getresponse()
        answer.read()
        if answer.status != 200:
            raise SystemExit(f"status {answer.status}")
    return time.perf_counter() - began


def measure(name: str, process: subprocess.Popen[bytes], port: int, ca: Path,
            keys: dict[str, str], count: int) -> float:  # fmt: skip
    """Warm up, measure, print; give the CPU milliseconds a request."""
    drive(port, ca, keys, 200)
    before = cpu_s(process.pid)
    wall = drive(port, ca, keys, count)
    cpu_ms = (cpu_s(process.pid) - before) / count * 1000
    print(f"{name:<10} {cpu_ms:6.3f} ms CPU a request, {count / wall:6.0f} requests/s")
    return cpu_ms


def gateway_in_front_of(folder: Path, port: int) -> GatewayProcess:
    """Start a gateway whose AWS is the server on ``port``."""
    (folder / "policy.yaml").write_text(POLICY)
    return GatewayProcess(
        folder,
        policy=folder / "policy.yaml",
        keys={"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": "bench"},
        upstream=f"http://127.0.0.1:{port}",
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


def main() -> None:
    """Run both and print the ratio."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 3000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        gateway = gateway_in_front_of(folder, server.server_port)
        bare, port = bare_mitmdump(folder, gateway, server.server_port)
        try:
            keys = gateway.env(user="alice", app="awsconsole-test", role=READ_ONLY_ROLE)
            ca = gateway.certs / "ca-cert.pem"
            stock = measure("mitmdump", bare.process, port, ca, keys, count)
            ours = measure("awsgate", gateway.process, gateway.port, ca, keys, count)
            print(f"ratio      {ours / stock:6.2f}")
        finally:
            bare.stop()
            gateway.stop()
            server.shutdown()


if __name__ == "__main__":
    main()
