"""Documents become connectors once, and one that cannot be made stops no other."""

from __future__ import annotations

import logging
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from awsgate.audit import AuditUnavailable
from awsgate.errors import SetupError
from awsgate.policy import Policy
from awsgate.policy.connectors import Connector, name_of
from awsgate.policyfile import load_policy
from awsgate.web.connectors import Connectors, maker, redirect_url
from awsgate.web.problems import Problem
from web.believing import POLICY
from web.served import Served

OWN = "https://gate.example.com:8444"


@pytest.fixture
def policy(tmp_path: Path) -> Policy:
    return policy_of(tmp_path, POLICY)


def policy_of(folder: Path, text: str) -> Policy:
    file = folder / "policy.yaml"
    file.write_text(text)
    return load_policy(file)


class Maker:
    def __init__(self, *broken: str) -> None:
        self.broken, self.made = set(broken), []  # type: ignore[var-annotated]

    def __call__(self, document: Connector) -> Any:
        if name_of(document) in self.broken:
            raise SetupError("its secret cannot be read", hint="chmod it")
        self.made.append(name_of(document))
        return object()


def test_a_connector_stays_while_its_document_does(policy: Policy, tmp_path: Path) -> None:
    make = Maker()
    connectors = Connectors(make)
    before = connectors.get(policy, "oidc/okta").connector

    again = policy_of(tmp_path, POLICY)
    same = connectors.get(again, "oidc/okta").connector
    changed = policy_of(tmp_path, POLICY.replace("display: Okta", "display: Other"))
    other = connectors.get(changed, "oidc/okta").connector

    assert same is before
    assert other is not before
    assert make.made == ["oidc/ci", "github/corp", "oidc/okta", "oidc/okta"]


def test_one_that_cannot_be_made_ends_the_start_with_all_faults(policy: Policy) -> None:
    connectors = Connectors(Maker("oidc/okta", "github/corp"))

    with pytest.raises(SetupError) as caught:
        connectors.take(policy, starting=True)

    assert caught.value.faults == (
        "github/corp: its secret cannot be read (chmod it)",
        "oidc/okta: its secret cannot be read (chmod it)",
    )


def test_after_a_reload_it_is_out_of_order_and_no_other(
    policy: Policy, caplog: pytest.LogCaptureFixture
) -> None:
    make = Maker("oidc/okta")
    connectors = Connectors(make)
    with caplog.at_level(logging.WARNING, "awsgate"):
        broken = connectors.get(policy, "oidc/okta")

    with pytest.raises(Problem) as caught:
        broken.has("browser")
    assert (caught.value.status, caught.value.code) == (503, "connector-unavailable")
    assert "chmod" not in str(caught.value.content())
    assert connectors.get(policy, "github/corp").has("device")
    assert "connector oidc/okta: its secret cannot be read" in caplog.text
    make.broken.clear()
    assert connectors.get(replace(policy), "oidc/okta").has("browser")


def test_a_kind_whose_library_is_missing_says_what_to_install(
    policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "awsgate.connect.github", None)
    make = maker(httpx.AsyncClient())

    with pytest.raises(SetupError) as caught:
        make(policy.connectors["github/corp"])

    assert "kind: github" in caught.value.message
    assert caught.value.hint == "pip install 'awsgate[github]'"


REDIRECTS = {
    "none is given": ([], f"{OWN}/v1/callback"),
    "one of ours": ([f"{OWN}/v1/callback"], f"{OWN}/v1/callback"),
    "ours among others": (
        ["https://old.example.com/v1/callback", f"{OWN}/v1/callback"], f"{OWN}/v1/callback",
    ),
    "others alone": (
        ["https://a.example.com/v1/callback", "https://b.example.com/v1/callback"],
        "https://a.example.com/v1/callback",
    ),
    "one that only begins like ours": (
        [f"{OWN}.evil.example.com/x", f"{OWN}/v1/callback"], f"{OWN}/v1/callback",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("given", "wanted"), REDIRECTS.values(), ids=REDIRECTS)
def test_the_provider_sends_the_browser_where_the_policy_says(
    policy: Policy, given: list[str], wanted: str
) -> None:
    document: Any = policy.connectors["oidc/okta"]
    spec = document.spec.model_copy(update={"redirect_url": tuple(given)})

    assert redirect_url(document.model_copy(update={"spec": spec}), OWN) == wanted


@pytest.mark.parametrize("on_failure", ["refuse", "continue"])
def test_what_cannot_be_recorded_is_not_given_out(
    own: Served, monkeypatch: pytest.MonkeyPatch, on_failure: str
) -> None:
    own.take_policy(POLICY.replace("session:", f"audit: {{on_failure: {on_failure}}}\n  session:"))
    login = own.log_in("alice")

    def full(_: object) -> None:
        raise AuditUnavailable("no space left")

    monkeypatch.setattr(own.api.records._audit, "write", full)
    with own.client(login["login"]) as http:
        asked = {"user": "lola", "password": "correct horse battery staple"}
        answers = [
            http.post("/v1/login/password", json=asked),
            http.post("/v1/credentials", json={}),
        ]

    given = on_failure == "continue"
    assert [one.status_code for one in answers] == ([200, 200] if given else [503, 503])
    assert all(("error" in one.json()) is not given for one in answers)
