"""Who may do what: resources, matching, and the decision. Pure.

    resources   the shapes of the policy documents, frozen
    parse       parsed documents in, one ``Policy`` or every fault out
    decide      may this user be this role, in this app, at this endpoint?

Reading files is in ``awsgate.policyfile``.
"""

from __future__ import annotations

from awsgate.policy.decide import (
    Decision,
    decide,
    decide_federated,
    denied_by,
    grantable_roles,
    max_ttl_s,
)
from awsgate.policy.parse import parse_policy
from awsgate.policy.resources import (
    App,
    ChainedSpec,
    GatewaySpec,
    Policy,
    Role,
    UnsignedSpec,
    User,
)

__all__ = [
    "App",
    "ChainedSpec",
    "Decision",
    "GatewaySpec",
    "Policy",
    "Role",
    "UnsignedSpec",
    "User",
    "decide",
    "decide_federated",
    "denied_by",
    "grantable_roles",
    "max_ttl_s",
    "parse_policy",
]
