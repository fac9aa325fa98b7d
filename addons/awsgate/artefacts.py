"""What AWS takes in place of a request: made here, with a role's real keys.

    presigned URL    a signed GET, HEAD, PUT or DELETE of one S3 object
    EKS token        a presigned GetCallerIdentity that names the cluster
    RDS token        a presigned ``connect`` to one host, port and user
    CodeCommit       a signature of the path of one repository

Each is what AWS's own tools make of the same keys at the same time, byte for byte. It
holds the real key id and session token, which are of no use without the secret; that
stays here. It is good at once, for everybody who has it, and without the gateway: so
none is good for longer than its session, or the keys.

Pure: order, keys and time in, the answer out. ``orders`` read what is ordered.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from awsgate.aws import gitsign, presign, sigv4
from awsgate.caller import UNSIGNED_PAYLOAD
from awsgate.errors import Code, Refusal
from awsgate.orders import Kind, Order
from awsgate.policy.handoff import MAX_POLICY_CHARS, Handoff
from awsgate.timestamps import utc_seconds

EKS_PREFIX = "k8s-aws-v1."
EKS_URL_EXPIRES_S = 60  # as AWS's tools write it; EKS itself counts from X-Amz-Date
CLUSTER_HEADER = "x-k8s-aws-id"


@dataclass(frozen=True, slots=True)
class Artefact:
    """What the client is answered."""

    answer: bytes = field(repr=False)
    """JSON."""
    expires: str
    """``YYYY-MM-DDTHH:MM:SSZ``."""


def make_artefact(
    order: Order,
    keys: sigv4.SigningKeys,
    *,
    now: datetime,
    session_ends_s: float,
    keys_end_s: float,
) -> Artefact:
    """Make what was ordered. The ends in epoch seconds.

    Raises ``Refusal`` if session or keys have ended.
    """
    ends = {
        "presign_max_ttl" if order.cut else "": now.timestamp() + order.life_s,
        "session": session_ends_s,
        "credentials": keys_end_s,
    }
    limit = min(ends, key=lambda name: ends[name])
    left_s = int(ends[limit] - now.timestamp())
    if left_s < 1:
        raise Refusal(
            Code.SESSION_EXPIRED,
            "the gateway session, or the role's credentials, ended meanwhile",
            hint="get new credentials (awsgate env) and ask again",
        )
    expires = utc_seconds(now + timedelta(seconds=left_s))
    said: dict[str, Any] = {"kind": order.kind.value, "expires": expires, "expires_in": left_s}
    if limit:
        said["limited_by"] = limit
    said |= _MAKERS[order.kind](order, keys, now, left_s)
    return Artefact(json.dumps(said).encode(), expires)


def narrowed(handoff: Handoff, order: Order) -> Handoff:
    """Give what AssumeRole is told, with the keys held to ``order.narrow`` by AWS.

    What is there already stays in force: a denial cuts down every policy beside it.
    """
    action, arn = order.narrow
    if not action:
        return handoff
    if not handoff.policy and not handoff.policy_arns:
        statements = [{"Effect": "Allow", "Action": action, "Resource": arn}]
    else:
        before = json.loads(handoff.policy)["Statement"] if handoff.policy else []
        statements = [
            *(before if isinstance(before, list) else [before]),
            {"Effect": "Deny", "NotAction": action, "Resource": "*"},
            {"Effect": "Deny", "Action": action, "NotResource": arn},
        ]
    document = {"Version": "2012-10-17", "Statement": statements}
    policy = json.dumps(document, separators=(",", ":"))
    faults = handoff.faults
    if len(policy) + sum(map(len, handoff.policy_arns)) > MAX_POLICY_CHARS:
        faults += (f"the session policy, narrowed to {action}, is over {MAX_POLICY_CHARS}",)
    return replace(handoff, policy=policy, faults=faults)


def _presigned(
    order: Order,
    keys: sigv4.SigningKeys,
    now: datetime,
    expires_s: int,
    *,
    service: str,
    payload: str = sigv4.EMPTY_SHA256,
) -> str:
    headers = [(b"Host", order.host.encode())]
    if order.cluster:
        headers.append((CLUSTER_HEADER.encode(), order.cluster.encode()))
    target = presign.presign(
        order.method,
        order.target,
        headers,
        signed=(CLUSTER_HEADER,),
        keys=keys,
        region=order.region,
        service=service,
        payload=payload,
        now=now,
        expires_s=expires_s,
    )
    return order.host + target.decode("ascii")


def _s3(order: Order, keys: sigv4.SigningKeys, now: datetime, left_s: int) -> dict[str, str]:
    expires_s = min(left_s, presign.MAX_EXPIRES_S)
    url = _presigned(order, keys, now, expires_s, service="s3", payload=UNSIGNED_PAYLOAD)
    return {"method": order.method, "url": f"https://{url}"}


def _eks(order: Order, keys: sigv4.SigningKeys, now: datetime, left_s: int) -> dict[str, str]:
    url = _presigned(order, keys, now, min(left_s, EKS_URL_EXPIRES_S), service="sts")
    encoded = base64.urlsafe_b64encode(f"https://{url}".encode()).decode("ascii")
    return {"token": EKS_PREFIX + encoded.rstrip("=")}


def _rds(order: Order, keys: sigv4.SigningKeys, now: datetime, left_s: int) -> dict[str, str]:
    return {"token": _presigned(order, keys, now, left_s, service="rds-db")}


def _codecommit(order: Order, keys: sigv4.SigningKeys, now: datetime, _: int) -> dict[str, str]:
    password = gitsign.git_password(
        order.host, order.target.decode("ascii"), keys=keys, region=order.region, now=now
    )
    return {"username": gitsign.git_username(keys), "password": password}


_MAKERS = {Kind.S3: _s3, Kind.EKS: _eks, Kind.RDS: _rds, Kind.CODECOMMIT: _codecommit}
