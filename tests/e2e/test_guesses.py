"""Somebody guesses at the proxy's door: they wait, and nobody else of their address does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from e2e.held import (
    OBJECT,
    POWER,
    Bench,
    app,
    bench_in,
    cut_within,
    gateway,
    role,
    until,
    user,
)
from rawclient import secure

FREE = 10
"""Of this machine's own address, where one a minute is allowed."""
WORKERS = 4
"""At most: each counts for itself."""
UPLOAD = replace(OBJECT, method="PUT", chunked=True)
BODY = b"1\r\nx\r\n0\r\n\r\n"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    documents = {
        "power.yaml": role("power", POWER),
        "users.yaml": user("alice", "power"),
        "gateway.yaml": gateway("{limits: {failures_per_minute: 1}}"),
        "app.yaml": app("main"),
    }
    with bench_in(tmp_path_factory.mktemp("guesses"), documents) as made:
        yield made


def test_a_guess_waits_with_its_own_words_and_a_right_signature_overtakes_it(
    bench: Bench,
) -> None:
    wrong = replace(bench.keys("alice"), secret_access_key="guessed")
    with bench.held(wrong) as guessing, bench.held("alice") as honest:
        for _ in range(FREE):
            assert guessing.verdict() == "bad-signature"
        guessing.send()
        assert honest.verdict() == "200"

        guessing.wire.sock.settimeout(0.05)
        with pytest.raises(TimeoutError):
            guessing.wire.read_answer()
        guessing.wire.sock.settimeout(20)
        answer = guessing.wire.read_answer()
        assert (answer.status, answer.code) == (403, "bad-signature")
        assert honest.verdict() == "200"
    assert until(lambda: len(bench.lines(code="bad-signature")) == FREE + 1, within=10)
    assert bench.lines(code="bad-signature")[-1]["ms"] >= 1000


def test_who_sends_a_body_after_a_guess_needs_another_connection(bench: Bench) -> None:
    wrong = replace(bench.keys("alice"), secret_access_key="guessed")
    for _ in range(FREE * WORKERS + 1):
        with secure(bench.gateway, UPLOAD.host) as wire:
            wire.send(UPLOAD.wire(UPLOAD.signed(wrong)) + BODY)
            answer = wire.read_answer()
            assert answer.code == "bad-signature"
            if answer.headers.get("connection") == "close":
                assert cut_within(wire, 5)
                return
    pytest.fail("the connection was kept")
