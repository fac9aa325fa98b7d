"""The trace of a request: no plan, no request; a body that does not hold ends it."""

from __future__ import annotations

import pytest

from awsgate.addon.answers import Answers
from awsgate.addon.record import Trace
from awsgate.aws.chunked import ChunkError
from awsgate.errors import Code, Refusal
from awsgate.gate import Review
from calls import GOOD, ROLE_KEYS, run


def trace() -> Trace:
    return Trace(Review(GOOD.facts()), request_id="r", started=0.0)


def test_without_a_plan_there_is_nothing_to_go_by() -> None:
    with pytest.raises(Refusal, match="no plan was made") as caught:
        _ = trace().planned

    assert caught.value.code is Code.GATEWAY_FAULT


class Spoilt:
    """A body of whose chunks one is not signed rightly."""

    def feed(self, _: bytes) -> bytes:
        raise ChunkError("chunk 2 is not signed as it stands")

    def finish(self) -> bytes:
        raise ChunkError("the last chunk is missing")


@pytest.mark.parametrize("data", [b"data", b""], ids=["midway", "at its end"])
def test_a_body_whose_signatures_do_not_hold_goes_no_further(data: bytes) -> None:
    made = trace()
    made.resigner = Spoilt()  # type: ignore[assignment]

    with pytest.raises(Refusal, match="signed body: ") as caught:
        made.take_in(data)

    assert caught.value.code is Code.BAD_SIGNATURE


@pytest.mark.parametrize("keys", [None, ROLE_KEYS], ids=["no keys", "no order"])
def test_what_is_no_order_is_handed_nothing(keys: object) -> None:
    made = trace()
    made.plan = run(GOOD)[1]

    with pytest.raises(Refusal, match="there is no order") as caught:
        Answers.hand_out(None, None, made, keys, 0.0)  # type: ignore[arg-type]

    assert caught.value.code is Code.GATEWAY_FAULT
