"""A mitmproxy that awsgate does not know: it does not carry requests, or does not matter."""

from __future__ import annotations

from pathlib import Path

import pytest

from awsgate.addon import patches
from awsgate.demo.processes import SITE_VARIABLE, GatewayProcess
from awsgate.errors import SetupError
from e2e.recording import BASE_KEYS, write_policy

UNKNOWN = str(Path(__file__).parents[1] / "unknown")


@pytest.fixture(autouse=True)
def unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SITE_VARIABLE, UNKNOWN)


@pytest.mark.parametrize(
    ("workers", "extra"), [(0, ()), (1, ("--core", "mitmproxy"))], ids=["mitmdump", "run"]
)
def test_its_layers_carry_nothing(workers: int, extra: tuple[str, ...], tmp_path: Path) -> None:
    policy = write_policy(tmp_path / "policy.yaml")

    with pytest.raises((SetupError, RuntimeError)):
        GatewayProcess(tmp_path, policy=policy, keys=BASE_KEYS, workers=workers, extra=extra)

    said = (tmp_path / "gateway.log").read_text("utf-8")
    names = ", ".join(sorted(patches.NEEDED))
    assert f"is not one that awsgate knows: {names}" in said
    assert "Traceback" not in said


def test_the_own_core_does_not_need_them(tmp_path: Path) -> None:
    policy = write_policy(tmp_path / "policy.yaml")

    gateway = GatewayProcess(tmp_path, policy=policy, keys=BASE_KEYS, workers=1)

    gateway.stop()
    assert "is not one that awsgate knows" not in gateway.log.read_text("utf-8")
