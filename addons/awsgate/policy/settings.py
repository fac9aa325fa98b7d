"""The shape of ``spec`` of ``kind: gateway``: the gateway's own settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, StrictBool, StrictInt, model_validator

from awsgate.address import is_loopback, split
from awsgate.policy.fields import (
    Account,
    EndpointUrl,
    HostPattern,
    HostPort,
    Name,
    OptionalEndpointUrl,
    OptionalHostPort,
    OptionalProviderUrl,
    Quoted,
    Seconds,
    Text,
    empty,
    freeze,
    not_empty,
)
from awsgate.policy.model import Model, PositiveInt
from awsgate.policy.valuepattern import value_pattern

MIN_ROTATE_BYTES = 64 * 1024


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


def _webhook_url(value: SecretStr) -> SecretStr:
    # Not repeated: it is a secret.
    if not value.get_secret_value().startswith(("https://", "http://", "file:///")):
        raise ValueError("is no URL: https://..., or file:///path of a file that holds one")
    return value


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
    max_tunnels_per_user: PositiveInt = 100
    """Open at a time, in one process. Of nobody known (see ``tunnels.callers``), by address."""
    failures_per_minute: Annotated[StrictInt, Field(ge=0)] = 60
    """Of authentication, by one address, in one process: those beyond are answered a second
    later. 0: all at once."""

    @model_validator(mode="after")
    def _check_buffer(self) -> Self:
        if self.max_buffered_bytes < self.max_body_bytes:
            raise ValueError(
                f"max_buffered_bytes {self.max_buffered_bytes} is less than "
                f"max_body_bytes {self.max_body_bytes}"
            )
        return self


class SessionSpec(Model):
    """How long gateway credentials live, and logins."""

    default_ttl_s: Seconds = Field(default=3600, alias="default_ttl")
    max_ttl_s: Seconds = Field(default=12 * 3600, alias="max_ttl")
    login_ttl_s: Seconds = Field(default=12 * 3600, alias="login_ttl")
    """How long a login lasts where neither connector nor identity provider says."""

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


class Certificate(Model):
    """A certificate of the operator's own, for the gateway's own names."""

    cert_file: Annotated[Text, not_empty]
    """PEM: the certificate, then those that lead to its root."""
    key_file: Annotated[Text, not_empty]


class CertificateToRoles(Model):
    """Roles for whoever has a client certificate with a subject."""

    subject: Annotated[Quoted, AfterValidator(value_pattern)]
    """Of the name in the certificate: exact, with ``*``, or ``^a regular expression$``, whose
    groups are ``$1`` in the roles."""
    roles: Annotated[tuple[Name, ...], not_empty]

    @property
    def wanted(self) -> Mapping[str, str]:
        """Subject -> pattern, as for the claims of connectors."""
        return {"subject": self.subject}


class ControlSpec(Model):
    """The control API: login, credentials, locks. Always TLS."""

    listen: OptionalHostPort = ""
    """Empty: off."""
    url: OptionalProviderUrl = ""
    """How clients and identity providers reach it; empty: the first of ``names``, and the
    port of ``listen``."""
    logins_per_minute: PositiveInt = 60
    """Attempts to log in of one address, and as many at once after a pause."""
    client_ca: Text = ""
    """PEM file of those who issue certificates to clients. Empty: no login by certificate."""
    certificate_to_roles: tuple[CertificateToRoles, ...] = ()

    @model_validator(mode="after")
    def _check_certificates(self) -> Self:
        if bool(self.client_ca) != bool(self.certificate_to_roles):
            raise ValueError("client_ca and certificate_to_roles go together")
        return self


class TunnelsSpec(Model):
    """Who may open tunnels, which nobody looks into."""

    callers: Literal["anybody", "known"] = "anybody"
    """``known``: Proxy-Authorization made of a session, or a recent signed
    ssm:StartSession or ecs:ExecuteCommand from the same address."""
    recent: Seconds = Field(default=300)


class UpstreamGateway(Model):
    """The gateway that this one hands all calls to: it decides, and signs for AWS."""

    url: EndpointUrl
    """Its proxy port, as ``https://jump.example.com:8443``."""
    control: OptionalProviderUrl = ""
    """Its control API; empty: that of the login."""

    @model_validator(mode="after")
    def _check_url(self) -> Self:
        parts = urlsplit(self.url)
        if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
            raise ValueError(
                f"url {self.url!r} is plain HTTP to another machine: what it carries could be "
                "sent again by whoever reads it, so it must be https"
            )
        control = urlsplit(self.control)
        if self.control and (control.scheme != "https" or control.path.strip("/") or control.query):
            raise ValueError(f"control {self.control!r} is not https, a host and a port alone")
        return self


class WebhookSpec(Model):
    """Who is told of access requests: a URL that takes Slack's JSON by POST."""

    url: Annotated[SecretStr, AfterValidator(_webhook_url)] = Field(repr=False)
    """A secret: whoever has it can write there. ``file:///path`` of a file that holds it, too."""


class RequestsSpec(Model):
    """Where access requests are kept, and who is told of them."""

    database_url: SecretStr | None = Field(default=None, repr=False)
    """``postgresql://user:password@host/name``, for several gateways; or the ``file:///path``
    of a file that holds it. Empty: SQLite, ``requests.db`` in the state folder."""
    webhook: WebhookSpec | None = None


class GatewaySpec(Model):
    """The gateway's own settings."""

    listen: HostPort = "127.0.0.1:8080"
    tls: StrictBool = False
    """Clients speak TLS to the proxy itself: ``HTTPS_PROXY=https://...``."""
    plain_public: StrictBool = False
    """Allows ``listen`` on an address that others can reach, without ``tls``."""
    names: tuple[Name, ...] = ()
    """What clients call this gateway: names and addresses, for its own certificate."""
    certificate: Certificate | None = None
    """None: one that the gateway makes itself."""
    control: ControlSpec = Field(default_factory=ControlSpec)
    tunnels: TunnelsSpec = Field(default_factory=TunnelsSpec)
    upstream_gateway: UpstreamGateway | None = None
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
    requests: RequestsSpec = Field(default_factory=RequestsSpec)
    mode: Literal["enforce", "report"] = "enforce"
    """``report``: rules about AWS calls refuse nothing, and the audit tells what they
    would have refused. Who may be which role is enforced either way."""
    metrics_listen: OptionalHostPort = "127.0.0.1:9464"
    """Empty: off."""

    @model_validator(mode="after")
    def _check_upstream_gateway(self) -> Self:
        """What only the gateway that decides has, one that hands everything on has not."""
        if self.upstream_gateway is None:
            return self
        for name, given in (("upstreams", self.upstreams), ("control", self.control.listen)):
            if given:
                raise ValueError(
                    f"{name} and upstream_gateway together: all calls go to that gateway, "
                    f"so {name} belongs there"
                )
        parts = urlsplit(self.upstream_gateway.url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        if port == split(self.listen)[1] and (is_loopback(host) or host in self.names):
            raise ValueError(
                f"upstream_gateway.url {self.upstream_gateway.url!r} is this gateway itself "
                f"(listen {self.listen!r})"
            )
        return self
