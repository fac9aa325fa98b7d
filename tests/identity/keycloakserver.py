"""Keycloak, as a process of its own, with a realm that is made for the test."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from awsgate.demo.processes import free_port
from identity.browser import Browser

START_S = 240
PASSWORD = "right"
CLIENT = {"client_id": "awsgate", "client_secret": "canary-of-the-client"}


class Keycloak:
    """A running Keycloak."""

    def __init__(self, url: str) -> None:
        self.url = url

    @property
    def issuer(self) -> str:
        """The realm, as OpenID provider."""
        return f"{self.url}/realms/corp"

    @property
    def saml_metadata(self) -> str:
        """The realm, as SAML provider."""
        return f"{self.issuer}/protocol/saml/descriptor"

    def log_in(self, browser: Browser, user: str) -> None:
        """Fill in its form."""
        browser.fill("#username", user)
        browser.fill("#password", PASSWORD)
        browser.click("#kc-login")


@contextmanager
def keycloak(folder: Path, *, callback: str, acs: str) -> Iterator[Keycloak]:
    """Run it. ``callback`` and ``acs`` are where it sends browsers back."""
    home = folder / "keycloak"
    # What it writes stays out of what is installed.
    shutil.copytree(os.environ["AWSGATE_KEYCLOAK"], home, symlinks=True)
    (home / "data/import").mkdir(parents=True)
    (home / "data/import/corp-realm.json").write_text(json.dumps(_realm(callback, acs)))
    port, management = free_port(), free_port()
    url = f"http://127.0.0.1:{port}"
    options = [
        "--import-realm", "--db=dev-mem", "--cache=local", "--http-host=127.0.0.1",
        f"--http-port={port}", f"--hostname={url}", f"--http-management-port={management}",
    ]  # fmt: skip
    log = folder / "keycloak.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["bash", str(home / "bin/kc.sh"), "start-dev", *options],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, "JAVA_OPTS_KC_HEAP": "-Xms64m -Xmx512m"},
            start_new_session=True,
        )
    try:
        _wait(url, process, log)
        yield Keycloak(url)
    finally:
        os.killpg(process.pid, 15)
        process.wait(60)


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    with httpx.Client(trust_env=False, timeout=5) as http:
        while time.monotonic() < deadline and process.poll() is None:
            try:
                if http.get(f"{url}/realms/corp").status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.5)
    raise AssertionError(f"Keycloak did not start: {log.read_text('utf-8')[-3000:]}")


def _realm(callback: str, acs: str) -> dict[str, Any]:
    return {
        "realm": "corp",
        "enabled": True,
        "sslRequired": "none",
        "roles": {"realm": [{"name": "aws-admin"}]},
        "groups": [{"name": "admins"}, {"name": "staff"}],
        "users": [_user("ann", ["/admins", "/staff"], ["aws-admin"]), _user("bob", ["/staff"], [])],
        "clients": [_oidc_client(callback), _saml_client(acs)],
    }


def _user(name: str, groups: list[str], roles: list[str]) -> dict[str, Any]:
    return {
        "username": name,
        "enabled": True,
        "email": f"{name}@example.com",
        "emailVerified": True,
        "firstName": name.title(),
        "lastName": "Example",
        "credentials": [{"type": "password", "value": PASSWORD, "temporary": False}],
        "groups": groups,
        "realmRoles": roles,
    }


def _mapper(protocol: str, name: str, kind: str, **config: str) -> dict[str, Any]:
    return {"name": name, "protocol": protocol, "protocolMapper": kind, "config": config}


def _oidc_client(callback: str) -> dict[str, Any]:
    in_token = {"id.token.claim": "true", "access.token.claim": "false"}
    of_groups = {"claim.name": "groups", "full.path": "false", **in_token}
    of_roles = {"claim.name": "realm_access.roles", "multivalued": "true", **in_token}
    return {
        "clientId": CLIENT["client_id"],
        "secret": CLIENT["client_secret"],
        "redirectUris": [callback],
        "attributes": {
            "oauth2.device.authorization.grant.enabled": "true",
            "pkce.code.challenge.method": "S256",
        },
        "protocolMappers": [
            _mapper(
                "openid-connect", "groups", "oidc-group-membership-mapper",
                **of_groups,
            ),
            _mapper(
                "openid-connect", "realm roles", "oidc-usermodel-realm-role-mapper",
                **{"jsonType.label": "String", **of_roles},
            ),
        ],
    }  # fmt: skip


def _saml_client(acs: str) -> dict[str, Any]:
    return {
        "clientId": acs,
        "protocol": "saml",
        "redirectUris": [acs],
        "frontchannelLogout": True,
        "attributes": {
            "saml.assertion.signature": "true",
            "saml.server.signature": "false",
            "saml.client.signature": "false",
            "saml.signature.algorithm": "RSA_SHA256",
            "saml.force.post.binding": "true",
            "saml.authnstatement": "true",
            "saml_name_id_format": "email",
            "saml_force_name_id_format": "true",
            "saml_assertion_consumer_url_post": acs,
        },
        "protocolMappers": [
            _mapper(
                "saml", "groups", "saml-group-membership-mapper",
                **{
                    "attribute.name": "groups", "attribute.nameformat": "Basic",
                    "single": "true", "full.path": "false",
                },
            )
        ],
    }  # fmt: skip
