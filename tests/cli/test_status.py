"""``awsgate status``: good or not, why not, and never a secret."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from awsgate.ca import ensure_ca
from awsgate.cli.issuing import Issued
from awsgate.cli.keyserver import PATH, KeySource, server_on
from awsgate.metrics import Metrics
from awsgate.metricsserver import start_metrics_server
from awsgate.session import ENTROPY_BYTES, mint
from awsgate.state import open_state
from awsgate.variables import Keys
from commandline import POLICY, READ_ONLY, Run

# Somebody's gateway may run on this machine, and serve metrics where all do.
QUIET = POLICY.replace("listen: '0.0.0.0:3128'", "listen: '0.0.0.0:3128', metrics_listen: ''")
VARIABLES = (
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
    *("AWS_CREDENTIAL_EXPIRATION", "AWS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"),
    *("HTTPS_PROXY", "https_proxy", "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
)


@pytest.fixture(autouse=True)
def no_session(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    (home / "policy.yaml").write_text(QUIET)


@pytest.fixture
def listening() -> Iterator[int]:
    """A port at which something answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@dataclass
class Minted:
    secret: str
    token: str


@pytest.fixture
def session(home: Path, monkeypatch: pytest.MonkeyPatch, listening: int) -> Any:
    """Put a session into the environment, as ``awsgate env`` does."""

    def put(*, ttl_s: int = 3600, started_s: int = 0, proxy: str = "") -> Minted:
        now = int(datetime.now(UTC).timestamp()) - started_s
        made = mint(
            open_state(home / "it's state").session_keys,
            user="alice",
            app="test",
            role_arn=READ_ONLY,
            ttl_s=ttl_s,
            now=now,
            entropy=bytes(range(ENTROPY_BYTES)),
        )
        expires = datetime.fromtimestamp(now + ttl_s, UTC)
        values = {
            "AWS_ACCESS_KEY_ID": made.access_key_id,
            "AWS_SECRET_ACCESS_KEY": made.secret_access_key,
            "AWS_SESSION_TOKEN": made.session_token,
            "AWS_CREDENTIAL_EXPIRATION": expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "HTTPS_PROXY": proxy or f"http://127.0.0.1:{listening}",
        }
        for name, value in values.items():
            monkeypatch.setenv(name, value)
        return Minted(made.secret_access_key, made.session_token)

    return put


def report(run: Run) -> dict[str, Any]:
    result = run("status", "--json")
    found: dict[str, Any] = json.loads(result.out)
    assert result.code == (0 if found["usable"] else 1)
    assert found["usable"] is not bool(found["problems"])
    return found


@pytest.mark.usefixtures("gateway_ca")
def test_a_good_session_is_shown(run: Run, session: Any, home: Path, listening: int) -> None:
    session()

    result = run("status")

    assert (result.code, result.err) == (0, "")
    lines = result.out.splitlines()
    assert lines[0] == f"session   alice as {READ_ONLY} in test"
    assert lines[1].startswith("          id ")
    assert lines[2].startswith(("          ends in 1h, at 20", "          ends in 59m"))
    assert lines[3] == f"gateway   127.0.0.1:{listening} answers (by HTTPS_PROXY)"
    until = (datetime.now(UTC) + timedelta(days=730)).strftime("%Y-%m-%d")
    assert lines[4] == f"CA        {home / "it's certs" / 'ca-cert.pem'}, until {until}"
    assert lines[5] == f"policy    {home / 'policy.yaml'}: 2 users, 2 roles, 1 app"
    assert lines[6:] == ["locks     none in force", "usable"]


def test_no_secret_is_ever_shown(run: Run, session: Any) -> None:
    minted = session(proxy="http://alice:hunter2@127.0.0.1:1")

    shown = [run("status"), run("status", "--json")]

    for result in shown:
        for secret in (minted.secret, minted.token, "hunter2"):
            assert secret not in result.out + result.err


def test_programs_get_the_same(run: Run, session: Any) -> None:
    session()

    found = report(run)

    assert found["usable"] is True
    session_seen = found["session"]
    assert session_seen["user"] == "alice"
    assert (session_seen["app"], session_seen["role_arn"]) == ("test", READ_ONLY)
    assert 3590 < session_seen["ends_in_s"] <= 3600
    assert session_seen["access_key_id"].startswith("GATE")
    assert found["policy"]["mode"] == "enforce"
    assert found["locks"] == []


def test_no_session_is_a_no(run: Run, listening: int, home: Path) -> None:
    policy = home / "policy.yaml"
    policy.write_text(QUIET.replace("0.0.0.0:3128", f"0.0.0.0:{listening}"))

    result = run("status")

    assert result.code == 1
    assert result.out.startswith("session   none in this environment\n")
    assert f"gateway   127.0.0.1:{listening} answers (by the policy)\n" in result.out
    assert result.out.endswith(
        "problem: no gateway credentials in this environment (awsgate env)\n"
    )


def test_an_ended_session_is_a_no(run: Run, session: Any) -> None:
    session(ttl_s=60, started_s=120)

    (problem,) = report(run)["problems"]

    assert problem.startswith("the gateway session of alice ended ")
    assert problem.endswith("get new credentials (awsgate env)")


def test_a_gateway_that_is_down_is_a_no(run: Run, session: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    session(proxy=f"http://127.0.0.1:{port}")

    assert report(run)["problems"] == [
        f"nothing answers at 127.0.0.1:{port}: is the gateway running"
    ]


def test_a_locked_session_is_a_no(run: Run, session: Any) -> None:
    session()
    assert run("lock", "add", "--user", "bob", "--name", "other").code == 0
    assert report(run)["usable"] is True
    assert run("lock", "add", "--user", "alice", "--reason", "lost", "--name", "l").code == 0

    found = report(run)

    assert found["problems"] == ["locked: lost (lock/l)"]
    assert [lock["name"] for lock in found["locks"]] == ["l", "other"]


def test_a_session_that_the_policy_no_longer_allows_is_a_no(
    run: Run, session: Any, home: Path
) -> None:
    session()
    policy = home / "policy.yaml"
    policy.write_text(QUIET.replace("{roles: [read]}", "{roles: []}"))

    assert report(run)["problems"] == [
        "the policy has changed: no role of the user allows this role in this app"
    ]


def test_a_policy_without_users_is_asked_whose_gateway_is_ahead(
    run: Run, session: Any, home: Path
) -> None:
    session()
    (home / "policy.yaml").write_text(
        "kind: gateway\nspec: {metrics_listen: '', upstream_gateway: {url: 'https://j:1'}}\n"
    )

    assert report(run)["problems"] == ["the session was issued for another gateway: awsgate env"]


def test_another_secret_is_a_no(run: Run, session: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    session()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "schlüssel")

    assert report(run)["problems"] == ["AWS_SECRET_ACCESS_KEY is not the secret of this key"]


def test_keys_of_aws_are_a_no(run: Run, session: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    session()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")

    found = report(run)

    assert found["session"] is None
    assert found["problems"] == [
        "AWS_ACCESS_KEY_ID is no gateway key: get credentials by awsgate env"
    ]


def test_keys_of_another_gateway_here_are_a_no(run: Run, session: Any, home: Path) -> None:
    session()
    (home / "it's state" / "session.key").unlink()
    open_state(home / "it's state")

    (problem,) = report(run)["problems"]

    assert problem.startswith("the access key is not one of this gateway's")


def test_away_from_the_gateway_only_what_is_known_is_said(
    run: Run, session: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session()
    monkeypatch.setenv("AWSGATE_STATE", str(home / "nowhere"))
    monkeypatch.setenv("AWSGATE_POLICY", str(home / "no policy"))

    result = run("status")

    assert result.code == 0
    assert "(whose it is, the gateway alone knows)" in result.out
    assert "policy    not readable here\nlocks     not known here\nnote: " in result.out
    assert "only a call shows\nusable\n" in result.out
    assert not (home / "nowhere").exists()
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", "2026-01-01T00:00:00Z")
    assert report(run)["problems"] == ["the session has ended: get new credentials (awsgate env)"]


def test_keys_without_a_proxy_are_a_no(
    run: Run, session: Any, monkeypatch: pytest.MonkeyPatch, home: Path, listening: int
) -> None:
    session()
    monkeypatch.delenv("HTTPS_PROXY")
    (home / "policy.yaml").write_text(QUIET.replace("0.0.0.0:3128", f"127.0.0.1:{listening}"))

    assert report(run)["problems"] == ["HTTPS_PROXY is not set, so clients go past the gateway"]


def test_the_version_is_asked_of_the_metrics(
    run: Run, session: Any, home: Path, listening: int
) -> None:
    server = start_metrics_server("127.0.0.1:0", Metrics(version="1.2.3", known_users=()).registry)
    session()
    policy = POLICY.replace("{listen: '0.0.0.0:3128'}", f"{{metrics_listen: '{server.address}'}}")
    (home / "policy.yaml").write_text(policy)
    try:
        result = run("status")
    finally:
        server.close()

    assert f"gateway   127.0.0.1:{listening} answers, awsgate 1.2.3 (by HTTPS_PROXY)" in result.out


def test_a_ca_that_has_ended_is_a_no(run: Run, session: Any, home: Path) -> None:
    session()
    old = datetime.now(UTC) - timedelta(days=1000)
    ensure_ca(home / "it's certs", suffixes=["amazonaws.com"], now=old)

    (problem,) = report(run)["problems"]

    assert problem.startswith("the gateway's CA ended at ")


def test_a_bundle_that_is_gone_is_a_no(
    run: Run, session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    session()
    monkeypatch.setenv("AWS_CA_BUNDLE", "/nowhere/bundle.pem")

    assert report(run)["problems"] == [
        "AWS_CA_BUNDLE names /nowhere/bundle.pem, and there is no such file"
    ]


def test_what_may_confuse_clients_is_noted(
    run: Run, session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    session()
    monkeypatch.setenv("AWS_PROFILE", "other")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")

    assert report(run)["notes"] == [
        "HTTPS_PROXY and https_proxy differ: clients read one or the other",
        "AWS_PROFILE is set too: some clients use that profile, not these keys",
    ]


@pytest.mark.usefixtures("gateway_ca")
def test_a_session_of_exec_is_shown(
    run: Run, session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = session()
    keys = Keys(os.environ["AWS_ACCESS_KEY_ID"], made.secret, made.token, int(time.time()) + 3600)
    issued = Issued("alice", "test", READ_ONLY, keys, 3600, "127.0.0.1:1", "", "")
    for name in VARIABLES[:4]:
        monkeypatch.delenv(name)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = server_on(listening, "token", KeySource(issued, lambda old: old))
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}{PATH}"
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url)
        monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "token")
        good = run("status")
        monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "wrong")
        wrong = run("status")
        server.shutdown()

    assert (good.code, good.err) == (0, "")
    assert good.out.startswith(f"session   alice as {READ_ONLY} in test\n")
    assert made.secret not in good.out
    assert made.token not in good.out
    assert wrong.code == 1
    assert "no credentials from AWS_CONTAINER_CREDENTIALS_FULL_URI" in wrong.out


METRICS = (
    b'awsgate_build_info{version="1\x1b]0;x\x07"} 1\n',
    b'awsgate_build_info{version="%s"} 1\n' % (b"1" * 41),
)


@pytest.mark.usefixtures("gateway_ca")
@pytest.mark.parametrize("metrics", METRICS, ids=["escapes", "too long"])
def test_another_programs_words_for_a_version_are_not_shown(
    run: Run, session: Any, home: Path, metrics: bytes
) -> None:
    session()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + metrics)

        Thread(target=answer, daemon=True).start()
        place = f"metrics_listen: '127.0.0.1:{listening.getsockname()[1]}'"
        (home / "policy.yaml").write_text(QUIET.replace("metrics_listen: ''", place))
        result = run("status")

    assert result.code == 0
    assert ", awsgate " not in result.out
    assert "\x1b" not in result.out
