"""The scalars of the policy documents: each is checked once, here, on the way in.

Every check says what is wrong with the value, and never repeats a value that could
hold a secret. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Annotated, Any
from unicodedata import normalize
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BeforeValidator

from awsgate.aws.addresses import address_verdict
from awsgate.policy.templates import Matcher, parse_template
from awsgate.visible import is_visible

MAX_ARN_CHARS = 2048  # RoleArn of sts:AssumeRole
MAX_NAME_CHARS = 255
ACCOUNT_LABEL = "aws_account_id"
"""Says which account an app is."""

_VERSION = re.compile(r"v[0-9]{1,3}")
LAST_VERSION = 8  # the reference product's newest, of its roles
_ACCOUNT = re.compile(r"[0-9]{12}")
# IAM: path of printable ASCII between slashes, name of 1 to 64 characters.
_ROLE_ARN = re.compile(
    r"arn:(?P<partition>aws(?:-[a-z]+)*):iam::(?P<account>[0-9]{12}):"
    r"role/(?:[!-.0-~]+/)*[A-Za-z0-9_+=,.@-]{1,64}"
)
# The same with globs; the account can be one as well.
_ROLE_ARN_PATTERN = re.compile(
    r"arn:[a-z*?-]{1,32}:iam::[0-9*?]{1,12}:(?:role/(?:[!-.0-~]+/)*[A-Za-z0-9_+=,.@*?-]{1,64}|\*)"
)
_SESSION_NAME = re.compile(r"[A-Za-z0-9_+=,.@-]{2,64}")
_SESSION_ID = re.compile(r"[0-9a-f]{20}")
_EXTERNAL_ID = re.compile(r"[A-Za-z0-9_+=,.@:/-]{2,1224}")
_SERVICE = re.compile(r"\*|[a-z0-9][a-z0-9.-]*")
_DURATION = re.compile(r"(?=.)(?:([0-9]{1,6})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,8})s)?")
_HOST_PORT = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]*):([0-9]{1,5})")
_HOST_PATTERN = re.compile(r"[A-Za-z0-9*._:/\[\]-]+")
_CONSOLES = {
    "console.aws.amazon.com": "aws",
    "quicksight.aws.amazon.com": "aws",
    "amazonaws.com": "",  # several partitions' hosts: the region would say
    "api.aws": "",
    "console.amazonaws-us-gov.com": "aws-us-gov",
    "amazonaws-us-gov.com": "aws-us-gov",
    "console.amazonaws.cn": "aws-cn",
    "amazonaws.cn": "aws-cn",
    "amazonaws.com.cn": "aws-cn",
    "amazonaws.eu": "aws-eusc",
    "amazonaws-eusc.eu": "aws-eusc",
    "aws.amazon.com": "aws",
}
"""Suffix of an app's host -> partition; empty: it does not say. Others are no AWS."""


def empty() -> Mapping[str, Any]:
    """Give the mapping that stands for a field left out."""
    return MappingProxyType({})


def is_account(value: str) -> bool:
    """True for the twelve digits of an account id."""
    return _ACCOUNT.fullmatch(value) is not None


def account_and_partition(role_arn: str) -> tuple[str, str] | None:
    """Give account and partition of an IAM role's ARN; None: it is none."""
    if len(role_arn) > MAX_ARN_CHARS:
        return None
    match = _ROLE_ARN.fullmatch(role_arn)
    return (match["account"], match["partition"]) if match else None


def is_session_name(name: str) -> bool:
    """True for what AWS takes as RoleSessionName; ``session_name_for`` changes other names."""
    return _SESSION_NAME.fullmatch(name) is not None


def is_session_id(value: str) -> bool:
    """True for the id of a gateway session, as ``awsgate.session`` makes it."""
    return _SESSION_ID.fullmatch(value) is not None


def partition_of_uri(uri: str) -> str:
    """Give the partition that an app's URI names, or nothing if it leaves it open."""
    host = urlsplit(uri).hostname or ""
    return _CONSOLES.get(_suffix(host) or "", "")


@lru_cache(maxsize=4096)
def label_pattern(value: str) -> re.Pattern[str]:
    """Compile a label's value: ``^...$`` is a regular expression, ``*`` any run.

    Searched, not fully matched: in ``^a|b$`` each branch has one anchor, as written.
    """
    if value.startswith("^") and value.endswith("$"):
        return re.compile(value, re.ASCII)
    return re.compile(r"\A" + ".*".join(map(re.escape, value.split("*"))) + r"\Z", re.DOTALL)


def _suffix(host: str) -> str | None:
    labels = host.split(".")
    suffixes = (".".join(labels[i:]) for i in range(len(labels)))
    return next((s for s in suffixes if s in _CONSOLES), None)


def is_name(value: str) -> bool:
    """True for what may be the name of a document."""
    try:
        _name(value)
    except ValueError:
        return False
    return True


def same_name(value: str) -> str:
    """Give what names of one person have in common: letter case and forms of Unicode vary.

    Providers know a person in any of them, and some let people choose which.
    """
    return value.lower() if value.isascii() else normalize("NFKC", value).casefold()


def _name(value: str) -> str:
    if not value or len(value) > MAX_NAME_CHARS or value != value.strip():
        raise ValueError(f"{value[:80]!r} is not a name: 1 to {MAX_NAME_CHARS} characters")
    _text(value)
    if not is_visible(value):  # it would read like another's, and be another
        raise ValueError(f"{value[:80]!a} holds characters that cannot be seen")
    return value


def _text(value: str) -> str:
    if not value.isprintable():
        raise ValueError(f"{value[:80]!r} holds control characters")
    return value


def _description(value: str) -> str:
    _text(value.replace("\n", " "))
    return value


def _version(value: str) -> str:
    if not _VERSION.fullmatch(value):
        raise ValueError(f"{value[:80]!r} is not a version like 'v5'")
    if value not in {f"v{number}" for number in range(1, LAST_VERSION + 1)}:
        raise ValueError(f"{value!r} is not one of the versions v1 to v{LAST_VERSION}")
    return value


def _quoted(value: object) -> object:
    """Text stays; a number that can only be an account id is one; the rest is a trap.

    Always ``ValueError``: pydantic makes a fault of nothing else.
    """
    if isinstance(value, int) and not isinstance(value, bool) and is_account(str(value)):
        return str(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError(f"{value!r} is a number, and YAML drops leading zeros: quote it")  # noqa: TRY004
    if isinstance(value, bool) or value is None:
        raise ValueError(f"YAML reads it as {value!r}: quote it")
    return value


def _as_list(value: object) -> object:
    return value if isinstance(value, list | tuple) else (value,)


def label_value(value: str) -> str:
    """Check a label's value."""
    _text(value)
    if parse_template(value) is None:
        try:
            label_pattern(value)
        except (re.error, OverflowError, RecursionError) as exc:
            raise ValueError(f"{value[:200]!r} is not a regular expression: {exc}") from None
    return value


def _selector(value: Mapping[str, tuple[str, ...]]) -> Mapping[str, tuple[str, ...]]:
    for key, values in value.items():
        if not key or "{{" in key:
            raise ValueError(f"{key[:80]!r} is not a label")
        if "*" in key and (key, values) != ("*", ("*",)):
            raise ValueError("'*' as a label goes with '*' as its one value: \"'*': '*'\"")
    return value


def _role_arn(value: str) -> str:
    template = parse_template(value)
    if isinstance(template, Matcher):
        raise ValueError(f"{value[:200]!r}: a test is for labels; compare ARNs with globs")  # noqa: TRY004
    form = _ROLE_ARN_PATTERN if "*" in value or "?" in value else _ROLE_ARN
    if template is None and not form.fullmatch(_text(value)):
        raise ValueError(f"{value[:200]!r} is not a role ARN (arn:aws:iam::<account>:role/<name>)")
    return value


def _external_id(value: str) -> str:
    if value and not _EXTERNAL_ID.fullmatch(value):
        raise ValueError("not an external id: 2 to 1224 letters, digits and _+=,.@:/-")
    return value


def _service(value: str) -> str:
    if not _SERVICE.fullmatch(value):
        raise ValueError(f"{value[:80]!r} is not a service like 'execute-api', or '*'")
    return value


def _account(value: object) -> object:
    value = _quoted(value)
    if isinstance(value, str) and value != "*" and not is_account(value):
        raise ValueError(f"{value[:80]!r} is not a 12-digit account id, or '*'")
    return value


def _seconds(value: object) -> int:
    """Parse ``8h``, ``1h30m``, ``12h0m0s``."""
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{str(value)[:80]!r} is not a duration like '8h' or '1h30m'")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    total = hours * 3600 + minutes * 60 + seconds
    if total == 0:
        raise ValueError(f"{value!r} is no time at all")
    return total


def _host_port(value: str) -> str:
    match = _HOST_PORT.fullmatch(value)
    if match is None or int(match[1]) > 65535:
        raise ValueError(f"{value[:80]!r} is not 'host:port'")
    return value


def _optional_host_port(value: str) -> str:
    return _host_port(value) if value else value


def _host_pattern(value: str) -> str:
    if not _HOST_PATTERN.fullmatch(value):
        raise ValueError(f"{value[:80]!r} is not a host or a pattern of hosts")
    return value


def _split_url(value: str, schemes: tuple[str, ...]) -> SplitResult:
    # Not repeated: a URL may hold a password.
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError as exc:
        raise ValueError(f"not a URL: {exc}") from None
    if not value.isascii() or not value.isprintable() or any(c in value for c in ' \\"<>^`{|}'):
        raise ValueError("not a URL: it holds characters that must be percent-encoded")
    if parts.scheme not in schemes or not parts.hostname:
        raise ValueError(f"not a URL that starts with {' or '.join(s + '://' for s in schemes)}")
    if "@" in parts.netloc:
        raise ValueError("a URL here may not hold a user or password")
    return parts


def _endpoint_url(value: str) -> str:
    parts = _split_url(value, ("http", "https"))
    if parts.path not in ("", "/") or "?" in value or "#" in value:
        raise ValueError(f"{value[:200]!r} must be scheme, host and port alone")
    return value


def provider_url(value: str) -> str:
    """Check a URL of an identity provider: https, or plain on this machine alone."""
    parts = _split_url(value, ("https", "http"))
    if parts.scheme == "http" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
        raise ValueError("must start with https://: tokens go there")
    if "#" in value:
        raise ValueError("may not have a fragment")
    _check_literal((parts.hostname or "").removesuffix("."))
    return value


# What inet_aton takes for an address, and so a resolver: 2852039166, 0xa9fe.0xa9fe, 127.1
_NUMBER = r"(?:0x[0-9a-f]*|[0-9]+)"
_NUMBERS = re.compile(rf"{_NUMBER}(?:\.{_NUMBER}){{0,3}}")


def _check_literal(host: str) -> None:
    """Refuse an address where no provider is, and one in any spelling but the usual.

    Private ones may be: the provider of a company often has one.
    """
    verdict = address_verdict(host, private_ok=True)
    if verdict == "malformed" and _NUMBERS.fullmatch(host):
        raise ValueError("its host is a number, not a name or an address")
    if verdict in ("metadata", "link-local", "unusable", "reserved"):
        raise ValueError(f"no identity provider is at a {verdict} address")


def _optional_keys_url(value: str) -> str:
    if value.startswith("file://"):
        if not value.startswith("file:///") or not value.isprintable():
            raise ValueError("a file is named by its whole path: file:///etc/awsgate/keys.json")
        return value
    return provider_url(value) if value else value


def _optional_endpoint_url(value: str) -> str:
    return _endpoint_url(value) if value else value


def _app_uri(value: str) -> str:
    parts = _split_url(value, ("https",))
    if parts.port not in (None, 443) or _suffix(parts.hostname or "") is None:
        raise ValueError(
            f"{value[:200]!r} is not the console or another AWS URL "
            "(https://console.aws.amazon.com/)"
        )
    return value


def _not_empty[T: (str, tuple[str, ...])](value: T) -> T:
    # Not Field(min_length=1): that also counts the items that have faults of their own.
    if not value:
        raise ValueError("is empty")
    return value


def _freeze(value: Mapping[Any, Any]) -> Mapping[Any, Any]:
    return MappingProxyType(dict(value))


freeze = AfterValidator(_freeze)
not_empty = AfterValidator(_not_empty)

Name = Annotated[str, AfterValidator(_name)]
Text = Annotated[str, AfterValidator(_description)]
Version = Annotated[str, AfterValidator(_version)]
Seconds = Annotated[int, BeforeValidator(_seconds, json_schema_input_type=str)]
Account = Annotated[str, BeforeValidator(_account)]
HostPort = Annotated[str, AfterValidator(_host_port)]
OptionalHostPort = Annotated[str, AfterValidator(_optional_host_port)]
HostPattern = Annotated[str, AfterValidator(_host_pattern)]
EndpointUrl = Annotated[str, AfterValidator(_endpoint_url)]
OptionalEndpointUrl = Annotated[str, AfterValidator(_optional_endpoint_url)]
ProviderUrl = Annotated[str, AfterValidator(provider_url)]
OptionalProviderUrl = Annotated[str, AfterValidator(lambda v: provider_url(v) if v else v)]
OptionalKeysUrl = Annotated[str, AfterValidator(_optional_keys_url)]
AppUri = Annotated[str, AfterValidator(_app_uri)]
ExternalId = Annotated[str, AfterValidator(_external_id)]
TenantService = Annotated[str, AfterValidator(_service)]
RoleArnEntry = Annotated[str, AfterValidator(_role_arn)]
Quoted = Annotated[str, BeforeValidator(_quoted), AfterValidator(_text)]
Labels = Annotated[Mapping[Name, Quoted], freeze]
Traits = Annotated[Mapping[Name, tuple[Quoted, ...]], freeze]
Selector = Annotated[
    Mapping[
        str,
        Annotated[
            tuple[Annotated[str, BeforeValidator(_quoted), AfterValidator(label_value)], ...],
            BeforeValidator(_as_list, json_schema_input_type=str | tuple[str, ...]),
            not_empty,
        ],
    ],
    AfterValidator(_selector),
    freeze,
]
"""``app_labels``: label -> values, any of which will do."""
