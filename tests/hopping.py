"""Two gates in one process: what leaves the near one is what the far one receives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

from awsgate import outgoing
from awsgate.aws.sigv4 import SigningKeys
from awsgate.gate import Gate, Review
from awsgate.login import LOCAL, LoginFacts
from awsgate.onward import connector_of
from awsgate.outgoing import Outgoing, Plan
from awsgate.policy import Policy, UpstreamGateway
from awsgate.session import NO_BOUNDS, Bounds, GatewayCredentials, SessionKeys, SessionOpener, mint
from awsgate.wire import RequestFacts
from calls import NOW_S, POLICY, READER, Call
from signers import WHEN

NEAR, FAR = SessionKeys(bytes(range(32))), SessionKeys(bytes(range(64, 96)))
SPEC = UpstreamGateway(url="https://jump.example.com:8443")
LATER = WHEN + timedelta(seconds=1)
NEAR_POLICY = Policy(
    users={}, roles={}, apps={},
    gateway=POLICY.gateway.model_copy(update={"upstream_gateway": SPEC}),
)  # fmt: skip


def near_keys(
    *, connector: str = "", user: str = "alice", role_arn: str = READER, bounds: Bounds = NO_BOUNDS
) -> GatewayCredentials:
    """Credentials of the near gateway, as ``awsgate env`` mints them there."""
    facts = LoginFacts("ab" * 10, connector or connector_of(SPEC))
    return mint(
        NEAR, user=user, app="console", role_arn=role_arn, ttl_s=3600, now=NOW_S,
        entropy=bytes(range(9, 41)), login=facts, bounds=bounds,
    )  # fmt: skip


def far_keys(*, user: str = "alice", role_arn: str = READER) -> SigningKeys:
    """What the far gateway's control API gives a login of its own."""
    made = mint(
        FAR, user=user, app="console", role_arn=role_arn, ttl_s=3600, now=NOW_S,
        entropy=bytes(range(40, 72)), login=LoginFacts("cd" * 10, LOCAL),
    )  # fmt: skip
    return SigningKeys(made.access_key_id, made.secret_access_key, made.session_token)


def near_gate(policy: Policy = NEAR_POLICY) -> Gate:
    return Gate(policy, SessionOpener(NEAR))


def far_gate(policy: Policy = POLICY) -> Gate:
    return Gate(policy, SessionOpener(FAR))


@dataclass
class Hopped:
    """A call behind the near gateway."""

    review: Review
    plan: Plan
    out: Outgoing

    def facts(self, method: str) -> RequestFacts:
        """Give it as it reaches the far one: origin form, in TLS, from elsewhere."""
        return RequestFacts(
            method=method.encode(), target=self.out.target, authority=b"",
            headers=self.out.headers, connect_host=None, tls=True, sni="jump.example.com",
            local=False,
        )  # fmt: skip


def hop(call: Call, body: bytes | None = None, *, keys: SigningKeys | None = None) -> Hopped:
    """Have the near gateway hand on a call. ``body`` is what its gate sees; None: the call's."""
    review, gate = Review(call.facts()), near_gate()
    gate.receive(review, WHEN)
    plan = gate.authorise(review, call.body if body is None else body, WHEN)
    issued = plan.issued.keys if plan.issued is not None else None
    out = outgoing.sign(
        plan, review.facts, review.claim if plan.form is not None else None,
        client_secret=review.secret,
        keys=(keys or issued or far_keys()) if plan.form is not None else None,
        now=LATER,
    )  # fmt: skip
    return Hopped(review, plan, out)


def arrive(
    hopped: Hopped,
    method: str,
    body: bytes | None,
    *,
    change: Callable[[RequestFacts], RequestFacts] = replace,
    gate: Gate | None = None,
) -> tuple[Review, Plan]:
    """Have the far gateway decide on it."""
    review, far = Review(change(hopped.facts(method))), gate or far_gate()
    far.receive(review, LATER)
    return review, far.authorise(review, body, LATER)
