"""The scalars of the rules about AWS calls: each is checked once, on the way in. Pure.

What is wrong is said with the value and with an example of what is meant.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from ipaddress import IPv6Network, ip_network
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator

from awsgate.policy.templates import parse_template

type AccessLevelName = Literal["Read", "List", "Write", "Tagging", "Permissions management"]
type Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

MAX_PATTERN_CHARS = 2048

_ACTION = re.compile(r"\*|[A-Za-z0-9*?-]+:[A-Za-z0-9*?_]+")
_RESOURCE = re.compile(r"\*|arn:[a-z*?-]+:[a-z0-9*?-]+:[a-z0-9*?-]*:(?:[0-9*?]*|aws):.+", re.DOTALL)
_REGION = re.compile(r"\*|[a-z0-9*?-]+")
_SERVICE = re.compile(r"\*|[a-z0-9*?-]+")
_CLOCK = re.compile(r"(?:[01]\d|2[0-3]):[0-5]\d|24:00")
_POLICY_ARN = re.compile(r"arn:aws(?:-[a-z]+)*:iam::(?:aws|\d{12}):policy/[!-~]{1,512}")


def _checked(pattern: re.Pattern[str], what: str) -> AfterValidator:
    def check(value: str) -> str:
        template = parse_template(value)
        plain = value
        if template is not None:
            plain = f"{template.before}x{template.after}"
        if len(value) > MAX_PATTERN_CHARS or not value.isprintable():
            raise ValueError(f"{value[:80]!r} is too long or holds control characters")
        if not pattern.fullmatch(plain):
            raise ValueError(f"{value[:200]!r} is not {what}")
        return value

    return AfterValidator(check)


def _no_template(value: str) -> str:
    if parse_template(value) is not None:
        # It would be compared as it stands: a deny would match nothing, and look like safety.
        raise ValueError(
            f"{value[:200]!r}: an action takes no template; put it into aws_services or "
            "aws_resources, or write a role for each"
        )
    return value


def _network(value: str) -> str:
    try:
        found = ip_network(value)
    except ValueError as exc:
        raise ValueError(f"{value[:80]!r} is not a network like '10.0.0.0/8': {exc}") from None
    mapped = isinstance(found, IPv6Network) and found.network_address.ipv4_mapped
    if mapped and found.prefixlen >= 96:
        # Addresses are compared as IPv4, so it would match nothing: open, in a deny.
        raise ValueError(f"{value[:80]!r} is IPv4: write '{mapped}/{found.prefixlen - 96}'")
    return value


def _clock(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        # YAML 1.1 reads 18:00 as 1080, a number to the base of 60.
        raise ValueError(f"YAML reads this time as the number {value}: quote it")  # noqa: TRY004
    if not isinstance(value, str) or not _CLOCK.fullmatch(value):
        raise ValueError(f"{str(value)[:80]!r} is not a time of day like '08:00'")
    return value


def _timezone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        raise ValueError(
            f"{value[:80]!r} is not a time zone like 'UTC' or 'Europe/Berlin'"
        ) from None
    return value


def _moment(value: object) -> datetime:
    """Parse RFC 3339; a time without zone is nobody's."""
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        raise ValueError(f"{str(value)[:80]!r} is not a time like '2026-11-24T18:00:00Z'") from None
    if moment.tzinfo is None:
        raise ValueError(f"{str(value)[:80]!r} has no time zone: end it with Z or +01:00")
    return moment


def _inline_policy(value: object) -> str:
    """Give an IAM policy document in its shortest JSON."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise ValueError("is not JSON") from None
    if not isinstance(value, Mapping) or "Statement" not in value:
        raise ValueError("is not an IAM policy document: it has no Statement")
    try:
        return json.dumps(value, separators=(",", ":"), sort_keys=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise ValueError("is not an IAM policy document: it cannot be written as JSON") from None


def _policy_arn(value: str) -> str:
    if not _POLICY_ARN.fullmatch(value):
        raise ValueError(
            f"{value[:200]!r} is not the ARN of a managed policy "
            "(arn:aws:iam::aws:policy/ReadOnlyAccess)"
        )
    return value


def _templated(value: str) -> str:
    parse_template(value)
    return value


def given(value: tuple[Any, ...]) -> tuple[Any, ...]:
    """Refuse a list that is there and empty: it reads as "nothing" and would mean "all"."""
    if not value:
        raise ValueError("is empty, which would restrict nothing: leave it out")
    return value


def _deduplicated[T](value: tuple[T, ...]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(given(value)))


some = AfterValidator(_deduplicated)
"""At least one, and each once."""

ActionPattern = Annotated[
    str,
    AfterValidator(_no_template),
    _checked(_ACTION, "an action like 's3:GetObject', 's3:Get*' or '*:Describe*'"),
]
ResourcePattern = Annotated[
    str, _checked(_RESOURCE, "an ARN with globs like 'arn:aws:s3:::reports/*', or '*'")
]
RegionPattern = Annotated[str, _checked(_REGION, "a region like 'eu-west-1' or 'eu-*'")]
ServicePattern = Annotated[str, _checked(_SERVICE, "an IAM service prefix like 's3' or 'ec2'")]
Network = Annotated[str, AfterValidator(_network)]
Clock = Annotated[str, BeforeValidator(_clock, json_schema_input_type=str)]
Timezone = Annotated[str, AfterValidator(_timezone)]
Moment = Annotated[datetime, BeforeValidator(_moment, json_schema_input_type=str)]
InlinePolicy = Annotated[
    str, BeforeValidator(_inline_policy, json_schema_input_type=str | dict[str, Any])
]
PolicyArn = Annotated[str, AfterValidator(_policy_arn)]
Templated = Annotated[str, AfterValidator(_templated)]
