"""Issuers that give tokens to anybody: a row must say whose. Pure.

A token of GitHub Actions proves that GitHub made it, and anybody can have one. What makes
it ours is a claim that nobody else's token can have.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from awsgate.policy.connectors import ClaimToRoles, Oidc

# Each issuer's own documentation of its claims. A reusable workflow (job_workflow_ref) can
# be called by others, so it says nothing of who calls.
OWNERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "https://token.actions.githubusercontent.com": (
            *("repository", "repository_id", "repository_owner", "repository_owner_id"),
            *("sub", "enterprise", "enterprise_id"),
        ),
        "https://gitlab.com": (
            *("project_path", "project_id", "namespace_path", "namespace_id", "sub"),
            *("user_id", "user_login", "user_email"),
        ),
        "https://agent.buildkite.com": (
            *("organization_slug", "organization_id", "pipeline_id", "sub"),
        ),
        "https://app.terraform.io": (
            *("terraform_organization_id", "terraform_organization_name"),
            *("terraform_workspace_id", "terraform_project_id", "sub"),
        ),
        "https://accounts.google.com": ("hd", "email", "sub"),
    }
)
"""Issuer -> claims that say whose a token is."""
_BY_THEIR_END = frozenset({"email", "user_email"})
"""In these the owner stands last: ``*@example.com``."""
_PATHS = frozenset({"repository", "project_path", "namespace_path"})
"""In these the owner stands first: ``acme/*``."""
_QUANTIFIED = re.compile(r"[*+?)\]}]")
_ANY_OWNER = re.compile(r"\^(?:[a-z_]+:)?\(*(?:\.|\\[SwW]|\[\^)[*+]")


def shared_issuer_warnings(connector: Oidc) -> Iterator[str]:
    """Give a line for each row that gives roles to anybody at all."""
    owners = OWNERS.get(connector.spec.issuer_url.rstrip("/"), ())
    if not owners:
        return
    for index, row in enumerate(connector.spec.claims_to_roles):
        if not _says_whose(row, owners):
            yield (
                f"spec.claims_to_roles[{index}]: {connector.spec.issuer_url} gives tokens to "
                f"anybody, and this row does not say whose: name {_words(owners)}"
            )


def _says_whose(row: ClaimToRoles, owners: tuple[str, ...]) -> bool:
    return any(name in owners and _is_ours(name, value) for name, value in row.wanted.items())


def _is_ours(name: str, value: str) -> bool:
    """True if a pattern holds an owner in full: anybody can be called acme-too, too."""
    if value.startswith("^") and value.endswith("$"):
        if name in _BY_THEIR_END:
            return "@" in _QUANTIFIED.split(value)[-1]
        return _ANY_OWNER.match(value) is None
    first, *more = value.split("*")
    if not more:
        return True
    if name in _BY_THEIR_END:
        return "@" in more[-1]
    if name == "sub":  # repo:acme/..., project_path:acme/..., organization:acme:...
        return not {"/", ":"}.isdisjoint(first.partition(":")[2])
    return name in _PATHS and "/" in first


def _words(owners: tuple[str, ...]) -> str:
    return f"{', '.join(owners[:-1])} or {owners[-1]}"
