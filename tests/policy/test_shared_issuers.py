"""A row for an issuer that serves everybody says whose tokens it means, or is warned of."""

from __future__ import annotations

from typing import Any

import pytest

from awsgate.policy import parse_policy

ROLE = {"kind": "role", "version": "v5", "metadata": {"name": "deploy"}, "spec": {}}
ACTIONS = "https://token.actions.githubusercontent.com"


def warnings(issuer: str, row: dict[str, Any]) -> list[str]:
    spec = {
        "issuer_url": issuer,
        "id_tokens": {"audiences": ["https://gate"]},
        "claims_to_roles": [{**row, "roles": ["deploy"]}],
    }
    document = {"kind": "oidc", "version": "v3", "metadata": {"name": "ci"}, "spec": spec}
    policy = parse_policy([("roles.yaml", ROLE), ("ci.yaml", document)])
    return [line for line in policy.warnings if "gives tokens to anybody" in line]


# id -> (issuer, row)
OURS: dict[str, tuple[str, dict[str, Any]]] = {
    "a repository": (ACTIONS, {"claim": "repository", "value": "acme/app"}),
    "an owner and a branch": (ACTIONS, {"claims": {"repository_owner": "acme", "ref": "x"}}),
    "a subject": (ACTIONS, {"claim": "sub", "value": "repo:acme/*"}),
    "an issuer with a slash": (f"{ACTIONS}/", {"claim": "repository_id", "value": "12345"}),
    "a group of GitLab": ("https://gitlab.com", {"claim": "namespace_path", "value": "acme"}),
    "addresses of a domain": (
        "https://accounts.google.com",
        {"claim": "email", "value": "*@example.com"},
    ),
    "a subject of a group": ("https://gitlab.com", {"claim": "sub", "value": "project_path:a/*"}),
    "repositories of one owner": (ACTIONS, {"claim": "repository", "value": "acme/*"}),
    "two owners": (ACTIONS, {"claim": "repository", "value": "^(acme|corp)/.*$"}),
    "a subject as a regular expression": (ACTIONS, {"claim": "sub", "value": "^repo:acme/.*$"}),
    "a domain as a regular expression": (
        "https://accounts.google.com",
        {"claim": "email", "value": r"^[a-z.]+@example\.com$"},
    ),
    "an issuer of one's own": ("https://gitlab.example.com", {"claim": "ref", "value": "main"}),
}
ANYBODYS: dict[str, tuple[str, dict[str, Any]]] = {
    "a branch": (ACTIONS, {"claim": "ref", "value": "refs/heads/main"}),
    "any repository": (ACTIONS, {"claim": "repository", "value": "*"}),
    "a repository of any owner": (ACTIONS, {"claim": "repository", "value": "*/infra"}),
    "the same as a regular expression": (
        ACTIONS,
        {"claim": "repository", "value": "^.*/infra$"},
    ),
    "a workflow that others can call": (
        ACTIONS,
        {"claim": "job_workflow_ref", "value": "acme/ci/.github/workflows/x.yml@main"},
    ),
    "owners whose name begins alike": (ACTIONS, {"claim": "repository_owner", "value": "acme*"}),
    "their repositories": (ACTIONS, {"claim": "repository", "value": "acme*"}),
    "their subjects": (ACTIONS, {"claim": "sub", "value": "repo:acme*"}),
    "a branch of any repository": (
        ACTIONS,
        {"claim": "sub", "value": "repo:*:ref:refs/heads/main"},
    ),
    "the same as a regular expression, in a subject": (
        ACTIONS,
        {"claim": "sub", "value": "^repo:.*:ref:refs/heads/main$"},
    ),
    "domains that end alike": (
        "https://accounts.google.com",
        {"claim": "email", "value": "*example.com"},
    ),
    "one name at any domain": (
        "https://accounts.google.com",
        {"claim": "email", "value": "ann@*"},
    ),
    "a protected branch": ("https://gitlab.com", {"claim": "ref_protected", "value": "true"}),
    "any address": ("https://accounts.google.com", {"claim": "email", "value": "*"}),
}


@pytest.mark.parametrize(("issuer", "row"), OURS.values(), ids=OURS)
def test_a_row_that_says_whose(issuer: str, row: dict[str, Any]) -> None:
    assert warnings(issuer, row) == []


@pytest.mark.parametrize(("issuer", "row"), ANYBODYS.values(), ids=ANYBODYS)
def test_a_row_for_anybody(issuer: str, row: dict[str, Any]) -> None:
    (line,) = warnings(issuer, row)

    assert "ci.yaml" in line
    assert "spec.claims_to_roles[0]" in line
