"""``awsgate ca``: show and rotate the CA that clients trust."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import typer

from awsgate.aws.partitions import all_suffixes
from awsgate.ca import CertificateAuthority, ensure_ca, rotate_ca
from awsgate.cli.options import CertsOption, JsonOption, PolicyOption, certs_folder, policy_path
from awsgate.errors import SetupError
from awsgate.policyfile import load_policy
from awsgate.servercert import ServerCertificate, certificate_for, renew_server_certificate
from awsgate.timestamps import utc_seconds

app = typer.Typer(help="Show and rotate the CA that clients trust.", no_args_is_help=True)


@app.command()
def show(
    certs: CertsOption = None, policy: PolicyOption = None, as_json: JsonOption = False
) -> None:
    """Show the CA, and make it if there is none.

    If clients speak TLS to the gateway itself (tls, names or control of kind: gateway),
    the pin is that of its own certificate: awsgate login --ca-pin takes it.

    Example: awsgate ca show
    """
    folder, now = certs_folder(certs), datetime.now(UTC)
    own = _own(folder, policy_path(policy), now, asked=policy is not None)
    _print(ensure_ca(folder, suffixes=all_suffixes(), now=now), own, as_json)


def _own(folder: Path, policy: Path, now: datetime, *, asked: bool) -> ServerCertificate | None:
    """Give the gateway's own certificate. Without a policy there is nothing to go by."""
    if not (asked or policy.exists()):
        return None
    try:
        rules = load_policy(policy)
    except SetupError as exc:
        if asked:
            raise
        sys.stderr.write(f"awsgate: warning: no pin: {exc.message} (awsgate check)\n")
        return None
    return certificate_for(folder, rules.gateway, now=now)


@app.command()
def rotate(certs: CertsOption = None, as_json: JsonOption = False) -> None:
    """Make a new CA; the old root stays trusted in the bundles until it ends.

    The certificate of the gateway itself is made anew too, and has a new pin.
    Restart the gateway, then hand out the bundles again.

    Example: awsgate ca rotate
    """
    folder, now = certs_folder(certs), datetime.now(UTC)
    own = renew_server_certificate(folder, now=now)
    _print(rotate_ca(folder, suffixes=all_suffixes(), now=now), own, as_json)


def _print(ca: CertificateAuthority, own: ServerCertificate | None, as_json: bool) -> None:
    warnings = [*ca.warnings, *(own.warnings if own is not None else ())]
    rows = {
        "root": str(ca.root_cert),
        "bundle": str(ca.bundle),
        "fingerprint": ca.fingerprint,
        "not_after": utc_seconds(ca.not_after),
        "pin": own.pin if own is not None else "",
        "warnings": warnings,
    }
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    print(f"root         {ca.root_cert}  (NODE_EXTRA_CA_CERTS)")
    print(f"bundle       {ca.bundle}  (AWS_CA_BUNDLE, SSL_CERT_FILE, ...)")
    print(f"fingerprint  SHA-256 {ca.fingerprint}")
    print(f"good until   {ca.not_after:%Y-%m-%d}")
    if own is not None:
        print(f"pin          {own.pin}  (awsgate login --ca-pin)")
    for warning in warnings:
        print(f"warning      {warning}")
