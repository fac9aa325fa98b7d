"""What awsgate doctor is told of the patches, without mitmproxy in its own process."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version

import pytest

from awsgate.addon import fitting, patches


def test_the_patches_fit_what_is_installed() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "awsgate.addon.fitting"], capture_output=True, text=True, check=True
    )

    assert json.loads(done.stdout) == [version("mitmproxy"), []]


def test_a_method_that_was_not_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(patches.KNOWN, "HttpStream.check_killed", frozenset())

    assert "HttpStream.check_killed" in json.loads(fitting.answer())[1]
