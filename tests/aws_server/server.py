"""A strict AWS on loopback: it verifies what no emulator does, and keeps what it saw.

One HTTP/1.1 port speaks for every service; which one is asked tells the Host (``hosts``)
or, for a loopback Host, the credential scope. A request that fails a check is answered as
AWS words it, is never stored, and is in ``requests`` with the name of its fault.

Nothing here comes from the gateway's package: the checks are a second reading of AWS's
specification. Not an emulator: only S3 objects and STS credentials have a state.

Use: ``with StrictAws() as aws: boto3.client("s3", endpoint_url=aws.url, ...)``.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from datetime import UTC, datetime
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import IO, Self, cast

from aws_server.exchange import exchange
from aws_server.hosts import Endpoint
from aws_server.model import BaseKeys, Clock, Request
from aws_server.objects import Objects, Stored
from aws_server.sts import KeyRing

BASE_KEYS = BaseKeys("AKIASTRICTAWSBASEKEY", "canary-strict-base/secret+key")
LINGER_S = 1.0


class StrictAws:
    """The server, on a port of its own, in threads of this process."""

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        base_keys: BaseKeys = BASE_KEYS,
        keep_bodies: bool = False,
        hosts: dict[str, Endpoint] | None = None,
    ) -> None:
        self.clock = clock or (lambda: datetime.now(UTC))
        self.base_keys = base_keys
        self.keep_bodies = keep_bodies
        self.hosts = hosts or {}
        self.anonymous_buckets: set[str] = set()
        """Buckets that anyone may read unsigned."""
        self.keys = KeyRing(base_keys, self._now)
        self.requests: list[Request] = []
        """In the order of their heads; a record is filled while its body comes."""
        self.store = Objects()
        self._sockets: set[socket.socket] = set()
        self._server = _server(self)
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def _now(self) -> datetime:
        return self.clock()  # a test may set another

    @property
    def objects(self) -> dict[tuple[str, str], Stored]:
        """(bucket or access point, key) -> what is stored there."""
        return self.store.stored

    @property
    def gateway_keys(self) -> dict[str, str]:
        """Environment for a gateway: credentials that may assume roles."""
        return {
            "AWS_ACCESS_KEY_ID": self.base_keys.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.base_keys.secret_access_key,
        }

    @property
    def issued(self) -> list[str]:
        """Every secret and token it ever issued."""
        return self.keys.issued

    def faults(self) -> list[str]:
        """Give the name of every fault so far."""
        return [request.fault for request in self.requests if request.fault]

    def reset(self) -> None:
        """Forget requests and objects, and take the real clock; issued keys stay good."""
        self.requests.clear()
        self.objects.clear()
        self.clock = lambda: datetime.now(UTC)

    def close(self) -> None:
        """Stop, and drop every connection."""
        self._server.shutdown()
        self._server.server_close()
        for connection in list(self._sockets):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def serve(self, connection: socket.socket, rfile: IO[bytes], wfile: IO[bytes]) -> None:
        """Answer one connection's requests until it closes."""
        self._sockets.add(connection)
        try:
            while exchange(self, rfile, wfile):
                pass
            _linger(connection)
        except OSError:
            pass  # the other side has gone
        finally:
            self._sockets.discard(connection)


def _linger(connection: socket.socket) -> None:
    """Read on a little after the last answer: a reset would take the answer with it."""
    connection.shutdown(socket.SHUT_WR)
    end = time.monotonic() + LINGER_S
    connection.settimeout(LINGER_S)
    while time.monotonic() < end and connection.recv(65536):
        pass


def _server(aws: StrictAws) -> ThreadingTCPServer:
    class Handler(StreamRequestHandler):
        disable_nagle_algorithm = True

        def handle(self) -> None:
            aws.serve(self.connection, cast("IO[bytes]", self.rfile), cast("IO[bytes]", self.wfile))

    class Server(ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False
        request_queue_size = 128

    return Server(("127.0.0.1", 0), Handler)
