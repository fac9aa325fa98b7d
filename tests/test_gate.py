"""The gate, where it lets through: signed anew, and otherwise as it came.

Requests are signed by botocore with minted gateway credentials, and botocore checks
the signature that goes out.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import timedelta

import pytest

from awsgate.aws.sigv4 import parse_authorization
from awsgate.errors import Code, Refusal
from awsgate.gate import Gate, Review
from awsgate.policy import parse_policy
from awsgate.session import SessionOpener
from calls import GOOD, JSON, KEYS, ORIGIN, READER, ROLE_KEYS, S3, Call, minted, run, sent, with_
from signers import WHEN, botocore_sign, value_of

# --- what goes through -----------------------------------------------------------------

THROUGH = {
    "connect": GOOD,
    "connect, body unsigned": replace(GOOD, sign_body=False),
    "connect, service without a hash header": JSON,
    "connect with an equal x-forwarded-host": replace(
        GOOD, headers=(("X-Forwarded-Host", f"{S3}:443"),)
    ),
    "connect with port 443 in host": replace(GOOD, headers=(("Host", f"{S3}:443"),)),
    "a signed date header instead of x-amz-date": replace(JSON, headers=(("Date", "now"),)),
    "origin form": ORIGIN,
    "origin form over tls from another machine": replace(
        ORIGIN, facts_too=lambda facts: replace(facts, tls=True, local=False)
    ),
    "signed five minutes ago": replace(GOOD, age=timedelta(minutes=5)),
    "signed five minutes ahead": replace(GOOD, age=timedelta(minutes=-5)),
    "one second before the session ends": replace(GOOD, keys=minted(age_s=3599)),
}


@pytest.mark.parametrize("call", THROUGH.values(), ids=THROUGH)
def test_a_good_request_goes_out_signed_by_the_role_and_as_it_came(call: Call) -> None:
    """Botocore signs what goes out once more, from nothing but the target and headers."""
    facts, (_, plan) = call.facts(), run(call)
    out = sent(call)

    auth = parse_authorization(value_of(out, b"authorization"))
    again = botocore_sign(
        call.method,
        "",
        call.target.replace("+", "%20"),
        [
            (name.decode(), value.decode())
            for name, value in out
            if name.lower().decode() in auth.signed_headers
            and name.lower() not in (b"x-amz-date", b"x-amz-security-token")
        ],
        call.body,
        service=call.service,
        region=call.region,
        keys=ROLE_KEYS,
        when=WHEN + timedelta(seconds=2),
        sign_body=call.sign_body,
    )
    assert value_of(out, b"authorization") == value_of(again, b"authorization")
    assert value_of(out, b"x-amz-security-token") == b"canary-role-token"
    assert (
        value_of(out, b"host").removesuffix(b":443")
        == call.host.encode()
        == (plan.target_host.encode())
    )
    assert not {b"x-forwarded-host", b"date"} & {name.lower() for name, _ in out}
    assert facts.target == call.target.encode()
    for leftover in (value_of(facts.headers, b"authorization"), call.keys.session_token.encode()):
        assert leftover not in [value for _, value in out]


def test_the_plan_and_the_review_say_who_does_what_where() -> None:
    review, plan = run(GOOD)

    assert (plan.target_host, plan.service, plan.region, plan.partition) == (
        S3, "s3", "eu-central-1", "aws",
    )  # fmt: skip
    assert (plan.user, plan.role_arn, plan.external_id) == ("alice", READER, "ext-1")
    assert plan.payload == hashlib.sha256(b"hello").hexdigest()
    assert review.session is not None
    assert review.decision is not None
    assert (review.session.app, review.decision.rule) == ("console", "role/read")


def test_with_a_payload_header_a_request_is_decided_before_its_body_is_there() -> None:
    review, plan = run(replace(GOOD, sign_body=False), body=None)

    assert review.streams
    assert plan.payload == "UNSIGNED-PAYLOAD"
    assert run(GOOD, body=None)[1].payload == hashlib.sha256(b"hello").hexdigest()


def test_without_it_the_body_is_needed_and_names_the_action() -> None:
    form = b"Action=GetCallerIdentity&Version=2011-06-15"
    host = "sts.eu-central-1.amazonaws.com"
    headers = (("Content-Type", "application/x-www-form-urlencoded"),)
    call = Call(method="POST", host=host, service="sts", target="/", headers=headers, body=form)

    review, plan = run(call, form)

    assert not review.streams
    assert review.action == "sts:GetCallerIdentity"
    assert plan.payload == hashlib.sha256(form).hexdigest()
    with pytest.raises(Refusal, match="body is needed") as caught:
        run(call, None)
    assert caught.value.code is Code.GATEWAY_FAULT


def test_only_what_the_client_signed_is_signed_and_hop_by_hop_fields_stay_behind() -> None:
    hops = ("Connection", "Keep-Alive", "Proxy-Authorization", "X-Forwarded-For", "Via", "Te")
    call = replace(
        GOOD,
        headers=(("Range", "bytes=0-9"), *((name, "x") for name in hops)),
        after=with_((b"Content-Length", b"5"), (b"Expect", b"100-continue")),
    )

    out = sent(call)

    assert [name.lower() for name, _ in out] == [
        b"host", b"range", b"content-length",
        b"x-amz-date", b"x-amz-content-sha256", b"x-amz-security-token", b"authorization",
    ]  # fmt: skip
    assert parse_authorization(value_of(out, b"authorization")).signed_headers == (
        "host", "range", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token",
    )  # fmt: skip


def test_connection_cannot_name_away_what_is_signed() -> None:
    named = b"range, if-match, x-amz-acl, host, x-mine"
    call = replace(
        GOOD,
        headers=(("Range", "bytes=0-9"), ("If-Match", "e"), ("x-amz-acl", "private")),
        after=with_((b"Connection", named), (b"X-Mine", b"1")),
    )

    names = {name.lower() for name, _ in sent(call)}

    assert names > {b"range", b"if-match", b"x-amz-acl", b"host"}
    assert not names & {b"connection", b"x-mine"}


def test_neither_review_nor_plan_shows_a_secret() -> None:
    review, plan = run(GOOD)
    shown = f"{review!r} {plan!r}"

    for secret in (
        GOOD.keys.secret_access_key,
        GOOD.keys.session_token,
        value_of(review.facts.headers, b"authorization").decode()[-64:],
    ):
        assert secret not in shown


def test_of_each_partition_the_session_policy_is_its_own() -> None:
    """What one user's session in China is given names nothing of the other partition."""
    arns = [f"arn:{partition}:iam::123456789012:role/Reader" for partition in ("aws", "aws-cn")]
    allow = {"app_labels": {"*": "*"}, "aws_role_arns": arns, "aws_access_levels": ["Read", "List"]}
    spec = {"allow": allow, "options": {"aws_session_policy": "computed"}}
    documents: list[tuple[str, object]] = [
        ("r", {"kind": "role", "version": "v5", "metadata": {"name": "read"}, "spec": spec}),
        ("u", {"kind": "user", "version": "v2", "metadata": {"name": "alice"},
               "spec": {"roles": ["read"]}}),
        ("a", {"kind": "app", "version": "v3", "metadata": {"name": "console"},
               "spec": {"uri": "https://s3.amazonaws.com/"}}),
    ]  # fmt: skip
    gate = Gate(parse_policy(documents), SessionOpener(KEYS))
    get = replace(GOOD, method="GET", target="/key", body=b"")
    china = replace(get, host="b.s3.cn-north-1.amazonaws.com.cn", region="cn-north-1")
    given = []
    for call, arn in zip((get, china), arns, strict=True):
        review = Review(replace(call, keys=minted(role_arn=arn)).facts())
        gate.receive(review, WHEN)
        given.append(gate.authorise(review, b"", WHEN).handoff.policy_arns)

    assert given == [
        ("arn:aws:iam::aws:policy/ReadOnlyAccess",),
        ("arn:aws-cn:iam::aws:policy/ReadOnlyAccess",),
    ]
