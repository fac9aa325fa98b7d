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
    return GatewaySpec.model_validate(settings)


@pytest.mark.parametrize("host", OURS)
def test_this_machine_alone_may_come_in_plain(host: str) -> None:
    check_places(spec(), [host])
    assert not is_open_to_others(spec())


@pytest.mark.parametrize("host", PUBLIC)
def test_others_may_not_and_the_error_says_what_to_do(host: str) -> None:
    with pytest.raises(SetupError) as caught:
        check_places(spec(), ["127.0.0.1", host])

    assert f"other machines reach {host or 'all addresses'}, and" in caught.value.message
    for setting in ("tls: true", "names:", "127.0.0.1", "plain_public: true"):
        assert setting in caught.value.hint


@pytest.mark.parametrize("host", PUBLIC)
@pytest.mark.parametrize("settings", OPEN, ids=["tls", "plain_public"])
def test_with_tls_or_by_choice_they_may(host: str, settings: dict[str, Any]) -> None:
    check_places(spec(**settings), [host])
    assert is_open_to_others(spec(**settings))


def test_a_host_without_tls_of_its_own_says_who_has_it() -> None:
    check_host_can_tls(spec())
    with pytest.raises(SetupError) as caught:
        check_host_can_tls(spec(tls=True))

    assert "awsgate run" in caught.value.hint
