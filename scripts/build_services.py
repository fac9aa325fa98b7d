"""Build ``aws/services.json``: every endpoint name that botocore can make, and its scope.

Run it with the project's Python after an upgrade of boto3, and commit the result:

    .venv/bin/python scripts/build_services.py

Each service's own endpoint rules are evaluated for every region and variant, and
the hosts are folded into name patterns: the DNS suffix goes, the region becomes
``*``, a label that the caller fills becomes ``@``. S3 is left to the rule table.
"""

from __future__ import annotations

import itertools
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import botocore
from botocore.endpoint_provider import EndpointProvider
from botocore.exceptions import EndpointProviderError
from botocore.loaders import Loader

TARGET = Path(__file__).parent.parent / "addons/awsgate/aws/services.json"
S3_FAMILY = frozenset({"s3", "s3control"})

# Signed for a service that no botocore client is named after.
EXTRA = {
    "queue": [["sqs"], "json", "us-east-1"],
    "*.queue": [["sqs"], "json", ""],
    "importexport": [["importexport"], "query", "us-east-1"],
}

loader = Loader()
partitions = loader.load_data("partitions")["partitions"]
classic_data = {p["partition"]: p for p in loader.load_data("endpoints")["partitions"]}


def regions_of(partition: dict[str, Any]) -> list[str]:
    """Give the partition's regions and its global pseudo region."""
    return sorted(partition["regions"])


def hosts_by_rules(
    service: str, names: set[str]
) -> Iterator[tuple[dict[str, Any], str, set[str], str]]:
    """Give (partition, host, signing names, signing region) by the service's rule set."""
    rules = loader.load_service_model(service, "endpoint-rule-set-1")
    provider = EndpointProvider(rules, loader.load_data("partitions"))
    for partition in partitions:
        for region, fips, dual in itertools.product(
            regions_of(partition), (False, True), (False, True)
        ):
            given = {"Region": region, "UseFIPS": fips, "UseDualStack": dual}
            params = {k: v for k, v in given.items() if k in rules["parameters"]}
            if "UseGlobalEndpoint" in rules["parameters"]:
                params["UseGlobalEndpoint"] = False
            try:
                found = provider.resolve_endpoint(**params)
            except EndpointProviderError:
                continue
            schemes = found.properties.get("authSchemes", [{}])
            signing = {s["signingName"] for s in schemes if "signingName" in s} or names
            signing_region = next((s["signingRegion"] for s in schemes if "signingRegion" in s), "")
            yield partition, urlsplit(found.url).hostname or "", set(signing), signing_region


def hosts_by_data(prefix: str) -> Iterator[tuple[dict[str, Any], str, str]]:
    """Give (partition, host, signing region) of the older data file: legacy global names."""
    for partition in partitions:
        data = classic_data.get(partition["id"], {}).get("services", {}).get(prefix, {})
        for endpoint in data.get("endpoints", {}).values():
            host = endpoint.get("hostname")
            if host:
                yield partition, host, endpoint.get("credentialScope", {}).get("region", "")


def split_host(partition: dict[str, Any], host: str) -> tuple[str, str] | None:
    """Give (pattern, region) of a host, or None for a suffix that is not AWS's API."""
    out = partition["outputs"]
    for suffix in (out["dualStackDnsSuffix"], out["dnsSuffix"]):
        if host.endswith("." + suffix):
            labels = host[: -len(suffix) - 1].split(".")
            break
    else:
        return None
    region = ""
    for i in reversed(range(len(labels))):
        if re.match(partition["regionRegex"], labels[i]):
            region, labels[i] = labels[i], "*"
            break
    return ".".join(labels), region


def prefixes(model: dict[str, Any]) -> set[str]:
    """Give the host prefixes of a service's operations; ``@`` for a placeholder label."""
    found = {o.get("endpoint", {}).get("hostPrefix", "") for o in model["operations"].values()}
    return {re.sub(r"\{\w+\}", "@", prefix) for prefix in found}


def main() -> None:
    """Write the file."""
    table: dict[str, tuple[set[str], set[str], set[str]]] = {}

    def add(pattern: str, region: str, names: set[str], protocol: str, signing_region: str) -> None:
        entry = table.setdefault(pattern, (set(), set(), set()))
        entry[0].update(names)
        entry[1].add(protocol)
        if not region and signing_region:
            entry[2].add(signing_region)

    for service in loader.list_available_services("service-2"):
        if service in S3_FAMILY:
            continue
        model = loader.load_service_model(service, "service-2")
        meta = model["metadata"]
        prefix = meta["endpointPrefix"]
        names = {meta.get("signingName", prefix)}
        protocol = meta["protocol"].replace("smithy-rpc-v2-cbor", "cbor")
        # The plain regional name is what a client without rules falls back to.
        add(f"{prefix}.*", "any", names, protocol, "")
        hosts = [
            (p, h, n, r or p["outputs"]["implicitGlobalRegion"])
            for p, h, n, r in hosts_by_rules(service, names)
        ]
        hosts += [(p, h, names, r) for p, h, r in hosts_by_data(prefix)]
        for partition, host, signing, signing_region in hosts:
            found = split_host(partition, host)
            if found is None or re.search(
                r"aws(-[a-z]+)*-global", found[0]
            ):  # pseudo regions name no host
                continue
            for extra in {"", *prefixes(model)}:
                add(extra + found[0], found[1], signing, protocol, signing_region)
    for pattern, (names, protocol, region) in EXTRA.items():
        add(pattern, "", set(names), protocol, region)
    hosts_out = {
        # Several services may share a name (rds, docdb, neptune); where their
        # protocols differ, the wire says which it is.
        pattern: [
            sorted(names),
            "".join(protocols) if len(protocols) == 1 else "",
            sorted(regions),
        ]
        for pattern, (names, protocols, regions) in sorted(table.items())
    }
    lines = [f"    {json.dumps(k)}: {json.dumps(v)}" for k, v in hosts_out.items()]
    services = json.dumps(loader.list_available_services("service-2"))
    text = (
        f'{{\n  "botocore": "{botocore.__version__}",\n  "services": {services},\n  "names": {{\n'
        + ",\n".join(lines)
        + "\n  }\n}\n"
    )
    TARGET.write_text(text)
    sys.stderr.write(f"{len(hosts_out)} names, {len(text)} bytes\n")


if __name__ == "__main__":
    main()
