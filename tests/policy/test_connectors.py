"""Connector documents: the reference's own load, faults are said, secrets are not."""

from __future__ import annotations

from typing import Any

import pytest

from awsgate.errors import SetupError
from awsgate.policy import parse_policy
from awsgate.policy.connectors import Github, Oidc, Saml

ROLE = {"kind": "role", "version": "v5", "metadata": {"name": "reader"}, "spec": {}}
OIDC: dict[str, Any] = {
    "issuer_url": "https://idp.example.com",
    "client_id": "awsgate",
    "client_secret": "canary-secret",
    "redirect_url": "https://gate.example.com:8444/v1/callback",
    "claims_to_roles": [{"claim": "groups", "value": "admins", "roles": ["reader"]}],
}
GITHUB: dict[str, Any] = {
    "client_id": "Iv1.abc",
    "client_secret": "canary-secret",
    "redirect_url": "https://gate.example.com/v1/callback",
    "teams_to_roles": [{"organization": "acme", "team": "ops", "roles": ["reader"]}],
}
SAML: dict[str, Any] = {
    "acs": "https://gate.example.com/v1/saml/acs/adfs",
    "entity_descriptor_url": "https://idp.example.com/metadata",
    "attributes_to_roles": [{"name": "groups", "value": "admins", "roles": ["reader"]}],
}


def document(kind: str, spec: object) -> tuple[str, object]:
    return kind, {"kind": kind, "version": "v3", "metadata": {"name": "corp"}, "spec": spec}


def faults(kind: str, spec: object) -> tuple[str, ...]:
    with pytest.raises(SetupError) as caught:
        parse_policy([("role", ROLE), document(kind, spec)])
    return caught.value.faults


def test_the_three_kinds_load_under_their_kind_and_name() -> None:
    documents = [document("oidc", OIDC), document("github", GITHUB), document("saml", SAML)]
    policy = parse_policy([("role", ROLE), *documents])

    assert {name: type(c) for name, c in policy.connectors.items()} == {
        "oidc/corp": Oidc,
        "github/corp": Github,
        "saml/corp": Saml,
    }
    assert "canary-secret" not in repr(policy)


def test_what_is_not_about_login_is_left_out_and_said() -> None:
    spec = {**OIDC, "google_admin_email": "a@b.c", "client_redirect_settings": {"x": 1}}
    policy = parse_policy([("role", ROLE), document("oidc", spec)])

    assert any("google_admin_email" in warning for warning in policy.warnings)


# id -> (kind, change of the spec, what a fault says)
FAULTS: dict[str, tuple[str, dict[str, Any], str]] = {
    "plain issuer": ("oidc", {"issuer_url": "http://idp.example.com"}, "must start with https://"),
    "no rows": ("oidc", {"claims_to_roles": []}, "spec.claims_to_roles: is empty"),
    "claim without value": (
        "oidc",
        {"claims_to_roles": [{"claim": "a", "roles": ["reader"]}]},
        "claim and value go together",
    ),
    "both forms": (
        "oidc",
        {"claims_to_roles": [{"claim": "a", "value": "b", "claims": {"c": "d"}, "roles": ["r"]}]},
        "give either claim and value, or claims",
    ),
    "neither form": (
        "oidc",
        {"claims_to_roles": [{"roles": ["reader"]}]},
        "give either claim and value, or claims",
    ),
    "no role of that name": (
        "oidc",
        {"claims_to_roles": [{"claim": "a", "value": "b", "roles": ["raeder"]}]},
        "spec.claims_to_roles[0].roles[0]: there is no role 'raeder', did you mean 'reader'",
    ),
    "no client id": ("oidc", {"client_id": ""}, "without it only id_tokens can log in"),
    "no regular expression": (
        "oidc",
        {"claims_to_roles": [{"claim": "a", "value": "^($", "roles": ["reader"]}]},
        "is not a regular expression",
    ),
    "no regular expression without its anchors": (
        "oidc",
        {"claims_to_roles": [{"claim": "a", "value": r"^a\$", "roles": ["reader"]}]},
        "is not a regular expression: bad escape",
    ),
    "audience of nobody": ("oidc", {"id_tokens": {"audiences": []}}, "audiences: is empty"),
    "secret as a number": ("github", {"client_secret": 5}, "spec.client_secret"),
    "no team": (
        "github",
        {"teams_to_roles": [{"organization": "acme", "roles": ["reader"]}]},
        "spec.teams_to_roles[0].team: is missing",
    ),
    "two sources": ("saml", {"entity_descriptor": "<x/>"}, "give one of entity_descriptor"),
    "no source": ("saml", {"entity_descriptor_url": ""}, "give one of entity_descriptor"),
    "unknown key": ("saml", {"asc": "x"}, "did you mean 'acs'"),
}


@pytest.mark.parametrize(("kind", "change", "said"), FAULTS.values(), ids=FAULTS)
def test_fault(kind: str, change: dict[str, Any], said: str) -> None:
    spec = {"oidc": OIDC, "github": GITHUB, "saml": SAML}[kind]

    found = faults(kind, {**spec, **change})

    assert any(said in fault for fault in found), found
    assert not any("canary" in fault for fault in found)
