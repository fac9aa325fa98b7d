"""``curl --aws-sigv4``: no SDK, so the requests are written out here."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import quote, urlencode
from xml.etree import ElementTree as ET

from awsgate.demo.embedded_aws import BUCKET, REGION
from journey import FUNCTION_ARN, ODD_KEY, ODD_KEY_ON_THE_WIRE, QUEUE_URL, run


class Curl:
    """The calls of the journey, and a copy."""

    def __init__(
        self, env: dict[str, str], *, bucket: str = BUCKET, queue: str = QUEUE_URL
    ) -> None:
        self._env, self._bucket, self._queue = env, bucket, queue

    def whoami(self) -> str:
        text = self._call("sts", form={"Action": "GetCallerIdentity", "Version": "2011-06-15"})
        return _text_of(text, "Arn")[0]

    def put_object(self, key: str, body: bytes) -> None:
        # Without a type, curl calls it a form.
        kind = "Content-Type: application/octet-stream"
        self._s3(_path(key), "-X", "PUT", "-H", kind, "--data-binary", "@-", stdin=body)

    def get_object(self, key: str) -> bytes:
        return self._s3(_path(key))

    def list_objects(self, prefix: str) -> list[str]:
        # Sorted and encoded as the signature wants it: curl signs the query as it is.
        query = f"list-type=2&prefix={quote(prefix, safe='')}"
        return _text_of(self._s3(f"?{query}"), "Key")

    def copy_object(self, key: str, to: str) -> None:
        source = f"x-amz-copy-source: {self._bucket}/{_path(key)}"
        self._s3(_path(to), "-X", "PUT", "-H", source)

    def delete_object(self, key: str) -> None:
        self._s3(_path(key), "-X", "DELETE")

    def put_note(self, note_id: str, text: str) -> None:
        item = {"id": {"S": note_id}, "text": {"S": text}}
        self._json("dynamodb", "DynamoDB_20120810.PutItem", {"TableName": "notes", "Item": item})

    def get_note(self, note_id: str) -> str:
        asked = {"TableName": "notes", "Key": {"id": {"S": note_id}}}
        text: str = self._json("dynamodb", "DynamoDB_20120810.GetItem", asked)["Item"]["text"]["S"]
        return text

    def send_message(self, text: str) -> None:
        asked = {"QueueUrl": self._queue, "MessageBody": text}
        self._json("sqs", "AmazonSQS.SendMessage", asked)

    def receive_message(self) -> str:
        queue = {"QueueUrl": self._queue}
        message = self._json("sqs", "AmazonSQS.ReceiveMessage", queue)["Messages"][0]
        done = {**queue, "ReceiptHandle": message["ReceiptHandle"]}
        self._json("sqs", "AmazonSQS.DeleteMessage", done)
        return str(message["Body"])

    def regions(self) -> list[str]:
        text = self._call("ec2", form={"Action": "DescribeRegions", "Version": "2016-11-15"})
        return _text_of(text, "regionName")

    def invoke(self, payload: bytes) -> bytes:
        # curl 7 signs a path as it is, AWS wants it encoded: straight to AWS this fails.
        path = f"/2015-03-31/functions/{FUNCTION_ARN}/invocations"
        return self._call(
            "lambda", path, "-H", "Content-Type: application/json", "--data-binary", "@-",
            stdin=payload,
        )  # fmt: skip

    def _json(self, service: str, target: str, asked: object) -> dict[str, Any]:
        answer = self._call(
            service, "/", "-H", f"X-Amz-Target: {target}",
            "-H", "Content-Type: application/x-amz-json-1.0", "--data-binary", "@-",
            stdin=json.dumps(asked).encode(),
        )  # fmt: skip
        found: dict[str, Any] = json.loads(answer or b"{}")
        return found

    def _s3(self, path: str, *arguments: str, stdin: bytes = b"") -> bytes:
        url = f"https://{self._bucket}.s3.{REGION}.amazonaws.com/{path}"
        return self._curl("s3", url, *arguments, stdin=stdin)

    def _call(
        self,
        service: str,
        path: str = "/",
        *arguments: str,
        form: dict[str, str] | None = None,
        stdin: bytes = b"",
    ) -> bytes:
        url = f"https://{service}.{REGION}.amazonaws.com{path}"
        data = ("--data", urlencode(form)) if form else ()
        return self._curl(service, url, *data, *arguments, stdin=stdin)

    def _curl(self, service: str, url: str, *arguments: str, stdin: bytes) -> bytes:
        user = f"{self._env['AWS_ACCESS_KEY_ID']}:{self._env['AWS_SECRET_ACCESS_KEY']}"
        token = f"x-amz-security-token: {self._env['AWS_SESSION_TOKEN']}"
        return run(
            ["curl", "-sS", "--fail-with-body", "--aws-sigv4", f"aws:amz:{REGION}:{service}",
             "--user", user, "-H", token, *arguments, url],
            self._env, stdin=stdin,
        )  # fmt: skip


def _path(key: str) -> str:
    path = quote(key, safe="/")
    assert key != ODD_KEY or path == ODD_KEY_ON_THE_WIRE
    return path


def _text_of(xml: bytes, tag: str) -> list[str]:
    """Give the text of all elements of a name, in any namespace."""
    found = ET.fromstring(xml).iter()  # noqa: S314 - our own AWS
    return [item.text or "" for item in found if re.sub(r"\{.*\}", "", item.tag) == tag]
