"""Who may do what: resources, matching, and the decision. Pure.

    resources   the shapes of the policy documents, frozen; ``rules`` those of a role
    templates   {{internal.x}} and its functions; ``globs`` * and ?
    conditions  what rules say about an AWS call
    parse       parsed documents in, one ``Policy`` or every fault out
    decide      may this user be this role, in this app, for this call?
    grantable   all that a user may ask for
    explain     why, and what the nearest rule lacks; ``ttl`` how long a session lasts
    lint        what is valid and probably not meant: ``unreachable`` rules, ``misnamed`` actions

Reading files is in ``awsgate.policyfile``.
"""

from __future__ import annotations

from awsgate.policy.conditions import CallFacts
from awsgate.policy.decide import (
    Decision,
    decide,
    decide_federated,
    denied_by,
    may_be,
)
from awsgate.policy.grantable import grantable_roles
from awsgate.policy.parse import parse_policy
from awsgate.policy.resources import (
    App,
    ChainedSpec,
    GatewaySpec,
    Lock,
    Policy,
    Role,
    UnsignedSpec,
    UpstreamGateway,
    User,
)
from awsgate.policy.ttl import TtlLimit, max_ttl_s, ttl_limit
from awsgate.policy.verdicts import Verdict, verdicts

__all__ = [
    "App",
    "CallFacts",
    "ChainedSpec",
    "Decision",
    "GatewaySpec",
    "Lock",
    "Policy",
    "Role",
    "TtlLimit",
    "UnsignedSpec",
    "UpstreamGateway",
    "User",
    "Verdict",
    "decide",
    "decide_federated",
    "denied_by",
    "grantable_roles",
    "max_ttl_s",
    "may_be",
    "parse_policy",
    "ttl_limit",
    "verdicts",
]
