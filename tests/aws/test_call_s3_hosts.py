"""One request at the different hosts of S3: each is read as S3 reads it there.

The oracle for VPC endpoints is botocore: what it sends for an operation is read back as
that operation, of that bucket.
"""

from __future__ import annotations

from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest
from botocore.config import Config
from botocore.session import Session

from asking import ACCOUNT, call
from awsgate.aws.call import Call

VPCE = "vpce-1a2b3c4d-5e6f.s3.us-east-1.vpce.amazonaws.com"
HERE = "us-east-1.amazonaws.com"
JOB, ACCESS = "/v20180820/jobs/1/tagging", "/v20180820/accessgrantsinstance/dataaccess"


class Caught(Exception):
    """Raised in place of sending."""


def asked_by_botocore(
    service: str, endpoint: str, operation: str, arguments: dict[str, Any], style: str
) -> Call:
    client = Session().create_client(
        service, region_name="us-east-1", endpoint_url=f"https://{endpoint}",
        aws_access_key_id="AKIDEXAMPLE", aws_secret_access_key="made-up",
        config=Config(s3={"addressing_style": style}),
    )  # fmt: skip
    caught: list[AWSPreparedRequest] = []

    def stop(request: AWSPreparedRequest, **_: Any) -> None:
        caught.append(request)
        raise Caught

    client.meta.events.register("before-send", stop)
    with pytest.raises(Caught):
        getattr(client, operation)(**arguments)
    host, _, rest = caught[0].url.removeprefix("https://").partition("/")
    body = caught[0].body
    return call(host, f"{caught[0].method} /{rest}", body if isinstance(body, bytes) else b"", "s3")


ALIAS = "ap-abcdefghijklmnop-s3alias"
POINT = f"arn:aws:s3:us-east-1:{ACCOUNT}:accesspoint/ap"
# service, host, operation, arguments -> action, resources
SENT: dict[str, tuple[str, str, str, dict[str, Any], str, tuple[str, ...]]] = {
    "an object": (
        "s3", f"bucket.{VPCE}", "get_object", {"Bucket": "mine", "Key": "k"},
        "s3:GetObject", ("arn:aws:s3:::mine/k",)),
    "a bucket that is deleted": (
        "s3", f"bucket.{VPCE}", "delete_bucket", {"Bucket": "mine"},
        "s3:DeleteBucket", ("arn:aws:s3:::mine",)),
    "a bucket's acl": (
        "s3", f"bucket.{VPCE}", "put_bucket_acl", {"Bucket": "mine", "ACL": "private"},
        "s3:PutBucketAcl", ("arn:aws:s3:::mine",)),
    "all buckets": ("s3", f"bucket.{VPCE}", "list_buckets", {}, "s3:ListAllMyBuckets", ()),
    "an alias in the place of a bucket": (
        "s3", f"bucket.{VPCE}", "get_object", {"Bucket": ALIAS, "Key": "k"}, "s3:GetObject", ()),
    "an access point": (
        "s3", f"accesspoint.{VPCE}", "get_object", {"Bucket": POINT, "Key": "k"},
        "s3:GetObject", ()),
    "an access point by its alias": (
        "s3", f"accesspoint.{VPCE}", "put_object", {"Bucket": ALIAS, "Key": "k"},
        "s3:PutObject", ()),
    "an access point's objects": (
        "s3", f"accesspoint.{VPCE}", "list_objects_v2", {"Bucket": ALIAS}, "s3:ListBucket", ()),
    "credentials": (
        "s3control", f"control.{VPCE}", "get_data_access",
        {"AccountId": ACCOUNT, "Target": "s3://b/*", "Permission": "READ"},
        "s3:GetDataAccess", ()),
    "an access point's policy": (
        "s3control", f"control.{VPCE}", "put_access_point_policy",
        {"AccountId": ACCOUNT, "Name": "point", "Policy": "{}"}, "s3:PutAccessPointPolicy", ()),
}  # fmt: skip


@pytest.mark.parametrize("style", ["path", "virtual", "auto"])
@pytest.mark.parametrize("row", SENT)
def test_what_boto3_sends_to_a_vpc_endpoint_is_read_as_it_was_meant(row: str, style: str) -> None:
    service, host, operation, arguments, action, resources = SENT[row]

    found = asked_by_botocore(service, host, operation, arguments, style)

    assert (found.actions, found.resources) == ((action,), resources)


# host, request -> actions, resources
READ = {
    "control, its jobs": (f"s3-control.{HERE}", f"PUT {JOB}", "s3:PutJobTagging", ()),
    "control behind a VPC endpoint": (f"control.{VPCE}", f"PUT {JOB}", "s3:PutJobTagging", ()),
    "control, credentials": (f"control.{VPCE}", f"GET {ACCESS}?target=x&permission=READ",
                             "s3:GetDataAccess", ()),
    "a bucket that is called like control": (
        f"s3-control-evil.s3.{HERE}", f"PUT {JOB}", "s3:PutObject",
        (f"arn:aws:s3:::s3-control-evil{JOB}",)),
    "a bucket that is called control": (
        f"s3-control.s3.{HERE}", f"GET {JOB}", "s3:GetObject", (f"arn:aws:s3:::s3-control{JOB}",)),
    "a bucket that is called like that of directory buckets": (
        f"s3express-control.s3.{HERE}", "PUT /mine/a", "s3:PutObject",
        ("arn:aws:s3:::s3express-control/mine/a",)),
    "its list of objects": (
        f"s3express-control.s3.{HERE}", "GET /", "s3:ListBucket",
        ("arn:aws:s3:::s3express-control",)),
    "a directory bucket of that name": (
        f"s3express-control.s3express-use1-az4.{HERE}", "PUT /mine/a", "s3:PutObject", ()),
    "directory buckets, path style": (
        f"s3express-use1-az4.{HERE}", "DELETE /mine", "s3:DeleteBucket s3express:DeleteBucket", ()),
    "a directory bucket at control": (
        f"s3express-control.{HERE}", "DELETE /mine", "s3:DeleteBucket s3express:DeleteBucket", ()),
    "an object through Object Lambda": (
        f"ap-1.s3-object-lambda.{HERE}", "GET /k", "s3:GetObject s3-object-lambda:GetObject", ()),
    "a bucket in the host of a VPC endpoint": (
        f"control.bucket.{VPCE}", f"GET {JOB}", "s3:GetObject", (f"arn:aws:s3:::control{JOB}",)),
    "an access point named in the path": (
        f"accesspoint.{VPCE}", "DELETE /mine", "s3:DeleteBucket", ()),
}  # fmt: skip


@pytest.mark.parametrize(("host", "asked", "action", "arns"), READ.values(), ids=READ)
def test_a_host_of_s3_is_what_its_form_says(
    host: str, asked: str, action: str, arns: tuple[str, ...]
) -> None:
    found = call(host, asked)

    assert (found.actions, found.resources) == (tuple(action.split()), arns)


def test_without_a_name_it_is_the_list_of_all() -> None:
    assert call(f"accesspoint.{VPCE}", "GET /").actions == ("s3:ListAllMyBuckets",)
    directories = call(f"s3express-control.{HERE}", "GET /").actions
    assert directories == ("s3express:ListAllMyDirectoryBuckets",)


@pytest.mark.parametrize("host", [f"accesspoint.{VPCE}", f"s3express-use1-az4.{HERE}"])
@pytest.mark.parametrize("target", ["*", "/", "//", "/?session"])
def test_any_path_has_an_answer(host: str, target: str) -> None:
    assert call(host, f"GET {target}").resources == ()


def test_a_plus_in_a_path_may_be_a_space() -> None:
    found = call("s3", "GET /b/a+b")

    assert (found.actions, found.resources) == (("s3:GetObject",), ())
    assert call("s3", "GET /b/a%2Bb").resources == ("arn:aws:s3:::b/a+b",)
    assert call("s3", "GET /b?prefix=a+b").resources == ("arn:aws:s3:::b",)
