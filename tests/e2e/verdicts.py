"""What boto3 is told through a gateway."""

from __future__ import annotations

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from awsgate.demo.embedded_aws import BUCKET
from awsgate.demo.processes import GatewayProcess


def verdict(env: dict[str, str], gateway: GatewayProcess, bundle: str) -> str:
    """Call S3 by boto3: ok, or AWS's word for no and awsgate's."""
    session = boto3.Session(
        env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"], env["AWS_SESSION_TOKEN"]
    )
    once = Config(proxies={"https": gateway.proxy}, retries={"total_max_attempts": 1})
    s3 = session.client("s3", region_name="us-east-1", config=once, verify=bundle)
    try:
        s3.list_objects_v2(Bucket=BUCKET)
    except ClientError as exc:
        return f"{exc.response['Error']['Code']} {exc.response['Error']['Message']}"
    return "ok"
