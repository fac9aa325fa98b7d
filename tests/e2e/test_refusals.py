"""Each refusal, through a real socket from a real gateway.

Every case checks the answer (status, code, Date, request id, the protocol's own error
shape), the audit line, the counter, and that AWS saw nothing. Refusals that need a
gateway set up for them are in ``test_refusals_own_gateway``.

Not here: ``locked``. Nothing leads to it yet; locks are of a later version.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from awsgate.aws.sigv4 import SigningKeys
from awsgate.demo.embedded_aws import READ_ONLY_ROLE, EmbeddedAws
from awsgate.demo.processes import GatewayProcess
from rawclient import (
    Answer,
    Call,
    ask,
    audit_after,
    head,
    keys_of,
    mint_keys,
    plain,
    replaced,
    secure,
    served,
    without,
)
from refused import CALLS, Probe, error_of
from signers import Fields, value_of

S3, QUERY = CALLS["s3"], CALLS["query"]


@pytest.fixture(scope="module")
def keys(bob: dict[str, str]) -> SigningKeys:
    return keys_of(bob)


def answer_of(gateway: GatewayProcess, call: Call, fields: Fields) -> Answer:
    return ask(gateway, call.host, call.wire(fields), method=call.method)


# --- the shapes ------------------------------------------------------------------


@pytest.mark.parametrize("protocol", CALLS)
def test_a_refusal_speaks_the_protocol_of_the_call(
    gateway: GatewayProcess, aws: EmbeddedAws, keys: SigningKeys, protocol: str
) -> None:
    call = CALLS[protocol]
    forged = SigningKeys(keys.access_key_id, "not the secret", keys.session_token)
    probe = Probe(gateway, aws)

    answer = answer_of(gateway, call, call.signed(forged))

    line = probe.left(answer, "bad-signature", 403)
    assert error_of(answer, protocol)["Message"].startswith("awsgate bad-signature: ")
    assert error_of(answer, protocol)["Code"] in (
        "SignatureDoesNotMatch",
        "InvalidSignatureException",
    )
    assert (line["host"], line["user"]) == (call.host, "bob")


def test_head_gets_no_body(gateway: GatewayProcess, aws: EmbeddedAws, keys: SigningKeys) -> None:
    call = Call("s3", S3.host, "HEAD", "/hello.txt")
    forged = SigningKeys(keys.access_key_id, "not the secret", keys.session_token)
    probe = Probe(gateway, aws)

    with secure(gateway, call.host) as wire:
        wire.send(call.wire(call.signed(forged)))
        answer = wire.read_answer(method="HEAD")
        wire.send(S3.wire(S3.signed(keys)))
        after = wire.read_answer()

    assert (answer.status, answer.code) == (403, "bad-signature")
    assert after.status == 200  # nothing of a body stood between the two answers
    codes = [line["code"] for line in audit_after(gateway, probe.lines, lines=2)]
    assert codes == ["bad-signature", ""]
    assert probe.grew("awsgate_refusals_total") == 1


# --- the target --------------------------------------------------------------------

FORWARDED = {
    "no header": ([], "missing-forwarded-host"),
    "empty": ([b""], "bad-forwarded-host"),
    "a path, even if it is /": ([b"sts.us-east-1.amazonaws.com/"], "bad-forwarded-host"),
    "a scheme": ([b"https://sts.us-east-1.amazonaws.com"], "bad-forwarded-host"),
    "another port": ([b"sts.us-east-1.amazonaws.com:8443"], "bad-forwarded-host"),
    "userinfo": ([b"x@sts.us-east-1.amazonaws.com"], "bad-forwarded-host"),
    "a list": ([b"sts.us-east-1.amazonaws.com, x.example.com"], "bad-forwarded-host"),
    "a query": ([b"sts.us-east-1.amazonaws.com?x"], "bad-forwarded-host"),
    "a space within": ([b"sts.us-east-1 .amazonaws.com"], "bad-forwarded-host"),
    "twice": ([b"sts.us-east-1.amazonaws.com"] * 2, "bad-forwarded-host"),
    "unsigned, and not the Host": ([b"sts.us-east-1.amazonaws.com"], "bad-forwarded-host"),
    "no AWS host": ([b"example.com"], "not-an-aws-endpoint"),
    "a load balancer that anybody can own": (
        [b"x.us-east-1.elb.amazonaws.com"],
        "not-an-aws-endpoint",
    ),
    "a suffix within a longer name": ([b"s3.amazonaws.com.example.com"], "not-an-aws-endpoint"),
}


@pytest.mark.parametrize(("values", "code"), FORWARDED.values(), ids=FORWARDED)
def test_origin_form_needs_one_aws_host_in_x_forwarded_host(
    gateway: GatewayProcess, aws: EmbeddedAws, keys: SigningKeys, values: list[bytes], code: str
) -> None:
    call = Call("sts", f"127.0.0.1:{gateway.port}", headers=QUERY.headers, body=QUERY.body)
    fields = [*call.signed(keys), *((b"X-Forwarded-Host", value) for value in values)]
    probe = Probe(gateway, aws)

    with plain(gateway) as wire:
        wire.send(call.wire(fields))
        answer = wire.read_answer()

    probe.left(answer, code, 400)
    message = error_of(answer, "query")["Message"]
    if code == "not-an-aws-endpoint":
        assert "is not an AWS endpoint" in message
    elif len(values) == 0:
        assert message.startswith("proxied requests must include X-Forwarded-Host header")
    assert error_of(answer, "query")["Code"] == "InvalidRequest"


def test_connect_and_x_forwarded_host_may_not_name_two_targets(
    gateway: GatewayProcess, aws: EmbeddedAws, keys: SigningKeys
) -> None:
    headers = (*QUERY.headers, ("X-Forwarded-Host", "iam.amazonaws.com"))
    call = Call("sts", QUERY.host, headers=headers, body=QUERY.body)
    probe = Probe(gateway, aws)

    answer = answer_of(gateway, call, call.signed(keys))

    probe.left(answer, "bad-forwarded-host", 400)


@pytest.mark.parametrize("host", ["nosuchservice.us-east-1.amazonaws.com", "x.y.z.amazonaws.com"])
def test_an_aws_name_without_a_known_endpoint_is_refused_inside_tls(
    gateway: GatewayProcess, aws: EmbeddedAws, keys: SigningKeys, host: str
) -> None:
    call = Call("sts", host, headers=QUERY.headers, body=QUERY.body)
    probe = Probe(gateway, aws)

    answer = answer_of(gateway, call, call.signed(keys))

    probe.left(answer, "not-an-aws-endpoint", 400)


SCOPES = {
    "another region": ("sts", "eu-west-1"),
    "another service": ("iam", "us-east-1"),
    "no region of any partition": ("sts", "nowhere-1"),
}


@pytest.mark.parametrize(("service", "region"), SCOPES.values(), ids=SCOPES)
def test_the_scope_must_fit_the_host(
    gateway: GatewayProcess, aws: EmbeddedAws, keys: SigningKeys, service: str, region: str
) -> None:
    call = Call(service, QUERY.host, headers=QUERY.headers, body=QUERY.body, region=region)
    probe = Probe(gateway, aws)

    answer = answer_of(gateway, call, call.signed(keys))

    line = probe.left(answer, "scope-mismatch", 403)
    assert line["user"] == "bob"


# --- the signature -------------------------------------------------------------------

Change = Callable[[Fields], Fields]


def _authorization(pattern: bytes, replacement: bytes) -> Change:
    def change(fields: Fields) -> Fields:
        value = value_of(fields, b"authorization")
        changed = re.sub(pattern, replacement, value)
        assert changed != value
        return replaced(fields, b"authorization", changed)

    return change


UNSIGNED: dict[str, tuple[Change, str]] = {
    "no Authorization": (lambda f: without(f, b"authorization"), "not-signed"),
    "Basic": (lambda f: replaced(f, b"authorization", b"Basic dXNlcjpwdw=="), "not-signed"),
    "Bearer": (lambda f: replaced(f, b"authorization", b"Bearer abc"), "not-signed"),
    "a signature of one other digit": (
        _authorization(rb"Signature=.{8}", b"Signature=01234567"),
        "bad-signature",
    ),
    "a signature in capitals": (
        _authorization(rb"Signature=.*", b"Signature=" + b"A" * 64),
        "bad-signature",
    ),
    "a signature cut short": (_authorization(rb".$", b""), "bad-signature"),
    "no SignedHeaders": (_authorization(rb"SignedHeaders=[^,]*, ", b""), "bad-signature"),
    "Host not signed": (_authorization(rb"host;", b""), "bad-signature"),
    "a signed header that is not there": (
        _authorization(rb"host;", b"host;if-match;"),
        "bad-signature",
    ),
    "another day in the scope": (_authorization(rb"/20\d{6}/", b"/20200101/"), "bad-signature"),
    "an x-amz- header added": (lambda f: [*f, (b"X-Amz-Acl", b"public-read")], "bad-signature"),
    "a signed header changed": (
        lambda f: replaced(f, b"content-type", b"application/x-www-form-urlencoded"),
        "bad-signature",
    ),
    "no date": (lambda f: without(f, b"x-amz-date"), "bad-signature"),
    "a date that is none": (
        lambda f: replaced(f, b"x-amz-date", b"20269999T999999Z"),
        "bad-signature",
    ),
    "a body hash that is none": (
        lambda f: [*f, (b"X-Amz-Content-SHA256", b"rubbish")],
        "bad-signature",
    ),
    "the token of nobody": (
        lambda f: replaced(f, b"x-amz-security-token", b"AAAA"),
        "unknown-key",
    ),
    "no token": (
        lambda f: _authorization(rb";x-amz-security-token", b"")(
            without(f, b"x-amz-security-token")
        ),
        "unknown-key",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("change", "code"), UNSIGNED.values(), ids=UNSIGNED)
def test_a_request_that_the_session_did_not_sign_is_refused(
    gateway: GatewayProcess, aws: EmbeddedAws, keys: SigningKeys, change: Change, code: str
) -> None:
    probe = Probe(gateway, aws)

    answer = answer_of(gateway, QUERY, change(QUERY.signed(keys)))

    probe.left(answer, code, 403)
    assert error_of(answer, "query")["Message"].startswith(f"awsgate {code}: ")


def test_one_changed_byte_of_a_body_without_a_hash_is_seen(
    gateway: GatewayProcess, aws: EmbeddedAws, keys: SigningKeys
) -> None:
    raw = QUERY.wire(QUERY.signed(keys))
    probe = Probe(gateway, aws)

    answer = ask(gateway, QUERY.host, raw[:-1] + bytes([raw[-1] ^ 1]))

    probe.left(answer, "bad-signature", 403)


def test_a_body_that_is_gone_does_not_match_its_hash(
    gateway: GatewayProcess, aws: EmbeddedAws, keys: SigningKeys
) -> None:
    """With a hash and a body the request streams and AWS compares: ``test_streaming``."""
    call = Call("s3", S3.host, "PUT", "/changed.txt", body=b"the body as it was signed")
    fields = replaced(call.signed(keys), b"content-length", b"0")
    probe = Probe(gateway, aws)

    answer = ask(gateway, call.host, head("PUT", call.target, fields))

    probe.left(answer, "bad-signature", 403)


SKEWS = {"six minutes ago": -6, "six minutes ahead": 6}


@pytest.mark.parametrize("minutes", SKEWS.values(), ids=SKEWS)
def test_a_clock_that_is_off_is_told_the_time(
    gateway: GatewayProcess, aws: EmbeddedAws, keys: SigningKeys, minutes: int
) -> None:
    probe = Probe(gateway, aws)

    answer = answer_of(gateway, S3, S3.signed(keys, datetime.now(UTC) + timedelta(minutes=minutes)))

    probe.left(answer, "clock-skew", 403)
    assert error_of(answer, "s3")["Code"] == "RequestTimeTooSkewed"
    said = parsedate_to_datetime(answer.headers["date"])
    assert abs(datetime.now(UTC) - said) < timedelta(seconds=5)


def test_four_minutes_are_forgiven(gateway: GatewayProcess, keys: SigningKeys) -> None:
    fields = QUERY.signed(keys, datetime.now(UTC) - timedelta(minutes=4))

    assert served(gateway, QUERY, fields) == 200


# --- the session ---------------------------------------------------------------------

STRANGERS = {
    "an AWS user's key": SigningKeys("AKIAIOSFODNN7EXAMPLE", "secret", ""),
    "an AWS session's key": SigningKeys("ASIAIOSFODNN7EXAMPLE", "secret", "token"),
    "a key like ours, made up": SigningKeys("GATEAAAABBBBCCCCDDDD", "secret", "token"),
}


@pytest.mark.parametrize("stranger", STRANGERS.values(), ids=STRANGERS)
def test_a_key_that_is_not_ours_is_unknown(
    gateway: GatewayProcess, aws: EmbeddedAws, stranger: SigningKeys
) -> None:
    probe = Probe(gateway, aws)

    answer = answer_of(gateway, QUERY, QUERY.signed(stranger))

    line = probe.left(answer, "unknown-key", 403)
    assert line["user"] == ""
    assert stranger.access_key_id not in answer.body.decode()


def test_the_session_of_another_gateway_is_unknown(
    gateway: GatewayProcess, aws: EmbeddedAws, tmp_path: Path
) -> None:
    foreign = mint_keys(tmp_path / "state", user="bob", role=READ_ONLY_ROLE, entropy=b"f" * 32)
    probe = Probe(gateway, aws)

    answer = answer_of(gateway, QUERY, QUERY.signed(foreign))

    line = probe.left(answer, "unknown-key", 403)
    assert line["user"] == ""


def test_a_session_that_ended_is_expired(gateway: GatewayProcess, aws: EmbeddedAws) -> None:
    old = mint_keys(gateway.state, user="bob", role=READ_ONLY_ROLE, entropy=b"o" * 32,
                    issued_ago_s=7200)  # fmt: skip
    probe = Probe(gateway, aws)

    answer = answer_of(gateway, QUERY, QUERY.signed(old))

    probe.left(answer, "session-expired", 403)
    assert error_of(answer, "query")["Code"] == "ExpiredToken"


def test_a_session_ends_while_it_is_in_use(gateway: GatewayProcess, aws: EmbeddedAws) -> None:
    short = mint_keys(gateway.state, user="bob", role=READ_ONLY_ROLE, entropy=b"s" * 32, ttl_s=2)
    assert served(gateway, QUERY, QUERY.signed(short)) == 200
    time.sleep(2.1)
    probe = Probe(gateway, aws)

    answer = answer_of(gateway, QUERY, QUERY.signed(short))

    probe.left(answer, "session-expired", 403)


# --- the policy --------------------------------------------------------------------------

DENIED = {
    "a role the user does not have": ("alice", "arn:aws:iam::123456789012:role/ExamplePowerAccess"),
    "a user that is gone": ("carol", READ_ONLY_ROLE),
    "a role of no account of the app": ("bob", "arn:aws:iam::999999999999:role/Other"),
}


@pytest.mark.parametrize(("user", "role"), DENIED.values(), ids=DENIED)
def test_what_no_rule_allows_is_denied(
    gateway: GatewayProcess, aws: EmbeddedAws, user: str, role: str
) -> None:
    session = mint_keys(gateway.state, user=user, role=role, entropy=b"d" * 32)
    probe = Probe(gateway, aws)

    answer = answer_of(gateway, QUERY, QUERY.signed(session))

    line = probe.left(answer, "denied", 403)
    assert error_of(answer, "query")["Code"] == "AccessDenied"
    assert (line["user"], line["role_arn"]) == (user, role)


def test_an_endpoint_that_tenants_own_is_denied_without_a_rule(
    gateway: GatewayProcess, aws: EmbeddedAws, keys: SigningKeys
) -> None:
    call = Call("execute-api", "abc123.execute-api.us-east-1.amazonaws.com", "GET", "/prod")
    probe = Probe(gateway, aws)

    answer = answer_of(gateway, call, call.signed(keys))

    probe.left(answer, "denied", 403)
    assert error_of(answer, "rest-json")["Code"] == "AccessDeniedException"
