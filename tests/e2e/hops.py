"""A gateway that hands calls on, the jump host that they go to, and a login between them."""

from __future__ import annotations

import asyncio
import os
import secrets
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509

from aws_server.server import StrictAws
from awsgate.aws.sigv4 import SigningKeys
from awsgate.certmaking import GATEWAY_ROOT_NAME
from awsgate.controlclient import ControlClient
from awsgate.demo.embedded_aws import ACCOUNT, POWER_ROLE, EmbeddedAws
from awsgate.demo.processes import GatewayProcess, free_port
from awsgate.login import LOCAL, Identity, Login, LoginFacts, make_login, mint_login
from awsgate.loginstore import FOLDER_VARIABLE, Stored, load, save
from awsgate.onward import connector_of
from awsgate.pins import pin_of
from awsgate.policyfile import load_policy
from awsgate.servercert import ensure_server_certificate
from awsgate.session import ENTROPY_BYTES, mint
from awsgate.state import open_state
from awsgate.upstreamkeys import root_of
from e2e.forms import POLICY, Stage, gateway_before
from rawclient import keys_of

NAME = "localhost"
APP = "awsconsole-test"


@dataclass
class Hops(Stage):
    """Both gateways: ``gateway`` is the near one, that clients speak to."""

    jump: GatewayProcess = field(kw_only=True)
    control: str = field(kw_only=True)
    """URL of the jump host's control API."""
    env: dict[str, str] = field(kw_only=True, repr=False)
    logins: Path = field(kw_only=True)
    front: TlsFront | None = field(kw_only=True)
    """TLS before the jump host."""

    def log_in(self, user: str, *, ttl_s: int = 3600) -> Login:
        """Store a login at the jump host, in place of the one before."""
        with logins_in(self.logins):
            return log_in(self.jump, self.control, self.proxy, user, ttl_s=ttl_s)

    def stored(self) -> Stored:
        """Give the login that the near gateway goes on with."""
        with logins_in(self.logins):
            found = load(self.control)
        assert found is not None
        return found

    def client_of_control(self) -> ControlClient:
        """Give what asks the jump host's control API with that login."""
        stored = self.stored()
        return ControlClient(stored.gateway, root_of(stored), login=stored.login)

    @property
    def proxy(self) -> str:
        """Give where the near gateway finds the jump host."""
        spec = load_policy(self.gateway.policy).gateway.upstream_gateway
        assert spec is not None
        return spec.url

    def near_keys(
        self, *, user: str = "bob", role: str = POWER_ROLE, connector: str = ""
    ) -> SigningKeys:
        """Make credentials as whoever holds the near gateway's session key can."""
        spec = load_policy(self.gateway.policy).gateway.upstream_gateway
        assert spec is not None
        made = mint(
            open_state(self.gateway.state).session_keys, user=user, app=APP, role_arn=role,
            ttl_s=3600, now=int(time.time()), entropy=secrets.token_bytes(ENTROPY_BYTES),
            login=LoginFacts("ab" * 10, connector or connector_of(spec)),
        )  # fmt: skip
        return SigningKeys(made.access_key_id, made.secret_access_key, made.session_token)


def log_in(
    jump: GatewayProcess, control: str, proxy: str, user: str, *, ttl_s: int = 3600
) -> Login:
    """Store a login at a jump host, as ``awsgate login`` does once somebody is proved."""
    login = make_login(
        Identity(user, LOCAL), ttl_s=ttl_s, now=int(time.time()),
        entropy=secrets.token_bytes(32), traits=frozenset(),
    )  # fmt: skip
    keys = open_state(jump.state).session_keys
    root = (jump.certs / GATEWAY_ROOT_NAME).read_bytes()
    stored = Stored(
        gateway=control, proxy=proxy, user=user, connector=LOCAL,
        login=mint_login(keys, login, entropy=secrets.token_bytes(32)),
        expires_at=login.expires_at, pin=pin_of(x509.load_pem_x509_certificate(root)),
        bundle_path="", root_path="", id=login.id, stored_at=int(time.time()),
    )  # fmt: skip
    save(stored, bundle=root, root=root)
    return login


@contextmanager
def logins_in(folder: Path) -> Iterator[None]:
    """Have logins kept there, by this process and those that it starts."""
    before = os.environ.get(FOLDER_VARIABLE)
    os.environ[FOLDER_VARIABLE] = str(folder)
    try:
        yield
    finally:
        os.environ.pop(FOLDER_VARIABLE)
        if before is not None:
            os.environ[FOLDER_VARIABLE] = before


@contextmanager
def two_hops(
    aws: StrictAws | EmbeddedAws,
    folder: Path,
    *,
    policy: str = POLICY,
    spec: str = "{}",
    user: str = "bob",
    jump_spec: str = "",
    fronted: bool = False,
    workers: int = 0,
    extra: tuple[str, ...] = (),
    at: str = "127.0.0.1",
    inside: Callable[[Callable[[], GatewayProcess]], GatewayProcess] = lambda start: start(),
) -> Iterator[Hops]:
    """Run both, and log in. The policy of the near one names nobody.

    ``spec`` is for both, ``jump_spec`` (``, name: value``) for the jump host alone;
    ``workers`` and ``extra`` are of the near one. ``fronted``: the TLS of the jump host is
    that of a ``TlsFront``, which a test can change. ``at`` is where the jump host listens,
    ``inside`` from where the near one is started.
    """
    far, near = folder / "jump", folder / "near"
    for each in (far, near):
        each.mkdir()
    port, listens = free_port(), free_port()
    name = NAME if at == "127.0.0.1" else at
    control = f"https://{name}:{port}"
    more = spec.strip().removeprefix("{").removesuffix("}")
    own = f"control: {{listen: '{at}:{port}', url: '{control}'}}, names: [{name}], non_aws: refuse"
    own += jump_spec if fronted else f", tls: true{jump_spec}"
    text = policy.format(role=POWER_ROLE, account=ACCOUNT, spec=f"{{{own}, {more}}}")
    with (
        ExitStack() as held,
        logins_in(folder / "logins"),
        gateway_before(aws, far, text, workers=1, extra=("--listen", f"{at}:{listens}")) as jump,
    ):
        jump.port = listens
        front = held.enter_context(_front(jump)) if fronted else None
        proxy = front.url if front is not None else f"https://{name}:{listens}"
        log_in(jump, control, proxy, user)
        written = near / "policy.yaml"
        written.write_text(
            "kind: gateway\n"
            f"spec: {{upstream_gateway: {{url: '{proxy}', control: '{control}'}}, {more}}}\n",
            "utf-8",
        )
        keys = {FOLDER_VARIABLE: str(folder / "logins")}
        gateway = inside(
            lambda: GatewayProcess(near, policy=written, keys=keys, workers=workers, extra=extra)
        )
        try:
            env = gateway.env(user="", app="", role="")
            yield Hops(
                aws, gateway, keys_of(env), env["AWS_CA_BUNDLE"],  # type: ignore[arg-type]
                jump=jump, control=control, env=env,
                logins=folder / "logins", front=front,
            )  # fmt: skip
        finally:
            gateway.stop()


@contextmanager
def hops_before_strict_aws(folder: Path, *, spec: str = "{}", **how: Any) -> Iterator[Hops]:
    """Run both before the strict AWS, as ``forms.stage_in`` runs one."""
    with StrictAws() as aws, two_hops(aws, folder, spec=spec, **how) as hops:
        yield hops


# --- TLS before the jump host -----------------------------------------------------------


class TlsFront:
    """TLS with the jump host's own certificate, and the same bytes in the clear behind it."""

    def __init__(self, jump: GatewayProcess) -> None:
        self.jump = jump
        self.use(jump.certs)
        self.port = free_port()
        self.url = f"https://{NAME}:{self.port}"
        self._begun = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()
        assert self._begun.wait(10)

    def use(self, certs: Path) -> None:
        """Prove itself with the certificate in a folder, or with one that is made there."""
        made = ensure_server_certificate(certs, [NAME], None, now=datetime.now(UTC))
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(made.cert, made.key)
        self.context.set_alpn_protocols(["http/1.1"])

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10)

    async def _run(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        first = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

        def choose(tls: ssl.SSLObject, _: str | None, __: ssl.SSLContext) -> None:
            tls.context = self.context

        first.sni_callback = choose
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=first)
        self._begun.set()
        await self._over.wait()
        server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there = await asyncio.open_connection("127.0.0.1", self.jump.port)
        except OSError:
            writer.transport.abort()
            return
        try:
            await asyncio.gather(_copy(reader, there[1]), _copy(there[0], writer))
        finally:
            for each in (there[1], writer):
                each.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    with suppress(OSError, RuntimeError):
        writer.close()


@contextmanager
def _front(jump: GatewayProcess) -> Iterator[TlsFront]:
    front = TlsFront(jump)
    try:
        yield front
    finally:
        front.close()
