"""A role asked for on the command line, approved there, used by boto3, and gone after its time.

Through real gateways, by people who have each logged in on a machine of their own.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from awsgate.demo.embedded_aws import ACCOUNT, POWER_ROLE, READ_ONLY_ROLE, EmbeddedAws
from awsgate.demo.processes import GatewayProcess, free_port
from e2e.forms import gateway_before
from e2e.held import until
from e2e.homes import ISSUER, Home, Stage, pin_of, published_key
from e2e.verdicts import verdict
from requestdatabases import BACKENDS, database

POLICY = """\
kind: role
version: v5
metadata: {{name: dev}}
spec:
  allow:
    app_labels: {{'*': '*'}}
    aws_role_arns: ['{read}']
    request: {{roles: [deployer], max_duration: 1h, reason: {{mode: required}}}}
---
kind: role
version: v5
metadata: {{name: deployer}}
spec: {{allow: {{app_labels: {{'*': '*'}}, aws_role_arns: ['{power}']}}}}
---
kind: role
version: v5
metadata: {{name: lead}}
spec:
  allow:
    app_labels: {{'*': '*'}}
    aws_role_arns: ['{read}']
    review_requests: {{roles: [deployer]}}
---
kind: app
version: v3
metadata: {{name: awsconsole-test, labels: {{aws_account_id: '{account}'}}}}
spec: {{uri: https://console.aws.amazon.com/}}
---
kind: user
version: v2
metadata: {{name: lola}}
spec: {{roles: [dev]}}
---
kind: oidc
version: v3
metadata: {{name: ci}}
spec:
  issuer_url: {issuer}
  jwks_url: file://{keys}
  id_tokens: {{audiences: ['https://gate.example.com']}}
  username_claim: sub
  login_ttl: 1h
  claims_to_roles: [{{claim: team, value: '*', roles: ['$1']}}]
---
kind: gateway
version: v1
metadata: {{name: gateway}}
spec:
  names: [localhost]
  control: {{listen: '127.0.0.1:{port}'}}
  requests: {{database_url: 'file://{database}'}}
"""
KNOWN_S = 3.0
"""Within a second, says the promise: this machine may be busy."""


class Place:
    """A key that people are known by, and a database for gateways."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self.folder = folder
        self.key, self.keys = published_key(folder)
        (folder / "database-url").write_text(f"{database_url}\n")

    @contextmanager
    def gateway(self, aws: EmbeddedAws, name: str = "one", workers: int = 0) -> Iterator[Stage]:
        folder, port = self.folder / name, free_port()
        folder.mkdir(exist_ok=True)
        policy = POLICY.format(
            power=POWER_ROLE, read=READ_ONLY_ROLE, account=ACCOUNT, issuer=ISSUER,
            keys=self.keys, database=self.folder / "database-url", port=port,
        )  # fmt: skip
        with gateway_before(aws, folder, policy, workers=workers) as running:
            yield Stage(running, f"https://localhost:{port}", self.key, pin_of(running))

    def person(self, stage: Stage, who: str, team: str) -> Home:
        folder = self.folder / f"{who}-at-{stage.url.rpartition(':')[2]}"
        folder.mkdir()
        home = Home(stage, folder)
        done = home.login(sub=who, team=team)
        assert done.returncode == 0, done.stderr
        return home


@pytest.fixture(params=BACKENDS[-1:])  # PostgreSQL, if there is one
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with database(request.param, tmp_path) as url:
        yield Place(tmp_path, url)


def said(home: Home, *words: str, code: int = 0) -> Any:
    done = home.run("request", *words, "--json")
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


def keys(home: Home, role: str = POWER_ROLE) -> dict[str, str]:
    done = home.run("env", "--format", "json", "--role", role)
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


def lines(gateway: GatewayProcess, event: str) -> list[dict[str, Any]]:
    return [line for line in gateway.audit() if line["event"] == event]


def test_asked_approved_used_and_gone_after_its_time(place: Place, aws: EmbeddedAws) -> None:
    with place.gateway(aws, workers=2) as stage:  # the others are under mitmdump
        gateway = stage.gateway
        alice = place.person(stage, "alice", "dev")
        bob = place.person(stage, "bob", "lead")
        no = alice.run("env", "--role", POWER_ROLE)
        assert (no.returncode, "no:" in no.stderr) == (1, True), no.stderr

        unsaid = alice.run("request", "create", "--role", "deployer")
        assert (unsaid.returncode, "needs a reason" in unsaid.stderr) == (1, True), unsaid.stderr
        asked = ("create", "--role", "deployer", "--reason", "release 7", "--duration", "12s")
        waiting = alice.start("request", *asked, "--wait")
        assert waiting.stdout is not None
        request = waiting.stdout.readline().strip()
        (seen,) = said(bob, "ls")
        assert (seen["id"], seen["reason"], seen["may_review"]) == (request, "release 7", True)
        own = alice.run("request", "approve", request)
        assert (own.returncode, "awsgate: no:" in own.stderr) == (1, True)
        approved = said(bob, "approve", request)
        waiting.communicate(timeout=30)
        assert waiting.returncode == 0
        env = keys(alice)
        bundle = env["AWS_CA_BUNDLE"]
        assert until(lambda: verdict(env, gateway, bundle) == "ok", within=KNOWN_S)

        while verdict(env, gateway, bundle) == "ok":
            assert time.time() < approved["until"] + 1
            time.sleep(0.05)
        assert time.time() >= approved["until"]
        refused = verdict(env, gateway, bundle)
        assert refused.startswith("AccessDenied awsgate denied: alice may not do this: no role of")
        assert said(alice, "show", request)["state"] == "ended"
        assert alice.run("env", "--role", POWER_ROLE).returncode == 1

        assert until(lambda: lines(gateway, "request.ended") != [], within=KNOWN_S)
        events = [
            (line["event"], line["user"])
            for line in gateway.audit()
            if line["event"].startswith("request.") and line["decision"] == "allowed"
        ]
        assert events == [
            ("request.create", "alice"),
            ("request.review", "bob"),
            ("request.granted", "alice"),
            ("request.ended", "alice"),
        ]
        assert re.search(
            r'awsgate_access_requests_total\{[^}]*result="ended"[^}]*\} 1\.0', gateway.metrics()
        )
        assert lines(gateway, "grants.reload") == []


def test_what_was_granted_lives_through_a_restart(place: Place, aws: EmbeddedAws) -> None:
    with place.gateway(aws) as stage:
        alice = place.person(stage, "alice", "dev")
        bob = place.person(stage, "bob", "lead")
        request = said(alice, "create", "--role", "deployer", "--reason", "x")["id"]
        said(bob, "approve", request)
        env = keys(alice)
    with place.gateway(aws) as stage:
        bundle = env["AWS_CA_BUNDLE"]
        assert verdict(env, stage.gateway, bundle) == "ok"  # the first request already

        bob = place.person(stage, "bob", "lead")
        assert said(bob, "revoke", request)["state"] == "revoked"
        assert until(lambda: verdict(env, stage.gateway, bundle) != "ok", within=KNOWN_S)


def test_two_gateways_on_one_database(place: Place, aws: EmbeddedAws) -> None:
    state = place.folder / "two/state"
    with place.gateway(aws, "one") as one:
        state.mkdir(parents=True, mode=0o700)
        shutil.copy2(one.gateway.state / "session.key", state / "session.key")
        with place.gateway(aws, "two") as two:
            alice = place.person(one, "alice", "dev")
            bob = place.person(two, "bob", "lead")
            asked = ("create", "--role", "deployer", "--reason", "x", "--duration", "25s")
            request = said(alice, *asked)["id"]
            ends = said(bob, "approve", request)["until"]
            assert until(lambda: alice.run("env", "--role", POWER_ROLE).returncode == 0, within=9)
            env = keys(alice)
            bundles = {
                "one": env["AWS_CA_BUNDLE"],
                "two": keys(place.person(two, "alice", "dev"))["AWS_CA_BUNDLE"],
            }
            gateways = {"one": one.gateway, "two": two.gateway}

            def verdicts() -> list[str]:
                return [verdict(env, gateways[name], bundles[name]) for name in gateways]

            assert verdicts() == ["ok", "ok"]
            time.sleep(max(0.0, ends - time.time()))
            assert all(one.startswith("AccessDenied") for one in verdicts())

            def ended() -> list[bool]:
                every = [line for g in gateways.values() for line in lines(g, "request.ended")]
                return [request in line["reason"] for line in every]

            assert until(lambda: ended() != [], within=9)
            time.sleep(2.5)  # so that the other could say it too
            assert ended() == [True]
            lines_of = {name: lines(g, "request.create") for name, g in gateways.items()}
            assert {name: len(found) for name, found in lines_of.items()} == {"one": 1, "two": 0}
