"""The gateway ahead, to which all calls are handed: where it is, and what proves it.

Its certificate must lead to the one root that was trusted when somebody logged in there.
Whoever asks it for credentials knows that root (``upstreamkeys``), and puts it where all
processes of this gateway find it, under its pin, so that another one has another name:

    <state>/upstream/<pin>.pem
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from awsgate.address import joined
from awsgate.errors import Code, Refusal, SetupError
from awsgate.onward import address_of
from awsgate.paths import private_folder, write_file
from awsgate.policy import UpstreamGateway

FOLDER = "upstream"
_PIN = re.compile(r"sha256:([0-9a-f]{64})")


class NextGateway:
    """Where calls go on to. ``state`` is the state folder of this gateway."""

    def __init__(self, spec: UpstreamGateway, state: Path) -> None:
        self.scheme, self.host, self.port = address_of(spec)
        self.name = joined(self.host, self.port)
        """For people."""
        self.login_hint = log_in(spec)
        self._folder = state / FOLDER
        self._root = ""
        self._looked = 0

    def root(self) -> str:
        """Give the file of the root that it must prove itself with. Empty: none is known."""
        try:
            changed = self._folder.stat().st_mtime_ns
            if changed != self._looked:
                found = sorted(self._folder.glob("*.pem"), key=lambda path: path.stat().st_mtime_ns)
                self._root, self._looked = str(found[-1]) if found else "", changed
        except OSError:
            self._root, self._looked = "", 0
        return self._root

    def check(self) -> None:
        """Raise ``Refusal`` if it could not prove itself: nobody has logged in there yet."""
        if self.scheme == "https" and not self.root():
            raise Refusal(
                Code.UPSTREAM_FAILED,
                f"nobody is logged in at the gateway {self.name}",
                hint=f"log in: {self.login_hint}",
                status=503,
            )


def next_gateway(spec: UpstreamGateway | None, state: Path, upstream: str) -> NextGateway | None:
    """Give the gateway ahead, if there is one. ``upstream`` is where all calls are to go instead.

    Raises ``SetupError`` if there are both.
    """
    if spec is None:
        return None
    if upstream:
        raise SetupError(
            f"all calls are to go to {upstream}, and by the policy to {spec.url}",
            hint="leave --upstream (awsgate_upstream) out, or spec.upstream_gateway",
        )
    return NextGateway(spec, state)


def publish_root(state: Path, pem: str, pin: str) -> None:
    """Put the root where ``NextGateway`` finds it, in place of another one.

    Raises ``SetupError``, and ``ValueError`` if that is no pin.
    """
    named = _PIN.fullmatch(pin)
    if named is None:
        raise ValueError("no pin")
    folder = state / FOLDER
    path, content = folder / f"{named[1]}.pem", pem.encode("ascii")
    private_folder(folder)
    if not path.exists() or path.read_bytes() != content:
        write_file(path, content, mode=0o600)
    for other in folder.glob("*.pem"):
        if other != path:
            with suppress(OSError):
                other.unlink()


def log_in(spec: UpstreamGateway) -> str:
    """Give the command that logs in at the gateway ahead."""
    return f"awsgate login --gateway {spec.control or f'(the control API of {spec.url})'}"
