"""What the script does not start with."""

from __future__ import annotations

import pytest

from awsgate.addon import entry, patches
from awsgate.errors import SetupError


def test_an_option_that_is_misspelt_is_told_with_the_one_that_is_near() -> None:
    with pytest.raises(SetupError, match="no option awsgate_polcy") as caught:
        entry._refuse_unknown(["flow_detail", "awsgate_polcy"])

    assert "awsgate_policy" in caught.value.hint


def test_options_of_others_are_theirs() -> None:
    entry._refuse_unknown(["flow_detail", "somebody_elses"])


def test_without_the_patches_that_prove_what_leaves_it_does_not_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entry._check_needed()
    monkeypatch.setattr(patches, "unknown", lambda _: {"Http1Client.send"})

    with pytest.raises(SetupError, match=r"Http1Client\.send has changed"):
        entry._check_needed()
