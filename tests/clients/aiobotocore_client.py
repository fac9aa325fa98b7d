"""aiobotocore as a program, configured by its environment alone.

    aiobotocore_client.py whoami | put BUCKET KEY <body | get BUCKET KEY >body
                          list BUCKET PREFIX | copy BUCKET FROM TO | delete BUCKET KEY
                          presign put|get BUCKET KEY | note ID TEXT | message QUEUE_URL TEXT

Bodies over 8 MiB go in parts, made here: aiobotocore has no transfers.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from aiobotocore.session import get_session

PART = 8 * 1024 * 1024


async def main() -> None:
    """Do what the arguments say."""
    verb, *names = sys.argv[1:]
    service = {"whoami": "sts", "note": "dynamodb", "message": "sqs"}.get(verb, "s3")
    async with get_session().create_client(service) as client:
        said = await VERBS[verb](client, *names)
    sys.stdout.buffer.write(said)


async def whoami(sts: Any) -> bytes:
    """Give the ARN that STS sees."""
    return json.dumps((await sts.get_caller_identity())["Arn"]).encode()


async def put(s3: Any, bucket: str, key: str) -> bytes:
    """Store what stands on stdin."""
    body, name = sys.stdin.buffer.read(), {"Bucket": bucket, "Key": key}
    if len(body) <= PART:
        await s3.put_object(**name, Body=body)
        return b""
    upload = {**name, "UploadId": (await s3.create_multipart_upload(**name))["UploadId"]}
    parts = []
    for number, start in enumerate(range(0, len(body), PART), 1):
        answer = await s3.upload_part(**upload, PartNumber=number, Body=body[start : start + PART])
        parts.append({"PartNumber": number, "ETag": answer["ETag"]})
    await s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    return b""


async def get(s3: Any, bucket: str, key: str) -> bytes:
    """Give an object's body."""
    async with (await s3.get_object(Bucket=bucket, Key=key))["Body"] as body:
        got: bytes = await body.read()
    return got


async def listed(s3: Any, bucket: str, prefix: str) -> bytes:
    """Give the keys under a prefix."""
    found = (await s3.list_objects_v2(Bucket=bucket, Prefix=prefix)).get("Contents", [])
    return json.dumps([item["Key"] for item in found]).encode()


async def copy(s3: Any, bucket: str, key: str, to: str) -> bytes:
    """Copy within S3."""
    await s3.copy_object(Bucket=bucket, Key=to, CopySource={"Bucket": bucket, "Key": key})
    return b""


async def delete(s3: Any, bucket: str, key: str) -> bytes:
    """Delete an object."""
    await s3.delete_object(Bucket=bucket, Key=key)
    return b""


async def presign(s3: Any, verb: str, bucket: str, key: str) -> bytes:
    """Give a URL for who has no keys."""
    asked = {"Bucket": bucket, "Key": key}
    return json.dumps(await s3.generate_presigned_url(f"{verb}_object", Params=asked)).encode()


async def note(table: Any, note_id: str, text: str) -> bytes:
    """Put an item into the table, and give the text of what is there then."""
    key = {"id": {"S": note_id}}
    await table.put_item(TableName="notes", Item={**key, "text": {"S": text}})
    found = await table.get_item(TableName="notes", Key=key)
    return str(found["Item"]["text"]["S"]).encode()


async def message(sqs: Any, queue: str, text: str) -> bytes:
    """Send, receive, delete; gives what was received."""
    await sqs.send_message(QueueUrl=queue, MessageBody=text)
    received = (await sqs.receive_message(QueueUrl=queue))["Messages"][0]
    await sqs.delete_message(QueueUrl=queue, ReceiptHandle=received["ReceiptHandle"])
    return str(received["Body"]).encode()


VERBS = {
    "whoami": whoami,
    "put": put,
    "get": get,
    "list": listed,
    "copy": copy,
    "delete": delete,
    "presign": presign,
    "note": note,
    "message": message,
}

if __name__ == "__main__":
    asyncio.run(main())
