"""SeaweedFS: an S3 and STS of other people's making that verifies signatures.

Its role may do everything but delete a bucket. It refuses unsigned x-amz-* headers,
wrong tokens and wrong chunk signatures; a body against its hash it does not check.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

from awsgate.demo.processes import clean_env, free_port

ROLE = "arn:aws:iam::123456789012:role/storage"
CHAINED_ROLE = "arn:aws:iam::123456789012:role/deployer"
KEYS = {
    "AWS_ACCESS_KEY_ID": "AKIAWEED000000000001",
    "AWS_SECRET_ACCESS_KEY": "weedsecretweedsecretweedsecret12",
}
HOSTS = ("s3.us-east-1.amazonaws.com", "s3.amazonaws.com", "s3.dualstack.us-east-1.amazonaws.com")

_TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": "*", "Action": ["sts:AssumeRole"]}],
}
_POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Action": ["s3:*", "sts:*"], "Resource": ["*"]},
        {"Effect": "Deny", "Action": ["s3:DeleteBucket"], "Resource": ["*"]},
    ],
}
_IDENTITY = {
    "name": "awsgate",
    "credentials": [
        {"accessKey": KEYS["AWS_ACCESS_KEY_ID"], "secretKey": KEYS["AWS_SECRET_ACCESS_KEY"]}
    ],
    "actions": ["Admin", "Read", "List", "Tagging", "Write"],
}


class SeaweedFs:
    """A running server."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "weed.log"
        (folder / "data").mkdir()
        s3 = folder / "s3.json"
        s3.write_text(json.dumps({"identities": [_IDENTITY]}), "utf-8")
        iam = folder / "iam.json"
        iam.write_text(json.dumps(_iam()), "utf-8")
        # gRPC ports are these and 10,000 more: all below 32,768, where clients' begin.
        master, volume, filer = (_low_port() for _ in range(3))
        command = [
            str(Path(sys.executable).parent / "weed"), "server", f"-dir={folder / 'data'}",
            "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-master.port={master}",
            f"-volume.port={volume}", "-filer", f"-filer.port={filer}",
            "-s3", f"-s3.port={self.port}", f"-s3.port.grpc={_low_port()}",
            f"-s3.config={s3}", f"-s3.iam.config={iam}",
            "-volume.max=30", "-master.volumeSizeLimitMB=64",
            f"-s3.domainName={','.join(HOSTS)}",
        ]  # fmt: skip
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, env=clean_env(folder), cwd=folder
            )
        self._wait()

    def stop(self) -> None:
        """End the server, and wait until its ports are free."""
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(15)
        self._process.kill()
        self._process.wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + 40
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                urllib.request.urlopen(self.url, timeout=1).close()
            except urllib.error.HTTPError:
                return  # it answers: unsigned requests are refused
            except OSError:
                time.sleep(0.1)
            else:
                return
        raise RuntimeError(f"SeaweedFS did not start: {self.log.read_text('utf-8')[-2000:]}")


def _iam() -> dict[str, object]:
    return {
        "sts": {
            "tokenDuration": "1h",
            "maxSessionLength": "12h",
            "issuer": "seaweedfs-sts",
            "signingKey": "dGVzdC1zaWduaW5nLWtleS0zMi1jaGFyYWN0ZXJzLWxvbmc=",
        },
        "policy": {"defaultEffect": "Deny", "storeType": "memory"},
        "policies": [{"name": "Storage", "document": _POLICY}],
        "roles": [
            {
                "roleName": arn.rpartition("/")[2],
                "roleArn": arn,
                "trustPolicy": _TRUST,
                "attachedPolicies": ["Storage"],
            }
            for arn in (ROLE, CHAINED_ROLE)
        ],
    }


_taken: set[int] = set()


def _low_port() -> int:
    """Give a port that is free, and so is the one 10,000 above it."""
    import socket

    for port in range(11_000, 20_000, 7):
        if port in _taken:
            continue
        try:
            for each in (port, port + 10_000):
                socket.create_server(("127.0.0.1", each)).close()
        except OSError:
            continue
        _taken.add(port)
        return port
    raise RuntimeError("no free port")
