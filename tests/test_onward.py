"""Two hops: what the near gateway hands on, the far one proves by itself, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from awsgate.aws.sigv4 import SigningKeys
from awsgate.chaining import rewrite_answer
from awsgate.errors import Code, Refusal, SetupError
from awsgate.gate import Gate, Review
from awsgate.onward import address_of, check_keys, connector_of, onward
from awsgate.outgoing import Hop
from awsgate.policy import UpstreamGateway, parse_policy
from awsgate.session import (
    Bounds,
    GatewayCredentials,
    IssuedKeys,
    SessionOpener,
    mint_surrogate,
)
from awsgate.wire import RequestFacts
from calls import ADMIN, GOOD, JSON, LAMBDA, POLICY, READER, ROLE_KEYS, S3, Call, minted
from hopping import (
    FAR,
    NEAR,
    NEAR_POLICY,
    SPEC,
    Hopped,
    arrive,
    far_keys,
    hop,
    near_gate,
    near_keys,
)
from signers import WHEN, value_of

STS = "sts.eu-central-1.amazonaws.com"
FORM = (("Content-Type", "application/x-www-form-urlencoded"),)
WHO = Call(
    method="POST", host=STS, target="/", headers=FORM, service="sts", keys=near_keys(),
    body=b"Action=GetCallerIdentity&Version=2011-06-15",
)  # fmt: skip
PUT = replace(GOOD, keys=near_keys())
XFH = b"x-forwarded-host"


# --- what crosses ----------------------------------------------------------------------

CROSS = {
    "s3, body hashed": PUT,
    "s3, body unsigned": replace(PUT, sign_body=False),
    "json, no hash header": replace(JSON, keys=near_keys()),
    "sts form": WHO,
    "an equal x-forwarded-host of the client's": replace(
        PUT, headers=(("X-Forwarded-Host", f"{S3}:443"),)
    ),
    "port 443 in host": replace(PUT, headers=(("Host", f"{S3}:443"),)),
    "a signed date header": replace(JSON, keys=near_keys(), headers=(("Date", "now"),)),
}


@pytest.mark.parametrize("call", CROSS.values(), ids=CROSS)
def test_what_is_handed_on_is_proved_and_decided_ahead(call: Call) -> None:
    hopped = hop(call)
    review, plan = arrive(hopped, call.method, call.body)

    assert hopped.plan.hop is not None
    assert (hopped.plan.hop.user, hopped.plan.hop.app) == ("alice", "console")
    assert value_of(hopped.out.headers, XFH) == call.host.encode()
    assert value_of(hopped.out.headers, b"host").removesuffix(b":443") == call.host.encode()
    assert review.claim is not None
    assert "x-forwarded-host" in review.claim.signed_headers
    assert (plan.target_host, plan.role_arn, plan.user) == (call.host, READER, "alice")
    assert plan.hop is None
    assert review.decision is not None
    assert review.decision.rule == "role/read"
    assert hopped.out.target == call.target.encode()


def test_nothing_of_the_near_gateways_credentials_crosses() -> None:
    hopped = hop(PUT)

    crossed = b"\n".join(value for _, value in hopped.out.headers) + hopped.out.target
    for secret in (PUT.keys.session_token, PUT.keys.access_key_id, PUT.keys.secret_access_key):
        assert secret.encode() not in crossed
    assert far_keys().session_token.encode() in crossed


def test_the_near_policy_needs_to_know_nobody() -> None:
    assert not NEAR_POLICY.users
    assert hop(PUT).review.decision is not None
    assert hop(PUT).plan.role_arn == READER


# --- what the near one refuses ------------------------------------------------------------


def refused(call: Call, gate: Gate) -> Refusal:
    def ask() -> None:
        review = Review(call.facts())
        gate.receive(review, WHEN)
        gate.authorise(review, call.body, WHEN)

    with pytest.raises(Refusal) as caught:
        ask()
    return caught.value


NEAR_REFUSES: dict[str, tuple[Call, Code, str]] = {
    "credentials of its own policy": (
        replace(PUT, keys=minted()), Code.DENIED, "were not issued for the gateway"),
    "credentials for another gateway ahead": (
        replace(PUT, keys=near_keys(connector="gateway/other.example.com:8443")),
        Code.DENIED, "were not issued for the gateway"),
    "credentials of a login at this gateway": (
        replace(PUT, keys=near_keys(connector="oidc/okta")), Code.DENIED, "were not issued"),
    "what was handed on already": (
        replace(PUT, origin=True), Code.UNSUPPORTED, "takes none that were handed on"),
    "a write with credentials for reading": (
        replace(PUT, keys=near_keys(bounds=Bounds(read_only=True))),
        Code.DENIED, "for reading alone"),
    "a changed body": (replace(PUT, after=lambda f: [*f]), Code.BAD_SIGNATURE, ""),
    "another port": (
        replace(PUT, facts_too=lambda f: replace(f, connect_port=8443)), Code.UNSUPPORTED, "port"),
}  # fmt: skip


@pytest.mark.parametrize(("call", "code", "text"), NEAR_REFUSES.values(), ids=NEAR_REFUSES)
def test_the_near_gateway_refuses(call: Call, code: Code, text: str) -> None:
    if code is Code.BAD_SIGNATURE:
        call = replace(call, secret="not the secret")
    found = refused(call, near_gate())

    assert (found.code, text in found.message) == (code, True)


def test_without_upstream_gateway_such_credentials_are_worth_nothing() -> None:
    """The mode cannot be reached by credentials: they have no role of the policy's."""
    found = refused(PUT, Gate(POLICY, SessionOpener(NEAR)))

    assert found.code is Code.DENIED


def test_a_lock_here_holds_before_anything_is_handed_on() -> None:
    lock = {"kind": "lock", "version": "v2", "metadata": {"name": "out"},
            "spec": {"target": {"user": "alice"}}}  # fmt: skip
    locked = replace(NEAR_POLICY, locks=parse_policy([("l", lock)]).locks)

    assert refused(PUT, near_gate(locked)).code is Code.LOCKED


def test_credentials_of_awss_are_not_shown_to_the_gateway_ahead() -> None:
    plan = hop(PUT).plan

    with pytest.raises(Refusal, match="not shown"):
        check_keys(plan, ROLE_KEYS)
    check_keys(plan, far_keys())
    check_keys(replace(plan, hop=None), ROLE_KEYS)


def test_credentials_are_asked_for_with_the_bounds_of_the_session() -> None:
    get = replace(
        PUT, method="GET", target="/k", body=b"", keys=near_keys(bounds=Bounds(read_only=True))
    )

    assert hop(get).plan.hop == Hop("gateway/jump.example.com:8443", "alice", "console", True)


# --- what the far one refuses: nothing is believed that is not proved --------------------


def with_header(name: bytes, value: bytes | None) -> Callable[[RequestFacts], RequestFacts]:
    def change(facts: RequestFacts) -> RequestFacts:
        kept = [(n, v) for n, v in facts.headers if n.lower() != name]
        return replace(facts, headers=kept if value is None else [*kept, (name, value)])

    return change


def also(name: bytes, value: bytes) -> Callable[[RequestFacts], RequestFacts]:
    return lambda facts: replace(facts, headers=[*facts.headers, (name, value)])


def unsigned_forwarded(facts: RequestFacts) -> RequestFacts:
    fields = [
        (n, v.replace(b";x-forwarded-host", b"") if n.lower() == b"authorization" else v)
        for n, v in facts.headers
    ]
    return replace(facts, headers=fields)


FORGED: dict[str, tuple[Callable[[RequestFacts], RequestFacts], set[Code]]] = {
    "another aws host": (with_header(XFH, b"other-" + S3.encode()), {Code.BAD_SIGNATURE}),
    "a host of another service": (
        with_header(XFH, LAMBDA.encode()), {Code.SCOPE_MISMATCH, Code.BAD_SIGNATURE}),
    "both hosts changed alike": (
        lambda f: with_header(b"host", b"c." + S3.encode())(
            with_header(XFH, b"c." + S3.encode())(f)), {Code.BAD_SIGNATURE}),
    "host changed alone": (with_header(b"host", b"jump.example.com"), {Code.BAD_SIGNATURE}),
    "the header left out": (with_header(XFH, None), {Code.MISSING_FORWARDED_HOST}),
    "the header twice": (also(XFH, S3.encode()), {Code.BAD_FORWARDED_HOST}),
    "the header as a list": (
        with_header(XFH, f"{S3}, {LAMBDA}".encode()), {Code.BAD_FORWARDED_HOST}),
    "no aws host": (with_header(XFH, b"evil.example.com"), {Code.NOT_AN_AWS_ENDPOINT}),
    "the header no more signed": (unsigned_forwarded, {Code.BAD_SIGNATURE}),
    "one more x-amz header": (also(b"x-amz-acl", b"public-read"), {Code.BAD_SIGNATURE}),
    "another path": (lambda f: replace(f, target=b"/x"), {Code.BAD_SIGNATURE}),
    "plain, from elsewhere": (lambda f: replace(f, tls=False), {Code.UNSUPPORTED}),
}  # fmt: skip


@pytest.mark.parametrize(("change", "codes"), FORGED.values(), ids=FORGED)
def test_the_far_gateway_refuses_what_was_changed_between(
    change: Callable[[RequestFacts], RequestFacts], codes: set[Code]
) -> None:
    with pytest.raises(Refusal) as caught:
        arrive(hop(PUT), "PUT", PUT.body, change=change)

    assert caught.value.code in codes


def test_the_far_gateway_takes_neither_the_near_ones_credentials_nor_another_users_role() -> None:
    near = near_keys()
    keys = SigningKeys(near.access_key_id, near.secret_access_key, near.session_token)

    with pytest.raises(Refusal) as caught:
        arrive(hop(PUT, keys=keys), "PUT", PUT.body)
    assert caught.value.code is Code.UNKNOWN_KEY
    with pytest.raises(Refusal) as caught:
        arrive(hop(PUT, keys=far_keys(role_arn=ADMIN)), "PUT", PUT.body)
    assert caught.value.code is Code.DENIED


def test_what_a_client_says_of_the_way_does_not_cross() -> None:
    """Whatever it signed: hop-by-hop, proxy and forwarding headers are this gateway's to say."""
    names = ("X-Forwarded-For", "X-Forwarded-Proto", "Forwarded", "Via", "Connection", "Te",
             "Proxy-Authorization", "X-Real-Ip")  # fmt: skip
    call = replace(PUT, headers=tuple((name, "x-forwarded-host") for name in names))

    crossed = [name.lower() for name, _ in hop(call).out.headers]

    assert crossed.count(XFH) == 1
    assert not {name.lower().encode() for name in names} & set(crossed)


# --- loops, and the shape of the setting ----------------------------------------------------


def test_a_gateway_that_hands_on_takes_nothing_that_was_handed_on_not_even_unsigned() -> None:
    facts = RequestFacts(
        b"POST", b"/", b"", ((b"Host", STS.encode()), (XFH, STS.encode())), None, True, None, False
    )

    with pytest.raises(Refusal, match="handed on") as caught:
        near_gate().receive(Review(facts), WHEN)
    assert caught.value.code is Code.UNSUPPORTED


FAULTS = {
    "plain to another machine": (
        {"upstream_gateway": {"url": "http://jump.example.com:8443"}}, "it must be https"),
    "itself": (
        {"listen": "127.0.0.1:8080", "upstream_gateway": {"url": "http://localhost:8080"}},
        "is this gateway itself"),
    "itself by name": (
        {"listen": "0.0.0.0:8443", "tls": True, "names": ["gate.example.com"],
         "upstream_gateway": {"url": "https://gate.example.com:8443"}}, "is this gateway itself"),
    "with upstreams": (
        {"upstreams": [{"hosts": ["*.amazonaws.com"], "url": "http://127.0.0.1:1"}],
         "upstream_gateway": {"url": "https://jump.example.com"}},
        "upstreams and upstream_gateway"),
    "a plain control api": (
        {"upstream_gateway": {"url": "https://j.example.com", "control": "http://localhost:1"}},
        "is not https, a host and a port alone"),
    "a path of a control api": (
        {"upstream_gateway": {"url": "https://j.example.com", "control": "https://j:1/v1"}},
        "is not https, a host and a port alone"),
    "with a control api": (
        {"control": {"listen": "127.0.0.1:3081"},
         "upstream_gateway": {"url": "https://jump.example.com"}}, "control and upstream_gateway"),
}  # fmt: skip


@pytest.mark.parametrize(("spec", "text"), FAULTS.values(), ids=FAULTS)
def test_a_setting_that_cannot_be_meant_is_a_fault(spec: dict[str, object], text: str) -> None:
    with pytest.raises(SetupError) as caught:
        parse_policy([("g", {"kind": "gateway", "spec": spec})])

    assert text in caught.value.render()


def test_addresses_are_read_with_their_usual_ports() -> None:
    assert address_of(SPEC) == ("https", "jump.example.com", 8443)
    assert address_of(UpstreamGateway(url="https://jump.example.com")) == (
        "https", "jump.example.com", 443,
    )  # fmt: skip
    assert connector_of(UpstreamGateway(url="https://[fd00::1]:8443")) == "gateway/[fd00::1]:8443"
    assert FAR is not NEAR


# --- roles that a client assumes, and calls that need no signature ------------------------------

DEEPER = "arn:aws:iam::123456789012:role/Deeper"
ANSWER = """\
<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>
<AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/Deeper/alice</Arn></AssumedRoleUser>
<Credentials><AccessKeyId>{0}</AccessKeyId><SecretAccessKey>{1}</SecretAccessKey>
<SessionToken>{2}</SessionToken><Expiration>{3:%Y-%m-%dT%H:%M:%SZ}</Expiration></Credentials>
</AssumeRoleResult></AssumeRoleResponse>"""


def answered(keys: SigningKeys) -> bytes:
    """What the far gateway answers: its own surrogate, in AWS's words."""
    ends = WHEN + timedelta(minutes=30)
    return ANSWER.format(
        keys.access_key_id, keys.secret_access_key, keys.session_token, ends
    ).encode()


def wrapped(hopped: Hopped, keys: SigningKeys) -> GatewayCredentials:
    """What the near gateway makes of that answer for its client."""
    body = rewrite_answer(
        answered(keys), encoding="", plan=hopped.plan, session=hopped.review.session, keys=NEAR,
        now=WHEN, entropy=bytes(range(70, 102)),
    )  # fmt: skip
    found = [re.search(rb"<%s>([^<]+)</" % name, body) for name in TAGS]
    assert keys.access_key_id.encode() not in body
    assert keys.session_token.encode() not in body
    key_id, secret, token = (match[1].decode() for match in found if match is not None)
    return GatewayCredentials(key_id, secret, token, 0)


TAGS = (b"AccessKeyId", b"SecretAccessKey", b"SessionToken")


def test_a_role_that_the_client_assumes_goes_on_by_surrogates_of_both() -> None:
    form = f"Action=AssumeRole&RoleArn={DEEPER}&RoleSessionName=x&Version=2011-06-15".encode()
    ahead = far_keys()  # stands for the surrogate that the far gateway gives out

    keys = wrapped(hop(replace(WHO, body=form)), ahead)
    again = hop(replace(WHO, keys=keys))

    assert again.plan.issued is not None
    assert again.plan.issued.role_arn == DEEPER
    assert again.plan.issued.keys == ahead
    _, plan = arrive(again, "POST", WHO.body)
    assert plan.user == "alice"
    # Without upstream_gateway they are nobody's: no key of the far gateway's leaves for AWS.
    found = refused(replace(WHO, keys=keys), Gate(POLICY, SessionOpener(NEAR)))
    assert found.code is Code.DENIED


def test_a_web_identity_goes_on_unsigned_and_what_it_gets_is_good_there_alone() -> None:
    form = (b"Action=AssumeRoleWithWebIdentity&RoleSessionName=x&WebIdentityToken=t&RoleArn="
            + DEEPER.encode() + b"&Version=2011-06-15")  # fmt: skip
    unsigned = replace(
        WHO, body=form,
        after=lambda all_: [f for f in all_ if not f[0].lower().startswith((b"auth", b"x-amz"))],
    )  # fmt: skip

    hopped = hop(unsigned)
    far_review, far_plan = arrive(hopped, "POST", form)

    assert value_of(hopped.out.headers, XFH) == STS.encode()
    assert (hopped.plan.form, far_plan.form) == (None, None)
    assert far_review.decision is not None
    assert far_review.decision.rule == "gateway/unsigned.apis"
    keys = wrapped(hopped, far_keys())
    again = hop(replace(WHO, keys=keys))
    assert again.plan.issued is not None
    assert again.review.session is not None
    assert again.review.session.user == ""
    assert again.plan.hop == Hop("gateway/jump.example.com:8443", "", "")


def test_surrogates_of_awss_keys_are_not_handed_on() -> None:
    """Minted while this gateway decided itself: they hold real credentials."""
    issued = IssuedKeys(ROLE_KEYS, int(WHEN.timestamp()) + 900, DEEPER, "alice")
    parent = SessionOpener(NEAR)(
        access_key_id=minted().access_key_id, session_token=minted().session_token,
        now=int(WHEN.timestamp()),
    ).session  # fmt: skip
    real = mint_surrogate(
        NEAR, parent, issued, now=int(WHEN.timestamp()), entropy=bytes(range(80, 112))
    )

    assert refused(replace(WHO, keys=real), near_gate()).code is Code.DENIED


def test_a_port_that_the_header_cannot_name_goes_nowhere() -> None:
    """WebSockets of Transcribe are on 8443; the gateway ahead would dial 443."""
    gate, review = near_gate(), Review(PUT.facts())
    gate.receive(review, WHEN)
    plan = gate.authorise(review, PUT.body, WHEN)
    spec = gate.policy.gateway.upstream_gateway
    assert spec is not None

    with pytest.raises(Refusal, match="port 8443") as caught:
        onward(replace(plan, port=8443), spec, None)

    assert caught.value.code is Code.UNSUPPORTED
