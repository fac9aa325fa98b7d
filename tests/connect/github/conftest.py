"""A GitHub that runs, and a connector to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest

from awsgate.connect.github import GithubConnector
from awsgate.policy.connectors import Github as Document
from githublogin import TLS
from githubserver import CLIENT_ID, CLIENT_SECRET, Github, running_github

NOW = 1_800_000_000.0

Connect = Callable[..., GithubConnector]


@pytest.fixture
def github() -> Iterator[Github]:
    with running_github() as server:
        yield server


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False, verify=TLS) as client:
        yield client


@pytest.fixture
def connect(github: Github, http: httpx.AsyncClient) -> Connect:
    """Make a connector; what is given stands in its spec in place of the usual."""

    def connect(**spec: Any) -> GithubConnector:
        usual = {
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "endpoint_url": github.url,
            "teams_to_roles": [
                {"organization": "octo-org", "team": "admins", "roles": ["admin"]},
                {"organization": "octo-org", "team": "staff", "roles": ["read"]},
            ],
        }
        document = Document.model_validate(
            {
                "kind": "github",
                "version": "v3",
                "metadata": {"name": "corp"},
                "spec": {k: v for k, v in (usual | spec).items() if v is not None},
            }
        )
        return GithubConnector(document, http=http, clock=lambda: NOW)

    return connect
