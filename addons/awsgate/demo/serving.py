"""An embedded AWS and a gateway in front of it that stay: to try things out.

The gateway is the one of this set-up, with its policy, session key and CA, at the address
that the policy names; only AWS is replaced. So ``awsgate exec`` and ``awsgate env`` work
as they will with AWS itself.

``<state>/demo/`` holds the logs, a lock that is held while it runs, and ``serving.json``,
which is there while it serves.
"""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from awsgate.address import split
from awsgate.demo.processes import (
    START_TIMEOUT_S,
    Running,
    clean_env,
    end_of,
    entry_script,
    mitmdump,
    start,
)
from awsgate.errors import SetupError
from awsgate.listening import listens
from awsgate.paths import private_folder
from awsgate.policy import Policy, grantable_roles

ACCOUNT = "123456789012"
"""Of the embedded AWS, which has no other."""
_STOP_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Places:
    """Where the set-up keeps its files. Absolute paths."""

    policy: Path
    state: Path
    certs: Path

    @property
    def folder(self) -> Path:
        """Give the demo's own folder."""
        return self.state / "demo"

    @property
    def log(self) -> Path:
        """Give the log of what was started in the background."""
        return self.folder / "demo.log"


@dataclass(frozen=True, slots=True)
class Serving:
    """A demo that serves."""

    pid: int
    upstream: str
    """URL of the embedded AWS."""
    address: str
    """``host:port`` of the gateway."""
    example: str
    """A command to go on with; empty: the policy gives nobody a role that is there."""

    def lines(self, options: Sequence[str] = ()) -> list[str]:
        """Give what to tell the user; ``options`` name the folders in the commands."""
        example = self.example
        if example and options:
            words = shlex.split(example)
            at = words.index("--", 2)
            example = shlex.join([*words[:at], *options, *words[at:]])
        return [
            f"embedded AWS  {self.upstream}  (moto; signature and IAM checks on)",
            f"gateway       {self.address}",
            *([f"next          {example}"] if example else []),
            f"end           {shlex.join(['awsgate', 'demo', '--stop', *options])}",
        ]


def serve(places: Places, ready: Callable[[Serving], None]) -> None:
    """Start both, call ``ready``, and stay until SIGINT or SIGTERM. Raises ``SetupError``."""
    from awsgate.demo.embedded_aws import EmbeddedAws
    from awsgate.policyfile import load_policy

    try:
        policy = load_policy(places.policy)
    except SetupError as exc:
        hint = exc.hint if exc.faults else "awsgate init --embedded writes one"
        raise SetupError(exc.message, faults=exc.faults, hint=hint) from exc
    address = policy.gateway.listen
    _folder(places)
    for name in [n for n in os.environ if n.startswith("AWS_")]:
        del os.environ[name]  # a shell's profile is nothing to the embedded AWS
    with _only_one(places):
        _check_free(address)
        ended = _on_signals()
        aws = EmbeddedAws(places.folder, roles_of(policy))
        gateway: Running | None = None
        try:
            gateway = _gateway(places, address, aws.url, aws.gateway_keys)
            serving = Serving(os.getpid(), aws.url, address, example_for(policy))
            _publish(places, serving)
            ready(serving)
            while not ended.wait(0.5):
                if gateway.process.poll() is not None:
                    raise SetupError("the gateway has ended", faults=end_of(gateway.log))
        finally:
            (places.folder / "serving.json").unlink(missing_ok=True)
            if gateway is not None:
                gateway.stop()
            aws.stop()


def start_in_background(places: Places) -> Serving:
    """Start a process that serves, and wait until it does. Raises ``SetupError``."""
    found = served(places)
    if found is not None:
        return found
    _folder(places)
    command = [
        sys.executable, "-m", "awsgate", "demo", "--serve", "--policy", str(places.policy),
        "--state", str(places.state), "--certs", str(places.certs),
    ]  # fmt: skip
    with places.log.open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - ourselves
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    deadline = time.monotonic() + 2 * START_TIMEOUT_S
    while time.monotonic() < deadline:
        found = served(places)
        if found is not None and found.pid == process.pid:
            return found
        if process.poll() is not None:
            raise _said(places.log)
        time.sleep(0.05)
    process.terminate()
    raise SetupError("the demo did not come up", hint=f"see {places.log}")


def stop(places: Places) -> bool:
    """End the demo that serves. False: there was none. Raises ``SetupError``."""
    found = served(places)
    if found is None:
        return False
    with suppress(ProcessLookupError):
        os.kill(found.pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_TIMEOUT_S
    while _is_locked(places):
        if time.monotonic() > deadline:
            raise SetupError(f"process {found.pid} does not end", hint=f"kill -9 {found.pid}")
        time.sleep(0.05)
    return True


def served(places: Places) -> Serving | None:
    """Give the demo that serves now, or None."""
    try:
        text = (places.folder / "serving.json").read_text("utf-8")
        found = Serving(**json.loads(text))
    except (OSError, ValueError, TypeError):
        return None
    # A demo that was killed leaves its file, and no lock.
    return found if _is_locked(places) else None


def roles_of(policy: Policy) -> list[str]:
    """Give the roles of the policy that are in the account of the embedded AWS."""
    ways = (way for user in policy.users for way in grantable_roles(policy, user))
    return sorted({arn for _, arn in ways if f"::{ACCOUNT}:" in arn})


def first_way(policy: Policy) -> tuple[str, str, str] | None:
    """Give the first user, app and role ARN that work with the embedded AWS."""
    order = {name: number for number, name in enumerate(policy.apps)}
    for user in sorted(policy.users):
        ways = [way for way in grantable_roles(policy, user) if f"::{ACCOUNT}:" in way[1]]
        if ways:
            # The first app of the files: the README's.
            return user, *min(ways, key=lambda way: (order[way[0]], way[1]))
    return None


def example_for(policy: Policy) -> str:
    """Give a command that works now, or nothing."""
    way = first_way(policy)
    if way is None:
        return ""
    words = ["awsgate", "exec", "--user", way[0], "--app", way[1]]
    return shlex.join([*words, "--role", way[2].rpartition("/")[2], "--", "aws", "s3", "ls"])


# --- inside -----------------------------------------------------------------------


def _folder(places: Places) -> None:
    private_folder(places.state)
    private_folder(places.folder)


def _gateway(places: Places, address: str, upstream: str, keys: dict[str, str]) -> Running:
    home = places.folder / "home"
    home.mkdir(exist_ok=True)
    settings = (
        f"awsgate_policy={places.policy}",
        f"awsgate_state={places.state}",
        f"awsgate_certs={places.certs}",
        f"awsgate_upstream={upstream}",
    )
    command = mitmdump(entry_script(places.folder), address, settings)
    log = places.folder / "gateway.log"
    log.unlink(missing_ok=True)
    running = start(command, log=log, env=clean_env(home, keys), port=split(address)[1])
    deadline = time.monotonic() + START_TIMEOUT_S
    while "awsgate: listening on" not in log.read_text("utf-8", "replace"):
        if running.process.poll() is not None:
            raise _said(log)
        if time.monotonic() > deadline:
            running.stop()
            raise SetupError("the gateway did not come up", hint=f"see {log}")
        time.sleep(0.05)
    return running


def _check_free(address: str) -> None:
    if not listens(address):
        return
    raise SetupError(
        f"something listens at {address} already",
        hint="stop it, or set another spec.listen in kind: gateway of the policy",
    )


def _publish(places: Places, serving: Serving) -> None:
    whole = places.folder / "serving.json"
    part = whole.with_suffix(".part")
    part.write_text(json.dumps(asdict(serving)), "utf-8")
    part.replace(whole)


def _on_signals() -> threading.Event:
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    return ended


@contextmanager
def _only_one(places: Places) -> Iterator[None]:
    with (places.folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SetupError(
                "a demo is running already", hint="awsgate demo --stop ends it"
            ) from None
        # Not for the processes that are started: the lock ends with this one.
        yield


def _is_locked(places: Places) -> bool:
    try:
        with (places.folder / "lock").open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _said(log: Path) -> SetupError:
    """Give the error that a child wrote, as it wrote it."""
    lines = list(end_of(log))
    first = next((line for line in lines if line.startswith("awsgate: error: ")), "")
    hint = next((line for line in lines if line.startswith("awsgate: hint: ")), "")
    if not first:
        return SetupError("the demo did not come up", faults=tuple(lines))
    faults = tuple(line.strip() for line in lines if line.startswith("  "))
    return SetupError(
        first.removeprefix("awsgate: error: "),
        hint=hint.removeprefix("awsgate: hint: "),
        faults=faults,
    )
