"""Through ``awsgate.internal`` each is held to their own bounds, and not to a stranger's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from web.believing import PASSWORD
from web.paging import HOST
from web.served import Served, Stage, served_on

STRANGER, USER = ("203.0.113.9", 5001), ("198.51.100.7", 5002)
PER_MINUTE = 3
WRONG = {"user": "lola", "password": "no"}
RIGHT = {"user": "lola", "password": PASSWORD, "totp": "123456"}


@pytest.fixture
def few(stage: Stage, tmp_path: Path) -> Iterator[Served]:
    """A gateway that takes few attempts."""
    with served_on(stage, tmp_path, logins_per_minute=PER_MINUTE) as made:
        yield made


@contextmanager
def tunnel(served: Served, client: tuple[str, int], token: str = "") -> Iterator[httpx.Client]:
    """Open one connection, of which the gateway knows that it is somebody's tunnel."""
    with served.client(token) as http:
        stream = http.get("/v1/nothing").extensions["network_stream"]
        ours = stream.get_extra_info("client_addr")
        served.api.tunnel_clients.tunnel_begun(ours, client)
        yield http
        assert http.get("/v1/nothing").extensions["network_stream"] is stream
        served.api.tunnel_clients.tunnel_ended(ours)


def use_up(http: httpx.Client) -> list[int]:
    return [http.post("/v1/login/password", json=WRONG).status_code for _ in range(PER_MINUTE + 2)]


def test_a_stranger_keeps_nobody_else_out(few: Served) -> None:
    with tunnel(few, STRANGER) as http:
        assert use_up(http) == [401] * PER_MINUTE + [429] * 2
        assert http.get("/v1/callback").status_code == 429
    with tunnel(few, STRANGER) as again:
        assert again.post("/v1/login/password", json=RIGHT).status_code == 429
    with tunnel(few, USER) as http:
        page = http.get("/sign-in/provider?connector=oidc/okta", headers={"Host": HOST})

        assert http.post("/v1/login/password", json=RIGHT).status_code == 200
        assert page.status_code == 303
        assert http.get("/v1/callback").status_code == 400
    with few.client() as http:  # of the gateway's own machine
        assert http.post("/v1/login/password", json=RIGHT).status_code == 200


def test_the_way_round_by_the_tunnel_is_no_second_bucket(few: Served) -> None:
    for _ in range(PER_MINUTE):
        assert few.api.attempts.wait_s(STRANGER[0]) == 0.0

    with tunnel(few, STRANGER) as http:
        assert http.post("/v1/login/password", json=RIGHT).status_code == 429


def test_nor_do_tokens_and_questions_of_a_stranger(few: Served) -> None:
    with tunnel(few, STRANGER, "gatelogin.AAAA") as http:
        for _ in range(10 * PER_MINUTE + 1):
            last = http.get("/v1/ping").status_code, http.get("/v1/whoami").status_code
    assert last == (429, 429)

    with tunnel(few, USER, "gatelogin.AAAA") as http:
        assert (http.get("/v1/ping").status_code, http.get("/v1/whoami").status_code) == (200, 401)


def test_the_audit_has_who_came(few: Served) -> None:
    token = few.log_in("alice")["login"]
    with tunnel(few, USER) as http:
        http.post("/v1/login/password", json=WRONG)
    with tunnel(few, USER, token) as http:
        http.post("/v1/credentials", json={})
        http.post("/v1/console", json={})

    lines = [few.lines(event=event)[-1] for event in ("login", "credentials", "console")]
    assert [line["client"] for line in lines] == ["198.51.100.7:5002"] * 3
    assert few.console.wanted[-1].client == "198.51.100.7"


def test_what_a_request_says_of_itself_is_still_not_believed(few: Served) -> None:
    headers = {"X-Forwarded-For": USER[0], "Forwarded": f"for={USER[0]}"}
    with tunnel(few, STRANGER) as http:
        use_up(http)
        assert http.post("/v1/login/password", json=RIGHT, headers=headers).status_code == 429
