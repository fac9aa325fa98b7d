"""``awsgate ca``: show and rotate the CA that clients trust."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import typer

from awsgate.aws.partitions import all_suffixes
from awsgate.ca import CertificateAuthority, ensure_ca, rotate_ca
from awsgate.cli.options import CertsOption, JsonOption, certs_folder
from awsgate.timestamps import utc_seconds

app = typer.Typer(help="Show and rotate the CA that clients trust.", no_args_is_help=True)


@app.command()
def show(certs: CertsOption = None, as_json: JsonOption = False) -> None:
    """Show the CA, and make it if there is none.

    Example: awsgate ca show
    """
    folder = certs_folder(certs)
    _print(ensure_ca(folder, suffixes=all_suffixes(), now=datetime.now(UTC)), as_json)


@app.command()
def rotate(certs: CertsOption = None, as_json: JsonOption = False) -> None:
    """Make a new CA; the old root stays trusted in the bundles until it ends.

    Restart the gateway, then hand out the bundles again.

    Example: awsgate ca rotate
    """
    folder = certs_folder(certs)
    _print(rotate_ca(folder, suffixes=all_suffixes(), now=datetime.now(UTC)), as_json)


def _print(ca: CertificateAuthority, as_json: bool) -> None:
    rows = {
        "root": str(ca.root_cert),
        "bundle": str(ca.bundle),
        "fingerprint": ca.fingerprint,
        "not_after": utc_seconds(ca.not_after),
        "warnings": list(ca.warnings),
    }
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    print(f"root         {ca.root_cert}  (NODE_EXTRA_CA_CERTS)")
    print(f"bundle       {ca.bundle}  (AWS_CA_BUNDLE, SSL_CERT_FILE, ...)")
    print(f"fingerprint  SHA-256 {ca.fingerprint}")
    print(f"good until   {ca.not_after:%Y-%m-%d}")
    for warning in ca.warnings:
        print(f"warning      {warning}")
