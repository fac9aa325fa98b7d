"""The endpoint's credentials: renewed at half of their life, and the policy's no in between."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from http.client import HTTPConnection
from threading import Thread
from threading import enumerate as enumerate_threads

import pytest

from awsgate.cli.issuing import Issued
from awsgate.cli.keyserver import MOST_CONNECTIONS, PATH, KeySource, server_on
from awsgate.cli.no import No
from awsgate.errors import SetupError
from awsgate.variables import Keys

NOW = 1_800_000_000


def issued(number: int, ends: int) -> Issued:
    keys = Keys(f"GATE{number}", f"secret{number}", f"token{number}", ends)
    return Issued("alice", "test", "arn:aws:iam::1:role/R", keys, 3600, "127.0.0.1:8080", "", "")


class Policy:
    """Gives the next credentials, or says no, or cannot be read."""

    def __init__(self) -> None:
        self.now = NOW
        self.failure: Exception | None = None
        self.asked = 0

    def renew(self, old: Issued) -> Issued:
        if self.failure is not None:
            raise self.failure
        self.asked += 1
        return replace(issued(self.asked, self.now + 3600), user=old.user)

    def source(self) -> KeySource:
        return KeySource(issued(0, NOW + 3600), self.renew, lambda: self.now)


def test_the_same_until_half_of_the_life_is_over_then_new_ones() -> None:
    policy = Policy()
    source = policy.source()

    seen = []
    for after in (0, 1799, 1800, 1801, 3599, 3600):
        policy.now = NOW + after
        seen.append(source.answer()[1]["AccessKeyId"])

    assert seen == ["GATE0", "GATE0", "GATE1", "GATE1", "GATE1", "GATE2"]


def test_a_no_of_the_policy_is_given_as_sdks_show_it() -> None:
    policy = Policy()
    source = policy.source()
    policy.now, policy.failure = NOW + 1800, No("alice may not have R in test: a deny rule matches")

    status, body = source.answer()

    assert status == 403
    assert body == {
        "code": "AccessDenied",
        "message": "awsgate: alice may not have R in test: a deny rule matches",
    }


def test_a_policy_that_cannot_be_read_costs_nothing_while_the_keys_live() -> None:
    policy = Policy()
    source = policy.source()
    policy.failure = SetupError("2 faults in policy")

    policy.now = NOW + 3599
    alive = source.answer()
    policy.now = NOW + 3600
    ended = source.answer()
    policy.failure = None
    mended = source.answer()

    assert (alive[0], alive[1]["AccessKeyId"]) == (200, "GATE0")
    assert ended == (500, {"code": "InternalServerError", "message": "awsgate: 2 faults in policy"})
    assert (mended[0], mended[1]["AccessKeyId"]) == (200, "GATE1")


@contextmanager
def serving(asking_s: float) -> Iterator[int]:
    """The endpoint on a port of its own."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:
        server = server_on(listening, "token", Policy().source(), asking_s)
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            server.shutdown()
            thread.join()


def asked(port: int, path: str = PATH, given: str = "token") -> int:
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", path, headers={"Authorization": given} if given else {})
        return connection.getresponse().status
    finally:
        connection.close()


def test_who_asks_byte_by_byte_is_cut_off_in_time(capfd: pytest.CaptureFixture[str]) -> None:
    with serving(0.4) as port, socket.create_connection(("127.0.0.1", port), 10) as slow:
        begun = time.monotonic()
        with suppress(OSError):  # what is sent after the end
            while time.monotonic() - begun < 5:
                slow.sendall(b"G")  # each of them in time
                slow.settimeout(0.1)
                with suppress(TimeoutError):
                    if slow.recv(1) == b"":
                        break
        took = time.monotonic() - begun

        assert took < 3
        assert asked(port) == 200
    assert capfd.readouterr().err == ""


def test_silent_connections_are_few_and_hold_up_nobody_for_long() -> None:
    with serving(0.5) as port:
        silent = [socket.create_connection(("127.0.0.1", port), 10) for _ in range(80)]
        try:
            threads = len([t for t in enumerate_threads() if t.name.startswith("Thread-")])
            answer = asked(port)
        finally:
            for each in silent:
                each.close()

    assert answer == 200
    # Two a connection: the one that answers, and the one of its deadline.
    assert threads <= 2 * MOST_CONNECTIONS + 10


@pytest.mark.parametrize(
    ("path", "token", "status"),
    [
        (PATH, "token", 200),
        (PATH, "", 401),
        (PATH, "toke", 401),
        (PATH, "Token", 401),
        (PATH, "Bearer token", 401),
        ("/", "token", 404),
        (f"{PATH}?x", "token", 404),
        ("/", "", 401),
    ],
)
def test_keys_are_at_one_path_and_for_who_has_the_token(path: str, token: str, status: int) -> None:
    with serving(5) as port:
        assert asked(port, path, token) == status
