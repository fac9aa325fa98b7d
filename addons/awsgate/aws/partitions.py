"""The partitions of AWS: suffixes, region names, where each keeps its global services.

One row a partition. ``aws`` and ``aws-us-gov`` share their suffixes; the region, or
the label ``us-gov``, tells them apart.

Source: botocore's ``partitions.json`` and ``endpoints.json``;
``tests/aws/test_partitions.py`` compares them with the installed botocore.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition. Suffixes carry no leading dot."""

    id: str
    region: re.Pattern[str]
    """Matches every region of the partition, also ones that do not exist yet."""
    suffix: str
    dual_stack_suffix: str
    tenant_suffix: str
    """Function URLs and other names that belong to customers; empty: none."""
    global_region: str
    """Where STS is called for a target that names no region."""


def _row(name: str, region: str, suffix: str, dual: str, home: str, tenants: str = "") -> Partition:
    return Partition(name, re.compile(region), suffix, dual, tenants, home)


PARTITIONS: tuple[Partition, ...] = (
    # us-gov before aws: its regions fit the pattern of aws as well.
    _row("aws-us-gov", r"us-gov-[a-z]+-\d+", "amazonaws.com", "api.aws", "us-gov-west-1", "on.aws"),
    _row(
        "aws",
        r"(?!us-(?:gov|iso[a-z]?)-|eu-isoe-)(?:us|eu|ap|sa|ca|me|af|il|mx)-[a-z]+-\d+",
        "amazonaws.com",
        "api.aws",
        "us-east-1",
        "on.aws",
    ),
    _row(
        "aws-cn",
        r"cn-[a-z]+-\d+",
        "amazonaws.com.cn",
        "api.amazonwebservices.com.cn",
        "cn-northwest-1",
        "on.amazonwebservices.com.cn",
    ),
    _row(
        "aws-eusc",
        r"eusc-de-[a-z]+-\d+",
        "amazonaws.eu",
        "api.amazonwebservices.eu",
        "eusc-de-east-1",
        "on.amazonwebservices.eu",
    ),
    _row("aws-iso", r"us-iso-[a-z]+-\d+", "c2s.ic.gov", "api.aws.ic.gov", "us-iso-east-1"),
    _row("aws-iso-b", r"us-isob-[a-z]+-\d+", "sc2s.sgov.gov", "api.aws.scloud", "us-isob-east-1"),
    _row(
        "aws-iso-e",
        r"eu-isoe-[a-z]+-\d+",
        "cloud.adc-e.uk",
        "api.cloud-aws.adc-e.uk",
        "eu-isoe-west-1",
    ),
    _row(
        "aws-iso-f",
        r"us-isof-[a-z]+-\d+",
        "csp.hci.ic.gov",
        "api.aws.hci.ic.gov",
        "us-isof-south-1",
    ),
)

_KNOWN_REGIONS = """
af-south-1 ap-east-1 ap-east-2 ap-northeast-1 ap-northeast-2 ap-northeast-3 ap-south-1
ap-south-2 ap-southeast-1 ap-southeast-2 ap-southeast-3 ap-southeast-4 ap-southeast-5
ap-southeast-6 ap-southeast-7 ca-central-1 ca-west-1 eu-central-1 eu-central-2
eu-north-1 eu-south-1 eu-south-2 eu-west-1 eu-west-2 eu-west-3 il-central-1
me-central-1 me-south-1 me-west-1 mx-central-1 sa-east-1 sa-west-1 us-east-1 us-east-2
us-west-1 us-west-2 cn-north-1 cn-northwest-1 eusc-de-east-1 us-iso-east-1
us-iso-west-1 us-isob-east-1 us-isob-west-1 eu-isoe-west-1 us-isof-east-1
us-isof-south-1 us-gov-east-1 us-gov-west-1
"""
KNOWN_REGIONS = frozenset(_KNOWN_REGIONS.split())
"""Regions of the installed botocore's day. Newer ones work too; this set bounds what is
kept per region (STS clients, credentials, metric labels), since callers make up names."""

BY_ID = {partition.id: partition for partition in PARTITIONS}


def all_suffixes() -> tuple[str, ...]:
    """Give every suffix of every partition, once each: what the CA may speak for."""
    found = dict.fromkeys(
        suffix
        for p in PARTITIONS
        for suffix in (p.suffix, p.dual_stack_suffix, p.tenant_suffix)
        if suffix
    )
    return tuple(found)


def region_partition(region: str) -> Partition | None:
    """Give the partition that a region name belongs to."""
    for partition in PARTITIONS:
        if partition.region.fullmatch(region):
            return partition
    return None
