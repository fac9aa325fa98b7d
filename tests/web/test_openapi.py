"""The description is that of the API: what it says, and what is answered, are one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from awsgate.web import problems
from awsgate.web.table import OPERATIONS
from web.believing import PASSWORD, VERIFIER, challenge, id_token
from web.served import Served


@pytest.fixture(scope="module")
def document(shared: Served) -> dict[str, Any]:
    with shared.client() as http:
        found: dict[str, Any] = http.get("/v1/openapi.json").json()
    return found


def check(document: dict[str, Any], answer: httpx.Response, method: str, path: str) -> None:
    """Validate an answer by what the document says of it, references and all."""
    responses = document["paths"][path][method.lower()]["responses"]
    said = responses.get(str(answer.status_code), responses["default"])
    schema = said["content"]["application/json"]["schema"]
    # Nothing of the answer may be beyond what is described: extra keys are faults.
    jsonschema.Draft202012Validator({**schema, "components": document["components"]}).validate(
        answer.json()
    )


def test_every_reference_leads_somewhere_and_every_schema_is_one(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1.")
    schemas = document["components"]["schemas"]
    for schema in schemas.values():
        jsonschema.Draft202012Validator.check_schema(schema)
    references = set(_references(document))
    assert len(references) > 15
    assert references == {f"#/components/schemas/{name}" for name in schemas}


def _references(value: object) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [ref for inner in value.values() for ref in _references(inner)]
    if isinstance(value, list):
        return [ref for inner in value for ref in _references(inner)]
    return []


def test_everything_that_is_served_is_described(document: dict[str, Any]) -> None:
    described = {
        (method.upper(), path) for path, one in document["paths"].items() for method in one
    }
    served = {(one.method, one.path) for one in OPERATIONS}
    back = {
        ("GET", "/v1/callback"),
        ("POST", "/v1/callback"),
        ("POST", "/v1/saml/acs/{name}"),
        ("GET", "/v1/saml/metadata/{name}"),
        ("GET", "/v1/openapi.json"),
    }

    assert described == served | back
    names = [one["operationId"] for path in document["paths"].values() for one in path.values()]
    assert len(set(names)) == len(names)


def test_who_needs_a_login_is_described(document: dict[str, Any]) -> None:
    needing = {
        path
        for path, methods in document["paths"].items()
        for one in methods.values()
        if one.get("security") == [{"login": []}]
    }

    assert needing == {
        *("/v1/whoami", "/v1/roles", "/v1/credentials", "/v1/console", "/v1/logout"),
        *("/v1/locks", "/v1/locks/{name}", "/v1/status", "/v1/requestable", "/v1/requests"),
        *("/v1/requests/{id}", "/v1/requests/{id}/review", "/v1/requests/{id}/revoke"),
    }


def answers(served: Served) -> list[tuple[str, str, httpx.Response]]:
    """Give each operation's answer, good ones and errors."""
    served.api.connectors.take(served.policy[0])
    served.fakes["oidc/okta"].answers = ["pending", "alice"]
    found: list[tuple[str, str, httpx.Response]] = []

    def ask(http: httpx.Client, method: str, path: str, body: Any = None, name: str = "") -> Any:
        answer = http.request(method, path.replace("{name}", name).replace("{id}", name), json=body)
        found.append((method, path, answer))
        return answer.json()

    with served.client() as http:
        ask(http, "GET", "/v1/ping")
        ask(http, "GET", "/v1/ca")
        asked = {"connector": "oidc/okta", "challenge": challenge(), "port": 4321}
        url = httpx.URL(ask(http, "POST", "/v1/login/browser", asked)["url"])
        query = {"state": url.params["state"], "code": "olga"}
        code = httpx.URL(http.get("/v1/callback", params=query).headers["location"]).params["code"]
        login = ask(http, "POST", "/v1/login/code", {"code": code, "verifier": VERIFIER})
        handle = ask(http, "POST", "/v1/login/device", {"connector": "oidc/okta"})["handle"]
        for _ in range(2):
            served.ticks.ahead_s += 6
            ask(http, "POST", "/v1/login/device/poll", {"handle": handle})
        ask(http, "POST", "/v1/login/password", {"user": "lola", "password": PASSWORD})
        ask(http, "POST", "/v1/login/invitation", {"token": "invited", "password": "x" * 12})
        ask(http, "POST", "/v1/login/id-token", {"token": id_token("alice")})
        ask(http, "POST", "/v1/login/certificate", {})
    with served.client(login["login"]) as http:
        ask(http, "GET", "/v1/whoami")
        ask(http, "GET", "/v1/roles")
        ask(http, "POST", "/v1/credentials", {})
        ask(http, "POST", "/v1/credentials", {"app": "side"})
        ask(http, "POST", "/v1/console", {})
        ask(http, "POST", "/v1/console", {"region": "cn-north-1"})
        ask(http, "POST", "/v1/credentials", {"read_onyl": True})
        target = {"name": "one", "target": {"user": "x"}, "ttl_s": 60}
        ask(http, "POST", "/v1/locks", target)
        ask(http, "POST", "/v1/locks", target)
        ask(http, "GET", "/v1/locks")
        ask(http, "DELETE", "/v1/locks/{name}", name="one")
        ask(http, "DELETE", "/v1/locks/{name}", name="one")
        ask(http, "GET", "/v1/status")
        with served.client(served.log_in("alice")["login"]) as alice:
            wanted = ask(alice, "POST", "/v1/requests", {"role": "writer", "duration_s": 60})["id"]
            ask(alice, "GET", "/v1/requestable")
            ask(alice, "POST", "/v1/requests/{id}/review", {"approve": True}, wanted)
        ask(http, "GET", "/v1/requests")
        ask(http, "GET", "/v1/requests/{id}", name="ar-none")
        ask(http, "POST", "/v1/requests/{id}/review", {"approve": True}, wanted)
        ask(http, "POST", "/v1/requests/{id}/revoke", {}, wanted)
        ask(http, "GET", "/v1/requests/{id}", name=wanted)
        ask(http, "POST", "/v1/logout")
        ask(http, "GET", "/v1/whoami")
    return found


def test_every_answer_is_as_described(own: Served, document: dict[str, Any]) -> None:
    asked = answers(own)

    for method, path, answer in asked:
        check(document, answer, method, path)
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in answer.headers
        assert "server" not in answer.headers
    seen = {(method, path) for method, path, _ in asked}
    assert seen == {(one.method, one.path) for one in OPERATIONS}
    good = {(method, path) for method, path, answer in asked if answer.status_code < 400}
    assert seen - good == {("POST", "/v1/login/certificate")}  # tests/web/test_certificates.py


def test_a_browser_is_told_no_by_silence(shared: Served) -> None:
    headers = {
        "Origin": "https://evil.example.com",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type,authorization",
    }
    with shared.client() as http:
        answer = http.options("/v1/login/device", headers=headers)

    assert answer.status_code == 405
    assert [name for name in answer.headers if name.startswith("access-control")] == []


DOCS = (Path(__file__).parents[2] / "docs/control-api.md").read_text("utf-8")


def test_every_call_and_every_code_of_the_api_is_in_the_docs() -> None:
    codes = {
        value
        for name, value in vars(problems).items()
        if name.isupper() and isinstance(value, str) and not name.startswith("_")
    }
    codes |= set(problems._STATUS)

    assert {"ambiguous", "taken", "locked"} <= codes
    assert [code for code in codes if f"`{code}`" not in DOCS] == []
    paths = [one.path for one in OPERATIONS]
    assert [path for path in paths if path not in DOCS] == []
