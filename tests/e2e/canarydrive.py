"""Everything that happens to the gateway of ``canaryscene``: good, refused, broken, failing."""

from __future__ import annotations

import contextlib
import os
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from awsgate.aws.sigv4 import SigningKeys
from e2e.canaryscene import BUCKET, CUSTOMER_KEY, DEAD, RUDE, TENANT, Scene
from e2e.held import OTHER, POWER
from rawclient import Call, head, plain, secure, tunnel


def drive(scene: Scene) -> None:
    """Let everything happen once, good and bad."""
    login = _log_in(scene)
    keys = _ask_the_gateway(scene, login)
    _call(scene, keys)
    _be_refused(scene, keys)
    _break_http(scene, keys)
    _fail(scene, keys)
    _open_tunnels(scene, keys)
    scene.remember()


def _log_in(scene: Scene) -> str:
    canaries = scene.canaries
    good = {"user": "alice", "password": scene.password}
    wrong = {"user": "alice", "password": canaries.mark("wrong password")}
    scene.post("/v1/login/password", {**wrong, "totp": scene.phone.code()})
    scene.post("/v1/login/password", {**good, "totp": scene.phone.wrong()})
    login: str = scene.post("/v1/login/password", {**good, "totp": scene.phone.code()})["login"]
    canaries.add("login", login)
    challenge = "A" * 43
    for connector in ("oidc/okta", "github/hub", "oidc/no-such"):
        asked = {"connector": connector, "challenge": challenge, "port": 4444}
        scene.post("/v1/login/browser", asked)
        scene.post("/v1/login/device", {"connector": connector})
    scene.post("/v1/login/code", {"code": canaries.mark("code"), "verifier": "v" * 43})
    token = canaries.mark("ID token", plain=True)
    scene.post("/v1/login/id-token", {"token": token, "connector": "oidc/okta"})
    scene.post("/v1/login/id-token", {"token": f"eyJhbGciOiJSUzI1NiJ9.{token}.{token}"})
    scene.post("/v1/credentials", {}, canaries.mark("bad login", plain=True))
    scene.post("/v1/login/password", {"passwort": canaries.mark("misspelt")})
    return login


def _ask_the_gateway(scene: Scene, login: str) -> SigningKeys:
    """Get credentials, a way into the console, and a request for a role that is told to a hook."""
    scene.post("/v1/console", {}, login)
    scene.post("/v1/requests", {"role": "power", "reason": "please"}, login)
    scene.post("/v1/credentials", {"role": POWER}, login)
    _credentials(scene, login, "alice")
    bob = scene.post("/v1/login/password", {"user": "bob", "password": scene.password, "totp": ""})[
        "login"
    ]
    scene.canaries.add("login of bob", bob)
    return _credentials(scene, bob, "bob", role="Power")


def _credentials(scene: Scene, login: str, whose: str, **asked: str) -> SigningKeys:
    """Get credentials, and look for what is secret of them."""
    given = scene.post("/v1/credentials", asked, login)
    for name in ("secret_access_key", "session_token", "proxy_password"):
        scene.canaries.add(f"{name} of {whose}", given[name])
    return SigningKeys(given["access_key_id"], given["secret_access_key"], given["session_token"])


def _call(scene: Scene, keys: SigningKeys) -> None:
    mark = scene.canaries.mark
    body = mark("body").encode() * 50
    customer = b64encode(os.urandom(32)).decode()
    scene.canaries.add("customer key", customer)
    headers = ((CUSTOMER_KEY, customer), ("x-amz-meta-note", mark("header", plain=True)))
    upload = Call("s3", BUCKET, "PUT", "/kept.txt", headers=headers, body=body)
    chunked = Call("s3", BUCKET, "GET", f"/kept.txt?x-id={mark('query', plain=True)}")
    assume = (
        f"Action=AssumeRole&Version=2011-06-15&RoleSessionName=x&RoleArn={quote(OTHER)}"
        f"&ExternalId={mark('external id of a client', plain=True)}"
    ).encode()
    form = (("Content-Type", "application/x-www-form-urlencoded"),)
    assert scene.send("upload", upload, keys).status == 200
    assert scene.send("download", chunked, keys).status == 200
    chain = Call("sts", "sts.us-east-1.amazonaws.com", headers=form, body=assume)
    assert scene.send("AssumeRole", chain, keys).status == 200


def _be_refused(scene: Scene, keys: SigningKeys) -> None:
    canaries, get = scene.canaries, Call("s3", BUCKET, "GET", "/kept.txt")
    wrong = SigningKeys(keys.access_key_id, canaries.mark("wrong secret"), keys.session_token)
    scene.send("wrong secret", get, wrong)
    theirs = SigningKeys(
        "AKIAIOSFODNN7EXAMPLE", canaries.mark("AWS key"), canaries.mark("AWS token")
    )
    scene.send("keys of AWS", get, theirs)
    scene.send("tenant", Call("execute-api", TENANT, "GET", "/prod"), keys)
    old = get.signed(keys, when=datetime.now(UTC) - timedelta(hours=2))
    scene.send("old", get, keys, old)
    signature = canaries.add("presigned signature", os.urandom(32).hex())
    in_url = canaries.mark("in a URL", plain=True)
    presigned = (
        f"/kept.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Expires=60&X-Amz-Signature={signature}"
        f"&X-Amz-Security-Token={quote(keys.session_token)}&note={in_url}"
        f"&X-Amz-Credential={keys.access_key_id}%2F20260101%2Fus-east-1%2Fs3%2Faws4_request"
    )
    scene.raw("presigned", BUCKET, head("GET", presigned, [(b"Host", BUCKET.encode())]))
    twice = [*get.signed(keys), (b"Authorization", f"AWS {canaries.mark('SigV2')}".encode())]
    scene.raw("twice", BUCKET, get.wire(twice))


def _break_http(scene: Scene, keys: SigningKeys) -> None:
    """What a parser has words for."""
    mark = scene.canaries.mark
    good = head("GET", "/kept.txt", Call("s3", BUCKET, "GET", "/kept.txt").signed(keys))
    upload = Call("s3", BUCKET, "PUT", "/t", chunked=True, sign_body=False)
    for raw in (
        good[:-2] + f"no colon {mark('no colon', plain=True)}\r\n\r\n".encode(),
        good[:-2] + f"X-{mark('name', plain=True)} : 1\r\n\r\n".encode(),
        good[:-2] + f"Content-Length: {mark('length')}\r\n\r\n".encode(),
        b"FETCH / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        upload.wire(upload.signed(keys)) + f"{mark('chunk')}\r\n".encode(),
        good[:-40],
    ):
        with secure(scene.gateway, BUCKET) as wire:
            _send_and_go(scene, wire, raw)
    for first in (b"\x16\x03\x01", b""):
        with tunnel(scene.gateway, BUCKET) as wire:
            _send_and_go(scene, wire, first + f"{mark(f'no TLS {len(first)}')}\r\n\r\n".encode())


def _send_and_go(scene: Scene, wire: Any, raw: bytes) -> None:
    wire.sock.settimeout(0.5)
    wire.send(raw)
    with contextlib.suppress(OSError):
        answer = wire.read_answer()
        scene.told("broken", answer.status, repr(answer.headers).encode() + answer.body)


def _fail(scene: Scene, keys: SigningKeys) -> None:
    """What is behind the gateway fails: a server, and STS."""
    mark = scene.canaries.mark
    for service, host in (("sqs", DEAD), ("sns", RUDE)):
        body = f'{{"X": "{mark(f"body for {service}", plain=True)}"}}'.encode()
        assert scene.send(service, Call(service, host, body=body), keys).status == 502
    login = scene.canaries.known["login of bob"]
    other = _credentials(scene, login, "another role", role="Other")
    scene.aws.clock = lambda: datetime.now(UTC) + timedelta(days=1)
    try:
        answer = scene.send("STS", Call("s3", BUCKET, "GET", "/kept.txt"), other)
    finally:
        scene.aws.clock = lambda: datetime.now(UTC)
    assert answer.code == "role-unavailable", answer


def _open_tunnels(scene: Scene, keys: SigningKeys) -> None:
    """The password of tunnels, right and wrong, and in a URL's place."""
    for password in (
        scene.canaries.known["proxy_password of bob"],
        scene.canaries.mark("wrong one"),
    ):
        basic = b64encode(f"{keys.access_key_id}:{password}".encode()).decode()
        for host in ("127.0.0.1", "169.254.169.254", "nowhere.invalid"):
            with plain(scene.gateway) as wire:
                asked = f"CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n"
                raw = f"{asked}Proxy-Authorization: Basic {basic}\r\n\r\n".encode()
                _send_and_go(scene, wire, raw)
