"""The AWS SDK for JavaScript v3 through the gateway: what it does in ways of its own.

It streams bodies chunk by chunk with the checksum behind them, and presigns with
headers hoisted into the query. The rest of its work is in ``test_s3_clients.py``.
"""

from __future__ import annotations

import json
import os
import ssl
import urllib.request

from clients.seaweed import BUCKET, Storage
from clients.tools import MIB
from journey import ROLE_SESSION, Stage, run

KEY = "a b+c/é/😀 x%2F.txt"

# Else the SDK presigns the checksum of an empty body, which SeaweedFS holds every upload
# to, with no gateway between as well.
NO_CHECKSUM = {"AWS_REQUEST_CHECKSUM_CALCULATION": "when_required"}


def test_sts_sees_the_role_and_the_user_by_name(stage: Stage, js_client: str) -> None:
    said = run(["node", js_client, "whoami"], stage.env)

    assert json.loads(said).endswith(ROLE_SESSION)
    stage.check()


def test_a_stream_arrives_as_it_was_sent(storage: Storage, js_client: str) -> None:
    body = os.urandom(3 * MIB)
    before = storage.mark()

    run(["node", js_client, "stream", BUCKET, KEY, str(len(body))], storage.bob, stdin=body)
    got = run(["node", js_client, "get", BUCKET, KEY], storage.bob)

    assert got == body
    crossed = storage.since(before)
    storage.check(crossed)
    assert [line["method"] for line in crossed.lines] == ["PUT", "GET"]


def test_who_has_a_presigned_url_needs_no_key(storage: Storage, js_client: str) -> None:
    env, body = {**storage.bob, **NO_CHECKSUM}, os.urandom(3000)
    put, get = (
        json.loads(run(["node", js_client, "presign", verb, BUCKET, "presigned"], env))
        for verb in ("put", "get")
    )
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
