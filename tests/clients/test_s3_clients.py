"""S3 clients through the gateway to SeaweedFS, which verifies every signature.

Each puts, gets, copies, lists and deletes, small and in parts, under keys that get
paths wrong. What crossed is checked on both sides of the gateway: SeaweedFS was asked
what the audit says, request by request, with keys that its STS gave out and no other.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from clients.programs import make
from clients.seaweed import BUCKET, KEYS, Crossed, Storage
from clients.tools import MIB

ODD_KEYS = {
    "space, plus, é, emoji, %2F": "a b+c/é/😀 x%2F.txt",
    "what queries and quotes are made of": "q=1&r=2/#hash?/it's (a) 'key' [1]+!.txt",
    "slashes in a row": "/lead//double.txt",
    "long": "/".join(letter * 220 for letter in "abcd") + ".txt",
}
LEFT_OUT = {
    ("rclone", "slashes in a row"): "rclone cleans paths, so it has no name for such a key",
}
TOOLS = (
    "boto3",
    "boto3 with CRT",
    "AWS CLI v1",
    "AWS CLI v2",
    "AWS CLI v2 with CRT",
    "s5cmd",
    "rclone",
    "Go SDK v2",
    "JavaScript SDK v3",
)
CASES = [(tool, odd) for tool in TOOLS for odd in ODD_KEYS if (tool, odd) not in LEFT_OUT]

PARTS = 3
"""17 MiB in parts of 8."""

# rclone asks for the object first, by HEAD, which has no body for our words; and it
# tries a command three times, whatever the answer was.
STRAIGHT = {"RCLONE_NO_CHECK_DEST": "true", "RCLONE_RETRIES": "1"}


def folded(key: str) -> str:
    """Give a key as SeaweedFS lists it: its keys are paths, and slashes in a row are one."""
    return re.sub("/+", "/", key).lstrip("/")


def failed(crossed: Crossed) -> list[dict[str, Any]]:
    """Give the lines of requests that failed. HEAD asks whether there is something."""
    return [line for line in crossed.lines if line["status"] >= 400 and line["method"] != "HEAD"]


@pytest.mark.parametrize(("name", "odd"), CASES)
def test_an_object_makes_its_way_there_and_back(
    storage: Storage, tmp_path: Path, name: str, odd: str
) -> None:
    tool = make(name, storage.bob, tmp_path)
    key, body = ODD_KEYS[odd], os.urandom(3000)
    copy = f"copy of/{key}"
    source = key if tool.copies_spaces or " " not in key else "plain"
    before = storage.mark()

    for each in {key, source}:
        tool.put(BUCKET, each, body)
    tool.copy(BUCKET, source, copy)
    listed = tool.list(BUCKET, "")
    got, got_copy = tool.get(BUCKET, key), tool.get(BUCKET, copy)
    for each in {key, source, copy}:
        tool.delete(BUCKET, each)

    assert got == got_copy == body
    assert {folded(key), folded(copy)} <= set(listed)
    assert not {folded(key), folded(copy)} & set(tool.list(BUCKET, ""))
    crossed = storage.since(before)
    storage.check(crossed)
    assert failed(crossed) == []
    written = {unquote(each.path) for each in crossed.requests if each.method == "PUT"}
    assert {f"/{key}", f"/{copy}"} <= written, "not a byte of the path was changed"


@pytest.mark.parametrize("name", TOOLS)
def test_a_body_in_parts_is_the_same_at_its_end(
    storage: Storage, tmp_path: Path, name: str
) -> None:
    tool = make(name, storage.bob, tmp_path)
    body = os.urandom(17 * MIB)
    before = storage.mark()

    tool.put(BUCKET, "in-parts", body)
    tool.copy(BUCKET, "in-parts", "copy-of-parts")
    got = tool.get(BUCKET, "copy-of-parts")
    for key in ("in-parts", "copy-of-parts"):
        tool.delete(BUCKET, key)

    assert hashlib.sha256(got).digest() == hashlib.sha256(body).digest()
    crossed = storage.since(before)
    storage.check(crossed)
    assert failed(crossed) == []
    queries = [parse_qs(each.query) for each in crossed.requests if each.path == "/in-parts"]
    parts = [query["partNumber"][0] for query in queries if "partNumber" in query]
    assert sorted(parts) == [str(number + 1) for number in range(PARTS)]


@pytest.mark.parametrize("name", TOOLS)
def test_a_refused_upload_is_one_request_and_shows_our_words(
    storage: Storage, tmp_path: Path, name: str
) -> None:
    tool = make(name, {**storage.alice(tmp_path), **STRAIGHT}, tmp_path)
    before = storage.mark()

    with pytest.raises(AssertionError, match="awsgate denied: alice may not do this: "):
        tool.put(BUCKET, "refused", b"body")

    lines = storage.gateway.audit()[before.lines :]
    assert [(line["method"], line["code"]) for line in lines] == [("PUT", "denied")]
    assert len(storage.tap.requests) == before.requests, "SeaweedFS was not asked"


def test_what_the_role_may_not_do_the_storage_refuses_in_its_own_words(
    storage: Storage, tmp_path: Path
) -> None:
    before = storage.mark()

    with pytest.raises(AssertionError, match=r"\(AccessDenied\).* DeleteBucket .*Access Denied"):
        make("AWS CLI v1", storage.bob, tmp_path).call("s3", "rb", f"s3://{BUCKET}")

    crossed = storage.since(before)
    storage.check(crossed)
    assert [(line["method"], line["status"]) for line in crossed.lines] == [("DELETE", 403)]
    assert crossed.lines[0]["aws_request_id"], "the answer is SeaweedFS's"


def test_the_storage_takes_no_key_of_the_gateway_and_no_wrong_signature(storage: Storage) -> None:
    """What these tests rest on: they fail if the gateway does not sign, or signs wrongly."""
    bob, key_id, secret = storage.bob, *KEYS.values()
    asked = {
        "as the gateway's client": (
            bob["AWS_ACCESS_KEY_ID"],
            bob["AWS_SECRET_ACCESS_KEY"],
            bob["AWS_SESSION_TOKEN"],
        ),
        "with a wrong secret": (key_id, secret[::-1], None),
        "rightly": (key_id, secret, None),
    }

    said = {how: straight_to(storage, *keys) for how, keys in asked.items()}

    assert said == {
        "as the gateway's client": "InvalidAccessKeyId",
        "with a wrong secret": "SignatureDoesNotMatch",
        "rightly": "",
    }


def straight_to(storage: Storage, key_id: str, secret: str, token: str | None) -> str:
    """Ask SeaweedFS with no gateway between, and give its error code."""
    s3: Any = boto3.client(
        "s3",
        endpoint_url=storage.weed.url,
        region_name="us-east-1",
        aws_access_key_id=key_id,
        aws_secret_access_key=secret,
        aws_session_token=token,
        config=Config(proxies={}, retries={"total_max_attempts": 1}),
    )
    try:
        s3.list_buckets()
    except ClientError as exc:
        return str(exc.response["Error"]["Code"])
    return ""
