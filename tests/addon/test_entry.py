"""What the script does not start with."""

from __future__ import annotations

import re

import pytest

from awsgate.addon import entry, patches
from awsgate.errors import SetupError


def test_an_option_that_is_misspelt_is_told_with_the_one_that_is_near() -> None:
    with pytest.raises(SetupError, match="no option awsgate_polcy") as caught:
        entry._refuse_unknown(["flow_detail", "awsgate_polcy"])

    assert "awsgate_policy" in caught.value.hint


def test_options_of_others_are_theirs() -> None:
    entry._refuse_unknown(["flow_detail", "somebody_elses"])


@pytest.mark.parametrize("name", sorted(patches.NEEDED))
def test_without_a_patch_that_its_promises_rest_on_it_does_not_start(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry._check_needed()
    monkeypatch.setitem(patches.KNOWN, name, frozenset())

    with pytest.raises(SetupError, match=rf"awsgate knows: {re.escape(name)} has changed"):
        entry._check_needed()


@pytest.mark.parametrize("name", sorted(patches.SPEED_ALONE))
def test_without_a_patch_of_speed_alone_it_does(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(patches.KNOWN, name, frozenset())

    entry._check_needed()
