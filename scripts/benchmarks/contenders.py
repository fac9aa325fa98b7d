"""What is compared, and how each is started."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from awsgate.demo import processes
from awsgate.demo.embedded_aws import READ_ONLY_ROLE
from awsgate.demo.processes import GatewayProcess, Running, clean_env, free_port, start
from awsgate.demo.story import POLICY
from awsgate.session import ENTROPY_BYTES, mint
from awsgate.state import open_state
from benchmarks.client import HOST, Keys, Way
from benchmarks.world import World, start_world

DIRECT, BARE, SCRIPT, RUN, LEAN, PEER = (
    "direct", "mitmdump -q, bare", "mitmdump -s awsgate.py", "awsgate run",
    "awsgate run --core mitmproxy", "peer",
)  # fmt: skip
GATEWAYS = {SCRIPT: "", RUN: "own", LEAN: "mitmproxy"}
"""Name -> core; none: by mitmdump."""

FILE_DOCUMENTS = 2000
processes.START_TIMEOUT_S = 600.0  # 10,000 rules take their time to be read
BARE_SCRIPT = """
def requestheaders(flow):
    flow.request.data.host, flow.request.data.port = "127.0.0.1", {port}
    flow.request.data.scheme = b"http"
    flow.request.stream = {stream}

def responseheaders(flow):
    flow.response.stream = True
"""


@dataclass(frozen=True)
class Contender:
    """Something that is measured: its first process, and the way through it."""

    name: str
    pid: int
    way: Way
    keys: Keys


@dataclass(frozen=True)
class Peer:
    """A program of somebody else's."""

    command: str
    """With ``{port}`` to listen on, ``{upstream}`` (host:port, plain HTTP), ``{certs}``
    (a folder with mitmproxy-ca.pem, to make leaves with)."""


def certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for the world: file of certificate and key, and what to trust."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bench")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
        )
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    trusted, pair = folder / "world-cert.pem", folder / "world.pem"
    trusted.write_bytes(made.public_bytes(Encoding.PEM))
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    pair.write_bytes(private + trusted.read_bytes())
    return pair, trusted


def gateway(folder: Path, upstream: int, core: str, *, policy: str = POLICY) -> GatewayProcess:
    """Start a gateway whose AWS is the server on ``upstream``: ``awsgate run``, if with a core."""
    (folder / "policy").mkdir(parents=True)
    documents = policy.split("\n---\n")
    for first in range(0, len(documents), FILE_DOCUMENTS):  # a file may not be too large
        text = "\n---\n".join(documents[first : first + FILE_DOCUMENTS])
        (folder / "policy" / f"{first}.yaml").write_text(text)
    return GatewayProcess(
        folder,
        policy=folder / "policy",
        keys={"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": "bench"},
        upstream=f"http://127.0.0.1:{upstream}",
        workers=1 if core else 0,
        extra=("--core", core) if core else (),
    )


def minted(state: Path) -> Keys:
    """Give keys as ``awsgate env`` does, without reading the policy for it."""
    made = mint(
        open_state(state).session_keys, user="alice", app="awsconsole-test",
        role_arn=READ_ONLY_ROLE, ttl_s=12 * 3600, now=int(time.time()),
        entropy=os.urandom(ENTROPY_BYTES),
    )  # fmt: skip
    return Keys(made.access_key_id, made.secret_access_key, made.session_token)


class Field:
    """All contenders of one kind of start, and the world behind them."""

    def __init__(
        self, folder: Path, stopping: ExitStack, *, peer: Peer | None, life_s: float = 3600.0,
        delay_s: float = 0.0,
    ) -> None:  # fmt: skip
        self.folder, self.peer, self._stopping = folder, peer, stopping
        pair, self._trusted = certificate(folder)
        self.world: World = start_world(pair, life_s=life_s, delay_s=delay_s)
        stopping.callback(self.world.stop)
        self._number = 0
        self._certs: Path | None = None
        self.served_s = 0.0
        """What the last one took until it served."""

    def start(
        self, names: Sequence[str], *, policy: str = POLICY, stream: bool = False
    ) -> list[Contender]:
        """Start these; a peer only if there is one. Bare mitmdump needs a gateway's CA."""
        found = [self.direct()] if DIRECT in names else []
        gateways = [self.gateway(name, policy=policy) for name in names if name in GATEWAYS]
        if BARE in names:
            found.append(self.bare(stream=stream))
        found += gateways
        if PEER in names and self.peer is not None:
            found.append(self.their_own(self.peer))
        return found

    def direct(self) -> Contender:
        """Give the world itself: nothing between client and server."""
        way = Way(self.world.tls_port, self._trusted, proxy=False)
        return Contender(DIRECT, self.world.pid, way, Keys("AKIDEXAMPLE", "x", "x"))

    def gateway(self, name: str, *, policy: str = POLICY) -> Contender:
        """Start a gateway in one of the ways to run it."""
        began = time.perf_counter()
        started = gateway(self._new(), self.world.port, GATEWAYS[name], policy=policy)
        self.served_s = time.perf_counter() - began
        self._stopping.callback(started.stop)
        self._certs = self._certs or started.certs
        self.started = started
        way = Way(started.port, started.certs / "ca-cert.pem")
        return Contender(name, started.process.pid, way, minted(started.state))

    def bare(self, *, stream: bool = False) -> Contender:
        """Start a mitmdump that sends everything to the world, and checks nothing."""
        folder, certs, port = self._new(make=True), self.certs, free_port()
        (folder / "bare.py").write_text(BARE_SCRIPT.format(port=self.world.port, stream=stream))
        command = [
            str(Path(sys.executable).parent / "mitmdump"), "-q", "-s", str(folder / "bare.py"),
            "--listen-host", "127.0.0.1", "--listen-port", str(port),
            "--set", f"confdir={certs}", "--set", "connection_strategy=lazy",
            "--set", "http2=false", "--set", "upstream_cert=false",
        ]  # fmt: skip
        running = self._running(command, folder, port)
        return self._proxy(BARE, running, port)

    def their_own(self, peer: Peer) -> Contender:
        """Start the peer."""
        folder, port = self._new(make=True), free_port()
        upstream = f"127.0.0.1:{self.world.port}"
        command = peer.command.format(port=port, upstream=upstream, certs=self.certs)
        return self._proxy(PEER, self._running(shlex.split(command), folder, port), port)

    @property
    def certs(self) -> Path:
        """The folder of the CA that the first gateway made; one is made for it if need be."""
        if self._certs is None:
            self.gateway(SCRIPT)
            self.started.stop()
        if self._certs is None:
            raise RuntimeError("no gateway has made a CA")
        return self._certs

    def _proxy(self, name: str, running: Running, port: int) -> Contender:
        keys = Keys("GATEABCDEFGHIJKLMNOP", "x" * 43, "t" * 400)  # as long as real ones
        return Contender(name, running.process.pid, Way(port, self.certs / "ca-cert.pem"), keys)

    def _running(self, command: list[str], folder: Path, port: int) -> Running:
        began = time.perf_counter()
        running = start(command, log=folder / "log", env=clean_env(folder), port=port)
        self.served_s = time.perf_counter() - began
        self._stopping.callback(running.stop)
        return running

    def _new(self, *, make: bool = False) -> Path:
        self._number += 1
        folder = self.folder / str(self._number)
        if make:
            folder.mkdir()
        return folder


@contextmanager
def field(scratch: Path, peer: Peer | None = None, **world: float) -> Iterator[Field]:
    """Give a field whose contenders end with it, and leave nothing behind."""
    folder = scratch / str(time.monotonic_ns())
    folder.mkdir()
    with ExitStack() as stopping:
        stopping.callback(shutil.rmtree, folder, ignore_errors=True)
        yield Field(folder, stopping, peer=peer, **world)


def in_rounds(
    contenders: Sequence[Contender], rounds: int, measure: Callable[[Contender], None]
) -> None:
    """Measure all in turn, again and again: a busy machine slows them all."""
    for _ in range(rounds):
        for each in contenders:
            measure(each)
