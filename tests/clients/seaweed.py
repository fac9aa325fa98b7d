"""SeaweedFS: an S3 and STS of other people's making that verifies signatures.

Its role may do everything but delete a bucket. It refuses unsigned x-amz-* headers,
wrong tokens and wrong chunk signatures; a body against its hash it does not check.
It keeps no log of requests: a ``Tap`` before it tells what was asked, and with whose key.
``Storage`` is both behind a gateway, and what must be true of all that crossed it.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from awsgate.demo.processes import GatewayProcess, clean_env, free_port
from clients.places import CLIENTS_FOLDER

ROLE = "arn:aws:iam::123456789012:role/storage"
CHAINED_ROLE = "arn:aws:iam::123456789012:role/deployer"
KEYS = {
    "AWS_ACCESS_KEY_ID": "AKIAWEED000000000001",
    "AWS_SECRET_ACCESS_KEY": "weedsecretweedsecretweedsecret12",
}
HOSTS = ("s3.us-east-1.amazonaws.com", "s3.amazonaws.com", "s3.dualstack.us-east-1.amazonaws.com")
START_TIMEOUT_S = 40
SETTLE_S = 10.0
BUCKET = "client-tests"

POLICY = f"""\
kind: role
version: v5
metadata: {{name: storage}}
spec: {{allow: {{app_labels: {{'*': '*'}}, aws_role_arns: ['{ROLE}']}}}}
---
kind: app
version: v3
metadata: {{name: awsconsole-test, labels: {{aws_account_id: '123456789012'}}}}
spec: {{uri: https://console.aws.amazon.com/}}
---
kind: user
version: v2
metadata: {{name: bob}}
spec: {{roles: [storage]}}
---
kind: user
version: v2
metadata: {{name: alice}}
spec: {{roles: []}}
"""

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
            str(CLIENTS_FOLDER / "bin/weed"), "server", f"-dir={folder / 'data'}",
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
        """End the server. Asked politely it takes half a minute, and nobody needs its data."""
        self._process.kill()
        self._process.wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                opener.open(self.url, timeout=1).close()
            except urllib.error.HTTPError as exc:
                exc.close()
                return  # it answers: unsigned requests are refused
            except OSError:
                time.sleep(0.1)
            else:
                return
        self.stop()
        raise RuntimeError(f"SeaweedFS did not start: {self.log.read_text('utf-8')[-2000:]}")


def _iam() -> dict[str, object]:
    return {
        "sts": {
            "tokenDuration": "1h",
            "maxSessionLength": "12h",
            "issuer": "seaweedfs-sts",
            # Else its answers name roles of account 000000000000, and awsgate withholds them.
            "accountId": "123456789012",
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


class Request(NamedTuple):
    """What SeaweedFS was asked, as it stood on the wire."""

    method: str
    path: str
    query: str
    key_id: str
    has_token: bool


_HEAD = re.compile(
    rb"(GET|PUT|POST|HEAD|DELETE) ([^\s?]+)\??(\S*) HTTP/1\.1\r\n((?:[!-~]+:[^\r\n]*\r\n)+)\r\n"
)
_KEY_ID = re.compile(rb"(?im)^authorization: [^\r\n]*Credential=([^/]+)/")
_TOKEN = re.compile(rb"(?im)^x-amz-security-token: \S")
_ISSUED = re.compile(rb"<(AccessKeyId|SecretAccessKey|SessionToken)>([^<]+)</")
_CARRY = 32 * 1024
"""As much as one match may lie across two pieces."""


class Tap:
    """Passes TCP on to SeaweedFS; notes every request, and every key that STS gives out.

    Bodies are not framed but looked through as well: the tests' are random bytes.
    """

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.requests: list[Request] = []
        self.issued: dict[bytes, set[bytes]] = {}
        """Key ids, secrets and tokens, by the name of their element."""
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._target)
            for ends, look in (
                ((client, server), self._look_up),
                ((server, client), self._look_down),
            ):
                threading.Thread(target=_pump, args=(*ends, look), daemon=True).start()

    def _look_up(self, seen: bytes) -> int:
        end = 0
        for head in _HEAD.finditer(seen):
            end = head.end()
            method, path, query, fields = head.groups()
            key = _KEY_ID.search(fields)
            self.requests.append(
                Request(
                    method.decode(),
                    path.decode(),
                    query.decode(),
                    key[1].decode() if key else "",
                    _TOKEN.search(fields) is not None,
                )
            )
        return end

    def _look_down(self, seen: bytes) -> int:
        end = 0
        for element in _ISSUED.finditer(seen):
            end = element.end()
            self.issued.setdefault(element[1], set()).add(element[2])
        return end


def _pump(source: socket.socket, sink: socket.socket, look: Callable[[bytes], int]) -> None:
    """Pass bytes on, after ``look`` had them; it tells up to where it is done with them."""
    rest = b""
    with contextlib.suppress(OSError), source:
        while data := source.recv(65536):
            seen = rest + data
            rest = seen[look(seen) :][-_CARRY:]
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


@dataclass(frozen=True, slots=True)
class Storage:
    """A gateway in front of SeaweedFS, and the tap between them."""

    gateway: GatewayProcess
    tap: Tap
    weed: SeaweedFs

    @property
    def bob(self) -> dict[str, str]:
        """The environment of a client that is bob, who may have the role."""
        variables = self.gateway.env(user="bob", app="awsconsole-test", role=ROLE)
        return self._clean(variables)

    def alice(self, folder: Path) -> dict[str, str]:
        """Give the environment of alice, who may no more have the role that hers names."""
        then = copy(self.gateway)
        then.policy = folder / "older.yaml"
        then.policy.write_text(POLICY.replace("roles: []", "roles: [storage]"), "utf-8")
        return self._clean(then.env(user="alice", app="awsconsole-test", role=ROLE))

    def _clean(self, variables: dict[str, str]) -> dict[str, str]:
        return clean_env(self.gateway.home, {**variables, "AWS_REGION": "us-east-1"})

    def mark(self) -> Mark:
        """Give where audit and tap stand now."""
        return Mark(len(self.gateway.audit()), len(self.tap.requests))

    def since(self, mark: Mark) -> Crossed:
        """Give what crossed since, once every request has its line and no more come."""
        deadline = time.monotonic() + SETTLE_S
        while True:
            before = self.mark()
            time.sleep(0.1)
            found = Crossed(
                self.gateway.audit()[mark.lines :],
                [
                    each
                    for each in self.tap.requests[mark.requests :]
                    if each.key_id != KEYS["AWS_ACCESS_KEY_ID"]
                ],
            )
            if self.mark() == before and len(found.lines) == len(found.requests):
                return found
            if time.monotonic() > deadline:
                return found

    def check(self, crossed: Crossed) -> None:
        """Check that each request has one line, and none had another key than a role's."""
        asked = Counter((each.method, each.path, each.key_id) for each in crossed.requests)
        assert asked == Counter(
            (line["method"], line["path"], line["access_key_id"]) for line in crossed.lines
        )
        assert {each.key_id.encode() for each in crossed.requests} <= self.tap.issued[
            b"AccessKeyId"
        ]
        assert [each for each in crossed.requests if not each.has_token] == []
        assert {
            (line["event"], line["decision"], line["user"], line["session_name"], line["code"])
            for line in crossed.lines
        } == {("request", "allowed", "bob", "bob", "")}


class Mark(NamedTuple):
    """A place in the audit and in the tap's notes."""

    lines: int
    requests: int


class Crossed(NamedTuple):
    """What crossed the gateway: its own account, and SeaweedFS's, the gateway's calls left out."""

    lines: list[dict[str, Any]]
    requests: list[Request]
