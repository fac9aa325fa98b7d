"""The gateway's own SAML metadata, for whoever sets up the provider."""

from __future__ import annotations

import yaml

from awsgate.connect.samlmetadata import sp_metadata
from awsgate.policy.connectors import Saml
from samlforge import document
from web.served import Served


def test_the_metadata_of_a_connector_is_there_for_anybody(own: Served) -> None:
    role = {"kind": "role", "version": "v5", "metadata": {"name": "admin"}, "spec": {}}
    own.take_policy(yaml.safe_dump_all([document(), role]))

    with own.client() as http:
        found = http.get("/v1/saml/metadata/corp")
        described = http.get("/v1/openapi.json").json()["paths"]

    assert found.status_code == 200
    assert found.headers["content-type"] == "application/samlmetadata+xml"
    assert found.content == sp_metadata(Saml.model_validate(document()))
    assert "/v1/saml/metadata/{name}" in described


def test_of_a_connector_that_is_none_there_is_nothing(shared: Served) -> None:
    with shared.client() as http:
        for name in ("nobody", "okta"):
            answer = http.get(f"/v1/saml/metadata/{name}")
            assert answer.status_code == 404
            assert f"there is no saml connector '{name}'" in answer.text
