"""What a client's environment must hold to go through the gateway, and what it must not.

    access_by_keys      keys in variables: every client, until the session ends
    access_by_endpoint  keys from a local endpoint: SDKs, which ask again before they end
    undoing             what takes either back

Each gives a ``Change``; ``cli.shells`` writes it down, and ``Change.applied`` is a child's
environment. Pure: the caller's environment is passed in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from awsgate.timestamps import utc_seconds

HTTP_PROXIES = ("HTTP_PROXY", "http_proxy")
HTTPS_PROXIES = ("HTTPS_PROXY", "https_proxy")
NO_PROXIES = ("NO_PROXY", "no_proxy")

METADATA = ("169.254.169.254", "169.254.170.2", "169.254.170.23", "fd00:ec2::254")
"""Metadata services must never be asked through the gateway: it would ask its own."""
# And the endpoint of ``awsgate exec`` is on this machine.
NO_PROXY = ",".join(("localhost", "127.0.0.1", "::1", *METADATA))

BUNDLES = (
    "AWS_CA_BUNDLE",
    # Clients that do not read that one: CRT, Rust and Go programs, requests, curl, Perl's LWP.
    *("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PERL_LWP_SSL_CA_FILE"),
)
"""These replace the trust store of what reads them."""
ADDED_ROOT = "NODE_EXTRA_CA_CERTS"
"""This adds to it."""

PROFILES = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE")
"""Some clients take a profile's keys, and all its settings, though keys are set."""

CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
KEYS = (*CREDENTIALS, "AWS_CREDENTIAL_EXPIRATION")
ENDPOINT = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN")
OTHER_IDENTITIES = (
    *PROFILES,
    # Older names of the keys: the Java SDK v1 and the first botocore read them still.
    *("AWS_ACCESS_KEY", "AWS_SECRET_KEY", "AWS_SECURITY_TOKEN"),
    *("AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME", "AWS_WEB_IDENTITY_TOKEN_FILE"),
    *("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
    "AWS_BEARER_TOKEN_BEDROCK",
    "AWS_ENDPOINT_URL",  # it would lead past the gateway
)
"""What is left over from somebody else, or from another way to AWS."""

MARK = "AWSGATE_ENV"
"""Holds the names that were set, so that exactly these can be unset again."""

BOUNDS = "AWSGATE_BOUNDS"
"""What the credentials here are held to, if to less than their user may (``cli.bounded``)."""
OF_LOGINS = ("AWSGATE_ID_TOKEN", "AWSGATE_INVITATION", "AWSGATE_LOGINS")
"""What a command that ``awsgate exec`` runs does not get: who has logged in is not its business."""

_SERVICE_ENDPOINT = re.compile(r"AWS_ENDPOINT_URL_[A-Z0-9_]+")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Way:
    """How to the gateway, and how to trust it."""

    proxy: str = field(repr=False)
    """It may hold what the gateway knows its caller by."""
    bundle: str
    """System roots and the gateway's, for settings that replace the store."""
    root: str
    """The gateway's root alone, for settings that add to the store."""
    region: str = ""


@dataclass(frozen=True, slots=True)
class Keys:
    """Gateway credentials."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)
    expires_at: int

    @property
    def expiration(self) -> str:
        """Give the end as AWS writes it."""
        return utc_seconds(datetime.fromtimestamp(self.expires_at, UTC))


@dataclass(frozen=True, slots=True)
class Change:
    """What to set, and what to unset."""

    assign: dict[str, str] = field(repr=False)
    unset: tuple[str, ...]

    def applied(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Give the environment with the change made."""
        kept = {name: value for name, value in environment.items() if name not in self.unset}
        return {**kept, **self.assign}


def access_by_keys(
    way: Way, keys: Keys, environment: Mapping[str, str], more: Mapping[str, str] | None = None
) -> Change:
    """Give the change to an environment that holds the keys themselves, and ``more``."""
    values = (
        *(keys.access_key_id, keys.secret_access_key, keys.session_token),
        keys.expiration,
    )
    return _change(dict(zip(KEYS, values, strict=True)), way, environment, more or {})


def access_by_endpoint(
    way: Way,
    url: str,
    token: str,
    environment: Mapping[str, str],
    more: Mapping[str, str] | None = None,
) -> Change:
    """Give the change to an environment that names the endpoint which gives the keys."""
    return _change(dict(zip(ENDPOINT, (url, token), strict=True)), way, environment, more or {})


def undoing(environment: Mapping[str, str]) -> Change:
    """Give what takes back what was set; what was there before does not come back.

    Of ``NO_PROXY`` the caller's own entries stay.
    """
    names = [name for name in environment.get(MARK, "").split(",") if _NAME.fullmatch(name)]
    ours = set(NO_PROXY.split(","))
    assign: dict[str, str] = {
        name: ",".join(entry for entry in entries(environment[name]) if entry not in ours)
        for name in NO_PROXIES
        if name in names and name in environment
    }
    assign = {name: value for name, value in assign.items() if value}
    unset = [name for name in names if name not in assign]
    return Change(assign, (*unset, MARK) if names else ())


def entries(value: str) -> Iterator[str]:
    """Give the entries of a NO_PROXY: between commas for most, between spaces for curl.

    What is not printable is nobody's entry.
    """
    return (entry for entry in re.split(r"[\s,]+", value) if entry and entry.isprintable())


def stale(environment: Mapping[str, str]) -> list[str]:
    """Give the variables of the environment that a client could take instead."""
    return [name for name in _not_ours(environment) if environment.get(name)]


def leading_past(environment: Mapping[str, str]) -> list[str]:
    """Give the entries of NO_PROXY that would lead AWS traffic past the gateway."""
    return list(dict.fromkeys(entry for entry in _callers(environment) if _covers_aws(entry)))


# ----------------------------------------------------------------------------------------


def _change(
    keys: dict[str, str], way: Way, environment: Mapping[str, str], more: Mapping[str, str]
) -> Change:
    assign = {
        **keys,
        # Both cases: where both are set, some clients read the lower one and some the
        # upper one. Never HTTP_PROXY: metadata services would be asked through it.
        **dict.fromkeys(HTTPS_PROXIES, way.proxy),
        **dict.fromkeys(NO_PROXIES, _no_proxy(environment)),
        **dict.fromkeys(BUNDLES, way.bundle),
        ADDED_ROOT: way.root,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    if way.region:
        assign |= {"AWS_REGION": way.region, "AWS_DEFAULT_REGION": way.region}
    assign |= more
    assign[MARK] = ",".join(assign)
    unset = dict.fromkeys((*_not_ours(environment), *KEYS, *ENDPOINT))
    return Change(assign, tuple(name for name in unset if name not in assign))


def _not_ours(environment: Mapping[str, str]) -> list[str]:
    # Only names that match: a name is written into a shell's text too.
    services = sorted(name for name in environment if _SERVICE_ENDPOINT.fullmatch(name))
    return [*OTHER_IDENTITIES, *services]


def _no_proxy(environment: Mapping[str, str]) -> str:
    kept = (entry for entry in _callers(environment) if not _covers_aws(entry))
    return ",".join(dict.fromkeys((*NO_PROXY.split(","), *kept)))


def _callers(environment: Mapping[str, str]) -> Iterator[str]:
    for name in NO_PROXIES:
        yield from entries(environment.get(name, ""))


def _covers_aws(entry: str) -> bool:
    """True if a client that honours ``entry`` would go to an AWS host directly."""
    from awsgate.aws.partitions import all_suffixes

    name = entry.lower().partition(":")[0].lstrip("*").strip(".")
    if not name:
        return "*" in entry
    return any(
        name == suffix or name.endswith(f".{suffix}") or suffix.endswith(f".{name}")
        for suffix in all_suffixes()
    )
