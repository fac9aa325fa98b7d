"""``awsgate env``: gateway credentials, and all that a client needs to use them.

Minted locally: whoever can read the session key may mint. The policy is asked first,
so that nobody is handed credentials that would be refused.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shlex
import sys
import time
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import typer

from awsgate.aws.partitions import all_suffixes, region_partition
from awsgate.ca import CertificateAuthority, ensure_ca
from awsgate.cli.options import (
    CertsOption,
    PolicyOption,
    StateOption,
    certs_folder_in_use,
    policy_path,
    state_folder,
)
from awsgate.cli.roles import role_meant
from awsgate.policy import Policy, decide, grantable_roles, max_ttl_s
from awsgate.policy.decide import NO_ROLE_ARN
from awsgate.policyfile import load_policy
from awsgate.session import ENTROPY_BYTES, GatewayCredentials, mint
from awsgate.state import open_state

# Metadata services must never be asked through the gateway: it would ask its own.
NO_PROXY = "localhost,127.0.0.1,::1,169.254.169.254,169.254.170.2,169.254.170.23,fd00:ec2::254"
# Some clients take a profile's keys, and all its settings, though keys are set.
PROFILES = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE")
HTTP_PROXIES = ("HTTP_PROXY", "http_proxy")

_PROXY_URL = re.compile(r"https?://(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})/?")


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
    region: Annotated[str, typer.Option(help="Sets AWS_REGION as well, like us-east-1.")] = "",
    proxy: Annotated[str, typer.Option(help="URL of the gateway. Default: the policy's.")] = "",
    policy: PolicyOption = None,
    state: StateOption = None,
    certs: CertsOption = None,
) -> None:
    """Print gateway credentials as environment variables; exit 1 if the policy says no.

    Example: eval "$(awsgate env --user alice --app awsconsole-test --role ExampleReadOnlyAccess)"
    """
    _check_region(region)
    _check_proxy(proxy)
    asked_s = _seconds(ttl) if ttl else 0
    rules = load_policy(policy_path(policy))
    role_arn = _allowed_role(rules, user, app, role)
    most = max_ttl_s(rules, user, app, role_arn)
    if asked_s > most:
        raise _no(
            f"{user} may not have {role} in {app} for {_duration(asked_s)}",
            [f"at most {_duration(most)}: --ttl {_duration(most)}"],
        )
    ca_folder = certs_folder_in_use(certs)
    credentials = mint(
        open_state(state_folder(state)).session_keys,
        user=user,
        app=app,
        role_arn=role_arn,
        ttl_s=asked_s or min(rules.gateway.session.default_ttl_s, most),
        now=int(time.time()),
        entropy=secrets.token_bytes(ENTROPY_BYTES),
    )
    ca = ensure_ca(ca_folder, suffixes=all_suffixes(), now=datetime.now(UTC))
    proxy = proxy or f"http://{_reachable(rules.gateway.listen)}"
    _warn(format, proxy)
    _print(format, _variables(credentials, ca, proxy, region))


def _print(style: Format, variables: dict[str, str]) -> None:
    if style is Format.JSON:
        print(json.dumps(variables, indent=2))
        return
    print(f"unset {' '.join(PROFILES)}")
    print("\n".join(f"export {k}={shlex.quote(v)}" for k, v in variables.items()))


def _variables(
    credentials: GatewayCredentials, ca: CertificateAuthority, proxy: str, region: str
) -> dict[str, str]:
    bundle = str(ca.bundle)
    expires = datetime.fromtimestamp(credentials.expires_at, UTC)
    found = {
        "AWS_ACCESS_KEY_ID": credentials.access_key_id,
        "AWS_SECRET_ACCESS_KEY": credentials.secret_access_key,
        "AWS_SESSION_TOKEN": credentials.session_token,
        "AWS_CREDENTIAL_EXPIRATION": expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
        # Both cases: where both are set, some clients read the lower one and some the
        # upper one. Never HTTP_PROXY: metadata services would be asked through it.
        "HTTPS_PROXY": proxy,
        "https_proxy": proxy,
        "NO_PROXY": NO_PROXY,
        "no_proxy": NO_PROXY,
        "AWS_CA_BUNDLE": bundle,
        # These replace the trust store of clients that do not read AWS_CA_BUNDLE:
        # CRT, Rust and Go programs, requests, curl.
        "SSL_CERT_FILE": bundle,
        "REQUESTS_CA_BUNDLE": bundle,
        "CURL_CA_BUNDLE": bundle,
        "NODE_EXTRA_CA_CERTS": str(ca.root_cert),
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    return found | ({"AWS_REGION": region, "AWS_DEFAULT_REGION": region} if region else {})


def _allowed_role(policy: Policy, user: str, app: str, role: str) -> str:
    """Give the ARN of a role that the user may have, or say no."""
    role_arn, unclear = role_meant(policy, user, app, role)
    decision = decide(
        policy,
        user=user,
        app=app,
        role_arn=role_arn,
        endpoint_service="sts",
        tenant_controlled=False,
    )
    if decision.allowed:
        return role_arn
    reason = unclear if unclear and decision.reason == NO_ROLE_ARN else decision.reason
    hints = [f"{user} may have {arn} in {name}" for name, arn in grantable_roles(policy, user)[:10]]
    if role in policy.roles and role_arn == role:
        hints.insert(0, f"{role} is a role of the policy: ask for one of the IAM roles it allows")
    raise _no(f"{user} may not have {role} in {app}: {reason}", hints)


def _no(answer: str, hints: list[str]) -> typer.Exit:
    lines = [f"awsgate: no: {answer}", *(f"awsgate: hint: {hint}" for hint in hints)]
    sys.stderr.write("\n".join(lines) + "\n")
    return typer.Exit(1)


def _warn(style: Format, proxy: str) -> None:
    """Tell what in this environment would undo the variables."""
    profiles = [name for name in PROFILES if os.environ.get(name) and style is Format.JSON]
    proxies = [name for name in HTTP_PROXIES if _address(os.environ.get(name)) == _address(proxy)]
    lines = [
        *(f"{name} is set: unset it, or some clients use that profile" for name in profiles),
        *(f"{name} names the gateway, which is for HTTPS alone: unset it" for name in proxies),
    ]
    sys.stderr.writelines(f"awsgate: warning: {line}\n" for line in lines)


def _address(url: str | None) -> str:
    return (url or "").rpartition("//")[2].rstrip("/")


def _check_region(region: str) -> None:
    if region and region_partition(region) is None:
        raise typer.BadParameter(f"{region!r} is not a region like us-east-1")


def _check_proxy(url: str) -> None:
    matched = _PROXY_URL.fullmatch(url)
    if url and (matched is None or not 0 < int(matched[1]) < 65536):
        # Not repeated: it may hold a password.
        raise typer.BadParameter("--proxy is not a URL like http://127.0.0.1:8080")


def _seconds(text: str) -> int:
    matched = re.fullmatch(r"(?:(\d{1,4})h)?(?:(\d{1,5})m)?(?:(\d{1,7})s)?", text)
    if matched is None or not text:
        raise typer.BadParameter(f"{text!r} is not a duration like 30m, 8h or 1h30m")
    hours, minutes, seconds = (int(part or 0) for part in matched.groups())
    total = hours * 3600 + minutes * 60 + seconds
    if total < 1:
        raise typer.BadParameter("a life of no time at all")
    return total


def _duration(seconds: int) -> str:
    """Write seconds as ``_seconds`` reads them: ``1h30m``."""
    parts = ((seconds // 3600, "h"), (seconds // 60 % 60, "m"), (seconds % 60, "s"))
    return "".join(f"{number}{unit}" for number, unit in parts if number)


def _reachable(listen: str) -> str:
    host, _, port = listen.rpartition(":")
    return f"127.0.0.1:{port}" if host in ("0.0.0.0", "[::]", "") else listen  # noqa: S104 - read, not bound
