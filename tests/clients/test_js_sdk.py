"""The AWS SDK for JavaScript v3 through the gateway: what it does in ways of its own.

It streams bodies chunk by chunk with the checksum behind them, and presigns with
headers hoisted into the query. The rest of its work is in ``test_s3_clients.py``.
"""

from __future__ import annotations

import os
import ssl
import urllib.request
from collections.abc import Callable

from clients.seaweed import BUCKET, Storage
from clients.tools import MIB, Tool
from journey import ROLE_SESSION, Stage

KEY = "a b+c/é/😀 x%2F.txt"

# Else the SDK presigns the checksum of an empty body, which SeaweedFS holds every upload
# to, with no gateway between as well.
NO_CHECKSUM = {"AWS_REQUEST_CHECKSUM_CALCULATION": "when_required"}


Made = Callable[[dict[str, str]], Tool]


def test_sts_sees_the_role_and_the_user_by_name(stage: Stage, js_client: Made) -> None:
    assert js_client(stage.env).whoami().endswith(ROLE_SESSION)
    stage.check()


def test_a_stream_arrives_as_it_was_sent(storage: Storage, js_client: Made) -> None:
    client, body = js_client(storage.bob), os.urandom(3 * MIB)
    before = storage.mark()

    client.call("stream", BUCKET, KEY, str(len(body)), stdin=body)
    got = client.get(BUCKET, KEY)

    assert got == body
    crossed = storage.since(before)
    storage.check(crossed)
    assert [line["method"] for line in crossed.lines] == ["PUT", "GET"]


def test_who_has_a_presigned_url_needs_no_key(storage: Storage, js_client: Made) -> None:
    env, body = {**storage.bob, **NO_CHECKSUM}, os.urandom(3000)
    put, get = (js_client(env).presign(verb, BUCKET, "presigned") for verb in ("put", "get"))
    before = storage.mark()

    fetch(env, put, body)
    got = fetch(env, get, None)

    assert got == body
    crossed = storage.since(before)
    storage.check(crossed)
    assert [line["method"] for line in crossed.lines] == ["PUT", "GET"]


def fetch(env: dict[str, str], url: str, body: bytes | None) -> bytes:
    """Send a request that has nothing of AWS but its URL, by way of the gateway."""
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({"https": env["HTTPS_PROXY"]}),
        urllib.request.HTTPSHandler(
            context=ssl.create_default_context(cafile=env["AWS_CA_BUNDLE"])
        ),
    )
    method = "GET" if body is None else "PUT"
    with opener.open(urllib.request.Request(url, data=body, method=method), timeout=30) as answer:
        got: bytes = answer.read()
        return got
