"""docs/login.md says what the connector does."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from awsgate.connect import idtoken
from awsgate.connect.claims import MAX_CLAIMS, MAX_VALUES, flat
from awsgate.policy.connectors import Oidc, OidcSpec
from awsgate.policy.rolemapping import roles_by_claims
from awsgate.policyfile import load_policy

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/login.md").read_text("utf-8")
MODULES = ("claims", "fetching", "idtoken", "keyfile", "oauth", "oidc", "person")


def reasons_of(module: str) -> set[str]:
    tree = ast.parse((ROOT / f"addons/awsgate/connect/{module}.py").read_text("utf-8"))
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and n.args]
    first = [n.args[0] for n in calls if getattr(n.func, "id", "") == "LoginRefused"]
    named = {n.value for n in first if isinstance(n, ast.Constant)}
    others = [n for n in ast.walk(tree) if isinstance(n, ast.Dict) and n.values]
    by_error = {
        v.value
        for d in others
        for k, v in zip(d.keys, d.values, strict=True)
        if isinstance(v, ast.Constant) and isinstance(k, ast.Constant) and k.value in ERRORS
    }
    return named | by_error


ERRORS = ("access_denied", "expired_token", "invalid_grant")


def test_every_reason_is_told_and_no_other() -> None:
    section = PAGE.partition("\n## Reasons\n")[2]
    told = re.findall(r"^\| `([a-z-]+)` \|", section, re.MULTILINE)

    found = {reason for module in MODULES for reason in reasons_of(module)} | {"provider-refused"}
    assert sorted(told) == sorted(found)


def test_every_field_is_told() -> None:
    section = PAGE.partition("\n## OpenID Connect\n")[2].partition("\n## ")[0]
    names = [f.alias or name for name, f in OidcSpec.model_fields.items()]

    assert [n for n in names if f"`{n}`" not in section and n not in COMMON] == []


COMMON = ("display", "username_prefix")


@pytest.mark.parametrize(
    "limit", [idtoken.MAX_TOKEN_CHARS, MAX_CLAIMS, MAX_VALUES, idtoken.LEEWAY_S]
)
def test_the_limits_are_those_of_the_code(limit: int) -> None:
    assert re.search(rf"\b{limit}\b", PAGE)


# heading -> (claims as the platform sends them, roles)
EXAMPLES: dict[str, list[tuple[dict[str, Any], tuple[str, ...]]]] = {
    "OpenID Connect": [
        ({"groups": ["aws-team-data", "x"]}, ("team-data",)),
        ({"groups": ["aws-admins"]}, ("admin",)),
        ({"department": "finance", "email": "a@example.com"}, ("billing",)),
        ({"department": "finance", "email": "a@example.com.evil"}, ()),
    ],
    "GitHub Actions": [
        ({"repository": "octo-org/octo-repo", "ref": "refs/heads/main"}, ("deploy",)),
        ({"repository": "octo-org/octo-repo", "ref": "refs/heads/x"}, ()),
        ({"repository_owner": "octo-org", "event_name": "pull_request"}, ("plan",)),
        ({"repository_owner": "evil", "event_name": "pull_request"}, ()),
    ],
    "GitLab": [
        ({"namespace_path": "mygroup", "ref_protected": "true"}, ("deploy",)),
        ({"namespace_path": "mygroup", "ref_protected": "false"}, ()),
    ],
    "Kubernetes": [
        (
            {"kubernetes.io": {"namespace": "payments", "serviceaccount": {"name": "worker"}}},
            ("payments",),
        ),
        ({"kubernetes.io": {"namespace": "payments", "serviceaccount": {"name": "x"}}}, ()),
    ],
}


@pytest.mark.parametrize("heading", EXAMPLES)
def test_an_example_gives_its_roles(heading: str, tmp_path: Path) -> None:
    section = re.split(rf"\n##+ {re.escape(heading)}\n", PAGE)[1]
    block = re.search(r"```yaml\n(.*?)```", section, re.DOTALL)
    assert block is not None
    file = tmp_path / "policy.yaml"
    file.write_text(block[1], "utf-8")

    (document,) = load_policy(file).connectors.values()

    assert isinstance(document, Oidc)
    for claims, roles in EXAMPLES[heading]:
        assert roles_by_claims(document.spec.claims_to_roles, flat(claims)) == roles
