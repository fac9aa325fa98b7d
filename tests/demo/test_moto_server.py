"""The embedded AWS says no in the protocol of the call, as AWS does."""

from __future__ import annotations

from collections.abc import Iterator

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from awsgate.demo.embedded_aws import READ_ONLY_ROLE, REGION, EmbeddedAws


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, boto3.Session]]:
    """Where an embedded AWS is, and somebody who may read and no more."""
    aws = EmbeddedAws(tmp_path_factory.mktemp("aws"))
    try:
        keys = aws.gateway_keys
        sts = boto3.client(
            "sts",
            endpoint_url=aws.url,
            region_name=REGION,
            aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
            config=Config(proxies={}),
        )
        role = sts.assume_role(RoleArn=READ_ONLY_ROLE, RoleSessionName="reader")["Credentials"]
        session = boto3.Session(
            role["AccessKeyId"], role["SecretAccessKey"], role["SessionToken"], REGION
        )
        yield aws.url, session
    finally:
        aws.stop()


# botocore finds the code only if the body is in the protocol that it expects.
NO = {
    "json 1.0": ("dynamodb", "list_tables", {}, "AccessDeniedException", 400),
    "json, with a query past": ("sqs", "list_queues", {}, "AccessDeniedException", 400),
    "query": ("iam", "list_users", {}, "AccessDenied", 403),
    "ec2": ("ec2", "create_vpc", {"CidrBlock": "10.0.0.0/16"}, "AccessDenied", 403),
    "s3": ("s3", "create_bucket", {"Bucket": "another"}, "AccessDenied", 403),
}


@pytest.mark.parametrize(("service", "call", "given", "code", "status"), NO.values(), ids=NO)
def test_iam_says_no_as_the_client_reads_it(
    reader: tuple[str, boto3.Session],
    service: str,
    call: str,
    given: dict[str, str],
    code: str,
    status: int,
) -> None:
    url, session = reader
    config = Config(proxies={}, retries={"total_max_attempts": 1})
    client = session.client(service, endpoint_url=url, config=config)  # type: ignore[call-overload]

    with pytest.raises(ClientError) as caught:
        getattr(client, call)(**given)

    answer = caught.value.response
    assert answer["Error"]["Code"] == code
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == status
    # moto's is of the body that was there before: SDKs would try again, ten times.
    assert "x-amz-crc32" not in answer["ResponseMetadata"]["HTTPHeaders"]
