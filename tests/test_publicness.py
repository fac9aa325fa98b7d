"""Where the gateway may listen in plain, and where it may not."""

from __future__ import annotations

from typing import Any

import pytest

from awsgate.errors import SetupError
from awsgate.policy.settings import GatewaySpec
from awsgate.publicness import check_host_can_tls, check_places, is_open_to_others

OURS = ["127.0.0.1", "127.8.9.10", "::1", "localhost"]
PUBLIC = ["0.0.0.0", "::", "", "192.0.2.1", "10.0.0.1", "fe80::1", "gate.example.com"]
OPEN: list[dict[str, Any]] = [{"tls": True}, {"plain_public": True}]


def spec(**settings: Any) -> GatewaySpec:
    return GatewaySpec.model_validate({"non_aws": "refuse", **settings})


@pytest.mark.parametrize("host", OURS)
def test_this_machine_alone_may_come_in_plain(host: str) -> None:
    check_places(spec(), [host])
    assert not is_open_to_others(spec())


@pytest.mark.parametrize("host", PUBLIC)
def test_others_may_not_and_the_error_says_what_to_do(host: str) -> None:
    with pytest.raises(SetupError) as caught:
        check_places(spec(), ["127.0.0.1", host])

    assert caught.value.message == f"other machines reach {host or 'all addresses'}"
    (fault,) = caught.value.faults
    assert "would not speak TLS there" in fault
    for setting in ("tls: true", "names:", "plain_public: true"):
        assert setting in fault
    assert "127.0.0.1" in caught.value.hint


@pytest.mark.parametrize("host", PUBLIC)
@pytest.mark.parametrize("settings", OPEN, ids=["tls", "plain_public"])
def test_with_tls_or_by_choice_they_may(host: str, settings: dict[str, Any]) -> None:
    check_places(spec(**settings), [host])
    assert is_open_to_others(spec(**settings))


RELAY: dict[str, tuple[dict[str, Any], bool]] = {
    "any host for anybody": ({"non_aws": "tunnel"}, True),
    "any host for who is known": ({"non_aws": "tunnel", "tunnels": {"callers": "known"}}, False),
    "no host but those of rules": ({"non_aws": "refuse"}, False),
}


@pytest.mark.parametrize(("settings", "relays"), RELAY.values(), ids=RELAY)
def test_it_is_no_way_into_the_network_for_anybody(settings: dict[str, Any], relays: bool) -> None:
    check_places(spec(**settings), ["127.0.0.1"])
    for more in OPEN:
        if not relays:
            check_places(spec(**settings, **more), ["0.0.0.0"])
            continue
        with pytest.raises(SetupError) as caught:
            check_places(spec(**settings, **more), ["0.0.0.0"])
        (fault,) = caught.value.faults
        assert "could tunnel through it to any host: set non_aws: refuse" in fault


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(SetupError) as caught:
        check_places(GatewaySpec(), ["0.0.0.0"])

    assert len(caught.value.faults) == 2


def test_a_host_without_tls_of_its_own_says_who_has_it() -> None:
    check_host_can_tls(spec())
    with pytest.raises(SetupError) as caught:
        check_host_can_tls(spec(tls=True))

    assert "awsgate run" in caught.value.hint
