"""docs/ci.md: its policy is one, its claims give the roles that it says, its commands exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from awsgate.cli import application
from awsgate.policy import Policy
from awsgate.policy.rolemapping import roles_by_claims
from awsgate.policyfile import load_policy

TEXT = (Path(__file__).parent.parent / "docs/ci.md").read_text("utf-8")
BLOCKS = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
LINES = re.findall(r"""(?:^|[`$;"(-] ?|exec )(awsgate [a-z-]+ ?[^\n`|]*)""", TEXT, re.MULTILINE)


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    (block,) = [block for block in BLOCKS if block.startswith("kind: oidc")]
    path = tmp_path_factory.mktemp("ci") / "policy.yaml"
    path.write_text(block)
    return load_policy(path)


MACHINES: dict[str, tuple[str, dict[str, str], tuple[str, ...]]] = {
    "the main branch": (
        "oidc/github-actions",
        {"repository": "acme/shop", "ref": "refs/heads/main", "event_name": "push"},
        ("shop-deploy",),
    ),
    "a pull request": (
        "oidc/github-actions",
        {"repository": "acme/shop", "ref": "refs/pull/7/merge", "event_name": "pull_request"},
        ("shop-plan",),
    ),
    "another repository": (
        "oidc/github-actions",
        {"repository": "mallory/shop", "ref": "refs/heads/main", "event_name": "push"},
        (),
    ),
    "a protected branch": (
        "oidc/gitlab",
        {"project_path": "acme/shop", "ref": "main", "ref_protected": "true"},
        ("shop-deploy",),
    ),
    "a branch that is not": (
        "oidc/gitlab",
        {"project_path": "acme/shop", "ref": "main", "ref_protected": "false"},
        (),
    ),
    "a service account": (
        "oidc/cluster",
        {"sub": "system:serviceaccount:shop:importer"},
        ("shop-plan",),
    ),
    "of another namespace": (
        "oidc/cluster",
        {"sub": "system:serviceaccount:other:importer"},
        (),
    ),
}


@pytest.mark.parametrize(("connector", "claims", "roles"), MACHINES.values(), ids=MACHINES)
def test_claims_give_the_roles_that_it_says(
    policy: Policy, connector: str, claims: dict[str, str], roles: tuple[str, ...]
) -> None:
    rows: Any = policy.connectors[connector].spec
    held = {name: (value,) for name, value in claims.items()}

    assert roles_by_claims(rows.claims_to_roles, held) == roles


def test_the_jobs_are_yaml() -> None:
    jobs = [yaml.safe_load(block) for block in BLOCKS if not block.startswith("kind: oidc")]

    assert [sorted(job) for job in jobs] == [
        ["env", "jobs", "permissions"],
        ["deploy"],
        ["apiVersion", "kind", "metadata", "spec"],
    ]


def test_the_commands_are_there() -> None:
    commands: Any = get_command(application())
    named = {line.split()[1] for line in LINES}
    wrong = []
    for line in LINES:
        words = line.split(" -- ")[0].rstrip(')"').split()
        known = {o for p in commands.commands[words[1]].params for o in p.opts}
        wrong += [(line, w) for w in words if w.startswith("--") and w not in known]

    assert {"login", "logout", "exec", "env"} <= named
    assert named <= set(commands.commands)
    assert wrong == []
