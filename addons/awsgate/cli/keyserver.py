"""The local endpoint that gives an SDK its credentials, and new ones before they end.

The protocol of ECS and EKS containers, as every SDK speaks it: GET with a token in
``Authorization``, answered by AccessKeyId, SecretAccessKey, Token and Expiration. On
127.0.0.1 alone; who lacks the token gets nothing. It says no as the SDKs show it, with
``code`` and ``message``.

Source: "Container credential provider", AWS SDKs and Tools Reference Guide.
"""

from __future__ import annotations

import hmac
import json
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import BoundedSemaphore, Lock, Timer
from typing import Any

from awsgate.cli.issuing import Issued
from awsgate.cli.no import No
from awsgate.errors import SetupError

PATH = "/credentials"
ASKING_S = 5.0
"""How long a connection may take to ask, from its first moment on."""
MOST_CONNECTIONS = 32
"""At once. Further ones wait for one of them to end."""

Answer = tuple[int, dict[str, str]]


class KeySource:
    """Credentials with more than half of their life left, whenever they are asked for."""

    def __init__(
        self,
        issued: Issued,
        renew: Callable[[Issued], Issued],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._issued, self._renew, self._clock = issued, renew, clock
        self._lock = Lock()

    def answer(self) -> Answer:
        """Give status and body of an answer."""
        with self._lock:
            now = self._clock()
            if not self._issued.half_left(now):
                try:
                    self._issued = self._renew(self._issued)
                except No as no:
                    return 403, _failure("AccessDenied", str(no))
                except SetupError as exc:
                    # A policy that is being edited must not end what goes on well.
                    if self._issued.keys.expires_at <= now:
                        return 500, _failure("InternalServerError", exc.message)
            return 200, _success(self._issued)


def _success(issued: Issued) -> dict[str, str]:
    return {
        "AccessKeyId": issued.keys.access_key_id,
        "SecretAccessKey": issued.keys.secret_access_key,
        "Token": issued.keys.session_token,
        "Expiration": issued.keys.expiration,
        "RoleArn": issued.role_arn,
    }


def _failure(code: str, message: str) -> dict[str, str]:
    return {"code": code, "message": f"awsgate: {message}"}


class KeyServer(ThreadingHTTPServer):
    """Answers few connections at once: any program of this machine can open one."""

    daemon_threads = True

    def __init__(self, listening: socket.socket, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self._free = BoundedSemaphore(MOST_CONNECTIONS)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread, once there is room for one."""
        self._free.acquire()
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer, and make room."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, *_: object) -> None:
        """Say nothing of a connection that broke off: stderr is the command's."""


def _end(connection: socket.socket) -> None:
    with suppress(OSError):  # it has ended itself
        connection.shutdown(socket.SHUT_RDWR)


def server_on(
    listening: socket.socket, token: str, source: KeySource, asking_s: float = ASKING_S
) -> KeyServer:
    """Give a server for a socket that listens already. One request a connection."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = asking_s  # of each read and write

        def setup(self) -> None:
            super().setup()
            # Of all reads together: a byte a second would never be idle.
            self.deadline = Timer(asking_s, _end, (self.connection,))
            self.deadline.daemon = True
            self.deadline.start()

        def finish(self) -> None:
            self.deadline.cancel()
            super().finish()

        def do_GET(self) -> None:
            self.deadline.cancel()  # new keys may take a while
            self.close_connection = True
            status, body = self._answer()
            raw = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(raw)

        def _answer(self) -> Answer:
            given = self.headers.get("Authorization", "")
            if not hmac.compare_digest(given.encode(), token.encode()):
                return 401, _failure("Unauthorized", "the token is missing or wrong")
            if self.path != PATH:
                return 404, _failure("NotFound", "there is nothing here")
            return source.answer()

        def log_message(self, *_: object) -> None:
            """Say nothing: nobody reads it."""

    return KeyServer(listening, Handler)
