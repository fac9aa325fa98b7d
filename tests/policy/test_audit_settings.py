"""The audit's settings in ``kind: gateway``."""

from __future__ import annotations

import re
from typing import Any

import pytest

from awsgate.errors import SetupError
from awsgate.policy import GatewaySpec, parse_policy


def spec_of(**audit: Any) -> GatewaySpec:
    document = {"kind": "gateway", "version": "v1", "spec": {"audit": audit}}
    return parse_policy([("gateway.yaml", document)]).gateway


def test_by_default_files_are_rotated_at_100_mib_and_none_is_deleted() -> None:
    audit = spec_of().audit

    assert (audit.rotate_bytes, audit.keep) == (100 * 1024 * 1024, 0)


def test_rotation_can_be_off_or_small() -> None:
    assert spec_of(rotate_bytes=0).audit.rotate_bytes == 0
    assert spec_of(rotate_bytes=65536, keep=3).audit.keep == 3


FAULTS = {
    "a file for a few lines": ({"rotate_bytes": 1000}, "rotate_bytes 1000 is less than 65536"),
    "less than none": ({"keep": -1}, "spec.audit.keep"),
    "keep what is never made": ({"rotate_bytes": 0, "keep": 3}, "keep without rotate_bytes"),
    "text": ({"rotate_bytes": "100MB"}, "spec.audit.rotate_bytes"),
}


@pytest.mark.parametrize(("audit", "fault"), FAULTS.values(), ids=FAULTS)
def test_what_makes_no_sense_is_a_fault(audit: dict[str, Any], fault: str) -> None:
    with pytest.raises(SetupError) as caught:
        spec_of(**audit)

    assert re.search(re.escape(fault), "\n".join(caught.value.faults))
