"""Who may pass the gate, and when: signatures by botocore, changed in every way but one.

The forms and their parsers have tests of their own (tests/aws); here it is what the gate
makes of a whole request. Presigned URLs are in ``test_authentication_presigned``; the
matrix is in docs/reliability.md.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from awsgate.errors import Code
from awsgate.session import GatewayCredentials, mint
from awsgate.wire import RequestFacts
from calls import (
    GOOD,
    JSON,
    KEYS,
    NOW_S,
    READER,
    S3,
    SESSIONS,
    Call,
    at,
    minted,
    new_gate,
    session,
    verdict,
    with_,
    with_value,
    without,
)
from signers import REGION, WHEN, Fields, value_of

AUTH, DATE = b"authorization", b"x-amz-date"


# --- whose ------------------------------------------------------------------------------


MIXED = [mix for mix in product(SESSIONS, repeat=3) if mix not in {(n, n, n) for n in SESSIONS}]


@pytest.mark.parametrize(("key_id", "secret", "token"), MIXED)
def test_key_secret_and_token_are_of_one_session_or_nobodys(
    key_id: str, secret: str, token: str
) -> None:
    mixed = GatewayCredentials(
        SESSIONS[key_id].access_key_id,
        SESSIONS[secret].secret_access_key,
        SESSIONS[token].session_token,
        NOW_S + 3600,
    )
    opens = key_id == token != "another gateway's"

    said = verdict(replace(GOOD, keys=mixed).facts())

    assert said == (Code.BAD_SIGNATURE if opens else Code.UNKNOWN_KEY)


@pytest.mark.parametrize("name", SESSIONS)
def test_of_one_session_they_pass_at_their_gateway_alone(name: str) -> None:
    said = verdict(replace(GOOD, keys=SESSIONS[name]).facts())

    assert said == ("unknown-key" if name == "another gateway's" else "passed")


def test_a_token_that_is_swapped_after_signing_is_no_ones() -> None:
    """Both sessions are known to the gate already, and remembered."""
    gate = new_gate()
    one, two = (replace(GOOD, keys=SESSIONS[name]) for name in ("one", "two"))
    assert {verdict(one.facts(), gate=gate), verdict(two.facts(), gate=gate)} == {"passed"}
    swapped = replace(
        one,
        after=with_value(b"x-amz-security-token", lambda _: SESSIONS["two"].session_token.encode()),
    )
    renamed = replace(
        one,
        after=with_value(
            AUTH,
            lambda v: v.replace(
                SESSIONS["one"].access_key_id.encode(), SESSIONS["two"].access_key_id.encode()
            ),
        ),
    )

    assert [verdict(each.facts(), gate=gate) for each in (swapped, renamed)] == ["unknown-key"] * 2


# --- the signature itself ------------------------------------------------------------------


def test_no_other_digit_anywhere_in_a_signature_is_accepted() -> None:
    gate, facts = new_gate(), GOOD.facts()
    value = value_of(facts.headers, AUTH)
    head, _, signature = value.rpartition(b"Signature=")
    seen = set()
    for place, digit in product(range(64), b"0123456789abcdefABCDEFg "):
        changed = bytearray(signature)
        changed[place] = digit
        if bytes(changed) == signature:
            continue
        fields = with_value(AUTH, lambda _, c=bytes(changed): head + b"Signature=" + c)(  # type: ignore[misc]
            list(facts.headers)
        )
        seen.add(verdict(replace(facts, headers=tuple(fields)), gate=gate))

    assert verdict(facts, gate=gate) == "passed"
    assert seen == {"bad-signature"}


def test_no_other_bit_of_a_token_or_key_id_on_the_wire_is_accepted() -> None:
    gate, facts = new_gate(), GOOD.facts()
    token = value_of(facts.headers, b"x-amz-security-token")
    key_id = GOOD.keys.access_key_id.encode()
    seen = set()
    for place, bit in product(range(len(token)), range(8)):
        changed = bytearray(token)
        changed[place] ^= 1 << bit
        fields = with_value(b"x-amz-security-token", lambda _, c=bytes(changed): c)(  # type: ignore[misc]
            list(facts.headers)
        )
        seen.add(verdict(replace(facts, headers=tuple(fields)), gate=gate))
    for place, bit in product(range(len(key_id)), range(8)):
        named = bytearray(key_id)
        named[place] ^= 1 << bit
        fields = with_value(AUTH, lambda v, c=bytes(named): v.replace(key_id, c))(  # type: ignore[misc]
            list(facts.headers)
        )
        seen.add(verdict(replace(facts, headers=tuple(fields)), gate=gate))

    assert seen <= {"unknown-key", "bad-signature", "unsupported"}
    assert "unknown-key" in seen


# --- how many -------------------------------------------------------------------------------

SEVERAL = {
    "the same twice": lambda fields: [*fields, (b"Authorization", value_of(fields, AUTH))],
    "basic after it": with_((b"Authorization", b"Basic YTpi")),
    "basic before it": lambda fields: [(b"authorization", b"Basic YTpi"), *fields],
    "bearer after it, in capitals": with_((b"AUTHORIZATION", b"Bearer x")),
    "an empty one": with_((b"Authorization", b"")),
    "two tokens": with_((b"X-Amz-Security-Token", minted().session_token.encode())),
    "two dates": with_((b"X-Amz-Date", b"20261123T101530Z")),
    "two hashes": with_((b"x-amz-content-sha256", b"UNSIGNED-PAYLOAD")),
}


@pytest.mark.parametrize("after", SEVERAL.values(), ids=SEVERAL)
def test_there_is_one_of_each_or_nobody_calls(after: object) -> None:
    assert verdict(replace(GOOD, after=after).facts()) == "unsupported"  # type: ignore[arg-type]


# --- when -------------------------------------------------------------------------------------

FIVE = timedelta(minutes=5)
SECOND, TICK = timedelta(seconds=1), timedelta(microseconds=1)
EDGES = {
    "at once": (timedelta(0), "passed"),
    "five minutes old": (FIVE, "passed"),
    "a microsecond more": (FIVE + TICK, "clock-skew"),
    "a second more": (FIVE + SECOND, "clock-skew"),
    "five minutes ahead": (-FIVE, "passed"),
    "a microsecond further ahead": (-FIVE - TICK, "clock-skew"),
    "a day old": (timedelta(days=1), "clock-skew"),
    "a year ahead": (timedelta(days=-365), "clock-skew"),
}


@pytest.mark.parametrize(("age", "expected"), EDGES.values(), ids=EDGES)
def test_a_signature_is_good_for_five_minutes_before_and_after(
    age: timedelta, expected: str
) -> None:
    long_lived = replace(session(1), expires_at=NOW_S + 10**9)

    assert verdict(replace(GOOD, keys=long_lived).facts(), now=WHEN + age) == expected


def test_a_captured_request_is_good_again_until_its_window_ends_and_never_after() -> None:
    """There is no replay cache, as at AWS (SECURITY.md)."""
    gate, facts = new_gate(), GOOD.facts()
    seen = [verdict(facts, now=WHEN + n * timedelta(seconds=100), gate=gate) for n in range(6)]

    assert seen == ["passed"] * 4 + ["clock-skew"] * 2


# --- for which day, region and service ----------------------------------------------------------


class _Scoped(botocore.auth.S3SigV4Auth):
    """Signs rightly under a scope of its own choice, whatever the date of the request says."""

    day = "20261123"
    terminator = "aws4_request"

    def credential_scope(self, _: AWSRequest) -> str:
        return f"{self.day}/{self._region_name}/{self._service_name}/{self.terminator}"

    def scope(self, request: AWSRequest) -> str:
        return f"{self.credentials.access_key}/{self.credential_scope(request)}"

    def signature(self, string_to_sign: str, _: AWSRequest) -> str:
        key = f"AWS4{self.credentials.secret_key}".encode()
        for part in self.credential_scope(_).split("/"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        return hmac.new(key, string_to_sign.encode(), hashlib.sha256).hexdigest()


def scoped(
    *,
    day: str = "20261123",
    region: str = REGION,
    service: str = "s3",
    end: str = "aws4_request",
) -> RequestFacts:
    keys = GOOD.keys
    signer = _Scoped(
        Credentials(keys.access_key_id, keys.secret_access_key, keys.session_token), service, region
    )
    signer.day, signer.terminator = day, end
    request = AWSRequest(method="GET", url=f"https://{S3}/k", headers={"Host": S3})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.auth, "get_current_datetime", lambda: WHEN)
        signer.add_auth(request)
    fields: Fields = [(n.encode(), v.encode()) for n, v in request.headers.items()]
    return RequestFacts(
        method=b"GET", target=b"/k", authority=b"", headers=tuple(fields), connect_host=S3,
        tls=True, sni=S3, local=True,
    )  # fmt: skip


SCOPES: dict[str, tuple[dict[str, str], str]] = {
    "as it should be": ({}, "passed"),
    "the day before": ({"day": "20261122"}, "bad-signature"),
    "the day after": ({"day": "20261124"}, "bad-signature"),
    "no day": ({"day": ""}, "bad-signature"),
    "a whole timestamp": ({"day": "20261123T101530Z"}, "bad-signature"),
    "another region": ({"region": "eu-west-1"}, "scope-mismatch"),
    "a region of another partition": ({"region": "cn-north-1"}, "scope-mismatch"),
    "no region": ({"region": ""}, "bad-signature"),
    "any region": ({"region": "*"}, "bad-signature"),
    "two regions": ({"region": "eu-central-1,eu-west-1"}, "bad-signature"),
    "a region in capitals": ({"region": "EU-CENTRAL-1"}, "bad-signature"),
    "a region with a space": ({"region": "eu-central-1 "}, "bad-signature"),
    "another service": ({"service": "sts"}, "scope-mismatch"),
    "a kin of the service": ({"service": "s3express"}, "scope-mismatch"),
    "a service in capitals": ({"service": "S3"}, "bad-signature"),
    "no service": ({"service": ""}, "bad-signature"),
    "a scope with one part more": ({"service": "s3/s3"}, "bad-signature"),
    "another terminator": ({"end": "aws4_requests"}, "bad-signature"),
    "the terminator of chunks": ({"end": "aws4_request_payload"}, "bad-signature"),
}


@pytest.mark.parametrize(("scope", "expected"), SCOPES.values(), ids=SCOPES)
def test_a_key_of_another_scope_signs_nothing_here(scope: dict[str, str], expected: str) -> None:
    assert verdict(scoped(**scope), b"") == expected


def test_across_midnight_the_scope_has_the_day_of_the_signature() -> None:
    midnight = datetime(2026, 11, 24, tzinfo=UTC)
    keys = mint(
        KEYS, user="alice", app="console", role_arn=READER, ttl_s=3600,
        now=int(midnight.timestamp()) - 60, entropy=bytes(range(32)),
    )  # fmt: skip
    facts = replace(GOOD, keys=keys, age=WHEN - midnight + SECOND).facts()

    assert b"/20261123/" in value_of(facts.headers, AUTH)
    assert verdict(facts, now=midnight + SECOND) == "passed"
    moved = with_value(AUTH, lambda v: v.replace(b"/20261123/", b"/20261124/"))(list(facts.headers))
    assert verdict(replace(facts, headers=tuple(moved)), now=midnight + SECOND) == "bad-signature"


# --- a signature of one request for another --------------------------------------------------

OTHERS: dict[str, Call] = {
    "another path": replace(GOOD, facts_too=at(target=b"/a%20b/../%C3%A9//y?z=1&a=b+c")),
    "a path that a server might read alike": replace(
        GOOD, facts_too=at(target=b"/%C3%A9/x?z=1&a=b+c")),
    "another query": replace(GOOD, facts_too=at(target=b"/a%20b/../%C3%A9//x?z=2&a=b+c")),
    "a query more": replace(GOOD, facts_too=at(target=b"/a%20b/../%C3%A9//x?z=1&a=b+c&acl")),
    "another method": replace(GOOD, facts_too=at(method=b"POST")),
    "another service's host": replace(
        JSON, after=with_value(b"host", lambda _: b"sqs.eu-central-1.amazonaws.com"),
        facts_too=at(connect_host="sqs.eu-central-1.amazonaws.com",
                     sni="sqs.eu-central-1.amazonaws.com")),
    "another bucket's host": replace(
        GOOD, after=with_value(b"host", lambda _: b"c.s3.eu-central-1.amazonaws.com"),
        facts_too=at(connect_host="c.s3.eu-central-1.amazonaws.com",
                     sni="c.s3.eu-central-1.amazonaws.com")),
    "a later date": replace(GOOD, after=with_value(DATE, lambda _: b"20261123T101531Z")),
    "no date but Date": replace(
        GOOD, after=lambda f: [*without(DATE)(f), (b"Date", b"Mon, 23 Nov 2026 10:15:30 GMT")]),
}  # fmt: skip


@pytest.mark.parametrize("call", OTHERS.values(), ids=OTHERS)
def test_a_signature_is_of_no_other_request(call: Call) -> None:
    assert verdict(call.facts()) in ("bad-signature", "scope-mismatch")


def test_what_is_right_passes() -> None:
    assert verdict(GOOD.facts()) == verdict(JSON.facts()) == "passed"
