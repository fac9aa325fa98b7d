"""A browser as far as tests need one: it keeps cookies, and says of itself what browsers do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import unescape

import httpx

from awsgate.web.page.guard import LOGIN
from web.served import Served

HOST = "gate.example.com:8444"
HOME = f"https://{HOST}"
OWN = {"Sec-Fetch-Site": "same-origin", "Origin": "null"}


class Browser:
    """One window at the gateway's page."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self.cookies: dict[str, str] = {}
        self.attributes: dict[str, str] = {}
        """What stood behind each cookie when it was set."""

    def get(self, path: str, headers: Mapping[str, str] = {}, **params: str) -> httpx.Response:
        return self._ask("GET", path, headers, params=params)

    def post(
        self, path: str, fields: Mapping[str, str], headers: Mapping[str, str] = OWN
    ) -> httpx.Response:
        return self._ask("POST", path, headers, data=dict(fields))

    def form_token(self, path: str = "/") -> str:
        """Give the token of the forms of a page."""
        found = re.search(r'name="form_token" value="([^"]+)"', self.get(path).text)
        assert found is not None
        return found[1]

    def send(self, path: str, page: str = "/", **fields: str) -> httpx.Response:
        """Fill in a form of a page, and send it."""
        return self.post(path, {"form_token": self.form_token(page), **fields})

    def have(self, token: str) -> Browser:
        """Let it have a login."""
        self.cookies[LOGIN] = token
        return self

    def _ask(
        self, method: str, path: str, headers: Mapping[str, str], **more: Mapping[str, str]
    ) -> httpx.Response:
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        given = {"Host": HOST, **({"Cookie": cookie} if cookie else {}), **headers}
        http = self._served.stage.http
        answer = http.request(method, path, headers=given, **more)  # type: ignore[arg-type]
        http.cookies.clear()
        for line in answer.headers.get_list("set-cookie"):
            pair, _, attributes = line.partition(";")
            name, _, value = pair.partition("=")
            self.attributes[name] = attributes.lower()
            if "max-age=0" in attributes.lower():
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = value
        return answer


def words_of(answer: httpx.Response) -> str:
    """Give the text of a page."""
    text = re.sub(
        r"<(head|script|style)\b.*?</\1>", " ", answer.text.replace("<wbr>", ""), flags=re.DOTALL
    )
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", text)).split())


def signed_in(served: Served, who: str = "alice") -> Browser:
    return Browser(served).have(served.log_in(who)["login"])
