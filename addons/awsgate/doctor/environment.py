"""Variables of a shell that get in the way of clients of the gateway. Pure.

Which client reads what was measured, client by client; ``docs/doctor.md`` has the ids.
No value of a variable is repeated: a proxy URL can hold a password.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from awsgate.doctor.finding import Finding, Group, fault, note, ok, warning
from awsgate.doctor.shell import RENEW, Shell
from awsgate.doctor.trust import check_trust, check_trust_missing
from awsgate.session import KEY_PREFIX
from awsgate.variables import (
    CREDENTIALS,
    HTTP_PROXIES,
    METADATA,
    NO_PROXIES,
    NO_PROXY,
    PROFILES,
    entries,
    leading_past,
)


def check_shell(shell: Shell) -> list[Finding]:
    """Give all findings about the variables of this shell."""
    found = [finding for check in _ALWAYS for finding in check(shell)]
    if not shell.is_client:
        return found or [
            note(
                Group.SHELL,
                "shell-not-a-client",
                "no gateway credentials here, so no client settings to check",
                fix=RENEW,
            )
        ]
    found += [finding for check in _FOR_CLIENTS for finding in check(shell)]
    return found or [ok(Group.SHELL, "shell", "nothing here gets in the way of a client")]


# --- proxies ----------------------------------------------------------------------


def _http_proxy(shell: Shell) -> Iterator[Finding]:
    names = [name for name in HTTP_PROXIES if shell.names_gateway(name)]
    if names:
        yield fault(
            Group.SHELL,
            "http-proxy-names-gateway",
            f"{' and '.join(names)} names the gateway",
            "boto3, the AWS CLI and Go clients then ask the metadata service through it, and it "
            "is refused; the gateway is for HTTPS alone",
            f"unset {' '.join(names)}",
        )


def _all_proxy(shell: Shell) -> Iterator[Finding]:
    names = [name for name in ("ALL_PROXY", "all_proxy") if shell.names_gateway(name)]
    if names:
        yield warning(
            Group.SHELL,
            "all-proxy-names-gateway",
            f"{' and '.join(names)} names the gateway",
            "Rust clients (polars, delta-rs, obstore) then ask the metadata service through it",
            f"unset {' '.join(names)}",
        )


def _https_proxy(shell: Shell) -> Iterator[Finding]:
    upper, lower = shell.value("HTTPS_PROXY"), shell.value("https_proxy")
    fix = f"export HTTPS_PROXY={shell.place.url} https_proxy={shell.place.url}"
    if not upper and not lower:
        yield fault(
            Group.SHELL,
            "https-proxy-missing",
            "gateway credentials are set, and HTTPS_PROXY is not",
            "the calls go straight to AWS, which knows no such key: InvalidClientTokenId",
            fix,
        )
    elif upper != lower and upper and lower:
        yield fault(
            Group.SHELL,
            "https-proxy-differs",
            "HTTPS_PROXY and https_proxy differ",
            "some clients read the one and some the other",
            fix,
        )
    elif not upper or not lower:
        missing = "https_proxy" if upper else "HTTPS_PROXY"
        yield warning(
            Group.SHELL,
            "https-proxy-one-case",
            f"{missing} is not set beside its twin",
            "a few clients read that one alone (curl takes the lower-case one first)",
            fix,
        )
    elif not shell.names_gateway("HTTPS_PROXY"):
        yield fault(
            Group.SHELL,
            "https-proxy-elsewhere",
            f"HTTPS_PROXY is not the gateway at {shell.place.address}",
            "another proxy, or none, gets the calls; gateway credentials work at their gateway",
            f"{fix}\n(or awsgate doctor --proxy URL, if the gateway is where HTTPS_PROXY says)",
        )
    elif "//" not in upper:
        yield warning(
            Group.SHELL,
            "https-proxy-no-scheme",
            "HTTPS_PROXY has no http://",
            "Perl and Node's proxy agents fail on it",
            fix,
        )


def _no_proxy(shell: Shell) -> Iterator[Finding]:
    values = {n: shell.value(n) for n in NO_PROXIES if shell.value(n)}
    fix = f"export NO_PROXY={NO_PROXY} no_proxy={NO_PROXY}"
    past = leading_past(shell.environ)
    if past:
        yield fault(
            Group.SHELL,
            "no-proxy-covers-aws",
            f"NO_PROXY holds {', '.join(past)}",
            "calls to these hosts go past the gateway, straight to AWS, which knows no such key",
            fix,
        )
    elif len(set(values.values())) > 1:
        yield warning(
            Group.SHELL,
            "no-proxy-differs",
            "NO_PROXY and no_proxy differ",
            "some clients read the one and some the other",
            fix,
        )
    held = [set(entries(value)) for value in values.values()] or [set()]
    lacking = [m for m in METADATA if not all(m in one for one in held)]
    if lacking and not past:
        yield warning(
            Group.SHELL,
            "no-proxy-lacks-metadata",
            f"NO_PROXY lacks {', '.join(lacking)}",
            "with another HTTP_PROXY set, clients ask that proxy for instance credentials",
            fix,
        )


# --- keys -------------------------------------------------------------------------


def _profile(shell: Shell) -> Iterator[Finding]:
    names = [n for n in PROFILES if shell.value(n)]
    if names and shell.value("AWS_ACCESS_KEY_ID"):
        yield fault(
            Group.SHELL,
            "profile-beside-keys",
            f"{' and '.join(names)} is set beside AWS_ACCESS_KEY_ID",
            "the AWS CLI and boto3 take the profile's keys and settings, others take the variables",
            f"unset {' '.join(names)}",
        )


def _token(shell: Shell) -> Iterator[Finding]:
    key, token = shell.value("AWS_ACCESS_KEY_ID"), shell.value("AWS_SESSION_TOKEN")
    if token and not key.startswith((KEY_PREFIX, "ASIA")):
        yield fault(
            Group.SHELL,
            "stale-session-token",
            "AWS_SESSION_TOKEN is left over: "
            + ("the access key takes none" if key else "there is no access key beside it"),
            "it is sent with every call and belongs to other keys: InvalidClientTokenId",
            "unset AWS_SESSION_TOKEN",
        )
    elif key.startswith(KEY_PREFIX) and not token:
        yield fault(
            Group.SHELL,
            "session-token-missing",
            "gateway credentials without AWS_SESSION_TOKEN",
            "the token holds the session: the gateway refuses the key with unknown-key",
            RENEW,
        )


def _session(shell: Shell) -> Iterator[Finding]:
    if shell.session == "expired":
        yield fault(
            Group.SHELL,
            "session-expired",
            "the gateway session in this shell has ended",
            "every call is refused with session-expired",
            RENEW,
        )
    elif shell.session == "unknown" and shell.value("AWS_SESSION_TOKEN"):
        yield fault(
            Group.SHELL,
            "keys-of-another-gateway",
            "the gateway credentials in this shell are of another gateway, or were changed",
            "the session key in the state folder did not make them: unknown-key",
            RENEW,
        )
    elif shell.session == "open":
        yield ok(Group.SHELL, "session", f"gateway credentials, {_until(shell)}")


def _until(shell: Shell) -> str:
    try:
        ends = datetime.fromisoformat(shell.value("AWS_CREDENTIAL_EXPIRATION"))
    except ValueError:
        return "good"
    return f"good until {ends.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _real_keys(shell: Shell) -> Iterator[Finding]:
    if shell.value("AWS_ACCESS_KEY_ID").startswith(("AKIA", "ASIA")):
        yield fault(
            Group.SHELL,
            "real-keys",
            "HTTPS_PROXY is the gateway, and AWS_ACCESS_KEY_ID is a real AWS key",
            "the gateway takes its own credentials alone (unknown-key), and a real key here is "
            "what awsgate is there to do without",
            f"unset {' '.join(CREDENTIALS)}\n{RENEW}",
        )


# --- endpoints --------------------------------------------------------------------


def _endpoint_urls(shell: Shell) -> Iterator[Finding]:
    names = sorted(n for n in shell.environ if n.startswith("AWS_ENDPOINT_URL") and shell.value(n))
    if not names:
        return
    to_gateway = [n for n in names if shell.names_gateway(n)]
    if to_gateway or shell.is_client:
        yield fault(
            Group.SHELL,
            "endpoint-url",
            f"{', '.join(names)} is set",
            "the gateway is a proxy and no endpoint: missing-forwarded-host"
            if to_gateway
            else "the calls of that service go to another server, not through the gateway to AWS",
            f"unset {' '.join(names)}",
        )


# --- the rest ---------------------------------------------------------------------


def _metadata(shell: Shell) -> Iterator[Finding]:
    if shell.value("AWS_EC2_METADATA_DISABLED").lower() != "true":
        yield warning(
            Group.SHELL,
            "metadata-not-disabled",
            "AWS_EC2_METADATA_DISABLED is not true",
            "on an EC2 host, a client whose gateway session has ended falls back to the host's "
            "own role, past the gateway",
            "export AWS_EC2_METADATA_DISABLED=true",
        )


def _region(shell: Shell) -> Iterator[Finding]:
    if not shell.value("AWS_REGION", "AWS_DEFAULT_REGION") and not shell.region_in_config:
        yield note(
            Group.SHELL,
            "region-missing",
            "no region is set",
            "most calls then end with 'You must specify a region'",
            "export AWS_REGION=us-east-1 AWS_DEFAULT_REGION=us-east-1",
        )


_ALWAYS = (_http_proxy, _all_proxy, _profile, _token, _endpoint_urls)
_FOR_CLIENTS = (
    *(_session, _https_proxy, _no_proxy, _real_keys),
    *(check_trust, check_trust_missing, _metadata, _region),
)
