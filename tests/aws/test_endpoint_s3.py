"""What each name of S3 answers for, and which bucket it names.

``kind`` decides which models a request is read by, and whether its answer may hold
credentials. Callers name buckets, so a bucket may be called as S3's own hosts are.
"""

from __future__ import annotations

import pytest

from awsgate.aws.endpoint import bucket_of, resolve_endpoint, scope_fits

VPCE = "vpce-1a2b3c4d-5e6f.s3.us-east-1.vpce.amazonaws.com"
ZONAL = "vpce-1a2b3c4d-5e6f-us-east-1a.s3.us-east-1.vpce.amazonaws.com"
HERE = "us-east-1.amazonaws.com"
PLAIN, XML = "rest-xml-s3", "rest-xml"

# host -> service, protocol, kind, bucket
NAMES = {
    f"s3.{HERE}": ("s3", PLAIN, "bucket", ""),
    f"mine.s3.{HERE}": ("s3", PLAIN, "bucket", "mine"),
    f"a.b.s3-fips.dualstack.{HERE}": ("s3", PLAIN, "bucket", "a.b"),
    "mine.s3-accelerate.amazonaws.com": ("s3", PLAIN, "bucket", "mine"),
    "mine.s3-external-1.amazonaws.com": ("s3", PLAIN, "bucket", "mine"),
    "mine.s3-us-west-2.amazonaws.com": ("s3", PLAIN, "bucket", "mine"),
    f"ap-123456789012.s3-accesspoint.{HERE}": ("s3", PLAIN, "accesspoint", "ap-123456789012"),
    "x.mrap.accesspoint.s3-global.amazonaws.com": ("s3", PLAIN, "accesspoint", "x.mrap"),
    f"s3-control.{HERE}": ("s3", XML, "control", ""),
    f"123456789012.s3-control-fips.dualstack.{HERE}": ("s3", XML, "control", ""),
    f"s3-outposts.{HERE}": ("s3-outposts", PLAIN, "accesspoint", ""),
    f"ap-1.op-01.s3-outposts.{HERE}": ("s3-outposts", PLAIN, "accesspoint", "ap-1.op-01"),
    f"ap-1.s3-object-lambda.{HERE}": ("s3-object-lambda", PLAIN, "accesspoint", "ap-1"),
    f"b--use1-az4--x-s3.s3express-use1-az4.{HERE}": (
        "s3express", PLAIN, "accesspoint", "b--use1-az4--x-s3"),
    f"s3express-control.{HERE}": ("s3express", PLAIN, "directories", ""),
    f"s3express-control-fips.dualstack.{HERE}": ("s3express", PLAIN, "directories", ""),
    # AWS PrivateLink for Amazon S3
    f"bucket.{VPCE}": ("s3", PLAIN, "bucket", ""),
    f"bucket.{ZONAL}": ("s3", PLAIN, "bucket", ""),
    f"mine.bucket.{VPCE}": ("s3", PLAIN, "bucket", "mine"),
    f"a.b.bucket.{ZONAL}": ("s3", PLAIN, "bucket", "a.b"),
    f"accesspoint.{VPCE}": ("s3", PLAIN, "accesspoint", ""),
    f"ap-123456789012.accesspoint.{ZONAL}": ("s3", PLAIN, "accesspoint", "ap-123456789012"),
    f"control.{VPCE}": ("s3", XML, "control", ""),
    f"123456789012.control.{ZONAL}": ("s3", XML, "control", ""),
    # buckets that are called as S3's own names are
    f"s3-control.s3.{HERE}": ("s3", PLAIN, "bucket", "s3-control"),
    f"s3-control-evil.s3.{HERE}": ("s3", PLAIN, "bucket", "s3-control-evil"),
    f"123456789012.s3-control.s3.{HERE}": ("s3", PLAIN, "bucket", "123456789012.s3-control"),
    f"s3express-control.s3.{HERE}": ("s3", PLAIN, "bucket", "s3express-control"),
    f"s3express-control.s3express-use1-az4.{HERE}": (
        "s3express", PLAIN, "accesspoint", "s3express-control"),
    f"ap.s3-accesspoint.s3.{HERE}": ("s3", PLAIN, "bucket", "ap.s3-accesspoint"),
    f"control.vpce-1a-2b.s3.{HERE}": ("s3", PLAIN, "bucket", "control.vpce-1a-2b"),
    f"control.bucket.{VPCE}": ("s3", PLAIN, "bucket", "control"),
    f"accesspoint.bucket.{VPCE}": ("s3", PLAIN, "bucket", "accesspoint"),
    f"control.vpce-1-2.bucket.{VPCE}": ("s3", PLAIN, "bucket", "control.vpce-1-2"),
    f"bucket.accesspoint.{VPCE}": ("s3", PLAIN, "accesspoint", "bucket"),
}  # fmt: skip


@pytest.mark.parametrize(("host", "expected"), NAMES.items(), ids=NAMES)
def test_each_name_of_s3_is_told_by_its_form(host: str, expected: tuple[str, ...]) -> None:
    found = resolve_endpoint(host)

    assert found is not None
    assert (found.service, found.protocol, found.kind, found.bucket) == expected
    assert found.vpc_endpoint is host.endswith(".vpce.amazonaws.com")
    plain = found.kind == "bucket" and not found.vpc_endpoint
    assert bucket_of(found) == (found.bucket if plain else None)
    assert scope_fits(found, found.service, found.region or "eu-west-1")


@pytest.mark.parametrize(
    "host",
    [
        VPCE,  # every call has a word before it
        f"mine.{VPCE}",
        f"x.control.{VPCE}",
        f"12345.control.{VPCE}",
        f"a.b.accesspoint.{VPCE}",
        f"control.bucket.control.{VPCE}",
        "bucket.vpce-1a-2b.s3.dualstack.us-east-1.vpce.amazonaws.com",
        "bucket.vpce-1a-2b.s3-fips.us-east-1.vpce.amazonaws.com",
        "bucket.vpce-1a-2b.execute-api.us-east-1.vpce.amazonaws.com",
        "control.vpce-1a-2b.sts.us-east-1.vpce.amazonaws.com",
        "bucket.vpce-1a-2b.vpce-svc-0123456789abcdef0.us-east-1.vpce.amazonaws.com",
        f"mine.s3-control.{HERE}",
        f"mine.s3express-control.{HERE}",
    ],
)
def test_what_s3_has_no_name_for_is_no_endpoint(host: str) -> None:
    assert resolve_endpoint(host) is None


@pytest.mark.parametrize(
    ("name", "service", "tenant"),
    [
        ("sts", "sts", False),
        ("ssm", "ssm", False),
        ("api.ecr", "ecr", False),
        ("eks-auth", "eks-auth", False),
        ("s3-outposts", "s3-outposts", False),
        ("execute-api", "execute-api", True),
    ],
)
def test_other_services_have_the_id_first(name: str, service: str, tenant: bool) -> None:
    for vpce in ("vpce-1a2b3c4d-5e6f", "vpce-1a2b3c4d-5e6f-us-east-1a"):
        found = resolve_endpoint(f"{vpce}.{name}.us-east-1.vpce.amazonaws.com")

        assert found is not None
        assert (found.service, found.kind, found.tenant_controlled) == (service, "", tenant)
        assert found.vpc_endpoint
