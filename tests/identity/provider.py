"""The certified provider of npm, as a process of its own, and the people who log in there."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from identity.browser import Browser

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / ".venv-identity"
CLIENT = {"client_id": "awsgate", "client_secret": "canary-of-the-client"}
PASSWORD = "right"


class Provider:
    """A running provider."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self._process = process
        self.url = url

    def rotate(self, kid: str) -> None:
        """Sign with a new key from now on; the old one is in no key set."""
        self._order(rotate=kid)

    def change(self, person: str, **claims: object) -> None:
        """Say something else of somebody."""
        self._order(person=person, claims=claims)

    def machine_token(self, **claims: object) -> str:
        """Give a token as a platform gives to its jobs."""
        return self._order(machine=claims)

    def _order(self, **order: Any) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()


@contextmanager
def provider(*redirects: str, port: int = 0) -> Iterator[Provider]:
    """Run it, with a client that may be sent back to ``redirects``."""
    process = subprocess.Popen(
        ["node", str(Path(__file__).with_name("provider.mjs")), str(port), *redirects],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "AWSGATE_IDENTITY_TOOLS": str(TOOLS), "NODE_NO_WARNINGS": "1"},
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http://"), "the provider did not start"
        yield Provider(process, url)
    finally:
        process.terminate()
        process.communicate(timeout=20)


def log_in(browser: Browser, user: str, password: str = PASSWORD) -> None:
    """Fill in the provider's form, and consent."""
    browser.fill("[name=login]", user)
    browser.fill("[name=password]", password)
    browser.click("#go")
    if password == PASSWORD:
        browser.wait_for("allow")
        browser.click("#go")
