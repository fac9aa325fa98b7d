"""The webhook: told a few times, then left, and its URL in no log."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr, ValidationError

from awsgate.policy.settings import WebhookSpec
from awsgate.webhook import MAX_WAITING, Webhook

URL = "https://hooks.example.com/services/canary-secret"


class Server:
    def __init__(self, *answers: int | Exception) -> None:
        self.answers, self.got = list(answers), list[httpx.Request]()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.got.append(request)
        answer = self.answers.pop(0) if self.answers else 200
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer, headers={"location": "https://elsewhere.example.com/"})


def told(server: Server, *texts: str, url: str = URL) -> list[float]:
    slept: list[float] = []
    hook = Webhook(
        WebhookSpec(url=SecretStr(url)),
        sleep=slept.append,
        transport=httpx.MockTransport(server),
    )
    for text in texts:
        hook.tell(text)
        hook.flush(5)
    return slept


def test_it_takes_slacks_json(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server = Server()
    told(server, "alice asks")

    (request,) = server.got
    assert (request.method, str(request.url)) == ("POST", URL)
    assert request.headers["content-type"] == "application/json"
    assert json.loads(request.content) == {"text": "alice asks"}
    assert "canary" not in caplog.text


TRIES = {
    "a moment": ([503, 200], 2, ""),
    "for long": ([503, 502, 500], 3, "HTTP 500"),
    "throttled": ([429, 200], 2, ""),
    "no connection": ([httpx.ConnectError(f"to {URL}")] * 3, 3, "ConnectError"),
    "no such hook": ([404], 1, "HTTP 404"),
    "sent elsewhere": ([302], 1, "HTTP 302"),
}


@pytest.mark.parametrize("row", TRIES.values(), ids=TRIES)
def test_it_is_tried_a_few_times(
    row: tuple[list[int | Exception], int, str], caplog: pytest.LogCaptureFixture
) -> None:
    answers, tries, why = row
    server = Server(*answers)
    slept = told(server, "x")

    assert (len(server.got), len(slept)) == (tries, tries)
    assert [record.getMessage() for record in caplog.records] == (
        [f"the webhook of access requests was not told ({why})"] if why else []
    )
    assert "canary" not in caplog.text


def test_of_many_failures_one_is_told(caplog: pytest.LogCaptureFixture) -> None:
    told(Server(404, 404, 200, 404), "a", "b", "c", "d")

    assert len(caplog.records) == 2


def test_a_server_that_hangs_holds_nobody_up(caplog: pytest.LogCaptureFixture) -> None:
    import threading

    until = threading.Event()

    def hang(_: httpx.Request) -> httpx.Response:
        until.wait(10)
        return httpx.Response(200)

    hook = Webhook(WebhookSpec(url=SecretStr(URL)), transport=httpx.MockTransport(hang))
    for _ in range(MAX_WAITING + 5):
        hook.tell("x")
    hook.flush(0.05)
    until.set()

    assert "too many messages wait" in caplog.text


def test_of_an_answer_the_status_alone_is_read(caplog: pytest.LogCaptureFixture) -> None:
    read: list[bytes] = []

    def endless() -> Iterator[bytes]:
        while len(read) < 100:
            read.append(b"x" * 1024)
            yield read[-1]

    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=endless()))
    hook = Webhook(WebhookSpec(url=SecretStr(URL)), transport=transport)
    hook.tell("x")
    hook.flush(5)

    assert (read, caplog.records) == ([], [])


def test_nobody_is_told_where_there_is_no_hook(caplog: pytest.LogCaptureFixture) -> None:
    server = Server()
    hook = Webhook(None, transport=httpx.MockTransport(server))
    hook.tell("x")
    hook.flush(5)

    assert (server.got, caplog.records) == ([], [])


def test_the_url_may_stand_in_a_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file, server = tmp_path / "hook", Server()
    file.write_text(URL + "\n")
    told(server, "x", url=f"file://{file}")
    assert str(server.got[0].url) == URL
    file.unlink()
    told(server, "x", url=f"file://{file}")

    assert (len(server.got), len(caplog.records)) == (1, 1)


def test_a_url_that_is_none_is_not_repeated() -> None:
    with pytest.raises(ValidationError) as caught:
        WebhookSpec(url=SecretStr("canary-secret"))

    assert "canary" not in str(caught.value)
    assert "canary" not in repr(WebhookSpec(url=SecretStr(URL)))
