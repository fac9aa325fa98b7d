"""The roles that a client went on from: kept in the token, and at little cost."""

from __future__ import annotations

from dataclasses import replace

from awsgate.aws.sigv4 import SigningKeys
from awsgate.surrogate import IssuedKeys, pack, unpack
from test_surrogate import ISSUED, ROLE, opened, parent, surrogate

WAY = [f"arn:aws:iam::210987654321:role/{name}" for name in ("B", "path/C", "D")]


def test_a_surrogate_knows_all_roles_on_its_way() -> None:
    at = parent()
    assert at.role_arns == (ROLE,)
    for step, arn in enumerate([*WAY, ROLE, WAY[0]]):
        at = opened(surrogate(replace(ISSUED, role_arn=arn), of=at, seed=100 + step)).session
        assert at.role_arns[-1] == arn
        assert set(at.role_arns) == {ROLE, *WAY[: step + 1], arn}
        assert len(set(at.role_arns)) == len(at.role_arns)
    # An answer that names no role is of the first one: the way stays known.
    at = opened(surrogate(replace(ISSUED, role_arn=""), of=at, seed=140)).session
    assert at.role_arns[-1] == ROLE
    assert set(at.role_arns) == {ROLE, *WAY}


def test_each_role_on_the_way_costs_little() -> None:
    first = opened(surrogate(replace(ISSUED, role_arn=WAY[0]))).session

    second = pack(replace(ISSUED, came_by=(WAY[0],)))

    assert len(second) - len(pack(ISSUED)) < 20
    assert first.issued is not None
    assert first.issued.came_by == ()


def test_a_token_of_one_role_is_packed_as_it_was_before_ways_were_kept() -> None:
    """The bytes of the version of awsgate before this one."""
    issued = IssuedKeys(SigningKeys("ASIA", "s", "t"), 1, ROLE, "alice")
    old = (
        b"\x00"
        + (1).to_bytes(8, "big")
        + b"".join(
            len(raw).to_bytes(2, "big") + raw
            for raw in (b"\x01", b"s", b"t", ROLE.encode(), b"alice", b"")
        )
    )
    # "ASIA" is base64 of three bytes, and packed as these.
    old = old.replace(b"\x00\x01\x01", b"\x80\x03\x01\x22\x00", 1)

    assert pack(issued) == old
    assert unpack(old) == issued
