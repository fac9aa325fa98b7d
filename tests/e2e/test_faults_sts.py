"""Whatever becomes of STS, the client is told, and the next request works.

Each row is a role for which STS breaks in its own way, until it is mended.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from threading import Event, Thread

import pytest

from e2e.faulty import RETRYABLE, WAYS, Bench, Fault, arn, bench_with, on_path, reset
from e2e.held import until
from e2e.recording import ASSUMED, http_answer
from rawclient import Answer, Call
from refused import error_of

CALL = Call("s3", "bkt.s3.us-east-1.amazonaws.com", "GET")


def _error(status: int, code: str, message: str = "made up") -> bytes:
    body = (
        '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error>'
        f"<Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>"
        "<RequestId>r-1</RequestId></ErrorResponse>"
    ).encode()
    head = f"HTTP/1.1 {status} Error\r\nContent-Type: text/xml\r\n"
    return head.encode() + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


def _answers(answer: bytes) -> Fault:
    return lambda _: answer


def _said(good: bytes, bad: bytes) -> Fault:
    """Say what STS says, with one word wrong."""
    return _answers(http_answer(ASSUMED.replace(good, bad)))


def _ended(ago: timedelta) -> bytes:
    """Give an answer with credentials that have ended already."""
    before, _, rest = ASSUMED.partition(b"<Expiration>")
    _, _, after = rest.partition(b"</Expiration>")
    when = f"{datetime.now(UTC) - ago:%Y-%m-%dT%H:%M:%SZ}".encode()
    return http_answer(before + b"<Expiration>" + when + b"</Expiration>" + after)


def _down(sock: socket.socket) -> None:
    reset(sock)


CUT = b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n" + ASSUMED[:400]


def _cut(sock: socket.socket) -> None:
    sock.sendall(CUT)
    sock.shutdown(socket.SHUT_RDWR)


UNREADABLE = "STS gave an answer that cannot be read"
# name: the fault, the words for the client, those for the audit
LATER: dict[str, tuple[Fault, str, str]] = {
    "down": (_down, "STS gave no answer", "ConnectionClosedError"),
    "cut off": (_cut, UNREADABLE, ""),
    "throttled": (_answers(_error(400, "Throttling")), "STS answered Throttling", "r-1"),
    "broken": (_answers(_error(500, "InternalFailure")), "STS answered InternalFailure", "r-1"),
    "no XML": (_answers(http_answer(b"{'made-up-too': 1}")), "STS gave", ""),
    "another XML": (_answers(http_answer(b"<html><body>hello</body></html>")), UNREADABLE, ""),
    "no credentials": (_said(b"Credentials>", b"Credential>"), UNREADABLE, "KeyError"),
    "no secret": (_said(b"SecretAccessKey>", b"Secret>"), UNREADABLE, "KeyError"),
    "no end": (_said(b"Expiration>", b"End>"), UNREADABLE, "KeyError"),
    "an end that is none": (_said(b"<Expiration>", b"<Expiration>soon "), "STS gave", ""),
    "nothing": (_answers(http_answer(b"")), "STS gave", ""),
    "own keys ended": (
        _answers(_error(403, "ExpiredToken")), "awsgate's own credentials (ExpiredToken)", "r-1",
    ),
    "ended on arrival": (
        _answers(_ended(timedelta(minutes=5))), "have ended already", "is that right?",
    ),
}  # fmt: skip
DENIED = "denied"
SLOW = "slow"


def role_of(name: str) -> str:
    return name.title().replace(" ", "")


@pytest.fixture(scope="module", params=WAYS)
def bench(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bench]:
    roles = tuple(map(role_of, (*LATER, DENIED, SLOW)))
    folder = tmp_path_factory.mktemp(request.param)
    with bench_with(folder, workers=WAYS[request.param], roles=roles) as made:
        assert made.ask(on_path(CALL, "first"), made.keys()).status == 200
        yield made


def _told(bench: Bench, name: str, status: int, aws_code: str, words: str, detail: str) -> Answer:
    """Ask for a role that cannot be had; check what the client and the audit are told."""
    call, keys = on_path(CALL, name), bench.keys(role_of(name))

    answer = bench.ask(call, keys)

    assert (answer.status, answer.code) == (status, "role-unavailable")
    error = error_of(answer, "s3")
    assert error["Code"] == aws_code
    assert words in error["Message"]
    assert arn(role_of(name)) in error["Message"]
    (line,) = bench.lines(call.target)
    assert (line["decision"], line["code"], line["status"]) == (
        "refused", "role-unavailable", status,
    )  # fmt: skip
    assert detail in line["reason"]
    assert "made-up" not in line["reason"] + error["Message"], "nothing of what STS gave"
    return answer


@pytest.mark.parametrize("name", LATER)
def test_what_may_pass_is_told_so_and_spares_sts(bench: Bench, name: str) -> None:
    fault, words, detail = LATER[name]
    role = role_of(name)
    bench.faulty.roles[role] = fault

    answer = _told(bench, name, 503, "ServiceUnavailable", words, detail)
    asked = bench.faulty.asked.count(role)
    again = [bench.ask(CALL, bench.keys(role)).status for _ in range(3)]

    assert answer.status in RETRYABLE
    assert again == [503] * 3
    assert bench.faulty.asked.count(role) == asked <= 2, "STS is spared"
    assert bench.ask(CALL, bench.keys()).status == 200, "another role is served meanwhile"


def test_once_it_is_mended_every_role_is_served(bench: Bench) -> None:
    """After ``test_what_may_pass``; alone, it shows no more than a first request."""
    bench.faulty.roles.clear()

    for name in LATER:
        keys = bench.keys(role_of(name))
        assert until(lambda keys=keys: bench.ask(CALL, keys).status == 200, within=10), name


def test_a_no_is_told_as_one(bench: Bench) -> None:
    """No SDK repeats a 403: nothing changes by itself."""
    role = role_of(DENIED)
    bench.faulty.roles[role] = _answers(_error(403, "AccessDenied", "you may not"))

    answer = _told(bench, DENIED, 403, "AccessDenied", "does not let awsgate", "you may not")

    assert answer.status not in RETRYABLE
    assert bench.faulty.asked.count(role) == 1
    assert bench.ask(CALL, bench.keys()).status == 200


def test_a_slow_one_is_waited_for_and_holds_up_nobody_else(bench: Bench) -> None:
    role, ready = role_of(SLOW), Event()
    good = http_answer(ASSUMED)
    bench.faulty.roles[role] = lambda _: good if ready.wait(20) else None
    slow: list[int] = []
    waiting = Thread(target=lambda: slow.append(bench.ask(CALL, bench.keys(role)).status))
    waiting.start()
    try:
        assert until(lambda: role in bench.faulty.asked, within=10)
        began = time.monotonic()
        statuses = [bench.ask(CALL, bench.keys()).status for _ in range(5)]
        took = time.monotonic() - began
    finally:
        ready.set()
        waiting.join(20)

    assert statuses == [200] * 5
    assert took < 5
    assert slow == [200]
