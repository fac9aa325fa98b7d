"""What mitmproxy's HTTP/1 reads has bounds, and what comes before an answer is none."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from mitmproxy import connection, options
from mitmproxy.proxy import commands, context, events
from mitmproxy.proxy.layers.http import _http1 as h1

from awsgate.addon import patched_bounds as bounds

STOCK = "the stock method"
INTERIM = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\n\r\n"


def stock(_self: object, _event: object) -> Iterator[Any]:
    yield STOCK


@pytest.fixture
def server_side() -> h1.Http1Client:
    client = connection.Client(peername=("127.0.0.1", 1), sockname=("127.0.0.1", 2))
    made = h1.Http1Client(context.Context(client, options.Options()))
    made.request = object()  # type: ignore[assignment]
    made.stream_id = 1
    return made


def done(method: Any, conn: h1.Http1Client, data: bytes) -> list[Any]:
    conn.buf += data
    return list(method(conn, events.DataReceived(conn.conn, data)))


def closes(found: list[Any]) -> bool:
    return any(isinstance(c, commands.CloseConnection) for c in found)


@pytest.mark.parametrize("count", [1, 2])
def test_an_interim_answer_is_read_over(server_side: h1.Http1Client, count: int) -> None:
    found = done(bounds.skip_interim(stock), server_side, INTERIM * count + ANSWER)

    assert found == [STOCK]
    assert bytes(server_side.buf) == ANSWER


def test_one_that_is_not_whole_is_waited_for(server_side: h1.Http1Client) -> None:
    assert done(bounds.skip_interim(stock), server_side, INTERIM[:-1]) == [STOCK]


def test_an_upgrade_is_an_answer(server_side: h1.Http1Client) -> None:
    switching = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"

    assert done(bounds.skip_interim(stock), server_side, switching) == [STOCK]
    assert bytes(server_side.buf) == switching


def test_interim_answers_without_end_close(server_side: h1.Http1Client) -> None:
    assert closes(done(bounds.skip_interim(stock), server_side, INTERIM * 1000 + ANSWER))


def test_a_head_of_an_answer_without_end_closes(server_side: h1.Http1Client) -> None:
    begun = b"HTTP/1.1 200 OK\r\nx: "
    head = begun + b"x" * (bounds.MAX_ANSWER_HEAD_BYTES + 1)

    assert closes(done(bounds.skip_interim(stock), server_side, head))


def test_framing_that_never_becomes_a_body_closes(server_side: h1.Http1Client) -> None:
    method, much = bounds.bound_unread_body(stock), b"1" * (bounds.MAX_UNREAD_BYTES + 1)

    server_side.state = server_side.read_body
    assert closes(done(method, server_side, much))


def test_what_is_left_after_a_body_is_not_its_framing(server_side: h1.Http1Client) -> None:
    method, much = bounds.bound_unread_body(stock), b"1" * (bounds.MAX_UNREAD_BYTES + 1)

    server_side.state = server_side.wait
    assert done(method, server_side, much) == [STOCK]


def test_what_is_sent_ahead_without_end_closes(server_side: h1.Http1Client) -> None:
    method = bounds.bound_sent_ahead(stock)

    assert done(method, server_side, b"x" * bounds.MAX_AHEAD_BYTES) == [STOCK]
    assert closes(done(method, server_side, b"x"))


def test_what_follows_a_hello_that_was_none_closes() -> None:
    method = bounds.close_after_failure(stock)
    conn = connection.Client(peername=("127.0.0.1", 1), sockname=("127.0.0.1", 2))

    assert closes(list(method(SimpleNamespace(tls=None, conn=conn), b"data")))
    assert list(method(SimpleNamespace(tls=object(), conn=conn), b"data")) == [STOCK]
