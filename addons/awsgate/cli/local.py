"""``--local``: a gateway on this machine for as long as commands need one.

The first command starts it, if none answers where the policy says; the last one ends it.
Every command holds ``local.lock`` (shared) while it runs, and whoever started the gateway
stops it once nobody holds that any more.

    local.lock        held by commands that use the local gateway
    local-start.lock  held while one of them looks, and starts it
    local-gateway.log what it says
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from awsgate.address import split
from awsgate.cli.issuing import Wanted
from awsgate.errors import SetupError

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 35.0
LOG_NAME = "local-gateway.log"
MAX_LOG_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class LocalGateway:
    """Where a gateway is to be, and what of."""

    address: str
    """``host:port`` where clients find it."""
    wanted: Wanted
    environment: Mapping[str, str] = field(repr=False)
    """Of the caller: the base credentials are in it."""
    listen: str = ""
    """``host:port``, if not where the policy says."""
    options: tuple[str, ...] = ()
    """Options of the addon: ``name=value``."""

    @contextmanager
    def running(self) -> Iterator[None]:
        """Have a gateway there; the last of all that need it stops the one it started.

        Raises ``SetupError`` if none can be had.
        """
        state = self.wanted.state
        with _locked(state / "local.lock", fcntl.LOCK_SH) as shared:
            with _locked(state / "local-start.lock", fcntl.LOCK_EX):
                started = None if answers(self.address) else self._start()
            try:
                yield
            finally:
                if started is not None:
                    fcntl.flock(shared, fcntl.LOCK_UN)
                    fcntl.flock(shared, fcntl.LOCK_EX)
                    _stop(started)

    def _start(self) -> subprocess.Popen[bytes]:
        log = self.wanted.state / LOG_NAME
        if log.exists() and log.stat().st_size > MAX_LOG_BYTES:
            log.unlink()
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "wb") as out:
            process = subprocess.Popen(  # noqa: S603 - our own gateway
                self.command(), stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                env=dict(self.environment),
            )  # fmt: skip
        try:
            self._wait_for(process, log)
        except BaseException:
            _stop(process)
            raise
        return process

    def _wait_for(self, process: subprocess.Popen[bytes], log: Path) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while process.poll() is None and time.monotonic() < deadline:
            if answers(self.address):
                return
            time.sleep(0.05)
        from awsgate.demo.processes import end_of

        raise SetupError(
            f"no gateway came up at {self.address}",
            hint=f"the whole log is {log}",
            faults=end_of(log),
        )

    def command(self) -> list[str]:
        """Give what starts it."""
        from awsgate.demo.processes import entry_script, mitmdump

        settings = [
            f"awsgate_policy={self.wanted.policy}",
            f"awsgate_state={self.wanted.state}",
            f"awsgate_certs={self.wanted.certs}",
            "awsgate_metrics=",  # a port of its own would be in the way of another gateway
            *self.options,
        ]
        return mitmdump(entry_script(self.wanted.state), self.listen, settings)


def answers(address: str) -> bool:
    """True if a gateway answers there. Raises ``SetupError`` if it is something else."""
    connection = HTTPConnection(*split(address), timeout=5)
    try:
        connection.request("GET", "/", headers={"Host": "awsgate.invalid"})
        answer = connection.getresponse()
        names = {name.lower() for name, _ in answer.getheaders()}
    except (ConnectionError, TimeoutError):
        return False
    except (OSError, HTTPException) as exc:
        raise _occupied(address) from exc
    finally:
        connection.close()
    if "x-awsgate-code" not in names:
        raise _occupied(address)
    return True


def _occupied(address: str) -> SetupError:
    return SetupError(
        f"what answers at {address} is no awsgate",
        hint="give the gateway another place: spec.listen in kind: gateway, or --proxy",
    )


@contextmanager
def _locked(path: Path, how: int) -> Iterator[int]:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, how)
        yield handle
    finally:
        os.close(handle)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
