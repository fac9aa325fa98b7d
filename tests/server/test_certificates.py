"""Which name the certificate for a host bears: a wildcard only where it covers the host."""

from __future__ import annotations

import pytest

from awsgate.server.certificates import covering_name

CASES = {
    "a bucket": ("b-1.s3.eu-west-1.amazonaws.com", "*.s3.eu-west-1.amazonaws.com"),
    "a bucket, without region": ("bucket.s3.amazonaws.com", "*.s3.amazonaws.com"),
    "dual-stack": (
        "bucket.s3.dualstack.us-east-1.amazonaws.com", "*.s3.dualstack.us-east-1.amazonaws.com",
    ),
    "the old dash": ("bucket.s3-us-west-2.amazonaws.com", "*.s3-us-west-2.amazonaws.com"),
    "China": ("bucket.s3.cn-north-1.amazonaws.com.cn", "*.s3.cn-north-1.amazonaws.com.cn"),
    "a bucket with dots: a star is one label": (
        "a.b.s3.eu-west-1.amazonaws.com", "a.b.s3.eu-west-1.amazonaws.com",
    ),
    "the service itself": ("s3.eu-west-1.amazonaws.com", "s3.eu-west-1.amazonaws.com"),
    "another service": ("dynamodb.eu-west-1.amazonaws.com", "dynamodb.eu-west-1.amazonaws.com"),
    "no host of AWS's": ("b.s3.amazonaws.com.evil.example", "b.s3.amazonaws.com.evil.example"),
    "nothing": ("", ""),
}  # fmt: skip


@pytest.mark.parametrize(("host", "name"), CASES.values(), ids=CASES)
def test_covering_name(host: str, name: str) -> None:
    assert covering_name(host) == name
