"""Commands where the gateway here hands calls to another one: that one says, this one mints."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from awsgate import policyfile
from awsgate.cli import places, where
from awsgate.login import Identity
from awsgate.loginstore import load, record_of
from awsgate.policy import Policy
from awsgate.session import OpenedSession, open_session
from awsgate.state import open_state
from commandline import POWER, READ_ONLY, Run
from controlserving import Serving, at

PROXY = "http://localhost:8443"
"""What the login says that the proxy is, in ``controlserving``."""


@pytest.fixture
def near(gateway: Serving, here: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command line of somebody who has logged in, with a gateway here that hands on."""
    monkeypatch.setenv("AWSGATE_POLICY", str(near_policy(home, gateway.url)))
    monkeypatch.setenv("AWSGATE_STATE", str(home / "near-state"))
    monkeypatch.setenv("AWSGATE_CERTS", str(home / "near-certs"))
    (home / "near-certs").mkdir()
    assert here("ca", "show").code == 0
    return here


def near_policy(home: Path, control: str, more: str = "") -> Path:
    path = home / "near.yaml"
    path.write_text(
        "kind: gateway\n"
        f"spec: {{upstream_gateway: {{url: '{PROXY}', control: '{control}'}}{more}}}\n"
    )
    return path


def be_the_usual_places(monkeypatch: pytest.MonkeyPatch, home: Path, path: Path) -> None:
    """Make a policy, with the state and the CA of ``near``, what is meant where none is named."""
    monkeypatch.setattr(places, "default_policy_path", lambda: path)
    monkeypatch.setattr(places, "default_state_folder", lambda: home / "near-state")
    monkeypatch.setattr(places, "default_certs_folder", lambda: home / "near-certs")


def env(run: Run, *words: str) -> dict[str, str]:
    result = run("env", "--format", "json", *words)
    assert result.code == 0, result.err
    found: dict[str, str] = json.loads(result.out)
    return found


def opened(home: Path, found: dict[str, str]) -> OpenedSession:
    return open_session(
        open_state(home / "near-state").session_keys,
        access_key_id=found["AWS_ACCESS_KEY_ID"],
        session_token=found["AWS_SESSION_TOKEN"],
        now=int(time.time()),
    )


def change(gateway: Serving, **changes: object) -> None:
    path = record_of(gateway.url)
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_env_gives_credentials_of_the_gateway_here_for_what_the_one_ahead_allows(
    near: Run, gateway: Serving, home: Path
) -> None:
    found = env(near)

    session, stored = opened(home, found).session, load(gateway.url)
    assert stored is not None
    assert (session.user, session.app, session.role_arn) == ("alice", "test", READ_ONLY)
    assert session.login is not None
    assert (session.login.id, session.login.connector) == (stored.id, "gateway/localhost:8443")
    assert session.expires_at <= stored.expires_at
    assert found["HTTPS_PROXY"] == "http://127.0.0.1:8080"  # the one here
    assert found["AWS_CA_BUNDLE"].startswith(str(home / "near-certs"))


def test_no_credentials_of_the_gateway_ahead_are_given_out(near: Run, gateway: Serving) -> None:
    found = env(near)

    with pytest.raises(Exception, match="not one of this gateway's"):
        gateway.opened(found["AWS_ACCESS_KEY_ID"], found["AWS_SESSION_TOKEN"])


def test_it_ends_with_the_login(near: Run, gateway: Serving, home: Path) -> None:
    change(gateway, expires_at=int(time.time()) + 90)

    assert opened(home, env(near)).session.expires_at <= time.time() + 91


def test_what_is_not_clear_is_shown_to_choose_from(near: Run, gateway: Serving) -> None:
    gateway.provider.identity = Identity("alice", "oidc/okta", ("read", "power"))
    log_in_again(near, gateway)

    result = near("env")

    assert result.code == 1
    assert "ReadOnly" in result.err
    assert "Power" in result.err
    assert env(near, "--role", POWER)["AWS_ACCESS_KEY_ID"].startswith("GATE")


def log_in_again(run: Run, gateway: Serving) -> None:
    token = next(Path(record_of(gateway.url)).parent.parent.glob("token.jwt"))
    result = run(*at(gateway), "--id-token-file", str(token))
    assert result.code == 0, result.err


NO = {
    "a role that the login may not have": (("--role", POWER), "Power"),
    "another user": (("--user", "bob"), "that of alice, not bob"),
    "longer than it may be here": (("--ttl", "13h"), "do not last 13h"),
}


@pytest.mark.parametrize(("words", "text"), NO.values(), ids=NO)
def test_the_answer_is_no(near: Run, words: tuple[str, ...], text: str) -> None:
    result = near("env", *words)

    assert (result.code, result.out) == (1, "")
    assert text in result.err


def test_without_a_login_or_after_its_end_the_way_to_one_is_told(
    near: Run, gateway: Serving
) -> None:
    change(gateway, expires_at=int(time.time()) - 1)
    ended = near("env")
    record_of(gateway.url).unlink()
    none = near("env")

    for result in (ended, none):
        assert (result.code, result.out) == (2, "")
        assert f"awsgate login --gateway {gateway.url}" in result.err


def test_bounds_are_those_of_the_session_here(near: Run, home: Path) -> None:
    session = opened(home, env(near, "--read-only", "--max-requests", "5")).session

    assert (session.bounds.read_only, session.bounds.max_requests) == (True, 5)


def test_credentials_are_reused_until_somebody_logs_in_anew(near: Run, gateway: Serving) -> None:
    first, second = (json.loads(near("credentials").out) for _ in range(2))
    time.sleep(0.02)
    gateway.provider.identity = Identity("carol", "oidc/okta", ("read",))
    log_in_again(near, gateway)
    third = json.loads(near("credentials").out)

    assert first == second
    assert first["AccessKeyId"] != third["AccessKeyId"]


@pytest.mark.parametrize("name", ["gateway.yaml", "gateway.YML"])
def test_a_gateway_here_that_hands_on_goes_before_the_login(
    here: Run, gateway: Serving, home: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Nothing is named: of a login and a policy, the policy that hands on is meant."""
    path = home / "default"
    path.mkdir()
    be_the_usual_places(monkeypatch, home, path)
    assert env(here)["HTTPS_PROXY"] == PROXY
    near_policy(home, gateway.url).rename(path / name)

    assert env(here)["HTTPS_PROXY"] == "http://127.0.0.1:8080"
    assert opened(home, env(here)).session.user == "alice"


def test_that_it_hands_on_is_read_in_the_policy_once(
    here: Run, gateway: Serving, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading a policy takes longer than all else that the second ``awsgate exec`` does."""
    path = near_policy(home, gateway.url)
    be_the_usual_places(monkeypatch, home, path)
    for _ in range(2):  # the first one makes the state folder
        assert here("credentials").code == 0
    read: list[Path] = []
    load_policy = policyfile.load_policy

    def counted(path: Path) -> Policy:
        read.append(path)
        return load_policy(path)

    monkeypatch.setattr(policyfile, "load_policy", counted)

    assert (where.gateway_meant(""), read) == ("", [])

    path.write_text("# upstream_gateway is gone\nkind: gateway\n")
    assert (where.gateway_meant(""), read) == (gateway.url, [path])
    assert (where.gateway_meant(""), read) == (gateway.url, [path])

    (home / "near-state/reuse/hands-on").chmod(0o644)
    assert (where.gateway_meant(""), read) == (gateway.url, [path, path])
