"""The console's sign-in: hosts, pages, durations and URLs of every partition."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from urllib.parse import parse_qs, parse_qsl, urlsplit

import botocore
import pytest

from awsgate.aws import signin
from awsgate.aws.signin import CONSOLES, Duration, console_of, duration
from awsgate.aws.sigv4 import SigningKeys

KEYS = SigningKeys("ASIAEXAMPLE", "canary/secret+key", "canary==token&x")
TOKEN = "t" * 200

# app URI -> partition and region, or None
URIS = {
    "https://console.aws.amazon.com": ("aws", ""),
    "https://console.aws.amazon.com/s3/home": ("aws", ""),
    "https://eu-central-1.console.aws.amazon.com/": ("aws", "eu-central-1"),
    "https://quicksight.aws.amazon.com": ("aws", ""),
    "https://console.amazonaws-us-gov.com": ("aws-us-gov", ""),
    "https://us-gov-east-1.console.amazonaws-us-gov.com": ("aws-us-gov", "us-gov-east-1"),
    "https://console.amazonaws.cn": ("aws-cn", ""),
    "https://cn-northwest-1.console.amazonaws.cn": ("aws-cn", "cn-northwest-1"),
    "https://console.amazonaws-eusc.eu": ("aws-eusc", ""),
    "https://eusc-de-east-1.console.amazonaws-eusc.eu": ("aws-eusc", "eusc-de-east-1"),
    "https://cn-north-1.console.aws.amazon.com": None,
    "https://evil.console.aws.amazon.com": None,
    "https://a.us-east-1.console.aws.amazon.com": None,
    "https://xconsole.aws.amazon.com": None,
    "https://console.aws.amazon.com.evil.example": None,
    "https://sts.amazonaws.com": None,
    "https://s3.console.aws.amazon.com": None,
}


@pytest.mark.parametrize(("uri", "expected"), URIS.items(), ids=URIS)
def test_the_uri_decides(uri: str, expected: tuple[str, str] | None) -> None:
    found = console_of(uri)

    assert (None if found is None else (found[0].partition, found[1])) == expected


def test_the_regional_hosts_are_those_of_botocore() -> None:
    folder = Path(botocore.__file__).parent / "data/signin"
    (rules,) = folder.glob("*/endpoint-rule-set-1.json.gz")
    hosts = set(re.findall(r'"https://([^"]+)"', gzip.decompress(rules.read_bytes()).decode()))

    assert {c.regional.replace("{region}", "{Region}") for c in CONSOLES.values()} <= hosts


# partition -> region, service -> parts of the URLs
LANDINGS = {
    ("aws", "", ""): (
        "us-east-1.signin.aws.amazon.com",
        "https://console.aws.amazon.com/console/home",
    ),
    ("aws", "eu-west-1", "s3"): (
        "eu-west-1.signin.aws.amazon.com",
        "https://eu-west-1.console.aws.amazon.com/s3/home?region=eu-west-1",
    ),
    ("aws-us-gov", "", "ec2"): (
        "us-gov-west-1.signin.amazonaws-us-gov.com",
        "https://console.amazonaws-us-gov.com/ec2/home",
    ),
    ("aws-us-gov", "us-gov-east-1", ""): (
        "us-gov-east-1.signin.amazonaws-us-gov.com",
        "https://us-gov-east-1.console.amazonaws-us-gov.com/console/home?region=us-gov-east-1",
    ),
    ("aws-cn", "cn-north-1", "s3"): (
        "cn-north-1.signin.amazonaws.cn",
        "https://cn-north-1.console.amazonaws.cn/s3/home?region=cn-north-1",
    ),
    ("aws-eusc", "", ""): (
        "eusc-de-east-1.signin.amazonaws-eusc.eu",
        "https://console.amazonaws-eusc.eu/console/home",
    ),
}


@pytest.mark.parametrize(("asked", "parts"), LANDINGS.items(), ids="/".join)
def test_each_part_of_the_login_url(asked: tuple[str, str, str], parts: tuple[str, str]) -> None:
    partition, region, service = asked
    console = CONSOLES[partition]
    page = signin.destination(console, region=region, service=service)
    url = signin.login_url(
        console.regional_host(region), TOKEN, page=page, issuer="https://gate.example.com/"
    )

    split = urlsplit(url)
    assert (split.scheme, split.netloc, split.path) == ("https", parts[0], "/federation")
    assert dict(parse_qsl(split.query, strict_parsing=True)) == {
        "Action": "login",
        "Issuer": "https://gate.example.com/",
        "Destination": parts[1],
        "SigninToken": TOKEN,
    }


def test_an_app_that_names_a_page_leads_there() -> None:
    uri = "https://console.aws.amazon.com/cloudwatch/home"

    assert signin.destination(CONSOLES["aws"], region="", uri=uri) == uri
    assert signin.destination(CONSOLES["aws"], region="", service="s3", uri=uri) != uri


@pytest.mark.parametrize(
    ("region", "service", "said"),
    [
        ("cn-north-1", "", "is not a region of aws"),
        ("evil.example/", "", "is not a region of aws"),
        ("", "../x", "is not the name of a service"),
        ("", "s3/home#", "is not the name of a service"),
    ],
)
def test_what_cannot_be_a_part_of_a_host_or_path(region: str, service: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        signin.destination(CONSOLES["aws"], region=region, service=service)


@pytest.mark.parametrize(
    "region",
    ["evil.example/", "evil.example/x?", "evil.example#", "127.0.0.1:8443/", "cn-north-1",
     "eu-west-\uff11"],
)  # fmt: skip
def test_no_region_makes_a_sign_in_host_of_somebody_elses(region: str) -> None:
    with pytest.raises(ValueError, match="is not a region of aws"):
        CONSOLES["aws"].regional_host(region)


@pytest.mark.parametrize(
    "url",
    [
        "https://console.aws.amazon.com/s3/buckets/x?region=us-east-1#tab=a",
        "https://us-east-1.console.aws.amazon.com/lambda/home",
        "https://s3.console.aws.amazon.com/s3/home",
        "https://quicksight.aws.amazon.com/sn/start",
    ],
)
def test_a_deep_link_stays_as_it_is(url: str) -> None:
    assert signin.checked_destination(CONSOLES["aws"], url) == url


@pytest.mark.parametrize(
    "url",
    [
        "http://console.aws.amazon.com/",
        "https://console.aws.amazon.com.evil.example/",
        "https://evilconsole.aws.amazon.com/",
        "https://console.aws.amazon.com@evil.example/",
        "https://evil.example/?console.aws.amazon.com",
        "https://console.amazonaws.cn/",
        "https://console.aws.amazon.com:8443/",
        "https://console.aws.amazon.com/\\evil",
        "//console.aws.amazon.com/",
        "javascript:alert(1)",
        "https://[::1",
        "https://console.aws.amazon.com/\r\nx",
        "",
    ],
)
def test_a_deep_link_leads_to_the_console_or_nowhere(url: str) -> None:
    with pytest.raises(ValueError, match="destination"):
        signin.checked_destination(CONSOLES["aws"], url)


H = 3600
CHAIN = "AWS gives a role that another role assumes no longer session (role chaining)"
AWS = "AWS gives no longer console session"
LOGIN = "the login ends then"
# id -> (chained, limit, asked) -> (seconds, because, AssumeRole, SessionDuration)
DURATIONS: dict[str, tuple[tuple[bool, int, int], tuple[int, str, int, int | None]]] = {
    "long-term keys, 12 hours": ((False, 12 * H, 0), (12 * H, AWS, H, 12 * H)),
    "long-term keys, a login of 30 hours": ((False, 30 * H, 0), (12 * H, AWS, H, 12 * H)),
    "long-term keys, four hours left": ((False, 4 * H, 0), (4 * H, LOGIN, H, 4 * H)),
    "long-term keys, half an hour left": ((False, H // 2, 0), (H // 2, LOGIN, H // 2, H // 2)),
    "long-term keys, two hours asked": ((False, 12 * H, 2 * H), (2 * H, "", H, 2 * H)),
    "long-term keys, the least": ((False, 900, 900), (900, "", 900, 900)),
    "temporary keys, 12 hours": ((True, 12 * H, 0), (H, CHAIN, H, None)),
    "temporary keys, an hour left": ((True, H, 0), (H, LOGIN, H, None)),
    "temporary keys, half an hour left": ((True, H // 2, 0), (H // 2, LOGIN, H // 2, None)),
    "temporary keys, 20 minutes asked": ((True, 12 * H, 1200), (1200, "", 1200, None)),
}


@pytest.mark.parametrize(("given", "expected"), DURATIONS.values(), ids=DURATIONS)
def test_how_long(given: tuple[bool, int, int], expected: tuple[int, str, int, int | None]) -> None:
    chained, limit_s, asked_s = given

    found = duration(chained=chained, limit_s=limit_s, because=LOGIN, asked_s=asked_s)

    assert found == Duration(*expected)


@pytest.mark.parametrize(
    ("chained", "limit_s", "asked_s", "said"),
    [
        (False, 899, 0, "at most 899 seconds: the login ends then; AWS's least is 900"),
        (True, 0, 0, "AWS's least is 900"),
        (False, 12 * H, 13 * H, "at most 43200 seconds: AWS gives no longer console session"),
        (True, 12 * H, 2 * H, r"at most 3600 seconds: .*role chaining"),
        (False, 4 * H, 5 * H, "at most 14400 seconds: the login ends then"),
        (False, 12 * H, 60, "AWS's least is 900 seconds"),
    ],
)
def test_too_long_or_too_short(chained: bool, limit_s: int, asked_s: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        duration(chained=chained, limit_s=limit_s, because=LOGIN, asked_s=asked_s)


def test_the_form_holds_the_session_as_aws_reads_it() -> None:
    fields = {k: v[0] for k, v in parse_qs(signin.token_form(KEYS, 43200).decode()).items()}

    assert fields.keys() == {"Action", "SessionDuration", "Session"}
    assert (fields["Action"], fields["SessionDuration"]) == ("getSigninToken", "43200")
    assert json.loads(fields["Session"]) == {
        "sessionId": KEYS.access_key_id,
        "sessionKey": KEYS.secret_access_key,
        "sessionToken": KEYS.session_token,
    }
    assert b"SessionDuration" not in signin.token_form(KEYS, None)


def test_the_token_of_an_answer() -> None:
    assert signin.read_token(json.dumps({"SigninToken": TOKEN}).encode()) == TOKEN


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"{}", b'{"SigninToken": 5}', b'{"SigninToken": "short"}',
     json.dumps({"SigninToken": "x\r\n" * 20}).encode(),
     json.dumps({"SigninToken": "x" * 20_000}).encode()],
    ids=["nothing", "a page", "a list", "no token", "a number", "short", "line breaks", "endless"],
)  # fmt: skip
def test_an_answer_without_a_token_is_told_and_not_quoted(body: bytes) -> None:
    with pytest.raises(ValueError, match="holds no token") as caught:
        signin.read_token(body)
    assert caught.value.__cause__ is None


def test_a_switch_of_accounts_signs_out_first_and_goes_on_by_a_regional_host() -> None:
    console = CONSOLES["aws"]
    login = signin.login_url(
        console.regional_host(""), TOKEN, page="https://console.aws.amazon.com/", issuer=""
    )

    url = urlsplit(signin.switching_url(console, "", login))

    assert (url.netloc, url.path) == ("us-east-1.signin.aws.amazon.com", "/oauth")
    assert parse_qs(url.query) == {"Action": ["logout"], "redirect_uri": [login]}
    assert urlsplit(login).netloc == "us-east-1.signin.aws.amazon.com"
