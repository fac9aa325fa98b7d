"""boto3 as a program, configured by its environment alone.

    boto3_client.py [--crt] whoami | put BUCKET KEY <body | get BUCKET KEY >body
                    list BUCKET PREFIX | copy BUCKET FROM TO | delete BUCKET KEY
                    presign put|get BUCKET KEY | note ID TEXT | message QUEUE_URL TEXT

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
    elif verb == "note":
        sys.stdout.write(note(*names))
    elif verb == "message":
        sys.stdout.write(message(*names))
    elif verb == "presign":
        asked = {"Bucket": names[1], "Key": names[2]}
        print(
            json.dumps(
                boto3.client("s3").generate_presigned_url(f"{names[0]}_object", Params=asked)
            )
        )
    else:
        s3_verb(verb, names, transfer)


def note(note_id: str, text: str) -> str:
    """Put an item into the table, and give the text of what is there then."""
    table: Any = boto3.client("dynamodb")
    key = {"id": {"S": note_id}}
    table.put_item(TableName="notes", Item={**key, "text": {"S": text}})
    found: str = table.get_item(TableName="notes", Key=key)["Item"]["text"]["S"]
    return found


def message(queue: str, text: str) -> str:
    """Send, receive, delete; gives what was received."""
    sqs: Any = boto3.client("sqs")
    sqs.send_message(QueueUrl=queue, MessageBody=text)
    received = sqs.receive_message(QueueUrl=queue)["Messages"][0]
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=received["ReceiptHandle"])
    return str(received["Body"])


def s3_verb(verb: str, names: list[str], transfer: TransferConfig) -> None:
    """Do what is S3's."""
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
