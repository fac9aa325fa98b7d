"""Whose cookies the page reads: those of its own names, and none that another site can plant.

A browser keeps names with ``__Host-`` for the host alone. It takes spaces and tabs off a name
before it looks, and nothing else; so a name with another byte before is anybody's to set.
"""

from __future__ import annotations

import httpx
import pytest
from starlette.requests import Request

from awsgate.web.page import guard
from web.paging import HOST, Browser, signed_in, words_of
from web.served import Served
from web.test_page_guard import begun

NEAR = {
    "NEL before": b"\x85%s",
    "no-break space before": b"\xa0%s",
    "no-break space after": b"%s\xa0",
    "a separator before": b"\x1c%s",
    "vertical tab before": b"\x0b%s",
    "form feed after": b"%s\x0c",
    "a quote before": b'"%s',
    "quotes around": b'"%s"',
    "another case": b"__host-awsgate",
    "UTF-8's no-break space": b"\xc2\xa0%s",
}
READERS = {
    guard.LOGIN: guard.login_of,
    f"{guard.LOGIN}-1": guard.login_of,
    guard.VISIT: guard.visit_of,
    guard.BEGUN: guard.begun_of,
}


def request_of(*lines: bytes) -> Request:
    headers = [(b"cookie", line) for line in lines]
    return Request({"type": "http", "headers": [(b"host", HOST.encode()), *headers]})


def ask(served: Served, path: str, *lines: bytes) -> httpx.Response:
    """Send ``Cookie`` headers as they are."""
    headers = [(b"Host", HOST.encode()), *((b"Cookie", line) for line in lines)]
    return served.stage.http.request("GET", path, headers=headers)


def near(name: str, how: str) -> bytes:
    return NEAR[how].replace(b"%s", name.encode())


@pytest.mark.parametrize("how", NEAR)
@pytest.mark.parametrize("name", READERS)
def test_a_name_that_is_nearly_ours_is_not(name: str, how: str) -> None:
    planted, ours = near(name, how) + b"=planted", name.encode() + b"=ours"

    for lines in (planted,), (b"a=b; " + planted,), (b"a=b", planted):
        assert READERS[name](request_of(*lines)) == ""
    for lines in (planted + b"; " + ours,), (ours + b"; " + planted,), (planted, ours):
        assert READERS[name](request_of(*lines)) == "ours"


@pytest.mark.parametrize("name", READERS)
def test_whatever_browsers_put_around_a_cookie_is_taken_off(name: str) -> None:
    ours = name.encode()

    for line in ours + b"=ours", b"a=b;" + ours + b"=ours", b" \t" + ours + b" = ours\t ; c=d":
        assert READERS[name](request_of(line)) == "ours"
    assert READERS[name](request_of(b"a=b", ours + b"=ours")) == "ours"
    assert READERS[name](request_of(ours + b'="ours"')) == '"ours"'
    assert READERS[name](request_of(ours + b"=o=u; =x; " + ours[:-1])) == "o=u"
    assert READERS[name](request_of(ours + b"=")) == ""


@pytest.mark.parametrize("name", READERS)
def test_a_name_of_ours_that_is_there_twice_is_none(name: str) -> None:
    one, two = name.encode() + b"=one", name.encode() + b"=two"
    others = "; ".join(f"{other}=a" for other in READERS if other != name).encode()

    for lines in (one + b"; " + two,), (one, two), (one, others + b";" + two):
        for reader in READERS.values():
            assert reader(request_of(*lines)) == ""


def test_a_planted_login_lets_nobody_in_as_another(shared: Served) -> None:
    own, planted = (shared.log_in(who)["login"].encode() for who in ("alice", "olga"))
    name = guard.LOGIN.encode()

    assert ask(shared, "/login", b"\xa0" + name + b"=" + planted).status_code == 401
    answer = ask(shared, "/login", name + b"=" + own + b"; \x85" + name + b"=" + planted)

    assert answer.status_code == 200
    assert "alice" in words_of(answer)
    assert "olga" not in words_of(answer)


def test_a_sign_in_does_not_end_where_its_verifier_was_planted(own: Served) -> None:
    browser = Browser(own)
    state = begun(browser)
    planted = b"\xa0" + guard.BEGUN.encode() + b"=" + browser.cookies[guard.BEGUN].encode()

    answer = ask(own, f"/v1/callback?state={state}&code=olga", planted)

    assert answer.status_code == 400
    assert "begun in another browser" in words_of(answer)
    assert own.lines(event="login") == []


def test_who_is_signed_in_stays_so_whatever_another_site_planted(shared: Served) -> None:
    mine = f"{guard.LOGIN}={signed_in(shared).cookies[guard.LOGIN]}".encode()
    # h11 answers a request with one of the other bytes itself.
    planted = [near(guard.LOGIN, how) + b"=planted" for how in NEAR]
    sent = [one for one in planted if not {0x0B, 0x0C} & set(one)]

    answer = ask(shared, "/login", b"; ".join((mine, *sent)))

    assert "alice" in words_of(answer)
