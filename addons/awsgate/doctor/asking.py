"""Asks AWS what the gateway would ask it: who am I, may I be this role.

With ``sts.StsAssumer``, the gateway's own way, so that what works here works there.
AssumeRole leaves a line in CloudTrail, with the session name ``awsgate-doctor``.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from awsgate.aws.partitions import BY_ID
from awsgate.credentials import RoleRequest
from awsgate.doctor.accounts import BaseFacts
from awsgate.doctor.assuming import RoleFacts, TrustState
from awsgate.doctor.connect import skew_of
from awsgate.errors import Refusal
from awsgate.policy import GatewaySpec, Policy, decide, grantable_roles
from awsgate.policy.handoff import make_handoff
from awsgate.sts import StsAssumer, sts_region

SESSION_NAME = "awsgate-doctor"
MAX_ROLES = 32
_DURATION_S = 900  # the shortest that AWS gives; these credentials are thrown away
_DETAIL = re.compile(r"(\w+), request id \S+?(?:: (.*))?", re.DOTALL)
_HELD = frozenset({"NoCredentialsError", "ProfileNotFound"})


@dataclass(frozen=True, slots=True)
class Wanted:
    """A role that the policy gives to somebody, and how it is asked for."""

    request: RoleRequest
    user: str
    app: str


def wanted_roles(
    policy: Policy, *, user: str = "", app: str = "", role_arn: str = ""
) -> Iterator[Wanted]:
    """Give each role once for each way in which STS is asked for it."""
    seen = set()
    for name in [user] if user else sorted(policy.users):
        for in_app, arn in grantable_roles(policy, name, app or None):
            if role_arn not in ("", arn):
                continue
            request = _request(policy, name, in_app, arn)
            if request is not None and request not in seen:
                seen.add(request)
                yield Wanted(request, name, in_app)


def _request(policy: Policy, user: str, app: str, arn: str) -> RoleRequest | None:
    decision = decide(
        policy, user=user, app=app, role_arn=arn, endpoint_service="sts", tenant_controlled=False
    )
    partition = arn.split(":")[1]
    if not decision.allowed or partition not in BY_ID:
        return None
    handoff = make_handoff(
        policy.roles[decision.rule.removeprefix("role/")],
        policy.users[user],
        partition=partition,
        enforce=policy.gateway.mode == "enforce",
    )
    if handoff.source_identity:
        handoff = replace(handoff, source_identity=SESSION_NAME)  # not in the user's name
    return RoleRequest(
        role_arn=arn,
        session_name=SESSION_NAME,
        external_id=decision.external_id,
        region=sts_region("", partition, regional=policy.gateway.sts.regional),
        partition=partition,
        duration_s=_DURATION_S,
        account=decision.account,
        handoff=handoff,
    )


class Asker:
    """Asks with awsgate's own credentials, of every profile that the policy names."""

    def __init__(self, spec: GatewaySpec, upstream: str) -> None:
        self._profiles = {account: base.profile for account, base in spec.base_credentials.items()}
        self._endpoint = spec.sts.endpoint_url or upstream
        self._assumer = StsAssumer(self._endpoint, spec.sts.regional, self._profiles)
        # IAM is not behind a VPC endpoint of STS's; an emulator is both.
        self._iam = StsAssumer(upstream, spec.sts.regional, self._profiles)

    def profiles(self, used: frozenset[str]) -> list[str]:
        """Give the profiles that roles in these accounts are asked for with."""
        return sorted({self._profile(account) for account in used}) or [self._profile("")]

    def _profile(self, account: str) -> str:
        return self._profiles.get(account, self._profiles.get("*", ""))

    def base(self, profile: str, partition: str, facts: BaseFacts) -> BaseFacts:
        """Ask STS whose credentials these are."""
        region = BY_ID[partition].global_region
        facts = replace(facts, profile=profile, endpoint=self._endpoint)
        facts = replace(facts, method=self._assumer.method(profile))
        asked_at = time.time()
        said = self._assumer.ask(profile, region, "sts", "get_caller_identity")
        return replace(
            facts,
            arn=str(said.found.get("Arn", "")),
            code=said.code,
            skew_s=skew_of(said.date, asked_at, time.time()) if said.date else None,
        )

    def role(self, wanted: Wanted, bases: Mapping[str, BaseFacts]) -> RoleFacts:
        """Assume a role as the gateway would, and if AWS says no read its trust policy."""
        request = wanted.request
        base = bases.get(self._profile(request.account))
        facts = RoleFacts(
            role_arn=request.role_arn,
            used_by=f"{wanted.user} in {wanted.app}",
            app=wanted.app,
            base_arn=base.arn if base else "",
            external_id=request.external_id,
            tags=bool(request.handoff.tags),
            source_identity=bool(request.handoff.source_identity),
        )
        try:
            self._assumer.assume(request)
        except Refusal as exc:
            matched = _DETAIL.fullmatch(exc.detail)
            code = matched[1] if matched else exc.detail.partition(":")[0]
            facts = replace(facts, code=code, message=(matched and matched[2]) or "")
        if facts.code != "AccessDenied":
            return facts
        state, document = self._trust(facts, request)
        return replace(facts, trust=state, trust_policy=document)

    def has_credentials(self, facts: RoleFacts) -> bool:
        """False if there was nothing to ask with: that is said once, of the credentials."""
        return facts.code not in _HELD

    def _trust(
        self, facts: RoleFacts, request: RoleRequest
    ) -> tuple[TrustState, Mapping[str, Any] | None]:
        if f"::{request.account}:" not in facts.base_arn.replace(":sts::", ":iam::"):
            return "not-allowed", None  # another account's IAM cannot be read
        region = BY_ID[request.partition].global_region
        profile = self._profile(request.account)
        said = self._iam.ask(profile, region, "iam", "get_role", RoleName=facts.name)
        if said.code:
            return ("no-role" if said.code == "NoSuchEntity" else "not-allowed"), None
        document = said.found.get("Role", {}).get("AssumeRolePolicyDocument")
        return ("read", document) if isinstance(document, dict) else ("not-allowed", None)
