"""What is wrong with an order of a URL is said, and its host must be one of S3's."""

from __future__ import annotations

import pytest

from awsgate import orders
from awsgate.errors import Refusal
from ordering import S3_ORDER, read


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"method": "POST"}, "method is not one of GET, HEAD, PUT, DELETE"),
        ({"bucket": "reports-s3alias"}, "this key cannot be presigned"),
    ],
)
def test_the_fault_is_named(changed: dict[str, str], words: str) -> None:
    with pytest.raises(Refusal, match=words):
        read({**S3_ORDER, **changed})


def test_what_is_no_host_of_s3_is_not_signed_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Should the model of the endpoints know less than the model of the regions."""
    monkeypatch.setattr(orders, "resolve_endpoint", lambda _: None)

    with pytest.raises(Refusal, match="of no S3 endpoint"):
        read(S3_ORDER)
