"""CONNECT: which hosts are intercepted, tunnelled, refused."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awsgate.addon.tunnels import Route, Way, decide_route
from awsgate.bypass import Bypass, BypassRule, builtin_rules

BYPASS = Bypass(
    [
        BypassRule(("*.corp.example", "10.0.0.7", "s3.eu-north-1.amazonaws.com"), "operator"),
        *builtin_rules(),
    ]
)
INTERCEPT, TUNNEL, REFUSE = Way.INTERCEPT, Way.TUNNEL, Way.REFUSE
STS = "sts.eu-west-1.amazonaws.com"
LAMBDA_URL = "abcdefghijklmnopqrstuvwxyz012345.lambda-url.eu-west-1.on.aws"

# host, port, then the way, host and reason on a shared host (non_aws: refuse).
CASES: dict[str, tuple[str, int, Way, str, str]] = {
    "aws": (STS, 443, INTERCEPT, STS, "aws"),
    "aws in capitals": ("STS.EU-West-1.AmazonAWS.com", 443, INTERCEPT, STS, "aws"),
    "aws with its root dot": (f"{STS}.", 443, INTERCEPT, STS, "aws"),
    "aws in china": ("s3.cn-north-1.amazonaws.com.cn", 443, INTERCEPT, "", "aws"),
    "aws dual stack": ("lambda.eu-west-1.api.aws", 443, INTERCEPT, "", "aws"),
    "aws, a host of tenants": (LAMBDA_URL, 443, INTERCEPT, "", "aws"),
    # Inside TLS it is refused in the call's own words.
    "aws, another port": (STS, 8443, INTERCEPT, STS, "aws"),
    "aws, port 80": (STS, 80, INTERCEPT, STS, "aws"),
    "the operator's bypass": ("git.corp.example", 443, TUNNEL, "git.corp.example", "operator"),
    "the operator's bypass, in capitals": ("GIT.corp.example.", 22, TUNNEL, "", "operator"),
    "a bypass goes before aws": ("s3.eu-north-1.amazonaws.com", 443, TUNNEL, "", "operator"),
    "a session channel": ("ssmmessages.eu-west-1.amazonaws.com", 443, TUNNEL, "", "ssm"),
    "an address that is listed": ("10.0.0.7", 443, TUNNEL, "10.0.0.7", "operator"),
    "an address": ("10.0.0.8", 443, REFUSE, "10.0.0.8", "ip-literal"),
    "the metadata service": ("169.254.169.254", 80, REFUSE, "169.254.169.254", "ip-literal"),
    "an IPv6 address": ("fd00:ec2::254", 80, REFUSE, "fd00:ec2::254", "ip-literal"),
    "an IPv6 address in brackets": ("[::1]", 443, REFUSE, "::1", "ip-literal"),
    "no aws": ("example.com", 443, REFUSE, "example.com", "non-aws"),
    "only ends like aws": ("evilamazonaws.com", 443, REFUSE, "", "non-aws"),
    "only begins like aws": (f"{STS}.evil.example", 443, REFUSE, "", "non-aws"),
    "a database": ("db.abc123.eu-west-1.rds.amazonaws.com", 5432, REFUSE, "", "non-aws"),
    "a virtual machine": (
        "ec2-1-2-3-4.eu-west-1.compute.amazonaws.com",
        443,
        REFUSE,
        "",
        "non-aws",
    ),
    "the control API, which is off": (
        "awsgate.internal",
        443,
        REFUSE,
        "awsgate.internal",
        "control",
    ),
    "two root dots": (f"{STS}..", 443, REFUSE, f"{STS}..", "bad-host"),
    "no host": ("", 443, REFUSE, "", "bad-host"),
    "userinfo": (f"a@{STS}", 443, REFUSE, f"a@{STS}", "bad-host"),
    "a space": ("sts amazonaws.com", 443, REFUSE, "sts amazonaws.com", "bad-host"),
    "a zero byte": ("sts\0.amazonaws.com", 443, REFUSE, "", "bad-host"),
    "a path": (f"{STS}/x", 443, REFUSE, "", "bad-host"),
    "userinfo with a password": (f"a:b@{STS}", 443, REFUSE, "", "bad-host"),
    "userinfo that is aws, and another host": (f"{STS}@evil.example", 443, REFUSE, "", "bad-host"),
    "a port in the host": (f"{STS}:443", 443, REFUSE, "", "bad-host"),
    "a scheme": (f"https://{STS}", 443, REFUSE, "", "bad-host"),
    "a backslash": (f"{STS}\\.evil.example", 443, REFUSE, "", "bad-host"),
    "an encoded dot": ("sts%2eeu-west-1.amazonaws.com", 443, REFUSE, "", "bad-host"),
    "a number for an address": ("2130706433", 443, REFUSE, "", "bad-host"),
    "a short address": ("127.1", 443, REFUSE, "", "bad-host"),
    "a hexadecimal address": ("0x7f000001", 443, REFUSE, "", "bad-host"),
    "a hexadecimal last label": ("127.0.0.0x1", 443, REFUSE, "", "bad-host"),
    "an octal address": ("0177.0.0.1", 443, REFUSE, "", "bad-host"),
    "an address with its root dot": ("127.0.0.1.", 443, REFUSE, "", "bad-host"),
    "an address in digits of another script": ("１２７.0.0.1", 443, REFUSE, "", "bad-host"),
    "an address that is listed, mapped": ("::ffff:10.0.0.7", 443, REFUSE, "", "ip-literal"),
    "an address with a zone": ("fe80::1%eth0", 443, REFUSE, "", "ip-literal"),
    "this machine": ("localhost", 443, REFUSE, "", "bad-host"),
    # What IDNA reads as AWS's is AWS's, and dialled by that; what only looks like it is not.
    "aws in wide letters": ("ｓｔｓ.eu-west-1.amazonaws。com", 443, INTERCEPT, STS, "aws"),
    "a cyrillic s": ("\u0455ts.eu-west-1.amazonaws.com", 443, INTERCEPT, "", "aws"),
    "a cyrillic a in the suffix": ("sts.eu-west-1.\u0430mazonaws.com", 443, REFUSE, "", "non-aws"),
    "a dotless i": ("\u0131am.amazonaws.com", 443, INTERCEPT, "", "aws"),
    "a soft hyphen, which IDNA drops": (
        "st\u00ads.eu-west-1.amazonaws.com",
        443,
        INTERCEPT,
        STS,
        "aws",
    ),
    "a zero-width joiner": ("sts\u200d.eu-west-1.amazonaws.com", 443, INTERCEPT, STS, "aws"),
}


@pytest.mark.parametrize(("host", "port", "way", "name", "reason"), CASES.values(), ids=CASES)
def test_a_shared_host_tunnels_only_what_is_listed(
    host: str, port: int, way: Way, name: str, reason: str
) -> None:
    route = decide_route(host, port, bypass=BYPASS, non_aws="refuse")

    assert (route.way, route.port, route.reason) == (way, port, reason)
    assert not name or route.host == name


@pytest.mark.parametrize("case", CASES)
def test_a_workstation_tunnels_what_is_not_aws_besides(case: str) -> None:
    host, port, way, _, reason = CASES[case]

    route = decide_route(host, port, bypass=BYPASS, non_aws="tunnel")

    expected = TUNNEL if reason == "non-aws" else way
    assert (route.way, route.reason) == (expected, reason)


@pytest.mark.parametrize(
    ("host", "port", "way"),
    [
        ("awsgate.internal", 443, TUNNEL),
        ("AWSgate.INTERNAL.", 443, TUNNEL),
        ("awsgate.internal", 80, REFUSE),
        ("x.awsgate.internal", 443, REFUSE),
    ],
)
@pytest.mark.parametrize("non_aws", ["tunnel", "refuse"])
def test_the_control_api_has_a_name_that_is_nobodys(
    host: str, port: int, way: Way, non_aws: str
) -> None:
    if host.startswith("x.") and non_aws == "tunnel":
        way = TUNNEL  # as any other name

    # Not even a bypass of the operator's leads it elsewhere.
    bypass = Bypass([BypassRule(("*.internal", "awsgate.internal"), "operator")])
    route = decide_route(host, port, bypass=Bypass([]), non_aws=non_aws, control=True)
    bypassed = decide_route("awsgate.internal", 443, bypass=bypass, non_aws=non_aws, control=True)

    assert route.way is way
    assert (bypassed.way, bypassed.reason) == (TUNNEL, "control")


def test_a_host_of_any_length_is_cut_for_the_record() -> None:
    route = decide_route("a" * 5000 + "@", 443, bypass=BYPASS, non_aws="tunnel")

    assert route == Route(REFUSE, "a" * 255, 443, "bad-host")


PIECES = (
    "sts", "s3", ".", "\u3002", "eu-west-1", "amazonaws", "com", "api.aws", "@", ":", "443", "/",
    "\\\\", "#", "?", "%2e", "[", "]", "127", "0x7f", "::1", "\uff11", "\u0455", "\u00ad",
    "\u200d", "\u0130", "\u212a", "\ud800", "evil.example", " ", "\n", "\0", "A",
)  # fmt: skip


@given(st.one_of(st.text(max_size=60), st.lists(st.sampled_from(PIECES)).map("".join)))
def test_what_is_dialled_is_a_name_that_has_one_reading(host: str) -> None:
    for non_aws in ("tunnel", "refuse"):
        route = decide_route(host, 443, bypass=Bypass([]), non_aws=non_aws)
        if route.way is REFUSE:
            continue
        assert re.fullmatch(r"([a-z0-9_]([a-z0-9_-]*[a-z0-9_])?\.)+[a-z_][a-z0-9_-]*", route.host)
        again = decide_route(route.host, 443, bypass=Bypass([]), non_aws=non_aws)
        assert again == route
