"""A request that asks to become a WebSocket is one in every part, or it is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from awsgate.errors import Code, Refusal
from awsgate.proof import check_port
from awsgate.review import Review
from awsgate.wire import RequestFacts, check_wire, is_upgrade
from signers import Fields

HOST = "transcribestreaming.us-east-1.amazonaws.com"
FIELDS: Fields = [
    (b"Host", HOST.encode()),
    (b"Connection", b"keep-alive, Upgrade"),
    (b"Upgrade", b"WebSocket"),
    (b"Sec-WebSocket-Key", b"x3JJHMbDL1EzLkh9GBhXDw=="),
    (b"Sec-WebSocket-Version", b"13"),
]
GOOD = RequestFacts(
    method=b"GET", target=b"/stream-transcription-websocket", authority=b"", headers=FIELDS,
    connect_host=HOST, tls=True, sni=HOST, local=True,
)  # fmt: skip


def check(facts: RequestFacts) -> dict[bytes, list[bytes]]:
    return check_wire(facts, max_header_bytes=65536)


def without(name: bytes) -> Fields:
    return [field for field in FIELDS if field[0] != name]


def test_a_websocket_may_be_asked_for() -> None:
    assert is_upgrade(check(GOOD))


CHANGES: dict[str, Callable[[], RequestFacts]] = {
    "by another method": lambda: replace(GOOD, method=b"POST"),
    "to something else": lambda: replace(
        GOOD, headers=[*without(b"Upgrade"), (b"Upgrade", b"h2c")]
    ),
    "to two things": lambda: replace(GOOD, headers=[*FIELDS, (b"Upgrade", b"h2c")]),
    "and Connection does not say so": lambda: replace(
        GOOD, headers=[*without(b"Connection"), (b"Connection", b"keep-alive")]
    ),
    "without Connection": lambda: replace(GOOD, headers=without(b"Connection")),
    "without a key": lambda: replace(GOOD, headers=without(b"Sec-WebSocket-Key")),
    "with two keys": lambda: replace(GOOD, headers=[*FIELDS, (b"Sec-WebSocket-Key", b"a")]),
    "of another version": lambda: replace(
        GOOD, headers=[*without(b"Sec-WebSocket-Version"), (b"Sec-WebSocket-Version", b"8")]
    ),
    "of no version": lambda: replace(GOOD, headers=without(b"Sec-WebSocket-Version")),
    "with a body of a length": lambda: replace(GOOD, headers=[*FIELDS, (b"Content-Length", b"0")]),
    "with a body in chunks": lambda: replace(
        GOOD, headers=[*FIELDS, (b"Transfer-Encoding", b"chunked")]
    ),
}


@pytest.mark.parametrize("changed", CHANGES.values(), ids=CHANGES)
def test_nothing_that_is_only_half_of_one(changed: Callable[[], RequestFacts]) -> None:
    with pytest.raises(Refusal, match="upgrade that is not a WebSocket's") as caught:
        check(changed())

    assert caught.value.code is Code.UNSUPPORTED


@pytest.mark.parametrize(
    ("fields", "is_one"),
    [
        ({b"upgrade": [b"websocket"]}, True),
        ({b"upgrade": [b" WebSocket\t"]}, True),
        ({b"upgrade": [b"h2c"]}, False),
        ({b"upgrade": [b"websocket", b"websocket"]}, False),
        ({}, False),
    ],
    ids=["one", "in capitals", "of another protocol", "twice", "none"],
)
def test_what_asks_to_become_one(fields: dict[bytes, list[bytes]], is_one: bool) -> None:
    assert is_upgrade(fields) is is_one


@pytest.mark.parametrize(
    ("port", "upgrade", "good"),
    [
        (443, False, True), (443, True, True), (8443, True, True), (8443, False, False),
        (8080, True, False), (80, False, False),
    ],
)  # fmt: skip
def test_the_port_of_websockets_is_theirs_alone(port: int, upgrade: bool, good: bool) -> None:
    headers = {b"upgrade": [b"websocket"]} if upgrade else {}
    review = Review(replace(GOOD, connect_port=port), headers=headers)

    if good:
        check_port(review)
        return
    with pytest.raises(Refusal, match=f"port {port} of an AWS endpoint") as caught:
        check_port(review)
    assert caught.value.status == 421
