"""Two hops: this gateway hands its calls to another one, which decides and signs for AWS.

With ``spec.upstream_gateway`` the policy here has no say in who may do what. Of a call it
asks what only it can know: that the client signed it with credentials of this gateway, that
they were issued for the gateway ahead, that they have not ended and nobody locked them here.

What the gateway ahead then proves again, by itself: the call is signed with credentials
that it gave to a login of its own, over the AWS host in ``Host`` and over the same host in
``X-Forwarded-Host``. Nothing else that crosses says where the call goes or who makes it.

    hands_on           may the call go on to the gateway ahead?
    refuse_forwarded   a gateway that hands on takes nothing that was handed to it: no loops
    onward             the plan as it leaves for the gateway ahead
    check_keys         no credentials of AWS's go there

Pure.
"""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urlsplit

from awsgate.address import joined
from awsgate.aws.sigv4 import SigningKeys
from awsgate.errors import Code, Refusal
from awsgate.outgoing import Hop, Plan
from awsgate.policy import Decision, UpstreamGateway
from awsgate.session import Session, looks_like_gateway_key
from awsgate.wire import RequestFacts

RULE = "gateway/upstream_gateway"
DECIDES = "the gateway ahead decides"
OTHER_CREDENTIALS = "these credentials were not issued for the gateway that calls are handed to"
_HEADER = b"X-Forwarded-Host"


def address_of(spec: UpstreamGateway) -> tuple[str, str, int]:
    """Give scheme, host and port of the gateway ahead."""
    parts = urlsplit(spec.url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return parts.scheme, (parts.hostname or "").lower(), port


def connector_of(spec: UpstreamGateway) -> str:
    """Give what stands as connector in credentials that are handed on: ``gateway/host:port``.

    No connector of a policy is called so. So these credentials get no role of a policy's,
    and those that a policy gives are not handed on.
    """
    _, host, port = address_of(spec)
    return f"gateway/{joined(host, port)}"


def is_of(spec: UpstreamGateway, session: Session) -> bool:
    """True if the session was issued for the gateway ahead."""
    return session.login is not None and session.login.connector == connector_of(spec)


def hands_on(spec: UpstreamGateway, session: Session) -> Decision:
    """Decide a call that goes on: the gateway ahead asks its policy, nobody asks ours."""
    allowed = is_of(spec, session)
    parts = session.role_arn.split(":")
    return Decision(
        allowed,
        DECIDES if allowed else OTHER_CREDENTIALS,
        RULE,
        session.user,
        session.role_arn,
        "",
        parts[4] if len(parts) > 5 else "",
    )


def refuse_forwarded(facts: RequestFacts) -> None:
    """Refuse a request in origin form.

    It was handed on already, by another gateway or by this one: in a circle it would go
    round for ever. Clients of a gateway on their own machine have HTTPS_PROXY.
    """
    if facts.connect_host is None:
        raise Refusal(
            Code.UNSUPPORTED,
            "this gateway hands calls on (upstream_gateway), and takes none that were handed on",
            hint="set HTTPS_PROXY instead of an endpoint URL; a gateway that hands on to this "
            "one should name the one ahead of it instead",
        )


def onward(plan: Plan, spec: UpstreamGateway, session: Session | None) -> Plan:
    """Give the plan of a request that goes on, with the host that it is meant for.

    The header is signed, wherever anything is. ``Host`` stays the AWS host: so both are
    proved by the same signature, and the gateway ahead has nothing to put in its place.
    Raises ``Refusal`` for a port that the header cannot name.
    """
    if plan.port != 443:
        raise Refusal(
            Code.UNSUPPORTED,
            f"port {plan.port} of an AWS endpoint cannot be named to the gateway ahead",
            hint="log in at that gateway itself (HTTPS_PROXY=https://...) for these calls",
        )
    hop = Hop(
        connector_of(spec),
        session.user if session is not None else "",
        session.app if session is not None else "",
        session.bounds.read_only if session is not None else False,
    )
    return replace(
        plan,
        hop=hop,
        headers=(*plan.headers, (_HEADER, plan.target_host.encode())),
        signed_headers=tuple(sorted({*plan.signed_headers, _HEADER.decode().lower()})),
    )


def check_keys(plan: Plan, keys: SigningKeys | None) -> None:
    """Refuse to sign for the gateway ahead with anything but what it gave out."""
    if plan.hop is not None and keys is not None and not looks_like_gateway_key(keys.access_key_id):
        raise Refusal(Code.GATEWAY_FAULT, "credentials of AWS's are not shown to the gateway ahead")
