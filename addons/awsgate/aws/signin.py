"""The console's sign-in: hosts per partition, the question for a token, the URLs. Pure.

    AssumeRole -> getSigninToken (POST, so that no secret is in a URL) -> login URL

Hosts are AWS's own, from botocore's rules of the service ``signin`` and the app URLs of
the reference product; sign-in is at a regional one, which every partition has. A page to
land on is accepted on the partition's console hosts alone: the URL that we make carries
somebody's session there.

How long a console session may last is AWS's rule ("Enable custom identity broker access to
the AWS console"):

- ``SessionDuration``, 15 minutes to 12 hours, if the role was assumed with long-term keys,
  or with those of an instance, which AWS does not count as role chaining;
- else the console session ends with the role's keys: an hour at most (role chaining), and
  ``SessionDuration`` must not be sent.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from urllib.parse import quote, urlencode, urlsplit

from awsgate.aws.partitions import region_partition
from awsgate.aws.sigv4 import SigningKeys
from awsgate.aws.stsform import CHAINED_MAX_S

MIN_S = 15 * 60
MAX_S = 12 * 3600
MAX_TOKEN_CHARS = 16_384

_REGION_LABEL = re.compile(r"[a-z]{2,4}(?:-[a-z]+)+-\d{1,2}", re.ASCII)
_SERVICE = re.compile(r"[a-z0-9-]{1,40}")
_TOKEN = re.compile(r"[\x21-\x7e]{16,}")


@dataclass(frozen=True, slots=True)
class Console:
    """One partition's console and sign-in. Hosts, without scheme."""

    partition: str
    console: str
    regional: str
    """The sign-in; ``{region}`` is to be filled in."""
    home: str
    """A region that has a sign-in host: where one is needed and none is named."""

    def regional_host(self, region: str) -> str:
        """Give a sign-in host with a region: the home's, if none is named.

        A role's keys are sent there. Raises ``ValueError`` for what is no region of the partition.
        """
        return self.regional.format(region=_checked_region(self, region) or self.home)


CONSOLES = {
    found.partition: found
    for found in (
        Console(
            "aws",
            "console.aws.amazon.com",
            "{region}.signin.aws.amazon.com",
            "us-east-1",
        ),
        Console(
            "aws-us-gov",
            "console.amazonaws-us-gov.com",
            "{region}.signin.amazonaws-us-gov.com",
            "us-gov-west-1",
        ),
        Console(
            "aws-cn",
            "console.amazonaws.cn",
            "{region}.signin.amazonaws.cn",
            "cn-north-1",
        ),
        Console(
            "aws-eusc",
            "console.amazonaws-eusc.eu",
            "{region}.signin.amazonaws-eusc.eu",
            "eusc-de-east-1",
        ),
    )
}
_QUICKSIGHT = "quicksight.aws.amazon.com"


def console_of(uri: str) -> tuple[Console, str] | None:
    """Give the console that an app's URI names, and its region, or nothing for none.

    The host is matched exactly: ``console.aws.amazon.com``, with a region before it, or
    QuickSight's. Any other has no console to sign in to.
    """
    host = urlsplit(uri).hostname or ""
    for console in CONSOLES.values():
        if host == console.console or (host == _QUICKSIGHT and console.partition == "aws"):
            return console, ""
        region = host.removesuffix(f".{console.console}")
        if region != host and is_region_of(region, console):
            return console, region
    return None


def is_region_of(region: str, console: Console) -> bool:
    """True for the name of a region of the console's partition."""
    if not _REGION_LABEL.fullmatch(region):
        return False
    found = region_partition(region)
    return found is not None and found.id == console.partition


def _checked_region(console: Console, region: str) -> str:
    if region and not is_region_of(region, console):
        raise ValueError(f"{region!r} is not a region of {console.partition}")
    return region


def destination(console: Console, *, region: str, service: str = "", uri: str = "") -> str:
    """Give the page to land on: of a service, else the app's own, else the console's home.

    Raises ``ValueError`` with what is wrong.
    """
    _checked_region(console, region)
    if not service:
        return uri or _at(console, region, "/console/home")
    if not _SERVICE.fullmatch(service):
        raise ValueError(f"{service[:80]!r} is not the name of a service in the console, like s3")
    return _at(console, region, f"/{service}/home")


def _at(console: Console, region: str, path: str) -> str:
    host = f"{region}.{console.console}" if region else console.console
    return f"https://{host}{path}" + (f"?region={region}" if region else "")


def checked_destination(console: Console, url: str) -> str:
    """Give a deep link as it stands, if it leads to this console. Raises ``ValueError``."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("the destination is not a URL") from None
    host = parts.hostname or ""
    plain = url.isascii() and url.isprintable() and not any(c in url for c in ' "<>\\^`{|}')
    if not plain or parts.scheme != "https" or port not in (None, 443) or "@" in parts.netloc:
        raise ValueError("the destination is not an https:// URL of the console")
    named = host == console.console or host.endswith(f".{console.console}")
    if not named and not (host == _QUICKSIGHT and console.partition == "aws"):
        raise ValueError(f"the destination is not on {console.console}")
    return url


# --- how long --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Duration:
    """How long a console session lasts, and how AWS is told."""

    seconds: int
    because: str
    """Whose limit it is, as a clause; of what was asked for: empty."""
    assume_s: int
    """``DurationSeconds`` of AssumeRole."""
    signin_s: int | None
    """``SessionDuration`` of getSigninToken; None: not sent."""


def duration(*, chained: bool, limit_s: int, because: str, asked_s: int = 0) -> Duration:
    """Give the duration of a console session.

    ``chained``: the gateway's own keys are temporary, so that AWS chains roles.
    ``limit_s`` is the strictest of the policy's limits and of the login, with ``because``;
    ``asked_s`` 0: as long as may be. Raises ``ValueError`` if less than AWS's 15 minutes are
    left, or more is asked for than may be.
    """
    most, why = limit_s, because
    if chained and most > CHAINED_MAX_S:
        most = CHAINED_MAX_S
        why = "AWS gives a role that another role assumes no longer session (role chaining)"
    elif most >= MAX_S:
        most, why = MAX_S, "AWS gives no longer console session"
    if most < MIN_S:
        raise ValueError(f"at most {most} seconds: {why}; AWS's least is {MIN_S}")
    if asked_s > most:
        raise ValueError(f"at most {most} seconds: {why}")
    if asked_s and asked_s < MIN_S:
        raise ValueError(f"AWS's least is {MIN_S} seconds")
    seconds = asked_s or most
    if chained:
        return Duration(seconds, "" if asked_s else why, seconds, None)
    # The role's keys need not last: the console session is an own one.
    return Duration(seconds, "" if asked_s else why, min(seconds, CHAINED_MAX_S), seconds)


# --- the question and the URLs ------------------------------------------------------------


def token_form(keys: SigningKeys, signin_s: int | None) -> bytes:
    """Give the body of getSigninToken. It is as secret as the keys."""
    session = {
        "sessionId": keys.access_key_id,
        "sessionKey": keys.secret_access_key,
        "sessionToken": keys.session_token,
    }
    fields = {"Action": "getSigninToken"}
    if signin_s is not None:
        fields["SessionDuration"] = str(signin_s)
    fields["Session"] = json.dumps(session, separators=(",", ":"))
    return urlencode(fields).encode()


def read_token(body: bytes) -> str:
    """Give the token of getSigninToken's answer. Raises ``ValueError``, which quotes nothing."""
    try:
        token = json.loads(body)["SigninToken"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ValueError("the answer of the sign-in endpoint holds no token") from None
    if not isinstance(token, str) or len(token) > MAX_TOKEN_CHARS or not _TOKEN.fullmatch(token):
        raise ValueError("the answer of the sign-in endpoint holds no token")
    return token


def login_url(host: str, token: str, *, page: str, issuer: str) -> str:
    """Give the URL that signs a browser in. Whoever opens it is the user: it is a secret.

    ``issuer`` is where AWS sends a person whose session has ended.
    """
    fields = {"Action": "login", "Issuer": issuer, "Destination": page, "SigninToken": token}
    kept = {name: value for name, value in fields.items() if value}
    return f"https://{host}/federation?{urlencode(kept, quote_via=quote)}"


def switching_url(console: Console, region: str, url: str) -> str:
    """Give the URL that signs out whoever is signed in, and goes on to a login URL.

    Without it AWS says "you must first log out". The login URL must be of a regional
    host: the one without a region is not taken as a place to go on to.
    """
    host = console.regional_host(region)
    return f"https://{host}/oauth?Action=logout&redirect_uri={quote(url, safe='')}"
