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
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock

from awsgate.cli.issuing import Issued
from awsgate.cli.no import No
from awsgate.errors import SetupError

PATH = "/credentials"
IDLE_S = 10
"""How long a connection may say nothing."""

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


def server_on(listening: socket.socket, token: str, source: KeySource) -> ThreadingHTTPServer:
    """Give a server for a socket that listens already."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = IDLE_S

        def do_GET(self) -> None:
            status, body = self._answer()
            raw = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            self.send_header("Cache-Control", "no-store")
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

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = listening
    server.daemon_threads = True
    return server
