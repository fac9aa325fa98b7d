"""The endpoint model against botocore's own resolver and the hosts of the boto3 table.

And against names that any customer can own.
"""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import botocore
import pytest
from botocore.exceptions import BotoCoreError
from botocore.session import Session

from awsgate.aws.endpoint import (
    is_data_plane,
    looks_like_aws,
    normalise_host,
    resolve_endpoint,
    scope_fits,
)

VECTORS = Path(__file__).parent / "vectors"


def captured() -> list[tuple[str, str, str]]:
    lines = (VECTORS / "boto3_endpoints.tsv").read_text("utf-8").splitlines()
    rows = [tuple(line.split("\t")) for line in lines if not line.startswith("#")]
    assert len(rows) > 80
    return rows  # type: ignore[return-value]


@pytest.mark.parametrize(("operation", "host", "scope"), captured())
def test_every_host_of_the_boto3_table_is_an_endpoint_for_its_scope(
    operation: str, host: str, scope: str
) -> None:
    found = resolve_endpoint(host)

    assert found is not None, operation
    region, _, service = scope.partition("/")
    assert service in found.signing_names
    if region != "region-set=*":
        assert scope_fits(found, service, region)
        assert not scope_fits(found, service + "x", region)
        assert not scope_fits(found, service, "zz-fake-9")


REGIONS = ("us-east-1", "eu-central-1", "cn-north-1", "us-gov-west-1", "us-iso-east-1",
           "us-isob-east-1", "eu-isoe-west-1", "us-isof-south-1", "eusc-de-east-1")  # fmt: skip


def test_every_service_that_boto3_knows_resolves_in_every_partition() -> None:
    """The oracle is the client itself: the host it would send to, the scope it signs."""
    session = Session()
    missing = []
    checked = 0
    model = json.loads((resources.files("awsgate.aws") / "services.json").read_text("utf-8"))
    for service in session.get_available_services():
        if service not in model["services"]:
            # A younger boto3: scripts/build_services.py has not been run since.
            assert botocore.__version__ != model["botocore"]
            continue
        for region in REGIONS:
            try:
                client = session.create_client(
                    service, region_name=region, aws_access_key_id="x", aws_secret_access_key="x"
                )
            except BotoCoreError:
                continue
            host = client.meta.endpoint_url.partition("://")[2]
            name = client.meta.service_model.signing_name
            checked += 1
            found = resolve_endpoint(host)
            if found is None or name not in found.signing_names:
                missing.append((service, host, name))
    assert checked > 3000
    assert missing == []


TENANT_OWNED = (
    "ec2-203-0-113-25.compute-1.amazonaws.com",
    "ec2-203-0-113-25.us-west-2.compute.amazonaws.com",
    "my-lb-1234567890.us-east-1.elb.amazonaws.com",
    "internal-lb-1.us-west-2.elb.amazonaws.com",
    "bucket.s3-website-us-east-1.amazonaws.com",
    "bucket.s3-website.eu-central-1.amazonaws.com",
    "mydb.abcdefgh.us-east-1.rds.amazonaws.com",
    "c.abcdef.0001.use1.cache.amazonaws.com",
    "cluster.abc.us-east-1.redshift.amazonaws.com",
    "ABCDEF.gr7.us-east-1.eks.amazonaws.com",
    "123456789012.dkr.ecr.us-east-1.amazonaws.com",
    "vpce-0abc-def.vpce-svc-0123456789abcdef0.us-east-1.vpce.amazonaws.com",
    "x.vpc-lattice-svcs.example.on.aws",
)
UNDER_A_CUSTOMERS_SUFFIX = (
    "sts.on.aws",
    "kms.us-east-1.on.aws",
    "evil.s3.on.aws",
    "s3.us-east-1.on.aws",
)


@pytest.mark.parametrize("host", [*TENANT_OWNED, *UNDER_A_CUSTOMERS_SUFFIX])
def test_names_that_any_customer_can_own_are_not_endpoints(host: str) -> None:
    assert resolve_endpoint(host.lower()) is None


NO_ENDPOINTS = (
    "amazonaws.com",
    "us-east-1.amazonaws.com",
    "evil-amazonaws.com",
    "sts.us-east-1.amazonaws.com.evil.example",
    "sts.us-east-1.evilamazonaws.com",
    "sts.us-east-1.amazonaws.com.cn",
    "sts.cn-north-1.amazonaws.com",
    "evil.sts.us-east-1.amazonaws.com",
    "sts.evil.us-east-1.amazonaws.com",
    "nosuchservice.us-east-1.amazonaws.com",
    "sts.us-east-1.us-west-2.amazonaws.com",
    "iam.us-gov-west-1.iam.us-gov.amazonaws.com",
    "api.aws",
    "s3.us-iso-east-1.amazonaws.com",
    "example.com",
    "localhost.localdomain",
)


@pytest.mark.parametrize("host", NO_ENDPOINTS)
def test_names_near_an_endpoint_are_none(host: str) -> None:
    assert resolve_endpoint(host) is None


FORMS = {
    # host: (service, region, partition, tenant-controlled, VPC endpoint)
    "s3.amazonaws.com": ("s3", "", "aws", False, False),
    "a.b.us-west-2.s3.amazonaws.com": ("s3", "", "aws", False, False),
    "bkt.s3-us-west-2.amazonaws.com": ("s3", "us-west-2", "aws", False, False),
    "s3-fips-us-gov-west-1.amazonaws.com": ("s3", "us-gov-west-1", "aws-us-gov", False, False),
    "bkt.s3.dualstack.cn-north-1.amazonaws.com.cn": ("s3", "cn-north-1", "aws-cn", False, False),
    "bkt.s3-accelerate.dualstack.amazonaws.com": ("s3", "", "aws", False, False),
    "s3-external-1.amazonaws.com": ("s3", "us-east-1", "aws", False, False),
    "iam.us-gov.amazonaws.com": ("iam", "", "aws-us-gov", False, False),
    "transcribestreaming.eu-west-1.amazonaws.com": (
        "transcribe", "eu-west-1", "aws", False, False),
    "eice-0a1b.2c3d.ec2-instance-connect-endpoint.us-east-1.amazonaws.com": (
        "ec2-instance-connect", "us-east-1", "aws", False, False),
    "m-1234abcd.kinesisvideo.us-west-2.amazonaws.com": (
        "kinesisvideo", "us-west-2", "aws", False, False),
    "us-west-2.queue.amazonaws.com": ("sqs", "us-west-2", "aws", False, False),
    "abc.execute-api.eu-west-1.amazonaws.com": ("execute-api", "eu-west-1", "aws", True, False),
    "abc.lambda-url.eu-west-1.on.aws": ("lambda", "eu-west-1", "aws", True, False),
    "search-d-abc.us-east-1.es.amazonaws.com": ("es", "us-east-1", "aws", True, False),
    "abc.us-east-1.aoss.amazonaws.com": ("aoss", "us-east-1", "aws", True, False),
    "abc.appsync-api.us-east-1.amazonaws.com": ("appsync", "us-east-1", "aws", True, False),
    "vpce-0a-b-us-east-1a.sts.us-east-1.vpce.amazonaws.com": (
        "sts", "us-east-1", "aws", False, True),
    "bkt.bucket.vpce-0a-b.s3.us-east-1.vpce.amazonaws.com": (
        "s3", "us-east-1", "aws", False, True),
    "vpce-0a-b.execute-api.us-east-1.vpce.amazonaws.com": (
        "execute-api", "us-east-1", "aws", True, True),
}  # fmt: skip


@pytest.mark.parametrize(("host", "expected"), FORMS.items(), ids=FORMS)
def test_each_form_of_name_is_read_right(host: str, expected: tuple[object, ...]) -> None:
    found = resolve_endpoint(host)

    assert found is not None
    assert (
        found.service, found.region, found.partition, found.tenant_controlled, found.vpc_endpoint
    ) == expected  # fmt: skip


def test_scope_of_a_global_host_is_its_home_region() -> None:
    iam = resolve_endpoint("iam.amazonaws.com")

    assert iam is not None
    assert scope_fits(iam, "iam", "us-east-1")
    assert not scope_fits(iam, "iam", "eu-west-1")


def test_scope_of_global_s3_is_any_region_of_its_partition() -> None:
    s3 = resolve_endpoint("bkt.s3.amazonaws.com")

    assert s3 is not None
    assert scope_fits(s3, "s3", "eu-west-1")
    assert not scope_fits(s3, "s3", "cn-north-1")


@pytest.mark.parametrize("host", TENANT_OWNED[:-2])
def test_customers_machines_are_data_plane(host: str) -> None:
    assert looks_like_aws(host.lower())
    assert is_data_plane(host.lower())


def test_an_api_that_shares_a_word_with_a_data_plane_is_an_api() -> None:
    for host in ("eks.us-east-1.amazonaws.com", "rds.us-east-1.amazonaws.com"):
        assert not is_data_plane(host)
        assert resolve_endpoint(host) is not None


NORMAL = {
    "STS.us-east-1.AmazonAWS.com": "sts.us-east-1.amazonaws.com",
    "sts.us-east-1.amazonaws.com.": "sts.us-east-1.amazonaws.com",
    "bücher.example": "xn--bcher-kva.example",
}


@pytest.mark.parametrize(("host", "expected"), NORMAL.items(), ids=NORMAL)
def test_a_host_has_one_form(host: str, expected: str) -> None:
    assert normalise_host(host) == expected


@pytest.mark.parametrize(
    "host",
    ["", "localhost", "a..b", "a.b..", "-a.example", "127.0.0.1", "127.1", "0x7f.1", "1.2.3.0x4",
     "user@a.example", "a.example:443", "[::1]", "::1", "a b.example", "a.example/", "a.%00b",
     "a" * 64 + ".example", "a." * 130 + "example", "\ud800.example", "\u212a..example",
     "\u212a.\ud800", "bücher" * 20 + ".example"],
)  # fmt: skip
def test_what_is_no_dns_name_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match="host is"):
        normalise_host(host)
