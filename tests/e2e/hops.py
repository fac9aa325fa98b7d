"""A gateway that hands calls on, the jump host that they go to, and a login between them."""

from __future__ import annotations

import json
import os
import secrets
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from aws_server.server import StrictAws
from awsgate.demo.embedded_aws import ACCOUNT, POWER_ROLE, EmbeddedAws
from awsgate.demo.processes import GatewayProcess
from awsgate.errors import Refusal
from awsgate.login import LOCAL, Identity, Login, make_login, mint_login, open_login
from awsgate.loginstore import FOLDER_VARIABLE, Stored, save
from awsgate.policy import may_be
from awsgate.policyfile import load_policy
from awsgate.servercert import ServerCertificate, ensure_server_certificate
from awsgate.session import ENTROPY_BYTES, Bounds, mint
from awsgate.state import open_state
from e2e.forms import POLICY, Stage, gateway_before
from rawclient import keys_of

NAME = "localhost"


class Control:
    """As much of a jump host's control API as a gateway that hands on asks for.

    It opens logins with the jump host's session key, as the real one does, and can be told
    to be away, or to say something else.
    """

    def __init__(self, jump: GatewayProcess) -> None:
        self.jump = jump
        self.keys = open_state(jump.state).session_keys
        self.policy = load_policy(jump.policy)
        self.certificate = ensure_server_certificate(
            jump.folder / "own", [NAME], None, now=datetime.now(UTC)
        )
        self.asked: list[dict[str, Any]] = []
        self.says: tuple[int, str] | None = None
        """Status and code of an error to answer with."""
        self.life_s = 3600
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.socket = self.certificate.context().wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )
        self.url = f"https://{NAME}:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, token: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Give credentials to a login."""
        self.asked.append(body)
        if self.says is not None:
            status, code = self.says
            return status, {"error": {"code": code, "message": f"said {code}", "hint": ""}}
        now = int(time.time())
        try:
            login = open_login(self.keys, token, now=now)
        except Refusal as no:
            return 401, {"error": {"code": no.code.value, "message": no.message, "hint": no.hint}}
        role = body["role"] or POWER_ROLE
        app = body["app"] or "awsconsole-test"
        if not may_be(self.policy, login.user, app, role):
            return 403, {"error": {"code": "denied", "message": f"not {role}", "hint": ""}}
        made = mint(
            self.keys, user=login.user, app=app, role_arn=role,
            ttl_s=min(self.life_s, login.expires_at - now), now=now,
            entropy=secrets.token_bytes(ENTROPY_BYTES), login=login.facts,
            bounds=Bounds(body["read_only"], body["max_requests"]),
        )  # fmt: skip
        return 200, {
            "access_key_id": made.access_key_id, "secret_access_key": made.secret_access_key,
            "session_token": made.session_token, "expires_at": made.expires_at,
            "user": login.user, "app": app, "role_arn": role, "proxy_password": "",
        }  # fmt: skip


def _handler(control: Control) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            token = self.headers["Authorization"].removeprefix("Bearer ")
            status, said = control.answer(token, body)
            raw = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@dataclass
class Hops(Stage):
    """Both gateways: ``gateway`` is the near one, that clients speak to."""

    jump: GatewayProcess = field(kw_only=True)
    control: Control = field(kw_only=True)
    env: dict[str, str] = field(kw_only=True, repr=False)


def log_in(control: Control, user: str, *, ttl_s: int = 3600) -> tuple[Login, Stored]:
    """Store a login at the jump host, as ``awsgate login`` does."""
    login = make_login(
        Identity(user, LOCAL), ttl_s=ttl_s, now=int(time.time()),
        entropy=secrets.token_bytes(32), traits=frozenset(),
    )  # fmt: skip
    token = mint_login(control.keys, login, entropy=secrets.token_bytes(32))
    stored = Stored(
        gateway=control.url, proxy=control.jump.proxy, user=user, connector=LOCAL, login=token,
        expires_at=login.expires_at, pin=control.certificate.pin, bundle_path="", root_path="",
        id=login.id, stored_at=int(time.time()),
    )  # fmt: skip
    root = control.certificate.root
    return login, save(stored, bundle=root, root=root)


@contextmanager
def logins_in(folder: Path) -> Iterator[None]:
    """Have logins kept there, by this process and those that it starts."""
    before = os.environ.get(FOLDER_VARIABLE)
    os.environ[FOLDER_VARIABLE] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ[FOLDER_VARIABLE]
        else:
            os.environ[FOLDER_VARIABLE] = before


@contextmanager
def two_hops(
    aws: StrictAws | EmbeddedAws,
    folder: Path,
    *,
    jump_policy: str,
    user: str = "bob",
    jump_spec: str = "{}",
    near_spec: str = "",
    jump_workers: int = 1,
    near_workers: int = 0,
) -> Iterator[Hops]:
    """Run both, and log in. The policy of the near one names nobody."""
    far, near = folder / "jump", folder / "near"
    for each in (far, near):
        each.mkdir()
    with (
        logins_in(folder / "logins"),
        gateway_before(aws, far, jump_policy, workers=jump_workers) as jump,
    ):
        control = Control(jump)
        try:
            log_in(control, user)
            policy = near / "policy.yaml"
            policy.write_text(
                "kind: gateway\nspec:\n"
                f"  upstream_gateway: {{url: '{jump.proxy}', control: '{control.url}'}}\n"
                f"{near_spec}",
                "utf-8",
            )
            keys = {FOLDER_VARIABLE: str(folder / "logins")}
            gateway = GatewayProcess(near, policy=policy, keys=keys, workers=near_workers)
            try:
                env = gateway.env(user=user, app="awsconsole-test", role=POWER_ROLE)
                yield Hops(
                    aws, gateway, keys_of(env), env["AWS_CA_BUNDLE"],  # type: ignore[arg-type]
                    jump=jump, control=control, env=env,
                )  # fmt: skip
            finally:
                gateway.stop()
        finally:
            control.close()


@contextmanager
def hops_before_strict_aws(folder: Path, *, spec: str = "{}", **how: Any) -> Iterator[Hops]:
    """Run both before the strict AWS, as ``forms.stage_in`` runs one."""
    policy = POLICY.format(role=POWER_ROLE, account=ACCOUNT, spec=spec)
    with StrictAws() as aws, two_hops(aws, folder, jump_policy=policy, **how) as hops:
        yield hops


def trusted(certificate: ServerCertificate) -> ssl.SSLContext:
    """Give a client's context that trusts a gateway's own certificate."""
    return ssl.create_default_context(cadata=certificate.root.decode())
