"""The variables that name certificates: does what reads them trust the gateway? Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from awsgate.doctor.finding import Finding, Group, fault, note, warning
from awsgate.doctor.shell import Shell
from awsgate.variables import ADDED_ROOT, BUNDLES


def check_trust(shell: Shell) -> Iterator[Finding]:
    """Give what is wrong with the files that are named."""
    for name in (*BUNDLES, ADDED_ROOT):
        state = shell.trust.get(name)
        wanted = shell.place.root_cert if name == ADDED_ROOT else shell.place.bundle
        fix = f"export {name}={shlex.quote(wanted)}"
        if state == "unreadable":
            yield fault(
                Group.SHELL,
                "ca-unreadable",
                f"{name} names a file that cannot be read",
                "clients that read it trust nobody, or do not start",
                fix,
            )
        elif state == "earlier":
            yield fault(
                Group.SHELL,
                "ca-stale",
                f"{name} names a bundle of another CA of awsgate, as from before ca rotate",
                "it lacks the root that the gateway has now: certificate verify failed",
                fix,
            )
        elif state == "foreign":
            yield fault(
                Group.SHELL,
                "ca-foreign",
                f"{name} names a file that does not hold the gateway's root",
                "clients that read it do not trust the gateway: certificate verify failed",
                fix,
            )


def check_trust_missing(shell: Shell) -> Iterator[Finding]:
    """Give the variables that are not set, and what then does not trust the gateway."""
    bundle = shlex.quote(shell.place.bundle)
    if not shell.value("AWS_CA_BUNDLE"):
        yield fault(
            Group.SHELL,
            "ca-bundle-missing",
            "AWS_CA_BUNDLE is not set",
            "boto3 and the AWS CLI do not trust the gateway: certificate verify failed",
            f"export AWS_CA_BUNDLE={bundle}",
        )
    if not shell.value("SSL_CERT_FILE"):
        yield warning(
            Group.SHELL,
            "ssl-cert-file-missing",
            "SSL_CERT_FILE is not set",
            "what uses the AWS CRT, Rust or Go does not read AWS_CA_BUNDLE; the CRT then tries "
            "for ever, silently",
            f"export SSL_CERT_FILE={bundle}",
        )
    if shell.value("SSL_CERT_DIR"):
        yield warning(
            Group.SHELL,
            "ssl-cert-dir",
            "SSL_CERT_DIR is set",
            "Go and the CRT look there too, or instead, and the gateway's root is not there",
            "unset SSL_CERT_DIR",
        )
    names = [n for n in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE") if not shell.value(n)]
    if names:
        yield note(
            Group.SHELL,
            "ca-variables-missing",
            f"{' and '.join(names)} is not set",
            "requests and curl do not read AWS_CA_BUNDLE",
            "export " + " ".join(f"{name}={bundle}" for name in names),
        )
    if not shell.value(ADDED_ROOT):
        yield note(
            Group.SHELL,
            "node-ca-missing",
            f"{ADDED_ROOT} is not set",
            "Node reads none of the others",
            f"export {ADDED_ROOT}={shlex.quote(shell.place.root_cert)}",
        )
