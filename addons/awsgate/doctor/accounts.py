"""awsgate's own credentials, and whether STS can be reached with them. Pure.

What becomes of each role is in ``assuming``.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from awsgate.doctor.finding import Finding, Group, fault, note, ok, warning
from awsgate.doctor.passage import check_clock

REFUSED = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
_ABSENT = frozenset({"NoCredentialsError", "ProfileNotFound", "PartialCredentialsError", ""})
_UNREACHABLE = frozenset(
    {
        "ConnectTimeoutError",
        "ConnectionClosedError",
        "EndpointConnectionError",
        "HTTPClientError",
        "ProxyConnectionError",
        "ReadTimeoutError",
        "SSLError",
    }
)
_METHODS = {
    "env": "the environment",
    "shared-credentials-file": "~/.aws/credentials",
    "config-file": "~/.aws/config",
    "assume-role": "a profile with role_arn",
    "assume-role-with-web-identity": "a web identity (IRSA, OIDC)",
    "sso": "IAM Identity Center",
    "login": "aws login",
    "custom-process": "credential_process",
    "container-role": "the container's role (ECS, EKS Pod Identity)",
    "iam-role": "the instance's role (IMDS)",
}
HOP_LIMIT = (
    "aws ec2 modify-instance-metadata-options --instance-id INSTANCE "
    "--http-put-response-hop-limit 2 --http-tokens required"
)

GatewayState = Literal["serves", "up", "down"]
"""A call went through it, so it has credentials of its own; it is there, and no call was
made; or neither."""


@dataclass(frozen=True, slots=True)
class BaseFacts:
    """One set of awsgate's own credentials."""

    profile: str
    """Empty: botocore's default chain."""
    method: str = ""
    """How botocore came by them; empty: none."""
    arn: str = ""
    """Whose they are, by AWS's own word."""
    code: str = ""
    """Why AWS did not say: an error code, or the name of botocore's exception."""
    endpoint: str = ""
    """Where STS was asked, if not at AWS itself."""
    skew_s: float | None = None
    """The clock of STS less this one's."""
    in_container: bool = False
    metadata_disabled: bool = False
    gateway: GatewayState = "down"

    @property
    def good(self) -> bool:
        """True if roles can be asked for."""
        return bool(self.arn)


def check_base(facts: BaseFacts) -> Iterator[Finding]:
    """Give what there is to say of one set of credentials."""
    where = f"profile {facts.profile}" if facts.profile else "the default chain"
    if facts.arn:
        yield from _found(facts)
    elif facts.code == "GatewayCredentials":
        yield fault(
            Group.AWS,
            "base-credentials-gateway",
            f"awsgate's own credentials ({where}) are gateway credentials",
            "the gateway cannot assume roles with keys that only it knows",
            "env -u AWS_ACCESS_KEY_ID -u AWS_SECRET_ACCESS_KEY -u AWS_SESSION_TOKEN awsgate run",
        )
    elif facts.code in _ABSENT:
        yield _missing(facts, where)
    elif facts.code in REFUSED:
        yield fault(
            Group.AWS,
            "base-credentials-refused",
            f"AWS does not accept awsgate's own credentials from {_source(facts)} ({facts.code})",
            "no role can be assumed with them",
            f"aws sts get-caller-identity{_profile(facts)}   # after renewing them: aws sso login, "
            "or a new access key",
        )
    elif facts.code in _UNREACHABLE:
        yield fault(
            Group.AWS,
            "sts-unreachable",
            f"STS cannot be reached{_at(facts)} ({facts.code})",
            "no role can be assumed; awsgate asks STS directly, never through a proxy",
            "open TCP 443 from this host to sts.REGION.amazonaws.com, or set sts.endpoint_url in "
            "kind: gateway to your VPC endpoint",
        )
    else:
        yield fault(
            Group.AWS,
            "sts-refused",
            f"STS answered {facts.code}{_at(facts)}",
            "awsgate could not learn whose credentials it has",
            f"aws sts get-caller-identity{_profile(facts)}",
        )
    yield from check_clock(facts.skew_s, "AWS", "clock-aws", Group.AWS)


def _found(facts: BaseFacts) -> Iterator[Finding]:
    yield ok(Group.AWS, "base-credentials", f"own credentials from {_source(facts)}: {facts.arn}")
    if facts.arn.endswith(":root"):
        yield fault(
            Group.AWS,
            "base-credentials-root",
            "awsgate's own credentials are those of the account's root user",
            "AWS lets no root user assume a role, and these keys can do everything",
            "aws iam create-user --user-name awsgate && aws iam create-access-key "
            "--user-name awsgate   # then delete the root user's access key",
        )


def _missing(facts: BaseFacts, where: str) -> Finding:
    if facts.gateway == "serves":
        return note(
            Group.AWS,
            "base-credentials-elsewhere",
            "no AWS credentials in this shell; the running gateway has its own",
            "so whether each role can be assumed was not asked from here",
        )
    what = f"no AWS credentials in {where}"
    if facts.gateway == "up":
        return warning(
            Group.AWS,
            "base-credentials-not-here",
            what,
            "the gateway that is running may have some of its own, which only a call shows",
            "awsgate doctor --user USER   # makes a call as this user",
        )
    fixes = ["export AWS_PROFILE=PROFILE   # or give this host a role: EC2, ECS, EKS"]
    why = "the gateway assumes roles with them; without any, every call is role-unavailable"
    if facts.profile:
        fixes = [f"aws configure --profile {shlex.quote(facts.profile)}"]
    elif facts.metadata_disabled:
        fixes.append("unset AWS_EC2_METADATA_DISABLED   # if it is the host's role that you mean")
    elif facts.in_container:
        fixes.append(HOP_LIMIT)
        why += "; in a container on EC2, the host's role is out of reach at a hop limit of 1"
    return fault(Group.AWS, "base-credentials-missing", what, why, "\n".join(fixes))


def unasked(reason: str) -> Finding:
    """Say that AWS was not asked."""
    return note(Group.AWS, "aws-not-asked", f"AWS was not asked: {reason}")


def slow(group: Group, what: str) -> Finding:
    """Say that a check took too long."""
    return warning(
        group,
        "check-timed-out",
        f"{what}: no answer in time",
        "what it would have found is not known",
        "awsgate doctor --timeout 60",
    )


def broken(group: Group, what: str, error: Exception) -> Finding:
    """Say that a check failed itself. Of the error only where it was: it may hold a secret."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f" in {Path(trace.tb_frame.f_code.co_filename).name}" if trace is not None else ""
    line = f", line {trace.tb_lineno}" if trace is not None else ""
    return warning(
        group,
        "check-broken",
        f"{what}: the check itself failed ({type(error).__name__}{place}{line})",
        "what it would have found is not known",
        "report it as a fault of awsgate, with this line and what awsgate version says",
    )


def _source(facts: BaseFacts) -> str:
    named = f"profile {facts.profile}, " if facts.profile else ""
    return f"{named}{_METHODS.get(facts.method, facts.method)} ({facts.method})"


def _profile(facts: BaseFacts) -> str:
    return f" --profile {shlex.quote(facts.profile)}" if facts.profile else ""


def _at(facts: BaseFacts) -> str:
    return f" at {facts.endpoint}" if facts.endpoint else ""
