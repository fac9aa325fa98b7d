"""A gateway whose every secret is marked; ``canarydrive`` has what is then done to it.

The inputs (the policy, the credentials file) lie in a folder of their own: whatever stands
in the gateway's folder the gateway itself has written.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

import awsgate
from aws_server.model import BaseKeys
from aws_server.server import StrictAws
from awsgate.aws.sigv4 import SigningKeys
from awsgate.connect.local import LocalUsers
from awsgate.demo.processes import GatewayProcess, free_port
from awsgate.state import open_state
from canaries import Canaries
from e2e.held import ACCOUNT, OTHER, POWER, READ, gateway, role, user
from e2e.signin_server import SigninServer, signin_server
from localusers import Phone
from rawclient import Answer, Call, ask
from relay import Relay
from signers import Fields, value_of

DEAD, RUDE = "sqs.us-east-1.amazonaws.com", "sns.us-east-1.amazonaws.com"
BUCKET = "marked.s3.us-east-1.amazonaws.com"
TENANT = "abc123.execute-api.us-east-1.amazonaws.com"
CUSTOMER_KEY = "x-amz-server-side-encryption-customer-key"
WAYS = ("mitmdump", "awsgate run")

# First, each process tells what the kernel lets others see of it, whenever that changes.
TELLING = """\
import ctypes, os, threading, time
def look():
    return ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)  # PR_GET_DUMPABLE
def tell(now):
    with open(os.path.join({own!r}, f"dumpable-{{os.getpid()}}"), "a") as file:
        file.write(f"{{now}}\\n")
def wait():
    while look():
        time.sleep(0.1)
    tell(0)
tell(look())
threading.Thread(target=wait, daemon=True).start()
"""
# Everything that any library of the gateway says, however chatty, but for botocore and what
# it speaks through: at DEBUG they write credentials, and nothing in awsgate turns that on.
CHATTY = """\
import logging, pathlib
handler = logging.FileHandler({log!r})
handler.addFilter(lambda record: not record.name.startswith(("botocore", "boto3", "urllib3")))
logging.getLogger().addHandler(handler)
logging.getLogger().setLevel(logging.DEBUG)
for name in {names!r}:
    logging.getLogger(name).setLevel(logging.DEBUG)
"""
LOGGERS = ("awsgate", "mitmproxy", "uvicorn", "httpcore", "asyncio", "sqlalchemy", "authlib")

POLICY = Template(
    "---\n".join(
        [
            role("reader", READ) + "    request: {roles: [power], max_duration: 1h}\n",
            role("power", POWER, OTHER),
            user("alice", "reader"),
            user("bob", "power"),
            f"""\
kind: app
version: v3
metadata: {{name: main, labels: {{aws_account_id: '{ACCOUNT}'}}}}
spec: {{uri: https://console.aws.amazon.com/, aws: {{external_id: $external_id}}}}
""",
            """\
kind: oidc
version: v3
metadata: {name: okta}
spec:
  issuer_url: https://127.0.0.1:$dead
  client_id: client
  client_secret: $client_secret
  claims_to_roles: [{claim: groups, value: '*', roles: [reader]}]
""",
            """\
kind: github
version: v3
metadata: {name: hub}
spec:
  client_id: client
  client_secret: file://$github_secret
  endpoint_url: https://127.0.0.1:$dead
  api_endpoint_url: https://127.0.0.1:$dead
  teams_to_roles: [{organization: acme, team: ops, roles: [reader]}]
""",
            gateway(
                "{control: {listen: '127.0.0.1:0'}, names: [gate.example.com], upstreams: ["
                f"{{hosts: [{DEAD}], url: 'http://127.0.0.1:$dead'}}, "
                f"{{hosts: [{RUDE}], url: 'http://127.0.0.1:$rude'}}, "
                "{hosts: ['*.signin.aws.amazon.com'], url: '$signin'}], requests: $requests}"
            ),
        ]
    )
)


@dataclass
class Scene:
    """A gateway, who uses it, and what they were told."""

    folder: Path
    """The gateway's own."""
    inputs: Path
    aws: StrictAws
    gateway: GatewayProcess
    canaries: Canaries
    phone: Phone
    chatter: Path
    """What its loggers said, at DEBUG."""
    base: str = ""
    """``environment`` or ``file``: where its own credentials stand."""
    signin: SigninServer | None = None
    errors: list[tuple[str, bytes]] = field(default_factory=list)
    """Every answer that was an error: what was asked, and head and body."""
    statuses: list[tuple[str, int]] = field(default_factory=list)

    @property
    def password(self) -> str:
        return self.canaries.known["password"]

    def remember(self) -> None:
        """Look for what AWS has given out meanwhile, too."""
        assert self.signin is not None
        for number, token in enumerate(self.signin.sessions):
            self.canaries.add(f"sign-in token {number}", token)
        for number, secret in enumerate(self.aws.issued):
            self.canaries.add(f"of AWS {number}", secret)

    # --- the proxy ---------------------------------------------------------------

    def send(
        self, what: str, call: Call, keys: SigningKeys, fields: Fields | None = None
    ) -> Answer:
        fields = call.signed(keys) if fields is None else fields
        signature = value_of(fields, b"authorization").decode().rpartition("Signature=")[2]
        self.canaries.add(f"signature of {what}", signature)
        return self.raw(what, call.host, call.wire(fields), method=call.method)

    def raw(self, what: str, host: str, data: bytes, *, method: str = "GET") -> Answer:
        answer = ask(self.gateway, host, data, method=method)
        self.told(what, answer.status, repr(answer.headers).encode() + b"\n" + answer.body)
        return answer

    def told(self, what: str, status: int, said: bytes) -> None:
        self.statuses.append((what, status))
        if status >= 400:
            self.errors.append((what, said))

    # --- the control API ---------------------------------------------------------

    def post(self, path: str, body: dict[str, Any], login: str = "", **headers: str) -> Any:
        trust = ssl.create_default_context(cafile=str(self.gateway.certs / "gateway-root.pem"))
        if login:
            headers["Authorization"] = f"Bearer {login}"
        with httpx.Client(
            proxy=self.gateway.proxy, verify=trust, trust_env=False, timeout=60
        ) as http:
            answer = http.post(f"https://awsgate.internal{path}", json=body, headers=headers)
        said = repr(answer.headers).encode() + answer.content
        self.told(f"POST {path}", answer.status_code, said)
        return answer.json()


@contextmanager
def scene_in(folder: Path, way: str) -> Iterator[Scene]:
    """Start all of it. The two ways differ in where secrets stand, too."""
    canaries = Canaries()
    inputs, own = folder / "inputs", folder / "own"
    for each in (inputs, own, own / "tmp", inputs / "site"):
        each.mkdir()
    canaries.mark("secret key of the gateway")
    base = BaseKeys("AKIACANARYBASEKEY000", canaries.known["secret key of the gateway"])
    with ExitStack() as held:
        aws = held.enter_context(StrictAws(base_keys=base))
        rude = Relay(None)
        held.callback(rude.close)
        signin = held.enter_context(signin_server(aws.url))
        policy = _write_policy(inputs, canaries, way, rude.port, signin.url)
        phone = _enrol(own / "state", canaries)
        environment = _site(inputs / "site", own) | _base_keys(inputs, aws, way)
        running = GatewayProcess(
            own, policy=policy, keys={**environment, "TMPDIR": str(own / "tmp")},
            upstream=aws.url, workers=2 if way == "awsgate run" else 0,
        )  # fmt: skip
        held.callback(running.stop)
        scene = Scene(own, inputs, aws, running, canaries, phone, own / "chatter.log")
        scene.base = "file" if way == "awsgate run" else "environment"
        scene.signin = signin
        yield scene


def _write_policy(inputs: Path, canaries: Canaries, way: str, rude: int, signin: str) -> Path:
    dead = free_port()
    password, path = canaries.mark("database", plain=True), canaries.mark("webhook", plain=True)
    database = f"postgresql://awsgate:{password}@127.0.0.1:{dead}/awsgate"
    hook = f"http://127.0.0.1:{dead}/services/{path}"
    requests = (
        f"{{webhook: {{url: '{hook}'}}}}"
        if way == "awsgate run"
        else f"{{database_url: '{database}', webhook: {{url: '{hook}'}}}}"
    )
    (inputs / "github-secret").write_text(canaries.mark("client secret in a file") + "\n")
    text = POLICY.substitute(
        dead=dead, rude=rude, signin=signin, requests=requests,
        github_secret=inputs / "github-secret",
        external_id=canaries.mark("external id", plain=True),
        client_secret=canaries.mark("client secret", plain=True),
    )  # fmt: skip
    (inputs / "policy.yaml").write_text(text, "utf-8")
    return inputs / "policy.yaml"


def _enrol(state: Path, canaries: Canaries) -> Phone:
    """Give alice a password and an authenticator app, bob a password alone."""
    users = LocalUsers(open_state(state).users_folder)
    password = canaries.mark("password")
    invited = users.add("bob", wants_totp=False), users.add("alice")
    assert all(invited)
    uris = [asyncio.run(users.accept(each.token, password)).totp_uri for each in invited if each]
    for number, each in enumerate(invited):
        assert each is not None
        canaries.add(f"invitation {number}", each.token)
    canaries.add("TOTP secret", parse_qs(urlsplit(uris[1]).query)["secret"][0])
    canaries.add("session key", (state / "session.key").read_text().strip())
    return Phone(uris[1], time.time)


def _site(site: Path, own: Path) -> dict[str, str]:
    """Have every Python of the gateway log all it can."""
    text = CHATTY.format(log=str(own / "chatter.log"), names=LOGGERS)
    text += TELLING.format(own=str(own)) if sys.platform == "linux" else ""
    (site / "sitecustomize.py").write_text(text)
    source = Path(awsgate.__file__).parents[1]
    return {"PYTHONPATH": os.pathsep.join([str(site), str(source)])}


def _base_keys(inputs: Path, aws: StrictAws, way: str) -> dict[str, str]:
    if way == "mitmdump":
        return aws.gateway_keys
    file = inputs / "credentials"
    file.write_text(
        "[default]\n" + "".join(f"{n.lower()} = {value}\n" for n, value in aws.gateway_keys.items())
    )
    file.chmod(0o600)
    return {"AWS_SHARED_CREDENTIALS_FILE": str(file)}
