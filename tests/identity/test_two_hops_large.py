"""Two hops, apart: large bodies in constant memory, a whole client, and a jump host that dies.

In two network namespaces where these may be made (root), else in two processes. Slow, so
``scripts/identity tests/identity/test_two_hops_large.py``.
"""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from awsgate.demo.embedded_aws import EmbeddedAws
from awsgate.demo.processes import clean_env
from chunksigner import Chain
from e2e.forms import POLICY
from e2e.hops import Hops, hops_before_strict_aws, two_hops
from e2e.hopsapart import HERE, Namespace, namespace
from e2e.serving import Memory, workers_of
from journey import JOURNEY, Cli, Client
from rawclient import head, secure
from signers import botocore_sign

MIB = 1 << 20
SIZE = 200 * MIB
MAX_GROWTH = 48 * MIB
"""Of all processes of one gateway; the bodies are four times that."""
HOST = "large.s3.us-east-1.amazonaws.com"
BLOCK = bytes(range(256)) * 4096


class Inside(Protocol):
    def __call__[T](self, work: Callable[[], T]) -> T: ...


@dataclass
class Place:
    """Where the near gateway and its clients are."""

    how: dict[str, Any]
    inside: Inside


def _here[T](work: Callable[[], T]) -> T:
    return work()


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with namespace() as made:
        if made is None:
            yield Place({}, _here)
        else:
            assert isinstance(made, Namespace)
            yield Place({"at": HERE, "inside": made.inside}, made.inside)


@pytest.fixture(
    scope="module",
    params=[(0, ()), (1, ()), (1, ("--core", "mitmproxy"))],
    ids=["near by mitmdump", "near by awsgate run", "near by awsgate run, mitmproxy's core"],
)
def hops(
    request: pytest.FixtureRequest, place: Place, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Hops]:
    workers, extra = request.param
    folder = tmp_path_factory.mktemp("large")
    with hops_before_strict_aws(folder, workers=workers, extra=extra, **place.how) as made:
        yield made


class Generated:
    """A body that is nowhere whole."""

    def __init__(self, size: int) -> None:
        self.size, self.at, self.digest = size, 0, hashlib.sha256()

    def read(self, wanted: int = -1) -> bytes:
        left = self.size - self.at
        size = min(left, wanted if wanted >= 0 else left)
        start = self.at % 256
        piece = (BLOCK * (size // len(BLOCK) + 2))[start : start + size]
        self.at += size
        self.digest.update(piece)
        return piece


def test_a_multipart_upload_of_200_mib_passes_in_constant_memory(hops: Hops, place: Place) -> None:
    body = Generated(SIZE)
    config = TransferConfig(multipart_threshold=8 * MIB, multipart_chunksize=16 * MIB)

    def upload() -> None:
        hops.client("s3").upload_fileobj(body, "large", "multi", Config=config)

    place.inside(lambda: hops.client("s3").put_object(Bucket="large", Key="warm", Body=b"x"))
    near, far = Memory(hops.gateway), Memory(hops.jump)
    place.inside(upload)

    stored = hops.aws.objects["large", "multi"]
    assert (stored.size, stored.sha256) == (SIZE, body.digest.hexdigest())
    assert near.growth() < MAX_GROWTH
    assert far.growth() < MAX_GROWTH
    parts = [request for request in hops.seen() if "partNumber" in request.target]
    assert len(parts) == -(-SIZE // (16 * MIB))
    assert {(request.fault, request.session_name) for request in parts} == {("", "bob")}


def test_a_chunk_signed_upload_of_200_mib_passes_in_constant_memory(
    hops: Hops, place: Place
) -> None:
    """Every chunk is signed by the client, again by the near gateway, and again by the far one."""
    mode, piece = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", BLOCK[: 64 * 1024]
    count = SIZE // len(piece)
    when = datetime.now(UTC)
    stamp = f"{when:%Y%m%dT%H%M%SZ}"
    measure = Chain("", stamp, "us-east-1", "0" * 64)
    length = count * len(measure.chunk(piece)) + len(measure.chunk(b"")) + 2
    headers = [
        ("Content-Length", str(length)), ("Content-Encoding", "aws-chunked"),
        ("X-Amz-Decoded-Content-Length", str(SIZE)),
    ]  # fmt: skip
    raw = head("PUT", "/chunked", botocore_sign(
        "PUT", HOST, "/chunked", headers, b"", service="s3", region="us-east-1",
        keys=hops.keys, when=when, payload=mode,
    ))  # fmt: skip
    seed = re.search(rb"Signature=([0-9a-f]{64})", raw)
    assert seed is not None
    chain = Chain(hops.keys.secret_access_key, stamp, "us-east-1", seed[1].decode())

    def upload() -> int:
        with secure(hops.gateway, HOST) as wire:
            wire.sock.settimeout(120)
            wire.send(raw)
            for _ in range(count):
                wire.send(chain.chunk(piece))
            wire.send(chain.body([]))
            return wire.read_answer(method="PUT").status

    near, far = Memory(hops.gateway), Memory(hops.jump)
    status = place.inside(upload)

    stored = hops.aws.objects["large", "chunked"]
    assert (status, stored.size) == (200, SIZE)
    assert (near.growth() < MAX_GROWTH, far.growth() < MAX_GROWTH) == (True, True)
    last = hops.last()
    assert (last.fault, last.session_name) == ("", "bob")


def test_a_download_of_200_mib_passes_in_constant_memory(hops: Hops, place: Place) -> None:
    def download() -> int:
        body = hops.client("s3").get_object(Bucket="large", Key=f"generated/{SIZE}")["Body"]
        return sum(len(piece) for piece in body.iter_chunks(MIB))

    near, far = Memory(hops.gateway), Memory(hops.jump)

    assert place.inside(download) == SIZE
    assert near.growth() < MAX_GROWTH
    assert far.growth() < MAX_GROWTH


def test_a_jump_host_that_dies_in_an_upload_gives_an_error_that_clients_repeat(
    hops: Hops, place: Place
) -> None:
    """Run last with its pair."""
    retries = {"total_max_attempts": 2, "mode": "standard"}
    killer = threading.Timer(0.5, kill, (hops,))

    def upload() -> ClientError:
        s3 = hops.client("s3", retries=retries)
        killer.start()
        with pytest.raises(ClientError) as caught:
            s3.upload_fileobj(Generated(4 * SIZE), "large", "never", Config=TransferConfig())
        return caught.value

    response = place.inside(upload).response

    assert response["ResponseMetadata"]["HTTPStatusCode"] == 502
    assert response["ResponseMetadata"]["RetryAttempts"] == 1
    assert ("large", "never") not in hops.aws.objects


def kill(hops: Hops) -> None:
    for pid in (*workers_of(hops.jump), hops.jump.process.pid):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    hops.jump.process.wait()


# --- a whole client, and an AWS that asks its IAM -----------------------------------------------


def test_a_client_does_its_work_and_aws_sees_only_the_role_of_the_jump_host(
    aws: EmbeddedAws, place: Place, tmp_path: Path
) -> None:
    """The AWS CLI, with nothing but the variables of ``awsgate env`` at the near gateway."""
    first = len(aws.requests())
    with two_hops(aws, tmp_path, policy=POLICY, **place.how) as hops:
        env = clean_env(hops.gateway.home, hops.env)
        client: Client = Cli(str(Path(sys.executable).parent / "aws"), env, tmp_path)
        for journey in JOURNEY.values():
            place.inside(lambda journey=journey: journey(client))
        lines = hops.gateway.audit()

    rows = aws.requests()[first:]
    assumed = [row for row in rows if row["action"] == "AssumeRole"]
    calls = [row for row in rows if row["action"] != "AssumeRole"]
    assert [row["session_name"] for row in assumed] == ["bob"]
    assert len({row["access_key_id"] for row in calls}) == 1
    assert calls[0]["access_key_id"].startswith("ASIA")
    assert [row for row in rows if row["forwarded"]] == []
    assert {(line["user"], line["rule"], line["code"]) for line in lines} == {
        ("bob", "gateway/upstream_gateway", "")
    }
    assert len(lines) == len(calls)


def test_where_it_ran(place: Place, capfd: pytest.CaptureFixture[str]) -> None:
    """Says so: the other tests pass in either place."""
    names = place.inside(
        lambda: subprocess.run(
            [sys.executable, "-c", "import socket; print(len(socket.if_nameindex()))"],
            capture_output=True, text=True, check=True,
        ).stdout
    )  # fmt: skip
    sys.stderr.write(f"two hops: {'namespaces' if place.how else 'processes'}, {names.strip()}\n")
    assert capfd.readouterr().err
