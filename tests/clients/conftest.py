"""Clients that are programs of their own. ``scripts/clients`` installs, builds and runs.

``scripts/test`` does not come here: these files are collected only where this folder or
one of them is named, and then they fail, not skip, if a program is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from awsgate.demo.embedded_aws import EmbeddedAws
from awsgate.demo.processes import GatewayProcess
from clients.places import CLI_V2, CLIENTS_FOLDER
from clients.programs import make
from clients.seaweed import BUCKET, KEYS, POLICY, SeaweedFs, Storage, Tap
from clients.tools import Tool
from e2e.conftest import alice, aws, bob, client_env, gateway
from journey import Stage, stage_for_bob

__all__ = ["alice", "aws", "bob", "client_env", "gateway"]

HERE = Path(__file__).parent


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    """Leave this folder out, unless it is asked for."""
    asked = [config.invocation_params.dir / arg.partition("::")[0] for arg in config.args]
    return None if any(path.resolve().is_relative_to(HERE) for path in asked) else True


@pytest.fixture(scope="session")
def stage(
    aws: EmbeddedAws, gateway: GatewayProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    """A gateway that nobody but bob uses, so that every line of its audit is his.

    The other one only refuses here, so all that AWS sees came through this one.
    """
    with stage_for_bob(aws, gateway.policy, tmp_path_factory.mktemp("clients")) as running:
        yield running


@pytest.fixture(scope="session")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storage]:
    """A gateway in front of SeaweedFS, which verifies and holds to the role's policy."""
    folder = tmp_path_factory.mktemp("storage")
    policy = folder / "policy.yaml"
    policy.write_text(POLICY, "utf-8")
    weed = SeaweedFs(tmp_path_factory.mktemp("weed"))
    try:
        tap = Tap(weed.port)
        gateway = GatewayProcess(folder, policy=policy, keys=KEYS, upstream=tap.url)
        running = Storage(gateway, tap, weed)
        try:
            make("AWS CLI v1", running.bob, folder).call("s3", "mb", f"s3://{BUCKET}")
            yield running
        finally:
            gateway.stop()
            tap.close()
    finally:
        weed.stop()


@pytest.fixture(scope="session")
def cli_v2() -> str:
    """Where the AWS CLI v2 is."""
    return CLI_V2


@pytest.fixture(scope="session")
def go_client() -> str:
    """Where the Go client is."""
    return str(CLIENTS_FOLDER / "bin/goclient")


@pytest.fixture
def js_client(tmp_path: Path) -> Callable[[dict[str, str]], Tool]:
    """Make the JavaScript client, its recipe followed, of an environment."""
    return lambda env: make("JavaScript SDK v3", env, tmp_path)
