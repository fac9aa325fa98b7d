"""The parts of a role: what it allows, what it denies, its limits.

The reference product's fields, and ours about the AWS call: ``CallConditions``. What
they mean is in ``conditions`` and ``decide``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import Field, StrictBool, model_validator

from awsgate.policy.approvals import Mark
from awsgate.policy.callfields import (
    DAYS,
    AccessLevelName,
    ActionPattern,
    Clock,
    Day,
    InlinePolicy,
    Network,
    PolicyArn,
    RegionPattern,
    ResourcePattern,
    ServicePattern,
    Templated,
    Timezone,
    some,
)
from awsgate.policy.fields import (
    Name,
    RoleArnEntry,
    Seconds,
    Selector,
    TenantService,
    empty,
    freeze,
)
from awsgate.policy.model import Model, PositiveInt
from awsgate.policy.requests import Request, ReviewRequests


class Hours(Model):
    """A window of the week. It may go past midnight; its day is the one it begins on."""

    days: Annotated[tuple[Day, ...], some] = DAYS
    start: Clock = Field(default="00:00", alias="from")
    end: Clock = Field(default="24:00", alias="to")
    timezone: Timezone = "UTC"

    @model_validator(mode="after")
    def _check_length(self) -> Self:
        if self.start == self.end:
            raise ValueError(f"from and to are both {self.start!r}: leave them out for all day")
        return self


class CallConditions(Model):
    """What a rule says about the AWS call. What is left out says nothing."""

    aws_actions: Annotated[tuple[ActionPattern, ...], some] = ()
    """IAM actions with globs, in any case."""
    aws_resources: Annotated[tuple[ResourcePattern, ...], some] = ()
    """ARNs with globs and templates."""
    aws_regions: Annotated[tuple[RegionPattern, ...], some] = ()
    """Regions that calls are signed for; services without regions sign for us-east-1."""
    aws_services: Annotated[tuple[ServicePattern, ...], some] = ()
    """IAM prefixes: what stands before the colon of an action."""
    aws_access_levels: Annotated[tuple[AccessLevelName, ...], some] = ()
    source_networks: Annotated[tuple[Network, ...], some] = ()
    """Where the client connects from."""
    hours: Annotated[tuple[Hours, ...], some] = ()

    @property
    def about_calls(self) -> bool:
        """True if any of the conditions is given."""
        return bool(
            self.aws_actions
            or self.aws_resources
            or self.aws_regions
            or self.aws_services
            or self.aws_access_levels
            or self.source_networks
            or self.hours
        )


ABOUT_REQUESTS = frozenset({"request", "review_requests", "approvals"})
"""Fields of Allow and Deny that by themselves neither allow nor deny anything at AWS."""


class Allow(CallConditions):
    """What a role lets its users do. All of it must match."""

    app_labels: Selector = Field(default_factory=empty)
    """Label -> any of these values. Nothing here matches no app."""
    aws_role_arns: tuple[RoleArnEntry, ...] = ()
    """ARNs, with globs and templates."""
    aws_tenant_endpoints: tuple[TenantService, ...] = ()
    """Services whose endpoints other tenants can own, or ``*``. Off unless listed."""
    approvals: tuple[Mark, ...] = ()
    """Calls of those that it allows which somebody else must have approved."""
    request: Request | None = None
    """Roles of the policy that users of this one may ask for."""
    review_requests: ReviewRequests | None = None
    """Roles that they may grant to others who ask."""


class Deny(CallConditions):
    """What a role keeps from its users.

    Labels or ARNs alone deny the app or the role, either of them. Conditions about
    the call deny the calls that match all of them, there.
    """

    app_labels: Selector = Field(default_factory=empty)
    aws_role_arns: tuple[RoleArnEntry, ...] = ()
    request: Request | None = None
    review_requests: ReviewRequests | None = None


class SessionPolicy(Model):
    """The session policy of AssumeRole: AWS refuses what it does not allow too."""

    computed: bool = False
    """Made from the rules of this role."""
    inline: InlinePolicy = ""
    """An IAM policy document, as YAML or as JSON text."""
    policy_arns: Annotated[tuple[PolicyArn, ...], some] = ()

    @model_validator(mode="before")
    @classmethod
    def _spell_out(cls, value: object) -> object:
        return {"computed": True} if value == "computed" else value

    @model_validator(mode="after")
    def _check_some(self) -> Self:
        if self.computed and (self.inline or self.policy_arns):
            raise ValueError("is either 'computed' or has inline and policy_arns, not both")
        if not (self.computed or self.inline or self.policy_arns):
            raise ValueError("is neither 'computed' nor has inline or policy_arns")
        return self


class RoleOptions(Model):
    """Limits that come with a role, and what AssumeRole is told."""

    max_session_ttl_s: Seconds | None = Field(default=None, alias="max_session_ttl")
    max_session_requests: PositiveInt | None = None
    max_session_bytes: PositiveInt | None = None
    """Of request and response bodies."""
    gateway_admin: StrictBool = False
    """Whoever has the role may ask the gateway who is connected, and lock people out."""
    aws_session_policy: SessionPolicy | None = None
    aws_session_tags: Annotated[Mapping[Name, Templated], freeze] = Field(default_factory=empty)
    aws_transitive_tags: tuple[Name, ...] = ()
    """Keys of ``aws_session_tags`` that further roles keep."""
    aws_source_identity: Templated = ""


class RoleSpec(Model):
    """The body of a role."""

    allow: Allow = Field(default_factory=Allow)
    deny: Deny = Field(default_factory=Deny)
    options: RoleOptions = Field(default_factory=RoleOptions)
