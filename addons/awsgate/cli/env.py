"""``awsgate env``: gateway credentials, and all that a client needs to use them.

Minted locally: whoever can read the session key may mint. The policy is asked first,
so that nobody is handed credentials that would be refused.
"""

from __future__ import annotations

import json
import re
import secrets
import shlex
import sys
import time
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import typer

from awsgate.aws.partitions import all_suffixes
from awsgate.ca import CertificateAuthority, ensure_ca
from awsgate.cli.options import (
    CertsOption,
    PolicyOption,
    StateOption,
    certs_folder,
    policy_path,
    state_folder,
)
from awsgate.policy import Policy, decide, grantable_roles, max_ttl_s
from awsgate.policyfile import load_policy
from awsgate.session import ENTROPY_BYTES, GatewayCredentials, mint
from awsgate.state import open_state

# Metadata services must never be asked through the gateway: it would ask its own.
NO_PROXY = "localhost,127.0.0.1,::1,169.254.169.254,169.254.170.2,fd00:ec2::254"


class Format(StrEnum):
    """How the variables are written."""

    BASH = "bash"
    JSON = "json"


def env(
    user: Annotated[str, typer.Option(help="Name of a kind: user document.")],
    app: Annotated[str, typer.Option(help="Name of a kind: app document.")],
    role: Annotated[str, typer.Option(help="Role ARN, or its name if that is clear.")],
    format: Annotated[Format, typer.Option(help="bash: to eval; json: a map.")] = Format.BASH,  # noqa: A002 - the option's name
    ttl: Annotated[str, typer.Option(help="Life, like 30m or 8h. Default: the policy's.")] = "",
    proxy: Annotated[str, typer.Option(help="URL of the gateway. Default: the policy's.")] = "",
    policy: PolicyOption = None,
    state: StateOption = None,
    certs: CertsOption = None,
) -> None:
    """Print gateway credentials as environment variables; exit 1 if the policy says no.

    Example: eval "$(awsgate env --user alice --app awsconsole-test --role ExampleReadOnlyAccess)"
    """
    rules = load_policy(policy_path(policy))
    role_arn = _role_arn(rules, user, app, role)
    decision = decide(
        rules,
        user=user,
        app=app,
        role_arn=role_arn,
        endpoint_service="sts",
        tenant_controlled=False,
    )
    if not decision.allowed:
        _say_no(rules, user, app, role, decision.reason)
    most = max_ttl_s(rules, user, app, role_arn)
    life = _seconds(ttl) if ttl else min(rules.gateway.session.default_ttl_s, most)
    if life > most:
        _say_no(rules, user, app, role, f"a life of {life} s is more than the {most} s allowed")
    credentials = mint(
        open_state(state_folder(state)).session_keys,
        user=user,
        app=app,
        role_arn=role_arn,
        ttl_s=life,
        now=int(time.time()),
        entropy=secrets.token_bytes(ENTROPY_BYTES),
    )
    ca = ensure_ca(certs_folder(certs), suffixes=all_suffixes(), now=datetime.now(UTC))
    variables = _variables(credentials, ca, proxy or f"http://{_reachable(rules.gateway.listen)}")
    if format is Format.JSON:
        print(json.dumps(variables, indent=2))
    else:
        print("\n".join(f"export {k}={shlex.quote(v)}" for k, v in variables.items()))


def _variables(
    credentials: GatewayCredentials, ca: CertificateAuthority, proxy: str
) -> dict[str, str]:
    bundle = str(ca.bundle)
    expires = datetime.fromtimestamp(credentials.expires_at, UTC)
    return {
        "AWS_ACCESS_KEY_ID": credentials.access_key_id,
        "AWS_SECRET_ACCESS_KEY": credentials.secret_access_key,
        "AWS_SESSION_TOKEN": credentials.session_token,
        "AWS_CREDENTIAL_EXPIRATION": expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "HTTPS_PROXY": proxy,
        "NO_PROXY": NO_PROXY,
        "AWS_CA_BUNDLE": bundle,
        # These replace the trust store of clients that do not read AWS_CA_BUNDLE:
        # CRT, Rust and Go programs, requests, curl.
        "SSL_CERT_FILE": bundle,
        "REQUESTS_CA_BUNDLE": bundle,
        "CURL_CA_BUNDLE": bundle,
        "NODE_EXTRA_CA_CERTS": str(ca.root_cert),
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def _role_arn(policy: Policy, user: str, app: str, role: str) -> str:
    """Give the ARN for a role name, if exactly one of the user's roles has it."""
    if role.startswith("arn:"):
        return role
    found = {arn for _, arn in grantable_roles(policy, user, app) if arn.rpartition("/")[2] == role}
    return found.pop() if len(found) == 1 else role


def _say_no(policy: Policy, user: str, app: str, role: str, reason: str) -> None:
    lines = [f"awsgate: no: {user} may not have {role} in {app}: {reason}"]
    granted = grantable_roles(policy, user)
    lines += [f"awsgate: hint: {user} may have {arn} in {name}" for name, arn in granted[:10]]
    sys.stderr.write("\n".join(lines) + "\n")
    raise typer.Exit(1)


def _seconds(text: str) -> int:
    matched = re.fullmatch(r"(?:(\d{1,4})h)?(?:(\d{1,5})m)?(?:(\d{1,7})s)?", text)
    if matched is None or not text:
        raise typer.BadParameter(f"{text!r} is not a duration like 30m, 8h or 1h30m")
    hours, minutes, seconds = (int(part or 0) for part in matched.groups())
    total = hours * 3600 + minutes * 60 + seconds
    if total < 1:
        raise typer.BadParameter("a life of no time at all")
    return total


def _reachable(listen: str) -> str:
    host, _, port = listen.rpartition(":")
    return f"127.0.0.1:{port}" if host in ("0.0.0.0", "[::]", "") else listen  # noqa: S104 - read, not bound
