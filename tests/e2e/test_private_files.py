"""No gateway starts with a key that others can read, in whatever way it is started."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from awsgate.ca import ensure_ca
from awsgate.demo.processes import GatewayProcess
from awsgate.errors import SetupError
from awsgate.servercert import ensure_server_certificate
from awsgate.state import open_state, rotate_session_key

POLICY = "kind: gateway\nspec: {names: [localhost], control: {listen: '127.0.0.1:0'}}\n"


@pytest.fixture
def ready(tmp_path: Path) -> Path:
    """All that a gateway makes at its first start, made."""
    now = datetime.now(UTC)
    open_state(tmp_path / "state")
    rotate_session_key(tmp_path / "state")
    ensure_ca(tmp_path / "certs", suffixes=["amazonaws.com"], now=now)
    ensure_server_certificate(tmp_path / "certs", ["localhost"], None, now=now)
    (tmp_path / "policy.yaml").write_text(POLICY)
    return tmp_path


@pytest.mark.parametrize("workers", [0, 1], ids=["mitmdump", "awsgate run"])
@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("state/session.key", 0o640),
        ("state/session.key.previous", 0o604),
        ("certs/mitmproxy-ca.pem", 0o604),
        ("certs/gateway.key", 0o640),
        ("state", 0o750),
        ("certs", 0o701),
    ],
)
def test_it_does_not_start(ready: Path, name: str, mode: int, workers: int) -> None:
    (ready / name).chmod(mode)

    with pytest.raises(SetupError) as caught:
        GatewayProcess(ready, policy=ready / "policy.yaml", keys={}, workers=workers).stop()

    said = "\n".join(caught.value.faults)
    assert f"{ready / name} is open to other users (mode {mode:04o})" in said
    assert f"hint: chmod {'700' if (ready / name).is_dir() else '600'} {ready / name}" in said
    assert (ready / "state/session.key").read_text().strip() not in said
    assert not (ready / "state/audit.jsonl").exists(), "it has served nobody"
