"""Whom the tests of the control API know, and connectors that believe what they are told."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Mapping
from typing import Any

from awsgate.connect.ways import Begun, DeviceCode, LoginRefused, Pending
from awsgate.login import LOCAL, Identity
from awsgate.policy.connectors import Connector, name_of

READ = "arn:aws:iam::111122223333:role/read"
WRITE = "arn:aws:iam::111122223333:role/write"
OTHER = "arn:aws:iam::444455556666:role/other"
PASSWORD = "correct horse battery staple"
ISSUER = "https://ci.example.com"
VERIFIER = "v" * 43

POLICY = f"""
kind: gateway
version: v1
spec:
  names: [gate.example.com]
  session: {{default_ttl: 1h, max_ttl: 4h, login_ttl: 8h}}
---
kind: role
version: v5
metadata: {{name: reader}}
spec:
  allow:
    app_labels: {{env: prod}}
    aws_role_arns: ["{READ}"]
    request: {{roles: [writer], max_duration: 2h, suggested_reviewers: [olga]}}
---
kind: role
version: v5
metadata: {{name: writer}}
spec:
  allow: {{app_labels: {{env: prod}}, aws_role_arns: ["{WRITE}"]}}
  options: {{max_session_ttl: 30m}}
---
kind: role
version: v5
metadata: {{name: teamed}}
spec:
  allow:
    app_labels: {{env: side}}
    aws_role_arns: ["arn:aws:iam::444455556666:role/{{{{external.team}}}}"]
---
kind: role
version: v5
metadata: {{name: ops}}
spec:
  allow:
    app_labels: {{env: prod}}
    aws_role_arns: ["{READ}"]
    request:
      roles: [writer, teamed, "later-*"]
      reason: {{mode: required, prompt: which ticket}}
    review_requests: {{roles: [writer]}}
  options: {{gateway_admin: true}}
---
kind: user
version: v2
metadata: {{name: lola}}
spec: {{roles: [reader]}}
---
kind: app
version: v3
metadata: {{name: main, labels: {{env: prod, aws_account_id: "111122223333"}}}}
spec: {{uri: "https://console.aws.amazon.com/"}}
---
kind: app
version: v3
metadata: {{name: side, labels: {{env: side}}}}
spec: {{uri: "https://console.aws.amazon.com/"}}
---
kind: oidc
version: v3
metadata: {{name: okta}}
spec:
  issuer_url: https://idp.example.com
  client_id: gate
  display: Okta
  claims_to_roles: [{{claim: groups, value: "*", roles: ["$1"]}}]
---
kind: oidc
version: v3
metadata: {{name: ci}}
spec:
  issuer_url: {ISSUER}
  login_ttl: 10m
  id_tokens: {{audiences: ["https://gate.example.com"]}}
  claims_to_roles: [{{claim: ref, value: "*", roles: [reader]}}]
---
kind: github
version: v3
metadata: {{name: corp}}
spec:
  client_id: gate
  teams_to_roles: [{{organization: corp, team: dev, roles: [writer]}}]
"""

PEOPLE: Mapping[str, dict[str, Any]] = {
    # what a provider says of somebody; the fakes take a name for its proof
    "alice": {"roles": ("reader",)},
    "bob": {"roles": ("reader", "writer")},
    "carol": {"roles": ("teamed",), "traits": {"team": ("other",), "secret": ("unwanted",)}},
    "olga": {"roles": ("ops",)},
    "lola": {"roles": ("writer",)},
    "Lola": {"roles": ("writer",)},
    "lola\u3164": {"roles": ("writer",)},
    "nora": {"roles": ("nothing-of-that-name",)},
    "huge": {"roles": tuple(f"reader-{'x' * 80}-{n}" for n in range(64))},
    "bad\x1bname": {"roles": ("reader",)},
    "gone": {"roles": ("reader",), "ends_at": 1},
    "brief": {"roles": ("reader",), "ends_in_s": 120},
    "impostor": {"roles": ("reader",), "connector": "local"},
}
TROUBLE = {
    # an answer of the provider's -> the connector's reason
    "wrong-nonce": "replayed",
    "access_denied": "provider-refused",
    "down": "provider-failed",
}


class FakeConnector:
    """Takes the name of somebody for the proof that it is they."""

    def __init__(self, document: Connector, clock: Clock) -> None:
        self.name, self._clock = name_of(document), clock
        self.answers: list[str] = []
        """What polls bring: pending, slow, or a name."""
        self.polls = 0
        self.begun: list[tuple[str, str]] = []

    async def begin(self, *, state: str, redirect_url: str) -> Begun:
        self.begun.append((state, redirect_url))
        return Begun(f"https://idp.example.com/authorize?state={state}", {"nonce": f"n-{state}"})

    async def finish(self, answer: Mapping[str, str], memory: Mapping[str, str]) -> Identity:
        state = answer.get("state") or answer.get("RelayState")
        if memory != {"nonce": f"n-{state}"}:
            raise AssertionError("another login's memory")
        return self.identity(answer["code"])

    async def start_device(self) -> DeviceCode:
        uri = "https://idp.example.com/device"
        return DeviceCode("WDJB-MJHT", uri, f"{uri}?c=WDJB-MJHT", 5, 900, {"device": "d"})

    async def poll_device(self, memory: Mapping[str, str]) -> Identity:
        assert memory == {"device": "d"}
        self.polls += 1
        answer = self.answers.pop(0)
        if answer in ("pending", "slow"):
            raise Pending(slow_down=answer == "slow")
        return self.identity(answer)

    async def prove_id_token(self, token: str) -> Identity:
        return self.identity(claims_of(token)["sub"])

    def identity(self, who: str) -> Identity:
        if who in TROUBLE:
            raise LoginRefused(TROUBLE[who], f"the provider said {who}")
        if who == "explode":
            raise RuntimeError("canary-secret-in-an-exception")
        says = dict(PEOPLE[who])
        ends_in_s = says.pop("ends_in_s", None)
        if ends_in_s is not None:
            says["ends_at"] = int(self._clock()) + ends_in_s
        return Identity(user=who, **{"connector": self.name, **says})


class FakeLocal:
    """Two users with a password."""

    async def prove(self, user: str, password: str, totp: str) -> Identity:
        if user == "busy":
            raise LoginRefused("busy", "too many log in at once")
        if user == "shut-out":
            raise LoginRefused("locked-out", "user, password or code is wrong")
        known = user in ("lola", "ghost")  # one of them is not in the policy
        if not known or password != PASSWORD or totp not in ("", "123456"):
            raise LoginRefused("wrong-password", "user, password or code are wrong")
        return Identity(user=user, connector=LOCAL)

    async def accept(self, token: str, password: str) -> tuple[str, str]:
        if token != "invited":
            raise LoginRefused("bad-invitation", "this invitation is not known")
        if len(password) < 12:
            raise LoginRefused("weak-password", "the password is not good enough")
        return "lola", "otpauth://totp/awsgate:lola?secret=GEZDGNBV"


def id_token(sub: str, *, iss: str = ISSUER, aud: str = "https://gate.example.com") -> str:
    """Give what looks like a JWT; the fakes check no signature."""
    claims = json.dumps({"iss": iss, "aud": aud, "sub": sub}).encode()
    return f"e30.{base64.urlsafe_b64encode(claims).rstrip(b'=').decode()}.c2ln"


def claims_of(token: str) -> dict[str, Any]:
    payload = token.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=="))
    return found


def challenge(verifier: str = VERIFIER) -> str:
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


class Clock:
    """The time, which tests can put forward."""

    def __init__(self, base: float) -> None:
        self._began, self._base, self.ahead_s = time.monotonic(), base, 0.0

    def __call__(self) -> float:
        return self._base + time.monotonic() - self._began + self.ahead_s
