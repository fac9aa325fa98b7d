"""When a presigned URL passes the gate: by botocore, to the microsecond, in one spelling."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from urllib.parse import urlsplit

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from awsgate.wire import RequestFacts
from calls import GOOD, S3, SESSIONS, session, verdict
from signers import REGION, WHEN

FIVE = timedelta(minutes=5)
SECOND, TICK = timedelta(seconds=1), timedelta(microseconds=1)


def presigned(expires: int = 600) -> RequestFacts:
    keys = session(1)
    signer = botocore.auth.S3SigV4QueryAuth(
        Credentials(keys.access_key_id, keys.secret_access_key, keys.session_token),
        "s3",
        REGION,
        expires=expires,
    )
    request = AWSRequest(method="GET", url=f"https://{S3}/k")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.auth, "get_current_datetime", lambda: WHEN)
        signer.add_auth(request)
    split = urlsplit(request.url)
    return RequestFacts(
        method=b"GET", target=f"{split.path}?{split.query}".encode(), authority=b"",
        headers=((b"Host", S3.encode()),), connect_host=S3, tls=True, sni=S3, local=True,
    )  # fmt: skip


URLS: dict[str, tuple[int, timedelta, str]] = {
    "at once": (600, timedelta(0), "passed"),
    "again and again, to its last moment": (600, timedelta(seconds=600) - TICK, "passed"),
    "at its end": (600, timedelta(seconds=600), "session-expired"),
    "long after": (600, timedelta(seconds=700), "session-expired"),
    "of one second": (1, SECOND - TICK, "passed"),
    "of one second, after it": (1, SECOND, "session-expired"),
    "of the longest life": (604_800, timedelta(seconds=3599), "passed"),
    "of a longer one": (604_801, timedelta(0), "bad-signature"),
    "of none": (0, timedelta(0), "bad-signature"),
    "of less than none": (-1, timedelta(0), "bad-signature"),
    "when its session has ended": (604_800, timedelta(seconds=3600), "session-expired"),
    "five minutes before": (600, -FIVE, "passed"),
    "earlier": (600, -FIVE - TICK, "clock-skew"),
}


@pytest.mark.parametrize(("expires", "later", "expected"), URLS.values(), ids=URLS)
def test_a_presigned_url_is_good_from_its_time_to_its_end(
    expires: int, later: timedelta, expected: str
) -> None:
    assert verdict(presigned(expires), b"", now=WHEN + later) == expected


SPELT = {
    "a sign": (b"X-Amz-Expires=600", b"X-Amz-Expires=%2B600"),
    "a nought before": (b"X-Amz-Expires=600", b"X-Amz-Expires=0600"),
    "a fraction": (b"X-Amz-Expires=600", b"X-Amz-Expires=600.0"),
    "an exponent": (b"X-Amz-Expires=600", b"X-Amz-Expires=6e2"),
    "a space": (b"X-Amz-Expires=600", b"X-Amz-Expires=600%20"),
    "digits of another script": (b"X-Amz-Expires=600", b"X-Amz-Expires=%D9%A6%D9%A0%D9%A0"),
    "another algorithm": (b"AWS4-HMAC-SHA256", b"AWS4-HMAC-SHA1"),
    "a day that is another's": (b"X-Amz-Date=20261123T", b"X-Amz-Date=20261124T"),
    "another header beside host": (b"X-Amz-SignedHeaders=host", b"X-Amz-SignedHeaders=host%3Bx"),
    "host in capitals": (b"X-Amz-SignedHeaders=host", b"X-Amz-SignedHeaders=Host"),
    "nothing signed": (b"X-Amz-SignedHeaders=host", b"X-Amz-SignedHeaders="),
}


@pytest.mark.parametrize(("old", "new"), SPELT.values(), ids=SPELT)
def test_a_presigned_url_in_another_spelling_is_none(old: bytes, new: bytes) -> None:
    facts = presigned()
    assert old in facts.target

    assert verdict(replace(facts, target=facts.target.replace(old, new)), b"") == "bad-signature"


def test_a_presigned_url_with_the_token_of_another_session_is_nobodys() -> None:
    facts = presigned()
    one, two = (SESSIONS[name].session_token.encode() for name in ("one", "two"))
    assert one in facts.target

    assert verdict(replace(facts, target=facts.target.replace(one, two)), b"") == "unknown-key"


def test_a_url_and_a_header_that_are_both_right_are_none_together() -> None:
    both = replace(GOOD, method="GET", target="/k", body=b"", headers=()).facts()
    together = replace(both, target=presigned().target)
    token_too = replace(
        presigned(),
        headers=(
            (b"Host", S3.encode()),
            (b"X-Amz-Security-Token", SESSIONS["one"].session_token.encode()),
        ),
    )

    assert verdict(both, b"") == "passed"
    assert verdict(together, b"") == "unsupported"
    assert verdict(token_too, b"") in ("bad-signature", "unsupported")
