"""The commands of somebody who has logged in: the gateway is asked, and nothing here."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest

from awsgate.cli import reuse
from awsgate.cli.bounded import around
from awsgate.cli.issuing import Wanted
from awsgate.cli.keyserver import KeySource
from awsgate.controlclient import ControlClient
from awsgate.errors import Refusal
from awsgate.login import Identity
from awsgate.loginstore import folder_of, load, record_of
from awsgate.session import Bounds, Session
from awsgate.state import open_state
from awsgate.tunnelpass import open_tunnel_pass
from awsgate.variables import BOUNDS, undoing
from commandline import POLICY as LOCAL_POLICY
from commandline import POWER, READ_ONLY, Run
from controlserving import Serving, at, jwt_of

GATE = "AWSGATE_GATEWAY"


def variables(run: Run, *words: str) -> dict[str, str]:
    result = run("env", "--format", "json", *words)
    assert result.code == 0, result.err
    found: dict[str, str] = json.loads(result.out)
    return found


def session_of(gateway: Serving, found: dict[str, str]) -> Session:
    return gateway.opened(found["AWS_ACCESS_KEY_ID"], found["AWS_SESSION_TOKEN"]).session


def be(gateway: Serving, *roles: str, user: str = "alice") -> None:
    """Let the next one who logs in have these roles."""
    gateway.provider.identity = Identity(user, "oidc/okta", roles)


def change(gateway: Serving, **changes: Any) -> None:
    """Change what is kept of the login, as time or an operator would."""
    path = record_of(gateway.url)
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


# --- credentials ------------------------------------------------------------------------


def test_env_gives_credentials_of_the_gateway_and_the_way_there(
    gateway: Serving, here: Run
) -> None:
    found = variables(here)
    stored = load(gateway.url)

    session = session_of(gateway, found)
    assert stored is not None
    assert (session.user, session.app, session.role_arn) == ("alice", "test", READ_ONLY)
    assert session.login is not None
    assert session.login.id == stored.id
    assert found["HTTPS_PROXY"] == found["https_proxy"] == "http://localhost:8443"
    assert found["AWS_CA_BUNDLE"] == stored.bundle_path
    assert found["NODE_EXTRA_CA_CERTS"] == stored.root_path
    assert BOUNDS not in found


def test_tunnels_get_to_know_their_caller_where_they_must(gateway: Serving, here: Run) -> None:
    gateway.change("spec:\n  listen:", "spec:\n  tunnels: {callers: known}\n  listen:")

    found = variables(here)

    key = found["AWS_ACCESS_KEY_ID"]
    assert re.fullmatch(rf"http://{key}:[^@:/]+@localhost:8443", found["HTTPS_PROXY"])
    assert found["AWS_SECRET_ACCESS_KEY"] not in found["HTTPS_PROXY"]


def test_a_new_ca_of_the_gateway_is_taken_over(gateway: Serving, here: Run) -> None:
    stored = load(gateway.url)
    assert stored is not None
    right = Path(stored.bundle_path).read_bytes()
    for path in (stored.bundle_path, stored.root_path):
        Path(path).write_bytes(Path(stored.root_path).read_bytes() + b"\n")

    variables(here)

    assert Path(stored.bundle_path).read_bytes() == right
    assert load(gateway.url) == stored


def test_credentials_are_reused_while_the_login_is_the_same(gateway: Serving, here: Run) -> None:
    first, second = (json.loads(here("credentials").out) for _ in range(2))
    time.sleep(0.02)
    record_of(gateway.url).touch()
    third = json.loads(here("credentials").out)

    assert first == second
    assert first["AccessKeyId"] != third["AccessKeyId"]
    assert len(list((folder_of(gateway.url) / "reuse").iterdir())) == 1


def test_what_is_wanted_is_what_is_asked_for(gateway: Serving, here: Run) -> None:
    found = variables(here, "--app", "test", "--role", "ReadOnly", "--ttl", "10m")

    session = session_of(gateway, found)
    assert session.expires_at - session.issued_at == 600


def test_what_is_not_clear_is_shown_to_choose_from(
    gateway: Serving, clean: Run, token: str
) -> None:
    be(gateway, "read", "power")
    clean(*at(gateway), "--id-token-file", token)

    result = clean("env")

    assert (result.code, result.out) == (1, "")
    assert "alice may have 2 roles" in result.err
    assert re.search(r"^  test  123456789012  Power$", result.err, re.MULTILINE)
    assert "awsgate: hint: for the first: --app test --role " in result.err
    assert variables(clean, "--role", POWER)["AWS_ACCESS_KEY_ID"].startswith("GATE")


NO = {
    "another role": (("--role", POWER), "alice may have no role"),
    "another app": (("--app", "prod"), "prod"),
    "a longer life": (("--ttl", "11h"), "alice may have this role for 2h at most"),
    "another user": (("--user", "bob"), "is that of alice, not bob"),
}


@pytest.mark.parametrize(("words", "said"), NO.values(), ids=NO)
@pytest.mark.parametrize("command", ["env", "credentials"])
def test_the_gateways_no_is_the_commands(
    here: Run, command: str, words: tuple[str, ...], said: str
) -> None:
    result = here(command, *words)

    assert (result.code, result.out) == (1, "")
    assert result.err.startswith("awsgate: no: ")
    assert said in result.err


# --- whom to ask ------------------------------------------------------------------------


def test_so_do_tunnels_of_a_gateway_here(home: Path, run: Run, gateway_ca: Path) -> None:
    assert gateway_ca.exists()
    (home / "policy.yaml").write_text(
        LOCAL_POLICY.replace("{listen:", "{tunnels: {callers: known}, listen:")
    )

    found = variables(run, "--user", "alice")

    key, password = found["HTTPS_PROXY"].removeprefix("http://").partition("@")[0].split(":")
    keys = open_state(home / "it's state").session_keys
    caller = open_tunnel_pass(keys, key, unquote(password), now=int(time.time()))
    assert (key, caller.user) == (found["AWS_ACCESS_KEY_ID"], "alice")


@pytest.fixture
def policy(tmp_path: Path) -> str:
    path = tmp_path / "local-policy.yaml"
    path.write_text(LOCAL_POLICY)
    return str(path)


def is_local(gateway: Serving, found: dict[str, str]) -> bool:
    try:
        session_of(gateway, found)
    except Refusal:
        return True
    return False


WHERE: dict[str, tuple[dict[str, str], tuple[str, ...], bool]] = {
    "a login": ({}, (), False),
    "a policy that is named": ({}, ("--policy", "POLICY"), True),
    "a policy in a variable": ({"AWSGATE_POLICY": "POLICY"}, (), True),
    "a gateway that is named, before a policy": (
        {"AWSGATE_POLICY": "POLICY"},
        ("--gateway", "GATEWAY"),
        False,
    ),
    "a gateway in a variable": ({GATE: "GATEWAY", "AWSGATE_POLICY": "POLICY"}, (), False),
}


@pytest.mark.parametrize(("environment", "words", "local"), WHERE.values(), ids=WHERE)
def test_who_is_asked(
    gateway: Serving,
    here: Run,
    policy: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    words: tuple[str, ...],
    local: bool,
) -> None:
    meant = {"POLICY": policy, "GATEWAY": gateway.url}
    for name, value in environment.items():
        monkeypatch.setenv(name, meant.get(value, value))
    if local:
        monkeypatch.setenv("AWSGATE_STATE", str(tmp_path / "state"))
        words = (*words, "--user", "alice", "--role", READ_ONLY)
        if not environment:
            monkeypatch.delenv("AWSGATE_STATE")
            words = (*words, "--state", str(tmp_path / "state"))
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))

    found = variables(here, *(meant.get(word, word) for word in words))

    assert is_local(gateway, found) is local


@pytest.mark.usefixtures("gateway")
def test_a_gateway_without_a_login_says_how_to_log_in(clean: Run) -> None:
    result = clean("env", "--gateway", "https://other.example.com:3081")

    assert (result.code, result.out) == (2, "")
    assert result.err == (
        "awsgate: error: nobody is logged in at https://other.example.com:3081 here\n"
        "awsgate: hint: awsgate login --gateway https://other.example.com:3081\n"
    )


# --- the end of a login -----------------------------------------------------------------


def test_a_login_that_has_ended_names_the_line_to_log_in_again(
    gateway: Serving, here: Run, token: str
) -> None:
    change(gateway, expires_at=int(time.time()) - 1)

    result = here("env", "--gateway", gateway.url)

    assert (result.code, result.out) == (2, "")
    assert result.err == (
        f"awsgate: error: the login of alice at {gateway.url} has ended: "
        f"awsgate login --gateway {gateway.url} --id-token-file {token}\n"
    )


def test_a_login_that_has_ended_gives_way_to_the_policy_here(
    gateway: Serving, here: Run, policy: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    change(gateway, expires_at=int(time.time()) - 1)
    monkeypatch.setattr("awsgate.cli.places.default_policy_path", lambda: Path(policy))
    monkeypatch.setattr("awsgate.cli.places.default_state_folder", lambda: tmp_path / "state")
    monkeypatch.setattr("awsgate.cli.places.default_certs_folder", lambda: tmp_path / "certs")

    result = here("credentials", "--user", "alice")

    assert result.code == 0
    assert result.err.count("has ended, so the policy here is asked (awsgate login ") == 1


def test_what_the_gateway_does_not_take_any_more_says_so(gateway: Serving, here: Run) -> None:
    change(gateway, login="gatelogin." + "A" * 60)

    result = here("env")

    assert (result.code, result.out) == (2, "")
    assert f"awsgate login --gateway {gateway.url}" in result.err


@pytest.mark.usefixtures("here")
def test_keys_are_renewed_from_the_gateway_until_the_login_ends(
    gateway: Serving, tmp_path: Path, token: str
) -> None:
    wanted = wanted_at(gateway, tmp_path)
    first = reuse.issued_lately(wanted)
    clock = [first.keys.expires_at - 60.0]
    source = KeySource(first, lambda old: reuse.again(wanted, old), lambda: clock[0])

    status, renewed = source.answer()
    change(gateway, expires_at=int(time.time()) - 1)
    clock[0] = first.keys.expires_at + 10_000.0
    ended_status, said = source.answer()

    assert status == 200
    assert renewed["AccessKeyId"] != first.keys.access_key_id
    assert (ended_status, said["message"]) == (
        500,
        f"awsgate: the login of alice at {gateway.url} has ended: "
        f"awsgate login --gateway {gateway.url} --id-token-file {token}",
    )


def wanted_at(gateway: Serving, folder: Path, **more: Any) -> Wanted:
    places = {"policy": folder / "p", "state": folder / "s", "certs": folder / "c"}
    return Wanted("", "", "", 0, **places, gateway=gateway.url, **more)


# --- less than the user may -------------------------------------------------------------


def test_read_only_and_a_number_of_requests_are_in_the_session(gateway: Serving, here: Run) -> None:
    found = variables(here, "--read-only", "--max-requests", "500")

    assert session_of(gateway, found).bounds == Bounds(read_only=True, max_requests=500)
    assert json.loads(found[BOUNDS])["max_requests"] == 500
    assert BOUNDS in undoing(found).unset


def test_they_are_in_sessions_that_are_minted_here_too(
    home: Path, run: Run, gateway_ca: Path
) -> None:
    from commandline import opened_by_the_gateway

    assert gateway_ca.exists()
    words = ("--user", "alice", "--read-only", "--max-requests", "5")

    found = variables(run, *words)

    bounds = opened_by_the_gateway(found, home).session.bounds
    assert bounds == Bounds(read_only=True, max_requests=5)


def test_a_number_of_requests_is_not_shared_nor_renewed(
    gateway: Serving, here: Run, tmp_path: Path
) -> None:
    first, second = (
        json.loads(here("credentials", "--max-requests", "5").out)["AccessKeyId"] for _ in "ab"
    )
    wanted = wanted_at(gateway, tmp_path, max_requests=5)
    issued = reuse.issued_lately(wanted)
    late = issued.keys.expires_at - 60.0

    status, said = KeySource(issued, lambda old: reuse.again(wanted, old), lambda: late).answer()

    assert first != second
    assert status == 403
    assert "were for 5 requests" in said["message"]


def test_read_only_is_not_mixed_up_with_all(here: Run) -> None:
    keys = [json.loads(here("credentials", *words).out) for words in ((), ("--read-only",), ())]

    assert keys[0] == keys[2] != keys[1]


def test_inside_read_only_there_is_nothing_else(
    gateway: Serving, clean: Run, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    be(gateway, "read", "power")
    clean(*at(gateway), "--id-token-file", token)
    outer = variables(clean, "--read-only", "--role", READ_ONLY)
    monkeypatch.setenv(BOUNDS, outer[BOUNDS])

    inner = variables(clean)
    other = clean("env", "--role", POWER)

    session = session_of(gateway, inner)
    assert (session.role_arn, session.bounds.read_only) == (READ_ONLY, True)
    assert (other.code, other.out) == (1, "")
    assert "there are no others here" in other.err


def test_inside_a_number_of_requests_there_are_no_more(
    here: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(BOUNDS, variables(here, "--max-requests", "5")[BOUNDS])

    for command in (("env",), ("credentials",), ("exec", "--max-requests", "9", "--", "true")):
        result = here(*command)
        assert (result.code, result.out) == (1, "")
        assert "are for 5 requests, and there are no others here" in result.err


@pytest.mark.parametrize("text", ["x", "{}", "[]", '{"read_only": 1}', "null"])
def test_bounds_that_cannot_be_read_are_not_taken_for_none(
    here: Run, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv(BOUNDS, text)

    result = here("env")

    assert (result.code, result.out) == (2, "")
    assert BOUNDS in result.err


# --- exec -------------------------------------------------------------------------------

SHOW = "import json, os; print(json.dumps(dict(os.environ)))"


@pytest.fixture
def executed(gateway: Serving, here: Run) -> Callable[..., dict[str, str]]:
    """Give the environment of a command of exec."""

    def executed(*words: str) -> dict[str, str]:
        done = subprocess.run(
            [sys.executable, "-m", "awsgate", "exec", *words, "--", sys.executable, "-c", SHOW],
            env={**os.environ, "AWSGATE_ID_TOKEN": jwt_of()},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        found: dict[str, str] = json.loads(done.stdout)
        return found

    assert gateway.url
    assert here
    return executed


def test_a_command_of_exec_gets_credentials_and_nothing_of_the_login(
    gateway: Serving, executed: Callable[..., dict[str, str]]
) -> None:
    stored = load(gateway.url)
    found = executed("--static", "--read-only", "--ttl", "15m", "--max-requests", "500")

    assert stored is not None
    session = session_of(gateway, found)
    assert session.bounds == Bounds(read_only=True, max_requests=500)
    assert session.expires_at - session.issued_at == 900
    values = "\n".join(f"{name}={value}" for name, value in found.items())
    assert stored.login not in values
    assert "gatelogin." not in values
    assert {"AWSGATE_ID_TOKEN", "AWSGATE_LOGINS"}.isdisjoint(found)


def test_a_command_of_exec_gets_its_keys_from_the_endpoint(
    executed: Callable[..., dict[str, str]],
) -> None:
    found = executed("--read-only")

    assert found["AWS_CONTAINER_CREDENTIALS_FULL_URI"].startswith("http://127.0.0.1:")
    assert "AWS_ACCESS_KEY_ID" not in found
    bounds = around(found)
    assert bounds is not None
    assert (bounds.read_only, bounds.max_requests, bounds.user) == (True, 0, "alice")


def test_a_gateway_cannot_be_started_for_a_login(here: Run) -> None:
    result = here("exec", "--local", "--", "true")

    assert (result.code, result.out) == (2, "")
    assert "--local starts a gateway here" in result.err


# --- profiles, locks, status ------------------------------------------------------------


def test_profiles_call_the_gateway(
    gateway: Serving, here: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))

    result = here("profiles", "write", "--region", "eu-west-1")

    stored = load(gateway.url)
    text = (tmp_path / "config").read_text()
    assert stored is not None
    assert (result.code, result.out) == (0, "test-ReadOnly\n")
    assert "export HTTPS_PROXY=http://localhost:8443 " in result.err
    assert f"ca_bundle = {stored.bundle_path}" in text
    assert f"--app test --role {READ_ONLY} --gateway {gateway.url}" in text


@pytest.fixture
def admin(gateway: Serving, clean: Run, token: str) -> Run:
    be(gateway, "read", "admin", user="root@example.com")
    assert clean(*at(gateway), "--id-token-file", token).code == 0
    return clean


@pytest.fixture
def lock(admin: Run) -> Iterator[str]:
    added = admin("lock", "add", "--user", "mallory", "--reason", "left", "--ttl", "1h")
    assert (added.code, added.err) == (0, "")
    yield added.out.strip()
    admin("lock", "rm", added.out.strip())


def test_an_admin_sets_and_lists_and_takes_away_locks(admin: Run, lock: str) -> None:
    listed = json.loads(admin("lock", "ls", "--json").out)
    removed = admin("lock", "rm", lock)
    again = admin("lock", "rm", lock)

    (row,) = [row for row in listed if row["name"] == lock]
    assert row["target"] == {"user": "mallory"}
    assert (row["by"], row["message"]) == ("root@example.com", "left")
    assert (removed.code, removed.out, removed.err) == (0, "", "")
    assert again.code == 1
    assert f"there is no lock {lock!r}" in again.err


def test_a_gateway_cannot_move_the_cursor_by_the_name_of_a_lock(
    admin: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ControlClient, "add_lock", lambda *_: {"name": "x-\x1b[2J"})

    assert admin("lock", "add", "--user", "mallory").out == "x-\\x1b[2J\n"


def test_locks_are_listed_as_a_table(admin: Run, lock: str) -> None:
    result = admin("lock", "ls")

    assert result.code == 0
    assert re.search(rf"^{re.escape(lock)}  user=mallory", result.out, re.MULTILINE)


def test_who_is_no_admin_sets_no_lock(here: Run) -> None:
    result = here("lock", "add", "--user", "mallory")

    assert (result.code, result.out) == (1, "")
    assert "alice may not do this" in result.err


def test_inside_credentials_for_less_an_admin_is_none(
    admin: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(BOUNDS, variables(admin, "--read-only")[BOUNDS])

    result = admin("lock", "add", "--user", "mallory")

    assert (result.code, result.out) == (1, "")
    assert "for less than the login may" in result.err


def test_status_shows_the_login_and_its_end(gateway: Serving, here: Run) -> None:
    result = here("status", "--json")
    shown = here("status").out

    said = json.loads(result.out)
    assert said["login"]["user"] == "alice"
    assert said["login"]["gateway"] == gateway.url
    assert said["login"]["roles"] == ["read"]
    assert 0 < said["login"]["ends_in_s"] <= 12 * 3600
    assert said["gateway"]["address"] == "localhost:8443"
    assert re.match(r"login +alice \(oidc/okta\) at https://localhost", shown)
    assert "gatelogin." not in result.out + shown


def test_status_says_that_a_login_has_ended(gateway: Serving, here: Run) -> None:
    change(gateway, expires_at=int(time.time()) - 1)

    result = here("status", "--gateway", gateway.url)

    assert result.code == 1
    assert f"the login has ended: awsgate login --gateway {gateway.url}" in result.out


def test_status_without_a_login_says_nothing_of_logins(run: Run) -> None:
    assert "login" not in json.loads(run("status", "--json").out)


# --- the console ------------------------------------------------------------------------


def test_the_gateway_gives_the_way_into_the_console(gateway: Serving, here: Run) -> None:
    result = here("console", "--print", "--service", "s3", "--region", "eu-west-1")

    assert result.code == 0, result.err
    assert result.out.startswith("https://eu-west-1.signin.aws.amazon.com/federation?Action=login&")
    assert f"alice as {READ_ONLY}, for " in result.err
    assert "Issuer=" + quote(f"{gateway.url}/", safe="") in result.out


@pytest.mark.parametrize("place", ["at the gateway", "here"])
def test_inside_credentials_for_less_there_is_no_console(
    here: Run, home: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setenv(BOUNDS, variables(here, "--read-only")[BOUNDS])
    if place == "here":
        monkeypatch.setenv("AWSGATE_POLICY", str(home / "policy.yaml"))

    result = here("console", "--print", "--user", "alice")

    assert (result.code, result.out) == (1, "")
    assert "for less than the console" in result.err


@pytest.mark.parametrize("name", ["url", "switching_url"])
@pytest.mark.parametrize("url", ["file:///etc/passwd", "https://a\x1b[2J"])
def test_what_is_no_https_url_of_a_console_is_neither_opened_nor_printed(
    here: Run, monkeypatch: pytest.MonkeyPatch, name: str, url: str
) -> None:
    ask = ControlClient.console
    other = {name: url}
    monkeypatch.setattr(ControlClient, "console", lambda self, asked: ask(self, asked) | other)

    result = here("console", "--print")

    assert (result.code, result.out) == (2, "")
    assert "gives no https:// URL of the console" in result.err


def test_somebody_elses_console_is_not_asked_for(here: Run) -> None:
    result = here("console", "--print", "--user", "bob")

    assert (result.code, result.out) == (1, "")
    assert "is that of alice, not bob" in result.err
