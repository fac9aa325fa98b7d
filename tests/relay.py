"""A TCP relay that remembers what it passes on: what two parties say, secrets included."""

from __future__ import annotations

import contextlib
import socket
import threading


class Relay:
    """Passes TCP on to a server, and remembers every byte both ways."""

    def __init__(self, target: tuple[str, int] | None) -> None:
        """No target: answers everything with what it was sent."""
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.heard = bytearray()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._target is None:
                with client:
                    client.sendall(client.recv(65536))
                continue
            server = socket.create_connection(self._target)
            for one, other in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=(one, other), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError), source:
            while data := source.recv(65536):
                self.heard += data
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
