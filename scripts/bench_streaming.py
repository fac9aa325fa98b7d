"""Streams through bare mitmdump, then through the gateway: MB/s, memory, delay.

    scripts/bench streaming [MiB]

    PUT, GET      one object of MiB (2048), as UNSIGNED-PAYLOAD
    chunk-signed  the same PUT as STREAMING-AWS4-HMAC-SHA256-PAYLOAD, chunks of 1 MiB
    peak RSS      over that of the idle process, in MiB
    event delay   from the upstream's write to the client's read, 1 KiB every 10 ms

The client, the upstream and the proxy share the machine; compare the ratios.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import re
import socket
import ssl
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench import HOST, STS, bare_mitmdump, gateway_in_front_of
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from awsgate.aws.chunked import ChunkSigner
from awsgate.aws.sigv4 import signing_key
from awsgate.demo.embedded_aws import READ_ONLY_ROLE

MIB = 1 << 20
BLOCK = bytes(range(256)) * (MIB // 256)
DIGEST = hashlib.sha256(BLOCK).hexdigest()
EVENTS = 300
EVENT_BYTES = 1024


# --- the upstream, in a process of its own ------------------------------------------


def serve(listener: socket.socket) -> None:
    """Take everything, give what is asked for."""
    while True:
        sock, _ = listener.accept()
        multiprocessing.Process(target=answer_all, args=(sock,), daemon=False).start()
        sock.close()


def answer_all(sock: socket.socket) -> None:
    """Answer the requests of one connection."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    pending = b""
    while True:
        while b"\r\n\r\n" not in pending:
            data = sock.recv(65536)
            if not data:
                return
            pending += data
        head, _, pending = pending.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
        left = int(length[1]) - len(pending) if length else 0
        room = bytearray(MIB)
        while left > 0:
            got = sock.recv_into(room, min(left, MIB))
            if not got:
                return
            left -= got
        pending = b""
        answer(sock, head)


def answer(sock: socket.socket, head: bytes) -> None:
    """Answer one request: credentials, an object, events, or nothing."""
    method, target, _ = head.split(b"\r\n")[0].split(b" ")
    if method == b"POST":
        until = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        body = STS.format(until=until).encode()
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    elif target == b"/events":
        sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(EVENTS):
            time.sleep(0.01)
            stamp = b"%020d" % time.monotonic_ns()
            sock.sendall(b"%x\r\n%s\r\n" % (EVENT_BYTES, stamp.ljust(EVENT_BYTES)))
        sock.sendall(b"0\r\n\r\n")
    else:
        count = int(target[1:]) if method == b"GET" else 0
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (count * MIB))
        for _ in range(count):
            sock.sendall(BLOCK)


# --- the client -----------------------------------------------------------------------


@dataclass
class Client:
    """Signs and sends, with nothing between it and the socket but TLS."""

    keys: dict[str, str]
    ca: Path

    def connect(self, port: int) -> ssl.SSLSocket:
        """Open TLS through the proxy on ``port``."""
        sock = socket.create_connection(("127.0.0.1", port))
        sock.sendall(f"CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}:443\r\n\r\n".encode())
        if b" 200 " not in sock.recv(65536):
            raise SystemExit("CONNECT was refused")
        context = ssl.create_default_context(cafile=str(self.ca))
        return context.wrap_socket(sock, server_hostname=HOST)

    def head(self, method: str, target: str, payload: str, length: int = 0) -> bytes:
        """Give a signed request head."""
        request = AWSRequest(method, f"https://{HOST}{target}")
        request.headers["Host"] = HOST
        if method == "PUT":
            request.headers["Content-Length"] = str(length)
        signer = S3SigV4Auth(
            Credentials(
                self.keys["AWS_ACCESS_KEY_ID"],
                self.keys["AWS_SECRET_ACCESS_KEY"],
                self.keys["AWS_SESSION_TOKEN"],
            ),
            "s3",
            "us-east-1",
        )
        signer.payload = lambda _: payload
        signer.add_auth(request)
        request.headers.replace_header("X-Amz-Content-SHA256", payload)
        lines = [f"{name}: {value}" for name, value in request.headers.items()]
        return "\r\n".join([f"{method} {target} HTTP/1.1", *lines, "", ""]).encode()

    def put(self, port: int, mib: int) -> float:
        """Upload; give MB/s."""
        return self._upload(
            port, self.head("PUT", "/x", "UNSIGNED-PAYLOAD", mib * MIB), [BLOCK] * mib, mib
        )

    def put_signed(self, port: int, mib: int) -> float:
        """Upload in signed chunks; give MB/s."""
        each = len(f"{MIB:x};chunk-signature={'0' * 64}\r\n\r\n") + MIB
        last = len(f"0;chunk-signature={'0' * 64}\r\n\r\n")
        head = self.head("PUT", "/x", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", each * mib + last)
        return self._upload(port, head, list(self._chunks(head, mib)), mib)

    def _chunks(self, head: bytes, mib: int) -> Iterator[bytes]:
        text = head.decode()
        stamp = re.search(r"X-Amz-Date: (\S+)", text)
        seed = re.search(r"Signature=([0-9a-f]{64})", text)
        if stamp is None or seed is None:
            raise SystemExit("not signed")
        day = stamp[1][:8]
        signer = ChunkSigner(
            signing_key(self.keys["AWS_SECRET_ACCESS_KEY"], day, "us-east-1", "s3"),
            stamp[1],
            f"{day}/us-east-1/s3/aws4_request",
            seed[1],
        )
        previous = seed[1]
        for block, digest in [(BLOCK, DIGEST)] * mib + [(b"", hashlib.sha256().hexdigest())]:
            previous = signer.chunk(previous, digest)
            # Two pieces, so that no gigabyte is copied before the clock starts.
            yield f"{len(block):x};chunk-signature={previous}\r\n".encode()
            if block:
                yield block
            yield b"\r\n"

    def _upload(self, port: int, head: bytes, pieces: list[bytes], mib: int) -> float:
        with self.connect(port) as sock:
            began = time.perf_counter()
            sock.sendall(head)
            for piece in pieces:
                sock.sendall(piece)
            if not sock.recv(65536).startswith(b"HTTP/1.1 200"):
                raise SystemExit("upload was refused")
            return mib * MIB / 1e6 / (time.perf_counter() - began)

    def get(self, port: int, mib: int) -> float:
        """Download; give MB/s."""
        room = bytearray(MIB)
        with self.connect(port) as sock:
            began = time.perf_counter()
            sock.sendall(self.head("GET", f"/{mib}", "UNSIGNED-PAYLOAD"))
            got = -len(until_blank(sock)[0])
            left = mib * MIB + got
            while left > 0:
                left -= sock.recv_into(room)
            return mib * MIB / 1e6 / (time.perf_counter() - began)

    def delays(self, port: int) -> list[float]:
        """Give the milliseconds that each event was on its way."""
        with self.connect(port) as sock:
            sock.sendall(self.head("GET", "/events", "UNSIGNED-PAYLOAD"))
            return event_delays(sock)


def until_blank(sock: socket.socket) -> tuple[bytes, bytes]:
    """Read an answer's head; give what came after it, and the head."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += sock.recv(65536)
    head, _, rest = data.partition(b"\r\n\r\n")
    return rest, head


def event_delays(sock: socket.socket) -> list[float]:
    """Read events to the end."""
    data, found = until_blank(sock)[0], []
    while b"0\r\n\r\n" not in data[-7:]:
        piece = sock.recv(65536)
        if not piece:
            break
        now = time.monotonic_ns()
        found += [(now - int(stamp)) / 1e6 for stamp in re.findall(rb"(?<!\d)(\d{20}) ", piece)]
        data = (data + piece)[-16:]
    return found


# --- the measure ---------------------------------------------------------------------------


def rss_mib(pid: int, field: str) -> float:
    """Give a memory figure of a process."""
    matched = re.search(rf"{field}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(matched[1]) / 1024 if matched else 0.0


def peak_over_idle(pid: int, work: Callable[[], float]) -> tuple[float, float]:
    """Do ``work``; give its result and how much memory it took at the most."""
    idle = rss_mib(pid, "VmRSS")
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak counts from here
    result = work()
    return result, rss_mib(pid, "VmHWM") - idle


def report(what: str, bare: float, ours: float, unit: str, peak: float | None = None) -> None:
    """Print one row."""
    memory = f"   peak RSS over idle {peak:5.1f} MiB" if peak is not None else ""
    print(f"{what:<24} mitmdump {bare:7.1f}  awsgate {ours:7.1f} {unit}  "
          f"ratio {ours / bare:5.2f}{memory}")  # fmt: skip


def main() -> None:
    """Run everything, and print the ratios."""
    mib = int(sys.argv[1]) if len(sys.argv) > 1 else 2048
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    upstream = multiprocessing.Process(target=serve, args=(listener,), daemon=False)
    upstream.start()
    port = listener.getsockname()[1]
    listener.close()
    with tempfile.TemporaryDirectory() as name:
        gateway = gateway_in_front_of(Path(name), port)
        bare, bare_port = bare_mitmdump(Path(name), gateway, port, stream=True)
        try:
            keys = gateway.env(user="alice", app="awsconsole-test", role=READ_ONLY_ROLE)
            client = Client(keys, gateway.certs / "ca-cert.pem")
            for each in (bare_port, gateway.port):
                client.put(each, 64)
                client.get(each, 64)
            pid = gateway.process.pid
            put, put_peak = peak_over_idle(pid, lambda: client.put(gateway.port, mib))
            report("PUT", client.put(bare_port, mib), put, "MB/s", put_peak)
            get, get_peak = peak_over_idle(pid, lambda: client.get(gateway.port, mib))
            report("GET", client.get(bare_port, mib), get, "MB/s", get_peak)
            signed, peak = peak_over_idle(pid, lambda: client.put_signed(gateway.port, mib))
            print(f"{'chunk-signed PUT':<24} {signed:7.1f} MB/s, {signed / put:.2f} of the "
                  f"unsigned one   peak RSS over idle {peak:5.1f} MiB")  # fmt: skip
            stock, ours = client.delays(bare_port), client.delays(gateway.port)
            with socket.create_connection(("127.0.0.1", port)) as sock:
                sock.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
                direct = statistics.median(event_delays(sock))
            print(f"{'event delay p50':<24} direct {direct:.2f} ms, mitmdump "
                  f"{statistics.median(stock):.2f} ms, awsgate {statistics.median(ours):.2f} ms, "
                  f"added {statistics.median(ours) - direct:.2f} ms")  # fmt: skip
        finally:
            bare.stop()
            gateway.stop()
            upstream.terminate()


if __name__ == "__main__":
    main()
