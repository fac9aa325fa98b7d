"""What the SAML connector does by itself: a bounded number at a time, and what it opens."""

from __future__ import annotations

import asyncio
import ssl
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from awsgate.connect import saml
from awsgate.connect.saml import Replays, SamlConnector
from awsgate.connect.samlform import read_answer
from awsgate.connect.ways import LoginRefused
from awsgate.login import Identity
from awsgate.policy.connectors import Saml
from samlforge import NOW, Said, document


@pytest.fixture(autouse=True)
def _stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "xmlsec1"
    program.write_text("#!/bin/sh\nexit 9\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))


def connector() -> SamlConnector:
    client = httpx.AsyncClient(verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    made = Saml.model_validate(document())
    return SamlConnector(made, http=client, clock=lambda: NOW, replays=Replays())


async def test_answers_are_proved_a_bounded_number_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(saml, "_MAX_WAITING", 1)
    made = connector()
    proving, go = threading.Event(), threading.Event()

    def slow() -> Identity:
        proving.set()
        go.wait(10)
        raise LoginRefused("slow", "it took its time")

    first = asyncio.ensure_future(made._in_thread(slow))
    await asyncio.to_thread(proving.wait, 10)
    try:
        with pytest.raises(LoginRefused) as caught:
            await made._in_thread(slow)
    finally:
        go.set()
    assert caught.value.reason == "busy"
    with pytest.raises(LoginRefused, match="took its time"):
        await first
    assert made._waiting == 0


def test_what_was_encrypted_is_an_assertion_and_not_another_envelope(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = connector()
    answer = read_answer(Said().text().encode())
    monkeypatch.setattr(made, "_crypto", SimpleNamespace(decrypt=lambda *_, **__: b"<text/>"))
    monkeypatch.setattr(saml, "read_answer", lambda *_, **__: replace(answer, assertion=None))

    with pytest.raises(LoginRefused, match="what was encrypted is no assertion") as caught:
        made._opened(answer)
    assert caught.value.reason == "malformed"
