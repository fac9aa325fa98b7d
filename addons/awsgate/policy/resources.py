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
from typing import Annotated, Literal, Self

from pydantic import Field, StrictBool, StrictInt, model_validator

from awsgate.policy.callfields import Moment
from awsgate.policy.fields import (
    ACCOUNT_LABEL,
    Account,
    AppUri,
    EndpointUrl,
    ExternalId,
    HostPattern,
    HostPort,
    Labels,
    Name,
    OptionalEndpointUrl,
    OptionalHostPort,
    Seconds,
    Text,
    Traits,
    Version,
    empty,
    freeze,
    is_account,
    not_empty,
)
from awsgate.policy.rules import Model, PositiveInt, RoleSpec

NOT_SUPPORTED_KINDS = frozenset({"oidc", "github", "saml"})
"""Kinds of later versions."""

MIN_ROTATE_BYTES = 64 * 1024


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


class BypassEntry(Model):
    """Hosts that are tunnelled untouched."""

    hosts: Annotated[tuple[HostPattern, ...], not_empty]
    reason: Annotated[Text, not_empty]


class UpstreamEntry(Model):
    """A server that stands in for AWS hosts. The Host header is kept."""

    hosts: Annotated[tuple[HostPattern, ...], not_empty]
    url: EndpointUrl


class StsSpec(Model):
    """Where roles are assumed."""

    endpoint_url: OptionalEndpointUrl = ""
    """Empty: AWS's own."""
    regional: StrictBool = True


class BaseCredentials(Model):
    """The gateway's own credentials for an account. Nothing set: the ambient chain."""

    profile: Name


class Limits(Model):
    """How much one request, and all together, may cost."""

    max_body_bytes: PositiveInt = 128 * 1024**2  # a Lambda zip of 50 MB in base64 fits
    max_buffered_bytes: PositiveInt = 512 * 1024**2
    """All bodies that are held at a time."""
    max_header_bytes: PositiveInt = 64 * 1024
    connect_timeout_s: Annotated[float, Field(strict=True, gt=0, le=300)] = 10.0
    max_connections: PositiveInt = 10_000
    """Client connections of one process."""
    head_timeout_s: Annotated[float, Field(strict=True, gt=0, le=3600)] = 30.0
    """How long a client may take for TLS, or for the head of a request."""
    idle_timeout_s: Annotated[float, Field(strict=True, gt=0, le=86_400)] = 600.0
    """How long a connection may wait for its next request."""
    max_requests_per_user: PositiveInt = 1000
    """Under way at a time, in one process. No SDK opens so many by default."""

    @model_validator(mode="after")
    def _check_buffer(self) -> Self:
        if self.max_buffered_bytes < self.max_body_bytes:
            raise ValueError(
                f"max_buffered_bytes {self.max_buffered_bytes} is less than "
                f"max_body_bytes {self.max_body_bytes}"
            )
        return self


class SessionSpec(Model):
    """How long gateway credentials live."""

    default_ttl_s: Seconds = Field(default=3600, alias="default_ttl")
    max_ttl_s: Seconds = Field(default=12 * 3600, alias="max_ttl")

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.default_ttl_s > self.max_ttl_s:
            raise ValueError(
                f"default_ttl ({self.default_ttl_s} s) is more than max_ttl ({self.max_ttl_s} s)"
            )
        return self


class AuditSpec(Model):
    """What happens if a request cannot be recorded, and when the log's file is full."""

    on_failure: Literal["refuse", "continue"] = "refuse"
    rotate_bytes: Annotated[StrictInt, Field(ge=0)] = 100 * 1024**2
    """A file of this size is renamed, and a new one begun. 0: never."""
    keep: Annotated[StrictInt, Field(ge=0)] = 0
    """How many of the renamed files stay; 0: all, nothing is deleted."""

    @model_validator(mode="after")
    def _check_size(self) -> Self:
        if 0 < self.rotate_bytes < MIN_ROTATE_BYTES:
            raise ValueError(
                f"rotate_bytes {self.rotate_bytes} is less than {MIN_ROTATE_BYTES}, "
                "a file for a few lines: 0 turns rotation off"
            )
        if self.keep and not self.rotate_bytes:
            raise ValueError(
                "keep without rotate_bytes: only files that awsgate rotates are deleted"
            )
        return self


class UnsignedSpec(Model):
    """What may pass without gateway credentials. Nothing of ours signs it."""

    apis: StrictBool = True
    """Operations that AWS takes unsigned: sign-in, web identities."""
    anonymous_s3: StrictBool = False
    foreign_presigned: StrictBool = False
    """S3 URLs and POST forms that somebody else signed."""
    bearer_tokens: StrictBool = False
    websockets: StrictBool = False


class ArtefactsSpec(Model):
    """What the gateway makes for clients with a role's real keys (``awsgate.orders``)."""

    kinds: tuple[Literal["s3", "eks", "rds", "codecommit"], ...] = (
        "s3",
        "eks",
        "rds",
        "codecommit",
    )
    """Empty: none."""
    presign_max_ttl_s: Seconds = Field(default=900, alias="presign_max_ttl")
    """The most of a presigned S3 URL: the others live for 15 minutes, as AWS has it."""


class ChainedSpec(Model):
    """What a client may say when it assumes a further role itself."""

    role_session_name: Literal["force", "check", "free"] = "force"
    """``force``: always the user's; ``check``: refused if it is another's."""


class GatewaySpec(Model):
    """The gateway's own settings."""

    listen: HostPort = "127.0.0.1:8080"
    non_aws: Literal["tunnel", "refuse"] = "tunnel"
    bypass: tuple[BypassEntry, ...] = ()
    upstreams: tuple[UpstreamEntry, ...] = ()
    """First match wins."""
    sts: StsSpec = Field(default_factory=StsSpec)
    base_credentials: Annotated[Mapping[Account, BaseCredentials], freeze] = Field(
        default_factory=empty
    )
    """Account, or ``*`` for all others."""
    limits: Limits = Field(default_factory=Limits)
    session: SessionSpec = Field(default_factory=SessionSpec)
    audit: AuditSpec = Field(default_factory=AuditSpec)
    unsigned: UnsignedSpec = Field(default_factory=UnsignedSpec)
    chained: ChainedSpec = Field(default_factory=ChainedSpec)
    artefacts: ArtefactsSpec = Field(default_factory=ArtefactsSpec)
    mode: Literal["enforce", "report"] = "enforce"
    """``report``: rules about AWS calls refuse nothing, and the audit tells what they
    would have refused. Who may be which role is enforced either way."""
    metrics_listen: OptionalHostPort = "127.0.0.1:9464"
    """Empty: off."""


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


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything that decides, by name. Sorted, so that no order of files matters."""

    gateway: GatewaySpec = field(default_factory=GatewaySpec)
    roles: Mapping[str, Role] = field(default_factory=empty)
    users: Mapping[str, User] = field(default_factory=empty)
    apps: Mapping[str, App] = field(default_factory=empty)
    locks: Mapping[str, Lock] = field(default_factory=empty)
    warnings: tuple[str, ...] = field(default=(), compare=False)
    """What is valid and probably not meant, with its place: for the operator alone."""
    places: Mapping[str, str] = field(default_factory=empty, compare=False)
    """``role/<name>``, and so of every kind -> file and document."""
