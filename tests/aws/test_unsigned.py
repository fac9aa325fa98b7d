"""Operations that AWS takes unsigned: the table against every model of botocore's."""

from __future__ import annotations

from collections.abc import Iterator

import botocore.session
import pytest

from awsgate.aws.endpoint import resolve_endpoint
from awsgate.aws.unsigned import NAMED, ROUTED, names_in_body, unsigned_operation

# One path, told apart by its query from one that is signed: AWS refuses what is not.
SAME_PATH = {("signin", "CreateOAuth2TokenWithTokenExchange")}


def unsigned_in_botocore() -> Iterator[tuple[str, str, str, str]]:
    """Give (signing name, operation, method, path) of every unsigned operation."""
    session = botocore.session.get_session()
    for service in session.get_available_services():
        model = session.get_service_model(service)
        for name in model.operation_names:
            operation = model.operation_model(name)
            if operation.auth_type == "none":
                http = operation.http
                yield model.signing_name, name, http["method"], http["requestUri"]


def test_the_table_is_what_botocore_says() -> None:
    found = {(service, name) for service, name, _, _ in unsigned_in_botocore()}

    named = {(service, name) for service, names in NAMED.items() for name in names}
    routed = {(service, name) for (service, _, _), name in ROUTED.items()}
    assert named | routed | SAME_PATH == found
    assert not named & routed


def test_the_routes_are_those_of_botocore() -> None:
    paths = {
        (service, name): (method.encode(), path.partition("?")[0].encode())
        for service, name, method, path in unsigned_in_botocore()
    }

    for (service, method, path), name in ROUTED.items():
        assert paths[service, name] == (method, path)


@pytest.mark.parametrize(
    ("host", "method", "path", "named", "expected"),
    [
        ("cognito-idp.eu-west-1.amazonaws.com", b"POST", b"/", "InitiateAuth", "InitiateAuth"),
        ("cognito-idp.eu-west-1.amazonaws.com", b"POST", b"/", "AdminGetUser", ""),
        ("sts.amazonaws.com", b"POST", b"/", "AssumeRoleWithSAML", "AssumeRoleWithSAML"),
        ("sts.amazonaws.com", b"POST", b"/", "AssumeRole", ""),
        ("s3.amazonaws.com", b"GET", b"/federation/credentials", "GetId", ""),
        ("oidc.us-east-1.amazonaws.com", b"POST", b"/token", "", "CreateToken"),
        ("oidc.us-east-1.amazonaws.com", b"GET", b"/token", "", ""),
        ("oidc.us-east-1.amazonaws.com", b"POST", b"/token/", "", ""),
        ("portal.sso.us-east-1.amazonaws.com", b"GET", b"/federation/credentials", "",
         "GetRoleCredentials"),
    ],
)  # fmt: skip
def test_an_operation_is_known_by_service_and_name_together(
    host: str, method: bytes, path: bytes, named: str, expected: str
) -> None:
    found = resolve_endpoint(host)

    assert found is not None
    assert unsigned_operation(found, method=method, path=path, named=named) == expected
    assert names_in_body(found) == host.startswith("sts.")
