"""What a presigned URL carries for headers: once, in one place, and nothing that is no header."""

from __future__ import annotations

from dataclasses import replace

import pytest

from awsgate import outgoing
from awsgate.errors import Code, Refusal
from calls import GOOD, ROLE_KEYS, Fields, run, sent
from signers import WHEN


def test_headers_of_the_query_are_headers_again() -> None:
    left, hoisted = outgoing._hoist(b"x=1&X-Amz-Acl=a%20b&content-md5=q", {b"host"})

    assert (left, hoisted) == (b"x=1", [(b"x-amz-acl", b"a b"), (b"content-md5", b"q")])


@pytest.mark.parametrize(
    ("query", "words"),
    [
        (b"x-amz-security-token=t", "twice"),
        (b"%58-Amz-Signature=s", "twice"),
        (b"x-amz-acl=a&X-Amz-Acl=b", "is a header too"),
        (b"x-amz-date=20261123T101530Z", "is a header too"),
        (b"x-amz-acl=a%0d%0aHost:%20b", "cannot be one"),
        (b"x-amz-%0d%0a=a", "cannot be one"),
        (b"x-amz-acl=%00", "cannot be one"),
    ],
)
def test_what_would_be_two_headers_or_none_is_refused(query: bytes, words: str) -> None:
    with pytest.raises(Refusal, match=words) as caught:
        outgoing._hoist(query, {b"host", b"x-amz-date"})

    assert caught.value.code is Code.BAD_SIGNATURE


@pytest.mark.parametrize("keys", [None, ROLE_KEYS], ids=["no keys", "no form"])
def test_a_request_is_signed_with_keys_or_goes_as_it_came(keys: object) -> None:
    review, plan = run(GOOD)
    unsigned = plan if keys is None else replace(plan, form=None)

    with pytest.raises(ValueError, match="signed with keys, or goes as it came"):
        outgoing.sign(
            unsigned,
            review.facts,
            review.claim,
            client_secret=review.secret,
            keys=keys,  # type: ignore[arg-type]
            now=WHEN,
        )


# Each of these is of the client's authentication, or says how: none goes on, whoever sent it.
OURS = {b"authorization", b"x-amz-date", b"x-amz-content-sha256", b"x-amz-security-token"}


def values(fields: Fields, name: bytes) -> list[bytes]:
    return [value for field, value in fields if field.lower() == name]


def test_nothing_of_the_clients_authentication_goes_on() -> None:
    came = dict(GOOD.facts().headers)
    went = sent(GOOD)

    for name in OURS:
        assert len(values(went, name)) == 1
    assert not {came[b"Authorization"], came[b"X-Amz-Security-Token"]} & {v for _, v in went}


@pytest.mark.parametrize("name", ["x-amz-region-set", "x-amz-s3session-token"])
def test_what_says_how_the_client_signed_does_not_go_on(name: str) -> None:
    review, plan = run(GOOD)
    more = (*review.facts.headers, (name.encode(), b"of the client"))
    facts = replace(review.facts, headers=more)

    made = outgoing.make_plan(
        facts, review.headers, review.claim, review.found, payload=plan.payload,
        role_arn=plan.role_arn, external_id="", user="alice", issued=None,
    )  # fmt: skip

    assert b"of the client" not in [value for _, value in made.headers]
