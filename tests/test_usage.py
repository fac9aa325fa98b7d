"""What a session has done is counted, for itself."""

from __future__ import annotations

from awsgate.usage import Usage


def test_requests_and_bytes_are_counted_by_session() -> None:
    usage = Usage()

    assert usage.count("a") == (1, 0)
    usage.moved("a", 70)
    usage.moved("a", 30)
    assert usage.count("a") == (2, 100)
    assert usage.count("b") == (1, 0)


def test_bytes_of_a_session_that_never_asked_are_nobodys() -> None:
    usage = Usage()

    usage.moved("a", 10)

    assert usage.count("a") == (1, 0)
