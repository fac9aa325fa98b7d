"""The names of AWS, for people: compared with botocore's, and with the access levels."""

from __future__ import annotations

import botocore.session
import pytest

from awsgate.aws.call import call_of
from awsgate.aws.catalogue import (
    actions_of,
    actions_without_resource,
    iam_prefixes,
    operation_actions,
    similar,
    tenant_service,
)
from awsgate.aws.endpoint import resolve_endpoint
from awsgate.aws.operations import level_of


def test_every_action_has_its_level() -> None:
    actions = [f"{prefix}:{name}" for prefix in iam_prefixes() for name in actions_of(prefix)]

    assert len(actions) > 15_000
    assert [action for action in actions if level_of(action) is None] == []


def test_what_aws_does_not_have_has_no_actions() -> None:
    assert actions_of("s33") == ()
    assert actions_of("../levels/s3") == ()
    assert operation_actions("s3", "GetObjekt") is None
    assert operation_actions("s33", "GetObject") is None


def test_operations_are_those_of_botocore() -> None:
    model = botocore.session.get_session().get_service_model("dynamodb")

    for name in model.operation_names:
        found = operation_actions("dynamodb", name.lower())
        assert found is not None, name
        assert found[0] == name


# Sources: "Actions, resources, and condition keys" of each, Service Authorization Reference.
OPERATIONS = {
    ("s3", "ListObjectsV2"): ("s3:ListBucket",),
    ("s3", "HeadObject"): ("s3:GetObject",),
    ("s3", "CopyObject"): ("s3:PutObject", "s3:GetObject"),
    ("lambda", "Invoke"): ("lambda:InvokeFunction",),
    ("ec2", "RunInstances"): ("ec2:RunInstances",),
}


@pytest.mark.parametrize(("named", "actions"), OPERATIONS.items())
def test_the_actions_of_an_operation(named: tuple[str, str], actions: tuple[str, ...]) -> None:
    assert operation_actions(*named) == (named[1], actions)


def test_actions_without_a_resource() -> None:
    without = actions_without_resource("s3")

    assert "s3:listallmybuckets" in without
    # With one; with one in another operation of the same action; and of no operation.
    assert without.isdisjoint({"s3:getobject", "s3:listbucket", "s3:getobjectversion"})


def test_similar_names() -> None:
    assert similar("getobjekt", ["PutObject", "GetObject"]) == "GetObject"
    assert similar("zzz", ["PutObject", "GetObject"]) == ""


HOSTS = (
    ("a.execute-api.eu-west-1.amazonaws.com", "GET", b"/p/x"),
    ("a.execute-api.eu-west-1.amazonaws.com", "POST", b"/p/@connections/x"),
    ("a.lambda-url.eu-west-1.on.aws", "POST", b"/p/x"),
    ("search-a-b.eu-west-1.es.amazonaws.com", "PUT", b"/p/x"),
    ("a.eu-west-1.aoss.amazonaws.com", "POST", b"/p/x"),
    ("abcdefghijklmnopqrstuvwxyz.appsync-api.eu-west-1.amazonaws.com", "POST", b"/p/x"),
    ("a-0123.b.vpc-lattice-svcs.eu-west-1.on.aws", "GET", b"/p/x"),
)


@pytest.mark.parametrize(("host", "method", "target"), HOSTS)
def test_actions_of_endpoints_that_anybody_can_own(host: str, method: str, target: bytes) -> None:
    """What the gate counts as such an endpoint, ``awsgate explain`` must too."""
    endpoint = resolve_endpoint(host)
    assert endpoint is not None
    assert endpoint.tenant_controlled
    call = call_of(
        endpoint, signing_name="", method=method, target=target, headers={}, body=None, account=""
    )

    assert [tenant_service(action) for action in call.actions] == [endpoint.service]


def test_actions_of_aws_itself_are_none_of_these() -> None:
    assert tenant_service("s3:GetObject") == ""
    assert tenant_service("es:DescribeDomain") == ""
