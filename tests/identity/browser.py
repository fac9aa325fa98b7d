"""Headless Chromium, driven by its own chromedriver over the W3C WebDriver protocol.

It resolves no name but those of this machine, so that no page of a provider reaches out,
and keeps all it knows in a folder of its own. A self-made certificate is trusted by its
public key: pass ``trusted`` the base64 of the SHA-256 of its SubjectPublicKeyInfo.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the standard's name
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--disable-dev-shm-usage",
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)
WAIT_S = 20.0


class Browser:
    """One window, with cookies of its own."""

    def __init__(self, http: httpx.Client, session: str) -> None:
        self._http = http
        self._session = f"/session/{session}"

    def go(self, url: str) -> None:
        """Go to ``url`` and wait until it is there."""
        self._post("url", {"url": url})

    @property
    def url(self) -> str:
        """Give where it is now."""
        return str(self._get("url"))

    @property
    def text(self) -> str:
        """Give all that can be read on the page."""
        return str(self._post("execute/sync", {"script": READ, "args": []}))

    def fill(self, selector: str, text: str) -> None:
        """Type into a field."""
        element = self._find(selector)
        self._post(f"element/{element}/clear", {})
        self._post(f"element/{element}/value", {"text": text})

    def click(self, selector: str) -> None:
        """Click what is found there, once it is there."""
        self._post(f"element/{self._find(selector)}/click", {})

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait until the address or the page fits a regular expression."""
        deadline = time.monotonic() + WAIT_S
        while True:
            seen = f"{self.url}\n{self.text}"
            if found := re.search(pattern, seen):
                return found
            assert time.monotonic() < deadline, f"waited for {pattern!r}, and there is: {seen}"
            time.sleep(0.05)

    def has(self, selector: str) -> bool:
        """True if there is such an element now."""
        return bool(self._post("elements", {"using": "css selector", "value": selector}))

    def _find(self, selector: str) -> str:
        deadline = time.monotonic() + WAIT_S
        while True:
            found = self._post("elements", {"using": "css selector", "value": selector})
            if found:
                return str(found[0][ELEMENT])
            assert time.monotonic() < deadline, f"no {selector!r} on {self.url}: {self.text}"
            time.sleep(0.05)

    def _get(self, path: str) -> Any:
        return value_of(self._http.get(f"{self._session}/{path}"))

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        return value_of(self._http.post(f"{self._session}/{path}", json=body))


READ = "return document.body ? document.body.innerText : ''"


def value_of(answer: httpx.Response) -> Any:
    """Give what the driver says. Fails with its words."""
    value = answer.json()["value"]
    assert answer.status_code == 200, value.get("message", value)
    return value


@contextmanager
def driver(folder: Path) -> Iterator[httpx.Client]:
    """Run chromedriver; it ends, and all its browsers, with the block."""
    program = shutil.which("chromedriver")
    assert program, "chromedriver is missing: scripts/identity installs it"
    log = folder / "chromedriver.log"
    with log.open("wb") as output:
        process = subprocess.Popen([program, "--port=0"], stdout=output, stderr=output)
        try:
            port = _port(log, process)
            with httpx.Client(
                base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False
            ) as http:
                yield http
        finally:
            process.terminate()
            process.wait(20)


def _port(log: Path, process: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline and process.poll() is None:
        found = re.search(r"started successfully on port (\d+)", log.read_text("utf-8"))
        if found:
            return found[1]
        time.sleep(0.05)
    raise AssertionError(f"chromedriver did not start: {log.read_text('utf-8')}")


@contextmanager
def browsing(http: httpx.Client, folder: Path, *, trusted: str = "") -> Iterator[Browser]:
    """Open a browser that knows nothing, and close it with the block."""
    flags = [*FLAGS, f"--user-data-dir={folder}"]
    if trusted:
        flags.append(f"--ignore-certificate-errors-spki-list={trusted}")
    wanted = {"alwaysMatch": {"goog:chromeOptions": {"args": flags, "binary": _chromium()}}}
    session = value_of(http.post("/session", json={"capabilities": wanted}))["sessionId"]
    try:
        yield Browser(http, session)
    finally:
        http.delete(f"/session/{session}")


def _chromium() -> str:
    program = shutil.which("chromium")
    assert program, "chromium is missing: scripts/identity installs it"
    return program
