"""Regions of a signature, SigV4a's sets of them among it, against rules about regions."""

from __future__ import annotations

import hashlib
import time
from typing import Any

import pytest
from botocore.auth import HmacV1QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from awsgate.aws import sigv4a
from awsgate.aws.sigv4 import SigningKeys
from awsgate.errors import Code, Refusal
from awsgate.gate import Gate, Review
from awsgate.policy import parse_policy
from awsgate.session import SessionOpener
from awsgate.wire import RequestFacts
from calls import KEYS, READER, S3, minted
from signers import WHEN, Fields

ANYWHERE = "mfzwi23gnjvgw.mrap.accesspoint.s3-global.amazonaws.com"


def refusal_of(host: str, region_set: str, **rules: Any) -> str:
    """Give why a PUT with this region set is refused; empty: it goes out."""
    keys = minted()
    fields = sigv4a.sign(
        "PUT", b"/k", [(b"Host", host.encode()), (b"Content-Length", b"1")], signed=(),
        keys=SigningKeys(keys.access_key_id, keys.secret_access_key, keys.session_token),
        region_set=region_set, service="s3", payload=hashlib.sha256(b"x").hexdigest(), now=WHEN,
    )  # fmt: skip
    return answer_to("PUT", host, b"/k", fields, b"x", **rules)


def answer_to(
    method: str, host: str, target: bytes, fields: Fields, body: bytes, **rules: Any
) -> str:
    spec: dict[str, dict[str, Any]] = {
        "allow": {"app_labels": {"*": "*"}, "aws_role_arns": [READER]}
    }
    for effect, condition in rules.items():
        spec.setdefault(effect, {}).update(condition)
    policy = parse_policy([
        ("role", {"kind": "role", "version": "v7", "metadata": {"name": "write"}, "spec": spec}),
        ("user", {"kind": "user", "version": "v2", "metadata": {"name": "alice"},
                  "spec": {"roles": ["write"]}}),
        ("app", {"kind": "app", "version": "v3", "metadata": {"name": "console"},
                 "spec": {"uri": "https://console.aws.amazon.com/"}}),
    ])  # fmt: skip
    facts = RequestFacts(
        method=method.encode(), target=target, authority=b"", headers=tuple(fields),
        connect_host=host, tls=True, sni=host, local=True,
    )  # fmt: skip
    gate, review = Gate(policy, SessionOpener(KEYS)), Review(facts)
    try:
        gate.receive(review, WHEN)
        gate.authorise(review, body, WHEN)
    except Refusal as refusal:
        return refusal.message if refusal.code is Code.DENIED else f"not by the policy: {refusal}"
    return ""


HERE = {"aws_regions": ["eu-central-1"]}


@pytest.mark.parametrize("host", [S3, ANYWHERE])
@pytest.mark.parametrize(
    "region_set", ["eu-central-1", "*", "eu-*", "eu-central-*", "eu-west-1,eu-*,us-east-1"]
)
def test_a_glob_in_a_region_set_passes_no_deny(host: str, region_set: str) -> None:
    assert "a deny rule matches this call" in refusal_of(host, region_set, deny=HERE)


def test_regions_that_are_known_pass_a_deny_on_others() -> None:
    assert refusal_of(S3, "eu-central-1", deny={"aws_regions": ["us-*"]}) == ""
    assert refusal_of(ANYWHERE, "eu-west-1,eu-west-2", deny=HERE) == ""


@pytest.mark.parametrize(
    ("region_set", "allowed"),
    [("eu-central-1", True), ("eu-*", False), ("*", False), ("eu-central-1,us-*", False)],
)
def test_an_allow_needs_every_region_by_name(region_set: str, allowed: bool) -> None:
    for rule in (HERE, {"aws_regions": ["eu-*"]}, {"aws_regions": ["eu-central-?"]}):
        assert (refusal_of(S3, region_set, allow=rule) == "") is allowed
    assert refusal_of(S3, region_set, allow={"aws_regions": ["*"]}) == ""


def test_the_endpoints_own_region_counts_whatever_is_signed_for() -> None:
    both = "eu-central-1,us-east-1"

    assert "aws_regions" in refusal_of(S3, both, allow={"aws_regions": ["us-east-1"]})
    assert refusal_of(S3, both, allow={"aws_regions": ["us-east-1", "eu-central-1"]}) == ""


def test_a_signature_that_names_no_region_is_for_the_endpoints(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """SigV2 has no scope."""
    keys = minted()
    made = Credentials(keys.access_key_id, keys.secret_access_key, keys.session_token)
    request = AWSRequest("GET", f"https://{S3}/k", auth_path="/b/k")
    monkeypatch.setattr(time, "time", WHEN.timestamp)
    HmacV1QueryAuth(made, expires=600).add_auth(request)
    target = request.url.removeprefix(f"https://{S3}").encode()
    fields = [(b"Host", S3.encode())]

    for regions, message in ((["eu-*"], ""), (["us-*"], "aws_regions of role/write")):
        said = answer_to("GET", S3, target, fields, b"", allow={"aws_regions": regions})
        assert message in said
        assert bool(message) is bool(said)
