"""Logins through Keycloak at the real gateway, both ways that it speaks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from awsgate.demo.embedded_aws import EmbeddedAws
from awsgate.demo.processes import free_port
from identity.browser import Browser, browsing
from identity.gateway import Gateway, document, gateway_with
from identity.keycloakserver import CLIENT, Keycloak, keycloak

POWER, READ = "ExamplePowerAccess", "ExampleReadOnlyAccess"


@pytest.fixture(scope="module")
def control() -> int:
    return free_port()


@pytest.fixture(scope="module")
def idp(control: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keycloak]:
    here = f"https://127.0.0.1:{control}"
    folder = tmp_path_factory.mktemp("keycloak")
    with keycloak(folder, callback=f"{here}/v1/callback", acs=f"{here}/v1/saml/acs/kc") as running:
        yield running


@pytest.fixture(scope="module")
def gateway(
    aws: EmbeddedAws, control: int, idp: Keycloak, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    oidc = {
        **CLIENT,
        "issuer_url": idp.issuer,
        "scope": ["openid", "email", "profile"],
        "login_ttl": "1h",
        "claims_to_roles": [
            {"claim": "realm_access.roles", "value": "aws-admin", "roles": ["power"]},
            {"claim": "groups", "value": "staff", "roles": ["read"]},
        ],
    }
    saml = {
        "acs": f"https://127.0.0.1:{control}/v1/saml/acs/kc",
        "entity_descriptor_url": idp.saml_metadata,
        "attributes_to_roles": [
            {"name": "groups", "value": "admins", "roles": ["power"]},
            {"name": "groups", "value": "staff", "roles": ["read"]},
        ],
    }
    connectors = [document("oidc", "kc", oidc), document("saml", "kc", saml)]
    folder = tmp_path_factory.mktemp("gateway")
    with gateway_with(folder, aws, connectors, control=control) as running:
        yield running


type Window = Callable[[], Browser]


@pytest.fixture
def window(
    gateway: Gateway, chromedriver: httpx.Client, tmp_path: Path, opened: ExitStack
) -> Window:
    def opening() -> Browser:
        folder = tmp_path / "browser"
        return opened.enter_context(browsing(chromedriver, folder, trusted=gateway.trusted))

    return opening


PEOPLE = {"ann": (["power", "read"], POWER), "bob": (["read"], READ)}


@pytest.mark.parametrize("connector", ["oidc/kc", "saml/kc"])
@pytest.mark.parametrize("user", PEOPLE)
def test_a_person_logs_in_and_aws_sees_who(
    gateway: Gateway, idp: Keycloak, window: Window, connector: str, user: str
) -> None:
    roles, at_aws = PEOPLE[user]
    person, browser = gateway.person(f"{connector[:4]}-{user}"), window()
    with person.logging_in("--connector", connector, "--no-browser") as login:
        browser.go(login.url())
        idp.log_in(browser, user)
        browser.wait_for("Logged in")
        code, out, err = login.ended()

    assert code == 0, err
    said = json.loads(out)
    assert (said["user"], said["connector"], said["roles"]) == (
        f"{user}@example.com",
        connector,
        roles,
    )
    assert person.whoami("--role", at_aws).endswith(f":assumed-role/{at_aws}/{user}@example.com")


def test_who_has_no_browser_types_a_code_elsewhere(
    gateway: Gateway, idp: Keycloak, window: Window
) -> None:
    bob, browser = gateway.person("device-bob"), window()
    with bob.logging_in("--connector", "oidc/kc", "--device") as login:
        browser.go(login.line(r"  or open (\S+)"))
        idp.log_in(browser, "bob")
        browser.click("[name=accept]")
        browser.wait_for("Device Login Successful")
        code, out, err = login.ended()

    assert code == 0, err
    assert json.loads(out)["roles"] == ["read"]
