"""What is set and unset, for whatever is in the caller's environment already."""

from __future__ import annotations

import pytest

from awsgate.variables import (
    ENDPOINT,
    KEYS,
    NO_PROXY,
    OTHER_IDENTITIES,
    Change,
    Keys,
    Way,
    access_by_endpoint,
    access_by_keys,
    leading_past,
    undoing,
)

WAY = Way("http://127.0.0.1:8080", "/ca/bundle.pem", "/ca/root.pem", "eu-west-1")
HELD = Keys("GATEAAAAAAAAAAAAAAAA", "secret-canary", "token-canary", 1_800_000_000)


def by_keys(environment: dict[str, str]) -> dict[str, str]:
    return access_by_keys(WAY, HELD, environment).applied(environment)


def test_nothing_of_another_identity_is_left() -> None:
    left_over = dict.fromkeys(OTHER_IDENTITIES, "x") | {"AWS_ENDPOINT_URL_S3": "x", "HOME": "/h"}

    found = by_keys(left_over)

    assert not ({*OTHER_IDENTITIES, "AWS_ENDPOINT_URL_S3"} & set(found))
    assert found["HOME"] == "/h"


def test_keys_and_endpoint_are_never_there_together() -> None:
    first = by_keys({})
    second = access_by_endpoint(WAY, "http://127.0.0.1:1/c", "t", first).applied(first)
    third = by_keys(second)

    assert set(KEYS) <= set(first)
    assert not set(KEYS) & set(second)
    assert set(ENDPOINT) <= set(second)
    assert third == first


def test_a_name_that_is_no_name_is_not_written() -> None:
    """A variable's name comes out of the caller's environment, and goes into a shell."""
    change = access_by_keys(WAY, HELD, {"AWS_ENDPOINT_URL_X;touch pwned": "x"})

    assert not [name for name in change.unset if ";" in name]


OWN = {
    "hosts of a company": ("corp.example,.internal", ["corp.example", ".internal"], []),
    "addresses and networks": ("10.0.0.0/8 192.168.1.1:80", ["10.0.0.0/8", "192.168.1.1:80"], []),
    "all of AWS": (".amazonaws.com,corp.example", ["corp.example"], [".amazonaws.com"]),
    "one host of AWS": ("s3.eu-west-1.amazonaws.com", [], ["s3.eu-west-1.amazonaws.com"]),
    "a wildcard of AWS": ("*.amazonaws.com.cn", [], ["*.amazonaws.com.cn"]),
    "all there is": ("*", [], ["*"]),
    "a whole domain": (".com,aws", [], [".com", "aws"]),
    "in capitals, with a port": ("S3.AmazonAWS.com:443", [], ["S3.AmazonAWS.com:443"]),
    "with the dot of the root": ("*.amazonaws.com.:443", [], ["*.amazonaws.com.:443"]),
    "a name that ends alike": ("notamazonaws.com", ["notamazonaws.com"], []),
    "ours, from before": (NO_PROXY, [], []),
    "what is not printable": ("a\x1b[0m,b", ["b"], []),
}


@pytest.mark.parametrize(("value", "kept", "dropped"), OWN.values(), ids=OWN)
def test_the_callers_no_proxy_is_kept_but_for_aws(
    value: str, kept: list[str], dropped: list[str]
) -> None:
    environment = {"no_proxy": value, "NO_PROXY": value}

    found = by_keys(environment)

    assert found["NO_PROXY"] == found["no_proxy"] == ",".join([NO_PROXY, *kept])
    assert leading_past(environment) == dropped


def test_undoing_takes_back_what_was_set_and_nothing_else() -> None:
    before = {"HOME": "/h", "AWS_PAGER": "", "NO_PROXY": "corp.example"}
    during = by_keys(before)

    after = undoing(during).applied(during)

    assert after == {**before, "no_proxy": "corp.example"}


def test_undoing_trusts_no_name_and_needs_the_mark() -> None:
    assert undoing({"AWSGATE_ENV": "A B;touch pwned,$(x)"}) == Change({}, ())
    assert undoing({"AWS_ACCESS_KEY_ID": "AKIA", "HTTPS_PROXY": "http://x:1"}) == Change({}, ())


def test_no_repr_holds_a_secret() -> None:
    shown = repr(HELD) + repr(access_by_keys(WAY, HELD, {}))

    assert "canary" not in shown
