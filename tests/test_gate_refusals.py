"""The gate, where it refuses: each fault by its own code, and nothing secret in the words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from awsgate.errors import Code, Refusal
from awsgate.gate import Review
from calls import (
    ADMIN,
    API,
    GOOD,
    JSON,
    LAMBDA,
    ORIGIN,
    S3,
    Call,
    at,
    minted,
    new_gate,
    other_scheme,
    run,
    unsigned,
    with_,
    with_value,
    without,
)
from signers import WHEN

XFH, AUTH, SHA = b"x-forwarded-host", b"authorization", b"x-amz-content-sha256"
BAD, NO = Code.BAD_SIGNATURE, Code.UNSUPPORTED
CHUNKS = b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
FAR = "over 5 minutes apart"
DATED = replace(JSON, headers=(("Date", "now"),))

REFUSED: dict[str, tuple[Call, Code, str]] = {
    "origin form without x-forwarded-host": (
        replace(ORIGIN, after=without(XFH)), Code.MISSING_FORWARDED_HOST, "must include"),
    "origin form with two": (
        replace(ORIGIN, after=with_((XFH, S3.encode()))),
        Code.BAD_FORWARDED_HOST, "more than once"),
    "origin form with a url": (
        replace(ORIGIN, after=with_value(XFH, lambda v: b"https://" + v)),
        Code.BAD_FORWARDED_HOST, "bare host name"),
    "origin form with it unsigned": (
        replace(ORIGIN, after=with_value(AUTH, unsigned("x-forwarded-host"))),
        Code.BAD_FORWARDED_HOST, "is not signed"),
    "origin form with another aws host": (
        replace(ORIGIN, after=with_value(XFH, lambda v: b"other" + v)), BAD, "does not match"),
    "origin form in the clear from another machine": (
        replace(ORIGIN, facts_too=at(local=False)), NO, "plain HTTP"),
    "connect with another x-forwarded-host": (
        replace(GOOD, headers=(("X-Forwarded-Host", LAMBDA),)),
        Code.BAD_FORWARDED_HOST, "differs from the CONNECT host"),
    "connect with two": (
        replace(GOOD, headers=(("X-Forwarded-Host", S3),) * 2),
        Code.BAD_FORWARDED_HOST, "differs from the CONNECT host"),
    "connect to something else": (
        replace(GOOD, host="example.com"), Code.NOT_AN_AWS_ENDPOINT, "example.com is not"),
    "x-forwarded-host to something else": (
        replace(ORIGIN, host="s3.amazonaws.com.evil.example"),
        Code.NOT_AN_AWS_ENDPOINT, "is not an AWS endpoint"),
    "a wire rule": (replace(GOOD, facts_too=at(sni=LAMBDA)), NO, "TLS server name"),
    "scope of another region": (
        replace(GOOD, region="us-east-1"), Code.SCOPE_MISMATCH, "signed for s3 in us-east-1"),
    "scope of another service": (
        replace(JSON, service="iam"), Code.SCOPE_MISMATCH, "signed for iam in eu-central-1"),
    "no authorization": (replace(GOOD, after=without(AUTH)), Code.NOT_SIGNED, "no AWS signature"),
    "basic authorization": (
        replace(GOOD, after=other_scheme(b"Basic")), Code.NOT_SIGNED, "not an AWS signature"),
    "bearer authorization": (
        replace(GOOD, after=other_scheme(b"Bearer")), Code.NOT_SIGNED, "no AWS signature"),
    "signature version 2": (replace(GOOD, after=other_scheme(b"AWS")), NO, "Version 2"),
    "sigv4a with the credential of sigv4": (
        replace(GOOD, after=other_scheme(b"AWS4-ECDSA-P256-SHA256")), BAD, "malformed Auth"),
    "malformed": (
        replace(GOOD, after=with_value(AUTH, lambda v: v + b",")), BAD, "malformed Authorization"),
    "query signature": (
        replace(GOOD, target="/?X-Amz-Signature=x", after=without(AUTH)), BAD, "presigned URL"),
    "query signature beside a header": (
        replace(GOOD, target="/?x-amz-algorithm=x"), NO, "two signatures"),
    "query signature with an encoded name": (
        replace(GOOD, target="/?a=1&%58-Amz-Signatur%65=x"), NO, "two signatures"),
    "query credential beside a header": (
        replace(GOOD, target="/?X-Amz-Credential=x"), NO, "two signatures"),
    "query token beside a header": (
        replace(GOOD, target="/?X-Amz-Security-Token=x"), NO, "two signatures"),
    "query signature of version 2": (
        replace(GOOD, target="/?AWSAccessKeyId=x&Expires=1"), NO, "two signatures"),
    "signed chunks": (
        replace(GOOD, headers=(("Content-Length", "5"),), after=with_value(SHA, lambda _: CHUNKS)),
        BAD, "does not match"),
    "signed chunks of no body": (
        replace(GOOD, after=with_value(SHA, lambda _: CHUNKS)), BAD, "there is no body"),
    "signed chunks of no bytes": (
        replace(GOOD, headers=(("Content-Length", "0"),), after=with_value(SHA, lambda _: CHUNKS)),
        BAD, "there is no body"),
    "chunks signed with sigv4a": (
        replace(GOOD, after=with_value(SHA, lambda _: b"STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD")),
        NO, "signed chunks"),
    "payload hash in upper case": (
        replace(GOOD, after=with_value(SHA, bytes.upper)), BAD, "neither a SHA-256"),
    "payload keyword that nobody knows": (
        replace(GOOD, after=with_value(SHA, lambda _: b"UNSIGNED")), BAD, "neither a SHA-256"),
    "x-amz header not signed": (
        replace(GOOD, after=with_((b"X-Amz-Acl", b"public-read"))),
        BAD, "'x-amz-acl' must be signed"),
    "session token not signed": (
        replace(GOOD, after=with_value(AUTH, unsigned("x-amz-security-token"))),
        BAD, "'x-amz-security-token' must be signed"),
    "host not signed": (
        replace(GOOD, after=with_value(AUTH, unsigned("host"))), BAD, "'host' must be signed"),
    "date not signed": (
        replace(DATED, after=with_value(AUTH, unsigned("date"))), BAD, "'date' must be signed"),
    "signed header that is gone": (
        replace(GOOD, after=without(b"content-type")), BAD, "'content-type' is not there"),
    "signed header changed": (
        replace(GOOD, after=with_value(b"content-type", bytes.upper)), BAD, "does not match"),
    "signed header twice": (
        replace(GOOD, headers=(("Range", "1"),), after=with_((b"range", b"1"))),
        BAD, "does not match"),
    "path changed": (replace(GOOD, facts_too=at(target=b"/a%20b/x")), BAD, "does not match"),
    "method changed": (replace(GOOD, facts_too=at(method=b"DELETE")), BAD, "does not match"),
    "a body that was signed as none": (
        replace(GOOD, body=b"", after=with_((b"Content-Length", b"5"))), BAD, "signed as empty"),
    "another body": (replace(GOOD, body=b"other"), BAD, "is not the SHA-256 of the body"),
    "another body without a hash header": (replace(JSON, body=b"other"), BAD, "does not match"),
    "wrong secret": (replace(GOOD, secret="wrong"), BAD, "does not match"),
    "another day in the scope": (
        replace(GOOD, after=with_value(AUTH, lambda v: v.replace(b"20261123", b"20261122"))),
        BAD, "date of the credential scope"),
    "no date at all": (replace(GOOD, after=without(b"x-amz-date")), BAD, "no valid X-Amz-Date"),
    "not a date": (
        replace(GOOD, after=with_value(b"x-amz-date", lambda _: b"yesterday")), BAD, "no valid"),
    "a date header beyond all time": (
        replace(DATED, after=with_value(
            b"date", lambda _: b"Fri, 31 Dec 9999 23:59:59 -2300")), BAD, "no valid"),
    "a date header with an offset beyond all time": (
        replace(DATED, after=with_value(
            b"date", lambda _: b"Mon, 23 Nov 2026 10:15:30 +99999999999999999999")),
        BAD, "no valid"),
    "signed too long ago": (
        replace(GOOD, age=timedelta(minutes=5, seconds=1)), Code.CLOCK_SKEW, FAR),
    "signed too far ahead": (
        replace(GOOD, age=timedelta(minutes=-5, seconds=-1)), Code.CLOCK_SKEW, FAR),
    "aws key": (
        replace(GOOD, keys=replace(minted(), access_key_id="AKIAIOSFODNN7EXAMPLE")),
        Code.UNKNOWN_KEY, "this is an AWS key"),
    "no session token": (
        replace(GOOD, keys=replace(minted(), session_token="")),
        Code.UNKNOWN_KEY, "need their session token"),
    "another's session token": (
        replace(GOOD, keys=replace(minted(), session_token="A" * 200)),
        Code.UNKNOWN_KEY, "not one of this gateway's"),
    "session over": (
        replace(GOOD, keys=minted(age_s=3600)), Code.SESSION_EXPIRED, "ended 0 seconds ago"),
    "role not granted": (
        replace(GOOD, keys=minted(role_arn=ADMIN)), Code.DENIED, "alice may not do this"),
    "user not known": (replace(GOOD, keys=minted(user="eve")), Code.DENIED, "user is not known"),
    "endpoint that other tenants can own": (
        Call(host=API, service="execute-api"), Code.DENIED, "other tenants"),
}  # fmt: skip


@pytest.mark.parametrize(("call", "code", "words"), REFUSED.values(), ids=REFUSED)
def test_a_bad_request_is_refused_with_its_code(call: Call, code: Code, words: str) -> None:
    secrets: Sequence[str] = (call.keys.secret_access_key, call.keys.session_token)
    with pytest.raises(Refusal) as caught:
        run(call)

    refusal = caught.value
    assert (refusal.code, words in refusal.message) == (code, True), refusal.message
    shown = f"{refusal.message}{refusal.hint}{refusal.detail}"
    assert not [secret for secret in secrets if secret and secret in shown]


def test_a_refused_review_keeps_what_was_learnt_for_the_audit() -> None:
    review = Review(replace(JSON, keys=minted(age_s=7200)).facts())

    with pytest.raises(Refusal):
        new_gate().receive(review, WHEN)

    assert review.host == LAMBDA
    assert review.endpoint is not None
    assert review.claim is not None
    assert review.session is None


def test_a_session_that_ends_while_its_body_comes_goes_nowhere() -> None:
    review, gate = Review(GOOD.facts()), new_gate()
    gate.receive(review, WHEN)

    with pytest.raises(Refusal) as caught:
        gate.authorise(review, GOOD.body, WHEN + timedelta(hours=1))

    assert caught.value.code is Code.SESSION_EXPIRED


ACTION = b"Action=TerminateInstances&Version=2016-11-15&InstanceId.1=i-1"
KEYS_IN_XML = b"<Delete><Object><Key>k</Key></Object></Delete>"
FORM_CALL = Call(
    method="POST", host="ec2.eu-central-1.amazonaws.com", target="/", service="ec2", body=ACTION,
    headers=(("Content-Type", "application/x-www-form-urlencoded"), ("Content-Length", "61")),
)  # fmt: skip
DELETES = Call(
    method="POST", target="/?delete", body=KEYS_IN_XML,
    headers=(("Content-Type", "application/xml"), ("Content-Length", "46")),
)  # fmt: skip
STARTS = [
    pytest.param(FORM_CALL, "", "ec2:TerminateInstances", id="an action in a form"),
    pytest.param(DELETES, "s3:DeleteObjects", "s3:DeleteObjects", id="keys in XML"),
]


@pytest.mark.parametrize(("call", "before", "after"), STARTS)
def test_a_body_is_read_for_what_it_asks_once_it_is_proved(
    call: Call, before: str, after: str
) -> None:
    """Who has proved nothing does not make the gateway parse: its head alone is audited."""
    unproved, gate = Review(replace(call, secret="wrong").facts()), new_gate()
    gate.receive(unproved, WHEN)
    with pytest.raises(Refusal, match="does not match"):
        gate.authorise(unproved, call.body, WHEN)
    changed = Review(call.facts())
    gate.receive(changed, WHEN)
    with pytest.raises(Refusal, match=r"does not match|is not the SHA-256"):
        gate.authorise(changed, call.body + b" ", WHEN)

    proved, _ = run(call, call.body)

    for review in (unproved, changed):
        assert review.read is None
        assert review.call is not None
        assert (review.call.name, review.action) == (before, "")
    assert proved.read == call.body
    assert proved.call is not None
    assert (proved.call.name, proved.action) == (after, after if not before else "")


def test_nothing_is_authorised_that_was_not_received() -> None:
    gate = new_gate()

    with pytest.raises(Refusal) as caught:
        gate.authorise(Review(GOOD.facts()), b"hello", WHEN)

    assert caught.value.code is Code.GATEWAY_FAULT


def test_requests_of_which_there_may_be_so_many_are_refused_where_nobody_counts_them() -> None:
    with pytest.raises(Refusal, match="are not counted here") as caught:
        new_gate().tally("session")

    assert caught.value.code is Code.GATEWAY_FAULT


def test_who_calls_in_a_body_is_not_known_without_it() -> None:
    form = replace(
        GOOD, method="POST", headers=(("Content-Type", "multipart/form-data; boundary=b"),),
        after=without(AUTH, b"x-amz-date", b"x-amz-security-token", SHA),
    )  # fmt: skip
    review, gate = Review(form.facts()), new_gate()
    gate.receive(review, WHEN)

    with pytest.raises(Refusal, match="body is needed to say who calls") as caught:
        gate.authorise(review, None, WHEN)

    assert caught.value.code is Code.GATEWAY_FAULT
