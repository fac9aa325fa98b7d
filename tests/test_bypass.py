"""NO_PROXY syntax, and the rules that hold everywhere."""

from __future__ import annotations

import re

import pytest

from awsgate.aws.partitions import PARTITIONS
from awsgate.bypass import Bypass, BypassRule, builtin_rules

CASES = {
    "a name reaches itself": ("corp.example", "corp.example", True),
    "a name reaches what is under it": ("corp.example", "a.b.corp.example", True),
    "a name stops at a label": ("corp.example", "evilcorp.example", False),
    "a dot reaches only what is under it": (".corp.example", "corp.example", False),
    "a dot reaches any depth": (".corp.example", "a.b.corp.example", True),
    "a leading star reaches any depth": ("*.corp.example", "a.b.corp.example", True),
    "a star in the middle is one label": ("api.*.corp.example", "api.a.b.corp.example", False),
    "a glob matches": ("api-*.corp.example", "api-1.corp.example", True),
    "a glob is anchored": ("api-*.corp.example", "api-1.corp.example.evil", False),
    "a star reaches everything": ("*", "anything.example", True),
    "case does not count": ("CORP.example", "corp.example", True),
    "a port must be equal": ("corp.example:8443", "corp.example", False),
    "a network reaches its addresses": ("10.0.0.0/8", "10.1.2.3", True),
    "a network does not reach names": ("10.0.0.0/8", "ten.example", False),
    "an address reaches itself": ("192.0.2.1", "192.0.2.1", True),
    "a network of the other version": ("2001:db8::/32", "10.1.2.3", False),
    "an address in another spelling": ("[2001:0db8:0::1]:443", "2001:db8::1", True),
    "an address with a port that differs": ("[2001:db8::1]:444", "2001:db8::1", False),
    "one letter of a label": ("api-?.corp.example", "api-1.corp.example", True),
    "and not two": ("api-?.corp.example", "api-12.corp.example", False),
    "a dot in a name is no wildcard": ("a.example", "axexample.example", False),
}


@pytest.mark.parametrize(("entry", "host", "expected"), CASES.values(), ids=CASES)
def test_patterns(entry: str, host: str, expected: bool) -> None:
    bypass = Bypass([BypassRule((entry,), "test")])

    assert (bypass.match(host, 443) is not None) is expected


def test_a_port_is_matched() -> None:
    bypass = Bypass([BypassRule(("corp.example:8443",), "test")])

    assert bypass.match("corp.example", 8443) is not None


@pytest.mark.parametrize("partition", PARTITIONS, ids=lambda p: p.id)
@pytest.mark.parametrize("name", ["ssmmessages", "ec2messages", "ssmmessages-fips"])
def test_ssm_channels_are_bypassed_in_every_partition(partition, name) -> None:  # type: ignore[no-untyped-def]
    bypass = Bypass(builtin_rules())

    for suffix in (partition.suffix, partition.dual_stack_suffix):
        assert bypass.match(f"{name}.{partition.global_region}.{suffix}", 443) is not None


@pytest.mark.parametrize(
    "host", ["ssm.us-east-1.amazonaws.com", "x.ssmmessages.us-east-1.amazonaws.com",
             "ssmmessages.us-east-1.amazonaws.com.evil.example", "ssmmessagesx.us-east-1.api.aws",
             "ssmmessages.s3.amazonaws.com", "ec2messages.s3-us-west-2.amazonaws.com",
             "ssmmessages.s3-accelerate.amazonaws.com", "ssmmessages.us-east-1.s3.amazonaws.com",
             "ssmmessages.vpce-1.us-east-1.vpce.amazonaws.com"]
)  # fmt: skip
def test_nothing_else_is(host: str) -> None:
    assert Bypass(builtin_rules()).match(host, 443) is None


def test_only_port_443_is() -> None:
    assert Bypass(builtin_rules()).match("ssmmessages.us-east-1.amazonaws.com", 22) is None


@pytest.mark.parametrize("entry", ["", "http://a.example", "a.example:x", "a b", "u@a.example"])
def test_a_bad_entry_is_named(entry: str) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(entry))):
        Bypass([BypassRule((entry,), "corp")])
