"""How ``awsgate exec`` becomes its command.

The command has the pid that the shell started: exit codes, signals and job control are
its own. Its keys come from a local endpoint (``keyserver``), which a ``companion`` serves
for as long as the command runs, so they are renewed; or they stand in variables.
"""

from __future__ import annotations

import os
import shlex
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

from awsgate.address import proxy_address
from awsgate.cli.bounded import marked
from awsgate.cli.issuing import Issued, Wanted
from awsgate.cli.places import warn_if_down
from awsgate.variables import (
    OF_LOGINS,
    Change,
    access_by_endpoint,
    access_by_keys,
    leading_past,
)

if TYPE_CHECKING:
    from awsgate.cli.companion import Watch
    from awsgate.cli.local import LocalGateway

NOT_FOUND, NOT_EXECUTABLE = 127, 126  # as shells have it


@dataclass(frozen=True, slots=True)
class Run:
    """What a command is to run with."""

    wanted: Wanted
    issued: Issued
    region: str
    proxy: str
    static: bool
    """Keys in variables, and no endpoint."""
    local: bool
    settings: tuple[str, ...] = field(repr=False)
    """Options of the addon for a local gateway."""

    def become(self, command: Sequence[str]) -> NoReturn:
        """Start what must go on beside the command, and become the command.

        Raises ``SetupError`` if a local gateway is wanted and cannot be had.
        """
        if not self.local:
            todo = "awsgate status" if self.wanted.gateway else "awsgate run, or --local"
            warn_if_down(self.issued.way(self.proxy, "").proxy, todo)
        for entry in leading_past(os.environ):
            sys.stderr.write(f"awsgate: warning: NO_PROXY: {entry} is left out, it is AWS\n")
        environment = {k: v for k, v in os.environ.items() if k not in OF_LOGINS}
        _become(command, self._change().applied(environment))

    def _change(self) -> Change:
        way = self.issued.way(self.proxy, self.region)
        if self.static:
            if self.local:
                self._accompany(None, "")
            return access_by_keys(way, self.issued.keys, os.environ, self._marks())
        with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:
            token = os.urandom(32).hex()
            self._accompany(listening, token)
            url = f"http://127.0.0.1:{listening.getsockname()[1]}/credentials"
        return access_by_endpoint(way, url, token, os.environ, self._marks())

    def _marks(self) -> dict[str, str]:
        return marked(self.wanted, self.issued)

    def _accompany(self, listening: socket.socket | None, token: str) -> None:
        from awsgate.cli.companion import accompany

        gateway = self._local_gateway() if self.local else None

        def work(watch: Watch, ready: Callable[[], None]) -> None:
            with gateway.running() if gateway is not None else nullcontext():
                ready()
                if listening is not None:
                    _serve(listening, token, self.issued, self.wanted)
                watch.wait()

        accompany(work, keep=() if listening is None else (listening.fileno(),))

    def _local_gateway(self) -> LocalGateway:
        from awsgate.cli.local import LocalGateway
        from awsgate.listening import listens

        address = proxy_address(self.issued.way(self.proxy, "").proxy)
        gateway = LocalGateway(
            address=address,
            wanted=self.wanted,
            environment=dict(os.environ),
            listen=address if self.proxy else "",
            options=self.settings,
        )
        if not listens(gateway.address):
            sys.stderr.write(f"awsgate: starting a gateway at {gateway.address}\n")
        return gateway


def _serve(listening: socket.socket, token: str, issued: Issued, wanted: Wanted) -> None:
    """Answer on the endpoint, in a thread, until the process ends."""
    from threading import Thread

    from awsgate.cli.keyserver import KeySource, server_on
    from awsgate.cli.reuse import again

    server = server_on(listening, token, KeySource(issued, lambda old: again(wanted, old)))
    Thread(target=server.serve_forever, daemon=True).start()


def _become(command: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execvpe(command[0], list(command), environment)  # noqa: S606 - what the user asked for
    except FileNotFoundError:
        why, code = "no such command", NOT_FOUND
    except OSError as exc:
        why, code = exc.strerror or "cannot be run", NOT_EXECUTABLE
    sys.stderr.write(f"awsgate: error: {shlex.quote(command[0])}: {why}\n")
    sys.exit(code)
