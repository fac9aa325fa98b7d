"""One server; one API for the tests that change nothing of it, one for each that does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from web.served import Served, Stage, served_on


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    made = Stage(tmp_path_factory.mktemp("stage"))
    yield made
    made.close()


@pytest.fixture(scope="session")
def shared(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served_on(stage, tmp_path_factory.mktemp("web")) as made:
        yield made


@pytest.fixture
def own(shared: Served, tmp_path: Path) -> Iterator[Served]:
    """After ``shared``, whose place on the stage it takes."""
    with served_on(shared.stage, tmp_path) as made:
        yield made
