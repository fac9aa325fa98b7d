"""Artefacts, byte for byte against what AWS's own tools make of the same keys and time."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from awsgate.artefacts import make_artefact, narrowed
from awsgate.aws.sigv4 import SigningKeys
from awsgate.errors import Code, Refusal
from awsgate.orders import Order
from awsgate.policy.handoff import NOTHING, Handoff
from ordering import (
    ACCOUNT,
    ALL_ORDERS,
    DATABASE,
    EKS_ORDER,
    GIT,
    GIT_ORDER,
    RDS_ORDER,
    REGION,
    S3_ORDER,
    read,
    their_eks_token,
    their_git_credentials,
    their_rds_token,
    their_url,
)
from signers import KEYS, SESSION_KEYS, WHEN

BOTH_KEYS = {"long-term keys": KEYS, "session keys": SESSION_KEYS}
END = WHEN.timestamp()
HOUR = 3600.0
ODD_KEYS = (
    "a/b.txt",
    "a b+c/é/😀 x%2F.txt",
    "//x",
    "a//b/",
    "~tilde/-._/*?=&:;@,!$'()[]#",
    "versionId=1&acl",
    "%00",
    ".hidden/...three",
    "k" * 1024,
)


def made(
    order: Order,
    keys: SigningKeys = SESSION_KEYS,
    *,
    session_s: float = HOUR,
    keys_s: float = HOUR,
    now: datetime = WHEN,
) -> dict[str, Any]:
    artefact = make_artefact(
        order, keys, now=now, session_ends_s=END + session_s, keys_end_s=END + keys_s
    )
    answer: dict[str, Any] = json.loads(artefact.answer)
    assert answer["expires"] == artefact.expires
    return answer


def after(seconds: int) -> str:
    return (WHEN + timedelta(seconds=seconds)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# --- as AWS's tools make them ------------------------------------------------------------


@pytest.mark.parametrize("keys", BOTH_KEYS.values(), ids=BOTH_KEYS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
@pytest.mark.parametrize("key", ODD_KEYS, ids=range(len(ODD_KEYS)))
def test_a_url_is_botocores(keys: SigningKeys, method: str, key: str) -> None:
    order = read({**S3_ORDER, "key": key, "method": method, "expires_in": 600})

    assert made(order, keys)["url"] == their_url(
        keys, WHEN, method=method, bucket="reports", key=key, expires_s=600
    )


@pytest.mark.parametrize("region", ["us-east-1", "us-gov-west-1", "cn-north-1", "eu-west-3"])
@pytest.mark.parametrize("bucket", ["reports", "my.dotted.bucket", "123", "b-" + "x" * 61])
def test_a_url_is_botocores_in_every_partition_and_for_dotted_buckets(
    region: str, bucket: str
) -> None:
    host = f"sts.{region}.amazonaws.com" + (".cn" if region.startswith("cn") else "")
    order = read({**S3_ORDER, "bucket": bucket}, host=host)

    assert made(order)["url"] == their_url(
        SESSION_KEYS, WHEN, method="GET", bucket=bucket, key="a/b.txt", expires_s=900, region=region
    )


@pytest.mark.parametrize("keys", BOTH_KEYS.values(), ids=BOTH_KEYS)
@pytest.mark.parametrize("region", [REGION, "us-east-1"])
def test_an_eks_token_is_that_of_aws_eks_get_token(keys: SigningKeys, region: str) -> None:
    order = read({**EKS_ORDER, "cluster": "Dev_1-x"}, host=f"sts.{region}.amazonaws.com")

    answer = made(order, keys)

    assert answer["token"] == their_eks_token(keys, WHEN, "Dev_1-x", region)
    assert answer["expires"] == after(14 * 60)


@pytest.mark.parametrize("keys", BOTH_KEYS.values(), ids=BOTH_KEYS)
@pytest.mark.parametrize("user", ["app", "jane.doe@example.com", "a+b=c,d-e_f"])
def test_an_rds_token_is_botocores(keys: SigningKeys, user: str) -> None:
    answer = made(read({**RDS_ORDER, "user": user}), keys)

    assert answer["token"] == their_rds_token(keys, WHEN, DATABASE, 5432, user)
    assert answer["expires"] == after(900)


@pytest.mark.parametrize("keys", BOTH_KEYS.values(), ids=BOTH_KEYS)
@pytest.mark.parametrize("host", [GIT, f"git-codecommit-fips.{REGION}.amazonaws.com"])
def test_git_credentials_are_those_of_the_aws_cli(keys: SigningKeys, host: str) -> None:
    answer = made(read({**GIT_ORDER, "host": host}), keys)

    assert {name: answer[name] for name in ("username", "password")} == their_git_credentials(
        keys, WHEN, host, "tools"
    )


# --- how long ------------------------------------------------------------------------------


LIMITS: dict[str, tuple[dict[str, int], dict[str, float], int, str | None]] = {
    "as asked": ({"expires_in": 60}, {}, 60, None),
    "not said": ({}, {}, 900, None),
    "the operator's limit": ({"expires_in": 7200}, {}, 900, "presign_max_ttl"),
    "the session's end": ({"expires_in": 600}, {"session_s": 300.9}, 300, "session"),
    "the keys' end": ({"expires_in": 600}, {"keys_s": 299.0}, 299, "credentials"),
    "whichever is first": (
        {"expires_in": 7200},
        {"keys_s": 500.0, "session_s": 400.0},
        400,
        "session",
    ),
}


@pytest.mark.parametrize(("asked", "ends", "seconds", "limit"), LIMITS.values(), ids=LIMITS)
def test_a_url_ends_with_whatever_ends_first_and_says_so(
    asked: dict[str, int], ends: dict[str, float], seconds: int, limit: str | None
) -> None:
    answer = made(read({**S3_ORDER, **asked}), **ends)

    assert (answer["expires_in"], answer.get("limited_by")) == (seconds, limit)
    assert answer["expires"] == after(seconds)
    assert f"X-Amz-Expires={seconds}&" in answer["url"]


@pytest.mark.parametrize("kind", ["eks", "rds", "codecommit"])
def test_the_others_end_with_the_session_too(kind: str) -> None:
    answer = made(read(ALL_ORDERS[kind]), session_s=45.0)

    assert (answer["expires"], answer["limited_by"]) == (after(45), "session")
    if kind == "rds":
        assert "X-Amz-Expires=45&" in answer["token"]


def test_the_operator_may_allow_longer_urls_than_the_default() -> None:
    order = read({**S3_ORDER, "expires_in": 3000}, presign_max_ttl="50m")

    assert made(order)["expires_in"] == 3000


@pytest.mark.parametrize("ends", [{"session_s": 0.5}, {"keys_s": -1.0}])
def test_nothing_is_made_at_the_end(ends: dict[str, float]) -> None:
    with pytest.raises(Refusal) as caught:
        made(read(S3_ORDER), **ends)

    assert caught.value.code is Code.SESSION_EXPIRED


@pytest.mark.parametrize("kind", ALL_ORDERS)
def test_neither_the_secret_nor_a_repr_of_anything_comes_along(kind: str) -> None:
    order = read(ALL_ORDERS[kind])
    artefact = make_artefact(
        order, SESSION_KEYS, now=WHEN, session_ends_s=END + HOUR, keys_end_s=END + HOUR
    )

    assert SESSION_KEYS.secret_access_key.encode() not in artefact.answer
    assert "Signature" not in repr(artefact)
    assert SESSION_KEYS.session_token not in f"{artefact!r}{order!r}"


# --- keys held to one thing by AWS ----------------------------------------------------------

PULL = {**GIT_ORDER, "pull_only": True}
REPOSITORY = f"arn:aws:codecommit:{REGION}:{ACCOUNT}:tools"
DENIALS = [
    {"Effect": "Deny", "NotAction": "codecommit:GitPull", "Resource": "*"},
    {"Effect": "Deny", "Action": "codecommit:GitPull", "NotResource": REPOSITORY},
]


def test_keys_are_held_to_what_the_order_says_of_itself() -> None:
    pull, database = narrowed(NOTHING, read(PULL)), read({**RDS_ORDER, "resource_id": "db-ABC"})

    assert json.loads(pull.policy)["Statement"] == [
        {"Effect": "Allow", "Action": "codecommit:GitPull", "Resource": REPOSITORY}
    ]
    assert json.loads(narrowed(NOTHING, database).policy)["Statement"] == [
        {
            "Effect": "Allow",
            "Action": "rds-db:connect",
            "Resource": f"arn:aws:rds-db:{REGION}:{ACCOUNT}:dbuser:db-ABC/app",
        }
    ]


@pytest.mark.parametrize("order", [S3_ORDER, EKS_ORDER, RDS_ORDER, GIT_ORDER], ids=ALL_ORDERS)
def test_where_the_signature_says_it_all_the_keys_are_as_ever(order: dict[str, Any]) -> None:
    given = Handoff(policy='{"Statement":[]}', tags=(("a", "b"),))

    assert narrowed(given, read(order)) is given


def test_what_the_operator_hands_over_stays_in_force() -> None:
    before = {"Effect": "Deny", "Action": "*", "Resource": "*"}
    inline = Handoff(
        policy=json.dumps({"Version": "2012-10-17", "Statement": before}), source_identity="alice"
    )
    managed = Handoff(policy_arns=("arn:aws:iam::aws:policy/ReadOnlyAccess",))

    one, other = narrowed(inline, read(PULL)), narrowed(managed, read(PULL))

    assert json.loads(one.policy)["Statement"] == [before, *DENIALS]
    assert one.source_identity == "alice"
    # An Allow here would add to what the managed policy allows.
    assert json.loads(other.policy)["Statement"] == DENIALS
    assert other.policy_arns == managed.policy_arns


def test_a_policy_that_has_no_room_is_a_fault_and_is_not_left_out() -> None:
    long = json.dumps({"Statement": [{"Effect": "Allow", "Action": "x:" + "y" * 1950}]})

    found = narrowed(Handoff(policy=long), read(PULL))

    assert found.faults == ("the session policy, narrowed to codecommit:GitPull, is over 2048",)
