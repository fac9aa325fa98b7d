"""What an identity provider answers is bounded, and it leads nowhere else."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import threading

import httpx
import pytest

from awsgate.connect import fetching
from awsgate.connect.fetching import Fetcher, Remembered
from awsgate.connect.ways import LoginRefused
from oidcissuer import Issuer, Reply

DEEP = b'{"a":' * 50_000

# what it answers -> (reply, headers, what is said)
ANSWERS: dict[str, tuple[Reply, dict[str, str], str]] = {
    "no JSON": ((200, b"<html>"), {}, "no JSON object"),
    "a list": ((200, []), {}, "no JSON object"),
    "nested without end": ((200, DEEP), {}, "no JSON object"),
    "too large": ((200, b" " * (1024**2 + 1)), {}, "too large"),
    "compressed": ((200, gzip.compress(b"{}")), {"content-encoding": "gzip"}, "compressed"),
    "a redirect": ((302, {}), {}, "status 302"),
    "an error page": ((502, b"<html>"), {}, "status 502"),
    "not found": ((404, {}), {}, "status 404"),
}


@pytest.mark.parametrize(("reply", "headers", "said"), ANSWERS.values(), ids=ANSWERS)
async def test_an_answer_that_is_not_believed(
    issuer: Issuer, http: httpx.AsyncClient, reply: Reply, headers: dict[str, str], said: str
) -> None:
    issuer.replies["/x"] = reply
    issuer.headers = headers

    with pytest.raises(LoginRefused) as caught:
        await Fetcher(http, issuer.url).get(f"{issuer.url}/x?code=canary")

    assert caught.value.reason == "provider-failed"
    assert said in caught.value.message
    assert "canary" not in caught.value.message
    assert issuer.asked == ["/x"]


async def test_what_is_just_large_enough_is_read(issuer: Issuer, http: httpx.AsyncClient) -> None:
    content = {"x": "y" * (1024**2 - 9)}
    issuer.replies["/x"] = (200, content)
    assert len(json.dumps(content)) == 1024**2

    assert await Fetcher(http, issuer.url).get(f"{issuer.url}/x") == content


async def test_an_answer_that_takes_too_long_is_given_up(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each byte comes in time, the whole does not."""
    monkeypatch.setattr(fetching, "_WHOLE_S", 0.3)
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
                while not ended.wait(0.05):
                    try:
                        connection.sendall(b" ")
                    except OSError:
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(LoginRefused) as caught:
            await Fetcher(http, url).get(f"{url}/x")
        ended.set()
        thread.join()

    assert "did not answer (TimeoutError)" in caught.value.message


async def test_nobody_there_is_said(http: httpx.AsyncClient) -> None:
    with pytest.raises(LoginRefused) as caught:
        await Fetcher(http, "http://127.0.0.1:1").get("http://127.0.0.1:1/x")

    assert "did not answer (ConnectError)" in caught.value.message


async def test_cookies_of_one_login_do_not_go_with_the_next(
    issuer: Issuer, http: httpx.AsyncClient
) -> None:
    issuer.replies["/x"] = (200, {})
    issuer.headers = {"set-cookie": "session=of-ann; Path=/"}
    fetcher = Fetcher(http, issuer.url)

    await fetcher.get(f"{issuer.url}/x")
    await fetcher.get(f"{issuer.url}/x")

    assert not any("cookie" in headers for headers in issuer.seen_headers)


# provider, url, whether it may be
URLS = {
    "https": ("https://a.example.com", "https://b.example.com/x", True),
    "plain, elsewhere": ("https://a.example.com", "http://b.example.com/x", False),
    "plain, here, for a provider elsewhere": ("https://a.example.com", "http://127.0.0.1/", False),
    "plain, here, for a provider here": ("http://127.0.0.1:1", "http://127.0.0.1:2/x", True),
    "plain, elsewhere, for a provider here": ("http://127.0.0.1:1", "http://b.example.com", False),
    "a name that looks like loopback": ("http://127.0.0.1:1", "http://127.0.0.1.evil/", False),
    "a file": ("http://127.0.0.1:1", "file:///etc/passwd", False),
    "a user": ("https://a.example.com", "https://127.0.0.1@b.example.com", False),
    "a fragment": ("https://a.example.com", "https://b.example.com/#x", False),
    "a line break": ("https://a.example.com", "https://b.example.com/\r\nx: y", False),
    "no text": ("https://a.example.com", None, False),
    "a private address": ("https://a.example.com", "https://10.0.0.5/keys", True),
    "the metadata service": ("https://a.example.com", "https://169.254.169.254/latest", False),
    "the same with a dot": ("https://a.example.com", "https://169.254.169.254./latest", False),
    "the same, mapped": ("https://a.example.com", "https://[::ffff:169.254.169.254]/", False),
    "the same in IPv6": ("https://a.example.com", "https://[fd00:ec2::254]/", False),
    "the same as a number": ("https://a.example.com", "https://2852039166/", False),
    "the same in hexadecimal": ("https://a.example.com", "https://0xA9FEA9FE/", False),
    "the same in octal": ("https://a.example.com", "https://0251.0376.0251.0376/", False),
    "this machine, short": ("https://a.example.com", "https://127.1/", False),
    "any address": ("https://a.example.com", "https://0.0.0.0/", False),
    "a name with digits": ("https://a.example.com", "https://4.idp7.example.com/2", True),
}


@pytest.mark.parametrize(("provider", "url", "may"), URLS.values(), ids=URLS)
async def test_where_it_may_lead(
    http: httpx.AsyncClient, provider: str, url: object, may: bool
) -> None:
    fetcher = Fetcher(http, provider)

    if may:
        assert fetcher.checked(url, "endpoint") == url
        return
    with pytest.raises(LoginRefused, match="the provider's endpoint is no URL to use"):
        fetcher.checked(url, "endpoint")


class _Slow:
    """A provider that takes its time; the clock goes on meanwhile."""

    def __init__(self) -> None:
        self.now, self.loads = 0.0, 0
        self.began = asyncio.Event()

    async def load(self) -> int:
        self.loads += 1
        self.began.set()
        await asyncio.sleep(0.05)
        self.now += 15
        return self.loads


async def test_who_waits_for_a_slow_fetch_takes_what_it_brought() -> None:
    slow = _Slow()
    remembered = Remembered(slow.load, lambda: slow.now)

    assert set(await asyncio.gather(*(remembered.get(newer=True) for _ in range(5)))) == {1}
    slow.now += fetching.RETRY_S
    assert await remembered.get(newer=True) == 2


async def test_what_is_known_waits_for_no_fetch_that_another_has_caused() -> None:
    slow = _Slow()
    remembered = Remembered(slow.load, lambda: slow.now)
    await remembered.get()
    slow.now += fetching.RETRY_S
    slow.began.clear()

    async def meanwhile() -> int:
        await slow.began.wait()
        return await asyncio.wait_for(remembered.get(), 0.03)

    assert await asyncio.gather(remembered.get(newer=True), meanwhile()) == [2, 1]
