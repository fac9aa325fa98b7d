"""The shapes of the policy documents: role, user, app, lock and gateway.

They are the reference product's own resources, so its YAML loads unchanged: the same
kinds, the same field names, the same meaning. Two things differ, both on the safe
side: an unknown key is a fault, and an ``app_labels`` that is left out matches
nothing in every version of the resource.

Models are frozen and hold parsed values. They check one document each; what holds
between documents is checked in ``parse``, and what they mean is in ``decide``.
The scalars of the documents are in ``fields``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from awsgate.policy.callfields import Moment
from awsgate.policy.fields import (
    ACCOUNT_LABEL,
    AppUri,
    ExternalId,
    Labels,
    Name,
    Seconds,
    Text,
    Traits,
    Version,
    empty,
    is_account,
)
from awsgate.policy.model import Model
from awsgate.policy.rules import RoleSpec
from awsgate.policy.settings import ChainedSpec as ChainedSpec
from awsgate.policy.settings import GatewaySpec as GatewaySpec
from awsgate.policy.settings import UnsignedSpec as UnsignedSpec
from awsgate.policy.settings import UpstreamGateway as UpstreamGateway

if TYPE_CHECKING:
    from awsgate.policy.connectors import Connector


class Metadata(Model):
    """What a resource is called."""

    name: Name
    description: Text = ""
    labels: Labels = Field(default_factory=empty)


class Role(Model):
    """A set of rights that users are given by name."""

    kind: Literal["role"]
    version: Version
    metadata: Metadata
    spec: RoleSpec


class UserSpec(Model):
    """The body of a user."""

    roles: tuple[Name, ...] = ()
    traits: Traits = Field(default_factory=empty)
    """Name -> values, for the templates of the roles."""


class User(Model):
    """Someone who may ask."""

    kind: Literal["user"]
    version: Version
    metadata: Metadata
    spec: UserSpec


class AppAws(Model):
    """What AssumeRole needs to know of an app."""

    external_id: ExternalId = ""


class AppOptions(Model):
    """Limits that come with an app, whichever role is used in it."""

    max_session_ttl_s: Seconds | None = Field(default=None, alias="max_session_ttl")


class AppSpec(Model):
    """The body of an app."""

    uri: AppUri
    """The console, or another AWS URL. It says the partition."""
    labels: Labels = Field(default_factory=empty)
    """The reference's ``app_service`` entries have them here; both places count."""
    aws: AppAws = Field(default_factory=AppAws)
    options: AppOptions = Field(default_factory=AppOptions)


class App(Model):
    """One AWS account, or a way into it."""

    kind: Literal["app"]
    version: Version
    metadata: Metadata
    spec: AppSpec

    @model_validator(mode="after")
    def _check_labels(self) -> Self:
        for key, value in self.spec.labels.items():
            if self.metadata.labels.get(key, value) != value:
                raise ValueError(f"spec.labels.{key}: differs from metadata.labels.{key}")
        for place, labels in (("metadata", self.metadata.labels), ("spec", self.spec.labels)):
            account = labels.get(ACCOUNT_LABEL)
            if account is not None and not is_account(account):
                raise ValueError(
                    f"{place}.labels.{ACCOUNT_LABEL}: {account!r} is not a 12-digit account id"
                )
        return self

    @property
    def labels(self) -> Mapping[str, str]:
        """All labels of the app."""
        return {**self.metadata.labels, **self.spec.labels}


class LockTarget(Model):
    """Whom a lock keeps out: whoever fits all that is given."""

    user: Name | None = None
    role: Name | None = None
    """A role of the policy that the user has."""
    app: Name | None = None
    session: Name | None = None
    """As in the audit."""
    aws_role_arn: Name | None = None

    @model_validator(mode="after")
    def _check_some(self) -> Self:
        if not any((self.user, self.role, self.app, self.session, self.aws_role_arn)):
            raise ValueError("names nobody: give user, role, app, session or aws_role_arn")
        return self


class LockSpec(Model):
    """The body of a lock."""

    target: LockTarget
    message: Text = ""
    """Shown to whom it keeps out."""
    expires: Moment | None = None
    """None: never."""


class Lock(Model):
    """Someone or something that is shut out at once, whatever the roles say."""

    kind: Literal["lock"]
    version: Version
    metadata: Metadata
    spec: LockSpec


class GatewayMetadata(Model):
    """There is one gateway, so its name may be left out."""

    name: Name = "gateway"
    description: Text = ""
    labels: Labels = Field(default_factory=empty)


class Gateway(Model):
    """The one document with the gateway's own settings."""

    kind: Literal["gateway"]
    version: Version = "v1"
    metadata: GatewayMetadata = Field(default_factory=GatewayMetadata)
    spec: GatewaySpec = Field(default_factory=GatewaySpec)


type Resource = Role | User | App | Lock | Gateway
"""All but the connectors, which are in ``connectors``."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything that decides, by name. Sorted, so that no order of files matters."""

    gateway: GatewaySpec = field(default_factory=GatewaySpec)
    roles: Mapping[str, Role] = field(default_factory=empty)
    users: Mapping[str, User] = field(default_factory=empty)
    apps: Mapping[str, App] = field(default_factory=empty)
    locks: Mapping[str, Lock] = field(default_factory=empty)
    connectors: Mapping[str, Connector] = field(default_factory=empty)
    """``oidc/okta`` and so on: by kind and name."""
    warnings: tuple[str, ...] = field(default=(), compare=False)
    """What is valid and probably not meant, with its place: for the operator alone."""
    places: Mapping[str, str] = field(default_factory=empty, compare=False)
    """``role/<name>``, and so of every kind -> file and document."""
