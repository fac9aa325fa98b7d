"""The shapes of the connectors: who may log in, and which roles that gives. One document each.

The reference product's own resources and field names: ``oidc``, ``github``, ``saml``. Ours
are what machines need (``id_tokens``, rules on several claims at once), the device flow,
``username_prefix`` and ``login_ttl``.

Which roles an identity gets is in ``rolemapping``. Talking to the providers is the
business of ``awsgate.connect``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, StrictBool, model_validator

from awsgate.policy.fields import (
    Name,
    OptionalKeysUrl,
    OptionalProviderUrl,
    ProviderUrl,
    Quoted,
    Seconds,
    Text,
    Version,
    empty,
    freeze,
    not_empty,
)
from awsgate.policy.model import Model
from awsgate.policy.resources import Metadata
from awsgate.policy.valuepattern import value_pattern


def _one_or_more(value: object) -> object:
    return (value,) if isinstance(value, str) else value


RedirectUrls = Annotated[
    tuple[ProviderUrl, ...],
    BeforeValidator(_one_or_more, json_schema_input_type=str | tuple[str, ...]),
]
ValuePattern = Annotated[Quoted, AfterValidator(value_pattern)]
"""Exact, or with ``*``, or ``^a regular expression$``; its groups are ``$1`` in the roles."""
GivenRoles = Annotated[tuple[Name, ...], not_empty]


class ClaimToRoles(Model):
    """Roles for whoever has a claim with a value, or several claims with theirs."""

    claim: Name | None = None
    value: ValuePattern | None = None
    claims: Annotated[Mapping[Name, ValuePattern], freeze] = Field(default_factory=empty)
    """All must match, as for a repository and its branch. In place of claim and value."""
    roles: GivenRoles

    @model_validator(mode="after")
    def _check_one_form(self) -> Self:
        single = self.claim is not None and self.value is not None
        if (self.claim is None) != (self.value is None):
            raise ValueError("claim and value go together")
        if single == bool(self.claims):
            raise ValueError("give either claim and value, or claims")
        return self

    @property
    def wanted(self) -> Mapping[str, str]:
        """Claim -> pattern of its value."""
        if self.claim is not None and self.value is not None:
            return {self.claim: self.value}
        return self.claims


class AttributeToRoles(Model):
    """Roles for whoever has an attribute with a value."""

    name: Name
    value: ValuePattern
    roles: GivenRoles

    @property
    def wanted(self) -> Mapping[str, str]:
        """Attribute -> pattern of its value."""
        return {self.name: self.value}


class TeamToRoles(Model):
    """Roles for the members of a team of a GitHub organisation."""

    organization: Name
    team: Name
    """The slug, as in the team's URL."""
    roles: GivenRoles


class IdTokens(Model):
    """Machines log in with a token that their platform issued (CI, Kubernetes)."""

    audiences: Annotated[tuple[Name, ...], not_empty]
    """A token must be meant for one of these: the URL of this gateway, best."""


class ConnectorSpec(Model):
    """What all connectors have in common."""

    display: Text = ""
    username_prefix: Quoted = ""
    """Before the name that the provider gives, so that no two connectors name one user."""
    login_ttl_s: Seconds | None = Field(default=None, alias="login_ttl")
    """How long a login lasts. None: as long as the identity itself says, and where it
    does not say, ``session.login_ttl`` of the gateway."""


class OidcSpec(ConnectorSpec):
    """An OpenID Connect provider."""

    issuer_url: ProviderUrl
    client_id: Quoted = ""
    """Empty: for machines alone (``id_tokens``)."""
    client_secret: SecretStr | None = Field(default=None, repr=False)
    """The text itself, or ``file:///path`` of a file that holds it."""
    redirect_url: RedirectUrls = ()
    """``https://<gateway>/v1/callback``; empty: made of the gateway's own name."""
    scope: tuple[Quoted, ...] = ("openid", "profile", "email")
    claims_to_roles: Annotated[tuple[ClaimToRoles, ...], not_empty]
    username_claim: Name = "email"
    allow_unverified_email: StrictBool = False
    prompt: Quoted = ""
    acr_values: Quoted = ""
    max_age_s: Seconds | None = Field(default=None, alias="max_age")
    device: StrictBool = True
    """Hosts without a browser may log in with a code typed elsewhere, if the provider can."""
    id_tokens: IdTokens | None = None
    jwks_url: OptionalKeysUrl = ""
    """Where the issuer's keys are, if not where its discovery says; or ``file:///path``.
    For machines alone, nothing else of the issuer's is then asked for."""

    @model_validator(mode="after")
    def _check_ways(self) -> Self:
        if not self.client_id and self.id_tokens is None:
            raise ValueError("client_id: is missing; without it only id_tokens can log in")
        return self


class GithubSpec(ConnectorSpec):
    """GitHub, or a GitHub Enterprise server."""

    client_id: Annotated[Quoted, not_empty]
    client_secret: SecretStr | None = Field(default=None, repr=False)
    """The text itself, or ``file:///path``. The device flow needs none."""
    redirect_url: RedirectUrls = ()
    teams_to_roles: Annotated[tuple[TeamToRoles, ...], not_empty]
    endpoint_url: ProviderUrl = "https://github.com"
    api_endpoint_url: OptionalProviderUrl = ""
    """Empty: made of ``endpoint_url``."""
    device: StrictBool = True


class KeyPair(Model):
    """A key of the gateway's own, as PEM or ``file:///path``."""

    private_key: SecretStr = Field(repr=False)
    cert: Text


class SamlSpec(ConnectorSpec):
    """A SAML 2.0 identity provider."""

    acs: ProviderUrl
    """Where it posts its answer: ``https://<gateway>/v1/saml/acs/<name>``."""
    issuer: Quoted = ""
    sso: OptionalProviderUrl = ""
    cert: Text = ""
    """The provider's certificate, as PEM; with ``issuer`` and ``sso`` in place of metadata."""
    entity_descriptor: Text = ""
    """The provider's metadata, as XML or ``file:///path``."""
    entity_descriptor_url: OptionalProviderUrl = ""
    audience: Quoted = ""
    """Empty: ``acs``."""
    service_provider_issuer: Quoted = ""
    """The gateway's entity id; empty: ``acs``."""
    attributes_to_roles: Annotated[tuple[AttributeToRoles, ...], not_empty]
    username_attribute: Name | None = None
    """None: the NameID."""
    assertion_key_pair: KeyPair | None = None
    """For encrypted assertions."""
    signing_key_pair: KeyPair | None = None
    allow_idp_initiated: StrictBool = False
    provider: Quoted = ""

    @model_validator(mode="after")
    def _check_source(self) -> Self:
        by_hand = bool(self.issuer and self.sso and self.cert)
        if [by_hand, bool(self.entity_descriptor), bool(self.entity_descriptor_url)].count(
            True
        ) != 1:
            raise ValueError(
                "give one of entity_descriptor, entity_descriptor_url, or issuer with sso and cert"
            )
        return self


class Oidc(Model):
    """People and machines of an OpenID Connect provider."""

    kind: Literal["oidc"]
    version: Version
    metadata: Metadata
    spec: OidcSpec


class Github(Model):
    """Members of GitHub teams."""

    kind: Literal["github"]
    version: Version
    metadata: Metadata
    spec: GithubSpec


class Saml(Model):
    """People of a SAML identity provider."""

    kind: Literal["saml"]
    version: Version
    metadata: Metadata
    spec: SamlSpec


type Connector = Oidc | Github | Saml


def name_of(connector: Connector) -> str:
    """Give ``oidc/okta``: its kind and name, as the audit has it."""
    return f"{connector.kind}/{connector.metadata.name}"


def given_roles(connector: Connector) -> tuple[str, ...]:
    """Give every role that a connector can hand out, as written: ``$1`` is not filled in."""
    spec = connector.spec
    rows: tuple[ClaimToRoles | AttributeToRoles | TeamToRoles, ...]
    if isinstance(spec, OidcSpec):
        rows = spec.claims_to_roles
    elif isinstance(spec, GithubSpec):
        rows = spec.teams_to_roles
    else:
        rows = spec.attributes_to_roles
    return tuple(role for row in rows for role in row.roles)
