"""Who is behind a tunnel: told by whoever dials, known as long as it is open, never for ever."""

from __future__ import annotations

import pytest

from awsgate import tunnelclients
from awsgate.tunnelclients import TunnelClients

OURS, ANN, BOB = ("127.0.0.1", 40000), ("192.0.2.1", 50001), ("192.0.2.2", 50002)


def test_a_connection_of_a_tunnel_is_its_clients_and_any_other_its_own() -> None:
    book = TunnelClients()
    book.tunnel_begun(OURS, ANN)

    assert book.behind(OURS) == ANN
    for other in ("127.0.0.1", 40001), ("192.0.2.9", 40000), ("", 40000), ("::1", 40000):
        assert book.behind(other) == other
    book.tunnel_ended(OURS)
    assert book.behind(OURS) == OURS
    book.tunnel_ended(OURS)


def test_a_socket_for_both_families_shows_the_same_address() -> None:
    book = TunnelClients()
    book.tunnel_begun(OURS, ANN)

    assert book.behind(("::ffff:127.0.0.1", 40000)) == ANN
    assert book.behind(("::ffff:127.0.0.1", 40001)) == ("::ffff:127.0.0.1", 40001)
    book.tunnel_begun(("0:0:0:0:0:0:0:1", 40000), BOB)
    assert book.behind(("::1", 40000)) == BOB


def test_a_port_that_has_a_new_owner_is_not_forgotten_by_the_old_one() -> None:
    book, one, other = TunnelClients(), object(), object()
    book.tunnel_begun(OURS, ANN, by=one)
    book.tunnel_begun(OURS, BOB, by=other)

    book.tunnel_ended(OURS, by=one)
    assert book.behind(OURS) == BOB
    book.forget(one)
    assert book.behind(OURS) == BOB
    book.forget(other)
    assert book.behind(OURS) == OURS


def test_it_holds_so_many_and_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tunnelclients, "MAX_TUNNELS", 3)
    book = TunnelClients()
    for port in (1, 2, 3, 1, 4):
        book.tunnel_begun(("127.0.0.1", port), ANN)

    known = [port for port in range(1, 5) if book.behind(("127.0.0.1", port)) == ANN]
    assert known == [1, 3, 4]
