"""What doctor says where calls are handed to another gateway: of the login, not of AWS's keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from awsgate.doctor.ahead import check_ahead
from awsgate.doctor.finding import Finding
from awsgate.loginstore import FOLDER_VARIABLE, Stored, save
from awsgate.policy import UpstreamGateway
from awsgate.servercert import ensure_server_certificate
from signers import WHEN

CONTROL = "https://jump.example.com:3081"
SPEC = UpstreamGateway(url="https://jump.example.com:8443", control=CONTROL)
NOW = int(WHEN.timestamp())


def found(folder: Path, *, ends: int = 0, pin: str = "") -> Finding:
    if ends:
        made = ensure_server_certificate(folder / "certs", ["jump.example.com"], None, now=WHEN)
        stored = Stored(
            gateway=CONTROL, proxy=SPEC.url, user="alice", connector="oidc/okta",
            login="gatelogin.canary", expires_at=ends, pin=pin or made.pin, bundle_path="",
            root_path="",
        )  # fmt: skip
        save(stored, bundle=made.root, root=made.root)
    (only,) = check_ahead(SPEC, NOW)
    return only


@pytest.fixture(autouse=True)
def logins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "logins"))
    monkeypatch.setattr("awsgate.loginstore._keyring", lambda: None)


CASES = {
    "nobody is logged in": ({}, "ahead-no-login", "fault", f"awsgate login --gateway {CONTROL}"),
    "it has ended": ({"ends": NOW}, "ahead-login-ended", "fault", "awsgate login"),
    "another root": (
        {"ends": NOW + 9, "pin": "sha256:" + "0" * 64}, "ahead-unreadable", "fault", "log in"),
    "it is good": ({"ends": NOW + 9}, "ahead-login", "ok", ""),
}  # fmt: skip


@pytest.mark.parametrize(("how", "id_", "severity", "fix"), CASES.values(), ids=CASES)
def test_what_is_said_of_the_login(
    tmp_path: Path, how: dict[str, object], id_: str, severity: str, fix: str
) -> None:
    finding = found(tmp_path, **how)  # type: ignore[arg-type]

    assert (finding.id, finding.severity) == (id_, severity)
    assert fix in finding.fix
    assert "canary" not in repr(finding)
