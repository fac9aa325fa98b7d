"""Requests as clients mean them, signed by botocore, for the tests of the gate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from awsgate import outgoing
from awsgate.aws.sigv4 import SigningKeys
from awsgate.errors import Refusal
from awsgate.gate import Gate, Review
from awsgate.outgoing import Outgoing, Plan
from awsgate.policy import parse_policy
from awsgate.session import GatewayCredentials, SessionKeys, SessionOpener, mint
from awsgate.wire import RequestFacts
from signers import WHEN, Fields, botocore_sign

S3 = "b.s3.eu-central-1.amazonaws.com"
LAMBDA = "lambda.eu-central-1.amazonaws.com"
API = "abc.execute-api.eu-central-1.amazonaws.com"
GATEWAY = "127.0.0.1:8080"
READER, ADMIN = (f"arn:aws:iam::123456789012:role/{name}" for name in ("Reader", "Admin"))
ROLE_KEYS = SigningKeys("ASIAROLE", "canary-role-secret", "canary-role-token")

POLICY = parse_policy(
    [
        ("role", {"kind": "role", "version": "v5", "metadata": {"name": "read"},
                  "spec": {"allow": {"app_labels": {"*": "*"}, "aws_role_arns": [READER]}}}),
        ("user", {"kind": "user", "version": "v2", "metadata": {"name": "alice"},
                  "spec": {"roles": ["read"]}}),
        ("app", {"kind": "app", "version": "v3", "metadata": {"name": "console"},
                 "spec": {"uri": "https://console.aws.amazon.com/",
                          "aws": {"external_id": "ext-1"}}}),
    ]
)  # fmt: skip
KEYS = SessionKeys(bytes(range(32)))
NOW_S = int(WHEN.timestamp())


def minted(*, user: str = "alice", role_arn: str = READER, age_s: int = 0) -> GatewayCredentials:
    return mint(
        KEYS,
        user=user,
        app="console",
        role_arn=role_arn,
        ttl_s=3600,
        now=NOW_S - age_s,
        entropy=bytes(range(9, 41)),
    )


@dataclass(frozen=True)
class Call:
    """A request as a client means it. ``facts`` signs it and puts it on the wire."""

    method: str = "PUT"
    host: str = S3
    target: str = "/a%20b/../%C3%A9//x?z=1&a=b+c"
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "text/plain"), ("User-Agent", "x/1"))
    body: bytes = b"hello"
    service: str = "s3"
    region: str = "eu-central-1"
    keys: GatewayCredentials = field(default_factory=minted)
    secret: str = ""
    age: timedelta = timedelta(0)
    sign_body: bool = True
    origin: bool = False
    after: Callable[[Fields], Fields] = list
    """What happens to the headers after they were signed."""
    facts_too: Callable[[RequestFacts], RequestFacts] = replace

    def facts(self) -> RequestFacts:
        keys = SigningKeys(
            self.keys.access_key_id,
            self.secret or self.keys.secret_access_key,
            self.keys.session_token,
        )
        origin = (("Host", GATEWAY), ("X-Forwarded-Host", self.host)) if self.origin else ()
        fields = botocore_sign(
            self.method,
            self.host,
            self.target.replace("+", "%20"),
            [*origin, *self.headers],
            self.body,
            service=self.service,
            region=self.region,
            keys=keys,
            when=WHEN - self.age,
            sign_body=self.sign_body,
        )
        facts = RequestFacts(
            method=self.method.encode(),
            target=self.target.encode(),
            authority=b"",
            headers=tuple(self.after(fields)),
            connect_host=None if self.origin else self.host,
            tls=not self.origin,
            sni=None if self.origin else self.host,
            local=True,
        )
        return self.facts_too(facts)


GOOD = Call()
ORIGIN = Call(origin=True)
JSON = Call(method="POST", host=LAMBDA, service="lambda", target="/2015-03-31/functions/a%3Ab/x")


def new_gate() -> Gate:
    return Gate(policy=POLICY, open_session=SessionOpener(KEYS))


def run(call: Call, body: bytes | None = b"hello") -> tuple[Review, Plan]:
    review, gate = Review(call.facts()), new_gate()
    gate.receive(review, WHEN)
    return review, gate.authorise(review, body, WHEN)


def leaving(call: Call) -> Outgoing:
    """Give the request as it goes to AWS."""
    review, plan = run(call)
    return outgoing.sign(
        plan,
        review.facts,
        review.claim,
        client_secret=review.secret,
        keys=ROLE_KEYS,
        now=WHEN + timedelta(seconds=2),
    )


def sent(call: Call) -> Fields:
    """Give the headers that go to AWS."""
    return list(leaving(call).headers)


def without(*names: bytes) -> Callable[[Fields], Fields]:
    return lambda fields: [f for f in fields if f[0].lower() not in names]


def with_(*extra: tuple[bytes, bytes]) -> Callable[[Fields], Fields]:
    return lambda fields: [*fields, *extra]


def with_value(name: bytes, new: Callable[[bytes], bytes]) -> Callable[[Fields], Fields]:
    return lambda fields: [(n, new(v) if n.lower() == name else v) for n, v in fields]


def unsigned(name: str) -> Callable[[bytes], bytes]:
    """Take a name out of SignedHeaders. The signature is then wrong as well: too late."""
    return lambda value: value.replace(f";{name}".encode(), b"").replace(f"{name};".encode(), b"")


def other_scheme(scheme: bytes) -> Callable[[Fields], Fields]:
    return with_value(b"authorization", lambda v: scheme + b" " + v.partition(b" ")[2])


def at(**changes: object) -> Callable[[RequestFacts], RequestFacts]:
    return lambda facts: replace(facts, **changes)  # type: ignore[arg-type]


# --- verdicts --------------------------------------------------------------


def verdict(
    facts: RequestFacts, body: bytes = b"hello", *, now: datetime = WHEN, gate: Gate | None = None
) -> str:
    """Give the code of the refusal; "passed": there is none."""
    review, gate = Review(facts), gate or new_gate()
    try:
        gate.receive(review, now)
        gate.authorise(review, body, now)
    except Refusal as refusal:
        return refusal.code.value
    return "passed"


def session(seed: int, keys: SessionKeys = KEYS) -> GatewayCredentials:
    return mint(
        keys,
        user="alice",
        app="console",
        role_arn=READER,
        ttl_s=3600,
        now=NOW_S,
        entropy=bytes(range(seed, seed + 32)),
    )


SESSIONS = {
    "one": session(1),
    "two": session(2),
    "another gateway's": session(3, SessionKeys(bytes(range(7, 39)))),
}
