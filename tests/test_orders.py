"""Orders: what they stand for, and everything that would make an artefact for something else."""

from __future__ import annotations

from typing import Any

import pytest

from awsgate.aws.endpoint import is_data_plane
from awsgate.errors import Code, Refusal
from awsgate.orders import is_order
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
    sts_of,
)

# --- the call that the policy is asked about ------------------------------------------------

OBJECT = "arn:aws:s3:::reports/a/b.txt"
CALLS: dict[str, tuple[dict[str, Any], tuple[str, ...], str, tuple[str, ...]]] = {
    "get": (S3_ORDER, ("s3:GetObject",), "Read", (OBJECT,)),
    "head": ({**S3_ORDER, "method": "HEAD"}, ("s3:GetObject",), "Read", (OBJECT,)),
    "put": ({**S3_ORDER, "method": "PUT"}, ("s3:PutObject",), "Write", (OBJECT,)),
    "delete": ({**S3_ORDER, "method": "DELETE"}, ("s3:DeleteObject",), "Write", (OBJECT,)),
    "a dotted bucket": (
        {**S3_ORDER, "bucket": "my.reports"},
        ("s3:GetObject",),
        "Read",
        ("arn:aws:s3:::my.reports/a/b.txt",),
    ),
    "a key that looks like a query": (
        {**S3_ORDER, "key": "a?acl&versionId=1 +%2F*"},
        ("s3:GetObject",),
        "Read",
        ("arn:aws:s3:::reports/a?acl&versionId=1 +%2F*",),
    ),
    "eks": (
        EKS_ORDER,
        ("eks:AccessKubernetesApi",),
        "Write",
        (f"arn:aws:eks:{REGION}:{ACCOUNT}:cluster/dev",),
    ),
    # No word of the client's: which database it is cannot be told by a host name.
    "rds": (RDS_ORDER, ("rds-db:connect",), "Permissions management", ()),
    "rds, held to one": (
        {**RDS_ORDER, "resource_id": "db-ABC"},
        ("rds-db:connect",),
        "Permissions management",
        (f"arn:aws:rds-db:{REGION}:{ACCOUNT}:dbuser:db-ABC/app",),
    ),
    "git": (
        GIT_ORDER,
        ("codecommit:GitPull", "codecommit:GitPush"),
        "Write",
        (f"arn:aws:codecommit:{REGION}:{ACCOUNT}:tools",),
    ),
    "git, pull only": (
        {**GIT_ORDER, "pull_only": True},
        ("codecommit:GitPull",),
        "Read",
        (f"arn:aws:codecommit:{REGION}:{ACCOUNT}:tools",),
    ),
}


@pytest.mark.parametrize(("order", "actions", "level", "resources"), CALLS.values(), ids=CALLS)
def test_an_order_stands_for_a_call(
    order: dict[str, Any], actions: tuple[str, ...], level: str, resources: tuple[str, ...]
) -> None:
    call = read(order).call

    assert (call.actions, call.access_level, call.resources) == (actions, level, resources)


def test_in_another_partition_arns_and_hosts_are_its_own() -> None:
    china = "sts.cn-north-1.amazonaws.com.cn"
    database = "db1.c9akciq32.rds.cn-north-1.amazonaws.com.cn"

    bucket, rds = (
        read(S3_ORDER, host=china),
        read({**RDS_ORDER, "host": database, "resource_id": "db-A"}, host=china),
    )

    assert bucket.call.resources == ("arn:aws-cn:s3:::reports/a/b.txt",)
    assert bucket.host == "reports.s3.cn-north-1.amazonaws.com.cn"
    assert rds.call.resources == (f"arn:aws-cn:rds-db:cn-north-1:{ACCOUNT}:dbuser:db-A/app",)
    assert rds.host == f"{database}:5432"


def test_without_an_account_the_resource_is_not_known() -> None:
    assert [read(order, account="").call.resources for order in ALL_ORDERS.values()] == [
        (OBJECT,), (), (), (),
    ]  # fmt: skip


# --- what is refused ------------------------------------------------------------------------


def but(order: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**order, **changes}


WRONG: dict[str, dict[str, Any] | bytes] = {
    "no json": b"{",
    "nothing": b"",
    "no object": b'["s3"]',
    "no utf-8": b'{"kind": "\xff"}',
    "a name twice": b'{"kind":"s3","bucket":"a-b-c","bucket":"reports","key":"k"}',
    "too deep": b"[" * 8000,
    "no kind": {},
    "no such kind": {"kind": "iam"},
    "a kind that is none": {"kind": ["s3"]},
    "a parameter too many": but(S3_ORDER, version_id="1"),
    "an override of the answer": {**S3_ORDER, "response-content-type": "text/html"},
    "of another kind": but(EKS_ORDER, bucket="reports"),
    "no key": {"kind": "s3", "bucket": "reports"},
    "null": but(S3_ORDER, key=None),
    "a key that is no text": but(S3_ORDER, key=1),
    "an empty key": but(S3_ORDER, key=""),
    "a key over its length": but(S3_ORDER, key="é" * 513),
    "half a character": b'{"kind":"s3","bucket":"reports","key":"\\ud83d"}',
    "up": but(S3_ORDER, key="public/../secret"),
    "up at the end": but(S3_ORDER, key="public/.."),
    "a dot": but(S3_ORDER, key="./secret"),
    "a line break in a key": but(S3_ORDER, key="a\r\nHost: x"),
    "a nul in a key": but(S3_ORDER, key="a\x00"),
    "a bucket with a path": but(S3_ORDER, bucket="reports/a"),
    "a bucket that is a host": but(S3_ORDER, bucket="evil.example.com#"),
    "a bucket that ends a host": but(S3_ORDER, bucket="evil.example.com/"),
    "a bucket that goes up": but(S3_ORDER, bucket=".."),
    "a bucket of dots": but(S3_ORDER, bucket="a..b"),
    "a bucket with a port": but(S3_ORDER, bucket="a:443"),
    "a bucket with a login": but(S3_ORDER, bucket="a@b"),
    "a bucket in capitals": but(S3_ORDER, bucket="Reports"),
    "a bucket with a line break": but(S3_ORDER, bucket="reports\n"),
    "a bucket of wildcards": but(S3_ORDER, bucket="rep*"),
    "an access point": but(S3_ORDER, bucket="arn:aws:s3:us-east-1:123456789012:accesspoint/a"),
    "a directory bucket": but(S3_ORDER, bucket="bb--usw2-az1--x-s3"),
    "an alias of an access point": but(S3_ORDER, bucket="reports-s3alias"),
    "post": but(S3_ORDER, method="POST"),
    "a method in small letters": but(S3_ORDER, method="get"),
    "a method with more": but(S3_ORDER, method="GET "),
    "no time": but(S3_ORDER, expires_in=0),
    "time that went": but(S3_ORDER, expires_in=-1),
    "true as a time": but(S3_ORDER, expires_in=True),
    "a time with a comma": but(S3_ORDER, expires_in=1.5),
    "a cluster with a line break": but(EKS_ORDER, cluster="dev\nx-k8s-aws-id: prod"),
    "a cluster with an end": but(EKS_ORDER, cluster="dev\n"),
    "a cluster of wildcards": but(EKS_ORDER, cluster="*"),
    "a cluster in an arn": but(EKS_ORDER, cluster="dev/../prod"),
    "no cluster": but(EKS_ORDER, cluster=""),
    "a database elsewhere": but(RDS_ORDER, host="db.example.com"),
    "a database in another region": but(
        RDS_ORDER, host="db1.c9akciq32.us-east-1.rds.amazonaws.com"
    ),
    "no database": but(RDS_ORDER, host=f"{REGION}.rds.amazonaws.com"),
    "an api": but(RDS_ORDER, host=f"rds.{REGION}.amazonaws.com"),
    "a suffix that only looks so": but(RDS_ORDER, host=f"db1.x.{REGION}.rds.notamazonaws.com"),
    "a suffix in the middle": but(RDS_ORDER, host=f"{DATABASE}.example.com"),
    "a host with a path": but(RDS_ORDER, host=f"{DATABASE}/?Action=x&"),
    "a host with a port": but(RDS_ORDER, host=f"{DATABASE}:1"),
    "a host with a dot": but(RDS_ORDER, host=f"{DATABASE}."),
    "a host in capitals": but(RDS_ORDER, host=DATABASE.upper()),
    "a host that is no ascii": but(RDS_ORDER, host=f"ö{DATABASE}"),
    "a host with a line break": but(RDS_ORDER, host=f"{DATABASE}\n"),
    "port 0": but(RDS_ORDER, port=0),
    "a port that is text": but(RDS_ORDER, port="5432"),
    "a port that is none": but(RDS_ORDER, port=65536),
    "a user with a parameter": but(RDS_ORDER, user="app&DBUser=root"),
    "a user of wildcards": but(RDS_ORDER, user="*", resource_id="db-ABC"),
    "a user with a variable": but(RDS_ORDER, user="${aws:username}", resource_id="db-ABC"),
    "a user with a slash": but(RDS_ORDER, user="a/b"),
    "a resource id of wildcards": but(RDS_ORDER, resource_id="db-*"),
    "a resource id with more": but(RDS_ORDER, resource_id="db-ABC/root"),
    "git elsewhere": but(GIT_ORDER, host="git-codecommit.example.com"),
    "git in another region": but(GIT_ORDER, host="git-codecommit.us-east-1.amazonaws.com"),
    "git with a line break": but(GIT_ORDER, host=f"{GIT}\nhost:x"),
    "git behind another's name": but(GIT_ORDER, host=f"evil.{GIT}"),
    "git with a port": but(GIT_ORDER, host=f"{GIT}:443"),
    "a repository that goes up": but(GIT_ORDER, repository=".."),
    "a repository with a path": but(GIT_ORDER, repository="a/b"),
    "a repository with a line break": but(GIT_ORDER, repository="a\n\nhost:x"),
    "a repository with an encoded slash": but(GIT_ORDER, repository="a%2fb"),
    "a name that no repository has": but(GIT_ORDER, repository="tools.git"),
    "pull only, as text": but(GIT_ORDER, pull_only="yes"),
}  # fmt: skip


@pytest.mark.parametrize("order", WRONG.values(), ids=WRONG)
def test_what_could_be_made_for_something_else_is_refused(order: dict[str, Any] | bytes) -> None:
    with pytest.raises(Refusal) as caught:
        read(order)

    assert caught.value.code is Code.UNSUPPORTED
    # No value of the client's is said again: it might be a key, or a line of a log.
    values = order.values() if isinstance(order, dict) else ()
    said = f"{caught.value} {caught.value.hint} {caught.value.detail}"
    assert not [v for v in values if isinstance(v, str) and len(v) > 8 and v in said]


@pytest.mark.parametrize("order", ALL_ORDERS.values(), ids=ALL_ORDERS)
def test_what_is_refused_above_is_right_but_for_that(order: dict[str, Any]) -> None:
    assert read(order).kind == order["kind"]


@pytest.mark.parametrize("kind", ALL_ORDERS)
def test_a_kind_that_the_operator_does_not_list_is_denied(kind: str) -> None:
    others = [other for other in ALL_ORDERS if other != kind]

    for kinds in (others, []):
        with pytest.raises(Refusal) as caught:
            read(ALL_ORDERS[kind], kinds=kinds)
        assert (caught.value.code, caught.value.detail) == (
            Code.DENIED,
            "gateway/artefacts.kinds",
        )
    assert [read(ALL_ORDERS[other], kinds=others).kind for other in others] == others


@pytest.mark.parametrize(
    "order", [but(GIT_ORDER, pull_only=True), but(RDS_ORDER, resource_id="db-ABC")]
)
def test_keys_that_a_session_brings_along_cannot_be_narrowed(order: dict[str, Any]) -> None:
    """AWS would then not hold them to the client's word, so its word counts for nothing."""
    with pytest.raises(Refusal, match="cannot be narrowed"):
        read(order, chained=True)

    assert read(RDS_ORDER, chained=True).call.resources == ()
    assert len(read(GIT_ORDER, chained=True).call.actions) == 2


@pytest.mark.parametrize("host", [GIT, GIT.replace("commit.", "commit-fips."), DATABASE])
def test_where_an_artefact_is_used_the_gateway_does_not_read_along(host: str) -> None:
    assert is_data_plane(host)


# --- whose path it is ---------------------------------------------------------------------

PATHS = {
    "/.awsgate/v1/artefact": True,
    "/.awsgate/v1/artefact?x": True,
    "/.awsgate/": True,
    "/.awsgate": True,
    "/.awsgate?Action=GetCallerIdentity": True,
    "/.awsgate/../": True,
    "/": False,
    "/.awsgatex": False,
    "/x/.awsgate/": False,
}


@pytest.mark.parametrize(("target", "ours"), PATHS.items(), ids=PATHS)
def test_the_prefix_is_the_gateways_on_every_sts_endpoint_and_nowhere_else(
    target: str, ours: bool
) -> None:
    hosts = [
        f"sts.{REGION}.amazonaws.com",
        "sts.amazonaws.com",
        f"sts.{REGION}.api.aws",
        "sts-fips.us-east-1.amazonaws.com",
        "sts.cn-north-1.amazonaws.com.cn",
        f"vpce-1-2.sts.{REGION}.vpce.amazonaws.com",
    ]

    assert {is_order(sts_of(host), target.encode()) for host in hosts} == {ours}
    for host in (f"reports.s3.{REGION}.amazonaws.com", "iam.amazonaws.com"):
        assert not is_order(sts_of(host), target.encode())
