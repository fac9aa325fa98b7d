"""The page that a browser comes back to after a login: it answers that one visit alone."""

from __future__ import annotations

from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from threading import Thread

import pytest

from awsgate.cli.loopback import MAX_QUERY, PATH, Loopback


@pytest.fixture
def loopback() -> Iterator[Loopback]:
    made = Loopback()
    with made.open():
        yield made


def ask(loopback: Loopback, path: str, host: str = "") -> tuple[HTTPResponse, str]:
    connection = HTTPConnection("127.0.0.1", loopback.port, timeout=5)
    try:
        connection.request("GET", path, headers={"Host": host} if host else {})
        answer = connection.getresponse()
        return answer, answer.read().decode()
    finally:
        connection.close()


def come_back(loopback: Loopback) -> tuple[int, str]:
    """Come back as a browser does, while somebody waits for it and shows a page."""
    answers = []
    thread = Thread(target=lambda: answers.append(ask(loopback, f"{PATH}?code=good")))
    thread.start()
    visit = loopback.wait(5)
    assert visit is not None
    assert visit.query == {"code": "good"}
    visit.show("Logged in", "You are <alice>.")
    thread.join()
    ((answer, page),) = answers
    return answer.status, page


OTHERS = {
    "another path": ("/?code=bad", ""),
    # A page on another site, whose name leads to 127.0.0.1 by now, could send its own code.
    "another name": (f"{PATH}?code=bad", "evil.example"),
    "another port": (f"{PATH}?code=bad", "127.0.0.1:1"),
    # Of whatever asks for the page by itself: a probe of ports, somebody's reload.
    "no code": (PATH, ""),
    "an empty code": (f"{PATH}?code=&state=x", ""),
    "a query without end": (f"{PATH}?code={'x' * MAX_QUERY}", ""),
}


@pytest.mark.parametrize(("path", "host"), OTHERS.values(), ids=OTHERS)
def test_what_is_not_the_way_back_is_not_taken_for_it(
    loopback: Loopback, path: str, host: str
) -> None:
    answer, page = ask(loopback, path, host)

    assert (answer.status, "Nothing here" in page) == (404, True)
    assert loopback.wait(0.01) is None
    assert come_back(loopback)[0] == 200


def test_it_is_come_back_to_once(loopback: Loopback) -> None:
    status, page = come_back(loopback)
    answer, again = ask(loopback, f"{PATH}?code=other")

    assert (status, "You are &lt;alice&gt;." in page) == (200, True)
    assert (answer.status, "Nothing here" in again) == (404, True)
    assert loopback.wait(0.01) is None
    assert answer.getheader("Cache-Control") == "no-store"
    assert answer.getheader("Referrer-Policy") == "no-referrer"


def test_a_no_of_the_gateways_is_come_back_with(loopback: Loopback) -> None:
    thread = Thread(target=lambda: ask(loopback, f"{PATH}?error=no-role&message=none"))
    thread.start()
    visit = loopback.wait(5)

    assert visit is not None
    assert visit.query == {"error": "no-role", "message": "none"}
    visit.show("Not logged in", "none")
    thread.join()
