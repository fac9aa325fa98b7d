"""Fixtures of the tests with real identity providers and a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import mkdtemp

import httpx
import pytest

from awsgate.demo.embedded_aws import EmbeddedAws
from identity.browser import Browser, browsing, driver
from identity.visiting import Place, Window


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedAws]:
    """An AWS of the file's own, with IAM checks on."""
    running = EmbeddedAws(tmp_path_factory.mktemp("aws"))
    yield running
    running.stop()


@pytest.fixture(scope="session")
def chromedriver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with driver(tmp_path_factory.mktemp("driver")) as http:
        yield http


@pytest.fixture
def browser(chromedriver: httpx.Client, tmp_path: Path) -> Iterator[Browser]:
    """A browser that has never been anywhere."""
    with browsing(chromedriver, tmp_path / "browser") as opened:
        yield opened


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    """What a test opens with ``enter_context`` is closed after it."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def window(chromedriver: httpx.Client, tmp_path: Path, opened: ExitStack) -> Window:
    """Open browsers that know nothing but where AWS's console is."""

    def opening(at: Place) -> Browser:
        trusted = f"{at.gateway.trusted},{at.console.trusted}"
        folder = mkdtemp(prefix="browser-", dir=tmp_path)
        return opened.enter_context(
            browsing(chromedriver, Path(folder), trusted=trusted, names=at.console.rules)
        )

    return opening
