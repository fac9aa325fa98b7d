"""Claims that are proved -> an ``Identity``: the user's name, the roles, the traits. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from awsgate.connect.ways import LoginRefused, roles_given
from awsgate.login import Identity
from awsgate.policy.connectors import Oidc, OidcSpec, name_of
from awsgate.policy.fields import is_name
from awsgate.policy.rolemapping import roles_by_claims

_EMAIL = "email"
_USUAL = OidcSpec.model_fields["username_claim"].default

type Values = Mapping[str, tuple[str, ...]]


def identity_of(
    document: Oidc,
    values: Values,
    claims: Mapping[str, object],
    *,
    ends_at: int,
    is_machine: bool,
) -> Identity:
    """Give who the claims speak of: ``values`` are the flat ones. Raises ``LoginRefused``."""
    spec = document.spec
    user = _user(spec, values, is_machine=is_machine)
    if not spec.allow_unverified_email and not _is_verified(values):
        # Somebody may have typed any address: neither a role nor a rule goes by it.
        values = MappingProxyType({k: v for k, v in values.items() if k != _EMAIL})
    roles = roles_given(lambda: roles_by_claims(spec.claims_to_roles, values))
    if not roles:
        raise _no_role(document, values, claims)
    return Identity(user, name_of(document), roles, values, ends_at)


def _user(spec: OidcSpec, values: Values, *, is_machine: bool) -> str:
    claim = spec.username_claim
    if is_machine and claim == _USUAL and claim not in values:
        claim = "sub"
    found = values.get(claim, ())
    if not found:
        raise LoginRefused(
            "missing-claim",
            f"the provider does not say {claim!r}, which is to name the user",
            hint="ask for it with scope, or name the user by another claim with username_claim",
        )
    if claim == _EMAIL and not spec.allow_unverified_email and not _is_verified(values):
        raise LoginRefused(
            "email-not-verified",
            f"the provider does not say that the address {found[0]!r} is verified",
            hint="verify it there; or name users by another claim with username_claim; or, if "
            "nobody can choose an address freely there, allow_unverified_email",
        )
    user = spec.username_prefix + found[0]
    if len(found) > 1 or not is_name(user):
        raise LoginRefused(
            "bad-name",
            f"{claim!r} of the identity cannot name a user: {user[:80]!r}",
            hint="a name is one value of 1 to 255 printable characters",
        )
    return user


def _is_verified(values: Values) -> bool:
    # A text with some providers, and missing with others, who then may not have looked.
    return values.get("email_verified") == ("true",)


def _no_role(document: Oidc, values: Values, claims: Mapping[str, object]) -> LoginRefused:
    wanted = dict.fromkeys(n for row in document.spec.claims_to_roles for n in row.wanted)
    missing = [name for name in wanted if name not in values]
    hint = "ask the gateway's operator for a row in claims_to_roles"
    elsewhere = claims.get("_claim_names")
    if missing:
        hint += f"; the provider says nothing of {', '.join(map(repr, missing[:8]))}"
    if isinstance(elsewhere, dict) and any(name in elsewhere for name in missing):
        hint += ", it only says who else would know: you may be in too many groups for a token"
    return LoginRefused("no-role", "your identity is proved, and gives no role here", hint=hint)
