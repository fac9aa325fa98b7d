"""boto3 as a program, configured by its environment alone.

    boto3_client.py [--crt] whoami | put BUCKET KEY <body | get BUCKET KEY >body
                    list BUCKET PREFIX | copy BUCKET FROM TO | delete BUCKET KEY

With ``--crt`` bodies go by the AWS Common Runtime, which takes its CA from
SSL_CERT_FILE and no other variable.
"""

from __future__ import annotations

import io
import json
import sys
from typing import Any

import boto3
from boto3.s3.transfer import TransferConfig

MIB = 1024 * 1024


def main() -> None:
    """Do what the arguments say."""
    arguments = sys.argv[1:]
    crt = arguments[0] == "--crt"
    verb, *names = arguments[1:] if crt else arguments
    transfer = TransferConfig(
        preferred_transfer_client="crt" if crt else "classic",
        multipart_threshold=8 * MIB,
        multipart_chunksize=8 * MIB,
    )
    if verb == "whoami":
        print(json.dumps(boto3.client("sts").get_caller_identity()["Arn"]))
        return
    s3: Any = boto3.client("s3")
    bucket, key = names[0], names[1]
    if verb == "put":
        s3.upload_fileobj(io.BytesIO(sys.stdin.buffer.read()), bucket, key, Config=transfer)
    elif verb == "get":
        s3.download_fileobj(bucket, key, sys.stdout.buffer, Config=transfer)
    elif verb == "list":
        found = s3.list_objects_v2(Bucket=bucket, Prefix=key).get("Contents", [])
        print(json.dumps([item["Key"] for item in found]))
    elif verb == "copy":
        s3.copy_object(Bucket=bucket, Key=names[2], CopySource={"Bucket": bucket, "Key": key})
    elif verb == "delete":
        s3.delete_object(Bucket=bucket, Key=key)
    else:
        raise SystemExit(f"unknown verb {verb!r}")


if __name__ == "__main__":
    main()
