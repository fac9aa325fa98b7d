"""``awsgate eks-token``: what kubectl's ``exec`` asks for, signed by the gateway.

A token is a URL that is signed on the client; ``aws eks get-token`` signs it with gateway
keys, which no cluster takes.
"""

from __future__ import annotations

import json
import os
from typing import Annotated

import typer

from awsgate.cli.ordering import RegionOption, ordered, region_meant

API = "client.authentication.k8s.io/"
VERSIONS = ("v1beta1", "v1", "v1alpha1")
"""Of ExecCredential; the first is what every kubectl knows."""


def eks_token(
    cluster_name: Annotated[str, typer.Option(help="Name of the EKS cluster.")],
    region: RegionOption = "",
) -> None:
    """Print a token for an EKS cluster, as kubectl's exec wants it; exit 1 if the policy says no.

    Example: awsgate eks-token --cluster-name dev --region eu-west-1
    """
    answer = ordered(region_meant(region), {"kind": "eks", "cluster": cluster_name})
    status = {"expirationTimestamp": answer["expires"], "token": answer["token"]}
    said = {"kind": "ExecCredential", "apiVersion": _api(), "spec": {}, "status": status}
    print(json.dumps(said))


def _api() -> str:
    """Give the version that kubectl asks for: it takes no other."""
    try:
        asked = json.loads(os.environ.get("KUBERNETES_EXEC_INFO", ""))["apiVersion"]
    except (ValueError, KeyError, TypeError):
        asked = None
    known = {API + version for version in VERSIONS}
    return asked if asked in known else API + VERSIONS[0]
