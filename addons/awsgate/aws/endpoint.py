"""Host -> AWS endpoint: whitelisted by model, never by suffix alone.

    resolve_endpoint("kms-fips.us-east-1.amazonaws.com") -> kms, us-east-1, aws

The model is botocore's own endpoint rules, folded into name patterns
(``services.json``, made by ``scripts/build_services.py``), plus the rule tables for
names that callers fill in (``endpoint_rules``). What is in neither is no endpoint:
``amazonaws.com`` also holds names that any customer can own.

Pure. A name says nothing about where it resolves to; see ``aws.addresses``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import resources

from awsgate.aws.endpoint_rules import (
    DATA_PLANE_LABELS,
    NAME_RULES,
    S3_RULES,
    S3_VPC_RULES,
    VPC_ENDPOINT,
    Rule,
    S3Kind,
)
from awsgate.aws.partitions import PARTITIONS, Partition


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An AWS endpoint and the credential scopes that fit it."""

    host: str
    """Normalised; what is dialled."""
    service: str
    """The first of ``signing_names``: AWS's own word for the service in a scope."""
    signing_names: tuple[str, ...]
    region: str
    """Empty: a global name, see ``regions``."""
    regions: tuple[str, ...]
    """Regions that may be signed for; empty: any of the partition."""
    partition: str
    protocol: str
    """As in ``aws.faults``; empty if several services with several protocols answer."""
    tenant_controlled: bool = False
    vpc_endpoint: bool = False
    kind: S3Kind = ""
    """What an S3 host answers for."""
    bucket: str = ""
    """What stands before S3's own name there; empty: it stands in the path."""


def _load() -> dict[str, tuple[tuple[str, ...], str, tuple[str, ...]]]:
    text = (resources.files("awsgate.aws") / "services.json").read_text("utf-8")
    return {
        name: (tuple(signing), protocol, tuple(regions))
        for name, (signing, protocol, regions) in json.loads(text)["names"].items()
    }


_NAMES = _load()

_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")


def normalise_host(host: str) -> str:
    """Give ``host`` in the one form that everything else compares.

    Lower-case, IDNA-encoded, without one trailing dot. Raises ``ValueError`` for
    anything that is not a DNS name of two labels or more: userinfo, port, IP
    literals in any notation (``127.1``, ``0x7f000001``), empty labels.
    """
    name = host
    if not name.isascii():
        with suppress(UnicodeError):  # what has no such form is no name: below
            name = name.encode("idna").decode("ascii")
    name = name.lower().removesuffix(".")
    labels = name.split(".")
    if len(name) > 253 or len(labels) < 2 or not all(map(_LABEL.fullmatch, labels)):
        raise ValueError("host is not a DNS name")
    # A last label that starts with a digit makes inet_aton read the name as a number.
    if labels[-1][0].isdigit():
        raise ValueError("host is an address, not a name")
    return name


@lru_cache(maxsize=4096)
def resolve_endpoint(host: str) -> Endpoint | None:
    """Give the endpoint of a normalised host, or None if AWS has no such endpoint."""
    for partition, left in _splits(host):
        found = _match(host, partition, left)
        if found is None:
            continue
        # Under a suffix that AWS gives to its customers only their names are known.
        if partition.tenant_suffix and host.endswith("." + partition.tenant_suffix):
            return found if found.tenant_controlled else None
        return found
    return None


def looks_like_aws(host: str) -> bool:
    """True if the normalised host lies under a suffix of AWS, endpoint or not."""
    return next(_splits(host), None) is not None


def is_data_plane(host: str) -> bool:
    """True for names under AWS's suffixes that are not AWS APIs but customers' own."""
    if resolve_endpoint(host) is not None:
        return False
    for partition, left in _splits(host):
        if partition.tenant_suffix and host.endswith("." + partition.tenant_suffix):
            return True
        labels = left.split(".")
        if not DATA_PLANE_LABELS.isdisjoint(labels) or "s3-website-" in left:
            return True
    return False


def scope_fits(endpoint: Endpoint, service: str, region: str) -> bool:
    """True if a request to ``endpoint`` may be signed for ``service`` in ``region``."""
    if service not in endpoint.signing_names:
        return False
    if endpoint.regions:
        return region in endpoint.regions
    return any(p.id == endpoint.partition and p.region.fullmatch(region) for p in PARTITIONS)


def bucket_of(endpoint: Endpoint) -> str | None:
    """Give the bucket that the host of an S3 endpoint names; empty: the path does.

    None: it is no public host of plain buckets (an access point, a VPC endpoint, S3 Control).
    """
    return endpoint.bucket if endpoint.kind == "bucket" and not endpoint.vpc_endpoint else None


_TENANT_SERVICES = frozenset({"aoss", "es", "osis", "appsync", "bedrock-agentcore"})


def _splits(host: str) -> Iterator[tuple[Partition, str]]:
    """Give each partition whose suffix ``host`` has, with what stands before it."""
    for partition in PARTITIONS:
        for suffix in (partition.dual_stack_suffix, partition.tenant_suffix, partition.suffix):
            if suffix and host.endswith("." + suffix):
                yield partition, host[: -len(suffix) - 1]
                break


def _match(host: str, partition: Partition, left: str) -> Endpoint | None:
    for rule in S3_RULES:
        matched = rule.pattern.fullmatch(left)
        if matched is not None:
            region = matched.groupdict().get("region") or rule.region
            if region and not partition.region.fullmatch(region):
                continue
            # The one partition of a suffix that a bare name belongs to is aws.
            if not region and partition.id == "aws-us-gov":
                continue
            return _from_rule(host, partition, region, rule, matched)
    name, region = _star(partition, left)
    if not region and _needs_region(partition, name):
        return None
    return _by_name(host, partition, name, region) or _vpc_endpoint(host, partition, name, region)


def _star(partition: Partition, left: str) -> tuple[str, str]:
    """Give the name with its last region label as ``*``, and that region."""
    labels = left.split(".")
    for i in reversed(range(len(labels))):
        if partition.region.fullmatch(labels[i]):
            region, labels[i] = labels[i], "*"
            return ".".join(labels), region
    return left, ""


def _needs_region(partition: Partition, name: str) -> bool:
    # amazonaws.com without a region is aws, unless the name says us-gov.
    return partition.id == "aws-us-gov" and not name.endswith(".us-gov")


def _by_name(host: str, partition: Partition, name: str, region: str) -> Endpoint | None:
    entry = _NAMES.get(name) or _NAMES.get("@." + name.partition(".")[2])
    if entry is not None:
        signing_names, protocol, regions = entry
        if region:
            regions = (region,)
        else:
            regions = tuple(r for r in regions if partition.region.fullmatch(r))
            if not regions:
                return None
        service = signing_names[0]
        return Endpoint(host, service, signing_names, region, regions, partition.id, protocol)
    for rule in NAME_RULES:
        if matched := rule.pattern.fullmatch(name):
            return _from_rule(host, partition, region, rule, matched)
    return None


def _from_rule(
    host: str, partition: Partition, region: str, rule: Rule, matched: re.Match[str]
) -> Endpoint:
    return Endpoint(
        host,
        rule.signing_names[0],
        rule.signing_names,
        region,
        (region,) if region else (),
        partition.id,
        rule.protocol,
        tenant_controlled=rule.tenant_controlled,
        kind=rule.kind,
        bucket=(matched.groupdict().get("bucket") or "").removesuffix("."),
    )


def _vpc_endpoint(host: str, partition: Partition, name: str, region: str) -> Endpoint | None:
    if not region:
        return None
    for rule in S3_VPC_RULES:
        if found := rule.pattern.fullmatch(name):
            return replace(_from_rule(host, partition, region, rule, found), vpc_endpoint=True)
    matched = VPC_ENDPOINT.fullmatch(name)
    if matched is None:
        return None
    service = matched["name"]
    names: tuple[str, ...]
    if service == "execute-api":
        names, protocol, tenant = ("execute-api",), "rest-json", True
    elif (entry := _NAMES.get(f"{service}.*")) is not None:
        # A VPC endpoint of these carries what customers run there.
        names, protocol, tenant = entry[0], entry[1], service in _TENANT_SERVICES
    else:
        return None
    return Endpoint(
        host,
        names[0],
        names,
        region,
        (region,),
        partition.id,
        protocol,
        tenant_controlled=tenant,
        vpc_endpoint=True,
    )
